/* receiver: endpoint, decode, push, reply. */
#include "receiver/receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "otlp/grpc.h"
#include "receiver/receiver_state.h"
#include "util/diag.h"

#define DISK_RETRY_S 1 /* the journal's probe notices a recovered disk within 1 s */
#define ALLOWED "POST, OPTIONS"
#define CHALLENGE "Bearer realm=\"lipservice\"" /* RFC 6750 3 */

/* clang-format off */
static const struct endpoint endpoints[] = {
    {"/v1/logs",      SIGNAL_LOGS,    false},
    {"/i/v1/logs",    SIGNAL_LOGS,    false, true}, /* PostHog's own: users swap only the host */
    {"/v1/traces",    SIGNAL_TRACES,  false},
    {"/i/v1/traces",  SIGNAL_TRACES,  false},
    {"/v1/metrics",   SIGNAL_METRICS, false},
    {"/i/v1/metrics", SIGNAL_METRICS, false},
    {"/opentelemetry.proto.collector.logs.v1.LogsService/Export",       SIGNAL_LOGS,    true},
    {"/opentelemetry.proto.collector.trace.v1.TraceService/Export",     SIGNAL_TRACES,  true},
    {"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", SIGNAL_METRICS, true},
    {"/grpc.health.v1.Health/Check", SIGNAL_LOGS, true, .health = HEALTH_CHECK},
    {"/grpc.health.v1.Health/Watch", SIGNAL_LOGS, true, .health = HEALTH_WATCH},
};
/* clang-format on */

const char *receiver_protocol_name(enum receiver_protocol p)
{
    static const char *const names[] = {"grpc", "http_protobuf", "http_json"};
    return names[p];
}

/* ---- refusing ---------------------------------------------------------- */

/* The path without trailing slashes, and without a query that a client has
 * percent-encoded into it (Go's exporters make %3F of '?'). */
struct span receiver_plain_path(struct span path)
{
    for (size_t i = 0; i + 2 < path.len; i++)
        if (path.base[i] == '%' && path.base[i + 1] == '3' && (path.base[i + 2] | 0x20) == 'f')
            path.len = i;
    while (path.len > 1 && path.base[path.len - 1] == '/')
        path.len--;
    return path;
}

/* `detail` says more than the table can; NULL: nothing. */
void receiver_refuse(struct receiver *r, struct http_exchange *x, enum refusal why,
                     const char *detail)
{
    char agent[DIAG_QUOTE_BYTES], path[DIAG_QUOTE_BYTES];
    struct failure f = {
        .http_status = refusal_text(why)->http_status,
        .code = refusal_text(why)->code,
        .message = detail != NULL ? detail : refusal_text(why)->message,
        .allow = why == REFUSED_METHOD ? ALLOWED : NULL,
        .offers_codings = why == REFUSED_CODING,
    };
    if (why == REFUSED_FULL)
        f.retry_after_s = exporter_retry_after_s(r->opts.exporter);
    if (why == REFUSED_DISK || why == REFUSED_ENDED)
        f.retry_after_s = DISK_RETRY_S;
    metric_inc(&r->stats.refused[why]);
    diag(why == REFUSED_FULL || why == REFUSED_DISK ? DIAG_DEBUG : DIAG_WARN, "request_refused",
         f.message, "reason=%s status=%d path=%s agent=%s", refusal_name(why), f.http_status,
         diag_quote(path, receiver_plain_path(x->head.path)),
         diag_quote(agent, x->head.user_agent));

    enum reply_form form = reply_form_of(x->head.content_type);
    if (f.http_status == 401)
        f.challenge = why == REFUSED_WRONG_AUTH ? CHALLENGE ", error=\"invalid_token\"" : CHALLENGE;
    if (form == REPLY_GRPC && (why == REFUSED_CODING || why == REFUSED_SUBTYPE))
        f.http_status = 200; /* a gRPC status; for a coding with grpc-accept-encoding */
    reply_failure(x, form, &f);
}

/* ---- head -------------------------------------------------------------- */

static const struct endpoint *find_endpoint(struct span path)
{
    path = receiver_plain_path(path);
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
        if (span_eq(path, span_str(endpoints[i].path)))
            return &endpoints[i];
    return NULL;
}

