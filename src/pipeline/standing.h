/*
 * standing: the rate that a pattern has now, and why: for people, and for what-if.
 *
 * The same order as the sampler's (pipeline/sampler.h), asked for a pattern and not for a record:
 * what only a record can say (attributes, body, sampling.priority) is left out, and rules that ask
 * for it are counted as not asked.
 *
 * Pure. Blocking: never. Cost: the look-up of a rate, and one comparison for each rule.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pattern/patterns.h"
#include "pipeline/rules.h"
#include "util/span.h"

/* clang-format off */
#define STANDINGS(X) \
    X(FLOOR,    "floor") \
    X(KEEP,     "keep") \
    X(DROP,     "drop") \
    X(GUARD,    "guard") \
    X(FIRST,    "first") \
    X(PATTERN,  "pattern") \
    X(SEVERITY, "severity") \
    X(GLOBAL,   "global") \
    X(BUDGET,   "budget") \
    X(PRESSURE, "pressure") \
    X(BOOST,    "boost")
/* clang-format on */

#define X(name, text) STANDING_##name,
enum standing_origin { STANDINGS(X) STANDING_COUNT };
#undef X

const char *standing_name(enum standing_origin o);

/* What is known of a pattern. */
struct standing_facts {
    uint64_t signature, family;
    enum level level;
    struct span service;
    bool is_guarded;    /* PostHog counts some of it */
    bool is_all_first;  /* all that came were among the first of their windows */
    float strength;     /* of its anomaly, 0 to 1 */
    unsigned anomalies; /* that hold: bit per enum anomaly_kind (pipeline/anomaly.h) */
    float factor;       /* what budget or pressure leave of its rate; 1: all of it */
    bool is_pressed;    /* it is pressure */
};

struct standing {
    enum standing_origin origin;
    double rate; /* in force */
    double own;  /* what the rules say, before boost and budget */
    double boost;
    unsigned place;   /* KEEP, DROP: which rule, from 0 */
    unsigned unasked; /* rules that might select records of it */
};

struct standing standing_of(const struct rules *rules, const struct standing_facts *f);

/* One sentence without a full stop. Returns out. */
#define STANDING_TEXT_BYTES 160
const char *standing_say(char out[STANDING_TEXT_BYTES], const struct rules *rules,
                         const struct standing_facts *f, const struct standing *s);
