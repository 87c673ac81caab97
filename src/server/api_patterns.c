/* api_patterns: what was counted: by pattern, by severity, by day, and what it saved. */
#include "config/money.h"
#include "pipeline/governor.h"
#include "server/api.h"
#include "server/pattern_rows.h"
#include "server/policy_rows.h"
#include "server/policy_text.h"
#include "server/poll.h"

#include <math.h>
#include <time.h>

#define HOUR_S 3600
#define DAY_S 86400
#define DAYS 30
#define BYTES_PER_GB 1e9

/* ---- patterns ----------------------------------------------------------- */

struct listing {
    struct json j;
    const struct rules *rules; /* NULL: of several services */
    double hours;
    int64_t rows;
};

/* How many times the mean of the hours before the last one that hour's records are; an hour is
 * whole sixty minutes, the present one included. */
static double trend_of(const struct pattern_row *row, double hours)
{
    double before = (double)(row->received - row->recent) / fmax(hours - 1, 1);
    return before > 0 ? (double)row->recent / before : 0;
}

static void write_severities(struct json *j, const struct pattern_row *row)
{
    json_begin(j, "severity_distribution");
    for (int l = 0; l < LEVEL_COUNT; l++)
        if (row->level[l] > 0)
            json_i64(j, level_name((enum level)l), row->level[l]);
    json_end(j);
}

static int write_pattern(void *ctx, const struct pattern_row *row)
{
    struct listing *l = ctx;
    struct json *j = &l->j;
    double trend = trend_of(row, l->hours);
    json_begin(j, NULL);
    json_text(j, "service_name", row->service);
    json_text(j, "signature", row->signature);
    json_text(j, "message_sample", row->template_text);
    if (row->family.len > 0)
        json_text(j, "family", row->family);
    json_i64(j, "count", row->received);
    json_i64(j, "sampled_count", row->kept);
    json_i64(j, "bytes", row->bytes);
    json_i64(j, "sampled_bytes", row->kept_bytes);
    json_i64(j, "saved_bytes", row->bytes - row->kept_bytes);
    json_printf(j, "sampling_rate", "%.6g",
                row->received > 0 ? (double)row->kept / (double)row->received : 1);
    if (l->rules != NULL)
        json_printf(j, "policy_rate", "%.6g", pattern_row_share(row, l->rules));
    json_i64(j, "last_hour", row->recent);
    if (trend > 0)
        json_printf(j, "trend", "%.4g", trend);
    else
        json_null(j, "trend");
    write_severities(j, row);
    api_time(j, "first_seen", row->first_ms);
    api_time(j, "last_seen", row->last_ms);
    json_end(j);
    l->rows++;
    return 0;
}

/* Of the last `hours`, in whole ones. False: *status is the answer. */
static bool read_want(struct call *c, struct pattern_want *want, int64_t *hours, int *status)
{
    int64_t now_s = c->now_ms / 1000, hour_s = now_s - now_s % HOUR_S;
    *want = (struct pattern_want){.team = c->key->team->id, .grain_s = PATTERN_GRAIN_HOUR};
    if (!api_query_number(c, "limit", 1, API_PAGE_MOST, 50, &want->limit, status) ||
        !api_query_number(c, "offset", 0, INT32_MAX, 0, &want->offset, status) ||
        !api_query_number(c, "hours", 1, 24 * DAYS, 24, hours, status))
        return false;
    want->since_s = hour_s - (*hours - 1) * HOUR_S;
    want->until_s = hour_s + HOUR_S;
    want->recent_s = hour_s;
    return true;
}

int patterns_list(struct call *c, struct store *s)
{
    struct pattern_want want;
    int64_t hours;
    int status = 0;
    if (!read_want(c, &want, &hours, &status))
        return status;
    struct listing l = {.j = json_on(&c->out), .hours = (double)hours};
    json_begin(&l.j, NULL);
    json_i64(&l.j, "hours", hours);
    json_begin_list(&l.j, "patterns");
    int rc = pattern_rows_each(s, &want, write_pattern, &l);
    json_end_list(&l.j);
    json_i64(&l.j, "limit", want.limit);
    json_i64(&l.j, "offset", want.offset);
    json_end(&l.j);
    return rc < 0 ? api_store_failed(c, rc) : 200;
}

