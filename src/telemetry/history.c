/* history: differences between two censuses, and who has a place of its own. */
#include "telemetry/history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "telemetry/history_state.h"
#include "util/unicode.h"

#define SECOND_NS UINT64_C(1000000000)
#define SMOOTHING 0.1f /* of the loudness, a minute */
#define LOUDER 2.0f    /* times the quietest with a place: else they would change all the time */

/* ---- life -------------------------------------------------------------- */

int history_new(struct history **out, struct budget *budget, uint64_t unix_ns)
{
    if (budget_take(budget, sizeof(struct history)) < 0)
        return ERR_FULL;
    struct history *h = calloc(1, sizeof *h);
    if (h == NULL || sparks_new(&h->sparks, budget) < 0) {
        budget_give(budget, sizeof *h);
        free(h);
        return ERR_NOMEM;
    }
    h->budget = budget;
    h->now_s = h->since_s = unix_ns / SECOND_NS;
    *out = h;
    return 0;
}

void history_free(struct history *h)
{
    if (h == NULL)
        return;
    sparks_free(h->sparks);
    series_done(&h->total, h->budget);
    series_done(&h->would, h->budget);
    series_done(&h->other, h->budget);
    for (int i = 0; i < HISTORY_SERVICES; i++)
        series_done(&h->places[i].series, h->budget);
    budget_give(h->budget, h->seen_count * sizeof *h->seen);
    free(h->seen);
    budget_give(h->budget, sizeof *h);
    free(h);
}

/* ---- places ------------------------------------------------------------ */

static struct span name_of(const struct history_place *p)
{
    return span_of(p->name, p->name_len);
}

static void give_place(struct history *h, struct history_seen *seen, struct span name, int place)
{
    struct history_place *p = &h->places[place];
    *p = (struct history_place){.is_used = true, .loudness = seen->loudness};
    p->name_len = (uint8_t)(name.len < LEDGER_NAME_BYTES ? name.len : LEDGER_NAME_BYTES);
    if (p->name_len > 0)
        memcpy(p->name, name.base, p->name_len);
    seen->place = (int8_t)place;
}

/* A service that was not seen before: the place of its name, or a free one. */
static void find_place(struct history *h, struct history_seen *seen, struct span name)
{
    int free_place = -1;
    seen->is_known = true;
    seen->place = -1;
    for (int i = 0; i < HISTORY_SERVICES; i++) {
        if (h->places[i].is_used && span_eq(name_of(&h->places[i]), name)) {
            seen->place = (int8_t)i;
            return;
        }
        if (!h->places[i].is_used && free_place < 0)
            free_place = i;
    }
    if (free_place >= 0)
        give_place(h, seen, name, free_place);
}

static int quietest_place(const struct history *h)
{
    int quietest = 0;
    for (int i = 1; i < HISTORY_SERVICES; i++)
        if (h->places[i].loudness < h->places[quietest].loudness)
            quietest = i;
    return quietest;
}

/* Each minute: who has become louder than the quietest with a place? */
static void judge_loudness(struct history *h, const struct census *c)
{
    for (uint32_t i = 0; i < h->seen_count; i++) {
        struct history_seen *seen = &h->seen[i];
        float now = (float)(seen->received_bytes - seen->of_minute);
        seen->of_minute = seen->received_bytes;
        seen->loudness += SMOOTHING * (now - seen->loudness);
        if (seen->place >= 0)
            h->places[seen->place].loudness = seen->loudness;
    }
    for (uint32_t i = 1; i < h->seen_count && i < c->services_held; i++) {
        struct history_seen *seen = &h->seen[i];
        int place = quietest_place(h);
        if (!seen->is_known || seen->place >= 0 ||
            seen->loudness < LOUDER * h->places[place].loudness)
            continue;
        for (uint32_t k = 0; k < h->seen_count; k++)
            if (h->seen[k].place == place)
                h->seen[k].place = -1;
        series_fold(&h->other, &h->places[place].series, h->budget);
        give_place(h, seen, c->services[i].name, place);
    }
}

