/* remote: one small record per service, one timer, a few requests at once. */
#include "policy/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/url.h"
#include "pipeline/ledger.h"
#include "policy/document.h"
#include "util/buf.h"
#include "util/diag.h"
#include "util/rng.h"
#include "util/secret.h"

#define TICK_MS 250
#define FETCHES_AT_ONCE 4  /* a fleet's restart must not become a flood of its own */
#define FIRST_DELAY_MS 100 /* jitter of the first fetch */
#define RETRY_MS 30000     /* after a failure, or the interval where that is shorter */
#define URL_BYTES 2048
#define JITTER_PERCENT 10
#define ETAG_BYTES 80     /* with its quotes; a longer one is not used */
#define AGAIN_MS 100      /* after an answer of a server that holds requests, jittered */
#define CUT_MS 1000       /* a wait that ends badly after so long was cut by a proxy */
#define CUT_AGAIN_MS 2000 /* then, jittered */

struct watch {
    struct remote *remote;
    uint32_t service;
    uint64_t due_ms;
    struct client_call *call; /* under way */
    uint64_t asked_ms;
    bool is_held;  /* the call: its server may hold it */
    bool can_wait; /* its server says so */
    bool has_policy;
    char etag[ETAG_BYTES]; /* of what is in force; "": none */
    int64_t version;
    size_t name_len;
    char name[]; /* of the service */
};

struct remote {
    struct remote_opts opts;
    struct client *client;
    struct json_object *json;
    uv_timer_t timer;
    struct rng rng;
    char *server, *auth;    /* auth: a whole header, or NULL */
    struct watch **watches; /* by service id; NULL: not seen */
    uint32_t watch_count;
    uint32_t in_flight;
    struct rules *base;
    struct remote_stats stats;
};

static void schedule(struct watch *w, uint64_t after_ms)
{
    struct remote *r = w->remote;
    uint64_t spread = after_ms * JITTER_PERCENT / 100;
    w->due_ms = clock_now_ms(r->opts.clock) + after_ms - spread + rng_upto(&r->rng, 2 * spread);
}

/* Put what was read in force, or say why not. */
static bool install(struct watch *w, struct span text, const char *from)
{
    struct remote *r = w->remote;
    struct rules *rules;
    struct policy_notes notes;
    struct error err = {{0}};
    char name[DIAG_QUOTE_BYTES];
    diag_quote(name, span_of(w->name, w->name_len));
    if (policy_document_read(&rules, r->json, text, r->base, &notes, &err) < 0) {
        char why[DIAG_QUOTE_BYTES];
        diag(DIAG_WARN, "policy_refused", "what came is no policy; the last good one stays",
             "service=%s from=%s reason=%s", name, from, diag_quote(why, span_str(err.text)));
        return false;
    }
    if (notes.raised > 0)
        diag(DIAG_WARN, "policy_floor",
             "the policy asks for less than all errors; they are kept all the same", "service=%s",
             name);
    if (!w->has_policy || rules_version(rules) != w->version)
        diag(DIAG_INFO, "policy", "a policy is in force",
             "service=%s version=%lld foreign_keys=%u from=%s", name,
             (long long)rules_version(rules), notes.foreign_keys, from);
    r->stats.services += !w->has_policy;
    w->has_policy = true;
    w->version = rules_version(rules);
    r->opts.install(r->opts.ctx, w->service, rules);
    rules_unref(rules);
    return true;
}

static void install_fetched(struct watch *w, struct span text)
{
    struct remote *r = w->remote;
    struct span name = span_of(w->name, w->name_len);
    if (!install(w, text, "server")) {
        metric_inc(&r->stats.invalid);
        return;
    }
    metric_inc(&r->stats.installed);
    r->stats.last_success_ms = clock_now_ms(r->opts.clock);
    if (r->opts.kept != NULL) {
        kept_forget(r->opts.kept, name);
        kept_write(r->opts.kept, name, text);
    }
}

static void install_kept(struct watch *w)
{
    struct remote *r = w->remote;
    struct span name = span_of(w->name, w->name_len);
    struct span text = r->opts.kept == NULL ? (struct span){0} : kept_find(r->opts.kept, name);
    if (text.len > 0 && install(w, text, "disk"))
        metric_inc(&r->stats.from_disk);
}