/* The rules in force, as far as the server knows them; the caller owns them. */
static int active_rules(struct rules **out, int64_t *version, struct store *s, int64_t service)
{
    struct policy_row row;
    struct error err = {{0}};
    int rc = policy_row_read(&row, s, service, 0);
    if (rc < 0 && rc != ERR_EMPTY)
        return rc;
    *version = row.version;
    rc = policy_text_read(out, rc == 0 ? buf_span(&row.document) : span_str(poll_default_document),
                          &err);
    policy_row_done(&row);
    return rc;
}

int patterns_of_service(struct call *c, struct store *s)
{
    struct pattern_want want;
    struct rules *rules;
    int64_t hours, total = 0, version = 0;
    int status = 0;
    if (!read_want(c, &want, &hours, &status) ||
        (status = api_find_service(c, s, &want.service)) != 0)
        return status;
    const struct store_value v = store_int(want.service);
    int rc = store_number(s, "SELECT COUNT(*) FROM patterns WHERE service_id = $1", &v, 1, &total);
    if (rc == 0)
        rc = active_rules(&rules, &version, s, want.service);
    if (rc < 0)
        return api_store_failed(c, rc);
    struct listing l = {.j = json_on(&c->out), .rules = rules, .hours = (double)hours};
    json_begin(&l.j, NULL);
    json_str(&l.j, "service_name", c->param[0]);
    json_i64(&l.j, "hours", hours);
    json_i64(&l.j, "policy_version", version);
    json_begin_list(&l.j, "patterns");
    rc = pattern_rows_each(s, &want, write_pattern, &l);
    json_end_list(&l.j);
    json_i64(&l.j, "total_count", total);
    json_i64(&l.j, "limit", want.limit);
    json_end(&l.j);
    rules_unref(rules);
    return rc < 0 ? api_store_failed(c, rc) : 200;
}

/* ---- money -------------------------------------------------------------- */

struct sums {
    int64_t received, kept, bytes, kept_bytes, patterns, first_s;
};

static int take_sums(void *ctx, const struct store_value *row)
{
    struct sums *t = ctx;
    *t = (struct sums){row[0].number, row[1].number, row[2].number,
                       row[3].number, row[4].number, row[5].number};
    return 1;
}

/* Of one service, or with 0 of the team: by the day. */
static int read_sums(struct sums *out, struct call *c, struct store *s, int64_t service,
                     int64_t since_s)
{
    const struct store_value v[] = {store_int(c->key->team->id), store_int(service),
                                    store_int(since_s)};
    int rc = store_run(s,
                       "SELECT CAST(COALESCE(SUM(c.received), 0) AS BIGINT), "
                       "CAST(COALESCE(SUM(c.kept), 0) AS BIGINT), "
                       "CAST(COALESCE(SUM(c.bytes), 0) AS BIGINT), "
                       "CAST(COALESCE(SUM(c.kept_bytes), 0) AS BIGINT), "
                       "COUNT(DISTINCT CASE WHEN p.signature <> '' THEN c.pattern_id END), "
                       "COALESCE(MIN(c.start_s), 0) "
                       "FROM counts c JOIN patterns p ON p.id = c.pattern_id "
                       "JOIN services s ON s.id = p.service_id "
                       "WHERE c.grain_s = 86400 AND c.start_s >= $3 AND s.team_id = $1 AND "
                       "(s.id = $2 OR $2 = 0)",
                       v, ARRAY_LEN(v), take_sums, out);
    return rc < 0 ? rc : 0;
}

static void write_day(struct json *j, const char *key, int64_t s)
{
    time_t t = (time_t)s;
    struct tm tm = {0};
    char text[16];
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%d", &tm);
    json_str(j, key, text);
}

