/* api_proposal: the policy that the counts of a fleet suggest, by the rules or by a model. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "config/money.h"
#include "pattern/signature.h"
#include "pipeline/governor.h"
#include "policy/proposal.h"
#include "server/analysis.h"
#include "server/analyst.h"
#include "server/consulting.h"
#include "server/policy_hold.h"
#include "server/policy_rows.h"
#include "server/policy_text.h"
#include "server/poll.h"

#define REASONING_BYTES 4096 /* of the proposal, and what a model said */

/* ---- the proposal -------------------------------------------------------- */

struct proposing {
    struct json rates;
    struct analysis *analysis; /* NULL: no model */
    struct redactor *redactor; /* proposals are collected for the model; NULL: they are made */
    const struct rules *rules;
    double hours;
    double bytes_now, bytes_then;
    int64_t changed;
};

static bool has_key(struct span signature)
{
    uint64_t id;
    return signature_parse(signature, &id) == 0;
}

/* For the model, which is asked about those that change most. */
static void collect(struct proposing *p, const struct pattern_row *row,
                    const struct proposal_pattern *pattern, double rate)
{
    struct analyst_item item = {.level = level_name(pattern->level),
                                .per_hour = pattern->records_per_hour,
                                .bytes = pattern->bytes,
                                .now = pattern->rate_now,
                                .proposed = rate,
                                .chosen = rate};
    if (row->signature.len >= sizeof item.signature)
        return;
    memcpy(item.signature, row->signature.base, row->signature.len);
    analysis_set_template(&item, row->template_text, p->redactor);
    analysis_add(p->analysis, &item);
}

static int propose(void *ctx, const struct pattern_row *row)
{
    struct proposing *p = ctx;
    enum level level = pattern_row_level(row);
    const struct proposal_pattern pattern = {
        .level = level,
        .seen = (uint64_t)row->received,
        .records_per_hour = (double)row->received / p->hours,
        .bytes = (double)row->bytes * pattern_row_share(row, p->rules),
        .rate_now = pattern_row_share(row, p->rules),
        .protected_by = level >= LEVEL_ERROR ? "errors are always kept" : NULL,
    };
    struct proposal out;
    p->bytes_now += pattern.bytes;
    if (!has_key(row->signature)) { /* the rest, or an id that no sidecar decides by */
        p->bytes_then += pattern.bytes;
        return 0;
    }
    proposal_of(&out, &pattern);
    bool is_change = fabs(out.rate - pattern.rate_now) >= 1e-9;
    if (is_change && p->redactor != NULL)
        collect(p, row, &pattern, out.rate);
    if (is_change && p->analysis != NULL)
        out.rate = analysis_rate(p->analysis, row->signature, pattern.rate_now, out.rate);
    is_change = fabs(out.rate - pattern.rate_now) >= 1e-9;
    p->bytes_then += is_change ? pattern.bytes * out.rate / pattern.rate_now : pattern.bytes;
    if (!is_change)
        return 0;
    json_key(&p->rates, row->signature);
    json_printf(&p->rates, NULL, "%.6g", out.rate);
    p->changed++;
    return 0;
}

/* Rates that the proposal does not speak of stay. */
static void keep_rates(struct json *j, struct json_node old, struct json_node proposed)
{
    struct json_each each = json_each(old);
    while (json_next(&each)) {
        double rate;
        bool is_proposed = false;
        struct json_each other = json_each(proposed);
        while (!is_proposed && json_next(&other))
            is_proposed = span_eq(other.key, each.key);
        if (!is_proposed && json_number(each.value, &rate)) {
            json_key(j, each.key);
            json_printf(j, NULL, "%.10g", rate);
        }
    }
    each = json_each(proposed);
    for (double rate; json_next(&each);)
        if (json_number(each.value, &rate)) {
            json_key(j, each.key);
            json_printf(j, NULL, "%.10g", rate);
        }
}

/* Cost targets are in money a day, as those of older servers. */
static void write_reason(struct buf *out, struct call *c, const struct proposing *p)
{
    struct money_terms terms = config_money(c->server->cfg);
    double target, seconds = p->hours * 3600;
    double then = p->bytes_then / seconds * GOVERNOR_MONTH_S,
           now = p->bytes_now / seconds * GOVERNOR_MONTH_S;
    double day = money_price(&terms, then) * 86400 / GOVERNOR_MONTH_S;
    buf_printf(out,
               "%" PRId64 " of the patterns get another rate: %.3g GB a month are kept "
               "instead of %.3g, %.4g %s a day instead of %.4g",
               p->changed, then / 1e9, now / 1e9, day, c->server->cfg->cost.currency,
               money_price(&terms, now) * 86400 / GOVERNOR_MONTH_S);
    if (json_number(json_get(c->root, "cost_target"), &target))
        buf_printf(out,
                   day <= target ? "; the target of %.4g a day is met"
                                 : "; the target of %.4g a day is not met by one step, and "
                                   "the next proposal goes on from here",
                   target);
    if (p->analysis != NULL && p->analysis->has_chosen) {
        buf_printf(out, ". Chosen by %s: ", c->server->cfg->server.model.name);
        analysis_write_reasons(p->analysis, out);
    } else if (p->analysis != NULL && p->analysis->why_not != NULL) {
        buf_printf(out, ". The model was not used: %s", p->analysis->why_not);
    }
}

