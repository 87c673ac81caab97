/* draw: a table of crowds, and the running sums of patterns. */
#include "pipeline/draw.h"

#include <math.h>
#include <stdlib.h>

#include "pipeline/consistent.h"
#include "pipeline/rules.h"
#include "util/hash.h"

#define RANDOM_MASK (RULES_REJECT_ALL - 1)
#define CROWDS 4096        /* a power of 2: 16 KiB stay in the cache */
#define CROWD_SHIFT 32     /* R but for its first 24 bits */
#define CROWD_MOST 400     /* what is remembered of one: it gives way when it has gone by */
#define PHASE_SHIFT 24     /* a pattern keeps the first 32 bits of its sum */
#define SAME_WEIGHT 0.25   /* weights that differ by less are of one stretch */
#define STRETCH_PART 0.25f /* of the squared weight: the most variance that spacing leaves */

/* Of the records that fall into a place the most frequent kind stays (Boyer, Moore 1981): another
 * kind takes one from its count, and at 0 its place. */
struct crowd {
    uint16_t tag, count;
};

struct draws {
    struct draws_opts opts;
    struct crowd crowds[CROWDS];
};

int draws_new(struct draws **out, const struct draws_opts *opts)
{
    if (budget_take(opts->budget, sizeof(struct draws)) < 0)
        return ERR_NOMEM;
    struct draws *d = calloc(1, sizeof *d);
    if (d == NULL) {
        budget_give(opts->budget, sizeof *d);
        return ERR_NOMEM;
    }
    d->opts = *opts;
    *out = d;
    return 0;
}

void draws_free(struct draws *d)
{
    if (d == NULL)
        return;
    budget_give(d->opts.budget, sizeof *d);
    free(d);
}

static uint32_t together(struct draws *d, uint32_t number, uint64_t randomness)
{
    uint64_t h = hash_mix(d->opts.seed ^ number, randomness >> CROWD_SHIFT);
    struct crowd *c = &d->crowds[h % CROWDS];
    uint16_t tag = (uint16_t)(h >> 48);
    if (c->count > 0 && c->tag != tag) {
        c->count--;
        return 1;
    }
    c->tag = tag;
    c->count += c->count < CROWD_MOST;
    return c->count;
}

/* A session is one R, whatever else its records have. Records that were sampled before get
 * another, because it may have been by the same key: then our draw would not be a new one. */
static bool by_key(const struct draws *d, const struct log_record *record, struct span bytes,
                   struct draw *out)
{
    struct log_attrs attrs;
    struct log_attr a;
    log_attrs_of_record(&attrs, bytes);
    while (log_attrs_next(&attrs, &a)) {
        if (!span_eq(a.key, d->opts.key))
            continue;
        uint64_t h = a.value.kind == LOG_STRING ? hash64(a.value.text)
                     : a.value.kind == LOG_INT  ? hash_mix(0, (uint64_t)a.value.integer)
                                                : 0;
        if (h == 0)
            return false;
        *out = (struct draw){DRAW_KEY, 1, hash_mix(h, consistent_threshold(record)) & RANDOM_MASK};
        return true;
    }
    return false;
}

struct draw draws_peek(const struct draws *d, const struct log_record *record, struct span bytes)
{
    struct draw out = {.source = DRAW_SPACED};
    uint64_t r;
    if (d->opts.key.len > 0 && by_key(d, record, bytes, &out))
        return out;
    if (consistent_randomness(record, &r))
        out = (struct draw){DRAW_SHARED, 1, r};
    return out;
}

struct draw draws_take(struct draws *d, const struct log_record *record, struct span bytes,
                       uint32_t number)
{
    struct draw out = draws_peek(d, record, bytes);
    if (out.source == DRAW_SHARED)
        out.together = together(d, number, out.randomness);
    return out;
}

uint64_t draw_spaced(struct pattern *p, uint64_t threshold)
{
    uint64_t r = (uint64_t)p->phase << PHASE_SHIFT;
    p->phase += (uint32_t)((RULES_REJECT_ALL - threshold) >> PHASE_SHIFT);
    return r;
}

/* Survivors at even spacing leave an error of one spacing, however long the stretch; at its ends,
 * where the weight changes, a part of the old and the new one is left. A stretch of few records,
 * which expects less than one survivor, is as uncertain as independent draws are. */
static void note_spaced(struct pattern *p, float weight)
{
    float change = weight - p->weight;
    if (change != 0) {
        if (fabsf(change) <= (float)SAME_WEIGHT * weight) {
            p->variance += change * change / 12;
        } else {
            p->variance += p->run;
            p->run = 0;
        }
        p->weight = weight;
    }
    p->run = fminf(p->run + weight - 1, STRETCH_PART * weight * weight);
}

void draw_note(struct pattern *p, const struct draw *d, double weight)
{
    if (d->source == DRAW_SPACED || draw_is_crowded(d))
        note_spaced(p, (float)weight);
    else /* n that stay or go together: n^2 times the variance of one */
        p->variance += (2.0 * d->together - 1) * (weight - 1);
}

double draw_variance(const struct pattern *p)
{
    return p->variance + (double)p->run;
}
