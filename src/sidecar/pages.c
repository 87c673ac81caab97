/* sidecar_pages: health and the admin's JSON, as tables of pages. */
#include <inttypes.h>
#include <string.h>

#include "pattern/signature.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "sidecar/summary.h"
#include "sidecar/verify.h"
#include "util/json.h"

/* ---- health ------------------------------------------------------------ */

static int write_live(void *ctx, struct span query, struct buf *out)
{
    (void)ctx;
    (void)query;
    buf_append_str(out, "{\"status\":\"live\"}\n");
    return 200;
}

int sidecar_refuse(struct buf *out, int status, const char *why)
{
    struct json j = json_on(out);
    buf_clear(out);
    json_begin(&j, NULL);
    json_str(&j, "error", why);
    json_end(&j);
    json_line(&j);
    return status;
}

static void write_exporter(struct json *j, const struct exporter *x)
{
    struct exporter_stats s;
    exporter_stats(x, &s);
    json_begin(j, "exporter");
    json_i64(j, "last_status", s.last_status);
    json_u64(j, "queued_requests", s.queued_parcels);
    json_u64(j, "queue_bytes", s.queue_bytes + s.batch_bytes);
    json_u64(j, "oldest_ms", s.oldest_ms);
    json_u64(j, "waiting_to_retry", s.waiting_to_retry);
    json_bool(j, "key_refused", s.holds_for_key);
    json_str(j, "circuit", circuit_state_name(s.circuit));
    json_u64(j, "next_retry_ms", s.retry_in_ms);
    json_u64(j, "outage_ms", s.outage_ms);
    json_bool(j, "address_refused", s.holds_for_address);
    if (s.holds_for_address) {
        json_str(j, "host", s.host);
        json_str(j, "right_host", s.right_host);
    }
    json_end(j);
}

/* For people: what it does now, whether that is good or not. */
static int write_status(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    struct json j = json_on(out);
    (void)query;
    const char *status = sidecar_phase_name(sc->phase);
    if (sc->phase == SIDECAR_RUNNING && !sidecar_is_ready(sc))
        status = durable_status(sc);
    json_begin(&j, NULL);
    json_str(&j, "status", status);
    if (sc->exporter != NULL)
        write_exporter(&j, sc->exporter);
    durable_write(&j, sc);
    json_end(&j);
    json_line(&j);
    return 200;
}

static int write_ready(void *ctx, struct span query, struct buf *out)
{
    write_status(ctx, query, out);
    return sidecar_is_ready(ctx) ? 200 : 503;
}

const struct page sidecar_health_pages[] = {
    {"/", "application/json", write_live, .is_public = true},
    {"/livez", "application/json", write_live, .is_public = true},
    {"/readyz", "application/json", write_ready, .is_public = true},
    {"/status", "application/json", write_status, .is_public = true},
};
const size_t sidecar_health_page_count = ARRAY_LEN(sidecar_health_pages);

/* ---- the ledger -------------------------------------------------------- */

int sidecar_take(const struct sidecar *sc, struct census_want want, struct buf *out,
                 struct census *c)
{
    want.budget = out->budget;
    return census_take(sc->pipeline, &want, c) == 0
               ? 0
               : sidecar_refuse(out, 503, "no memory for this page now");
}

static void write_row(struct json *j, const struct ledger_row *r)
{
    json_u64(j, "received", r->received);
    for (int v = 0; v < VERDICT_COUNT; v++)
        json_u64(j, verdict_name((enum verdict)v), r->verdict[v]);
    json_u64(j, "released", r->released);
    json_u64(j, "delivered", r->fate[FATE_DELIVERED]);
    json_u64(j, "queued", r->queued);
    json_begin(j, "lost");
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++)
        if (r->fate[f] > 0)
            json_u64(j, fate_name((enum fate)f), r->fate[f]);
    json_end(j);
}

/* A client may have a service called "other". */
struct span sidecar_service_name(const struct census *c, uint32_t service)
{
    return service == LEDGER_OTHER ? SPAN("(other)") : c->services[service].name;
}

static int write_ledger(void *ctx, struct span query, struct buf *out)
{
    struct census c;
    struct json j = json_on(out);
    (void)query;
    int refused = sidecar_take(ctx, (struct census_want){.services = true}, out, &c);
    if (refused != 0)
        return refused;
    json_begin(&j, NULL);
    write_row(&j, &c.total);
    json_begin(&j, "services");
    for (uint32_t i = 0; i < c.services_held; i++) {
        if (i == LEDGER_OTHER && c.services[i].row.received == 0)
            continue;
        json_key(&j, sidecar_service_name(&c, i));
        json_begin(&j, NULL);
        write_row(&j, &c.services[i].row);
        json_end(&j);
    }
    json_end(&j);
    json_end(&j);
    json_line(&j);
    census_done(&c);
    return 200;
}

