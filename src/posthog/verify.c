/* verify: a chain of questions, as check.c has one. */
#include "posthog/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MINUTES_A_QUESTION 60
#define TIME_BYTES 40
#define SQL_ROWS 5000

static const char *iso(char out[TIME_BYTES], uint64_t unix_s, const char *fraction)
{
    time_t t = (time_t)unix_s;
    struct tm tm = {.tm_year = 70};
    char text[24] = "";
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, TIME_BYTES, "%s%sZ", text, fraction);
    return out;
}

/* Seconds since 1970 of "2026-11-30T18:00:00...", with its fraction. */
static bool read_time(struct span text, double *out)
{
    char room[TIME_BYTES], *rest;
    struct tm tm = {.tm_year = 0};
    snprintf(room, sizeof room, "%.*s", (int)text.len, (const char *)text.base);
    rest = strptime(room, "%Y-%m-%dT%H:%M:%S", &tm);
    if (text.len == 0 || rest == NULL)
        return false;
    double fraction = 0, place = 0.1;
    for (rest += *rest == '.'; *rest >= '0' && *rest <= '9'; rest++, place /= 10)
        fraction += (*rest - '0') * place;
    *out = (double)timegm(&tm) + fraction;
    return true;
}

static void finish(struct verify *v)
{
    v->call = NULL;
    v->is_running = false;
    ledger_check_compare(&v->check, v->opts.settled_s);
    v->opts.done(v->opts.ctx);
}

static void ask(struct verify *v, const char *path, struct buf *body,
                void (*fn)(void *ctx, const struct app_answer *a))
{
    const struct app_request r = {
        .method = "POST", .path = path, .body = buf_span(body), .ctx = v, .done = fn};
    int rc = body->err < 0 ? body->err : app_send(v->opts.app, &r, &v->call);
    buf_done(body);
    if (rc == 0)
        return;
    v->fault.fault = APP_NO_ROOM;
    snprintf(v->fault.text, sizeof v->fault.text, "%s could not be asked: %s", path, err_text(rc));
    finish(v);
}

/* A body that begins with {"query":{"dateRange":{...}. */
static struct json begin_query(struct buf *body, uint64_t from_s, uint64_t to_s)
{
    char from[TIME_BYTES], to[TIME_BYTES];
    struct json j = json_on(body);
    json_begin(&j, NULL);
    json_begin(&j, "query");
    json_begin(&j, "dateRange");
    json_str(&j, "date_from", iso(from, from_s, ".000000"));
    json_str(&j, "date_to", iso(to, to_s - 1, ".999999"));
    json_end(&j);
    return j;
}

static bool failed(struct verify *v, const struct app_answer *a)
{
    v->call = NULL;
    if (a->fault == APP_FINE)
        return false;
    app_verdict_copy(&v->fault, a);
    finish(v);
    return true;
}

/* ---- the bill ---------------------------------------------------------- */

static void on_bill(void *ctx, const struct app_answer *a)
{
    struct verify *v = ctx;
    v->call = NULL;
    if (a->fault == APP_FINE) /* that it may not be seen is no fault of what is stored */
        days_read_bill(&v->days, a->root);
    finish(v);
}

static void ask_bill(struct verify *v)
{
    char from[DAY_TEXT_BYTES];
    if (!v->opts.may_bill || v->days.count == 0) {
        finish(v);
        return;
    }
    snprintf(v->path, sizeof v->path,
             "/api/billing/usage/?start_date=%s&interval=day&usage_types=%%5B%%22"
             "logs_mb_in_period%%22%%5D&team_ids=%%5B%u%%5D&breakdowns=%%5B%%22type%%22%%5D",
             day_text(from, v->days.list[0].day), app_project(v->opts.app));
    const struct app_request r = {.method = "GET", .path = v->path, .ctx = v, .done = on_bill};
    if (app_send(v->opts.app, &r, &v->call) < 0)
        finish(v);
}

/* ---- canaries ---------------------------------------------------------- */

static void ask_canary(struct verify *v);

static void on_canary(void *ctx, const struct app_answer *a)
{
    struct verify *v = ctx;
    struct canary *c = &v->canaries[v->canary_at];
    double sent, seen;
    if (failed(v, a))
        return;
    struct json_each each = json_each(json_get(a->root, "results"));
    c->is_found = json_next(&each);
    if (c->is_found && read_time(json_string(json_get(each.value, "timestamp")), &sent) &&
        read_time(json_string(json_get(each.value, "observed_timestamp")), &seen))
        c->late_s = seen - sent;
    if (c->is_found && c->sent_s > v->check.shown_until_s)
        v->check.shown_until_s = c->sent_s;
    v->canaries_missing += !c->is_found;
    v->canary_at++;
    ask_canary(v);
}

/* Is it one to look for? Those that were found are known to be there. */
static bool is_wanted(const struct verify *v, const struct canary *c)
{
    return c->sent_s > 0 && c->sent_s <= v->opts.settled_s && !c->is_found;
}

