/* history: a timer that takes a census, and what is noticed between two of them. */
#include "sidecar/history.h"

#include <stdio.h>
#include <stdlib.h>

#include "sidecar/sidecar_state.h"
#include "util/diag.h"

#define FEED_MS (HISTORY_FEED_S * UINT64_C(1000))
#define NEAR_MS 500 /* a timer is off by no more, but on a loop that is held up */
#define NS_A_MS UINT64_C(1000000)
#define FRESH_MS 1000 /* a page does not feed again within it */

/* Of one kind, since the last feed: one mark for all of them, or a deployment would fill the list.
 */
struct noticed {
    uint32_t count;
    char first[HISTORY_TEXT_BYTES];
};

struct remembering {
    struct sidecar *sc;
    struct history *history;
    uv_timer_t timer;
    uint64_t fed_ms;
    bool is_out; /* the upstream did not answer at the last feed */
    struct noticed noticed[ANOMALY_KINDS];
};

/* ---- marks ------------------------------------------------------------- */

static void mark(struct remembering *r, enum history_kind kind, const char *text)
{
    history_mark(r->history, kind, clock_unix_ns(r->sc->clock), span_str(text));
}

static void mark_noticed(struct remembering *r)
{
    static const struct {
        enum history_kind kind;
        const char *one, *many;
    } texts[] = {
        [ANOMALY_NEW] = {HISTORY_NEW, "new", "new patterns"},
        [ANOMALY_SURGE] = {HISTORY_SURGE, "surge", "surges"},
        [ANOMALY_SILENT] = {HISTORY_SILENT, "silent", "silent patterns"},
        [ANOMALY_ERRORS] = {HISTORY_SURGE, "more errors", "services with more errors"},
    };
    for (int k = 0; k < ANOMALY_KINDS; k++) {
        struct noticed *n = &r->noticed[k];
        char text[HISTORY_TEXT_BYTES];
        if (n->count == 0)
            continue;
        if (n->count == 1)
            snprintf(text, sizeof text, "%s: %.100s", texts[k].one, n->first);
        else
            snprintf(text, sizeof text, "%u %s, the first: %.70s", n->count, texts[k].many,
                     n->first);
        mark(r, texts[k].kind, text);
        n->count = 0;
    }
}

static void mark_outage(struct remembering *r)
{
    struct exporter_stats s;
    if (r->sc->exporter == NULL)
        return;
    exporter_stats(r->sc->exporter, &s);
    bool is_out = s.circuit != CIRCUIT_CLOSED;
    if (is_out != r->is_out)
        mark(r, HISTORY_OUTAGE, is_out ? "the upstream does not answer" : "it answers again");
    r->is_out = is_out;
}

static void on_noticed(void *ctx, enum anomaly_kind kind, struct span service, struct span text)
{
    struct remembering *r = ((struct sidecar *)ctx)->remembering;
    if (r == NULL)
        return;
    struct noticed *n = &r->noticed[kind];
    if (n->count++ == 0)
        snprintf(
            n->first, sizeof n->first, "%.*s%s%.*s", (int)(service.len < 60 ? service.len : 60),
            service.len > 0 ? (const char *)service.base : "", service.len > 0 ? " " : "",
            (int)(text.len < 100 ? text.len : 100), text.len > 0 ? (const char *)text.base : "");
}

void history_note_policy(struct sidecar *sc, struct span service, const struct rules *rules)
{
    char text[HISTORY_TEXT_BYTES];
    if (sc->remembering == NULL || rules == NULL)
        return;
    snprintf(text, sizeof text, "policy %lld (%s) is in force%s%.*s",
             (long long)rules_version(rules), rules_origin(rules), service.len > 0 ? " for " : "",
             (int)(service.len < 60 ? service.len : 60),
             service.len > 0 ? (const char *)service.base : "");
    mark(sc->remembering, HISTORY_POLICY, text);
}

/* ---- feeding ----------------------------------------------------------- */

int history_take(struct sidecar *sc, struct census *out)
{
    struct census_want want = {.services = true, .patterns = true, .budget = &sc->page_memory};
    int rc = census_take(sc->pipeline, &want, out);
    want.patterns = false;
    return rc < 0 ? census_take(sc->pipeline, &want, out) : rc;
}

/* What there is no memory for now is counted with the next. */
static void feed(struct remembering *r, uint64_t unix_ns)
{
    struct sidecar *sc = r->sc;
    struct census c;
    r->fed_ms = clock_now_ms(sc->clock);
    if (history_take(sc, &c) < 0)
        return;
    history_feed(r->history, &c, unix_ns);
    census_done(&c);
    mark_noticed(r);
    mark_outage(r);
}

