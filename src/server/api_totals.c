/*
 * api_totals: a team's fleet as a series: the last hour by the minute, or the last day by the hour.
 *
 * Counts and services come in one walk over the rows of the time, service by service. Losses are
 * kept as long as minutes, and so are of the last hour, whatever the span.
 */
#include <stdlib.h>

#include "net/page.h"
#include "server/api.h"
#include "server/pattern_rows.h"
#include "server/troubles.h"

#define STEPS_MAX 60
#define SERVICES_SHOWN 100 /* the loudest; the others are one row */
#define HOUR_STEPS 60
#define DAY_STEPS 24
#define SEEN_MS \
    ((int64_t)TROUBLES_MINUTES * 60000) /* a sidecar that reported since then is there */

enum count { RECEIVED, KEPT, RECEIVED_BYTES, KEPT_BYTES, COUNTS };
static const char *const count_names[COUNTS] = {"received", "kept", "received_bytes", "kept_bytes"};

struct row {
    int64_t id; /* 0: none yet */
    int64_t counts[COUNTS];
    size_t name_len;
    char name[API_PARAM_BYTES];
};

struct totals {
    int64_t from_s, step_s;
    unsigned steps;
    int64_t only; /* the series is of this service; 0: of all */
    int64_t series[COUNTS][STEPS_MAX], lost[HOUR_STEPS];
    struct row now, other, shown[SERVICES_SHOWN];
    size_t shown_count;
    int64_t lost_from_s;
};

/* ---- services, the loudest first ----------------------------------------- */

static void add_counts(struct row *to, const struct row *from)
{
    for (int k = 0; k < COUNTS; k++)
        to->counts[k] += from->counts[k];
}

/* The service in hand is complete: it takes its place, and the last one may lose its own. */
static void end_service(struct totals *t)
{
    size_t at = t->shown_count;
    if (t->now.id == 0)
        return;
    while (at > 0 && t->shown[at - 1].counts[RECEIVED_BYTES] < t->now.counts[RECEIVED_BYTES])
        at--;
    if (at == SERVICES_SHOWN) {
        add_counts(&t->other, &t->now);
    } else {
        if (t->shown_count == SERVICES_SHOWN)
            add_counts(&t->other, &t->shown[--t->shown_count]);
        memmove(&t->shown[at + 1], &t->shown[at], (t->shown_count - at) * sizeof t->shown[0]);
        t->shown[at] = t->now;
        t->shown_count++;
    }
    t->now = (struct row){0};
}

/* Columns: service, name, start_s, the counts. */
static int add_step(void *ctx, const struct store_value *v)
{
    struct totals *t = ctx;
    int64_t step = (v[2].number - t->from_s) / t->step_s;
    if (v[0].number != t->now.id) {
        end_service(t);
        t->now.id = v[0].number;
        t->now.name_len = v[1].text.len < API_PARAM_BYTES ? v[1].text.len : API_PARAM_BYTES;
        memcpy(t->now.name, v[1].text.base, t->now.name_len);
    }
    for (int k = 0; k < COUNTS; k++) {
        t->now.counts[k] += v[3 + k].number;
        if (step >= 0 && step < t->steps && (t->only == 0 || t->only == v[0].number))
            t->series[k][step] += v[3 + k].number;
    }
    return 0;
}

/* CROSS JOIN keeps SQLite to this order of the tables: 0.6 s rather than 0.95 s for 10,000 patterns
 * with each minute of an hour. */
