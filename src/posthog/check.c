/* check: a chain of questions; each answer is kept, and the next is asked. */
#include "posthog/check.h"

#include <stdio.h>
#include <string.h>

#include "util/json.h"

typedef void answer_fn(void *ctx, const struct app_answer *a);

static void finish(struct check *c)
{
    c->call = NULL;
    c->is_running = false;
    findings_of(&c->findings, &c->gathered);
    c->opts.done(c->opts.ctx);
}

/* Ask, when the key may; else go on with *v saying which scope is missing. */
static bool ask(struct check *c, const char *scope, const char *path, answer_fn *fn,
                struct app_verdict *v)
{
    const struct app_request r = {.method = "GET", .path = path, .ctx = c, .done = fn};
    if (!project_may(&c->project, scope)) {
        v->fault = APP_NO_SCOPE;
        return false;
    }
    if (app_send(c->opts.app, &r, &c->call) == 0)
        return true;
    v->fault = APP_NO_ROOM;
    snprintf(v->text, sizeof v->text, "%s could not be asked: too many requests wait", path);
    return false;
}

/* ---- attributes that link ---------------------------------------------- */

static void on_keys(void *ctx, const struct app_answer *a)
{
    struct check *c = ctx;
    app_verdict_copy(&c->gathered.keys_fault, a);
    if (a->fault == APP_FINE)
        link_keys_read(&c->gathered.keys, a->root);
    if (a->fault == APP_NOT_FOUND) /* an older PostHog: the usual ones hold */
        c->gathered.keys_fault.fault = APP_FINE;
    finish(c);
}

static void ask_keys(struct check *c)
{
    if (!ask(c, "project:read", "logs_config/", on_keys, &c->gathered.keys_fault))
        finish(c);
}

/* ---- drop rules -------------------------------------------------------- */

struct touched {
    struct json_node rule;
    struct span service;
    uint32_t count;
};

static void hold_against(void *arg, struct span service)
{
    struct touched *t = arg;
    if (!drop_rule_touches(t->rule, service))
        return;
    t->service = service;
    t->count++;
}

static void on_rule(void *ctx, struct json_node rule)
{
    struct check *c = ctx;
    struct gathered *g = &c->gathered;
    struct touched t = {.rule = rule};
    struct span name = json_string(json_get(rule, "name"));
    if (c->opts.each_service != NULL)
        c->opts.each_service(c->opts.ctx, hold_against, &t);
    else
        t.count = drop_rule_touches(rule, (struct span){0}) ? 2 : 0;
    if (t.count == 0)
        return;
    if (c->opts.each_service == NULL)
        t.service = json_string(json_get(rule, "scope_service"));
    else if (t.count > 1)
        t.service = (struct span){0};
    if (g->rule_count < FINDING_RULES_MAX) {
        snprintf(g->rules[g->rule_count].name, FINDING_NAME_BYTES, "%.*s", (int)name.len,
                 (const char *)name.base);
        snprintf(g->rules[g->rule_count].service, FINDING_NAME_BYTES, "%.*s", (int)t.service.len,
                 (const char *)t.service.base);
    }
    g->rule_count++;
}

static void on_rules(void *ctx, const struct app_verdict *v)
{
    struct check *c = ctx;
    c->gathered.rules_fault = *v;
    /* Drop rules are behind a flag: a project without them has none that act. */
    if (v->fault == APP_FORBIDDEN || v->fault == APP_NOT_FOUND)
        c->gathered.rules_fault.fault = APP_FINE;
    ask_keys(c);
}

static void ask_rules(struct check *c)
{
    c->call = NULL;
    if (!project_may(&c->project, "logs:read")) {
        c->gathered.rules_fault.fault = APP_NO_SCOPE;
        ask_keys(c);
    } else if (listing_begin(&c->listing, c->opts.app, "logs/sampling_rules/", on_rule, on_rules,
                             c) < 0) {
        c->gathered.rules_fault.fault = APP_NO_ROOM;
        ask_keys(c);
    }
}

/* ---- quota, settings --------------------------------------------------- */

static void on_quota(void *ctx, const struct app_answer *a)
{
    struct check *c = ctx;
    app_verdict_copy(&c->gathered.quota_fault, a);
    if (a->fault == APP_FINE)
        quota_read(&c->gathered.quota, a->root);
    ask_rules(c);
}

static void ask_quota(struct check *c)
{
    if (!ask(c, "project:read", "quota_limits/", on_quota, &c->gathered.quota_fault))
        ask_rules(c);
}

static void on_settings(void *ctx, const struct app_answer *a)
{
    struct check *c = ctx;
    app_verdict_copy(&c->gathered.settings_fault, a);
    c->gathered.scrubs =
        json_is_true(json_get(json_get(a->root, "logs_settings"), "pii_scrub_logs"));
    ask_quota(c);
}

