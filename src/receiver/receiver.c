/* receiver: endpoint, decode, push, reply. */
#include "receiver/receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "otlp/grpc.h"
#include "otlp/json.h"
#include "pipeline/join.h"
#include "receiver/reply.h"
#include "util/diag.h"

#define ARENA_FACTOR 17 /* of the request's size: two bytes can be a ResourceLogs to pad */
#define ARENA_EXTRA_BYTES 65536
#define SCRATCH_KEEP_BYTES \
    (1u << 20)         /* of inflated or transcoded bytes kept for the next request */
#define DISK_RETRY_S 1 /* the journal's probe notices a recovered disk within 1 s */
#define ALLOWED "POST, OPTIONS"

struct endpoint {
    const char *path;
    enum signal signal;
    bool grpc;
    bool any_type; /* the content type is not asked for, as PostHog does */
};

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
};

/* What each refusal says in HTTP and in gRPC. OTLP: only 429, 502, 503, 504 and
 * UNAVAILABLE are sent again by a client. */
static const struct {
    int http_status, code;
    const char *message;
} refusals[] = {
    [REFUSED_PATH]      = {404, GRPC_UNIMPLEMENTED,      "no such path; logs go to /v1/logs, traces to /v1/traces, metrics to /v1/metrics"},
    [REFUSED_METHOD]    = {405, GRPC_UNIMPLEMENTED,      "use POST"},
    [REFUSED_TYPE]      = {415, GRPC_INVALID_ARGUMENT,   "the content type must be application/x-protobuf or application/json, or application/grpc over HTTP/2"},
    [REFUSED_CODING]    = {415, GRPC_UNIMPLEMENTED,      "the content encoding must be gzip, deflate, zstd or none"},
    [REFUSED_DISABLED]  = {404, GRPC_UNIMPLEMENTED,      "this signal is refused by the configuration (passthrough)"},
    [REFUSED_MALFORMED] = {400, GRPC_INVALID_ARGUMENT,   "the body is not a sound request"},
    [REFUSED_UTF8]      = {400, GRPC_INVALID_ARGUMENT,   "a string in the request is not UTF-8"},
    [REFUSED_DEPTH]     = {400, GRPC_INVALID_ARGUMENT,   "values are nested more than 100 deep"},
    [REFUSED_FRAMING]   = {400, GRPC_INTERNAL,           "the gRPC message is not framed as the protocol asks"},
    [REFUSED_TOO_BIG]   = {413, GRPC_RESOURCE_EXHAUSTED, "the request is larger than receivers.otlp.max_request_size, or than queue and memory could ever hold"},
    [REFUSED_FULL]      = {503, GRPC_UNAVAILABLE,        "no room for this request now; try again later"},
    [REFUSED_DISK]      = {503, GRPC_UNAVAILABLE,        "the request could not be stored on disk; try again later"},
    [REFUSED_ENDED]     = {503, GRPC_UNAVAILABLE,        "this process ends; try again later"},
    [REFUSED_KEY]       = {401, GRPC_UNAUTHENTICATED,    "a project key is expected: as Authorization: Bearer, or as ?token=, of up to 64 printable characters"},
    [REFUSED_TIMEOUT]   = {408, GRPC_DEADLINE_EXCEEDED,  "the request did not arrive in time"},
};
/* clang-format on */

struct receiver {
    struct receiver_opts opts;
    const struct clock *clock;
    struct json_decoder *json;
    struct coder *coder;
    struct arena arena;    /* of the request in hand */
    struct buf inflated;   /* scratch: one request is decoded at a time */
    struct buf transcoded; /* scratch */
    struct buf joined;     /* scratch */
    struct receiver_stats stats;
    uint64_t last_request_ms;
    char key[LOGS_KEY_BYTES + 1]; /* ours */
    bool has_told_of_key;
    bool has_ended;
};

/* What head() found out, for request(); in the exchange's arena. */
struct call {
    const struct endpoint *endpoint;
    enum reply_form form;
    enum coding coding;
    struct span key;     /* the client's, where it goes on; in the exchange's arena */
    bool looks;          /* at the body for what it is: its type says nothing */
    const char *warning; /* for the client, of a request that was taken; in the exchange's arena */
    uint64_t rejected;   /* records of it that were not */

    /* While its records are on their way to the disk. */
    bool waits;
    struct journal_waiter waiter;
    struct receiver *receiver;
    struct http_exchange *exchange;
    size_t sent_bytes;
};

const char *refusal_name(enum refusal r)
{
    static const char *const names[] = {
#define X(name, text) [REFUSED_##name] = text,
        REFUSALS(X)
#undef X
    };
    return names[r];
}

