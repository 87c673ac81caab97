/*
 * sampler: keep or drop one record, and why.
 *
 * The order is the contract; the first that applies decides:
 *   1. floor    ERROR and above, or an exception.type attribute: kept
 *   2. priority sampling.priority, a number: 0 drops, any other keeps
 *   3. rules    the user's keep rules, then the drop rules
 *   .. guarded  PostHog counts it (pipeline/guard.h): kept
 *   .. context  an adjusted count of 0: another sampler has released it as the
 *               context of an error; kept with that
 *   4. first    the first N of a pattern in a window: kept, weight 1
 *   5. rate     pattern_rates (of the signature, else of its family), else
 *               severity_rates, else global_rate; more while the pattern or its service is
 *               anomalous (anomaly_boost); and where a governor is at work, less
 *               (pipeline/governor.h), which then is the reason: budget or pressure
 *
 * Left to chance a record is kept when R >= T: where R comes from is said in
 * pipeline/draw.h.
 *
 * Weights: a kept record stands for 1/p records, p being the probability that it
 * got through all samplers, those before us included (pipeline/consistent.h).
 * Steps 1 to 4 keep with certainty and add nothing to it: a record that no sampler has
 * sampled counts 1, one that came with a threshold keeps the weight that it has.
 */
#pragma once

#include <stdbool.h>

#include "otlp/logs.h"
#include "pattern/patterns.h"
#include "pipeline/draw.h"
#include "pipeline/governor.h"
#include "pipeline/ledger.h"
#include "pipeline/rules.h"

/* clang-format off */
#define REASONS(X) \
    X(FLOOR,         "floor") \
    X(FLOOR_LIMIT,   "floor_limit") \
    X(PRIORITY,      "priority") \
    X(KEEP_RULE,     "keep_rule") \
    X(DROP_RULE,     "drop_rule") \
    X(GUARDED,       "guarded") \
    X(PROVIDER,      "provider_policy") \
    X(ERROR_CONTEXT, "error_context") \
    X(FIRST,         "first") \
    X(PATTERN_RATE,  "pattern_rate") \
    X(SEVERITY_RATE, "severity_rate") \
    X(GLOBAL_RATE,   "global_rate") \
    X(BUDGET,        "budget") \
    X(PRESSURE,      "pressure") \
    X(OBSERVED,      "observed") \
    X(EVENT,         "event") \
    X(REDACTION,     "redaction")
/* clang-format on */

#define X(name, text) REASON_##name,
enum reason { REASONS(X) REASON_COUNT };
#undef X

const char *reason_name(enum reason r);

/* Not by chance: up to `first` in the order above. */
static inline bool reason_is_certain(enum reason r)
{
    return r <= REASON_FIRST;
}

/* Where the severities of records came from. */
enum severity_source {
    SEVERITY_OF_FIELDS,
    SEVERITY_OF_TEXT,
    SEVERITY_OF_NOTHING,
    SEVERITY_SOURCES
};

struct subject {
    const struct logs_group *group;
    struct span bytes; /* the encoded record */
    const struct log_record *record;
    enum level level;
    bool level_from_text;       /* for people: the record itself has none */
    uint64_t signature, family; /* the same while it has none */
    struct pattern *pattern;    /* its entry: the window and the spacing. May be NULL for
                                 * sampler_explain() */
    struct draw draw;           /* of draws_take(); zero: spaced */
    uint64_t now_ms;            /* of the records (pipeline/record_clock.h) */
    size_t metered;             /* bytes that it costs, without stamps (pipeline/metering.h) */
    struct governor *governor;  /* NULL: nothing to govern */
    float anomaly; /* how much its pattern or service is anomalous, 0 to 1 (pipeline/anomaly.h) */
    bool guarded;  /* one of `selected` keeps it */
    uint64_t selected; /* by what is guarded, bit per item (pipeline/guard.h) */
};

struct decision {
    enum verdict verdict; /* KEPT, SAMPLED_OUT or DROPPED_BY_RULE */
    enum reason reason;
    uint64_t threshold;  /* T of all samplers together; 0: kept with certainty by all */
    uint64_t randomness; /* R that goes with it, where threshold > 0 */
    bool own_randomness; /* R is ours: it cannot be found in the record */
    bool is_new;         /* the first record ever of its pattern, which any budget has room for */
};

/* An error, which is always kept: by its level, or because it has an exception.type. */
bool sampler_is_on_floor(const struct log_record *r, enum level level);

/* Decide. Counts the record into its pattern's window and spacing; nothing else changes. */
struct decision sampler_decide(const struct rules *rules, const struct subject *s);

/* What was asked on the way to a decision, in the order of the contract. */
enum sampler_stage {
    SAMPLER_FLOOR,
    SAMPLER_PRIORITY,
    SAMPLER_KEEP,
    SAMPLER_DROP,
    SAMPLER_GUARD, /* place: the first that selects it */
    SAMPLER_CONTEXT,
    SAMPLER_FIRST,
    SAMPLER_RATE,
    SAMPLER_BOOST, /* where there is one to apply */
    SAMPLER_BUDGET,
};

struct sampler_step {
    enum sampler_stage stage;
    bool applies;             /* it decides */
    unsigned place;           /* KEEP, DROP, GUARD: which rule, from 0 */
    enum rules_source source; /* RATE */
    uint64_t threshold;       /* RATE; BOOST: what it becomes */
};

struct sampler_trace {
    void *ctx;
    void (*step)(void *ctx, const struct sampler_step *step);
};

/* The same decision for one record by itself, step by step. FIRST and, where there is a
 * governor, BUDGET are reported and passed over, because they depend on the records before;
 * s->pattern may be NULL. Counts nothing. */
struct decision sampler_explain(const struct rules *rules, const struct subject *s,
                                const struct sampler_trace *trace);
