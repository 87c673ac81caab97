/*
 * api_analysis: what the counts of a fleet say, and the policy that they suggest.
 *
 * The fields are those of older servers, which fetched log lines themselves (clickhouse_host,
 * api_url, api_key); these are taken and not used: all is known from reports.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/money.h"
#include "pattern/signature.h"
#include "pipeline/governor.h"
#include "policy/proposal.h"
#include "server/anomalies.h"
#include "server/api.h"
#include "server/pattern_rows.h"
#include "server/policy_rows.h"
#include "server/policy_text.h"
#include "server/analyst.h"
#include "server/consulting.h"
#include "server/poll.h"
#include "server/silence.h"

#define TOP 5
#define HOURS_MOST 720
#define MINUTES_KEPT_HOURS 6 /* up to here by the minute: server.retention.minutes */
#define REASON_BYTES 512
#define REASONING_BYTES 4096 /* that, and what a model said */

/* ---- what was seen ------------------------------------------------------- */

struct summary {
    struct json top; /* being written */
    struct buf top_text, anomalies_text;
    struct json anomalies;
    double received, kept, kept_bytes, bytes, errors, level[LEVEL_COUNT];
    int64_t patterns, families, found, high;
    int64_t first_ms;
};

static int add_row(void *ctx, const struct pattern_row *row)
{
    struct summary *m = ctx;
    double levels = 0;
    for (int l = 0; l < LEVEL_COUNT; l++)
        levels += (double)row->level[l];
    for (int l = 0; l < LEVEL_COUNT; l++)
        m->level[l] +=
            (double)row->received * (levels > 0 ? (double)row->level[l] / levels : l == LEVEL_INFO);
    m->received += (double)row->received;
    m->kept += (double)row->kept;
    m->bytes += (double)row->bytes;
    m->kept_bytes += (double)row->kept_bytes;
    if (m->first_ms == 0 || row->first_ms < m->first_ms)
        m->first_ms = row->first_ms;
    if (row->signature.len == 0)
        return 0;
    m->families += row->family.len == 0 || span_eq(row->family, row->signature);
    if (m->patterns++ < TOP) {
        json_begin(&m->top, NULL);
        json_text(&m->top, "message", row->template_text);
        json_i64(&m->top, "count", row->received);
        json_text(&m->top, "signature", row->signature);
        json_end(&m->top);
    }
    return 0;
}

static void write_anomaly(struct json *j, const struct anomaly *a)
{
    char message[REASON_BYTES];
    anomaly_word(message, sizeof message, a);
    json_begin(j, NULL);
    json_text(j, "service_name", a->service);
    json_text(j, "pattern_signature", a->signature);
    json_str(j, "type", a->type);
    json_str(j, "severity", a->severity);
    json_str(j, "message", message);
    json_printf(j, "current_value", "%.0f", a->current);
    json_printf(j, "baseline_value", "%.0f", a->baseline);
    json_printf(j, "confidence", "%.3g", a->confidence);
    api_time(j, "detected_at", a->detected_ms);
    json_end(j);
}

static int add_anomaly(void *ctx, const struct anomaly *a)
{
    struct summary *m = ctx;
    write_anomaly(&m->anomalies, a);
    m->found++;
    m->high += strcmp(a->severity, "high") == 0;
    return m->anomalies_text.err;
}

static struct pattern_want want_of(const struct call *c, int64_t service, int64_t hours)
{
    int64_t now_s = c->now_ms / 1000;
    int64_t grain = hours <= MINUTES_KEPT_HOURS ? PATTERN_GRAIN_MINUTE : PATTERN_GRAIN_HOUR;
    return (struct pattern_want){
        .team = c->key->team->id,
        .service = service,
        .grain_s = grain,
        .since_s = now_s - now_s % grain - hours * 3600 + grain,
        .until_s = now_s + grain,
        .limit = INT64_MAX,
    };
}

static int summarize(struct summary *m, struct call *c, struct store *s, int64_t service,
                     int64_t hours)
{
    const struct pattern_want want = want_of(c, service, hours);
    m->top_text.max_bytes = m->anomalies_text.max_bytes = API_ANSWER_BYTES / 4;
    m->top = json_on(&m->top_text);
    m->anomalies = json_on(&m->anomalies_text);
    json_begin_list(&m->top, NULL);
    json_begin_list(&m->anomalies, NULL);
    int rc = pattern_rows_each(s, &want, add_row, m);
    if (rc == 0)
        rc = anomalies_each(s, c->key->team->id, service, c->now_ms, add_anomaly, m);
    if (rc == 0)
        rc = silence_each(s, c->key->team->id, service, c->now_ms, add_anomaly, m);
    json_end_list(&m->top);
    json_end_list(&m->anomalies);
    m->errors = m->level[LEVEL_ERROR] + m->level[LEVEL_FATAL];
    return rc < 0 ? rc : m->top_text.err != 0 ? m->top_text.err : m->anomalies_text.err;
}