/* Until the end of the step by the wall clock. */
static uint64_t rest_of_step_ms(const struct sidecar *sc)
{
    return FEED_MS - clock_unix_ns(sc->clock) / NS_A_MS % FEED_MS;
}

/* A step ends. What was counted belongs to it, though the timer is a little early or late: else the
 * counts of two steps are in one, and none in the next. */
static void on_timer(uv_timer_t *timer)
{
    struct remembering *r = container_of(timer, struct remembering, timer);
    const uint64_t step_ns = FEED_MS * NS_A_MS;
    uint64_t unix_ns = clock_unix_ns(r->sc->clock);
    uint64_t end_ns = (unix_ns + step_ns / 2) / step_ns * step_ns;
    bool is_early = unix_ns < end_ns && end_ns - unix_ns < NEAR_MS * NS_A_MS;
    bool is_late = unix_ns >= end_ns && unix_ns - end_ns < NEAR_MS * NS_A_MS;
    feed(r, is_early || is_late ? end_ns : unix_ns); /* else the clock was set */
    uv_timer_start(timer, on_timer, rest_of_step_ms(r->sc) + (is_early ? FEED_MS : 0), 0);
}

struct history *history_of(const struct sidecar *sc)
{
    return sc->remembering == NULL ? NULL : sc->remembering->history;
}

struct history *history_now(struct sidecar *sc)
{
    struct remembering *r = sc->remembering;
    if (r == NULL)
        return NULL;
    if (clock_now_ms(sc->clock) - r->fed_ms >= FRESH_MS)
        feed(r, clock_unix_ns(sc->clock));
    return r->history;
}

/* ---- life -------------------------------------------------------------- */

int history_start(struct sidecar *sc, struct error *err)
{
    (void)err;
    uint64_t unix_ns = clock_unix_ns(sc->clock);
    if (sc->history_memory.limit == 0)
        return 0;
    struct remembering *r = calloc(1, sizeof *r);
    int rc = r == NULL ? ERR_NOMEM : history_new(&r->history, &sc->history_memory, unix_ns);
    if (rc < 0) {
        free(r);
        return rc;
    }
    r->sc = sc;
    r->fed_ms = clock_now_ms(sc->clock);
    sc->remembering = r;
    uv_timer_init(&sc->loop, &r->timer);
    pipeline_notice(sc->pipeline, on_noticed, sc);
    return uv_timer_start(&r->timer, on_timer, rest_of_step_ms(sc), 0);
}

void history_stop(struct sidecar *sc)
{
    if (sc->remembering == NULL)
        return;
    pipeline_notice(sc->pipeline, NULL, NULL);
    uv_close((uv_handle_t *)&sc->remembering->timer, NULL);
}

void history_release(struct sidecar *sc)
{
    if (sc->remembering == NULL)
        return;
    history_free(sc->remembering->history);
    free(sc->remembering);
    sc->remembering = NULL;
}

/* ---- the page ---------------------------------------------------------- */

bool history_parse_span(struct span text, enum series_span *span, uint64_t *seconds)
{
    static const struct {
        const char *text;
        enum series_span span;
        uint64_t seconds;
    } spans[] = {{"15m", SERIES_HOUR, 900}, {"1h", SERIES_HOUR, 3600}, {"24h", SERIES_DAY, 86400}};
    for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
        if (!span_eq(text, span_str(spans[i].text)))
            continue;
        *span = spans[i].span;
        *seconds = spans[i].seconds;
        return true;
    }
    return false;
}

int history_write_page(void *ctx, struct span query, struct buf *out)
{
    struct sidecar *sc = ctx;
    struct history_view view = {SERIES_HOUR, 3600, {0}, sc->cfg->observe};
    struct json j = json_on(out);
    char service[LEDGER_NAME_BYTES + 1];
    struct span span = page_query(query, "span");
    if (span.len > 0 && !history_parse_span(span, &view.span, &view.seconds))
        return sidecar_refuse(out, 400, "span is one of 15m, 1h, 24h");
    if (page_query_text(query, "service", service, sizeof service) < 0)
        return sidecar_refuse(out, 400, "service is not good");
    if (page_query(query, "service").base != NULL)
        view.service = span_str(service);
    struct history *h = history_now(sc);
    if (h == NULL)
        return sidecar_refuse(out, 404, "history.memory is 0: nothing is remembered");
    json_begin(&j, NULL);
    history_write(h, &view, &j);
    json_end(&j);
    json_line(&j);
    return 200;
}
