/* troubles: rows of one service and kind stand side by side and become one sentence. */
#include "server/troubles.h"

#include <inttypes.h>
#include <stdio.h>

#include "util/buf.h"

#define NAME_BYTES 260
#define MESSAGE_BYTES 400 /* of the reasons, those with most records */
#define MINUTE_S 60

int troubles_write(struct store *s, int64_t service, const struct rollup_trouble *t)
{
    const struct store_value v[] = {store_int(service), store_str(t->kind), store_text(t->reason),
                                    store_int((int64_t)t->minute * MINUTE_S),
                                    store_int((int64_t)t->records)};
    return store_run(s,
                     "INSERT INTO troubles (service_id, kind, reason, start_s, records, reports) "
                     "VALUES ($1, $2, $3, $4, $5, 1) "
                     "ON CONFLICT (service_id, kind, reason, start_s) DO UPDATE SET "
                     "records = troubles.records + excluded.records, "
                     "reports = troubles.reports + 1",
                     v, ARRAY_LEN(v), NULL, NULL);
}

int troubles_forget(struct store *s, int64_t before_s)
{
    const struct store_value v = store_int(before_s);
    return store_run(s, "DELETE FROM troubles WHERE start_s < $1", &v, 1, NULL, NULL);
}

/* ---- sentences ---------------------------------------------------------- */

struct walk;

static void word_losses(struct buf *out, const struct walk *w);
static void word_quota(struct buf *out, const struct walk *w);

static const struct kind {
    const char *name, *severity;
    void (*word)(struct buf *out, const struct walk *w);
} kinds[] = {
    {TROUBLE_LOSSES, "high", word_losses},
    {TROUBLE_QUOTA, "high", word_quota},
};

struct walk {
    trouble_fn *fn;
    void *ctx;
    int64_t minutes;
    const struct kind *kind; /* NULL: none yet */
    char service[NAME_BYTES];
    int64_t records, reports;
    struct buf reasons;
};

static void word_losses(struct buf *out, const struct walk *w)
{
    buf_printf(out, "%" PRId64 " records were lost in %" PRId64 " minutes: ", w->records,
               w->minutes);
    buf_append(out, buf_span(&w->reasons));
}

static void word_quota(struct buf *out, const struct walk *w)
{
    buf_printf(out,
               "PostHog's quota is reached and it takes no more logs: %" PRId64
               " reports say so in %" PRId64 " minutes",
               w->reports, w->minutes);
}

static int end_one(struct walk *w)
{
    const struct kind *k = w->kind;
    struct buf message = {.max_bytes = 2 * MESSAGE_BYTES};
    if (k == NULL)
        return 0;
    k->word(&message, w);
    const struct trouble t = {.service = span_str(w->service),
                              .message = buf_span(&message),
                              .kind = k->name,
                              .severity = k->severity};
    int rc = message.err != 0 ? message.err : w->reasons.err != 0 ? w->reasons.err : 0;
    if (rc == 0)
        rc = w->fn(w->ctx, &t);
    buf_done(&message);
    buf_clear(&w->reasons);
    w->kind = NULL;
    return rc;
}

static const struct kind *kind_of(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (span_eq(name, span_str(kinds[i].name)))
            return &kinds[i];
    return NULL;
}

/* Columns: service, kind, reason, records, reports. */
static int on_row(void *ctx, const struct store_value *v)
{
    struct walk *w = ctx;
    const struct kind *k = kind_of(v[1].text);
    int rc = 0;
    if (k == NULL)
        return 0; /* of a later version */
    if (k != w->kind || !span_eq(v[0].text, span_str(w->service))) {
        rc = end_one(w);
        w->kind = k;
        w->records = w->reports = 0;
        snprintf(w->service, sizeof w->service, "%.*s", (int)v[0].text.len,
                 (const char *)v[0].text.base);
    }
    w->records += v[3].number;
    w->reports += v[4].number;
    if (w->reasons.len < MESSAGE_BYTES - ROLLUP_REASON_BYTES)
        buf_printf(&w->reasons, "%s%.*s %" PRId64, w->reasons.len == 0 ? "" : ", ",
                   (int)v[2].text.len, (const char *)v[2].text.base, v[3].number);
    return rc;
}

int troubles_each(struct store *s, int64_t team, int64_t now_ms, int64_t minutes, trouble_fn *fn,
                  void *ctx)
{
    int64_t since_s = (now_ms / 1000 / MINUTE_S - minutes) * MINUTE_S;
    struct walk w = {.fn = fn, .ctx = ctx, .minutes = minutes};
    w.reasons.max_bytes = 2 * MESSAGE_BYTES;
    const struct store_value v[] = {store_int(team), store_int(since_s)};
    int rc = store_run(s,
                       "SELECT s.name, t.kind, t.reason, CAST(SUM(t.records) AS BIGINT), "
                       "CAST(SUM(t.reports) AS BIGINT) FROM troubles t "
                       "JOIN services s ON s.id = t.service_id "
                       "WHERE s.team_id = $1 AND t.start_s >= $2 "
                       "GROUP BY s.name, t.kind, t.reason "
                       "ORDER BY s.name, t.kind, SUM(t.records) DESC, t.reason",
                       v, ARRAY_LEN(v), on_row, &w);
    if (rc == 0)
        rc = end_one(&w);
    buf_done(&w.reasons);
    return rc;
}
