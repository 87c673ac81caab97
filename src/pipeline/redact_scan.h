/*
 * redact_scan: all hits of a text in order, of the detectors and of a user's patterns.
 *
 *     redact_next()  \
 *                      the one that begins first; what overlaps is one hit
 *     regex_next()   /
 *
 * Cost       a pattern that has no further match in a text is not asked again.
 * Ownership  the text, the detector and the patterns are borrowed while the scan goes on.
 */
#pragma once

#include "pipeline/redact_detect.h"
#include "util/regex.h"

#define REDACT_PATTERNS_MAX 24
#define REDACT_PATTERN_NAME_BYTES 32
#define REDACT_KINDS_MAX (REDACT_KIND_COUNT + REDACT_PATTERNS_MAX)

_Static_assert(REDACT_KINDS_MAX <= 64, "kinds are bits of one word");

/* The kind of pattern i is REDACT_KIND_COUNT + i. */
struct redact_patterns {
    unsigned count;
    struct regex *regex[REDACT_PATTERNS_MAX];
};

struct redact_scan {
    const struct redact_detector *detector;
    const struct redact_patterns *patterns;
    const struct redact_look *look;
    struct span text;
    size_t at;                                      /* hits begin here or behind */
    struct redact_hit built_in;                     /* len 0: unknown */
    struct redact_hit matches[REDACT_PATTERNS_MAX]; /* likewise */
    uint32_t done;                                  /* bit per pattern without a further match */
    bool built_in_done;
    uint64_t given_up; /* matches that stand for a limit */
};

/* `look`: as redact_next() has it. */
void redact_scan_init(struct redact_scan *s, const struct redact_detector *d,
                      const struct redact_patterns *patterns, const struct redact_look *look,
                      struct span text);

/* False: there are no more. */
bool redact_scan_next(struct redact_scan *s, struct redact_hit *hit);
