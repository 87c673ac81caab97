/* governor_draw: what a record costs, and the factor that one left to chance gets. */
#include <math.h>

#include "pipeline/governor_state.h"

#define BURST_FACTOR 4.0 /* of a pattern's part, within a second */
#define NEW_PART 0.1     /* of the budget: what a pattern may take that nothing is known of */
#define SLACK 1.2        /* of the rate: how fast the level drains */
#define LEVEL_FREE 0.05  /* seconds of the rate that the level may hold unguarded ... */
#define LEVEL_SCALE 0.08 /* ... and over which factors then fall by e */
#define LEVEL_STEPS 4.0  /* e^-4: what a storm of errors leaves of the factors */
#define FIRST_PART 0.1   /* of the budget, for firsts: what they take, counts lack */
#define BUCKET_LOW_S 5.0 /* of the rate */
#define LEAST_RATE (1.0 / 65536) /* under pressure one survivor stands for at most so many */
#define WEIGHT_FACTOR 8.0     /* under a budget: for so many times what the mean one stands for */
#define SMALL_RECORDS_S 100.0 /* a budget below it is small ... */
#define SMALL_BURST 50.0      /* ... and lets bursts of up to so many records pass, */
#define SMALL_BURST_S 15.0    /* of so many seconds' budget at most, */
#define SMALL_SCALE 10.0      /* over so many more factors fall by e, */
#define SMALL_WEIGHT_FACTOR 1.25 /* weights differ by less, or minutes of few records have none */
#define SMALL_HORIZON 80.0       /* and what comes is measured over the time of so many records, */
#define SMALL_HORIZON_S 20.0     /* at most so long */
#define MEAN_WEIGHT 0.01

/* ---- metering ---------------------------------------------------------- */

static double cost_of(const struct governor *g, size_t bytes, bool is_stamped)
{
    if (g->opts.target.unit == GOVERNOR_RECORDS)
        return 1;
    return (double)(bytes + (is_stamped ? g->opts.stamp_bytes : 0));
}

void governor_allow(struct governor *g, double cost)
{
    /* While too much was kept already, the level is no way around the correction; but what
     * is certain to be kept is not to fill it, or the rest would pay for it twice. */
    double debt = fmin(fmax(g->credit / (REPAY_S * g->rate), -REPAY_LESS), 0);
    double drain = fmax(SLACK * (1 + debt), g->certain_rate / g->rate + SLACK - 1);
    g->allowed += cost;
    g->credit = fmin(g->credit + cost, CREDIT_S * g->rate);
    g->level = fmax(g->level - drain * cost, -SLACK * LULL_MAX_S * g->rate);
    g->firsts = fmin(g->firsts + FIRST_PART * cost, FIRST_DEPTH_S * g->rate);
    g->bucket = fmin(g->bucket + BUCKET_FACTOR * cost, BUCKET_FACTOR * BUCKET_DEPTH_S * g->rate);
}

void governor_set_smallness(struct governor *g)
{
    g->smallness = fmax(0, 1 - g->rate / (SMALL_RECORDS_S * g->mean_cost));
}

void governor_set_rate(struct governor *g, double rate)
{
    g->rate = fmax(rate, 1e-9); /* it divides */
    governor_set_smallness(g);
}

void governor_arrived(struct governor *g, size_t bytes)
{
    if (g->opts.target.unit != GOVERNOR_REDUCTION)
        return;
    double cost = (double)bytes;
    g->arrived += cost;
    if (g->is_fresh)
        governor_set_rate(g, fmax(g->rate, g->opts.target.amount * g->arrived));
    governor_allow(g, g->opts.target.amount * cost);
}

/* Where factors begin to fall, and over which cost by e. */
static double level_free(const struct governor *g, double cost)
{
    double burst = fmin(SMALL_BURST * g->mean_cost, SMALL_BURST_S * g->rate);
    return fmax(LEVEL_FREE * g->rate, cost + burst * g->smallness);
}

static double level_scale(const struct governor *g, double cost)
{
    return fmax(LEVEL_SCALE * g->rate, cost * (0.5 + SMALL_SCALE * g->smallness));
}

double governor_recent_s(const struct governor *g)
{
    double small_s = g->smallness * fmin(SMALL_HORIZON * g->mean_cost / g->rate, SMALL_HORIZON_S);
    return fmax(fmax(1, g->lull_s), small_s);
}

/* What is expected to be kept. */
static void meter(struct governor *g, double expected, double cost)
{
    if (!governor_has_budget(g))
        return;
    g->mean_cost += (g->mean_cost > 0 ? MEAN_WEIGHT : 1) * (cost - g->mean_cost);
    governor_set_smallness(g);
    double most = level_free(g, cost) + LEVEL_STEPS * level_scale(g, cost);
    g->level = fmin(g->level + expected, most);
    g->credit = fmax(g->credit - expected, -DEBT_S * g->rate);
}

