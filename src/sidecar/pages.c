/* sidecar_pages: health and the admin's JSON, as tables of pages. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "otlp/json_write.h"
#include "pattern/signature.h"
#include "sidecar/sidecar_state.h"

#define PATTERNS_LIMIT_DEFAULT 100
#define PATTERNS_LIMIT_MAX 16384

/* ---- health ------------------------------------------------------------ */

static int write_live(void *ctx, struct span query, struct buf *out)
{
    (void)ctx;
    (void)query;
    buf_append_str(out, "{\"status\":\"live\"}\n");
    return 200;
}

static void write_address(struct buf *out, const struct exporter_stats *s)
{
    buf_printf(out, ",\"address_refused\":%s", s->holds_for_address ? "true" : "false");
    if (!s->holds_for_address)
        return;
    buf_append_str(out, ",\"host\":");
    json_write_string(out, span_str(s->host));
    buf_append_str(out, ",\"right_host\":");
    json_write_string(out, span_str(s->right_host));
}

/* For people: what it does now, whether that is good or not. */
static int write_status(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    (void)query;
    const char *status = sidecar_phase_name(sc->phase);
    if (sc->phase == SIDECAR_RUNNING && !sidecar_is_ready(sc))
        status = durable_status(sc);
    buf_printf(out, "{\"status\":\"%s\"", status);
    if (sc->exporter != NULL) {
        struct exporter_stats s;
        exporter_stats(sc->exporter, &s);
        buf_printf(out,
                   ",\"exporter\":{\"last_status\":%d,\"queued_requests\":%u,\"queue_bytes\":%zu,"
                   "\"oldest_ms\":%" PRIu64 ",\"waiting_to_retry\":%u,\"key_refused\":%s,"
                   "\"circuit\":\"%s\",\"next_retry_ms\":%" PRIu64 ",\"outage_ms\":%" PRIu64,
                   s.last_status, s.queued_parcels, s.queue_bytes + s.batch_bytes, s.oldest_ms,
                   s.waiting_to_retry, s.holds_for_key ? "true" : "false",
                   circuit_state_name(s.circuit), s.retry_in_ms, s.outage_ms);
        write_address(out, &s);
        buf_append_byte(out, '}');
    }
    durable_write(out, sc);
    buf_append_str(out, "}\n");
    return 200;
}

static int write_ready(void *ctx, struct span query, struct buf *out)
{
    write_status(ctx, query, out);
    return sidecar_is_ready(ctx) ? 200 : 503;
}

const struct page sidecar_health_pages[] = {
    {"/", "application/json", write_live},
    {"/livez", "application/json", write_live},
    {"/readyz", "application/json", write_ready},
    {"/status", "application/json", write_status},
};
const size_t sidecar_health_page_count = ARRAY_LEN(sidecar_health_pages);

/* ---- the ledger -------------------------------------------------------- */

static void write_row(struct buf *out, const struct ledger_row *r)
{
    const char *comma = "";
    buf_printf(out, "\"received\":%" PRIu64, r->received);
    for (int v = 0; v < VERDICT_COUNT; v++)
        buf_printf(out, ",\"%s\":%" PRIu64, verdict_name((enum verdict)v), r->verdict[v]);
    buf_printf(out,
               ",\"released\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"queued\":%" PRIu64
               ",\"lost\":{",
               r->released, r->fate[FATE_DELIVERED], r->queued);
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++) {
        if (r->fate[f] == 0)
            continue;
        buf_printf(out, "%s\"%s\":%" PRIu64, comma, fate_name((enum fate)f), r->fate[f]);
        comma = ",";
    }
    buf_append_byte(out, '}');
}

static int write_ledger(void *ctx, struct span query, struct buf *out)
{
    struct sidecar *sc = ctx;
    const struct ledger *l = pipeline_ledger(sc->pipeline);
    const char *comma = "";
    (void)query;
    buf_append_byte(out, '{');
    write_row(out, ledger_total(l));
    buf_append_str(out, ",\"services\":{");
    for (uint32_t i = 0; i < ledger_services(l); i++) {
        if (i == LEDGER_OTHER && ledger_row(l, i)->received == 0)
            continue;
        buf_append_str(out, comma);
        if (i == LEDGER_OTHER)
            buf_append_str(out, "\"(other)\""); /* a client may have a service called "other" */
        else
            json_write_string(out, ledger_service_name(l, i));
        buf_append_str(out, ":{");
        write_row(out, ledger_row(l, i));
        buf_append_byte(out, '}');
        comma = ",";
    }
    buf_append_str(out, "}}\n");
    return 200;
}

