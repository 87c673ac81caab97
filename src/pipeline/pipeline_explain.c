/* pipeline_explain: the same way as a record goes, without a trace. */
#include "pipeline/pipeline_state.h"

struct explaining {
    struct pipeline *p;
    uint64_t now_ms;
    const struct pipeline_explainer *to;
};

static int on_explain(void *ctx, const struct logs_group *g, struct span bytes)
{
    const struct explaining *e = ctx;
    struct log_record record;
    int rc = log_record_read(&record, bytes);
    if (rc < 0)
        return rc;
    peer_weights_apply(&e->p->opts.peer_weights, &record, bytes);
    enum severity_source source;
    struct subject s = {
        .group = g,
        .bytes = bytes,
        .record = &record,
        .level = pipeline_level(e->p, g, bytes, &record, &source),
        .level_from_text = source == SEVERITY_OF_TEXT,
        .signature = pipeline_sign(e->p, g, bytes, &record),
        .draw = draws_peek(e->p->draws, &record, bytes),
        .governor = e->p->opts.target.unit != GOVERNOR_NONE ? e->p->governor : NULL,
    };
    s.family = e->p->families == NULL ? s.signature : families_resolve(e->p->families, s.signature);
    if (e->p->guard != NULL)
        pipeline_ask_guard(e->p, &s, guard_possible(e->p->guard, g));
    struct pipeline_view view;
    const struct subject *shown = pipeline_view(e->p, &s, &view);
    uint32_t service = ledger_find(e->p->ledger, shown->group->service_name);
    struct pattern_key key = {s.family, service, (uint8_t)s.level, pipeline_status_class(&record)};
    s.pattern = patterns_peek(e->p->patterns, &key);
    const struct rules *rules = rulebook_of(&e->p->rulebook, service, e->now_ms);
    struct redact_set kinds = pipeline_find_secrets(e->p, bytes);
    struct span template_text = pipeline_own_template(e->p, g, bytes);
    shown = pipeline_view(e->p, &s, &view); /* anew: the two above have used its memory */
    e->to->begin(e->to->trace.ctx, shown, template_text, rules, &kinds);
    struct decision d = sampler_explain(rules, &s, &e->to->trace);
    e->to->end(e->to->trace.ctx, shown, &d);
    return 0;
}

int pipeline_explain(struct pipeline *p, struct span request, struct arena *arena,
                     const struct pipeline_explainer *explainer)
{
    struct logs_count n;
    struct explaining e = {p, p->clock.now_ms, explainer};
    int rc = logs_check(request, &n);
    return rc < 0 ? rc : logs_each(request, p->opts.seed, arena, on_explain, &e);
}
