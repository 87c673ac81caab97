/* sidecar_live: the taps are a short array; the hook in the pipeline is there while one is open. */
#include "sidecar/live.h"

#include <stdlib.h>
#include <string.h>

#include "net/page.h"
#include "pattern/day_counts.h"
#include "pattern/signature.h"
#include "sidecar/sidecar_state.h"
#include "telemetry/explain.h"

#define EXPLAIN_RECORDS_MAX 100 /* a person's question; each answer is about a kilobyte */
#define SUMS_MS 1000            /* between two lines of sums to a tap, when they have changed */
/* What an open answer may hold: waiting, and given to the socket. */
#define TAP_MEMORY_BYTES (2 * HTTP_STREAM_BYTES)

struct listener_tap {
    struct http_exchange *x; /* NULL: this place is free */
    struct tap tap;
    uint64_t sent; /* `matched` in the last line of sums */
};

struct live {
    struct sidecar *sidecar;
    struct listener_tap taps[LIVE_TAPS_MAX];
    uint32_t open;
    struct live_stats ended; /* sums of taps that are no more */
    bool is_stopping;
    struct buf line; /* scratch */
    uv_timer_t sums_timer, day_timer;
    uint32_t handles;
};

/* ---- life -------------------------------------------------------------- */

static void on_day(uv_timer_t *timer)
{
    struct live *live = container_of(timer, struct live, day_timer);
    uv_timer_start(timer, on_day, pipeline_day(live->sidecar->pipeline), 0);
}

int live_open(struct sidecar *sc)
{
    struct live *live = calloc(1, sizeof *live);
    if (live == NULL)
        return ERR_NOMEM;
    live->sidecar = sc;
    live->line.budget = &sc->budget;
    uv_timer_init(&sc->loop, &live->sums_timer);
    uv_timer_init(&sc->loop, &live->day_timer);
    live->handles = 2;
    on_day(&live->day_timer);
    sc->live = live;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct live *live = handle->data;
    if (--live->handles == 0)
        free(live);
}

void live_close(struct live *live)
{
    if (live == NULL)
        return;
    live_stop_taps(live);
    buf_done(&live->line);
    live->sums_timer.data = live->day_timer.data = live;
    uv_close((uv_handle_t *)&live->sums_timer, on_closed);
    uv_close((uv_handle_t *)&live->day_timer, on_closed);
}

struct live_stats live_stats(const struct live *live)
{
    struct live_stats s = live->ended;
    s.taps = live->open;
    for (uint32_t i = 0; i < LIVE_TAPS_MAX; i++) {
        const struct tap *t = &live->taps[i].tap;
        s.shown += live->taps[i].x != NULL ? t->shown : 0;
        s.over_rate += live->taps[i].x != NULL ? t->over_rate : 0;
        s.slow += live->taps[i].x != NULL ? t->slow : 0;
    }
    return s;
}

/* ---- explain ----------------------------------------------------------- */

struct reply {
    struct live *live;
    struct buf *out;
    bool json;
};

static void on_words(void *ctx, struct span text)
{
    buf_append(((struct reply *)ctx)->out, text);
}

static void on_refused(void *ctx, size_t line, const char *why)
{
    const struct reply *a = ctx;
    if (!a->json) {
        buf_printf(a->out, "line %zu: %s\n\n", line, why);
        return;
    }
    struct json j = json_on(a->out);
    json_begin(&j, NULL);
    json_u64(&j, "line", line);
    json_str(&j, "error", why);
    json_end(&j);
    json_line(&j);
}

static bool on_counts(void *ctx, const struct pattern *p, struct explain_counts *out)
{
    const struct reply *a = ctx;
    if (p == NULL)
        return false;
    out->all = p->counts;
    out->first_seen_ns = p->first_seen_ns;
    out->last_seen_ns = pattern_last_seen_ns(p);
    out->today_ns = pipeline_today(a->live->sidecar->pipeline, p->number, &out->today);
    return true;
}