const char *receiver_protocol_name(enum receiver_protocol p)
{
    static const char *const names[] = {"grpc", "http_protobuf", "http_json"};
    return names[p];
}

/* ---- refusing ---------------------------------------------------------- */

/* The path without trailing slashes, and without a query that a client has
 * percent-encoded into it (Go's exporters make %3F of '?'). */
static struct span plain_path(struct span path)
{
    for (size_t i = 0; i + 2 < path.len; i++)
        if (path.base[i] == '%' && path.base[i + 1] == '3' && (path.base[i + 2] | 0x20) == 'f')
            path.len = i;
    while (path.len > 1 && path.base[path.len - 1] == '/')
        path.len--;
    return path;
}

static enum refusal refusal_of(int err)
{
    static const struct {
        int err;
        enum refusal refusal;
    } table[] = {
        {ERR_MALFORMED, REFUSED_MALFORMED},
        {ERR_MORE, REFUSED_MALFORMED},
        {ERR_UTF8, REFUSED_UTF8},
        {ERR_TOO_DEEP, REFUSED_DEPTH},
        {ERR_TOO_BIG, REFUSED_TOO_BIG},
        {ERR_FULL, REFUSED_FULL},
        {ERR_NOMEM, REFUSED_FULL},
        {ERR_UNSUPPORTED, REFUSED_CODING},
        {ERR_IO, REFUSED_DISK},
        {ERR_DISK_FULL, REFUSED_DISK},
        {UV_ETIMEDOUT, REFUSED_TIMEOUT},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].err == err)
            return table[i].refusal;
    return REFUSED_MALFORMED;
}

/* `detail` says more than the table can; NULL: nothing. */
static void refuse(struct receiver *r, struct http_exchange *x, enum refusal why,
                   const char *detail)
{
    char agent[DIAG_QUOTE_BYTES], path[DIAG_QUOTE_BYTES];
    struct failure f = {
        .http_status = refusals[why].http_status,
        .code = refusals[why].code,
        .message = detail != NULL ? detail : refusals[why].message,
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
         diag_quote(path, plain_path(x->head.path)), diag_quote(agent, x->head.user_agent));

    enum reply_form form = reply_form_of(x->head.content_type);
    if (form == REPLY_GRPC && why == REFUSED_CODING)
        f.http_status = 200; /* a gRPC status, with grpc-accept-encoding */
    reply_failure(x, form, &f);
}

/* ---- head -------------------------------------------------------------- */

static const struct endpoint *find_endpoint(struct span path)
{
    path = plain_path(path);
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
        if (span_eq(path, span_str(endpoints[i].path)))
            return &endpoints[i];
    return NULL;
}

/* Paths of PostHog that its SDKs ask for; whoever sends them here has set the SDK's host to this
 * port. What is behind the name may follow: /array/KEY/config.js. NULL: another path. */