static void ask_canary(struct verify *v)
{
    while (v->canary_at < CANARIES_MAX && !is_wanted(v, &v->canaries[v->canary_at]))
        v->canary_at++;
    if (v->canary_at == CANARIES_MAX) {
        ask_bill(v);
        return;
    }
    const struct canary *c = &v->canaries[v->canary_at];
    struct buf body = {0};
    struct json j = begin_query(&body, c->sent_s - 60, c->sent_s + 60);
    v->check.has_canary = true;
    json_begin_list(&j, "serviceNames");
    json_str(&j, NULL, "lipservice");
    json_end_list(&j);
    json_begin_list(&j, "filterGroup");
    json_begin(&j, NULL);
    json_str(&j, "key", "lipservice.canary");
    json_str(&j, "type", "log_attribute");
    json_str(&j, "operator", "exact");
    json_str(&j, "value", c->id);
    json_end(&j);
    json_end_list(&j);
    json_u64(&j, "limit", 1);
    json_end(&j);
    json_end(&j);
    ask(v, "logs/query/", &body, on_canary);
}

/* ---- rows that are there twice ----------------------------------------- */

static struct check_service *service_of(struct verify *v, struct span name)
{
    for (uint32_t i = 0; i < v->check.service_count; i++)
        if (span_eq(name, span_str(v->check.services[i].name)))
            return &v->check.services[i];
    return NULL;
}

static void on_twice(void *ctx, const struct app_answer *a)
{
    struct verify *v = ctx;
    struct json_each rows = json_each(json_get(a->root, "results"));
    if (failed(v, a))
        return;
    while (json_next(&rows)) {
        struct json_each row = json_each(rows.value);
        struct json_node cells[3];
        uint64_t at_s, count;
        size_t n = 0;
        while (n < ARRAY_LEN(cells) && json_next(&row))
            cells[n++] = row.value;
        struct check_service *s = n < 3 ? NULL : service_of(v, json_string(cells[0]));
        if (s != NULL && json_whole(cells[1], &at_s) && json_whole(cells[2], &count))
            ledger_check_twice(&v->check, s, at_s / 60, count);
    }
    ask_canary(v);
}

/* Without SQL any minute may have as many as were sent again in all. */
static void assume_twice(struct verify *v)
{
    struct ledger_check *c = &v->check;
    for (uint32_t i = 0; i < c->service_count; i++)
        for (uint32_t k = 0; k < c->minute_count; k++)
            ledger_check_twice(c, &c->services[i], c->first_minute + k, c->doubtful);
}

static void ask_twice(struct verify *v)
{
    struct ledger_check *c = &v->check;
    char from[TIME_BYTES], to[TIME_BYTES], sql[1024];
    struct buf body = {0};
    struct json j = json_on(&body);
    if (!v->opts.may_query || (c->doubtful == 0 && !ledger_check_has_surplus(c))) {
        assume_twice(v);
        ask_canary(v);
        return;
    }
    snprintf(
        sql, sizeof sql,
        "SELECT service_name, toUnixTimestamp(toStartOfMinute(timestamp)) AS minute, count() - "
        "uniqExact(concat(toString(timestamp), body, trace_id, span_id)) AS twice FROM logs "
        "WHERE timestamp >= toDateTime('%s') AND timestamp < toDateTime('%s') "
        "GROUP BY service_name, minute HAVING twice > 0 ORDER BY twice DESC LIMIT %d",
        iso(from, c->first_minute * 60, ""), iso(to, (c->first_minute + c->minute_count) * 60, ""),
        SQL_ROWS);
    json_begin(&j, NULL);
    json_begin(&j, "query");
    json_str(&j, "kind", "HogQLQuery");
    json_str(&j, "query", sql);
    json_end(&j);
    json_str(&j, "name", "lipservice verify");
    json_str(&j, "refresh", "force_blocking");
    json_end(&j);
    ask(v, "query/", &body, on_twice);
}

/* ---- counts ------------------------------------------------------------ */

static void ask_counts(struct verify *v);

/* Ranges of a minute or less; of longer ones a minute's share is not known. */
static bool take_ranges(struct verify *v, struct json_node ranges)
{
    struct json_each each = json_each(ranges);
    struct check_service *s = &v->check.services[v->service_at];
    while (json_next(&each)) {
        double from, to;
        uint64_t count;
        if (!read_time(json_string(json_get(each.value, "date_from")), &from) ||
            !read_time(json_string(json_get(each.value, "date_to")), &to) ||
            !json_whole(json_get(each.value, "count"), &count) || to - from > 60.5)
            return false;
        ledger_check_stored(&v->check, s, (uint64_t)from / 60, count);
    }
    return json_kind(ranges) == JSON_ARRAY;
}

static void on_counts(void *ctx, const struct app_answer *a)
{
    struct verify *v = ctx;
    if (failed(v, a))
        return;
    if (!take_ranges(v, json_get(a->root, "ranges"))) {
        v->fault.fault = APP_NOT_JSON;
        snprintf(v->fault.text, sizeof v->fault.text,
                 "PostHog counts by longer times than a minute, or in a form that is not known");
        finish(v);
        return;
    }
    v->hour_at++;
    ask_counts(v);
}