/* ---- patterns ---------------------------------------------------------- */

/* clang-format off */
#define ORDERS(X) \
    X(VOLUME,   "volume",   x->counts.received, y->counts.received) \
    X(KEPT,     "kept",     kept_share(x), kept_share(y)) \
    X(SAVED,    "saved",    saved(x), saved(y)) \
    X(SEVERITY, "severity", x->key.level, y->key.level)
/* clang-format on */

static double kept_share(const struct pattern *p)
{
    return p->counts.received == 0 ? 0 : (double)p->counts.kept / (double)p->counts.received;
}

static uint64_t saved(const struct pattern *p)
{
    return p->counts.received_bytes - p->counts.kept_bytes;
}

/* Equal ones by volume, then by signature: always the same order. */
static int by_volume_too(const struct pattern *x, const struct pattern *y)
{
    if (x->counts.received != y->counts.received)
        return x->counts.received < y->counts.received ? 1 : -1;
    return x->key.signature < y->key.signature ? -1 : x->key.signature > y->key.signature;
}

#define X(name, text, of_x, of_y) \
    static int by_##name(const void *a, const void *b) \
    { \
        const struct pattern *x = *(struct pattern *const *)a, *y = *(struct pattern *const *)b; \
        return (of_x) < (of_y) ? 1 : (of_x) > (of_y) ? -1 : by_volume_too(x, y); \
    } \
    static int by_##name##_reversed(const void *a, const void *b) \
    { \
        return by_##name(b, a); \
    }
ORDERS(X)
#undef X

static const struct {
    const char *name;
    int (*compare)(const void *, const void *);
    int (*reversed)(const void *, const void *);
} orders[] = {
#define X(name, text, of_x, of_y) {text, by_##name, by_##name##_reversed},
    ORDERS(X)
#undef X
};

void sidecar_write_pattern_name(struct buf *out, const struct sidecar *sc, const struct pattern *p)
{
    const struct ledger *l = pipeline_ledger(sc->pipeline);
    char id[SIGNATURE_TEXT_BYTES];
    buf_printf(out, "{\"pattern\":\"%s\",\"service\":", signature_format(id, p->key.signature));
    json_write_string(out, p->key.service == LEDGER_OTHER ? SPAN("(other)")
                                                          : ledger_service_name(l, p->key.service));
    buf_printf(out, ",\"severity\":\"%s\"", level_name((enum level)p->key.level));
    if (p->key.status_class > 0)
        buf_printf(out, ",\"status_class\":\"%dxx\"", p->key.status_class);
    struct families *families = pipeline_families(sc->pipeline);
    uint64_t family = families != NULL ? families_resolve(families, p->family) : p->family;
    if (family != p->key.signature)
        buf_printf(out, ",\"family\":\"%s\"", signature_format(id, family));
    buf_append_str(out, ",\"template\":");
    json_write_string(out, span_of(p->template_text, p->template_len));
}

static void write_pattern(struct buf *out, const struct sidecar *sc, const struct pattern *p)
{
    sidecar_write_pattern_name(out, sc, p);
    buf_printf(out,
               ",\"received\":%" PRIu64 ",\"kept\":%" PRIu64 ",\"sampled_out\":%" PRIu64
               ",\"dropped_by_rule\":%" PRIu64 ",\"received_bytes\":%" PRIu64
               ",\"kept_bytes\":%" PRIu64 ",\"first_seen\":%.3f,\"last_seen\":%.3f}",
               p->counts.received, p->counts.kept, p->counts.sampled_out, p->counts.dropped_by_rule,
               p->counts.received_bytes, p->counts.kept_bytes, (double)p->first_seen_ns / 1e9,
               (double)p->last_seen_ns / 1e9);
}

