/* governor: one level, one credit and one bucket for all, a share for each pattern. */
#include "pipeline/governor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/governor_state.h"
#include "util/diag.h"
#include "util/err.h"

#define INTERVAL_MS 5000
#define EARLY_MS 1000     /* after a guard was hit */
#define PRESSED_MS 250    /* while the queue fills */
#define PRESSED_STEP 0.05 /* of the pressure's level that is worth it */
#define SLOW_DOWN 0.3     /* weight of a new volume that is no rise */
#define NOISE_SIGMAS \
    2.0                       /* a count that is higher by less is no rise: taking it would \
                               * overestimate rare patterns by a third */
#define FORGET_RECORDS_S 0.01 /* a pattern this quiet is as good as new */
#define LEVEL_KEEPS_S 0.5     /* how long credit for silence lasts, and two usual lulls more */
#define LULL_WEIGHT 0.05
#define REPAY_MORE 0.5  /* bounds of the correction, as a share of the rate */
#define LEAST_PART 0.01 /* of the budget, for what is sampled, if all else is kept */
#define SHARES_MIN 256

/* ---- life -------------------------------------------------------------- */

#define SHARE_BYTES (sizeof(struct share) + sizeof(struct allocation))

static void drop_shares(struct governor *g)
{
    budget_give(g->opts.budget, g->room * SHARE_BYTES);
    free(g->shares);
    free(g->strata);
    g->shares = NULL;
    g->strata = NULL;
    g->room = g->made = 0;
}

int governor_new(struct governor **out, const struct governor_opts *opts)
{
    struct governor *g = calloc(1, sizeof *g);
    if (g == NULL)
        return ERR_NOMEM;
    g->opts = *opts;
    *out = g;
    return 0;
}

void governor_free(struct governor *g)
{
    if (g == NULL)
        return;
    drop_shares(g);
    free(g);
}

/* Room for entry `number`, twice as much each time. Without it patterns are governed
 * together: by the level, and by their severity under pressure. */
static bool make_room(struct governor *g, uint32_t number)
{
    uint32_t room = g->room == 0 ? SHARES_MIN : g->room;
    while (room <= number)
        room *= 2;
    size_t more = (room - g->room) * SHARE_BYTES;
    if (g->no_memory || number >= g->opts.max_patterns)
        return false;
    if (budget_take(g->opts.budget, more) < 0) {
        g->no_memory = true;
        return false;
    }
    struct share *shares = realloc(g->shares, room * sizeof *shares);
    if (shares != NULL)
        g->shares = shares;
    struct allocation *strata = shares == NULL ? NULL : realloc(g->strata, room * sizeof *strata);
    if (strata == NULL) {
        budget_give(g->opts.budget, more);
        g->no_memory = true;
        return false;
    }
    g->strata = strata;
    memset(g->shares + g->room, 0, (room - g->room) * sizeof *shares);
    g->room = room;
    return true;
}

struct share *governor_share(struct governor *g, uint32_t number)
{
    if (number >= g->room && !make_room(g, number))
        return NULL;
    if (number >= g->made)
        g->made = number + 1;
    return &g->shares[number];
}

void governor_forget(struct governor *g, uint32_t number)
{
    if (number < g->made)
        g->shares[number] = (struct share){0};
}

/* ---- the interval ------------------------------------------------------ */

static void smooth(struct share *s, double seconds)
{
    double now = s->volume / seconds, mean = s->count > 0 ? s->volume / s->count : 1;
    double noise = NOISE_SIGMAS * sqrt(fmax(now, (double)s->smooth) * mean / seconds);
    if (!s->known || now > s->smooth + noise)
        s->smooth = (float)now;
    else
        s->smooth += (float)(SLOW_DOWN * (now - s->smooth));
    s->known = s->count > 0 || s->smooth > FORGET_RECORDS_S * mean;
    s->volume = 0;
    s->count = 0;
}

/* What the sampled strata may have, a second. */
static double left_to_sample(const struct governor *g, double asked)
{
    double left = HUGE_VAL;
    if (governor_has_budget(g)) {
        double correction = fmin(fmax(g->credit / (REPAY_S * g->rate), -REPAY_LESS), REPAY_MORE);
        left = fmax(g->rate * (1 + correction) - g->certain_rate, LEAST_PART * g->rate);
    }
    return fmin(left, asked * pressure_volume(&g->pressure));
}

