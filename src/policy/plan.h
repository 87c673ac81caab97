/*
 * plan: rates for all patterns from what was counted of them: the next version of a policy.
 *
 * Each pattern (or family) gets what policy/proposal says, a step of a factor of 4 at most. Of all
 * changes the ones that save most are taken until the next would drop more than
 * `max_drop_change` of what comes. A plan that saves less than PLAN_GAIN_MIN of what is kept is
 * none, and nor is one that saves as much as the last that was made and not applied: the
 * same proposal each hour would not be read.
 *
 * What errors, keep rules and PostHog's alerts protect stays. Patterns whose HTTP answers failed,
 * or that are anomalous, may be lowered with the id that they share with others: that is counted,
 * and such a plan is for a shadow first.
 *
 * Pure. Cost: about a microsecond a pattern.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/rules.h"
#include "pipeline/standing.h"
#include "policy/proposal.h"
#include "util/arena.h"
#include "util/err.h"

#define PLAN_GAIN_MIN 0.05 /* of the bytes that are kept */

struct plan_pattern {
    const struct standing_facts *facts;
    const struct rules *rules; /* those of its service */
    uint8_t status_class;
    double records_per_hour, received_bytes, kept_bytes; /* bytes an hour; kept: by the rules */
    uint64_t seen;                                       /* records that this is known from */
};

/* One rate that changes. */
struct plan_change {
    uint64_t id;      /* a signature or a family */
    uint32_t loudest; /* index of the pattern with the most bytes that has it */
    double rate_now, rate;
    double bytes_now, bytes; /* kept an hour */
    uint32_t soft;           /* patterns that are protected softly and have this id */
    bool is_cut;             /* it goes as far as max_drop_change lets it */
    const char *soft_why;    /* of the first; NULL: there are none */
};

struct plan_opts {
    double max_drop_change; /* share of received bytes, 0 to 1 */
    double last_share; /* of kept bytes that the last one saves which was not applied; 0: none */
};

struct plan {
    struct plan_change *changes; /* most saved first; in the arena */
    size_t count;
    double received_bytes, kept_now, kept_then; /* an hour */
    bool needs_shadow;
    size_t left_out;  /* changes that max_drop_change leaves for later */
    const char *none; /* why there is none, one sentence; NULL: there is one */
};

/* Why nothing may lower the pattern; NULL: nothing protects it. */
const char *plan_protection(const struct plan_pattern *p);

/* Why it should not be lowered without a look; NULL. */
const char *plan_soft_protection(const struct plan_pattern *p);

/* ERR_NOMEM. */
MUST_CHECK int plan_make(struct plan *out, const struct plan_pattern *patterns, size_t count,
                         const struct plan_opts *opts, struct arena *arena);