static void summary_done(struct summary *m)
{
    buf_done(&m->top_text);
    buf_done(&m->anomalies_text);
}

static void write_counts(struct json *j, const struct summary *m)
{
    json_printf(j, "total_logs", "%.0f", m->received);
    json_i64(j, "unique_patterns", m->patterns);
    json_i64(j, "clusters_found", m->families);
    json_i64(j, "anomalies_detected", m->found);
    json_printf(j, "error_rate", "%.6g", m->received > 0 ? m->errors / m->received : 0.0);
    buf_append(json_value(j, "top_patterns"), buf_span(&m->top_text));
}

/* ---- requests ----------------------------------------------------------- */

/* The fields that both routes share. 0 and the service's id, else the status. */
static int read_request(struct call *c, struct store *s, int64_t *service, int64_t *hours)
{
    struct span name = json_string(json_get(c->root, "service_name"));
    struct json_node team = json_get(c->root, "team_id"), over = json_get(c->root, "hours");
    uint64_t team_id = 0, n = 1;
    if (name.len == 0 || name.len >= API_PARAM_BYTES)
        return api_detail(c, 422, "service_name: must be a text of 1 to %d bytes",
                          REPORT_NAME_BYTES);
    if (json_kind(team) != JSON_NULL && !json_whole(team, &team_id))
        return api_detail(c, 422, "team_id: must be a whole number from 0");
    if (team_id != 0 && (int64_t)team_id != c->key->team->id)
        return api_detail(c, 403, "this key is of another team");
    if (json_kind(over) != JSON_NULL && (!json_whole(over, &n) || n == 0 || n > HOURS_MOST))
        return api_detail(c, 422, "hours: must be a whole number from 1 to %d", HOURS_MOST);
    *hours = (int64_t)n;
    memcpy(c->param[0], name.base, name.len);
    c->param[0][name.len] = '\0';
    return api_find_service(c, s, service);
}

int analysis_analyze(struct call *c, struct store *s)
{
    struct summary m = {0};
    int64_t service, hours;
    int status = read_request(c, s, &service, &hours);
    if (status != 0)
        return status;
    int rc = summarize(&m, c, s, service, hours);
    if (rc == 0) {
        struct json j = json_on(&c->out);
        json_begin(&j, NULL);
        json_str(&j, "status", "completed");
        write_counts(&j, &m);
        buf_append(json_value(&j, "anomalies"), buf_span(&m.anomalies_text));
        json_end(&j);
    }
    summary_done(&m);
    return rc < 0 ? api_store_failed(c, rc) : 200;
}

struct anomaly_list {
    struct json j;
    int64_t left;
};

static int list_anomaly(void *ctx, const struct anomaly *a)
{
    struct anomaly_list *l = ctx;
    write_anomaly(&l->j, a);
    return --l->left == 0;
}

int analysis_anomalies(struct call *c, struct store *s)
{
    struct anomaly_list l = {.j = json_on(&c->out)};
    int status = 0;
    if (!api_query_number(c, "limit", 1, API_PAGE_MOST, 100, &l.left, &status))
        return status;
    json_begin_list(&l.j, NULL);
    int rc = anomalies_each(s, c->key->team->id, 0, c->now_ms, list_anomaly, &l);
    if (rc == 0)
        rc = silence_each(s, c->key->team->id, 0, c->now_ms, list_anomaly, &l);
    json_end_list(&l.j);
    return rc < 0 ? api_store_failed(c, rc) : 200;
}

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
                       int64_t hours, const struct summary *m, const struct policy_row *active)
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
    const struct pattern_want want = want_of(c, service, hours);
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

static void write_generated(struct call *c, struct json_node policy, const struct summary *m)
{
    static const char *const copied[] = {"global_rate", "anomaly_boost"};
    static const char *const maps[] = {"severity_rates", "pattern_rates"};
    struct json j = json_on(&c->out);
    double number;
    json_begin(&j, NULL);
    json_str(&j, "status", "success");
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
    json_begin(&j, "analysis_summary");
    write_counts(&j, m);
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
                    struct summary *m)
{
    struct policy_row active = {0};
    struct buf document = {.max_bytes = API_ANSWER_BYTES};
    struct json_doc *doc = NULL;
    struct json_node root;
    int rc = summarize(m, c, s, service, hours);
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
        rc = policy_row_add(c, s, service, root, POLICY_BY_PROPOSAL, true, "policy.generate");
    if (rc == 0)
        write_generated(c, root, m);
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
    struct summary m = {0};
    int64_t service, hours;
    struct json_node by = json_get(c->root, "llm_provider"),
                     target = json_get(c->root, "cost_target");
    double number;
    int status = read_request(c, s, &service, &hours);
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
    int rc = generate(c, s, service, hours, &m);
    summary_done(&m);
    return rc == 1 ? 0 : rc < 0 ? api_store_failed(c, rc) : 200;
}
