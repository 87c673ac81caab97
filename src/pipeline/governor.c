/* governor: one level, one credit and one bucket for all, a share for each pattern. */
#include "pipeline/governor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/allocation.h"
#include "pipeline/pressure.h"
#include "util/diag.h"
#include "util/err.h"
#include "util/saved.h"

#define INTERVAL_MS 5000
#define EARLY_MS 1000     /* after a guard was hit */
#define PRESSED_MS 250    /* while the queue fills */
#define PRESSED_STEP 0.05 /* of the pressure's level that is worth it */
#define SLOW_DOWN 0.3     /* weight of a new volume that is no rise */
#define NOISE_SIGMAS \
    2.0                       /* a count that is higher by less is no rise: taking it would \
                               * overestimate rare patterns by a third */
#define FORGET_RECORDS_S 0.01 /* a pattern this quiet is as good as new */
#define BURST_FACTOR 4.0      /* of a pattern's part, within a second */
#define NEW_PART 0.1          /* of the budget: what a pattern may take that nothing is known of */
#define SLACK 1.2             /* of the rate: how fast the level drains */
#define LEVEL_FREE 0.05       /* seconds of the rate that the level may hold unguarded ... */
#define LEVEL_SCALE 0.08      /* ... and over which factors then fall by e */
#define LEVEL_STEPS 4.0       /* e^-4: what a storm of errors leaves of the factors */
#define LEVEL_KEEPS_S 0.5     /* how long credit for silence lasts, and two usual lulls more */
#define LULL_MAX_S 10.0       /* longer silence gives no more credit: exporters wait up to 5 s */
#define LULL_WEIGHT 0.05
#define CREDIT_S 20.0 /* how much is remembered of what was not used */
#define DEBT_S 80.0   /* and of what was too much: bursts of small budgets */
#define REPAY_S 30.0
#define REPAY_MORE 0.5 /* bounds of the correction, as a share of the rate */
#define REPAY_LESS 0.75
#define FIRST_PART 0.1 /* of the budget, for firsts: what they take, counts lack */
#define FIRST_DEPTH_S 1.0
#define LEAST_PART 0.01 /* of the budget, for what is sampled, if all else is kept */
#define BUCKET_FACTOR 4.0
#define BUCKET_DEPTH_S 10.0
#define BUCKET_LOW_S 5.0         /* of the rate */
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
#define SHARES_MIN 256
#define SEVERITIES 6

struct share {
    double volume; /* cost of this interval, were the own rates all */
    uint32_t count;
    uint32_t second_ms;       /* when the second began; may wrap */
    float smooth;             /* cost a second */
    float factor, part;       /* part: cost a second */
    float in_second, ceiling; /* expected cost of the second, and where the guard begins */
    uint8_t level;
    bool known, seen;
};

/* What a process leaves to the next. */
struct debts {
    double arrivals, level, lull_s, mean_cost, credit, certain_rate, firsts, bucket;
    double away_s;
};

struct governor {
    struct governor_opts opts;
    struct share *shares;      /* by entry number */
    struct allocation *strata; /* the same places */
    uint32_t room, made;
    bool no_memory; /* until the next interval */

    bool is_on;
    bool is_fresh;                /* nothing is smooth yet: no allocation since it is on */
    uint64_t now_ms, interval_ms; /* interval_ms: when this one began */
    struct pressure pressure;
    double pressure_then; /* at the last allocation */
    /* What the pressure has grown by since then leaves of a factor, by severity: a queue may fill
     * within a fraction of the interval. */
    double catch_up[SEVERITIES];
    bool presses;    /* the last allocation was bound by it */
    bool is_guarded; /* a guard was hit in this interval */

    double rate;              /* of the budget, cost a second */
    double arrived, arrivals; /* in this interval; smoothed, a second */
    double level, lull_s;
    double mean_cost; /* of a record */
    /* How small the budget is, from 1 down to 0, as records cost: with a few records a second no
     * burst can be counted that has to fit a second. */
    double smallness;
    double recent; /* cost asked for in about the last second */
    double credit;
    double certain, certain_rate; /* in this interval; smoothed, a second */
    double firsts;                /* what is left for them */
    double bucket;
    double used, allowed;
    uint64_t allocations;