/* ---- feeding ----------------------------------------------------------- */

static uint32_t since(uint64_t *seen, uint64_t now)
{
    uint64_t more = now - *seen;
    *seen = now;
    return more > UINT32_MAX ? UINT32_MAX : (uint32_t)more;
}

static uint64_t bytes_since(uint64_t *seen, uint64_t now)
{
    uint64_t more = now - *seen;
    *seen = now;
    return more;
}

static bool is_empty(const struct series_cell *n)
{
    return n->received == 0 && n->kept == 0 && n->lost == 0 && n->kept_bytes == 0;
}

static void count(struct history *h, struct series *s, const struct series_cell *n)
{
    if (!is_empty(n) && !series_add(s, h->now_s - 1, n, h->budget))
        h->left_out++;
}

static bool reach(struct history *h, uint32_t services)
{
    size_t more = (services - h->seen_count) * sizeof *h->seen;
    if (services <= h->seen_count)
        return true;
    if (budget_take(h->budget, more) < 0)
        return false;
    struct history_seen *grown = realloc(h->seen, services * sizeof *grown);
    if (grown == NULL) {
        budget_give(h->budget, more);
        return false;
    }
    memset(grown + h->seen_count, 0, more);
    h->seen = grown;
    h->seen_count = services;
    return true;
}

static void feed_service(struct history *h, const struct census *c, uint32_t i)
{
    const struct ledger_row *r = &c->services[i].row;
    struct history_seen *seen = &h->seen[i];
    const struct series_cell n = {
        .received = since(&seen->received, r->received),
        .kept = since(&seen->kept, r->verdict[VERDICT_KEPT] + r->released),
        .errors = since(&seen->errors, r->errors),
        .received_bytes = bytes_since(&seen->received_bytes, r->received_bytes),
        .kept_bytes = bytes_since(&seen->kept_bytes, r->kept_bytes + r->released_bytes),
    };
    if (!seen->is_known && i != LEDGER_OTHER && !is_empty(&n))
        find_place(h, seen, c->services[i].name);
    bool has_place = seen->is_known && seen->place >= 0;
    count(h, has_place ? &h->places[seen->place].series : &h->other, &n);
}

static void count_month(struct history *h, const struct series_cell *n,
                        const struct series_cell *would)
{
    struct tm tm;
    time_t at = (time_t)(h->now_s - 1);
    gmtime_r(&at, &tm);
    uint32_t month = (uint32_t)(tm.tm_year + 1900) * 12 + (uint32_t)tm.tm_mon;
    if (month != h->month.month)
        h->month = (struct history_month){.month = month, .since_s = h->now_s - 1};
    h->month.received += n->received;
    h->month.kept += n->kept;
    h->month.received_bytes += n->received_bytes;
    h->month.kept_bytes += n->kept_bytes;
    h->month.would_keep_bytes += would->kept_bytes;
}

struct history_month history_month(const struct history *h)
{
    return h->month;
}

static void feed_totals(struct history *h, const struct census *c)
{
    const struct ledger_row *t = &c->total;
    const struct shadow_counts *would = &c->shadow[SHADOW_ENFORCED];
    uint64_t lost = 0;
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++)
        lost += t->fate[f];
    const struct series_cell n = {
        .received = since(&h->received, t->received),
        .kept = since(&h->kept, t->verdict[VERDICT_KEPT] + t->released),
        .errors = since(&h->errors, t->errors),
        .lost = since(&h->lost, lost),
        .received_bytes = bytes_since(&h->received_bytes, t->received_bytes),
        .kept_bytes = bytes_since(&h->kept_bytes, t->kept_bytes + t->released_bytes),
    };
    const struct series_cell m = {
        .kept = since(&h->would_keep, would->kept + would->released),
        .kept_bytes = bytes_since(&h->would_keep_bytes, would->kept_bytes),
    };
    count(h, &h->total, &n);
    count(h, &h->would, &m);
    count_month(h, &n, &m);
}

