/* pipeline_redact: what the pipeline asks of its redactor, but for the door (pipeline_emit.c). */
#include <assert.h>

#include "pipeline/pipeline_state.h"
#include "util/diag.h"
#include "util/unicode.h"

/* Once for each kind in each service. The name is the one that people see. */
static void on_seen(void *ctx, const char *kind, enum redact_where where, uint32_t service)
{
    const struct pipeline *p = ctx;
    char quoted[DIAG_QUOTE_BYTES];
    bool enforces = redactor_enforces(p->redactor);
    diag(enforces ? DIAG_INFO : DIAG_WARN, "redaction",
         enforces ? "found for the first time, and redacted"
                  : "found for the first time; nothing is changed before redaction.mode: enforce",
         "kind=%s where=%s service=%s", kind, redact_where_name(where),
         diag_quote(quoted, service < ledger_services(p->ledger)
                                ? ledger_service_name(p->ledger, service)
                                : SPAN("")));
}

int pipeline_start_redaction(struct pipeline *p)
{
    struct redact_opts opts = p->opts.redact;
    if (opts.mode == REDACT_OFF)
        return 0;
    opts.max_services = p->opts.max_services;
    opts.seed = p->opts.seed;
    opts.budget = p->opts.budget;
    opts.seen = p->opts.logs_secrets ? on_seen : NULL;
    opts.ctx = p;
    return redactor_new(&p->redactor, &opts);
}

int pipeline_protect(struct pipeline *p, struct span names)
{
    return p->redactor == NULL ? 0 : redactor_protect(p->redactor, names);
}

const struct subject *pipeline_view(const struct pipeline *p, const struct subject *s,
                                    struct pipeline_view *view)
{
    if (!redactor_enforces(p->redactor))
        return s;
    view->subject = *s;
    view->group = *s->group;
    view->subject.record = &view->record;
    view->subject.group = &view->group;
    struct span name =
        redactor_show(p->redactor, s->group->service_name, false, REDACT_IN_RESOURCE);
    if (name.base != s->group->service_name.base) {
        name = utf8_cut(name, sizeof view->name);
        view->group.service_name = span_of(view->name, name.len);
        memcpy(view->name, name.base != NULL ? name.base : (const uint8_t *)"", name.len);
    }
    redactor_show_record(p->redactor, &view->subject.bytes);
    int rc = log_record_read(&view->record, view->subject.bytes);
    assert(rc == 0); /* it was sound before */
    return &view->subject;
}

struct span pipeline_own_template(struct pipeline *p, const struct logs_group *g,
                                  struct span record)
{
    struct log_record r;
    if (!redactor_enforces(p->redactor))
        return pattern_own_template(&p->place);
    struct span shown = record;
    redactor_show_record(p->redactor, &shown);
    if (shown.base != record.base && log_record_read(&r, shown) == 0)
        pipeline_sign(p, g, shown, &r);
    return redactor_show(p->redactor, pattern_own_template(&p->place), true, REDACT_IN_TEMPLATE);
}

struct span pipeline_show_template(void *ctx, struct span text, bool is_own)
{
    struct pipeline *p = ctx;
    if (is_own)
        return pipeline_own_template(p, p->placing.group, p->placing.record);
    return redactor_show(p->redactor, text, true, REDACT_IN_TEMPLATE);
}

struct redact_set pipeline_find_secrets(const struct pipeline *p, struct span record)
{
    struct redact_set kinds = {0};
    struct span out;
    if (p->redactor != NULL)
        ignore_code(redactor_record(p->redactor, record, &kinds, &out)); /* for people: none */
    return kinds;
}