/* ---- top --------------------------------------------------------------- */

#define SHOWN_KINDS 4 /* in top: the most frequent */

/* "detect: 12 email, 3 card"; empty where nothing was found. */
static void write_redaction(struct json *j, const struct redact_stats *s)
{
    uint64_t hits[REDACT_KINDS_MAX] = {0};
    struct buf text = {0};
    for (int k = 0; k < REDACT_KINDS_MAX; k++)
        for (int w = 0; w < REDACT_WHERE_COUNT; w++)
            hits[k] += s->hits[k][w];
    for (int n = 0; n < SHOWN_KINDS; n++) {
        int most = 0;
        for (int k = 1; k < REDACT_KINDS_MAX; k++)
            most = hits[k] > hits[most] ? k : most;
        if (hits[most] == 0)
            break;
        buf_printf(&text, "%s%s %" PRIu64 " %s", n == 0 ? redact_done_name(s) : ",",
                   n == 0 ? ":" : "", hits[most], redact_stats_kind(s, (unsigned)most));
        hits[most] = 0;
    }
    json_text(j, "redaction", text.err == 0 ? buf_span(&text) : SPAN(""));
    buf_done(&text);
}

static void write_money(struct json *j, const char *key, const struct sidecar *sc,
                        uint64_t received_bytes, uint64_t kept_bytes)
{
    char text[MONEY_TEXT_BYTES];
    const struct money_terms terms = posthog_terms(sc);
    const struct money_month month = sidecar_month(sc, (double)received_bytes, (double)kept_bytes);
    json_str(j, key, money_say(text, &terms, &month, sc->cfg->cost.currency));
}

/* While observing: what enforcing would do is known. */
static bool is_looking_on(const struct sidecar *sc, const struct census *c)
{
    return sc->cfg->observe && c->has_shadow;
}

static void write_would(struct json *j, const struct shadow_counts *n)
{
    json_u64(j, "would_keep", n->kept);
    json_u64(j, "would_keep_bytes", n->kept_bytes);
}

static void write_totals(struct json *j, const struct sidecar *sc, const struct census *c)
{
    const struct rules *rules = pipeline_rules(sc->pipeline, LEDGER_OTHER);
    const struct ledger_row *t = &c->total;
    struct exporter_stats s;
    uint64_t lost = 0;
    exporter_stats(sc->exporter, &s);
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++)
        lost += t->fate[f];
    json_begin(j, NULL);
    json_str(j, "version", LIPSERVICE_VERSION);
    json_u64(j, "uptime_ms", clock_now_ms(sc->clock) - sc->started_ms);
    json_u64(j, "received", t->received);
    json_u64(j, "kept", t->verdict[VERDICT_KEPT]);
    json_u64(j, "rejected", t->verdict[VERDICT_REJECTED]);
    json_u64(j, "delivered", t->fate[FATE_DELIVERED]);
    json_u64(j, "queued", t->queued);
    json_u64(j, "lost", lost);
    json_u64(j, "received_bytes", t->received_bytes);
    json_u64(j, "kept_bytes", t->kept_bytes + t->released_bytes);
    json_u64(j, "queue_bytes", s.queue_bytes);
    json_u64(j, "queue_capacity", sc->cfg->queue.max_bytes);
    json_str(j, "policy", rules_origin(rules));
    json_i64(j, "policy_version", rules_version(rules));
    json_u64(j, "patterns_held", c->patterns_held);
    json_u64(j, "services", c->services_held - 1);
    write_money(j, "money", sc, t->received_bytes, t->kept_bytes + t->released_bytes);
    if (is_looking_on(sc, c)) {
        json_bool(j, "observing", true);
        write_would(j, &c->shadow[SHADOW_ENFORCED]);
        write_money(j, "would_money", sc, t->received_bytes, c->shadow[SHADOW_ENFORCED].kept_bytes);
    }
    write_redaction(j, &c->redaction);
    guarding_write_top(j, c);
    json_end(j);
    json_line(j);
}