uint32_t sidecar_read_limit(struct span query)
{
    struct span text = page_query(query, "limit");
    uint64_t n = 0;
    for (size_t i = 0; i < text.len && i < 9; i++) {
        if (text.base[i] < '0' || text.base[i] > '9')
            return PATTERNS_LIMIT_DEFAULT;
        n = n * 10 + (uint64_t)(text.base[i] - '0');
    }
    if (text.len == 0)
        return PATTERNS_LIMIT_DEFAULT;
    return n > PATTERNS_LIMIT_MAX ? PATTERNS_LIMIT_MAX : (uint32_t)n;
}

struct pattern **sidecar_list_patterns(const struct sidecar *sc,
                                       int (*compare)(const void *, const void *), struct buf *room,
                                       struct buf *out, uint32_t *n)
{
    struct patterns *table = pipeline_patterns(sc->pipeline);
    uint32_t slots = patterns_slots(table);
    if (buf_reserve_exact(room, (slots + 1) * sizeof(struct pattern *)) < 0) {
        buf_append_str(out, "{\"error\":\"no memory for this page now\"}\n");
        return NULL;
    }
    struct pattern **list = (struct pattern **)(void *)room->base;
    *n = 0;
    for (uint32_t i = 0; i < slots; i++)
        if (patterns_at(table, i)->in_use)
            list[(*n)++] = patterns_at(table, i);
    qsort(list, *n, sizeof *list, compare);
    return list;
}

/* In the order that the query wants: "sort=saved&reverse=1". */
static struct pattern **list_patterns(const struct sidecar *sc, struct span query, struct buf *room,
                                      struct buf *out, uint32_t *n)
{
    struct span sort = page_query(query, "sort");
    bool reverse = span_eq(page_query(query, "reverse"), SPAN("1"));
    size_t order = 0;
    for (size_t i = 0; i < ARRAY_LEN(orders); i++)
        if (span_eq(sort, span_str(orders[i].name)))
            order = i;
    return sidecar_list_patterns(sc, reverse ? orders[order].reversed : orders[order].compare, room,
                                 out, n);
}

static int write_patterns(void *ctx, struct span query, struct buf *out)
{
    struct sidecar *sc = ctx;
    struct patterns *table = pipeline_patterns(sc->pipeline);
    uint32_t n, limit = sidecar_read_limit(query);
    struct buf room = {.budget = out->budget};
    struct pattern **list = list_patterns(sc, query, &room, out, &n);
    if (list == NULL)
        return 503;
    const struct pattern_counts *other = patterns_other(table);
    buf_printf(out,
               "{\"patterns_held\":%u,\"evicted\":%" PRIu64 ",\"other\":{\"received\":%" PRIu64
               ",\"kept\":%" PRIu64 ",\"sampled_out\":%" PRIu64 ",\"dropped_by_rule\":%" PRIu64
               "},\"patterns\":[",
               n, patterns_evicted(table), other->received, other->kept, other->sampled_out,
               other->dropped_by_rule);
    for (uint32_t i = 0; i < n && i < limit; i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        write_pattern(out, sc, list[i]);
    }
    buf_append_str(out, "]}\n");
    buf_done(&room);
    return 200;
}

/* For `lipservice top`: a line of totals, then a line for each pattern. */
static int write_top(void *ctx, struct span query, struct buf *out)
{
    struct sidecar *sc = ctx;
    const struct ledger_row *t = ledger_total(pipeline_ledger(sc->pipeline));
    const struct rules *rules = pipeline_rules(sc->pipeline, LEDGER_OTHER);
    uint32_t n, limit = sidecar_read_limit(query);
    uint64_t lost = 0;
    struct buf room = {.budget = out->budget};
    struct exporter_stats s;
    struct pattern **list = list_patterns(sc, query, &room, out, &n);
    if (list == NULL)
        return 503;
    exporter_stats(sc->exporter, &s);
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++)
        lost += t->fate[f];
    buf_printf(
        out,
        "{\"version\":\"" LIPSERVICE_VERSION "\",\"uptime_ms\":%" PRIu64 ",\"received\":%" PRIu64
        ",\"kept\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"delivered\":%" PRIu64
        ",\"queued\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"received_bytes\":%" PRIu64
        ",\"kept_bytes\":%" PRIu64 ",\"queue_bytes\":%zu,\"queue_capacity\":%" PRIu64
        ",\"policy\":\"%s\",\"policy_version\":%" PRId64 ",\"patterns_held\":%u,\"services\":%u}\n",
        clock_now_ms(sc->clock) - sc->started_ms, t->received, t->verdict[VERDICT_KEPT],
        t->verdict[VERDICT_REJECTED], t->fate[FATE_DELIVERED], t->queued, lost, t->received_bytes,
        t->kept_bytes, s.queue_bytes, (uint64_t)sc->cfg->queue.max_bytes, rules_origin(rules),
        rules_version(rules), n, ledger_services(pipeline_ledger(sc->pipeline)) - 1);
    for (uint32_t i = 0; i < n && i < limit; i++) {
        write_pattern(out, sc, list[i]);
        buf_append_byte(out, '\n');
    }
    buf_done(&room);
    return 200;
}