/* The whole document. */
static void write_document(struct buf *out, struct json_node old, struct json_node proposed,
                           struct span reason, const char *model)
{
    struct json j = json_on(out);
    double number = 1;
    json_begin(&j, NULL);
    if (json_number(json_get(old, "global_rate"), &number))
        json_printf(&j, "global_rate", "%.10g", number);
    json_begin(&j, "severity_rates");
    struct json_each each = json_each(json_get(old, "severity_rates"));
    while (json_next(&each))
        if (json_number(each.value, &number)) {
            json_key(&j, each.key);
            json_printf(&j, NULL, "%.10g", number);
        }
    json_end(&j);
    json_begin(&j, "pattern_rates");
    keep_rates(&j, json_get(old, "pattern_rates"), proposed);
    json_end(&j);
    if (json_number(json_get(old, "anomaly_boost"), &number))
        json_printf(&j, "anomaly_boost", "%.10g", number);
    json_text(&j, "reasoning", reason);
    json_str(&j, "generated_by", model != NULL ? POLICY_BY_MODEL : POLICY_BY_PROPOSAL);
    if (model != NULL)
        json_str(&j, "llm_model", model);
    json_end(&j);
}

/* What goes to a model is redacted, whatever the sidecars did. */
static int open_redactor(struct redactor **out, const struct config *cfg)
{
    struct redact_opts opts;
    struct error err = {{0}};
    int rc = config_redaction(cfg, &opts, &err);
    opts.mode = REDACT_ENFORCE;
    return rc < 0 ? rc : redactor_new(out, &opts);
}

static int propose_all(struct buf *out, struct call *c, struct store *s, int64_t service,
                       int64_t hours, const struct analysis_summary *m,
                       const struct policy_row *active)
{
    struct buf rates = {.max_bytes = API_ANSWER_BYTES}, reason = {.max_bytes = REASONING_BYTES};
    struct error err = {{0}};
    struct json_doc *doc = NULL;
    struct json_node proposed;
    struct rules *rules;
    double known = (double)(c->now_ms - m->first_ms) / 3600000;
    bool is_chosen = c->analysis != NULL && c->analysis->has_chosen;
    struct proposing p = {.rates = json_on(&rates),
                          .analysis = c->analysis,
                          .hours = fmin((double)hours, fmax(known, 1))};
    const struct pattern_want want = analysis_want(c, service, hours);
    int rc = policy_text_read(&rules, buf_span(&active->document), &err);
    if (rc < 0)
        return rc;
    p.rules = rules;
    if (c->analysis != NULL && !c->analysis->is_over)
        rc = open_redactor(&p.redactor, c->server->cfg);
    json_begin(&p.rates, NULL);
    if (rc == 0)
        rc = pattern_rows_each(s, &want, propose, &p);
    json_end(&p.rates);
    if (rc == 0)
        rc = json_doc_new(&doc, buf_span(&rates), NULL, &proposed);
    if (rc == 0) {
        write_reason(&reason, c, &p);
        write_document(out, active->root, proposed, buf_span(&reason),
                       is_chosen ? c->server->cfg->server.model.name : NULL);
        rc = out->err;
    }
    json_doc_free(doc);
    redactor_free(p.redactor);
    rules_unref(rules);
    buf_done(&rates);
    buf_done(&reason);
    return rc;
}

/* The document in force; that of older servers where there is none. */
static int read_active(struct policy_row *out, struct store *s, int64_t service)
{
    int rc = policy_row_read(out, s, service, 0);
    if (rc != ERR_EMPTY)
        return rc;
    buf_append_str(&out->document, poll_default_document);
    return out->document.err != 0
               ? out->document.err
               : json_doc_new(&out->doc, buf_span(&out->document), NULL, &out->root);
}