/* What was sent and what was not, over the time for which there are counts, as money a month. */
static void write_savings(struct json *j, struct call *c, const struct sums *t, int64_t since_s,
                          int64_t days)
{
    const struct config *cfg = c->server->cfg;
    struct money_terms terms = config_money(cfg);
    int64_t now_s = c->now_ms / 1000, from_s = t->first_s > since_s ? t->first_s : since_s;
    double seconds = t->first_s > 0 ? fmax((double)(now_s - from_s), 1) : 0;
    struct money_month m = money_month(&terms, 0, seconds, (double)t->bytes, (double)t->kept_bytes);
    double spans = fmax(seconds / DAY_S, 1);
    json_begin(j, "period");
    write_day(j, "start_date", since_s);
    write_day(j, "end_date", now_s);
    json_i64(j, "days", days);
    json_end(j);
    json_i64(j, "total_logs", t->received);
    json_i64(j, "sampled_logs", t->kept);
    json_printf(j, "daily_total_logs", "%.0f", (double)t->received / spans);
    json_printf(j, "daily_sampled_logs", "%.0f", (double)t->kept / spans);
    json_i64(j, "total_bytes", t->bytes);
    json_i64(j, "sampled_bytes", t->kept_bytes);
    json_i64(j, "saved_bytes", t->bytes - t->kept_bytes);
    json_printf(j, "cost_savings", "%.2f", m.saving * seconds / GOVERNOR_MONTH_S);
    json_printf(j, "savings_percentage", "%.1f",
                t->bytes > 0 ? 100 * (1 - (double)t->kept_bytes / (double)t->bytes) : 0.0);
    json_i64(j, "patterns_detected", t->patterns);
    json_printf(j, "estimated_monthly_savings", "%.2f", m.saving);
    json_printf(j, "monthly_cost_without", "%.2f", m.without);
    json_printf(j, "monthly_cost_with", "%.2f", m.with);
    json_bool(j, "is_free", m.is_free);
    json_printf(j, "cost_per_gb", "%.6g", cfg->cost.per_gb);
    json_printf(j, "cost_per_million_logs", "%.6g",
                t->received > 0
                    ? cfg->cost.per_gb * (double)t->bytes / (double)t->received * 1e6 / BYTES_PER_GB
                    : 0.0);
    json_str(j, "currency", cfg->cost.currency);
}

static int write_all_savings(struct call *c, struct store *s, int64_t service, int64_t version)
{
    struct sums t = {0};
    int64_t days, day_s = c->now_ms / 1000 - c->now_ms / 1000 % DAY_S;
    int status = 0;
    if (!api_query_number(c, "days", 1, 366, DAYS, &days, &status))
        return status;
    int64_t since_s = day_s - (days - 1) * DAY_S;
    int rc = read_sums(&t, c, s, service, since_s);
    if (rc < 0)
        return api_store_failed(c, rc);
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    if (service > 0) {
        json_str(&j, "service_name", c->param[0]);
        json_i64(&j, "policy_version", version);
    }
    write_savings(&j, c, &t, since_s, days);
    json_end(&j);
    return 200;
}

int savings_of_team(struct call *c, struct store *s)
{
    return write_all_savings(c, s, 0, 0);
}

int savings_of_service(struct call *c, struct store *s)
{
    struct policy_row row;
    int64_t service;
    int status = api_find_service(c, s, &service);
    if (status != 0)
        return status;
    int rc = policy_row_read(&row, s, service, 0);
    if (rc < 0 && rc != ERR_EMPTY)
        return api_store_failed(c, rc);
    status = write_all_savings(c, s, service, row.version);
    policy_row_done(&row);
    return status;
}

/* ---- by severity and by day ---------------------------------------------- */

static void write_share(struct json *j, int64_t total, int64_t sampled)
{
    json_i64(j, "total", total);
    json_i64(j, "sampled", sampled);
    json_printf(j, "sampling_rate", "%.6g", total > 0 ? (double)sampled / (double)total : 1.0);
}

/* Records of each severity: by the mix of each pattern, because only that is kept by severity. */
struct mix {
    double total[LEVEL_COUNT], sampled[LEVEL_COUNT], all;
};

static int add_mix(void *ctx, const struct pattern_row *row)
{
    struct mix *m = ctx;
    double levels = 0;
    for (int l = 0; l < LEVEL_COUNT; l++)
        levels += (double)row->level[l];
    for (int l = 0; l < LEVEL_COUNT; l++) {
        double part = levels > 0 ? (double)row->level[l] / levels : l == LEVEL_INFO;
        m->total[l] += part * (double)row->received;
        m->sampled[l] += part * (double)row->kept;
    }
    m->all += (double)row->received;
    return 0;
}