static const char *posthog_hint(struct span path)
{
    static const char *const names[] = {"/batch",  "/flags",  "/e",     "/i/v0",
                                        "/array",  "/decide", "/s",     "/capture",
                                        "/engage", "/track",  "/static"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t n = strlen(names[i]);
        if (span_starts(path, span_str(names[i])) && (path.len == n || path.base[n] == '/'))
            return "only OpenTelemetry is taken here; events, flags and recordings go to PostHog "
                   "itself: set the host of the PostHog SDK to https://us.i.posthog.com or "
                   "https://eu.i.posthog.com";
    }
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

/* Once: what a client means for its own project goes to ours. */
static void warn_key(struct receiver *r, const struct http_exchange *x, struct span key)
{
    char agent[DIAG_QUOTE_BYTES], path[DIAG_QUOTE_BYTES];
    if (r->has_told_of_key || r->key[0] == '\0' || key.len == 0 || span_eq(key, span_str(r->key)))
        return;
    r->has_told_of_key = true;
    diag(DIAG_WARN, "another_key",
         "a client brings a project key of its own, which does not go on: all records go to the "
         "project that is configured (auth.upstream_key)",
         "path=%s agent=%s", diag_quote(path, plain_path(x->head.path)),
         diag_quote(agent, x->head.user_agent));
}

/* The client's key, where it goes on. False: there has to be one, or a better one. */
static bool take_key(struct receiver *r, struct http_exchange *x, struct span *out)
{
    struct span key = client_key(&x->head);
    if (r->opts.upstream_key == UPSTREAM_KEY_CONFIGURED) {
        warn_key(r, x, key);
        return true;
    }
    if (key.len == 0)
        return r->opts.upstream_key == UPSTREAM_KEY_CLIENT_OR_CONFIGURED;
    uint8_t *copy = client_key_is_sound(key) ? arena_alloc(&x->arena, key.len) : NULL;
    if (copy == NULL)
        return false;
    memcpy(copy, key.base, key.len);
    if (!span_eq(key, span_str(r->key))) /* with ours it is one of ours */
        *out = span_of(copy, key.len);
    return true;
}

static void on_head(void *ctx, struct http_exchange *x)
{
    struct receiver *r = ctx;
    const struct endpoint *endpoint = find_endpoint(x->head.path);
    enum reply_form form = reply_form_of(x->head.content_type);
    enum coding coding;

    if (endpoint == NULL) {
        refuse(r, x, REFUSED_PATH, posthog_hint(plain_path(x->head.path)));
        return;
    }
    if (x->head.method == METHOD_OPTIONS) {
        reply_options(x, ALLOWED);
        return;
    }
    if (x->head.method != METHOD_POST) {
        refuse(r, x, REFUSED_METHOD, NULL);
        return;
    }
    if (endpoint->signal != SIGNAL_LOGS && r->opts.relay[endpoint->signal] == RELAY_REFUSE) {
        refuse(r, x, REFUSED_DISABLED, NULL);
        return;
    }
    bool fits = type_fits(endpoint, &x->head, form);
    if (!fits && (!endpoint->any_type || form == REPLY_GRPC)) {
        refuse(r, x, REFUSED_TYPE, NULL);
        return;
    }
    if (coding_parse(form == REPLY_GRPC ? x->head.grpc_encoding : x->head.content_encoding,
                     &coding) < 0) {
        refuse(r, x, REFUSED_CODING, NULL);
        return;
    }
    struct call *call = arena_alloc(&x->arena, sizeof *call);
    if (call == NULL) {
        refuse(r, x, REFUSED_FULL, NULL);
        return;
    }
    *call = (struct call){.endpoint = endpoint, .form = form, .coding = coding, .looks = !fits};
    if (!take_key(r, x, &call->key)) {
        refuse(r, x, REFUSED_KEY, NULL);
        return;
    }
    x->user = call;
    x->prefix_bytes = form == REPLY_GRPC ? GRPC_PREFIX_BYTES : 0;
}

/* A gRPC message begins with its length: refuse, or make room. */
static void on_prefix(void *ctx, struct http_exchange *x)
{
    struct receiver *r = ctx;
    size_t total;
    enum grpc_status status = grpc_prefix(buf_span(&x->body), r->opts.max_request_bytes, &total);
    if (status == GRPC_OK) {
        int rc = http_expect(x, total);
        if (rc < 0)
            refuse(r, x, refusal_of(rc), NULL);
        return;
    }
    refuse(r, x, status == GRPC_RESOURCE_EXHAUSTED ? REFUSED_TOO_BIG : REFUSED_FRAMING, NULL);
}

static void on_refuse(void *ctx, struct http_exchange *x, int err)
{
    refuse(ctx, x, refusal_of(err), NULL);
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct call *call = x->user;
    (void)ctx;                       /* nothing entered before the whole body was there */
    if (call != NULL && call->waits) /* what entered stays, as if the answer had been lost */
        journal_forget(&call->waiter);
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

static void release(struct buf *scratch)
{
    if (scratch->cap > SCRATCH_KEEP_BYTES)
        buf_done(scratch);
    else
        buf_clear(scratch);
}

/* What was decoded is not needed any more: a large one makes room for what comes. */
static void let_go(struct buf *source)
{
    if (source->cap > SCRATCH_KEEP_BYTES)
        buf_done(source);
}

/* Taken as OTLP asks, since what is unknown is no fault; but of nothing in it came a record. */
static void warn_not_otlp(struct receiver *r, const struct http_exchange *x)
{
    struct call *call = x->user;
    char agent[DIAG_QUOTE_BYTES], path[DIAG_QUOTE_BYTES];
    call->warning = "no log records in this body: OTLP/JSON has them in "
                    "resourceLogs[].scopeLogs[].logRecords[]";
    metric_inc(&r->stats.not_otlp);
    diag(DIAG_WARN, "request_not_otlp", call->warning, "path=%s agent=%s",
         diag_quote(path, plain_path(x->head.path)), diag_quote(agent, x->head.user_agent));
}

/* Some of its records could not be taken: who sent them, and what was wrong. */
static void warn_rejected(struct http_exchange *x, const struct logs_mended *mended,
                          const struct logs_count *count)
{
    struct call *call = x->user;
    char agent[DIAG_QUOTE_BYTES], path[DIAG_QUOTE_BYTES];
    struct error text;
    err_set(&text, 0, "%llu of %llu log records refused; the first: %s",
            (unsigned long long)mended->rejected,
            (unsigned long long)(mended->rejected + count->records), mended->first.text);
    size_t bytes = strlen(text.text) + 1;
    char *kept = arena_alloc(&x->arena, bytes);
    if (kept != NULL)
        memcpy(kept, text.text, bytes);
    call->warning = kept != NULL ? kept : "log records refused";
    call->rejected = mended->rejected;
    diag(DIAG_WARN, "records_refused", text.text, "path=%s agent=%s",
         diag_quote(path, plain_path(x->head.path)), diag_quote(agent, x->head.user_agent));
}

/* The request as sound protobuf, and what of it had to be mended. */
static int read_logs(struct receiver *r, struct http_exchange *x, struct buf *decoded,
                     struct span *request, struct logs_count *count, struct logs_mended *mended,
                     struct error *err)
{
    const struct call *call = x->user;
    bool may_mend = !r->opts.is_strict, is_json = call->form == REPLY_JSON && request->len > 0;
    int rc = is_json && !call->looks ? ERR_MALFORMED : logs_check(*request, count);
    if (rc == 0 || (!is_json && !may_mend))
        return rc;
    if (!is_json) {
        rc = logs_mend(*request, &r->transcoded, count, mended);
        *request = buf_span(&r->transcoded);
        return rc;
    }
    rc = json_logs_decode(r->json, decoded, &r->transcoded, count, may_mend ? mended : NULL, err);
    *request = buf_span(&r->transcoded);
    if (rc == 0 && count->records == 0 && count->foreign > 0 && mended->rejected == 0)
        warn_not_otlp(r, x);
    return rc;
}

/* Where that is asked for: lines of a trace that stand side by side become one record. Without
 * memory for it they stay what they are. */
static void join(struct receiver *r, struct span *request, struct logs_count *count,
                 struct logs_mended *joined)
{
    int rc = r->opts.joins ? logs_join(*request, &r->joined, count, joined) : 0;
    if (rc > 0)
        *request = buf_span(&r->joined);
    if (rc < 0)
        logs_mended_done(joined);
}

/* Lines that were joined to a record that is not taken are not taken. */
static int push(struct receiver *r, struct span request, struct span key,
                const struct logs_count *count, const struct logs_mended *joined)
{
    r->arena.max_bytes = ARENA_FACTOR * request.len + ARENA_EXTRA_BYTES;
    int rc = pipeline_push_of_key(r->opts.pipeline, request, key, &r->arena, count);
    arena_reset(&r->arena);
    pipeline_set_aside(r->opts.pipeline, request, joined,
                       rc < 0 ? VERDICT_REJECTED : VERDICT_JOINED);
    return rc;
}

static int push_logs(struct receiver *r, struct http_exchange *x, struct buf *decoded,
                     struct span request, struct error *err)
{
    struct logs_count count = {0};
    struct logs_mended mended = {.budget = r->opts.budget}, joined = mended;
    int rc = read_logs(r, x, decoded, &request, &count, &mended, err);
    if (rc == 0 && mended.rejected > 0 && count.records == 0)
        rc = err_set(err, mended.code, "%s", mended.first.text); /* nothing of it is any good */
    if (rc < 0) {
        logs_mended_done(&mended);
        return rc;
    }
    if (request.base == r->transcoded.base)
        let_go(decoded);
    if (mended.rejected > 0)
        warn_rejected(x, &mended, &count);
    join(r, &request, &count, &joined);
    rc = push(r, request, ((const struct call *)x->user)->key, &count, &joined);
    pipeline_set_aside(r->opts.pipeline, request, &mended, VERDICT_REJECTED);
    for (int i = 0; i < REPAIR_COUNT; i++)
        metric_add(&r->stats.repairs[i], mended.repairs[i]);
    logs_mended_done(&mended);
    logs_mended_done(&joined);
    return rc;
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

static void on_stored(struct journal_waiter *w, int rc)
{
    struct call *call = container_of(w, struct call, waiter);
    call->waits = false;
    if (rc < 0)
        refuse(call->receiver, call->exchange, refusal_of(rc), NULL);
    else
        answer_yes(call->receiver, call->exchange, call->sent_bytes);
}

/* Is the answer to wait until it is stored? 1: on_stored() gives it; 0 and failures: now. */
static int wait_for_hold(struct receiver *r, struct http_exchange *x, size_t sent_bytes)
{
    struct call *call = x->user;
    if (call->endpoint->signal != SIGNAL_LOGS)
        return 0;
    call->receiver = r;
    call->exchange = x;
    call->sent_bytes = sent_bytes;
    call->waiter.done = on_stored;
    int rc = r->opts.hold->ops->wait(r->opts.hold, &call->waiter);
    call->waits = rc > 0;
    if (call->waits)
        let_go(&x->body);
    return rc;
}

/* Decode and hand on. 0, or the reason as an error code. */
static int take(struct receiver *r, struct http_exchange *x, struct span payload,
                enum coding coding, struct error *err)
{
    const struct call *call = x->user;
    enum signal signal = call->endpoint->signal;
    struct buf *decoded = &x->body;
    if (payload.len > r->opts.max_request_bytes) /* the service lets a gRPC prefix more in */
        return ERR_TOO_BIG;
    if (signal != SIGNAL_LOGS) {
        if (r->opts.relay[signal] == RELAY_DISCARD)
            return 0;
        struct span type =
            call->form == REPLY_JSON ? SPAN("application/json") : SPAN("application/x-protobuf");
        return exporter_relay(r->opts.exporter, signal, payload, coding, type, call->key);
    }
    if (coding != CODING_IDENTITY) {
        decoded = &r->inflated;
        int rc = coding_decode(r->coder, coding, payload, decoded, r->opts.max_request_bytes);
        if (rc < 0)
            return err_set(err, rc, rc == ERR_MALFORMED ? "the body is not sound %s" : "%s",
                           rc == ERR_MALFORMED ? coding_name(coding) : err_text(rc));
        payload = buf_span(decoded);
        let_go(&x->body);
    }
    metric_add(&r->stats.decoded_bytes, payload.len);
    return push_logs(r, x, decoded, payload, err);
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct receiver *r = ctx;
    struct error err = {{0}};
    struct span payload;
    enum coding coding;
    enum refusal why;

    r->last_request_ms = clock_now_ms(r->clock);
    if (r->has_ended) {
        refuse(r, x, REFUSED_ENDED, NULL);
        return;
    }
    if (unframe(r, x, &payload, &coding, &why) < 0) {
        refuse(r, x, why, NULL);
        return;
    }
    size_t sent_bytes = x->body.len;
    r->opts.hold->ops->begin(r->opts.hold);
    int rc = take(r, x, payload, coding, &err);
    release(&r->inflated);
    release(&r->transcoded);
    release(&r->joined);
    if (rc == 0)
        rc = wait_for_hold(r, x, sent_bytes);
    if (rc < 0) {
        refuse(r, x, refusal_of(rc), rc != ERR_TOO_BIG && err.text[0] != '\0' ? err.text : NULL);
        return;
    }
    if (rc == 0)
        answer_yes(r, x, sent_bytes);
}

/* ---- life -------------------------------------------------------------- */

int receiver_new(struct receiver **out, const struct receiver_opts *opts)
{
    struct receiver *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->opts = *opts;
    r->clock = clock_real();
    r->inflated.budget = r->transcoded.budget = r->joined.budget = opts->budget;
    arena_init(&r->arena, ARENA_EXTRA_BYTES, opts->budget);
    r->json = json_decoder_new(opts->budget);
    r->coder = coder_new();
    if (r->json == NULL || r->coder == NULL) {
        receiver_free(r);
        return ERR_NOMEM;
    }
    *out = r;
    return 0;
}

void receiver_free(struct receiver *r)
{
    if (r == NULL)
        return;
    json_decoder_free(r->json);
    coder_free(r->coder);
    arena_done(&r->arena);
    buf_done(&r->inflated);
    buf_done(&r->transcoded);
    buf_done(&r->joined);
    free(r);
}

void receiver_serve(struct receiver *r, struct http_service *service)
{
    service->ctx = r;
    service->head = on_head;
    service->prefix = on_prefix;
    service->request = on_request;
    service->gone = on_gone;
    service->refuse = on_refuse;
    service->max_body_bytes = r->opts.max_request_bytes + GRPC_PREFIX_BYTES;
    r->clock = service->clock;
}

const struct receiver_stats *receiver_stats(const struct receiver *r)
{
    return &r->stats;
}

void receiver_set_key(struct receiver *r, const char *key)
{
    snprintf(r->key, sizeof r->key, "%s", key);
}

void receiver_end(struct receiver *r)
{
    r->has_ended = true;
}

uint64_t receiver_last_request_ms(const struct receiver *r)
{
    return r->last_request_ms;
}
