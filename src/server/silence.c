/* silence: one walk over the minutes of services and their patterns. */
#include "server/silence.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MINUTE_S 60
#define SPAN_MINUTES 5
#define SPANS (SILENCE_HOUR / SPAN_MINUTES)
#define WINDOW_MINUTES (SILENCE_WINDOW_MS / 60000)
#define NAME_BYTES 260
#define TEXT_BYTES 1100

/* ---- judgement ----------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint32_t silent_minutes(const double minutes[SILENCE_MINUTES])
{
    uint32_t n = 0;
    while (n < SILENCE_MINUTES && minutes[n] <= 0)
        n++;
    return n;
}

bool silence_judge(const double minutes[SILENCE_MINUTES], double *baseline)
{
    uint32_t silent = silent_minutes(minutes), with_records = 0;
    double spans[SPANS] = {0};
    if (silent < SILENCE_INTERVALS || silent > SILENCE_MOST)
        return false;
    for (uint32_t i = 0; i < SILENCE_HOUR; i++) {
        spans[i / SPAN_MINUTES] += minutes[silent + i];
        with_records += minutes[silent + i] > 0;
    }
    qsort(spans, SPANS, sizeof *spans, by_size);
    *baseline = (spans[SPANS / 2 - 1] + spans[SPANS / 2]) / 2;
    if (*baseline < SILENCE_LEAST || spans[0] <= 0 || spans[0] < SILENCE_EVEN * *baseline)
        return false;
    double interval = fmax(round((double)SILENCE_HOUR / with_records), 1);
    return silent >= SILENCE_INTERVALS * interval;
}

/* ---- the walk ------------------------------------------------------------ */

struct walk {
    anomaly_fn *fn;
    void *ctx;
    int64_t end_s;
    int16_t place[WINDOW_MINUTES]; /* by minutes back: which of those heard it is; -1: none */
    int16_t heard;
    int64_t service, pattern; /* pattern 0: all of the service; service 0: none yet */
    bool is_service_silent;
    char name[NAME_BYTES], signature[NAME_BYTES], text[TEXT_BYTES];
    double minutes[SILENCE_MINUTES];
};

static void copy(char *to, size_t size, struct span from)
{
    snprintf(to, size, "%.*s", (int)from.len, from.base == NULL ? "" : (const char *)from.base);
}

static int64_t minutes_back(const struct walk *w, int64_t start_s)
{
    return (w->end_s - start_s) / MINUTE_S - 1;
}

/* The latest first. */
static int on_heard(void *ctx, const struct store_value *v)
{
    struct walk *w = ctx;
    int64_t back = minutes_back(w, v[0].number);
    if (back >= 0 && back < WINDOW_MINUTES && w->heard < SILENCE_MINUTES)
        w->place[back] = w->heard++;
    return 0;
}

static int end_one(struct walk *w)
{
    double baseline;
    if (w->service == 0 || (w->pattern != 0 && w->is_service_silent) ||
        !silence_judge(w->minutes, &baseline))
        return 0;
    w->is_service_silent = w->pattern == 0;
    const struct anomaly a = {
        .service = span_str(w->name),
        .signature = span_str(w->signature),
        .template_text = span_str(w->text),
        .type = "silence",
        .severity = w->pattern == 0 ? "high" : "medium",
        .current = 0,
        .baseline = baseline,
        .confidence = fmin(baseline / (baseline + SILENCE_LEAST), 1),
        .detected_ms = w->end_s * 1000,
    };
    return w->fn(w->ctx, &a);
}

/* Columns: service, its name; pattern, its texts; minute, count. */
static int on_minute(void *ctx, const struct store_value *v)
{
    struct walk *w = ctx;
    int rc = 0;
    if (v[0].number != w->service || v[2].number != w->pattern) {
        rc = end_one(w);
        w->is_service_silent = w->is_service_silent && v[0].number == w->service;
        w->service = v[0].number;
        w->pattern = v[2].number;
        copy(w->name, sizeof w->name, v[1].text);
        copy(w->signature, sizeof w->signature, v[3].text);
        copy(w->text, sizeof w->text,
             w->pattern == 0 ? SPAN("all records of the service") : v[4].text);
        memset(w->minutes, 0, sizeof w->minutes);
    }
    int64_t back = minutes_back(w, v[5].number);
    if (back >= 0 && back < WINDOW_MINUTES && w->place[back] >= 0)
        w->minutes[w->place[back]] += (double)v[6].number;
    return rc;
}

int silence_each(struct store *s, int64_t team, int64_t service, int64_t now_ms, anomaly_fn *fn,
                 void *ctx)
{
    int64_t now_s = now_ms / 1000;
    struct walk w = {.fn = fn, .ctx = ctx, .end_s = now_s - now_s % MINUTE_S};
    memset(w.place, 0xff, sizeof w.place);
    const struct store_value v[] = {store_int(team), store_int(w.end_s - WINDOW_MINUTES * MINUTE_S),
                                    store_int(w.end_s), store_int(service),
                                    store_int(w.end_s - SILENCE_INTERVALS * MINUTE_S)};
    int rc = store_run(s,
                       "SELECT start_s FROM heard WHERE team_id = $1 AND start_s >= $2 AND "
                       "start_s < $3 ORDER BY start_s DESC",
                       v, 3, on_heard, &w);
    if (rc != 0 || w.heard < SILENCE_HOUR + SILENCE_INTERVALS)
        return rc;
    /* CROSS JOIN keeps SQLite to this order of loops: by time it would read all services. */
    rc = store_run(
        s,
        "SELECT s.id AS service, s.name, 0 AS pattern, '' AS signature, '' AS template, "
        "c.start_s AS start_s, CAST(SUM(c.received) AS BIGINT) FROM services s "
        "CROSS JOIN patterns p CROSS JOIN counts c "
        "WHERE s.team_id = $1 AND (s.id = $4 OR $4 = 0) AND NOT EXISTS (SELECT 1 FROM patterns q "
        "CROSS JOIN counts r WHERE q.service_id = s.id AND r.grain_s = 60 AND "
        "r.pattern_id = q.id AND r.start_s >= $5 AND r.start_s < $3 AND r.received > 0) "
        "AND p.service_id = s.id AND c.grain_s = 60 AND c.pattern_id = p.id AND c.start_s >= $2 "
        "AND c.start_s < $3 GROUP BY s.id, s.name, c.start_s "
        "UNION ALL SELECT s.id, s.name, p.id, p.signature, p.template, c.start_s, c.received "
        "FROM services s CROSS JOIN patterns p CROSS JOIN counts c "
        "WHERE s.team_id = $1 AND (s.id = $4 OR $4 = 0) AND p.service_id = s.id AND "
        "p.signature <> '' AND NOT EXISTS (SELECT 1 FROM counts r WHERE r.grain_s = 60 AND "
        "r.pattern_id = p.id AND r.start_s >= $5 AND r.start_s < $3 AND r.received > 0) "
        "AND c.grain_s = 60 AND c.pattern_id = p.id AND c.start_s >= $2 AND c.start_s < $3 "
        "ORDER BY service, pattern, start_s",
        v, ARRAY_LEN(v), on_minute, &w);
    return rc == 0 ? end_one(&w) : rc;
}