/* ---- families ---------------------------------------------------------- */

struct alias_writer {
    struct buf *out;
    uint32_t written;
};

static void write_alias(void *ctx, const struct family_alias *a)
{
    struct alias_writer *w = ctx;
    char from[SIGNATURE_TEXT_BYTES], to[SIGNATURE_TEXT_BYTES];
    buf_printf(w->out, "%s{\"version\":\"lps1\",\"from\":\"%s\",\"to\":\"%s\",\"template\":",
               w->written++ == 0 ? "" : ",", signature_format(from, a->from),
               signature_format(to, a->to));
    json_write_string(w->out, a->template_text);
    buf_printf(w->out, ",\"since\":%.3f}", (double)a->since_ns / 1e9);
}

static int write_families(void *ctx, struct span query, struct buf *out)
{
    struct sidecar *sc = ctx;
    struct families *families = pipeline_families(sc->pipeline);
    struct alias_writer w = {.out = out};
    (void)query;
    if (families == NULL) {
        buf_append_str(out, "{\"signatures_held\":0,\"evicted\":0,\"aliases\":[]}\n");
        return 200;
    }
    struct families_stats s = families_stats(families);
    buf_printf(out, "{\"signatures_held\":%u,\"evicted\":%" PRIu64 ",\"aliases\":[", s.signatures,
               s.evicted);
    families_each_alias(families, write_alias, &w);
    buf_append_str(out, "]}\n");
    return 200;
}

static int write_config(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    (void)query;
    config_print(sc->cfg, out);
    return 200;
}

static int write_index(void *ctx, struct span query, struct buf *out)
{
    (void)ctx;
    (void)query;
    buf_append_str(
        out,
        "lipservice " LIPSERVICE_VERSION "\n"
        "/api/ledger            what happened to every record, in total and per service\n"
        "/api/patterns?limit=N  the patterns; sort=volume, kept, saved or severity, reverse=1\n"
        "/api/top               totals and patterns, one a line, for lipservice top\n"
        "/api/tap               decisions as they are made, a sample, one a line\n"
        "/api/explain           POST OTLP JSON or lines: what becomes of them, and why\n"
        "/api/families          the patterns that became one with others\n"
        "/api/shadow?limit=N    what a policy that is only counted would do, beside what is done\n"
        "/api/reload            POST: read the configuration again, for lipservice reload\n"
        "/api/config            the configuration in force, secrets redacted\n");
    return 200;
}

const struct page sidecar_admin_pages[] = {
    {"/", "text/plain; charset=utf-8", write_index},
    {"/api/ledger", "application/json", write_ledger},
    {"/api/patterns", "application/json", write_patterns},
    {"/api/top", "application/x-ndjson", write_top},
    {"/api/families", "application/json", write_families},
    {"/api/shadow", "application/json", sidecar_write_shadow},
    {"/api/tap", "application/json", .stream = live_tap, .gone = live_tap_gone},
    {"/api/explain", "application/x-ndjson", .ask = live_explain},
    {"/api/reload", "application/json", .ask = sidecar_reload_page},
    {"/api/config", "text/plain; charset=utf-8", write_config},
};
const size_t sidecar_admin_page_count = ARRAY_LEN(sidecar_admin_pages);