/* Time without a process is no time in which nothing was counted. */
static void cover(struct history *h, uint64_t from, uint64_t to)
{
    for (uint64_t m = to - from > HISTORY_MINUTES ? to - HISTORY_MINUTES : from; m < to; m++)
        h->covered[(m + 1) % HISTORY_MINUTES / 8] &=
            (uint8_t) ~(1u << (m + 1) % HISTORY_MINUTES % 8);
    h->covered[to % HISTORY_MINUTES / 8] |= (uint8_t)(1u << to % HISTORY_MINUTES % 8);
}

/* Seconds of the last so many minutes in which there was a process. */
static double covered_s(const struct history *h, uint32_t minutes)
{
    uint64_t last = (h->now_s - 1) / 60, known = h->now_s - h->since_s;
    uint32_t n = 0;
    for (uint64_t m = last; n <= minutes && last - m < minutes; m--)
        n += h->covered[m % HISTORY_MINUTES / 8] >> m % HISTORY_MINUTES % 8 & 1;
    return fmin((double)n * 60, (double)known);
}

static void advance(struct history *h, uint64_t to_s)
{
    if (to_s <= h->now_s)
        return; /* the clock was set back: it is the same step still */
    uint64_t from = h->now_s - 1, to = to_s - 1;
    cover(h, from / 60, to / 60);
    series_advance(&h->total, from, to, h->budget);
    series_advance(&h->would, from, to, h->budget);
    series_advance(&h->other, from, to, h->budget);
    for (int i = 0; i < HISTORY_SERVICES; i++)
        series_advance(&h->places[i].series, from, to, h->budget);
    h->now_s = to_s;
}

void history_feed(struct history *h, const struct census *c, uint64_t unix_ns)
{
    uint64_t minute = h->now_s / 60;
    advance(h, (unix_ns + SECOND_NS - 1) / SECOND_NS);
    feed_totals(h, c);
    if (reach(h, c->services_held))
        for (uint32_t i = 0; i < c->services_held; i++)
            feed_service(h, c, i);
    if (c->patterns != NULL)
        sparks_feed(h->sparks, c, unix_ns);
    if (h->now_s / 60 != minute)
        judge_loudness(h, c);
}

/* ---- marks, sums ------------------------------------------------------- */

void history_mark(struct history *h, enum history_kind kind, uint64_t unix_ns, struct span text)
{
    struct history_mark *m = &h->marks[h->next_mark];
    struct span shown = utf8_cut(text, sizeof m->text - 1);
    *m = (struct history_mark){unix_ns / SECOND_NS, kind, ""};
    if (shown.len > 0)
        memcpy(m->text, shown.base, shown.len);
    h->next_mark = (h->next_mark + 1) % HISTORY_MARKS;
    h->mark_count += h->mark_count < HISTORY_MARKS;
}

const struct history_mark *history_mark_at(const struct history *h, uint32_t i)
{
    return &h->marks[(h->next_mark + HISTORY_MARKS - h->mark_count + i) % HISTORY_MARKS];
}

struct sparks *history_sparks(const struct history *h)
{
    return h->sparks;
}

uint64_t history_since_s(const struct history *h)
{
    return h->since_s;
}

uint64_t history_left_out(const struct history *h)
{
    return h->left_out;
}

struct history_sum history_sum(const struct history *h, enum series_span span)
{
    uint32_t step_s = series_step_s(span), steps = series_steps(span);
    uint64_t last = (h->now_s - 1) / step_s * step_s;
    struct history_sum sum = {.seconds = covered_s(h, steps * step_s / 60)};
    for (uint32_t i = 0; i < steps && last >= (uint64_t)i * step_s; i++) {
        struct series_cell n = series_at(&h->total, span, last - (uint64_t)i * step_s);
        struct series_cell m = series_at(&h->would, span, last - (uint64_t)i * step_s);
        sum.received += n.received;
        sum.kept += n.kept;
        sum.received_bytes += (double)n.received_bytes;
        sum.kept_bytes += (double)n.kept_bytes;
        sum.would_keep += m.kept;
        sum.would_keep_bytes += (double)m.kept_bytes;
    }
    return sum;
}
