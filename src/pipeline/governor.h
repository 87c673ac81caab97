/*
 * governor: how much of each pattern may stay, so that all that is kept fits a budget,
 * and the queue when it fills.
 *
 *     interval   every 5 s (after 1 s when a guard was hit) the volume of each pattern is
 *                smoothed, fast up and slow down, and the budget is allocated over them
 *                (pipeline/allocation.h): a factor for each pattern's own rate
 *     guards     within a second, factors fall further as soon as a pattern has taken four
 *                times its part, or all together more than their allowance
 *     first      what is kept with certainty is paid first; records kept for being among the
 *                first of a pattern may take a tenth of the budget over time, and the very first
 *                of a pattern whatever it takes
 *     weights    no survivor stands for more than eight times what the mean one stands for while
 *                as much comes as now: of weights that differ much a chart shows the largest only
 *     small      a budget of less than 100 records a second lets bursts of up to 50 records
 *                pass, because no burst can be counted that has to fit its second; its weights
 * differ less feedback   what was too much or too little is paid back over the next 30 s bucket at
 * four times the rate, the last resort: what it refuses is a loss
 *
 * Counts stay unbiased, because a factor depends on what arrived before and never on the
 * randomness of a record: not what was kept is metered but its expectation, the sum of
 * p * cost. Only the bucket sees what was really kept, and what it takes is no sampling.
 * No factor is ever 0.
 *
 * The second is not the clock's but a leaking level, so that no phase of it is better
 * than another. A silence is credited to the requests that end it: SDKs send their
 * records in lumps, and a lump of five seconds is no burst.
 *
 * Pressure runs the same allocation with what the queue leaves room for as its budget,
 * and with weights that let the least severe go first (pipeline/pressure.h).
 *
 * Units      cost: bytes (as a backend meters them: what callers give has the framing and the
 *            share of Resources in it, pipeline/metering.h, and stamps are added here) or records;
 *            seconds; milliseconds of the records' clock (pipeline/record_clock.h).
 * Memory     64 bytes a pattern while it is at work, drawn from the budget of memory.
 * Cost       20 ns for a record that is left to chance, 50 ns in all with what is around
 *            it; 0.3 to 0.6 ms for the allocation over 16,384 patterns.
 * Blocking   never. Two lines of log for each time that records are shed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/buf.h"
#include "util/err.h"

#define GOVERNOR_MONTH_S (30.4375 * 24 * 3600) /* a twelfth of a year */

enum governor_unit {
    GOVERNOR_NONE,      /* no budget: pressure only */
    GOVERNOR_BYTES,     /* amount: bytes a second */
    GOVERNOR_RECORDS,   /* amount: records a second */
    GOVERNOR_REDUCTION, /* amount: the share of arriving bytes that is kept */
};

struct governor_target {
    enum governor_unit unit;
    double amount;
    double exponent; /* of the allocation */
};

struct governor_opts {
    struct governor_target target;
    uint32_t max_patterns;
    size_t stamp_bytes; /* what a typical survivor of p < 1 carries */
    struct budget *budget;
};

/* Where a factor below 1 came from. */
enum governor_cause { GOVERNOR_FREE, GOVERNOR_BY_BUDGET, GOVERNOR_BY_PRESSURE };

struct governor_stats {
    double rate;          /* the budget now, in cost a second; 0: none */
    double used, allowed; /* cost: what was kept, and what the budget was over the same time */
    double pressure;      /* 0 to 1 */
    uint64_t allocations;
};

struct governor;

MUST_CHECK int governor_new(struct governor **out, const struct governor_opts *opts);
void governor_free(struct governor *g);

/* Another budget from now on, without the old one's debts. What was used and allowed goes
 * on being counted, unless it was in another unit. */
void governor_set_target(struct governor *g, const struct governor_target *target);

/* The same budget with another amount of bytes or records a second: what was learned of patterns
 * stays, and so do debts. */
void governor_set_amount(struct governor *g, double amount);

/* A request begins, with the queue so full. Is there anything to govern? If not, nothing
 * else here is to be called for its records. */
bool governor_begin(struct governor *g, uint64_t now_ms, double fullness);

/* Every record, before it is decided. */
void governor_arrived(struct governor *g, size_t bytes);

/* Entry `number` of the pattern table begins anew. */
void governor_forget(struct governor *g, uint32_t number);

/* May a record be kept for being among the first of its pattern? Not for the very first. */
bool governor_has_first(const struct governor *g);

struct governor_record {
    uint32_t number; /* of its pattern */
    unsigned level;  /* its severity class, 0 is TRACE */
    size_t bytes;
    double wish; /* the probability that its own rate gives it */
};

/* The factor on `wish` for a record that is left to chance: above 0, at most 1. Meters it. */
double governor_draw(struct governor *g, const struct governor_record *r, enum governor_cause *why);

/* A record was kept with certainty; is_first: for being among the first. */
void governor_certain(struct governor *g, size_t bytes, bool is_first);

/* A record was kept. False: not even as the last resort is there room for it. What must
 * stay is only counted. */
bool governor_pay(struct governor *g, size_t bytes, bool is_stamped, bool must_stay);

/* What the last allocation leaves of the rate of a pattern: 1 where there is nothing to govern. */
double governor_factor(const struct governor *g, uint32_t number, enum governor_cause *why);

struct governor_stats governor_stats(const struct governor *g);

/* ---- over a restart: debts, and what is known of patterns ---- */

/* What a pattern asks for, in cost a second, and its severity; false: nothing is known of it. */
struct governor_known {
    float volume;
    uint8_t level;
};
bool governor_known(const struct governor *g, uint32_t number, struct governor_known *out);

void governor_save(const struct governor *g, struct buf *out);

/* Into one that was just made, after so many seconds without a process, in which debts were paid.
 * Those of a budget in another unit are left, and all are cut to what the present budget allows.
 * ERR_MALFORMED: it is no such text, and nothing was taken. */
MUST_CHECK int governor_restore(struct governor *g, struct span text, double away_s);

/* Then each pattern that was known. */
void governor_recall(struct governor *g, uint32_t number, const struct governor_known *known);