/* The strata are filled: give each its part. */
static void divide(struct governor *g, double asked)
{
    double left = left_to_sample(g, asked);
    g->presses = g->pressure.level > 0 && left >= asked * pressure_volume(&g->pressure);
    allocation_solve(g->strata, g->made, g->opts.target.exponent, left);
    for (uint32_t i = 0; i < g->made; i++) {
        struct share *s = &g->shares[i];
        s->part = (float)g->strata[i].share;
        s->factor = s->smooth > 0 ? fminf(s->part / s->smooth, 1) : 1;
    }
}

static void allocate(struct governor *g)
{
    double seconds = (double)(g->now_ms - g->interval_ms) / 1000, asked = 0;
    double weight[SEVERITIES];
    for (unsigned l = 0; l < SEVERITIES; l++)
        weight[l] = g->pressure.level > 0 ? pressure_weight(l) : 1;
    for (uint32_t i = 0; i < g->made; i++) {
        struct share *s = &g->shares[i];
        if (s->known || s->count > 0)
            smooth(s, seconds);
        g->strata[i] = (struct allocation){s->known ? s->smooth : 0, weight[s->level], 0};
        asked += g->strata[i].volume;
    }
    /* In the first seconds all patterns are new: what was certain then is no steady rate. */
    g->certain_rate += SLOW_DOWN * fmin(seconds, 1) *
                       (g->certain / fmax(seconds, INTERVAL_MS / 1000.0) - g->certain_rate);
    if (g->opts.target.unit == GOVERNOR_REDUCTION) {
        double now = g->arrived / seconds;
        g->arrivals += (now > g->arrivals ? 1 : SLOW_DOWN) * (now - g->arrivals);
        governor_set_rate(g, g->opts.target.amount * g->arrivals);
    }
    divide(g, asked);
    g->interval_ms = g->now_ms;
    g->pressure_then = g->pressure.level;
    g->certain = g->arrived = 0;
    g->is_guarded = g->no_memory = g->is_fresh = false;
    g->allocations++;
}

static bool is_due(const struct governor *g)
{
    uint64_t ms = g->now_ms - g->interval_ms;
    bool moved = fabs(g->pressure.level - g->pressure_then) > PRESSED_STEP;
    bool early = g->is_guarded || g->pressure.level > 0;
    return ms >= INTERVAL_MS || (early && ms >= EARLY_MS) || (moved && ms >= PRESSED_MS);
}

/* No more than the present budget allows. */
static void cut_debts(struct governor *g)
{
    g->credit = fmax(fmin(g->credit, CREDIT_S * g->rate), -DEBT_S * g->rate);
    g->firsts = fmin(g->firsts, FIRST_DEPTH_S * g->rate);
    g->bucket = fmin(g->bucket, BUCKET_FACTOR * BUCKET_DEPTH_S * g->rate);
}

/* Go on where the process before was, as after a pause. */
static void take_over(struct governor *g)
{
    const struct debts *d = &g->before;
    const double allowed = g->allowed;
    double asked = 0;
    g->arrivals = d->arrivals;
    if (g->opts.target.unit == GOVERNOR_REDUCTION)
        governor_set_rate(g, g->opts.target.amount * d->arrivals);
    g->level = d->level;
    g->lull_s = d->lull_s;
    g->mean_cost = d->mean_cost;
    g->credit = d->credit;
    g->certain_rate = d->certain_rate;
    g->firsts = d->firsts;
    g->bucket = d->bucket;
    governor_set_smallness(g);
    if (g->opts.target.unit != GOVERNOR_REDUCTION)
        governor_allow(g, g->rate * d->away_s);
    g->allowed = allowed; /* it is of the time in which there was a process */
    g->level = fmax(g->level, 0);
    cut_debts(g);
    for (uint32_t i = 0; i < g->made; i++) {
        const struct share *s = &g->shares[i];
        g->strata[i] = (struct allocation){s->known ? s->smooth : 0, 1, 0};
        asked += g->strata[i].volume;
    }
    divide(g, asked);
    g->is_fresh = g->has_before = false;
}

