/*
 * api_analysis: what the counts of a fleet say.
 *
 * The fields are those of older servers, which fetched log lines themselves (clickhouse_host,
 * api_url, api_key); these are taken and not used: all is known from reports.
 */
#include "server/analysis.h"
#include "server/anomalies.h"
#include "server/silence.h"

#define TOP 5
#define HOURS_MOST 720
#define MINUTES_KEPT_HOURS 6 /* up to here by the minute: server.retention.minutes */
#define REASON_BYTES 512

/* ---- what was seen ------------------------------------------------------- */

static int add_row(void *ctx, const struct pattern_row *row)
{
    struct analysis_summary *m = ctx;
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
    struct analysis_summary *m = ctx;
    write_anomaly(&m->anomalies, a);
    m->found++;
    m->high += strcmp(a->severity, "high") == 0;
    return m->anomalies_text.err;
}

struct pattern_want analysis_want(const struct call *c, int64_t service, int64_t hours)
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

int analysis_summarize(struct analysis_summary *m, struct call *c, struct store *s, int64_t service,
                       int64_t hours)
{
    const struct pattern_want want = analysis_want(c, service, hours);
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

void analysis_summary_done(struct analysis_summary *m)
{
    buf_done(&m->top_text);
    buf_done(&m->anomalies_text);
}

void analysis_write_counts(struct json *j, const struct analysis_summary *m)
{
    json_printf(j, "total_logs", "%.0f", m->received);
    json_i64(j, "unique_patterns", m->patterns);
    json_i64(j, "clusters_found", m->families);
    json_i64(j, "anomalies_detected", m->found);
    json_printf(j, "error_rate", "%.6g", m->received > 0 ? m->errors / m->received : 0.0);
    buf_append(json_value(j, "top_patterns"), buf_span(&m->top_text));
}

/* ---- requests ----------------------------------------------------------- */

int analysis_read_request(struct call *c, struct store *s, int64_t *service, int64_t *hours)
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
    struct analysis_summary m = {0};
    int64_t service, hours;
    int status = analysis_read_request(c, s, &service, &hours);
    if (status != 0)
        return status;
    int rc = analysis_summarize(&m, c, s, service, hours);
    if (rc == 0) {
        struct json j = json_on(&c->out);
        json_begin(&j, NULL);
        json_str(&j, "status", "completed");
        analysis_write_counts(&j, &m);
        buf_append(json_value(&j, "anomalies"), buf_span(&m.anomalies_text));
        json_end(&j);
    }
    analysis_summary_done(&m);
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