static int read_counts(struct totals *t, struct call *c, struct store *s)
{
    const struct store_value v[] = {store_int(c->key->team->id), store_int(t->step_s),
                                    store_int(t->from_s),
                                    store_int(t->from_s + t->step_s * t->steps)};
    int rc = store_run(s,
                       "SELECT s.id, s.name, c.start_s, CAST(SUM(c.received) AS BIGINT), "
                       "CAST(SUM(c.kept) AS BIGINT), CAST(SUM(c.bytes) AS BIGINT), "
                       "CAST(SUM(c.kept_bytes) AS BIGINT) FROM services s "
                       "CROSS JOIN patterns p CROSS JOIN counts c "
                       "WHERE s.team_id = $1 AND p.service_id = s.id AND c.pattern_id = p.id AND "
                       "c.grain_s = $2 AND c.start_s >= $3 AND c.start_s < $4 "
                       "GROUP BY s.id, s.name, c.start_s ORDER BY s.id",
                       v, ARRAY_LEN(v), add_step, t);
    if (rc == 0)
        end_service(t);
    return rc;
}

/* ---- losses -------------------------------------------------------------- */

/* Columns: start_s, records. */
static int add_loss(void *ctx, const struct store_value *v)
{
    struct totals *t = ctx;
    int64_t step = (v[0].number - t->lost_from_s) / PATTERN_GRAIN_MINUTE;
    if (step >= 0 && step < HOUR_STEPS)
        t->lost[step] += v[1].number;
    return 0;
}

/* Columns: reason, records. */
static int write_reason(void *ctx, const struct store_value *v)
{
    struct json *j = ctx;
    json_key(j, v[0].text);
    json_i64(j, NULL, v[1].number);
    return 0;
}

#define OF_LOSSES \
    "FROM troubles t JOIN services s ON s.id = t.service_id WHERE s.team_id = $1 AND " \
    "t.kind = 'losses' AND t.start_s >= $2 AND (s.id = $3 OR $3 = 0) "

static int read_losses(struct totals *t, struct json *j, struct call *c, struct store *s)
{
    const struct store_value v[] = {store_int(c->key->team->id), store_int(t->lost_from_s),
                                    store_int(t->only)};
    int rc = store_run(
        s, "SELECT t.start_s, CAST(SUM(t.records) AS BIGINT) " OF_LOSSES "GROUP BY t.start_s", v,
        ARRAY_LEN(v), add_loss, t);
    json_begin(j, "losses");
    if (rc == 0)
        rc = store_run(s,
                       "SELECT t.reason, CAST(SUM(t.records) AS BIGINT) " OF_LOSSES
                       "GROUP BY t.reason ORDER BY 2 DESC, 1",
                       v, ARRAY_LEN(v), write_reason, j);
    json_end(j);
    return rc;
}

/* ---- the fleet ----------------------------------------------------------- */

static int write_fleet(struct json *j, struct call *c, struct store *s)
{
    const struct store_value team = store_int(c->key->team->id);
    const struct store_value v[] = {team, store_int(c->now_ms - SEEN_MS)};
    const struct store_value q[] = {team, store_int((c->now_ms - SEEN_MS) / 1000)};
    int64_t since_ms = 0, services = 0, sidecars = 0, limited = 0;
    int rc = store_number(s,
                          "SELECT COUNT(DISTINCT n.instance) FROM senders n JOIN services s ON "
                          "s.id = n.service_id WHERE s.team_id = $1 AND n.seen_ms >= $2",
                          v, 2, &sidecars);
    if (rc == 0)
        rc = store_number(s, "SELECT COUNT(*) FROM services WHERE team_id = $1", v, 1, &services);
    if (rc == 0)
        rc = store_number(s, "SELECT COALESCE(MIN(created_ms), 0) FROM services WHERE team_id = $1",
                          v, 1, &since_ms);
    if (rc == 0)
        rc = store_number(s,
                          "SELECT CAST(COALESCE(SUM(t.reports), 0) AS BIGINT) FROM troubles t "
                          "JOIN services s ON s.id = t.service_id WHERE s.team_id = $1 AND "
                          "t.kind = 'quota' AND t.start_s >= $2",
                          q, 2, &limited);
    json_i64(j, "since_unix_s", (since_ms > 0 ? since_ms : c->now_ms) / 1000);
    json_i64(j, "services_known", services);
    json_i64(j, "sidecars", sidecars);
    json_i64(j, "quota_reports", limited);
    return rc;
}