    struct debts before; /* of an earlier process, until it is on */
    bool has_before;
};

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

static struct share *share_of(struct governor *g, uint32_t number)
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

/* ---- metering ---------------------------------------------------------- */

static bool has_budget(const struct governor *g)
{
    return g->opts.target.unit != GOVERNOR_NONE;
}

static double cost_of(const struct governor *g, size_t bytes, bool is_stamped)
{
    if (g->opts.target.unit == GOVERNOR_RECORDS)
        return 1;
    return (double)(bytes + (is_stamped ? g->opts.stamp_bytes : 0));
}

/* The budget grows by so much: with time, or with what arrives. */
static void allow(struct governor *g, double cost)
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

/* Each record asks for it several times, so it is kept while rate and cost stay. */
static void set_smallness(struct governor *g)
{
    g->smallness = fmax(0, 1 - g->rate / (SMALL_RECORDS_S * g->mean_cost));
}

static void set_rate(struct governor *g, double rate)
{
    g->rate = fmax(rate, 1e-9); /* it divides */
    set_smallness(g);
}

void governor_arrived(struct governor *g, size_t bytes)
{
    if (g->opts.target.unit != GOVERNOR_REDUCTION)
        return;
    double cost = (double)bytes;
    g->arrived += cost;
    if (g->is_fresh)
        set_rate(g, fmax(g->rate, g->opts.target.amount * g->arrived));
    allow(g, g->opts.target.amount * cost);
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

/* Over which time `recent` is taken. */
static double recent_s(const struct governor *g)
{
    double small_s = g->smallness * fmin(SMALL_HORIZON * g->mean_cost / g->rate, SMALL_HORIZON_S);
    return fmax(fmax(1, g->lull_s), small_s);
}

/* What is expected to be kept. */
static void meter(struct governor *g, double expected, double cost)
{
    if (!has_budget(g))
        return;
    g->mean_cost += (g->mean_cost > 0 ? MEAN_WEIGHT : 1) * (cost - g->mean_cost);
    set_smallness(g);
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
    return !has_budget(g) || (g->firsts > 0 && !is_low);
}

bool governor_pay(struct governor *g, size_t bytes, bool is_stamped, bool must_stay)
{
    double cost = cost_of(g, bytes, is_stamped);
    if (has_budget(g) && g->bucket < cost && !must_stay && !is_unknown(g))
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
        double part = s->known ? s->part : has_budget(g) ? NEW_PART * g->rate : HUGE_VAL;
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
    if (!has_budget(g) || over <= 0)
        return 1;
    double steps = over / level_scale(g, cost);
    g->is_guarded |= steps > 1;
    return exp(-steps);
}

/* The least probability. Of weights that differ much a chart shows the largest only. */
static double least_rate(const struct governor *g)
{
    if (!has_budget(g))
        return LEAST_RATE;
    double large = (1 - g->smallness) * (1 - g->smallness);
    double factor = SMALL_WEIGHT_FACTOR + (WEIGHT_FACTOR - SMALL_WEIGHT_FACTOR) * large;
    double mean = g->recent / (recent_s(g) * g->rate);
    return 1 / (factor * fmax(mean, 1));
}

double governor_draw(struct governor *g, const struct governor_record *r, enum governor_cause *why)
{
    double cost = cost_of(g, r->bytes, true), own = r->wish * cost;
    struct share *s = share_of(g, r->number);
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
        *why = has_budget(g) ? GOVERNOR_BY_BUDGET : GOVERNOR_BY_PRESSURE;
    factor = fmin(fmax(factor * guard, least_rate(g) / r->wish), 1);
    if (factor >= 1)
        *why = GOVERNOR_FREE;
    if (s != NULL)
        s->in_second += (float)(own * factor);
    meter(g, own * factor, cost);
    return factor;
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
    if (has_budget(g)) {
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
        set_rate(g, g->opts.target.amount * g->arrivals);
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
        set_rate(g, g->opts.target.amount * d->arrivals);
    g->level = d->level;
    g->lull_s = d->lull_s;
    g->mean_cost = d->mean_cost;
    g->credit = d->credit;
    g->certain_rate = d->certain_rate;
    g->firsts = d->firsts;
    g->bucket = d->bucket;
    set_smallness(g);
    if (g->opts.target.unit != GOVERNOR_REDUCTION)
        allow(g, g->rate * d->away_s);
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
    if (!has_budget(g))
        return;
    set_rate(g, g->opts.target.unit == GOVERNOR_REDUCTION ? 0 : g->opts.target.amount);
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
    set_rate(g, amount);
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
    if (!has_budget(g) && !g->pressure.watching) {
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
    g->recent *= exp(-seconds / recent_s(g));
    g->lull_s += LULL_WEIGHT * (fmin(seconds, LULL_MAX_S) - g->lull_s);
    if (g->level < 0)
        g->level *= fmax(0, 1 - seconds / (LEVEL_KEEPS_S + 2 * g->lull_s));
    if (has_budget(g) && g->opts.target.unit != GOVERNOR_REDUCTION)
        allow(g, g->rate * seconds);
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
    return !has_budget(g) ? 0 : is_told ? g->rate : g->opts.target.amount;
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

/* ---- over a restart ---------------------------------------------------- */

bool governor_known(const struct governor *g, uint32_t number, struct governor_known *out)
{
    if (!has_budget(g) || number >= g->made || !g->shares[number].known)
        return false;
    *out = (struct governor_known){g->shares[number].smooth, g->shares[number].level};
    return true;
}

/* In the order of struct debts; what a process had from the one before and never came to use goes
 * on to the next. */
void governor_save(const struct governor *g, struct buf *out)
{
    const struct debts d = !g->is_on && g->has_before
                               ? g->before
                               : (struct debts){.arrivals = g->arrivals,
                                                .level = g->level,
                                                .lull_s = g->lull_s,
                                                .mean_cost = g->mean_cost,
                                                .credit = g->credit,
                                                .certain_rate = g->certain_rate,
                                                .firsts = g->firsts,
                                                .bucket = g->bucket};
    const double all[] = {d.arrivals, d.level,        d.lull_s, d.mean_cost,
                          d.credit,   d.certain_rate, d.firsts, d.bucket};
    saved_put_u8(out, (uint8_t)g->opts.target.unit);
    saved_put_u8(out, has_budget(g) && (g->is_on || g->has_before));
    saved_put_double(out, g->used);
    saved_put_double(out, g->allowed);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        saved_put_double(out, all[i]);
}

int governor_restore(struct governor *g, struct span text, double away_s)
{
    struct saved s = {.left = text};
    struct debts d = {.away_s = fmax(away_s, 0)};
    double *const all[] = {&d.arrivals, &d.level,        &d.lull_s, &d.mean_cost,
                           &d.credit,   &d.certain_rate, &d.firsts, &d.bucket};
    const uint8_t unit = saved_u8(&s), is_on = saved_u8(&s);
    const double used = saved_double(&s), allowed = saved_double(&s);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        *all[i] = saved_double(&s);
        s.is_bad |= !isfinite(*all[i]);
    }
    s.is_bad |= !(used >= 0 && isfinite(used) && allowed >= 0 && isfinite(allowed)) ||
                d.arrivals < 0 || d.lull_s < 0 || d.mean_cost < 0 || d.certain_rate < 0 ||
                d.bucket < 0;
    if (s.is_bad)
        return ERR_MALFORMED;
    if (!has_budget(g) || unit != (uint8_t)g->opts.target.unit)
        return 0;
    g->used = used;
    g->allowed = allowed;
    g->before = d;
    /* Without a record there is no mean, which would say which of them are small. */
    g->has_before = is_on && d.mean_cost > 0;
    return 0;
}

void governor_recall(struct governor *g, uint32_t number, const struct governor_known *known)
{
    struct share *s = g->has_before && known->volume > 0 ? share_of(g, number) : NULL;
    if (s == NULL)
        return;
    s->smooth = known->volume;
    s->level = known->level;
    s->known = true;
    s->factor = 1;
}
