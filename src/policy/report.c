/* report: one service after the other, a few at once. */
#include "policy/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pattern/signature.h"
#include "policy/unsettled.h"
#include "util/buf.h"
#include "util/diag.h"
#include "util/json.h"
#include "util/rng.h"
#include "util/secret.h"

#define POSTS_AT_ONCE 2
#define JITTER_PERCENT 10
#define REFUSALS_MAX 10 /* of one report, by a server in trouble: then it is made anew */

struct post {
    struct report *report;
    struct client_call *call; /* NULL: free */
    struct unsettled *sent;   /* owned */
};

struct report {
    struct report_opts opts;
    struct client *client;
    uv_timer_t timer;
    struct rng rng;
    char *url, *auth;
    bool in_round;
    struct census census;  /* of the round; empty between rounds */
    uint32_t next_service; /* of the round */
    struct post posts[POSTS_AT_ONCE];
    struct list unsettled; /* those that no answer came for, until their service's next turn */
    struct report_stats stats;
};

/* ---- one body ---------------------------------------------------------- */

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* Entries of one pattern lie side by side: one per severity and status class. */
static int by_service(const void *a, const void *b)
{
    const struct census_pattern *x = a, *y = b;
    int c = compare(x->key.service, y->key.service);
    if (c == 0)
        c = compare(x->key.signature, y->key.signature);
    if (c == 0)
        c = compare(x->key.level, y->key.level);
    return c != 0 ? c : compare(x->number, y->number);
}

static bool has_news(const void *marks, const struct census_pattern *p)
{
    return p->key.service != LEDGER_OTHER &&
           p->counts.received > report_marks_of(marks, p).received;
}

int report_take(struct census *out, const struct report_opts *opts)
{
    const struct census_want want = {
        .services = true,
        .patterns = true,
        .templates = true,
        .is_wanted = has_news,
        .ctx = opts->marks,
        .order = by_service,
        .budget = opts->budget,
    };
    return opts->take(opts->ctx, &want, out);
}

/* The patterns of a service are rows [*first, returned) of the census. */
static uint32_t rows_of(const struct census *c, uint32_t service, uint32_t *first)
{
    uint32_t low = 0, high = c->pattern_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (c->patterns[middle].key.service < service)
            low = middle + 1;
        else
            high = middle;
    }
    for (*first = low; low < c->pattern_count && c->patterns[low].key.service == service;)
        low++;
    return low;
}

struct group {
    uint64_t count, kept, bytes, kept_bytes, first_ns, last_ns, level[LEVEL_COUNT];
};

static void add_entry(struct group *g, const struct census_pattern *p,
                      const struct report_mark *reported)
{
    uint64_t count = p->counts.received - reported->received;
    g->count += count;
    g->kept += p->counts.kept - reported->kept;
    g->bytes += p->counts.received_bytes - reported->bytes;
    g->kept_bytes += p->counts.kept_bytes - reported->kept_bytes;
    g->level[p->key.level] += count;
    if (g->first_ns == 0 || p->first_seen_ns < g->first_ns)
        g->first_ns = p->first_seen_ns;
    if (p->last_seen_ns > g->last_ns)
        g->last_ns = p->last_seen_ns;
}

static void write_group(struct json *j, const struct group *g, const struct census_pattern *p)
{
    char id[SIGNATURE_TEXT_BYTES];
    json_begin(j, NULL);
    json_str(j, "signature", signature_format(id, p->key.signature));
    json_u64(j, "count", g->count);
    json_u64(j, "sampled_count", g->kept);
    json_printf(j, "first_seen", "%.3f", (double)g->first_ns / 1e9);
    json_printf(j, "last_seen", "%.3f", (double)g->last_ns / 1e9);
    json_u64(j, "bytes", g->bytes);
    json_u64(j, "sampled_bytes", g->kept_bytes);
    json_text(j, "template", census_template(p));
    if (p->family != p->key.signature)
        json_str(j, "family", signature_format(id, p->family));
    json_begin(j, "severity_distribution");
    for (int l = 0; l < LEVEL_COUNT; l++)
        if (g->level[l] > 0)
            json_u64(j, level_name((enum level)l), g->level[l]);
    json_end(j);
    json_end(j);
}

static uint64_t unreported(const struct report_opts *opts, const struct census *c, uint32_t service)
{
    return c->services[service].row.received - report_marks_of_service(opts->marks, service);
}

