/*
 * draw: by which randomness a record is kept or dropped.
 *
 * A record is kept when its randomness R, 56 bits, reaches the threshold T of its rate p
 * (pipeline/rules.h). Where R comes from is one rule:
 *
 *   key      a hash of the attribute that sampling.key names: whole sessions stay or go
 *   shared   sampling.randomness, else the last 7 bytes of the trace id (OpenTelemetry: trace
 *            probability sampling): whole traces stay or go at equal rates, in all processes
 *   spaced   neither is there: R is the sum of p over the earlier records of the pattern,
 *            from a random start, modulo 1. R reaches T exactly when adding p passes a whole
 *            number, so survivors come at even spacing (systematic sampling), and a count is
 *            off by one spacing at most where independent draws are off by its square root.
 *   crowded  more than DRAW_TOGETHER records of a pattern have nearly the same shared R, the
 *            first 24 bits: those beyond are spaced. So no single trace, and no trace ids that
 *            are not random, decide a loud pattern alone.
 *
 * R is uniform in each case: the start of a spacing is random, and p never depends on what
 * was drawn. So each record is kept with probability p, and 1/p is its weight.
 *
 * Memory     16 KiB, drawn from the budget.
 * Cost       for a record with a shared R one probe of that table; else nothing.
 * Blocking   never.
 */
#pragma once

#include <stdint.h>

#include "otlp/logs.h"
#include "pattern/patterns.h"
#include "util/budget.h"
#include "util/err.h"

#define DRAW_TOGETHER \
    100 /* longer traces are rare, and a hundredth of what makes a pattern loud \
         */

enum draw_source { DRAW_SPACED, DRAW_SHARED, DRAW_KEY };

/* What there is to draw one record by. */
struct draw {
    enum draw_source source;
    uint32_t together;   /* SHARED: so many of its pattern came with nearly the same R, itself
                          * included */
    uint64_t randomness; /* R; of a spaced one the pattern has it */
};

struct draws;

struct draws_opts {
    struct span key;       /* the attribute whose values stay together; borrowed; empty: none */
    uint64_t seed;         /* of the table's index: clients choose trace ids */
    struct budget *budget; /* may be NULL */
};

MUST_CHECK int draws_new(struct draws **out, const struct draws_opts *opts);
void draws_free(struct draws *d);

/* Of a record whose pattern is entry `number`. Counts it among those with the same R, so it is
 * asked once. */
struct draw draws_take(struct draws *d, const struct log_record *record, struct span bytes,
                       uint32_t number);

/* The same, without a count: as of the first of its R. */
struct draw draws_peek(const struct draws *d, const struct log_record *record, struct span bytes);

static inline bool draw_is_crowded(const struct draw *d)
{
    return d->source == DRAW_SHARED && d->together > DRAW_TOGETHER;
}

/* The R of the next spaced record of a pattern, and the step that goes with its threshold. */
uint64_t draw_spaced(struct pattern *p, uint64_t threshold);

/* One more record of a pattern was drawn, to stand for `weight` if it is kept: how far the sum of
 * the weights may be from the count (spaced: the records around it share what is wrong). */
void draw_note(struct pattern *p, const struct draw *d, double weight);

/* The variance of the sum of a pattern's weights around its count, from the p of all decisions. */
double draw_variance(const struct pattern *p);