static void write_generated(struct call *c, struct json_node policy,
                            const struct analysis_summary *m, const struct policy_hold *hold)
{
    static const char *const copied[] = {"global_rate", "anomaly_boost"};
    static const char *const maps[] = {"severity_rates", "pattern_rates"};
    struct json j = json_on(&c->out);
    double number;
    json_begin(&j, NULL);
    json_str(&j, "status", hold->is_held ? "held" : "success");
    json_i64(&j, "policy_id", c->change.id);
    json_i64(&j, "policy_version", c->change.version);
    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        if (json_number(json_get(policy, copied[i]), &number))
            json_printf(&j, copied[i], "%.10g", number);
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        json_begin(&j, maps[i]);
        struct json_each each = json_each(json_get(policy, maps[i]));
        while (json_next(&each))
            if (json_number(each.value, &number)) {
                json_key(&j, each.key);
                json_printf(&j, NULL, "%.10g", number);
            }
        json_end(&j);
    }
    json_text(&j, "reasoning", json_string(json_get(policy, "reasoning")));
    json_text(&j, "generated_by", json_string(json_get(policy, "generated_by")));
    policy_hold_write(&j, hold, c);
    json_begin(&j, "analysis_summary");
    analysis_write_counts(&j, m);
    json_i64(&j, "high_severity_anomalies", m->high);
    json_begin(&j, "severity_distribution");
    for (int l = 0; l < LEVEL_COUNT; l++)
        if (m->level[l] > 0)
            json_printf(&j, level_name((enum level)l), "%.0f", m->level[l]);
    json_end(&j);
    json_end(&j);
    json_end(&j);
}

static void on_model(void *ctx)
{
    api_resume(ctx);
}

static void ask_model(struct call *c)
{
    consulting_ask(c->server, c->analysis, on_model, c);
}

/* 1: the model is to be asked first. */
static int generate(struct call *c, struct store *s, int64_t service, int64_t hours,
                    struct analysis_summary *m, bool *is_held)
{
    struct policy_row active = {0};
    struct buf document = {.max_bytes = API_ANSWER_BYTES};
    struct json_doc *doc = NULL;
    struct json_node root;
    struct policy_hold hold = {0};
    bool is_draft = api_query_flag(c, "draft");
    int rc = analysis_summarize(m, c, s, service, hours);
    if (rc == 0)
        rc = read_active(&active, s, service);
    if (rc == 0)
        rc = propose_all(&document, c, s, service, hours, m, &active);
    if (rc == 0 && c->analysis != NULL && !c->analysis->is_over) {
        c->next = c->analysis->count > 0 ? ask_model : api_resume;
        c->analysis->is_over = c->analysis->count == 0;
        policy_row_done(&active);
        buf_done(&document);
        return 1;
    }
    if (rc == 0)
        rc = json_doc_new(&doc, buf_span(&document), NULL, &root);
    if (rc == 0)
        rc = is_draft ? 0 : policy_hold_look_text(&hold, c, s, service, buf_span(&document));
    if (rc == 0)
        rc = policy_row_add(c, s, service, root, POLICY_BY_PROPOSAL, !is_draft && !hold.is_held,
                            hold.is_held ? "policy.held" : "policy.generate");
    if (rc == 0)
        write_generated(c, root, m, &hold);
    *is_held = hold.is_held;
    json_doc_free(doc);
    policy_row_done(&active);
    buf_done(&document);
    return rc;
}

/* By what it is, or as older clients name what is spoken. */
static bool names_model(const struct config *cfg, struct json_node by)
{
    return span_eq(json_string(by), SPAN(POLICY_BY_MODEL)) ||
           span_eq(json_string(by),
                   span_str(cfg->server.model.as_anthropic ? "anthropic" : "openai"));
}

int analysis_generate(struct call *c, struct store *s)
{
    struct analysis_summary m = {0};
    int64_t service, hours;
    struct json_node by = json_get(c->root, "llm_provider"),
                     target = json_get(c->root, "cost_target");
    double number;
    int status = analysis_read_request(c, s, &service, &hours);
    if (status != 0)
        return status;
    bool is_rules = span_eq(json_string(by), SPAN(POLICY_BY_PROPOSAL));
    bool has_model = consulting_is_on(c->server);
    if (json_kind(by) != JSON_NULL && !is_rules && !(has_model && names_model(c->server->cfg, by)))
        return api_detail(c, 422, "llm_provider: only rule-based%s is configured here",
                          has_model ? " or model" : "");
    if (json_kind(target) != JSON_NULL && !(json_number(target, &number) && number >= 0))
        return api_detail(c, 422, "cost_target: must be a number from 0");
    if (has_model && !is_rules && c->analysis == NULL &&
        (c->analysis = calloc(1, sizeof *c->analysis)) == NULL)
        return api_detail(c, 503, "no memory for this request now");
    bool is_held = false;
    int rc = generate(c, s, service, hours, &m, &is_held);
    analysis_summary_done(&m);
    return rc == 1 ? 0 : rc < 0 ? api_store_failed(c, rc) : is_held ? 202 : 200;
}