static bool type_fits(const struct endpoint *endpoint, const struct http_head *head,
                      enum reply_form form)
{
    if (endpoint->grpc)
        return form == REPLY_GRPC && head->version == HTTP_2;
    if (form != REPLY_JSON)
        return form == REPLY_PROTOBUF;
    struct span type = head->content_type;
    return type.len >= 16 && span_ieq(span_of(type.base, 16), SPAN("application/json")) &&
           (type.len == 16 || type.base[16] == ';' || type.base[16] == ' ');
}

/* OPTIONS: a browser's question, or anybody's. */
static void answer_options(struct receiver *r, struct http_exchange *x)
{
    if (!cors_is_preflight(&x->head))
        reply_options(x, ALLOWED);
    else if (door_check_preflight(&r->door, &x->head))
        reply_preflight(x, r->opts.door.cors.max_age_s);
    else
        reply_options(x, ALLOWED); /* without the headers that the browser looks for */
}

/* What the head says of the body. REFUSAL_COUNT: all is well. */
static enum refusal check_body(struct receiver *r, const struct http_exchange *x, struct call *call)
{
    const struct endpoint *endpoint = call->endpoint;
    bool is_grpc = call->form == REPLY_GRPC;
    bool fits = type_fits(endpoint, &x->head, call->form);
    if (!fits && (!endpoint->any_type || is_grpc))
        return REFUSED_TYPE;
    if (is_grpc && !grpc_is_protobuf(x->head.content_type))
        return REFUSED_SUBTYPE;
    call->looks = !fits;
    if (coding_parse(is_grpc ? x->head.grpc_encoding : x->head.content_encoding, &call->coding) < 0)
        return REFUSED_CODING;
    /* Here, and not by the service, which has to let a gRPC prefix more in. */
    if (!is_grpc && x->head.content_length > 0 &&
        (uint64_t)x->head.content_length > r->opts.max_request_bytes)
        return REFUSED_TOO_BIG;
    return REFUSAL_COUNT;
}

/* gRPC's deadline is of the client's clock, which began before ours. */
static enum refusal take_deadline(const struct receiver *r, struct http_exchange *x)
{
    uint64_t timeout_ms;
    if (x->head.grpc_timeout.base == NULL)
        return REFUSAL_COUNT;
    if (grpc_timeout(x->head.grpc_timeout, &timeout_ms) < 0)
        return REFUSED_BAD_TIMEOUT;
    x->deadline_ms = clock_now_ms(r->clock) + timeout_ms;
    return REFUSAL_COUNT;
}

static enum refusal check_head(struct receiver *r, struct http_exchange *x, struct call *call)
{
    static const enum refusal by_verdict[] = {
        [DOOR_OPEN] = REFUSAL_COUNT,           [DOOR_NO_KEY] = REFUSED_NO_AUTH,
        [DOOR_WRONG_KEY] = REFUSED_WRONG_AUTH, [DOOR_NO_PROJECT] = REFUSED_KEY,
        [DOOR_NO_MEMORY] = REFUSED_FULL,
    };
    const struct endpoint *endpoint = call->endpoint;
    enum refusal why = REFUSAL_COUNT;
    if (!endpoint->health) /* a probe brings no key, and learns nothing */
        why = by_verdict[door_enter(&r->door, x, &call->pass)];
    if (why == REFUSAL_COUNT && x->head.method != METHOD_POST)
        why = REFUSED_METHOD;
    if (why == REFUSAL_COUNT && endpoint->signal != SIGNAL_LOGS &&
        r->opts.relay[endpoint->signal] == RELAY_REFUSE)
        why = REFUSED_DISABLED;
    if (why == REFUSAL_COUNT)
        why = check_body(r, x, call);
    if (why == REFUSAL_COUNT && call->form == REPLY_GRPC)
        why = take_deadline(r, x);
    return why;
}

/* What is not OTLP goes on to PostHog, where that is asked for: its origin, keys and preflights are
 * PostHog's to judge. */
static void head_of_proxied(struct receiver *r, struct http_exchange *x)
{
    struct call *call = arena_alloc(&x->arena, sizeof *call);
    if (call == NULL) {
        receiver_refuse(r, x, REFUSED_FULL, NULL);
        return;
    }
    *call = (struct call){0};
    x->user = call;
    if (r->has_ended)
        receiver_refuse(r, x, REFUSED_ENDED, NULL);
    else
        proxy_begin(r->opts.proxy, x, &call->proxied);
}

