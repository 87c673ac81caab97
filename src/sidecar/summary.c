/* summary: one census without patterns, and what the parts say of themselves. */
#include "sidecar/summary.h"

#include <math.h>

#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"

static uint64_t lost_of(const struct ledger_row *r)
{
    uint64_t sum = 0;
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++)
        sum += r->fate[f];
    return sum;
}

static void write_counts(struct json *j, const struct ledger_row *t)
{
    json_u64(j, "received", t->received);
    for (int v = 0; v < VERDICT_COUNT; v++)
        json_u64(j, verdict_name((enum verdict)v), t->verdict[v]);
    json_u64(j, "released", t->released);
    json_u64(j, "delivered", t->fate[FATE_DELIVERED]);
    json_u64(j, "queued", t->queued);
    json_u64(j, "lost", lost_of(t));
    json_u64(j, "received_bytes", t->received_bytes);
    json_u64(j, "kept_bytes", t->kept_bytes + t->released_bytes);
}

static void write_losses(struct json *j, const struct ledger_row *t)
{
    json_begin(j, "losses");
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++)
        if (t->fate[f] > 0)
            json_u64(j, fate_name((enum fate)f), t->fate[f]);
    json_end(j);
}

/* What the floor is for: all of them are kept, but beyond sampling.floor.max_per_second. */
static void write_errors(struct json *j, const struct census *c)
{
    uint64_t dropped = c->reasons.dropped[REASON_FLOOR_LIMIT];
    json_begin(j, "errors");
    json_u64(j, "received", c->total.errors);
    json_u64(j, "kept", c->total.errors - dropped);
    json_end(j);
}

/* ---- money ------------------------------------------------------------- */

static double at_least_0(double n)
{
    return n > 0 ? n : 0;
}

/* What was saved of the present month: of all processes in it where there is a history, which is
 * fed every HISTORY_FEED_S; else of this one. `growth`: bytes as clients send them, for one in our
 * encoding, which is not kept for earlier processes. */
static double saved_so_far(const struct sidecar *sc, double growth, bool is_observing,
                           double saving_of_process)
{
    const struct history *h = history_of(sc);
    const struct history_month m = h != NULL ? history_month(h) : (struct history_month){0};
    const double now_s = (double)clock_unix_ns(sc->clock) / 1e9;
    const double process_s = (double)(clock_now_ms(sc->clock) - sc->started_ms) / 1000;
    const double month_s = now_s - (double)m.since_s;
    if (m.since_s == 0 || month_s <= 0 || m.received_bytes == 0)
        return saving_of_process * fmin(process_s / GOVERNOR_MONTH_S, 1);
    const double received = (double)m.received_bytes;
    const double kept = (double)(is_observing ? m.would_keep_bytes : m.kept_bytes);
    const struct money_month coding = sidecar_month_of(sc, month_s, received * growth, received);
    const struct money_month sampling = sidecar_month_of(sc, month_s, received, kept);
    return (at_least_0(coding.saving) + sampling.saving) * fmin(month_s / GOVERNOR_MONTH_S, 1);
}

/* Three steps to the bill: as clients sent it, in our encoding, what is kept. Each is priced as a
 * month at the rate since the start. */
static void write_month(struct json *j, const struct sidecar *sc, const struct census *c,
                        bool is_observing, uint64_t kept_bytes)
{
    const double received = (double)c->total.received_bytes;
    const double sent = fmax((double)receiver_stats(sc->receiver).decoded_bytes.value, received);
    const struct money_terms terms = posthog_terms(sc);
    const struct money_month coding = sidecar_month(sc, sent, received);
    const struct money_month sampling = sidecar_month(sc, received, (double)kept_bytes);
    const double free_bytes = money_free_bytes(&terms);
    const double saving = at_least_0(coding.saving) + sampling.saving;
    const double growth = received > 0 ? sent / received : 1;
    json_begin(j, "month");
    json_str(j, "currency", sc->cfg->cost.currency);
    json_bool(j, "is_assumed", terms.is_assumed);
    json_bool(j, "is_free", coding.is_free);
    if (isfinite(free_bytes))
        json_printf(j, "free_bytes", "%.0f", free_bytes);
    json_printf(j, "without_bytes", "%.0f", coding.without_bytes);
    json_printf(j, "with_bytes", "%.0f", sampling.with_bytes);
    json_printf(j, "without", "%.9g", coding.without);
    json_printf(j, "with", "%.9g", sampling.with);
    json_printf(j, "saving", "%.9g", saving);
    json_printf(j, "by_sampling", "%.9g", sampling.saving);
    json_printf(j, "by_encoding", "%.9g", at_least_0(coding.saving));
    json_printf(j, "saved_so_far", "%.9g", saved_so_far(sc, growth, is_observing, saving));
    json_printf(j, "encoding_saves_bytes", "%.0f", sent - received);
    json_end(j);
}