/* ---- the answer ---------------------------------------------------------- */

static void write_list(struct json *j, const char *key, const int64_t *list, unsigned n)
{
    json_begin_list(j, key);
    for (unsigned i = 0; i < n; i++)
        json_i64(j, NULL, list[i]);
    json_end_list(j);
}

static void write_row(struct json *j, const struct row *row)
{
    json_begin(j, NULL);
    if (row->id == 0)
        json_bool(j, "is_other", true);
    else
        json_text(j, "name", span_of(row->name, row->name_len));
    for (int k = 0; k < COUNTS; k++)
        json_i64(j, count_names[k], row->counts[k]);
    json_end(j);
}

static void write_totals(struct json *j, const struct totals *t, int64_t now_s)
{
    bool is_hour = t->step_s == PATTERN_GRAIN_MINUTE;
    json_str(j, "span", is_hour ? "hour" : "day");
    json_i64(j, "from_unix_s", t->from_s);
    json_i64(j, "until_unix_s", now_s);
    json_i64(j, "step_s", t->step_s);
    json_i64(j, "steps", t->steps);
    json_begin(j, "total");
    for (int k = 0; k < COUNTS; k++)
        write_list(j, count_names[k], t->series[k], t->steps);
    if (is_hour)
        write_list(j, "lost", t->lost, t->steps);
    json_end(j);
    json_begin_list(j, "services");
    for (size_t i = 0; i < t->shown_count; i++)
        write_row(j, &t->shown[i]);
    if (t->other.counts[RECEIVED] > 0)
        write_row(j, &t->other);
    json_end_list(j);
}

static int read_all(struct totals *t, struct call *c, struct store *s)
{
    struct json j = json_on(&c->out);
    int rc = read_counts(t, c, s);
    json_begin(&j, NULL);
    if (rc == 0)
        rc = write_fleet(&j, c, s);
    if (rc == 0)
        rc = read_losses(t, &j, c, s);
    write_totals(&j, t, c->now_ms / 1000);
    json_end(&j);
    return rc < 0 ? api_store_failed(c, rc) : 200;
}

/* False: *status is the answer. */
static bool read_want(struct totals *t, struct call *c, struct store *s, int *status)
{
    int64_t now_s = c->now_ms / 1000;
    struct span query = span_str(c->query), span = page_query(query, "span");
    bool is_day = span_eq(span, SPAN("day"));
    if (!is_day && span.base != NULL && !span_eq(span, SPAN("hour"))) {
        *status = api_detail(c, 422, "query: span: must be one of hour, day");
        return false;
    }
    t->step_s = is_day ? PATTERN_GRAIN_HOUR : PATTERN_GRAIN_MINUTE;
    t->steps = is_day ? DAY_STEPS : HOUR_STEPS;
    t->from_s = now_s - now_s % t->step_s - (t->steps - 1) * t->step_s;
    t->lost_from_s = now_s - now_s % PATTERN_GRAIN_MINUTE - (HOUR_STEPS - 1) * PATTERN_GRAIN_MINUTE;
    if (page_query(query, "service").base == NULL)
        return true;
    if (page_query_text(query, "service", c->param[0], API_PARAM_BYTES) < 0)
        *status = api_detail(c, 422, "query: service: a name is of 1 to 255 bytes of UTF-8");
    else
        *status = api_find_service(c, s, &t->only);
    return *status == 0;
}

int api_totals(struct call *c, struct store *s)
{
    struct totals *t = calloc(1, sizeof *t);
    int status = 0;
    if (t == NULL)
        return api_detail(c, 503, "no memory for this request now");
    if (read_want(t, c, s, &status))
        status = read_all(t, c, s);
    free(t);
    return status;
}