/* Is this a target whose request is passed on? What looks like OTLP's and is none of its paths is a
 * mistake that we can explain better. */
static bool is_foreign(struct span path)
{
    static const char *const ours[] = {"/v1/", "/i/v1/", "/opentelemetry.", "/grpc."};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (span_starts(path, span_str(ours[i])))
            return false;
    return true;
}

static bool passes_on(struct span target)
{
    struct span path, query;
    http_split_target(target, &path, &query);
    return is_foreign(path);
}

static void on_head(void *ctx, struct http_exchange *x)
{
    const struct port *port = ctx;
    struct receiver *r = port->receiver;
    const struct endpoint *endpoint = find_endpoint(x->head.path);
    bool is_known = door_knows_host(&r->door, &x->head, port->on_loopback);

    if (is_known && endpoint != NULL && x->head.method == METHOD_OPTIONS) {
        answer_options(r, x);
        return;
    }
    if (is_known && r->opts.proxy != NULL && is_foreign(x->head.path) && proxy_takes(&x->head)) {
        head_of_proxied(r, x);
        return;
    }
    door_check_origin(&r->door, &x->head);
    if (!is_known) {
        receiver_refuse(r, x, REFUSED_HOST, NULL);
        return;
    }
    if (endpoint == NULL) {
        receiver_refuse(r, x, REFUSED_PATH, refusal_hint(receiver_plain_path(x->head.path)));
        return;
    }
    struct call *call = arena_alloc(&x->arena, sizeof *call);
    if (call == NULL) {
        receiver_refuse(r, x, REFUSED_FULL, NULL);
        return;
    }
    *call = (struct call){.endpoint = endpoint, .form = reply_form_of(x->head.content_type)};
    enum refusal why = check_head(r, x, call);
    if (why != REFUSAL_COUNT) {
        receiver_refuse(r, x, why, NULL);
        return;
    }
    x->user = call;
    x->prefix_bytes = call->form == REPLY_GRPC ? GRPC_PREFIX_BYTES : 0;
}

/* A gRPC message begins with its length: refuse, or make room. */
static void on_prefix(void *ctx, struct http_exchange *x)
{
    struct receiver *r = ((const struct port *)ctx)->receiver;
    size_t total;
    enum grpc_status status = grpc_prefix(buf_span(&x->body), r->opts.max_request_bytes, &total);
    if (status == GRPC_OK) {
        int rc = http_expect(x, total);
        if (rc < 0)
            receiver_refuse(r, x, refusal_of(rc), NULL);
        return;
    }
    receiver_refuse(r, x, status == GRPC_RESOURCE_EXHAUSTED ? REFUSED_TOO_BIG : REFUSED_FRAMING,
                    NULL);
}

/* Only what is passed on is piped. */
static void on_piece(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    proxy_go_on(((const struct call *)x->user)->proxied);
}

/* Of other open answers nothing waits. */
static void on_drained(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    proxy_go_on(((const struct call *)x->user)->proxied);
}

static void on_refuse(void *ctx, struct http_exchange *x, int err)
{
    struct call *call = x->user;
    if (call != NULL)
        proxy_forget(call->proxied);
    receiver_refuse(((const struct port *)ctx)->receiver, x, refusal_of(err), NULL);
}

/* What was no request, or not one that may be read on. */
static void on_bare(void *ctx, struct http_exchange *x, int status)
{
    struct receiver *r = ((const struct port *)ctx)->receiver;
    door_check_origin(&r->door, &x->head);
    reply_bare(x, reply_form_of(x->head.content_type), status);
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct receiver *r = ((const struct port *)ctx)->receiver;
    struct call *call = x->user;     /* nothing entered before the whole body was there */
    if (call != NULL && call->waits) /* what entered stays, as if the answer had been lost */
        hold_forget(&call->waiter);
    if (call == NULL)
        return;
    proxy_forget(call->proxied);
    health_forget(&r->health, &call->watch);
    decode_pool_forget(r->pool, &call->task);
}

/* ---- request ----------------------------------------------------------- */

/* The payload of the body: the gRPC message or all of it, still coded.
 * Negative: *why is set. */