int live_explain(void *ctx, struct span query, struct span body, struct buf *out)
{
    struct sidecar *sc = ctx;
    struct reply answer = {sc->live, out, !span_eq(page_query(query, "as"), SPAN("words"))};
    char service[TAP_TEXT_BYTES], severity[TAP_TEXT_BYTES];
    struct explain e;
    if (page_query_text(query, "service", service, sizeof service) < 0 ||
        page_query_text(query, "severity", severity, sizeof severity) < 0 ||
        (severity[0] != '\0' && log_severity_of_text(span_str(severity)) == 0))
        return sidecar_refuse(out, 400, "service or severity is not good");
    const struct explain_opts opts = {
        .pipeline = sc->pipeline,
        .rule_text = config_rule_text,
        .rules = sc->cfg,
        .budget = &sc->budget,
        .json = answer.json,
        .is_strict = sc->cfg->receiver.strict,
        .service = span_str(service),
        .severity = span_str(severity),
        .max_records = EXPLAIN_RECORDS_MAX,
        .ctx = &answer,
        .write = on_words,
        .refused = on_refused,
        .counts = on_counts,
    };
    int rc = explain_init(&e, &opts);
    if (rc == 0)
        rc = span_eq(page_query(query, "input"), SPAN("line")) ? explain_line(&e, body)
                                                               : explain_text(&e, body);
    bool nothing = e.records == 0;
    explain_done(&e);
    if (rc == ERR_TOO_BIG)
        return sidecar_refuse(out, 413, "more than 100 records: explain is for a few");
    if (rc < 0)
        return sidecar_refuse(out, rc == ERR_UTF8 ? 400 : 503, err_text(rc));
    return nothing && out->len > 0 ? 400 : 200;
}

/* ---- taps -------------------------------------------------------------- */

static void show(struct live *live, struct listener_tap *t, const struct subject *s,
                 const struct decision *d)
{
    buf_clear(&live->line);
    tap_line(&live->line, s, d, clock_unix_ns(live->sidecar->clock));
    if (live->line.err == 0 && http_stream_write(t->x, buf_span(&live->line)) == 0)
        tap_shown(&t->tap, live->line.len);
    else
        t->tap.slow++;
}

static void on_decided(void *ctx, const struct subject *s, const struct decision *d)
{
    struct live *live = ctx;
    for (uint32_t i = 0; i < LIVE_TAPS_MAX; i++) {
        struct listener_tap *t = &live->taps[i];
        if (t->x == NULL || !tap_wants(&t->tap.filter, s, d))
            continue;
        t->tap.matched++;
        if (tap_admit(&t->tap, clock_now_ms(live->sidecar->clock)))
            show(live, t, s, d);
        else
            t->tap.over_rate++;
    }
}

static void tell_sums(struct live *live, struct listener_tap *t)
{
    buf_clear(&live->line);
    t->tap.is_observing = live->sidecar->cfg->observe;
    tap_sums(&live->line, &t->tap);
    if (live->line.err == 0 && http_stream_write(t->x, buf_span(&live->line)) == 0)
        t->sent = t->tap.matched;
}

static void on_sums(uv_timer_t *timer)
{
    struct live *live = container_of(timer, struct live, sums_timer);
    for (uint32_t i = 0; i < LIVE_TAPS_MAX; i++)
        if (live->taps[i].x != NULL && live->taps[i].sent != live->taps[i].tap.matched)
            tell_sums(live, &live->taps[i]);
}

/* The pipeline has a watcher exactly while a tap is open. */
static void count_open(struct live *live, uint32_t open)
{
    const struct pipeline_watcher watcher = {live, open > 0 ? on_decided : NULL};
    live->open = open;
    pipeline_watch(live->sidecar->pipeline, &watcher);
    if (open == 0)
        uv_timer_stop(&live->sums_timer);
    else if (!uv_is_active((uv_handle_t *)&live->sums_timer))
        uv_timer_start(&live->sums_timer, on_sums, SUMS_MS, SUMS_MS);
}

static void forget(struct live *live, struct listener_tap *t)
{
    t->x = NULL;
    live->ended.shown += t->tap.shown;
    live->ended.over_rate += t->tap.over_rate;
    live->ended.slow += t->tap.slow;
    budget_give(&live->sidecar->budget, TAP_MEMORY_BYTES);
    count_open(live, live->open - 1);
}

