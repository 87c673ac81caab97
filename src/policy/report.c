/* report: one service after the other, a few at once. */
#include "policy/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pattern/signature.h"
#include "pipeline/rules.h"
#include "util/buf.h"
#include "util/diag.h"
#include "util/rng.h"
#include "util/json.h"

#define POSTS_AT_ONCE 2
#define JITTER_PERCENT 10

struct post {
    struct report *report;
    struct client_call *call; /* NULL: free */
    uint32_t service;
    uint64_t received; /* of the service, when it was written */
    struct buf body;
};

struct report {
    struct report_opts opts;
    struct client *client;
    uv_timer_t timer;
    struct rng rng;
    char *url, *auth;
    bool in_round;
    uint32_t next_service; /* of the round */
    struct post posts[POSTS_AT_ONCE];
    struct report_stats stats;
};

/* ---- one body ---------------------------------------------------------- */

/* Entries of one pattern lie side by side after sorting: one per severity and
 * status class. */
static int by_signature(const void *a, const void *b)
{
    const struct pattern *x = *(struct pattern *const *)a, *y = *(struct pattern *const *)b;
    if (x->key.signature != y->key.signature)
        return x->key.signature < y->key.signature ? -1 : 1;
    return x->key.level - y->key.level;
}

struct group {
    uint64_t count, kept, bytes, first_ns, last_ns, level[LEVEL_COUNT];
};

static void add_entry(struct group *g, struct pattern *e)
{
    uint64_t count = e->counts.received - e->reported.received;
    e->pending =
        (struct pattern_mark){e->counts.received, e->counts.kept, e->counts.received_bytes};
    g->count += count;
    g->kept += e->counts.kept - e->reported.kept;
    g->bytes += e->counts.received_bytes - e->reported.bytes;
    g->level[e->key.level] += count;
    if (g->first_ns == 0 || e->first_seen_ns < g->first_ns)
        g->first_ns = e->first_seen_ns;
    if (e->last_seen_ns > g->last_ns)
        g->last_ns = e->last_seen_ns;
}

static void write_group(struct buf *out, const struct report_opts *opts, const struct group *g,
                        const struct pattern *e)
{
    const char *comma = "";
    char id[SIGNATURE_TEXT_BYTES];
    buf_printf(out,
               "{\"signature\":\"%s\",\"count\":%" PRIu64 ",\"sampled_count\":%" PRIu64
               ",\"first_seen\":%.3f,\"last_seen\":%.3f,\"bytes\":%" PRIu64 ",\"template\":",
               signature_format(id, e->key.signature), g->count, g->kept, (double)g->first_ns / 1e9,
               (double)g->last_ns / 1e9, g->bytes);
    json_write_string(out, span_of(e->template_text, e->template_len));
    uint64_t family =
        opts->families != NULL ? families_resolve(opts->families, e->family) : e->family;
    if (family != e->key.signature)
        buf_printf(out, ",\"family\":\"%s\"", signature_format(id, family));
    buf_append_str(out, ",\"severity_distribution\":{");
    for (int l = 0; l < LEVEL_COUNT; l++) {
        if (g->level[l] == 0)
            continue;
        buf_printf(out, "%s\"%s\":%" PRIu64, comma, level_name((enum level)l), g->level[l]);
        comma = ",";
    }
    buf_append_str(out, "}}");
}

/* The service's entries with something to tell, sorted, in *room. */
static int collect(struct buf *room, const struct report_opts *opts, uint32_t service, uint32_t *n)
{
    uint32_t slots = patterns_slots(opts->patterns);
    *n = 0;
    for (uint32_t i = 0; i < slots; i++) {
        struct pattern *e = patterns_at(opts->patterns, i);
        if (!e->in_use || e->key.service != service || e->counts.received == e->reported.received)
            continue;
        buf_append(room, span_of(&e, sizeof e));
        ++*n;
    }
    if (room->err == 0 && *n > 0)
        qsort(room->base, *n, sizeof(struct pattern *), by_signature);
    return room->err;
}

int report_write(struct buf *out, const struct report_opts *opts, uint32_t service,
                 uint64_t total_logs)
{
    struct buf room = {.budget = opts->budget};
    uint32_t n, groups = 0;
    int rc = collect(&room, opts, service, &n);
    if (rc < 0) {
        buf_done(&room);
        return rc;
    }
    struct pattern **list = (struct pattern **)(void *)room.base;
    buf_append_str(out, "{\"service_name\":");
    json_write_string(out, ledger_service_name(opts->ledger, service));
    buf_printf(out, ",\"team_id\":%u,\"timestamp\":%.3f,\"algorithm\":\"lps1\",\"patterns\":[",
               opts->team_id, (double)clock_unix_ns(opts->clock) / 1e9);
    for (uint32_t i = 0; i < n;) {
        struct group g = {0};
        struct pattern *first = list[i];
        for (; i < n && list[i]->key.signature == first->key.signature; i++)
            add_entry(&g, list[i]);
        buf_append_str(out, groups++ == 0 ? "" : ",");
        write_group(out, opts, &g, first);
    }
    buf_printf(out, "],\"total_logs\":%" PRIu64 ",\"unique_patterns\":%u}", total_logs, groups);
    buf_done(&room);
    return out->err != 0 ? out->err : (int)groups;
}

/* ---- a round ----------------------------------------------------------- */