/* ---- budget, upstream -------------------------------------------------- */

static void write_budget(struct json *j, const struct sidecar *sc, const struct census *c)
{
    const struct governor_target target = sidecar_target(sc);
    const struct governor_stats *g = &c->governor;
    json_printf(j, "pressure", "%.4g", g->pressure);
    if (target.unit == GOVERNOR_NONE)
        return;
    json_begin(j, "budget");
    json_str(j, "unit", target.unit == GOVERNOR_RECORDS ? "records" : "bytes");
    json_printf(j, "rate", "%.9g", g->rate);
    json_printf(j, "used", "%.0f", g->used);
    json_printf(j, "allowed", "%.0f", g->allowed);
    json_end(j);
}

static void write_quota(struct json *j, const struct sidecar *sc)
{
    struct posthog_figures f;
    if (!posthog_figures(sc, &f) || f.checked_ms == 0)
        return;
    json_begin(j, "quota");
    json_bool(j, "is_limited", f.is_limited);
    json_printf(j, "used_bytes", "%.0f", f.quota_used_bytes);
    json_printf(j, "limit_bytes", "%.0f", f.quota_limit_bytes);
    json_end(j);
}

static void write_upstream(struct json *j, const struct sidecar *sc)
{
    struct exporter_stats s;
    exporter_stats(sc->exporter, &s);
    json_begin(j, "upstream");
    json_str(j, "name", exporter_sink_name(sc->exporter));
    json_str(j, "circuit", circuit_state_name(s.circuit));
    json_i64(j, "last_status", s.last_status);
    json_u64(j, "queue_bytes", s.queue_bytes + s.batch_bytes);
    json_u64(j, "queue_capacity", sc->cfg->queue.max_bytes);
    json_u64(j, "oldest_ms", s.oldest_ms);
    json_u64(j, "next_retry_ms", s.retry_in_ms);
    json_u64(j, "outage_ms", s.outage_ms);
    json_bool(j, "key_refused", s.holds_for_key);
    json_bool(j, "address_refused", s.holds_for_address);
    write_quota(j, sc);
    json_end(j);
}

/* ---- services ---------------------------------------------------------- */

static bool is_louder(const struct census_service *a, const struct census_service *b)
{
    return a->row.received_bytes > b->row.received_bytes;
}

/* The loudest so many, by insertion: there are a few, and most do not get in. */
static size_t pick_services(const struct census *c, uint32_t out[SUMMARY_SERVICES])
{
    size_t n = 0;
    for (uint32_t i = 0; i < c->services_held; i++) {
        const struct census_service *s = &c->services[i];
        if (i == LEDGER_OTHER || s->row.received == 0)
            continue;
        if (n == SUMMARY_SERVICES && !is_louder(s, &c->services[out[n - 1]]))
            continue;
        size_t at = n < SUMMARY_SERVICES ? n++ : n - 1;
        for (; at > 0 && is_louder(s, &c->services[out[at - 1]]); at--)
            out[at] = out[at - 1];
        out[at] = i;
    }
    return n;
}

static void write_service(struct json *j, const struct ledger_row *r)
{
    json_u64(j, "received", r->received);
    json_u64(j, "kept", r->verdict[VERDICT_KEPT] + r->released);
    json_u64(j, "lost", lost_of(r));
    json_u64(j, "received_bytes", r->received_bytes);
    json_u64(j, "kept_bytes", r->kept_bytes + r->released_bytes);
}