void live_stop_taps(struct live *live)
{
    if (live == NULL)
        return;
    live->is_stopping = true;
    for (uint32_t i = 0; i < LIVE_TAPS_MAX; i++) {
        struct listener_tap *t = &live->taps[i];
        if (t->x == NULL)
            continue;
        tell_sums(live, t);
        http_stream_end(t->x);
        forget(live, t);
    }
}

static int parse_rate(struct span text, uint32_t *out)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.base[i] < '0' || text.base[i] > '9' || i > 5)
            return ERR_MALFORMED;
        n = n * 10 + (uint32_t)(text.base[i] - '0');
    }
    *out = n;
    return (text.len > 0 && n == 0) || n > TAP_LINES_PER_S_MAX ? ERR_MALFORMED : 0;
}

/* NULL, or what is wrong with the query. */
static const char *parse_filter(struct span query, struct tap_filter *f, uint32_t *rate)
{
    char severity[TAP_TEXT_BYTES], pattern[TAP_TEXT_BYTES];
    struct span verdict = page_query(query, "verdict");
    if (span_eq(verdict, SPAN("kept")))
        f->verdicts = 1u << VERDICT_KEPT;
    else if (span_eq(verdict, SPAN("dropped")))
        f->verdicts = 1u << VERDICT_SAMPLED_OUT | 1u << VERDICT_DROPPED_BY_RULE;
    else if (verdict.len > 0)
        return "verdict: kept or dropped";
    if (page_query_text(query, "severity", severity, sizeof severity) < 0 ||
        (severity[0] != '\0' && tap_parse_severity(severity, &f->levels) < 0))
        return "severity: a level, or one with a + behind it";
    if (page_query_text(query, "pattern", pattern, sizeof pattern) < 0 ||
        (pattern[0] != '\0' && signature_parse(span_str(pattern), &f->pattern) < 0))
        return "pattern: lps1: and 16 hex digits, of a pattern or a family";
    f->has_pattern = pattern[0] != '\0';
    if (page_query_text(query, "service", f->service, sizeof f->service) < 0)
        return "service: too long, or no UTF-8";
    if (page_query_text(query, "grep", f->grep, sizeof f->grep) < 0)
        return "grep: too long, or no UTF-8";
    return parse_rate(page_query(query, "rate"), rate) < 0 ? "rate: lines a second, 1 to 10000"
                                                           : NULL;
}

int live_tap(void *ctx, struct span query, struct http_exchange *x, struct buf *out)
{
    static const struct http_header headers[] = {
        {SPAN("content-type"), SPAN("application/x-ndjson")},
        {SPAN("cache-control"), SPAN("no-store")},
        {SPAN("x-content-type-options"), SPAN("nosniff")},
    };
    struct sidecar *sc = ctx;
    struct live *live = sc->live;
    struct tap_filter filter = {0};
    struct listener_tap *t = live->taps;
    uint32_t rate;
    const char *wrong = parse_filter(query, &filter, &rate);
    if (wrong != NULL)
        return sidecar_refuse(out, 400, wrong);
    while (t < live->taps + LIVE_TAPS_MAX && t->x != NULL)
        t++;
    if (live->is_stopping || t == live->taps + LIVE_TAPS_MAX)
        return sidecar_refuse(
            out, 503, live->is_stopping ? "stopping" : "as many taps as there may be are open");
    if (budget_take(&sc->budget, TAP_MEMORY_BYTES) < 0)
        return sidecar_refuse(out, 503, "no memory for a tap now");
    const struct http_response head = {
        .status = 200, .headers = headers, .header_count = ARRAY_LEN(headers), .close = true};
    if (http_stream(x, &head) < 0) {
        budget_give(&sc->budget, TAP_MEMORY_BYTES);
        return sidecar_refuse(out, 501, "a tap needs GET");
    }
    *t = (struct listener_tap){.x = x};
    tap_init(&t->tap, &filter, rate);
    count_open(live, live->open + 1);
    tell_sums(live, t); /* so that the listener knows that it listens */
    return 0;
}

void live_tap_gone(void *ctx, struct http_exchange *x)
{
    struct live *live = ((struct sidecar *)ctx)->live;
    for (uint32_t i = 0; i < LIVE_TAPS_MAX; i++)
        if (live->taps[i].x == x)
            forget(live, &live->taps[i]);
}