/* From nothing, or from what the process before has left: what was known since is too old. */
static void turn_on(struct governor *g)
{
    g->is_on = g->is_fresh = true;
    g->interval_ms = g->now_ms;
    g->pressure_then = 0;
    g->level = g->credit = g->arrived = g->arrivals = g->recent = 0;
    g->mean_cost = 0;
    if (!governor_has_budget(g))
        return;
    governor_set_rate(g, g->opts.target.unit == GOVERNOR_REDUCTION ? 0 : g->opts.target.amount);
    g->firsts = FIRST_DEPTH_S * g->rate;
    g->bucket = BUCKET_FACTOR * BUCKET_DEPTH_S * g->rate;
    if (g->has_before)
        take_over(g);
}

static void turn_off(struct governor *g)
{
    drop_shares(g);
    g->is_on = g->presses = g->is_guarded = false;
    g->certain = g->certain_rate = 0;
}

void governor_set_target(struct governor *g, const struct governor_target *target)
{
    struct governor_target *now = &g->opts.target;
    if (now->unit == target->unit && now->amount == target->amount &&
        now->exponent == target->exponent)
        return;
    if (now->unit != target->unit) {
        g->used = g->allowed = 0;
        g->has_before = false;
    }
    *now = *target;
    if (g->is_on)
        turn_off(g); /* and on again, with the new rate, at the next request */
}

void governor_set_amount(struct governor *g, double amount)
{
    g->opts.target.amount = amount;
    if (!g->is_on)
        return;
    governor_set_rate(g, amount);
    cut_debts(g);
}

static void tell_pressure(double before, const struct pressure *now, double fullness)
{
    if (before <= 0 && now->level > 0)
        diag(DIAG_WARN, "shedding",
             "the queue fills: the loudest and least severe patterns are shed", "fullness=%.2f",
             fullness);
    else if (before > 0 && now->level <= 0)
        diag(DIAG_INFO, "shedding_ended", "the queue has room again", "fullness=%.2f", fullness);
}

static void set_catch_up(struct governor *g)
{
    const struct pressure then = {.level = g->pressure_then};
    bool has_grown = g->pressure.level > g->pressure_then;
    for (unsigned l = 0; l < SEVERITIES; l++)
        g->catch_up[l] = has_grown ? pressure_share(&g->pressure, l) / pressure_share(&then, l) : 1;
}

bool governor_begin(struct governor *g, uint64_t now_ms, double fullness)
{
    uint64_t passed_ms = g->is_on && now_ms > g->now_ms ? now_ms - g->now_ms : 0;
    if (g->is_on && now_ms < g->now_ms) /* a replay of another capture */
        g->interval_ms = now_ms;
    g->now_ms = now_ms;
    double pressed = g->pressure.level;
    pressure_update(&g->pressure, fullness, now_ms);
    tell_pressure(pressed, &g->pressure, fullness);
    if (!governor_has_budget(g) && !g->pressure.watching) {
        if (g->is_on)
            turn_off(g);
        return false;
    }
    if (!g->is_on)
        turn_on(g);
    set_catch_up(g);
    if (passed_ms == 0)
        return true;
    double seconds = (double)passed_ms / 1000;
    g->recent *= exp(-seconds / governor_recent_s(g));
    g->lull_s += LULL_WEIGHT * (fmin(seconds, LULL_MAX_S) - g->lull_s);
    if (g->level < 0)
        g->level *= fmax(0, 1 - seconds / (LEVEL_KEEPS_S + 2 * g->lull_s));
    if (governor_has_budget(g) && g->opts.target.unit != GOVERNOR_REDUCTION)
        governor_allow(g, g->rate * seconds);
    if (is_due(g)) {
        allocate(g);
        set_catch_up(g);
    }
    return true;
}

/* Before the first request nothing is on, and a rate that needs none is known all the same. */
static double rate_now(const struct governor *g)
{
    bool is_told = g->is_on || g->opts.target.unit == GOVERNOR_REDUCTION;
    return !governor_has_budget(g) ? 0 : is_told ? g->rate : g->opts.target.amount;
}

double governor_factor(const struct governor *g, uint32_t number, enum governor_cause *why)
{
    *why = GOVERNOR_FREE;
    if (!g->is_on || number >= g->made || !g->shares[number].known || g->shares[number].factor >= 1)
        return 1;
    *why = g->presses ? GOVERNOR_BY_PRESSURE : GOVERNOR_BY_BUDGET;
    return (double)g->shares[number].factor;
}

struct governor_stats governor_stats(const struct governor *g)
{
    return (struct governor_stats){
        .rate = rate_now(g),
        .used = g->used,
        .allowed = g->allowed,
        .pressure = g->pressure.level,
        .allocations = g->allocations,
    };
}