/* Records of a service that were lost and not reported, by reason. */
static uint64_t lost(const struct report_opts *opts, const struct census *c, uint32_t service,
                     enum fate fate)
{
    return fate == FATE_DELIVERED ? 0
                                  : c->services[service].row.fate[fate] -
                                        report_marks_fate(opts->marks, service, fate);
}

static bool has_losses(const struct report_opts *opts, const struct census *c, uint32_t service)
{
    for (int f = 0; f < FATE_COUNT; f++)
        if (lost(opts, c, service, (enum fate)f) > 0)
            return true;
    return false;
}

static bool is_due(const struct report_opts *opts, const struct census *c, uint32_t service)
{
    return unreported(opts, c, service) > 0 || has_losses(opts, c, service);
}

static void write_losses(struct json *j, const struct report_opts *opts, const struct census *c,
                         uint32_t service)
{
    if (!has_losses(opts, c, service))
        return;
    json_begin(j, "lost");
    for (int f = 0; f < FATE_COUNT; f++) {
        uint64_t records = lost(opts, c, service, (enum fate)f);
        if (records > 0)
            json_u64(j, fate_name((enum fate)f), records);
    }
    json_end(j);
}

static void write_versions(struct json *j, const struct service_versions *v)
{
    if (v->count == 0)
        return;
    json_begin_list(j, "versions");
    for (uint8_t i = 0; i < v->count; i++) {
        json_begin(j, NULL);
        json_text(j, "version", service_version_text(&v->of[i]));
        json_printf(j, "first_seen", "%.3f", (double)v->of[i].first_ns / 1e9);
        json_end(j);
    }
    json_end_list(j);
}

int report_write(struct buf *out, const struct report_opts *opts, const struct census *c,
                 uint32_t service)
{
    uint32_t groups = 0, i, end = rows_of(c, service, &i);
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_text(&j, "service_name", c->services[service].name);
    json_u64(&j, "team_id", opts->team_id);
    json_printf(&j, "timestamp", "%.3f", (double)clock_unix_ns(opts->clock) / 1e9);
    json_str(&j, "algorithm", "lps1");
    if (opts->instance != NULL) {
        json_str(&j, "instance", opts->instance);
        json_str(&j, "boot", opts->boot);
        json_u64(&j, "sequence", report_marks_sequence(opts->marks, service) + 1);
    }
    json_begin_list(&j, "patterns");
    for (; i < end; groups++) {
        struct group g = {0};
        const struct census_pattern *first = &c->patterns[i];
        for (; i < end && c->patterns[i].key.signature == first->key.signature; i++) {
            struct report_mark reported = report_marks_of(opts->marks, &c->patterns[i]);
            add_entry(&g, &c->patterns[i], &reported);
        }
        write_group(&j, &g, first);
    }
    json_end_list(&j);
    json_u64(&j, "total_logs", unreported(opts, c, service));
    json_u64(&j, "unique_patterns", groups);
    write_versions(&j, &c->services[service].versions);
    write_losses(&j, opts, c, service);
    if (opts->is_quota_limited != NULL && opts->is_quota_limited(opts->ctx))
        json_bool(&j, "quota_limited", true);
    json_end(&j);
    return out->err != 0 ? out->err : (int)groups;
}

/* ---- a round ----------------------------------------------------------- */

static void pump(struct report *r);
static void send_next(struct report *r, struct post *p, uint32_t service);

/* 0: taken; else it is: not taken, or not known. */
enum outcome { TAKEN, REFUSED, UNKNOWN };

static enum outcome outcome_of(const struct client_result *result)
{
    if (result->err == 0 && result->status >= 200 && result->status < 300)
        return TAKEN;
    return result->err != 0 || result->status >= 500 || result->status == 408 ||
                   result->status == 429
               ? UNKNOWN
               : REFUSED;
}

static void log_failure(struct report *r, const struct client_result *result)
{
    char why[DIAG_QUOTE_BYTES];
    metric_inc(&r->stats.failed);
    diag(DIAG_WARN, "report_failed",
         "the policy server did not take a report; its counts go with a later one",
         "status=%d error=%s", result->status,
         diag_quote(why, result->err != 0 ? span_str(result->text) : result->body));
}

