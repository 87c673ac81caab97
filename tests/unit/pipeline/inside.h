/* inside: the live tables of a pipeline, for tests that look at them between two calls. */
#pragma once

#include "pipeline/pipeline_state.h"

static inline struct ledger *pipeline_ledger(struct pipeline *p)
{
    return p->ledger;
}

static inline struct patterns *pipeline_patterns(struct pipeline *p)
{
    return p->patterns;
}

static inline struct families *pipeline_families(struct pipeline *p)
{
    return p->families;
}

static inline const struct census_reasons *pipeline_reasons(const struct pipeline *p)
{
    return &p->reasons;
}

static inline struct governor_stats pipeline_governor(const struct pipeline *p)
{
    return p->governor == NULL ? (struct governor_stats){0} : governor_stats(p->governor);
}
