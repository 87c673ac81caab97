/*
 * whatif: what a time that is over would have cost under other rules.
 *
 * From counts by pattern: how many records came, in how many minutes, and what the rules now and
 * the rules then make of them: keep and drop rules, the first of each window, rates, and a budget
 * that is shared as the governor shares it (pipeline/allocation.h). A model of both is made, and
 * what was really kept is scaled by their ratio: equal rules change nothing.
 *
 * Not in it: rules that ask for attributes or bodies, anomaly_boost, the context of errors, bursts
 * within a minute. Pure. Blocking: never. Cost: 16,384 patterns take about 5 ms.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/governor.h"
#include "pipeline/rules.h"
#include "pipeline/standing.h"
#include "util/arena.h"
#include "util/err.h"

struct whatif_pattern {
    const struct standing_facts *facts;   /* strength and factor are not asked */
    const struct rules *now, *then;       /* those of its service */
    double records, bytes;                /* that came, as metered */
    double busy_s;                        /* seconds in which they came */
    double share_now, share_then;         /* out: that go on, 0 to 1 */
    bool is_certain_now, is_certain_then; /* out: no budget takes from it */
};

struct whatif_sum {
    double records, bytes;
};

struct whatif {
    struct whatif_sum received, now, then; /* of the patterns, by the model */
    unsigned unasked;                      /* patterns with rules that were not asked */
};

/* `seconds`: of the time. Budgets of unit GOVERNOR_NONE: none. Scratch: 48 bytes a
 * pattern. ERR_NOMEM. */
MUST_CHECK int whatif_of(struct whatif *out, struct whatif_pattern *patterns, size_t count,
                         struct arena *scratch, double seconds, const struct governor_target *now,
                         const struct governor_target *then);

/* What was really kept, under the rules then. */
struct whatif_sum whatif_scaled(const struct whatif *w, const struct whatif_sum *received,
                                const struct whatif_sum *kept);