static void ask_counts(struct verify *v)
{
    const struct ledger_check *c = &v->check;
    uint32_t at = v->hour_at * MINUTES_A_QUESTION;
    if (at >= c->minute_count) {
        v->service_at++;
        v->hour_at = at = 0;
    }
    if (v->service_at == c->service_count) {
        ask_twice(v);
        return;
    }
    uint32_t left = c->minute_count - at;
    uint32_t minutes = left < MINUTES_A_QUESTION ? left : MINUTES_A_QUESTION;
    uint64_t from_s = (c->first_minute + at) * 60;
    struct buf body = {0};
    struct json j = begin_query(&body, from_s, from_s + minutes * 60);
    json_begin_list(&j, "serviceNames");
    json_str(&j, NULL, c->services[v->service_at].name);
    json_end_list(&j);
    json_u64(&j, "targetBuckets", minutes);
    json_end(&j);
    json_end(&j);
    ask(v, "logs/count-ranges/", &body, on_counts);
}

/* ---- life -------------------------------------------------------------- */

void verify_take_causes(struct verify *v, const struct gathered *g)
{
    struct ledger_check *c = &v->check;
    enum project_outcome o = g->project->outcome;
    c->wrong_project = o == PROJECT_UNKNOWN || o == PROJECT_OTHERS;
    c->rule_count = 0;
    for (uint32_t i = 0; i < g->rule_count && i < FINDING_RULES_MAX && i < LEDGER_CHECK_RULES;
         i++) {
        snprintf(c->rules[i].name, sizeof c->rules[i].name, "%s", g->rules[i].name);
        snprintf(c->rules[i].service, sizeof c->rules[i].service, "%s", g->rules[i].service);
        c->rule_count++;
    }
}

int verify_start(struct verify *v, const struct verify_opts *opts)
{
    v->opts = *opts;
    v->service_at = v->hour_at = v->canary_at = v->canaries_missing = 0;
    v->fault = (struct app_verdict){.fault = APP_FINE};
    v->is_running = true;
    bool has_work = v->check.service_count > 0;
    for (size_t i = 0; i < CANARIES_MAX; i++) {
        has_work |= is_wanted(v, &v->canaries[i]);
        if (v->canaries[i].is_found && v->canaries[i].sent_s > v->check.shown_until_s) {
            v->check.has_canary = true;
            v->check.shown_until_s = v->canaries[i].sent_s;
        }
    }
    if (!has_work) /* nothing was sent */
        return ERR_EMPTY;
    ask_counts(v);
    return 0;
}

void verify_stop(struct verify *v)
{
    if (v->is_running && v->call != NULL)
        app_cancel(v->call);
    v->call = NULL;
    v->is_running = false;
    ledger_check_done(&v->check);
}

bool verify_is_good(const struct verify *v)
{
    return v->fault.fault == APP_FINE && v->canaries_missing == 0 &&
           v->check.by_cause[CAUSE_UNEXPLAINED] == 0 && v->check.by_cause[CAUSE_PROJECT] == 0;
}

void verify_write_json(const struct verify *v, struct buf *out)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_bool(&j, "ok", verify_is_good(v));
    if (v->fault.fault != APP_FINE)
        json_str(&j, "fault", v->fault.text);
    ledger_check_write_json(&v->check, &j);
    json_begin_list(&j, "canaries");
    for (size_t i = 0; i < CANARIES_MAX; i++) {
        const struct canary *c = &v->canaries[i];
        if (c->sent_s == 0 || c->sent_s > v->opts.settled_s)
            continue;
        json_begin(&j, NULL);
        json_str(&j, "id", c->id);
        json_u64(&j, "sent_s", c->sent_s);
        json_bool(&j, "found", c->is_found);
        if (c->is_found)
            json_printf(&j, "late_s", "%.3f", c->late_s);
        json_end(&j);
    }
    json_end_list(&j);
    days_write_json(&v->days, &j);
    json_end(&j);
    json_line(&j);
}

void verify_write_text(const struct verify *v, struct buf *out)
{
    char at[TIME_BYTES];
    if (v->fault.fault != APP_FINE)
        buf_printf(out, "not all could be asked: %s\n", v->fault.text);
    for (size_t i = 0; i < CANARIES_MAX; i++) {
        const struct canary *c = &v->canaries[i];
        if (c->sent_s == 0 || c->sent_s > v->opts.settled_s)
            continue;
        if (c->is_found)
            buf_printf(out, "canary of %s: found, stored after %.1f s\n", iso(at, c->sent_s, ""),
                       c->late_s);
        else
            buf_printf(out, "canary of %s: missing\n", iso(at, c->sent_s, ""));
    }
    days_write_text(&v->days, out);
    ledger_check_write_text(&v->check, out);
}
