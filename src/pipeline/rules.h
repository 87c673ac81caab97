/*
 * rules: the policy in force, as a value. Immutable once built, counted
 * references; its maker (configuration, policy server) builds it with
 * the functions below and hands it over whole.
 *
 * Probabilities are given as 0..1 and kept as rejection thresholds on 56 bits:
 * a record with randomness R is kept when R >= T, T = (1 - p) * 2^56
 * (OpenTelemetry: trace probability sampling). T is rounded to four significant
 * hex digits, like the Collector's sampling_precision: what is decided by is then
 * exactly what a short sampling.threshold says. p moves by at most 1 part in 8192,
 * and rules_rate_of() gives the p that is in force.
 *
 * Errors     bad values give ERR_CONFIG and a sentence; nothing is half-set.
 * Ownership  the builder copies what it is given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

#define RULES_RANDOM_BITS 56
#define RULES_HEX_DIGITS 4
#define RULES_REJECT_ALL (UINT64_C(1) << RULES_RANDOM_BITS)

/* Severity classes: OTLP's severity numbers by fours. Unspecified is INFO. */
/* clang-format off */
#define LEVELS(X) \
    X(TRACE, "TRACE") \
    X(DEBUG, "DEBUG") \
    X(INFO,  "INFO") \
    X(WARN,  "WARN") \
    X(ERROR, "ERROR") \
    X(FATAL, "FATAL")
/* clang-format on */

#define X(name, text) LEVEL_##name,
enum level { LEVELS(X) LEVEL_COUNT };
#undef X

const char *level_name(enum level l);

/* By any of the spellings that configurations and policy servers use (WARNING,
 * CRITICAL, ...), in any case. Negative: none of them. */
MUST_CHECK int level_parse(struct span name);

static inline enum level level_of(unsigned severity_number)
{
    if (severity_number == 0)
        return LEVEL_INFO;
    return severity_number > 24 ? LEVEL_FATAL : (enum level)((severity_number - 1) / 4);
}

#define RULES_PATTERNS_MAX 16384 /* as many as the pattern table holds */
#define RULES_MATCHERS_MAX 256   /* each is tried for each record */
#define RULES_CONDITIONS_MAX 16  /* attributes asked for by one matcher */

/* One `keep` or `drop` rule: all conditions that are set must hold. Texts are
 * globs over the whole value (`*` is any run of bytes). */
struct rules_matcher {
    unsigned levels;     /* bit per enum level; 0: any */
    struct span service; /* base NULL: any */
    struct span body;    /* of a text body; base NULL: any */
    bool has_pattern;
    uint64_t pattern; /* a signature or a family */
    uint64_t family;  /* what that has become; set by rules_bind() */
    struct {
        struct span key, value;
    } attribute[RULES_CONDITIONS_MAX];
    unsigned attributes;
    struct span name; /* how the rule is called in reports: "keep[0]" */
};

struct rules;

/* A new rule set that keeps everything; reference count 1. */
MUST_CHECK int rules_new(struct rules **out);
struct rules *rules_ref(const struct rules *r);
void rules_unref(struct rules *r);

/* Building. ERROR and FATAL cannot be set below 1: ERR_CONFIG. */
MUST_CHECK int rules_set_level(struct rules *r, enum level level, double rate, struct error *err);
MUST_CHECK int rules_set_global(struct rules *r, double rate, struct error *err);
MUST_CHECK int rules_set_pattern(struct rules *r, uint64_t signature, double rate,
                                 struct error *err);
MUST_CHECK int rules_set_first(struct rules *r, uint32_t count, uint64_t window_ms,
                               struct error *err);
MUST_CHECK int rules_set_boost(struct rules *r, double boost, struct error *err);
MUST_CHECK int rules_add_matcher(struct rules *r, bool keep, const struct rules_matcher *m,
                                 struct error *err);
/* keep, drop and first as in `from`: what a policy does not speak of; and the global rate
 * and the boost, unless they were set. */
MUST_CHECK int rules_inherit(struct rules *r, const struct rules *from);
void rules_set_origin(struct rules *r, const char *origin, int64_t version);

/* The same rules for a time when patterns have become families: what is said of a
 * pattern binds its family too, unless something is said of the family itself; of
 * several rates the highest. `resolve` gives the family of a signature. May be
 * applied to its own result. */
MUST_CHECK int rules_bind(struct rules **out, const struct rules *from,
                          uint64_t (*resolve)(void *ctx, uint64_t signature), void *ctx);

/* Does it speak of any pattern? */
bool rules_name_patterns(const struct rules *r);

/* Reading. */
uint64_t rules_threshold_of(double rate);
double rules_rate_of(uint64_t threshold);

enum rules_source { RULES_PATTERN, RULES_SEVERITY, RULES_GLOBAL };

/* The threshold for a record, and which setting it came from. The rate of its
 * signature comes before the rate of its family. */
uint64_t rules_threshold(const struct rules *r, uint64_t signature, uint64_t family,
                         enum level level, enum rules_source *source);

/* Without any pattern's; RULES_SEVERITY or RULES_GLOBAL. */
uint64_t rules_level_threshold(const struct rules *r, enum level level, enum rules_source *source);
uint64_t rules_global_threshold(const struct rules *r);

/* Each rate that was set for a pattern, by signature. `into` has room for rules_pattern_count(). */
struct rules_pattern {
    uint64_t signature, threshold;
};
uint32_t rules_patterns(const struct rules *r, struct rules_pattern *into);
uint32_t rules_pattern_count(const struct rules *r);

const struct rules_matcher *rules_matchers(const struct rules *r, bool keep, unsigned *count);
uint32_t rules_first(const struct rules *r);
uint64_t rules_window_ms(const struct rules *r);
const char *rules_origin(const struct rules *r); /* "config", "server" */
int64_t rules_version(const struct rules *r);
double rules_boost(const struct rules *r); /* on rates while something is anomalous; 1: none */