static void on_posted(void *ctx, const struct client_result *result)
{
    struct post *p = ctx;
    struct report *r = p->report;
    struct unsettled *u = p->sent;
    uint32_t service = u->service;
    enum outcome outcome = outcome_of(result);
    p->call = NULL;
    p->sent = NULL;
    if (r->auth != NULL)
        secret_mask(result->body, secret_of_header(r->auth)); /* it may be quoted in a message */
    if (outcome == TAKEN) {
        unsettled_take(u, r->opts.marks);
        metric_inc(&r->stats.accepted);
        r->stats.last_success_ms = clock_now_ms(r->opts.clock);
    } else {
        log_failure(r, result);
        u->refusals += result->err == 0;
    }
    if (outcome == UNKNOWN && u->refusals < REFUSALS_MAX) {
        list_append(&r->unsettled, &u->link);
    } else {
        if (outcome == UNKNOWN)
            unsettled_leave(u, r->opts.marks);
        unsettled_free(u, r->opts.marks->budget);
    }
    if (outcome == TAKEN && is_due(&r->opts, &r->census, service))
        send_next(r, p, service); /* that was an earlier one: what was counted since */
    pump(r);
}

static void post(struct report *r, struct post *p)
{
    const char *headers[] = {"Content-Type: application/json", r->auth, NULL};
    struct client_request request = {
        .method = "POST",
        .url = r->url,
        .headers = headers,
        .body = buf_span(&p->sent->body),
        .timeout_ms = r->opts.timeout_ms,
        .route = &r->opts.route,
        .ctx = p,
        .done = on_posted,
    };
    if (client_send(r->client, &request, &p->call) == 0)
        return;
    metric_inc(&r->stats.failed);
    unsettled_free(p->sent, r->opts.marks->budget); /* it was not sent */
    p->sent = NULL;
    p->call = NULL;
}

/* A report of all that is new. */
static void send_new(struct report *r, struct post *p, uint32_t service)
{
    const struct census_service *of = &r->census.services[service];
    uint32_t first, end = rows_of(&r->census, service, &first);
    if (first == end && span_eq(of->name, SPAN("lipservice"))) {
        /* our own events: no pattern to learn from */
        report_marks_set_service(r->opts.marks, service, of->row.received);
        report_marks_set_fates(r->opts.marks, service, of->row.fate);
        return;
    }
    int rc = unsettled_new(&p->sent, r->opts.marks, &r->census, service, first, end);
    if (rc == 0)
        rc = report_write(&p->sent->body, &r->opts, &r->census, service);
    if (rc < 0) {
        metric_inc(&r->stats.failed);
        unsettled_free(p->sent, r->opts.marks->budget);
        p->sent = NULL;
        return;
    }
    post(r, p);
}

/* The one of this service that no answer came for, else a new one. */
static void send_next(struct report *r, struct post *p, uint32_t service)
{
    p->sent = unsettled_find(&r->unsettled, service);
    if (p->sent == NULL) {
        send_new(r, p, service);
        return;
    }
    list_remove(&p->sent->link);
    metric_inc(&r->stats.repeated);
    post(r, p);
}

/* Keep the posts busy until the round is through. */
static void pump(struct report *r)
{
    uint32_t busy = 0;
    for (size_t i = 0; i < POSTS_AT_ONCE; i++) {
        struct post *p = &r->posts[i];
        while (p->call == NULL && r->in_round && r->next_service < r->census.services_held) {
            uint32_t service = r->next_service++;
            if (service != LEDGER_OTHER && is_due(&r->opts, &r->census, service))
                send_next(r, p, service);
        }
        busy += p->call != NULL;
    }
    if (busy == 0) {
        r->in_round = false;
        census_done(&r->census);
    }
}

void report_now(struct report *r)
{
    if (r->in_round)
        return;
    int rc = report_take(&r->census, &r->opts);
    if (rc == 0 && (rc = report_marks_reserve(r->opts.marks, &r->census)) < 0)
        census_done(&r->census);
    if (rc < 0) {
        metric_inc(&r->stats.failed);
        diag(DIAG_WARN, "report_failed", "no memory for a report; its counts go with the next",
             "reason=%d", rc);
        return;
    }
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
    list_init(&r->unsettled);
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
    census_done(&r->census);
    free(r->url);
    secret_free(r->auth);
    route_done(&r->opts.route);
    free(r);
}

static void leave(struct report *r, struct unsettled *u)
{
    if (u == NULL)
        return;
    unsettled_leave(u, r->opts.marks);
    unsettled_free(u, r->opts.marks->budget);
}

void report_close(struct report *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < POSTS_AT_ONCE; i++) {
        if (r->posts[i].call != NULL)
            client_cancel(r->posts[i].call);
        leave(r, r->posts[i].sent);
    }
    LIST_EACH (at, &r->unsettled)
        leave(r, container_of(at, struct unsettled, link));
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