static void write_mix(struct json *j, const struct mix *m)
{
    json_begin(j, "severity_stats");
    for (int l = 0; l < LEVEL_COUNT; l++) {
        if (!(m->total[l] > 0))
            continue;
        json_begin(j, level_name((enum level)l));
        write_share(j, llround(m->total[l]), llround(m->sampled[l]));
        json_printf(j, "percentage", "%.1f", 100 * m->total[l] / m->all);
        json_end(j);
    }
    json_end(j);
}

struct days {
    struct json *j;
    struct money_terms terms;
    int64_t total, sampled;
};

static int write_one_day(void *ctx, const struct store_value *row)
{
    struct days *d = ctx;
    double saved = (double)(row[3].number - row[4].number);
    json_begin(d->j, NULL);
    write_day(d->j, "date", row[0].number);
    json_i64(d->j, "total_logs", row[1].number);
    json_i64(d->j, "sampled_logs", row[2].number);
    json_printf(d->j, "sampling_rate", "%.6g",
                row[1].number > 0 ? (double)row[2].number / (double)row[1].number : 1.0);
    json_i64(d->j, "saved_bytes", row[3].number - row[4].number);
    json_printf(
        d->j, "cost_savings", "%.4f",
        money_month(&d->terms, 0, DAY_S, (double)row[3].number, (double)row[3].number - saved)
                .saving *
            DAY_S / GOVERNOR_MONTH_S);
    json_end(d->j);
    d->total += row[1].number;
    d->sampled += row[2].number;
    return 0;
}

static int write_days(struct days *d, struct store *s, int64_t service, int64_t since_s)
{
    const struct store_value v[] = {store_int(service), store_int(since_s)};
    json_begin_list(d->j, "daily_stats");
    int rc = store_run(s,
                       "SELECT c.start_s, CAST(SUM(c.received) AS BIGINT), "
                       "CAST(SUM(c.kept) AS BIGINT), CAST(SUM(c.bytes) AS BIGINT), "
                       "CAST(SUM(c.kept_bytes) AS BIGINT) FROM counts c "
                       "JOIN patterns p ON p.id = c.pattern_id WHERE p.service_id = $1 AND "
                       "c.grain_s = 86400 AND c.start_s >= $2 GROUP BY c.start_s ORDER BY "
                       "c.start_s",
                       v, ARRAY_LEN(v), write_one_day, d);
    json_end_list(d->j);
    return rc;
}

int patterns_sampling(struct call *c, struct store *s)
{
    struct mix mix = {0};
    int64_t days, service, now_s = c->now_ms / 1000;
    int status = 0;
    if (!api_query_number(c, "days", 1, 366, 7, &days, &status) ||
        (status = api_find_service(c, s, &service)) != 0)
        return status;
    int64_t since_s = now_s - now_s % DAY_S - (days - 1) * DAY_S;
    const struct pattern_want want = {.team = c->key->team->id,
                                      .service = service,
                                      .grain_s = PATTERN_GRAIN_DAY,
                                      .since_s = since_s,
                                      .until_s = now_s + DAY_S,
                                      .limit = INT64_MAX};
    struct json j = json_on(&c->out);
    struct days d = {&j, config_money(c->server->cfg), 0, 0};
    int rc = pattern_rows_each(s, &want, add_mix, &mix);
    json_begin(&j, NULL);
    json_str(&j, "service_name", c->param[0]);
    json_begin(&j, "period");
    write_day(&j, "start_date", since_s);
    write_day(&j, "end_date", now_s);
    json_i64(&j, "days", days);
    json_end(&j);
    write_mix(&j, &mix);
    if (rc == 0)
        rc = write_days(&d, s, service, since_s);
    json_begin(&j, "summary");
    json_i64(&j, "total_logs", d.total);
    json_i64(&j, "total_sampled", d.sampled);
    json_printf(&j, "overall_sampling_rate", "%.6g",
                d.total > 0 ? (double)d.sampled / (double)d.total : 1.0);
    json_end(&j);
    json_end(&j);
    return rc < 0 ? api_store_failed(c, rc) : 200;
}
