/* governor_state: what the three files of the governor share. */
#pragma once

#include "pipeline/allocation.h"
#include "pipeline/governor.h"
#include "pipeline/pressure.h"

#define LULL_MAX_S 10.0 /* longer silence gives no more credit: exporters wait up to 5 s */
#define CREDIT_S 20.0   /* how much is remembered of what was not used */
#define DEBT_S 80.0     /* and of what was too much: bursts of small budgets */
#define REPAY_S 30.0
#define REPAY_LESS 0.75
#define FIRST_DEPTH_S 1.0
#define BUCKET_FACTOR 4.0
#define BUCKET_DEPTH_S 10.0
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

static inline bool governor_has_budget(const struct governor *g)
{
    return g->opts.target.unit != GOVERNOR_NONE;
}

/* The share of entry `number`, which may be new; NULL: there is no room for it. */
struct share *governor_share(struct governor *g, uint32_t number);

/* ---- governor_draw ---- */

/* The budget grows by so much: with time, or with what arrives. */
void governor_allow(struct governor *g, double cost);

void governor_set_rate(struct governor *g, double rate);

/* After another rate, or another mean cost: each record asks for it several times. */
void governor_set_smallness(struct governor *g);

/* Over which time `recent` is taken. */
double governor_recent_s(const struct governor *g);
