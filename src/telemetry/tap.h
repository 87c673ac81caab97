/*
 * tap: one listener's sample of the decisions: which it wants, how many, and the
 * line of JSON that it gets.
 *
 *     tap_wants()  the filter: kept or dropped, severity, pattern, service, text
 *     tap_admit()  the bound: so many lines and bytes a second, at once no more
 *                  than a second's
 *     tap_line()   the line
 *
 * Everything that a filter let through is counted: matched = shown + over_rate + slow.
 *
 * Units      milliseconds, Unix nanoseconds, lines and bytes a second.
 * Blocking   never. No allocation but in the caller's buf.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/sampler.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/token_bucket.h"

#define TAP_TEXT_BYTES 256  /* of a filter's text */
#define TAP_BODY_BYTES 1024 /* of a body in a line */
#define TAP_LINES_PER_S 100 /* more than anybody reads */
#define TAP_LINES_PER_S_MAX 10000
#define TAP_BYTES_PER_S 65536 /* a slow ssh link carries that; grows with the lines asked for */

struct tap_filter {
    unsigned verdicts; /* bit per enum verdict; 0: any */
    unsigned levels;   /* bit per enum level; 0: any */
    bool has_pattern;
    uint64_t pattern;             /* a signature or a family */
    char service[TAP_TEXT_BYTES]; /* a glob; "": any */
    char grep[TAP_TEXT_BYTES];    /* bytes that the body holds; "": any */
};

struct tap {
    struct tap_filter filter;
    struct token_bucket lines, bytes; /* what may be shown now */
    uint64_t matched, shown, over_rate, slow;
    bool is_observing; /* what is shown would be done, and is not: the sums say so */
};

/* "warn" or "warn+" (and above) into levels. ERR_MALFORMED: no such level. */
MUST_CHECK int tap_parse_severity(const char *text, unsigned *levels);

/* lines_per_s 0: TAP_LINES_PER_S. */
void tap_init(struct tap *t, const struct tap_filter *filter, uint32_t lines_per_s);

bool tap_wants(const struct tap_filter *f, const struct subject *s, const struct decision *d);

/* May one more line be made? The bytes are charged by tap_shown(), and may go below zero. */
bool tap_admit(struct tap *t, uint64_t now_ms);
void tap_shown(struct tap *t, size_t bytes);

/* {"time":...,"service":...,"severity":...,"verdict":...,"reason":...,"rate":...,
 *  "threshold":...,"pattern":...,"family":...,"body":...} and a newline. */
void tap_line(struct buf *out, const struct subject *s, const struct decision *d, uint64_t unix_ns);

/* {"tap":{"matched":...,"shown":...,"over_rate":...,"slow":...}} and a newline. */
void tap_sums(struct buf *out, const struct tap *t);
