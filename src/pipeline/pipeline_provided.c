/* pipeline_provided: policies of another maker, before our rules. */
#include "pipeline/pipeline_state.h"

void pipeline_set_provider(struct pipeline *p, const struct pipeline_provider *provider)
{
    p->provider = provider == NULL ? (struct pipeline_provider){0} : *provider;
}

int pipeline_ask_provider(struct pipeline *p, const struct provided_record *r)
{
    struct logs_group g = *r->group;
    struct span bytes = *r->bytes;
    bool is_protected = sampler_is_on_floor(r->record, *r->level);
    int rc = p->provider.apply(p->provider.ctx, &g, &bytes, is_protected);
    if (rc != PROVIDED_CHANGED || p->opts.observe)
        return rc == PROVIDED_CHANGED ? PROVIDED_SAME : rc;
    int broken = log_record_read(r->record, bytes);
    if (broken < 0)
        return broken;
    if (is_protected && !sampler_is_on_floor(r->record, *r->level))
        *r->level = LEVEL_ERROR; /* its exception.type was taken away */
    logs_group_hash(&g, p->opts.seed);
    *r->group = g;
    *r->bytes = bytes;
    return rc;
}