/* For `lipservice top`: a line of totals, then a line for each pattern. */
static int write_top(void *ctx, struct span query, struct buf *out)
{
    struct census c;
    struct json j = json_on(out);
    struct census_want want = sidecar_want_ordered(query);
    want.guard = true;
    want.shadow = true;
    int refused = sidecar_take(ctx, want, out, &c);
    if (refused != 0)
        return refused;
    write_totals(&j, ctx, &c);
    for (uint32_t i = 0; i < c.pattern_count; i++) {
        const struct census_pattern *p = &c.patterns[i];
        json_begin(&j, NULL);
        sidecar_write_pattern_members(&j, &c, p);
        if (is_looking_on(ctx, &c) && p->shadow != NULL)
            write_would(&j, &p->shadow[SHADOW_ENFORCED]);
        json_end(&j);
        json_line(&j);
    }
    census_done(&c);
    return 200;
}

/* ---- patterns of before ------------------------------------------------ */

#define WARM_ARENA_BYTES (4u << 20) /* what lies around the records of a body */

int sidecar_warm_page(void *ctx, struct span query, struct span body, struct buf *out)
{
    struct sidecar *sc = ctx;
    struct arena arena;
    struct json j = json_on(out);
    uint32_t records = 0;
    (void)query;
    arena_init(&arena, WARM_ARENA_BYTES, &sc->budget);
    int rc = pipeline_warm(sc->pipeline, body, &arena, &records);
    arena_done(&arena);
    if (rc < 0)
        return sidecar_refuse(out, 400, "an OTLP request in protobuf is wanted here");
    json_begin(&j, NULL);
    json_u64(&j, "known", records);
    json_end(&j);
    json_line(&j);
    return 200;
}

/* ---- families ---------------------------------------------------------- */

static void write_alias(struct json *j, const struct family_alias *a)
{
    char id[SIGNATURE_TEXT_BYTES];
    json_begin(j, NULL);
    json_str(j, "version", "lps1");
    json_str(j, "from", signature_format(id, a->from));
    json_str(j, "to", signature_format(id, a->to));
    json_text(j, "template", a->template_text);
    json_printf(j, "since", "%.3f", (double)a->since_ns / 1e9);
    json_end(j);
}

static int write_families(void *ctx, struct span query, struct buf *out)
{
    struct census c;
    struct json j = json_on(out);
    (void)query;
    int refused = sidecar_take(ctx, (struct census_want){.aliases = true}, out, &c);
    if (refused != 0)
        return refused;
    json_begin(&j, NULL);
    json_u64(&j, "signatures_held", c.families.signatures);
    json_u64(&j, "evicted", c.families.evicted);
    json_begin_list(&j, "aliases");
    for (uint32_t i = 0; i < c.alias_count; i++)
        write_alias(&j, &c.aliases[i]);
    json_end_list(&j);
    json_end(&j);
    json_line(&j);
    census_done(&c);
    return 200;
}

static int write_config(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    (void)query;
    return config_print(sc->cfg, out) < 0 ? 503 : 200;
}

/* clang-format off */
static const struct {
    const char *usage, *what;
} texts[] = {
    {"/livez", "200 while the process runs, as `/` says"},
    {"/readyz", "200 when it listens and does not drain and, with `durability: disk`, can store; not that PostHog is up; else 503"},
    {"/status", "circuit, next retry, backlog, age of the oldest record; 200 whatever it says"},
    {"/metrics", "Prometheus text"},
    {"/api/", "this list, as text"},
    {"/api/summary", "how it stands: counts, errors, money, budget, upstream, the loudest services"},
    {"/api/events", "the same as server-sent events, each second"},
    {"/api/ledger", "what happened to every record, in total and per service"},
    {"/api/patterns?limit=N", "the patterns; offset=N, sort=volume, kept, saved or severity, reverse=1, service=NAME, from=S&to=S; spark=1: the last hour, rates and why"},
    {"/api/pattern?id=ID", "one pattern, with lines that were kept and dropped; service=NAME, severity=LEVEL"},
    {"/api/history?span=T", "what was counted in steps: 15m, 1h or 24h; service=NAME"},
    {"/api/whatif", "POST {\"span\": \"1h\", \"set\": {KEY: VALUE}} or {\"document\": POLICY}: what that time would have cost"},
    {"/api/top", "totals and patterns, one a line, for lipservice top"},
    {"/api/tap", "decisions as they are made, a sample, one a line"},
    {"/api/explain", "POST OTLP JSON or lines: what becomes of them, and why"},
    {"/api/families", "the patterns that became one with others"},
    {"/api/shadow?limit=N", "what a policy that is only counted would do, beside what is done"},
    {"/api/guard", "what is kept whole because PostHog counts it, and what could not be translated"},
    {"/api/warm", "POST an OTLP request: patterns that are known, for lipservice posthog analyze --warm"},
    {"/api/policies?version=N", "versions of the policy; one with its document and what it changes, as=diff&with=M"},
    {"/api/policies/propose", "POST: rates from the counts of the last day, as a version"},
    {"/api/policies/apply", "POST {\"version\": N, \"by\": NAME}: in force; \"shadow\": true: only counted"},
    {"/api/policies/rollback", "POST {\"version\": N, \"by\": NAME}: a new version with the content of an old one"},
    {"/api/policies/draft", "POST {\"document\": TEXT, \"by\": NAME, \"why\": TEXT}: a version that waits"},
    {"/api/reload", "POST: read the configuration again, for lipservice reload"},
    {"/api/minutes?hours=N", "what was sent by service and minute, for lipservice posthog verify"},
    {"/api/config", "the configuration in force, secrets redacted"},
};
/* clang-format on */