static int unframe(struct receiver *r, const struct http_exchange *x, struct span *payload,
                   enum coding *coding, enum refusal *why)
{
    const struct call *call = x->user;
    struct grpc_message m;
    *payload = buf_span(&x->body);
    *coding = call->coding;
    if (call->form != REPLY_GRPC) {
        if (payload->len == 0)
            *coding = CODING_IDENTITY; /* an empty request, whatever it says of itself */
        else if (call->endpoint->any_type && *coding == CODING_IDENTITY &&
                 span_starts(*payload, SPAN("\x1f\x8b")))
            *coding = CODING_GZIP; /* no other request begins so */
        return 0;
    }
    enum grpc_status status = grpc_message(*payload, r->opts.max_request_bytes, &m);
    if (status != GRPC_OK) {
        *why = status == GRPC_RESOURCE_EXHAUSTED ? REFUSED_TOO_BIG : REFUSED_FRAMING;
        return ERR_MALFORMED;
    }
    if (m.is_compressed && call->coding == CODING_IDENTITY) {
        *why = REFUSED_FRAMING; /* compressed, and no grpc-encoding to say how */
        return ERR_MALFORMED;
    }
    *payload = m.bytes;
    if (!m.is_compressed)
        *coding = CODING_IDENTITY;
    return 0;
}

static void answer_yes(struct receiver *r, struct http_exchange *x, size_t sent_bytes)
{
    static const enum receiver_protocol protocol_of[] = {
        [REPLY_GRPC] = RECEIVED_GRPC,
        [REPLY_PROTOBUF] = RECEIVED_HTTP_PROTOBUF,
        [REPLY_JSON] = RECEIVED_HTTP_JSON,
    };
    const struct call *call = x->user;
    metric_inc(&r->stats.accepted[call->endpoint->signal][protocol_of[call->form]]);
    metric_add(&r->stats.received_bytes, sent_bytes);
    reply_success(x, call->form, call->rejected, call->warning);
}

static void on_stored(struct hold_waiter *w, int rc)
{
    struct call *call = container_of(w, struct call, waiter);
    call->waits = false;
    if (rc < 0)
        receiver_refuse(call->receiver, call->exchange, refusal_of(rc), NULL);
    else
        answer_yes(call->receiver, call->exchange, call->sent_bytes);
}

/* Is the answer to wait until it is stored? 1: on_stored() gives it; 0 and failures: now. */
int receiver_wait_for_hold(struct receiver *r, struct http_exchange *x)
{
    struct call *call = x->user;
    call->waiter.done = on_stored;
    int rc = r->opts.hold->ops.wait(r->opts.hold, &call->waiter);
    call->waits = rc > 0;
    if (call->waits)
        buf_done(&x->body); /* nobody reads it again */
    return rc;
}

/* rc: of all that was done with the request, or 1: somebody else will answer. */
void receiver_answer(struct receiver *r, struct http_exchange *x, int rc, const struct error *err)
{
    const struct call *call = x->user;
    if (rc == 0)
        answer_yes(r, x, call->sent_bytes);
    else if (rc < 0)
        receiver_refuse(r, x, refusal_of(rc),
                        rc != ERR_TOO_BIG && err->text[0] != '\0' ? err->text : NULL);
}

/* A call of grpc.health.v1. */
static void answer_health(struct receiver *r, struct http_exchange *x)
{
    struct call *call = x->user;
    struct span payload;
    enum coding coding;
    enum refusal why;
    if (unframe(r, x, &payload, &coding, &why) < 0) {
        receiver_refuse(r, x, why, NULL);
        return;
    }
    bool is_watch = call->endpoint->health == HEALTH_WATCH;
    int rc = coding == CODING_IDENTITY
                 ? health_answer(&r->health, x, payload, is_watch ? &call->watch : NULL)
                 : ERR_MALFORMED;
    if (rc < 0)
        receiver_refuse(r, x, rc == ERR_UNSUPPORTED ? REFUSED_HEALTH_NAME : REFUSED_MALFORMED,
                        NULL);
}

/* Traces and metrics. */
static int relay(struct receiver *r, struct http_exchange *x, struct span payload,
                 enum coding coding)
{
    const struct call *call = x->user;
    enum signal signal = call->endpoint->signal;
    if (r->opts.relay[signal] == RELAY_DISCARD)
        return 0;
    struct span type =
        call->form == REPLY_JSON ? SPAN("application/json") : SPAN("application/x-protobuf");
    return exporter_relay(r->opts.exporter, signal, payload, coding, type, call->pass.upstream_key);
}