static void take_accepted(struct report *r, const struct post *p)
{
    uint32_t service = p->service;
    ledger_set_reported(r->opts.ledger, service, p->received);
    for (uint32_t i = 0; i < patterns_slots(r->opts.patterns); i++) {
        struct pattern *e = patterns_at(r->opts.patterns, i);
        /* A slot that was given to another pattern meanwhile has a pending of zero. */
        if (e->in_use && e->key.service == service && e->pending.received > e->reported.received)
            e->reported = e->pending;
    }
    metric_inc(&r->stats.accepted);
    r->stats.last_success_ms = clock_now_ms(r->opts.clock);
}

static void pump(struct report *r);

static void on_posted(void *ctx, const struct client_result *result)
{
    struct post *p = ctx;
    struct report *r = p->report;
    p->call = NULL;
    buf_done(&p->body);
    if (result->err == 0 && result->status >= 200 && result->status < 300) {
        take_accepted(r, p);
    } else {
        char why[DIAG_QUOTE_BYTES];
        metric_inc(&r->stats.failed);
        diag(DIAG_WARN, "report_failed",
             "the policy server did not take a report; its counts go with the next",
             "status=%d error=%s", result->status,
             diag_quote(why, result->err != 0 ? span_str(result->text) : result->body));
    }
    pump(r);
}

static void send_one(struct report *r, struct post *p, uint32_t service)
{
    const char *headers[] = {"Content-Type: application/json", r->auth, NULL};
    const struct ledger_row *row = ledger_row(r->opts.ledger, service);
    p->service = service;
    p->received = row->received;
    p->body.budget = r->opts.budget;
    int rc = report_write(&p->body, &r->opts, service, row->received - row->reported);
    if (rc == 0 && span_eq(ledger_service_name(r->opts.ledger, service), SPAN("lipservice"))) {
        ledger_set_reported(r->opts.ledger, service,
                            row->received); /* our own events: no pattern to learn from */
        buf_done(&p->body);
        return;
    }
    if (rc >= 0) {
        struct client_request request = {
            .method = "POST",
            .url = r->url,
            .headers = headers,
            .body = buf_span(&p->body),
            .timeout_ms = r->opts.timeout_ms,
            .route = &r->opts.route,
            .ctx = p,
            .done = on_posted,
        };
        rc = client_send(r->client, &request, &p->call);
    }
    if (rc < 0) {
        metric_inc(&r->stats.failed);
        buf_done(&p->body);
        p->call = NULL;
    }
}

/* Keep the posts busy until the round is through. */
static void pump(struct report *r)
{
    uint32_t busy = 0;
    for (size_t i = 0; i < POSTS_AT_ONCE; i++) {
        struct post *p = &r->posts[i];
        while (p->call == NULL && r->in_round &&
               r->next_service < ledger_services(r->opts.ledger)) {
            uint32_t service = r->next_service++;
            const struct ledger_row *row = ledger_row(r->opts.ledger, service);
            if (service != LEDGER_OTHER && row->received > row->reported)
                send_one(r, p, service);
        }
        busy += p->call != NULL;
    }
    if (busy == 0)
        r->in_round = false;
}

void report_now(struct report *r)
{
    if (r->in_round)
        return;
    r->in_round = true;
    r->next_service = 0;
    pump(r);
}

static void schedule(struct report *r);

static void on_due(uv_timer_t *timer)
{
    struct report *r = container_of(timer, struct report, timer);
    report_now(r);
    schedule(r);
}

static void schedule(struct report *r)
{
    uint64_t spread = (uint64_t)r->opts.interval_ms * JITTER_PERCENT / 100;
    uv_timer_start(&r->timer, on_due, r->opts.interval_ms - spread + rng_upto(&r->rng, 2 * spread),
                   0);
}

bool report_is_idle(const struct report *r)
{
    return !r->in_round;
}

const struct report_stats *report_stats(const struct report *r)
{
    return &r->stats;
}

int report_open(struct report **out, uv_loop_t *loop, struct client *client,
                const struct report_opts *opts)
{
    struct report *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->opts = *opts;
    r->opts.route = (struct route){0};
    r->client = client;
    rng_init(&r->rng);
    uv_timer_init(loop, &r->timer);
    *out = r; /* from here on report_close() cleans up, also after a failure */
    for (size_t i = 0; i < POSTS_AT_ONCE; i++)
        r->posts[i].report = r;
    size_t base = strlen(opts->server), n = base + strlen(opts->api_key) + 64;
    while (base > 0 && opts->server[base - 1] == '/')
        base--;
    r->url = malloc(n);
    r->auth = opts->api_key[0] != '\0' ? malloc(n) : NULL;
    if (route_copy(&r->opts.route, &opts->route) < 0 || r->url == NULL ||
        (opts->api_key[0] != '\0' && r->auth == NULL))
        return ERR_NOMEM;
    snprintf(r->url, n, "%.*s/api/v1/patterns/stats", (int)base, opts->server);
    if (r->auth != NULL)
        snprintf(r->auth, n, "Authorization: Bearer %s", opts->api_key);
    schedule(r);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct report *r = container_of((uv_timer_t *)handle, struct report, timer);
    for (size_t i = 0; i < POSTS_AT_ONCE; i++)
        buf_done(&r->posts[i].body);
    free(r->url);
    free(r->auth);
    route_done(&r->opts.route);
    free(r);
}

void report_close(struct report *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < POSTS_AT_ONCE; i++)
        if (r->posts[i].call != NULL)
            client_cancel(r->posts[i].call);
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
