/*
 * anomaly: which patterns and services are not as usual, from how many records arrive.
 *
 *     new      first seen after the learning time of the process and of its service
 *     surge    more in an interval than three times what is usual, by more than chance gives,
 *              and 1.5 times as much as in any of the last hour; over when it is less than half
 *              of that, or has become usual (an interval of 10 s: after five minutes). One of a
 *              pattern is not told of its service as well, nor the other way round.
 *     silent   came in nearly every interval, and then not for six, nor for as long as
 *              twenty records take; over when it comes again, or after an hour
 *     errors   of a service: the share of errors surges
 *
 * What is usual is a moving average over intervals. Who is anomalous has a strength of 1,
 * which halves each minute afterwards; the sampler boosts by it. Strengths change in
 * anomaly_tick() and when a pattern begins, so they are fixed before the records that
 * they apply to, and depend on what arrived only: adjusted counts stay unbiased.
 *
 * A pattern that was evicted and returns is not new: keys that were seen are remembered as
 * hashes of 16 bits, four times as many as the table has patterns; of so many new ones
 * one in 65536 is taken for known. Nor is a family new, when patterns become one.
 *
 * Units      records, intervals, loop milliseconds.
 * Memory     56 bytes a pattern, in blocks as patterns come, 144 bytes a service and the
 *            hashes, drawn from the budget; a pattern without room is never anomalous.
 * Blocking   never. Cost: 2 to 3 ns a record when its series is cached; over 16,384 patterns that
 *            all come a tick takes 0.1 ms, and 0.3 ms where an interval ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pattern/families.h"
#include "pattern/patterns.h"
#include "util/budget.h"
#include "util/err.h"

#define ANOMALY_HALF_LIFE_MS 60000 /* of the strength, when it is over */
#define ANOMALY_YOUNG 12           /* intervals before what is usual is known */

/* clang-format off */
#define ANOMALIES(X) \
    X(NEW,    "new") \
    X(SURGE,  "surge") \
    X(SILENT, "silent") \
    X(ERRORS, "errors")
/* clang-format on */

#define X(name, text) ANOMALY_##name,
enum anomaly_kind { ANOMALIES(X) ANOMALY_KINDS };
#undef X

/* One has begun. */
struct anomaly_news {
    enum anomaly_kind kind;
    bool of_service;         /* else of a pattern */
    uint32_t number;         /* of the pattern's entry, or the service's id */
    double rate, usual_rate; /* records a second; of ERRORS: errors a second */
    uint64_t for_ms;         /* SILENT: since when */
};

struct anomaly;

struct anomaly_opts {
    uint32_t max_patterns, max_services; /* at most 65536 services */
    uint64_t interval_ms, learning_ms;
    uint64_t seed;
    struct patterns *patterns; /* the two: to tell what is silent from what is counted in a */
    struct families *families; /* family now; may be NULL */
    struct budget *budget;
    /* Called within anomaly_tick(). May be NULL. */
    void (*tell)(void *ctx, const struct anomaly_news *news);
    void *ctx;
};

MUST_CHECK int anomaly_new(struct anomaly **out, const struct anomaly_opts *opts);
void anomaly_free(struct anomaly *a);

/* A pattern of before: it is not new when it comes. */
void anomaly_know(struct anomaly *a, const struct pattern_key *key);

/* Entry `number` of the pattern table begins with `key`, because a record with the key
 * `own` came, which differs when it is counted in a family. has_merged: it has become one
 * just now. */
void anomaly_begin(struct anomaly *a, uint32_t number, const struct pattern_key *key,
                   const struct pattern_key *own, bool has_merged);

/* A record arrived. The strength that applies to it, 0 to 1. */
float anomaly_arrived(struct anomaly *a, uint32_t number, uint32_t service, bool is_error);

/* The strength that applies to a pattern now, without counting anything; and of what it is
 * anomalous: bit per enum anomaly_kind. */
float anomaly_strength(const struct anomaly *a, uint32_t number, uint32_t service, unsigned *kinds);

/* Time has passed: judge what came since the last tick, and once an interval its whole.
 * More than three intervals since the last tick say nothing and are not judged. */
void anomaly_tick(struct anomaly *a, uint64_t now_ms);

struct anomaly_stats {
    uint32_t patterns, services; /* anomalous at the last tick; without what only fades */
};
struct anomaly_stats anomaly_stats(const struct anomaly *a);