/* The value of a field of an answer's head; empty: it is not there. */
static struct span field_of(struct span head, struct span name)
{
    while (head.len > 0) {
        const uint8_t *end = memchr(head.base, '\n', head.len);
        struct span line = span_of(head.base, end == NULL ? head.len : (size_t)(end - head.base));
        head = span_skip(head, line.len + (end != NULL));
        while (line.len > 0 && line.base[line.len - 1] == '\r')
            line.len--;
        if (line.len > name.len && line.base[name.len] == ':' &&
            span_ieq(span_of(line.base, name.len), name))
            return span_trim(span_skip(line, name.len + 1));
    }
    return (struct span){0};
}

static void take_etag(struct watch *w, struct span etag)
{
    w->etag[0] = '\0';
    if (etag.len < ETAG_BYTES)
        memcpy(w->etag, etag.base == NULL ? (const uint8_t *)"" : etag.base, etag.len);
    w->etag[etag.len < ETAG_BYTES ? etag.len : 0] = '\0';
}

/* What a call had of the bounds. */
static void let_go(struct watch *w)
{
    struct remote *r = w->remote;
    w->call = NULL;
    if (w->is_held)
        r->stats.waiting--;
    else
        r->in_flight--;
    w->is_held = false;
}

/* A wait that was cut is neither an answer nor a failure. */
static bool was_cut(const struct watch *w, const struct client_result *result, bool was_held)
{
    return was_held && (result->err != 0 || result->status == 504) &&
           clock_now_ms(w->remote->opts.clock) - w->asked_ms >= CUT_MS;
}

static void log_failure(const struct client_result *result)
{
    char why[DIAG_QUOTE_BYTES];
    diag(DIAG_WARN, "policy_fetch_failed", "the last good policy stays", "status=%d error=%s",
         result->status, diag_quote(why, span_str(result->err != 0 ? result->text : "")));
}

static void on_fetched(void *ctx, const struct client_result *result)
{
    struct watch *w = ctx;
    struct remote *r = w->remote;
    uint64_t interval = r->opts.refresh_interval_ms;
    bool was_held = w->is_held;
    let_go(w);
    if (r->auth != NULL)
        secret_mask(result->body, secret_of_header(r->auth)); /* it may be quoted in a message */
    if (was_cut(w, result, was_held)) {
        schedule(w, CUT_AGAIN_MS < interval ? CUT_AGAIN_MS : interval);
        return;
    }
    w->can_wait = result->err == 0 &&
                  span_eq(field_of(result->head, SPAN("preference-applied")), SPAN("wait"));
    if (result->err == 0 && result->status == 200) {
        install_fetched(w, result->body);
        take_etag(w, field_of(result->head, SPAN("etag")));
    } else if (result->err == 0 && result->status == 304 && w->etag[0] != '\0') {
        metric_inc(&r->stats.unchanged);
        r->stats.last_success_ms = clock_now_ms(r->opts.clock);
    } else if (result->err == 0 && result->status == 404) {
        metric_inc(&r->stats.unknown);
        w->etag[0] = '\0';
    } else {
        metric_inc(&r->stats.failed);
        log_failure(result);
        interval = interval < RETRY_MS ? interval : RETRY_MS;
        w->can_wait = false;
    }
    schedule(w, w->can_wait && r->stats.waiting < REMOTE_WAITS ? AGAIN_MS : interval);
}

static void write_headers(const struct watch *w, bool may_hold, char match[ETAG_BYTES + 16],
                          char wait[32])
{
    snprintf(match, ETAG_BYTES + 16, "If-None-Match: %s", w->etag);
    snprintf(wait, 32, "Prefer: wait=%d", may_hold ? REMOTE_WAIT_S : 0);
}

static void fetch(struct watch *w)
{
    struct remote *r = w->remote;
    struct buf url = {.max_bytes = URL_BYTES};
    bool may_hold = w->can_wait && r->stats.waiting < REMOTE_WAITS;
    char match[ETAG_BYTES + 16], wait[32];
    const char *headers[] = {"Accept: application/json", wait, NULL, NULL, NULL};
    size_t n = 2;
    write_headers(w, may_hold, match, wait);
    if (r->auth != NULL)
        headers[n++] = r->auth;
    if (w->etag[0] != '\0')
        headers[n++] = match;
    buf_printf(&url, "%s/api/v1/policies/", r->server);
    url_append_encoded(&url, span_of(w->name, w->name_len));
    buf_printf(&url, "?team_id=%u", r->opts.team_id);
    buf_append_byte(&url, '\0');
    struct client_request request = {
        .method = "GET",
        .url = (const char *)url.base,
        .headers = headers,
        .timeout_ms = r->opts.timeout_ms + (may_hold ? REMOTE_WAIT_S * 1000 : 0),
        .max_answer_bytes = POLICY_DOCUMENT_BYTES,
        .keeps_head = true,
        .route = &r->opts.route,
        .ctx = w,
        .done = on_fetched,
    };
    w->asked_ms = clock_now_ms(r->opts.clock);
    if (url.err == 0 && client_send(r->client, &request, &w->call) == 0) {
        w->is_held = may_hold;
        r->stats.waiting += may_hold;
        r->in_flight += !may_hold;
    } else {
        metric_inc(&r->stats.failed);
    }
    if (w->call == NULL)
        schedule(w, RETRY_MS);
    buf_done(&url);
}