static void write_services(struct json *j, const struct census *c)
{
    uint32_t loudest[SUMMARY_SERVICES];
    struct ledger_row rest = c->total;
    size_t n = pick_services(c, loudest);
    json_begin_list(j, "services");
    for (size_t i = 0; i < n; i++) {
        const struct census_service *s = &c->services[loudest[i]];
        json_begin(j, NULL);
        json_text(j, "name", s->name);
        write_service(j, &s->row);
        json_end(j);
        rest.received -= s->row.received;
        rest.verdict[VERDICT_KEPT] -= s->row.verdict[VERDICT_KEPT];
        rest.released -= s->row.released;
        rest.received_bytes -= s->row.received_bytes;
        rest.kept_bytes -= s->row.kept_bytes;
        rest.released_bytes -= s->row.released_bytes;
        for (int f = 0; f < FATE_COUNT; f++)
            rest.fate[f] -= s->row.fate[f];
    }
    if (rest.received > 0) {
        json_begin(j, NULL);
        json_bool(j, "is_other", true);
        write_service(j, &rest);
        json_end(j);
    }
    json_end_list(j);
}

/* ---- the object -------------------------------------------------------- */

static const char *status_of(const struct sidecar *sc)
{
    return sc->phase == SIDECAR_RUNNING && !sidecar_is_ready(sc) ? durable_status(sc)
                                                                 : sidecar_phase_name(sc->phase);
}

static void write_head(struct json *j, const struct sidecar *sc, const struct census *c)
{
    const struct rules *rules = pipeline_rules(sc->pipeline, LEDGER_OTHER);
    json_str(j, "role", "sidecar");
    json_str(j, "version", LIPSERVICE_VERSION);
    json_str(j, "mode", sc->cfg->observe ? "observe" : "enforce");
    json_str(j, "status", status_of(sc));
    json_u64(j, "unix_ms", clock_unix_ns(sc->clock) / 1000000);
    json_u64(j, "uptime_ms", clock_now_ms(sc->clock) - sc->started_ms);
    json_begin(j, "policy");
    json_str(j, "origin", rules_origin(rules));
    json_i64(j, "version", rules_version(rules));
    json_end(j);
    json_u64(j, "patterns_held", c->patterns_held);
    json_u64(j, "services_held", c->services_held - 1);
}

/* What else can be asked here: a page shows the parts that there are. */
static void write_endpoints(struct json *j)
{
    json_begin_list(j, "endpoints");
    for (size_t i = 0; i < sidecar_admin_page_count; i++)
        json_str(j, NULL, sidecar_admin_pages[i].path);
    json_end_list(j);
}

static void write_all(struct json *j, const struct sidecar *sc, const struct census *c)
{
    const struct ledger_row *t = &c->total;
    const bool looks_on = sc->cfg->observe && c->has_shadow;
    const struct shadow_counts *would = &c->shadow[SHADOW_ENFORCED];
    json_begin(j, NULL);
    write_head(j, sc, c);
    write_counts(j, t);
    write_losses(j, t);
    write_errors(j, c);
    if (looks_on) {
        json_u64(j, "would_keep", would->kept + would->released);
        json_u64(j, "would_keep_bytes", would->kept_bytes);
    }
    /* While observing, what enforcing would save is the question. */
    write_month(j, sc, c, looks_on,
                looks_on ? would->kept_bytes : t->kept_bytes + t->released_bytes);
    write_budget(j, sc, c);
    write_upstream(j, sc);
    write_services(j, c);
    write_endpoints(j);
    json_end(j);
}

int summary_append(const struct sidecar *sc, struct buf *out)
{
    struct census c;
    const struct census_want want = {.services = true, .shadow = true, .budget = out->budget};
    int rc = census_take(sc->pipeline, &want, &c);
    if (rc < 0)
        return rc;
    struct json j = json_on(out);
    write_all(&j, sc, &c);
    census_done(&c);
    return out->err;
}

int summary_write(void *ctx, struct span query, struct buf *out)
{
    (void)query;
    if (summary_append(ctx, out) < 0)
        return sidecar_refuse(out, 503, "no memory for this page now");
    buf_append_byte(out, '\n');
    return 200;
}