void governor_certain(struct governor *g, size_t bytes, bool is_first)
{
    double cost = cost_of(g, bytes, false);
    g->certain += cost;
    g->firsts -= is_first ? cost : 0;
    meter(g, cost, cost);
}

/* A share of what arrives is no rate before some of it has: no reason to lose anything. */
static bool is_unknown(const struct governor *g)
{
    return g->is_fresh && g->opts.target.unit == GOVERNOR_REDUCTION;
}

bool governor_has_first(const struct governor *g)
{
    /* While the bucket is low it is chance that decides: what that keeps is never lost. */
    bool is_low = g->bucket < BUCKET_LOW_S * g->rate && !is_unknown(g);
    return !governor_has_budget(g) || (g->firsts > 0 && !is_low);
}

bool governor_pay(struct governor *g, size_t bytes, bool is_stamped, bool must_stay)
{
    double cost = cost_of(g, bytes, is_stamped);
    if (governor_has_budget(g) && g->bucket < cost && !must_stay && !is_unknown(g))
        return false;
    g->bucket = fmax(g->bucket - cost, 0);
    g->used += cost;
    return true;
}

/* ---- drawing ----------------------------------------------------------- */

/* Within its second a pattern takes four times its part, and then only as much more as
 * the logarithm of what comes. After a silence its second is as long as that was. */
static double guard_pattern(struct governor *g, struct share *s, double cost)
{
    uint32_t now = (uint32_t)g->now_ms;
    if (!s->seen || now - s->second_ms >= 1000) {
        double seconds = s->seen ? fmin((now - s->second_ms) / 1000.0, LULL_MAX_S / 2) : 1;
        double part = s->known ? s->part : governor_has_budget(g) ? NEW_PART * g->rate : HUGE_VAL;
        double least = BURST_FACTOR + SMALL_BURST * g->smallness;
        s->ceiling = (float)fmax(BURST_FACTOR * part * seconds, least * cost);
        s->second_ms = now;
        s->in_second = 0;
        s->seen = true;
    }
    if (s->in_second <= s->ceiling)
        return 1;
    g->is_guarded = true;
    return exp((s->ceiling - s->in_second) / s->ceiling);
}

static double guard_all(struct governor *g, double cost)
{
    double over = g->level - level_free(g, cost);
    if (!governor_has_budget(g) || over <= 0)
        return 1;
    double steps = over / level_scale(g, cost);
    g->is_guarded |= steps > 1;
    return exp(-steps);
}

/* The least probability. Of weights that differ much a chart shows the largest only. */
static double least_rate(const struct governor *g)
{
    if (!governor_has_budget(g))
        return LEAST_RATE;
    double large = (1 - g->smallness) * (1 - g->smallness);
    double factor = SMALL_WEIGHT_FACTOR + (WEIGHT_FACTOR - SMALL_WEIGHT_FACTOR) * large;
    double mean = g->recent / (governor_recent_s(g) * g->rate);
    return 1 / (factor * fmax(mean, 1));
}

double governor_draw(struct governor *g, const struct governor_record *r, enum governor_cause *why)
{
    double cost = cost_of(g, r->bytes, true), own = r->wish * cost;
    struct share *s = governor_share(g, r->number);
    double factor = 1;
    if (s != NULL && s->known) {
        double catch_up = g->catch_up[r->level < SEVERITIES ? r->level : SEVERITIES - 1];
        factor = s->factor * catch_up;
        *why = g->presses || catch_up < 1 ? GOVERNOR_BY_PRESSURE : GOVERNOR_BY_BUDGET;
    } else if (g->pressure.level > 0) {
        factor = pressure_share(&g->pressure, r->level);
        *why = GOVERNOR_BY_PRESSURE;
    }
    if (s != NULL) {
        s->level = (uint8_t)r->level;
        s->volume += own;
        s->count++;
    }
    g->recent += own;
    double guard = guard_all(g, cost) * (s == NULL ? 1 : guard_pattern(g, s, cost));
    if (guard < 1 && factor >= 1)
        *why = governor_has_budget(g) ? GOVERNOR_BY_BUDGET : GOVERNOR_BY_PRESSURE;
    factor = fmin(fmax(factor * guard, least_rate(g) / r->wish), 1);
    if (factor >= 1)
        *why = GOVERNOR_FREE;
    if (s != NULL)
        s->in_second += (float)(own * factor);
    meter(g, own * factor, cost);
    return factor;
}