static bool is_admin(const char *usage)
{
    return strncmp(usage, "/api/", 5) == 0;
}

static int write_index(void *ctx, struct span query, struct buf *out)
{
    (void)ctx;
    (void)query;
    buf_append_str(out, "lipservice " LIPSERVICE_VERSION "\n");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (is_admin(texts[i].usage))
            buf_printf(out, "%-21s  %s\n", texts[i].usage, texts[i].what);
    return 200;
}

const struct page sidecar_admin_pages[] = {
    {"/api/", "text/plain; charset=utf-8", write_index, .is_public = true},
    {"/api/summary", "application/json", summary_write},
    {"/api/events", "application/json", .stream = feed_stream, .gone = feed_gone},
    {"/api/ledger", "application/json", write_ledger},
    {"/api/patterns", "application/json", sidecar_write_patterns},
    {"/api/pattern", "application/json", sidecar_write_pattern},
    {"/api/history", "application/json", history_write_page},
    {"/api/whatif", "application/json", .ask = whatif_ask},
    {"/api/policies", "application/json", policies_write},
    {"/api/policies/propose", "application/json", .ask = policies_propose, .is_change = true},
    {"/api/policies/apply", "application/json", .ask = policies_apply, .is_change = true},
    {"/api/policies/rollback", "application/json", .ask = policies_roll_back, .is_change = true},
    {"/api/policies/draft", "application/json", .ask = policies_draft, .is_change = true},
    {"/api/top", "application/x-ndjson", write_top},
    {"/api/families", "application/json", write_families},
    {"/api/shadow", "application/json", sidecar_write_shadow},
    {"/api/guard", "application/json", guarding_write},
    {"/api/tap", "application/json", .stream = live_tap, .gone = live_tap_gone},
    {"/api/explain", "application/x-ndjson", .ask = live_explain},
    {"/api/reload", "application/json", .ask = sidecar_reload_page, .is_change = true},
    {"/api/warm", "application/json", .ask = sidecar_warm_page},
    {"/api/minutes", "application/json", sidecar_write_minutes},
    {"/api/config", "text/plain; charset=utf-8", write_config},
};
const size_t sidecar_admin_page_count = ARRAY_LEN(sidecar_admin_pages);

/* ---- the reference ----------------------------------------------------- */

static void write_texts(struct buf *out, const struct page *pages, size_t count, const char *port)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(pages[i].path), t = 0;
        while (t < ARRAY_LEN(texts) && (strncmp(texts[t].usage, pages[i].path, n) != 0 ||
                                        (texts[t].usage[n] != '\0' && texts[t].usage[n] != '?')))
            t++;
        if (n > 1) /* "/" says what the others are */
            buf_printf(out, "| %s | `%s` | %s |\n", port,
                       t < ARRAY_LEN(texts) ? texts[t].usage : pages[i].path,
                       t < ARRAY_LEN(texts) ? texts[t].what : "");
    }
}

void sidecar_write_pages_markdown(struct buf *out)
{
    buf_append_str(out, "| port | page | what |\n|---|---|---|\n");
    write_texts(out, sidecar_health_pages, sidecar_health_page_count, "13133");
    write_texts(out, sidecar_metrics_pages, sidecar_metrics_page_count, "8888");
    write_texts(out, sidecar_admin_pages, sidecar_admin_page_count, "55679");
}