static void on_project(void *ctx, const struct project *p)
{
    struct check *c = ctx;
    if (p->outcome == PROJECT_UNASKED || p->outcome == PROJECT_UNKNOWN) {
        finish(c);
        return;
    }
    snprintf(c->path, sizeof c->path, "/api/projects/%u/", p->id);
    if (!ask(c, "project:read", c->path, on_settings, &c->gathered.settings_fault))
        ask_quota(c);
}

int check_start(struct check *c, const struct check_opts *opts)
{
    *c = (struct check){.opts = *opts};
    c->gathered.app_host = app_host(opts->app);
    c->gathered.ingestion_host = opts->ingestion_host;
    c->gathered.project = &c->project;
    c->gathered.leads = opts->leads;
    int rc = project_find(&c->project, opts->app, opts->token, opts->project_id, on_project, c);
    c->is_running = rc == 0;
    return rc;
}

void check_stop(struct check *c)
{
    if (!c->is_running)
        return;
    project_stop(&c->project);
    listing_stop(&c->listing);
    if (c->call != NULL)
        app_cancel(c->call);
    c->call = NULL;
    c->is_running = false;
}

/* ---- for people and programs ------------------------------------------- */

static const char *grade_word(enum finding_what what)
{
    return finding_grade(what) == FINDING_FAULT ? "fault" : "note";
}

static void write_names(struct json *j, const char *key, const char *names)
{
    json_begin_list(j, key);
    while (*names != '\0') {
        size_t n = strcspn(names, ",");
        json_text(j, NULL, span_of(names, n));
        names += n + (names[n] == ',');
    }
    json_end_list(j);
}

static void write_quota(struct json *j, const struct gathered *g)
{
    const struct quota *q = &g->quota;
    json_begin(j, "quota");
    json_bool(j, "known", q->is_known);
    json_bool(j, "limited", q->is_limited);
    if (q->has_usage)
        json_printf(j, "usage_mb", "%.6g", q->usage_mb);
    else
        json_null(j, "usage_mb");
    if (q->has_limit)
        json_printf(j, "limit_mb", "%.6g", q->limit_mb);
    else
        json_null(j, "limit_mb");
    json_end(j);
}

void check_write_json(const struct check *c, struct buf *out)
{
    const struct project *p = &c->project;
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_bool(&j, "ok", c->findings.faults == 0);
    json_str(&j, "app_host", c->gathered.app_host);
    if (p->id != 0) {
        json_begin(&j, "project");
        json_u64(&j, "id", p->id);
        json_str(&j, "name", p->name);
        json_end(&j);
    } else {
        json_null(&j, "project");
    }
    write_quota(&j, &c->gathered);
    write_names(&j, "person_attributes", c->gathered.keys.persons);
    write_names(&j, "session_attributes", c->gathered.keys.sessions);
    json_begin_list(&j, "findings");
    for (uint32_t i = 0; i < c->findings.count; i++) {
        const struct finding *f = &c->findings.list[i];
        json_begin(&j, NULL);
        json_str(&j, "what", finding_word(f->what));
        json_str(&j, "grade", grade_word(f->what));
        json_str(&j, "text", f->text);
        json_str(&j, "remedy", f->remedy);
        json_end(&j);
    }
    json_end_list(&j);
    json_end(&j);
    json_line(&j);
}

void check_write_text(const struct check *c, struct buf *out)
{
    const struct project *p = &c->project;
    const struct gathered *g = &c->gathered;
    if (p->id != 0)
        buf_printf(out, "project   %u %s at %s\n", p->id, p->name, g->app_host);
    if (g->quota.has_usage && g->quota.has_limit)
        buf_printf(out, "quota     %.0f of %.0f MB used in this period\n", g->quota.usage_mb,
                   g->quota.limit_mb);
    else if (g->quota.has_usage)
        buf_printf(out, "quota     %.0f MB used in this period, no limit\n", g->quota.usage_mb);
    if (g->keys.persons[0] != '\0')
        buf_printf(out, "persons   by attribute %s\n", g->keys.persons);
    if (g->keys.sessions[0] != '\0')
        buf_printf(out, "sessions  by attribute %s\n", g->keys.sessions);
    for (uint32_t i = 0; i < c->findings.count; i++) {
        const struct finding *f = &c->findings.list[i];
        buf_printf(out, "%-9s %s\n", grade_word(f->what), f->text);
        if (f->remedy[0] != '\0')
            buf_printf(out, "          %s\n", f->remedy);
    }
    if (c->findings.faults == 0)
        buf_append_str(out, "all is well\n");
}