/* 0, 1: somebody else will answer, or the reason as an error code. */
static int take(struct receiver *r, struct http_exchange *x, struct span payload,
                enum coding coding, struct error *err)
{
    const struct call *call = x->user;
    if (payload.len > r->opts.max_request_bytes) /* the service lets a gRPC prefix more in */
        return ERR_TOO_BIG;
    if (call->endpoint->signal != SIGNAL_LOGS)
        return relay(r, x, payload, coding);
    return receiver_take_logs(r, x, payload, coding, err);
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct receiver *r = ((const struct port *)ctx)->receiver;
    struct error err = {{0}};
    struct span payload;
    enum coding coding;
    enum refusal why;

    struct call *call = x->user;
    if (x->deadline_ms != 0 && clock_now_ms(r->clock) >= x->deadline_ms) {
        receiver_refuse(r, x, REFUSED_TIMEOUT, NULL); /* nobody waits for an answer */
        return;
    }
    if (call->endpoint == NULL) {
        proxy_request_ends(call->proxied);
        return;
    }
    if (call->endpoint->health) {
        answer_health(r, x);
        return;
    }
    r->last_request_ms = clock_now_ms(r->clock);
    if (r->has_ended) {
        receiver_refuse(r, x, REFUSED_ENDED, NULL);
        return;
    }
    if (unframe(r, x, &payload, &coding, &why) < 0) {
        receiver_refuse(r, x, why, NULL);
        return;
    }
    call->receiver = r;
    call->exchange = x;
    call->sent_bytes = x->body.len;
    receiver_answer(r, x, take(r, x, payload, coding, &err), &err);
}

/* ---- life -------------------------------------------------------------- */

int receiver_new(struct receiver **out, const struct receiver_opts *opts)
{
    struct receiver *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->opts = *opts;
    r->clock = clock_real();
    r->joined.budget = r->owned.budget = opts->budget;
    for (size_t i = 0; i < ARRAY_LEN(r->ports); i++)
        r->ports[i] = (struct port){r, i == 1};
    health_init(&r->health, opts->is_ready, opts->ready_ctx);
    door_init(&r->door, &opts->door);
    arena_init(&r->arena, ARENA_EXTRA_BYTES, opts->budget);
    r->decoder = decoder_new(opts->budget);
    int rc = r->decoder == NULL ? ERR_NOMEM : decode_pool_open(&r->pool, opts->loop, opts->budget);
    if (rc < 0) {
        receiver_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void receiver_close(struct receiver *r)
{
    if (r != NULL)
        decode_pool_close(r->pool);
}

void receiver_free(struct receiver *r)
{
    if (r == NULL)
        return;
    decoder_free(r->decoder);
    arena_done(&r->arena);
    buf_done(&r->joined);
    buf_done(&r->owned);
    door_done(&r->door);
    free(r);
}

void receiver_serve(struct receiver *r, struct http_service *service, bool on_loopback)
{
    service->ctx = &r->ports[on_loopback];
    service->head = on_head;
    service->prefix = on_prefix;
    service->request = on_request;
    service->gone = on_gone;
    service->piece = on_piece;
    service->drained = on_drained;
    service->refuse = on_refuse;
    service->bare = on_bare;
    service->passes_on = r->opts.proxy != NULL ? passes_on : NULL;
    service->max_body_bytes = r->opts.max_request_bytes + GRPC_PREFIX_BYTES;
    r->clock = service->clock;
}

struct receiver_stats receiver_stats(const struct receiver *r)
{
    struct receiver_stats s = r->stats;
    s.preflights[0] = r->door.preflights;
    s.preflights[1] = r->door.refused_preflights;
    return s;
}

void receiver_set_key(struct receiver *r, const char *key)
{
    snprintf(r->door.key, sizeof r->door.key, "%s", key);
}

void receiver_set_auth(struct receiver *r, struct auth_keys *keys)
{
    door_set_keys(&r->door, keys);
}

void receiver_end(struct receiver *r)
{
    r->has_ended = r->health.has_ended = true;
}

void receiver_tell_health(struct receiver *r)
{
    health_tell(&r->health);
}

void receiver_end_watches(struct receiver *r)
{
    health_end(&r->health);
}

uint64_t receiver_last_request_ms(const struct receiver *r)
{
    return r->last_request_ms;
}
