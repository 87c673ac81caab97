/*
 * asking: what was counted of each pattern in the last hour or day, under the rules in force and
 * under others: for what-if, for proposals, and for what a version would save.
 *
 * Blocking: never. 16,384 patterns take about 10 ms.
 */
#pragma once

#include "pipeline/census.h"
#include "policy/money.h"
#include "policy/whatif.h"
#include "telemetry/history.h"
#include "util/err.h"

struct sidecar;

struct asking {
    struct sidecar *sc;
    struct history *history;
    enum series_span span;
    struct census census;        /* with services and facts, without templates */
    struct whatif_pattern *list; /* by census.patterns */
    struct whatif model;
    struct whatif_sum received, now, then; /* really; observing: `now` is what would be kept */
    double known_s;                        /* seconds of the span that are known, at least 1 */
};

/* `then`: the rules of all services without their own; `target`: the budget then. ERR_EMPTY: there
 * is no history; ERR_FULL, ERR_NOMEM. On failure nothing is left. */
MUST_CHECK int asking_open(struct asking *a, struct sidecar *sc, enum series_span span,
                           const struct rules *then, const struct governor_target *target,
                           struct budget *budget);
void asking_done(struct asking *a);

/* Money of a month at the rate of the span, when so many bytes of it are sent. */
struct money_month asking_month(const struct asking *a, double kept_bytes);

/* Patterns that other rules lower although something protects them softly (policy/plan.h). */
uint32_t asking_lowered(const struct asking *a, const char **why);