static void on_tick(uv_timer_t *timer)
{
    struct remote *r = container_of(timer, struct remote, timer);
    uint64_t now = clock_now_ms(r->opts.clock);
    for (uint32_t i = 0; i < r->watch_count; i++) {
        struct watch *w = r->watches[i];
        bool is_due = w != NULL && w->call == NULL && w->due_ms <= now;
        if (is_due &&
            ((w->can_wait && r->stats.waiting < REMOTE_WAITS) || r->in_flight < FETCHES_AT_ONCE))
            fetch(w);
    }
}

void remote_service_seen(struct remote *r, uint32_t service, struct span name)
{
    /* A name that no policy can be asked for: none, or everything past the bound. */
    if (service == LEDGER_OTHER || name.len == 0)
        return;
    if (service >= r->watch_count) {
        uint32_t count = service + 32;
        struct watch **list = realloc(r->watches, count * sizeof(struct watch *));
        if (list == NULL)
            return;
        memset(list + r->watch_count, 0, (count - r->watch_count) * sizeof(struct watch *));
        r->watches = list;
        r->watch_count = count;
    }
    struct watch *w = calloc(1, sizeof *w + name.len);
    if (w == NULL || r->watches[service] != NULL) {
        free(w);
        return;
    }
    *w = (struct watch){.remote = r, .service = service, .name_len = name.len};
    memcpy(w->name, name.base, name.len);
    w->due_ms = clock_now_ms(r->opts.clock) + rng_upto(&r->rng, FIRST_DELAY_MS);
    r->watches[service] = w;
    install_kept(w);
}

int remote_open(struct remote **out, uv_loop_t *loop, struct client *client,
                const struct remote_opts *opts)
{
    struct remote *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->opts = *opts;
    r->opts.route = (struct route){0};
    r->client = client;
    rng_init(&r->rng);
    r->base = rules_ref(opts->base);
    uv_timer_init(loop, &r->timer);
    uv_timer_start(&r->timer, on_tick, TICK_MS, TICK_MS);
    *out = r; /* from here on remote_close() cleans up, also after a failure */

    struct span server = url_base(opts->server);
    r->server = strndup((const char *)server.base, server.len);
    if (opts->api_key[0] != '\0')
        r->auth = url_bearer(opts->api_key);
    if (route_copy(&r->opts.route, &opts->route) < 0 || r->server == NULL ||
        (opts->api_key[0] != '\0' && r->auth == NULL))
        return ERR_NOMEM;
    return json_object_new(&r->json, POLICY_DOCUMENT_BYTES);
}

void remote_set_base(struct remote *r, const struct rules *base)
{
    struct rules *old = r->base;
    r->base = rules_ref(base);
    rules_unref(old);
    for (uint32_t i = 0; i < r->watch_count; i++) {
        struct watch *w = r->watches[i];
        if (w == NULL)
            continue;
        if (w->call != NULL && w->is_held) {
            client_cancel(w->call);
            let_go(w);
        }
        w->etag[0] = '\0'; /* the whole of it, not that it is the same */
        w->due_ms = 0;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct remote *r = container_of((uv_timer_t *)handle, struct remote, timer);
    json_object_free(r->json);
    rules_unref(r->base);
    free(r->server);
    secret_free(r->auth);
    route_done(&r->opts.route);
    free(r->watches);
    free(r);
}

void remote_close(struct remote *r)
{
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->watch_count; i++) {
        if (r->watches[i] != NULL && r->watches[i]->call != NULL)
            client_cancel(r->watches[i]->call);
        free(r->watches[i]);
    }
    uv_close((uv_handle_t *)&r->timer, on_closed);
}

const struct remote_stats *remote_stats(const struct remote *r)
{
    return &r->stats;
}
