/* reply: building answers in small buffers on the stack's side of the arena. */
#include "receiver/reply.h"

#include <stdio.h>

#include "net/coding.h"
#include "otlp/grpc.h"

#define HEADERS_MAX 12
#define BARE_RETRY_S 1 /* what a head takes is free again when others are answered */

static const char *const type_of[] = {
    [REPLY_PROTOBUF] = "application/x-protobuf",
    [REPLY_JSON] = "application/json",
    [REPLY_GRPC] = "application/grpc",
};

/* Headers (or trailers) of one answer. */
struct fields {
    struct http_header list[HEADERS_MAX];
    size_t count;
};

static void add(struct fields *f, const char *name, struct span value)
{
    f->list[f->count++] = (struct http_header){span_str(name), value};
}

/* Of a page that may read the answer: see reply.h. */
static void add_origin(struct fields *f, const struct http_exchange *x)
{
    if (x->head.origin.len == 0)
        return;
    add(f, "access-control-allow-origin", x->head.origin);
    add(f, "access-control-allow-credentials", SPAN("true")); /* sendBeacon has them */
    add(f, "access-control-expose-headers", SPAN("retry-after"));
    add(f, "vary", SPAN("origin"));
}

enum reply_form reply_form_of(struct span content_type)
{
    if (grpc_is_content_type(content_type))
        return REPLY_GRPC;
    for (size_t i = 0; i < content_type.len; i++)
        if (content_type.base[i] == ';')
            content_type.len = i;
    content_type = span_trim(content_type);
    return span_ieq(content_type, SPAN("application/x-protobuf")) ||
                   span_ieq(content_type, SPAN("application/protobuf"))
               ? REPLY_PROTOBUF
               : REPLY_JSON;
}

/* The body of an answer that has something to say. */
static void encode_partial(struct buf *body, enum reply_form form, uint64_t rejected,
                           const char *message)
{
    uint8_t prefix[GRPC_PREFIX_BYTES] = {0}; /* not compressed, and the length, which follows */
    if (form == REPLY_GRPC)
        buf_append(body, span_of(prefix, sizeof prefix));
    export_response_encode((int64_t)rejected, message,
                           form == REPLY_JSON ? STATUS_JSON : STATUS_PROTOBUF, body);
    if (form == REPLY_GRPC && body->err == 0)
        for (unsigned i = 0; i < 4; i++)
            body->base[4 - i] = (uint8_t)((body->len - sizeof prefix) >> 8 * i);
}

void reply_success(struct http_exchange *x, enum reply_form form, uint64_t rejected,
                   const char *message)
{
    static const uint8_t empty_message[GRPC_PREFIX_BYTES]; /* not compressed, zero bytes */
    static const struct http_header ok = {{(const uint8_t *)"grpc-status", 11},
                                          {(const uint8_t *)"0", 1}};
    struct fields headers = {.count = 0};
    struct buf body = {0};
    add(&headers, "content-type", span_str(type_of[form]));
    add_origin(&headers, x);
    struct http_response r = {
        .status = 200, .headers = headers.list, .header_count = headers.count};
    if (form == REPLY_GRPC) {
        r.body = span_of(empty_message, sizeof empty_message);
        r.trailers = &ok;
        r.trailer_count = 1;
    } else if (form == REPLY_JSON) {
        r.body = SPAN("{}"); /* in protobuf the empty message is zero bytes */
    }
    if (message != NULL)
        encode_partial(&body, form, rejected, message);
    if (message != NULL && body.err == 0) /* without memory for it: what is held is held */
        r.body = buf_span(&body);
    http_reply(x, &r);
    buf_done(&body);
}

/* A gRPC failure is "trailers only": one block of headers, no body. */
static void reply_grpc_failure(struct http_exchange *x, const struct failure *f,
                               const struct status *status)
{
    struct buf message = {0}, packed = {0}, details = {0};
    char code[12];
    struct fields headers = {.count = 0};
    int n = snprintf(code, sizeof code, "%d", f->code);
    grpc_append_percent(&message, span_str(f->message));
    status_encode(status, STATUS_PROTOBUF, &packed);
    grpc_append_base64(&details, buf_span(&packed));

    add(&headers, "content-type", span_str(type_of[REPLY_GRPC]));
    add(&headers, "grpc-status", span_of(code, (size_t)n));
    add(&headers, "grpc-message", buf_span(&message));
    add(&headers, "grpc-status-details-bin", buf_span(&details));
    if (f->offers_codings)
        add(&headers, "grpc-accept-encoding", SPAN(CODING_ACCEPT_GRPC));
    http_reply(x, &(struct http_response){
                      .status = 200, .headers = headers.list, .header_count = headers.count});
    buf_done(&message);
    buf_done(&packed);
    buf_done(&details);
}

void reply_failure(struct http_exchange *x, enum reply_form form, const struct failure *f)
{
    struct status status = {
        .code = f->code,
        .message = f->message,
        .retry_ms = (uint64_t)f->retry_after_s * 1000,
        .bad = f->code == GRPC_INVALID_ARGUMENT ? f->message : NULL,
    };
    if (form == REPLY_GRPC && f->http_status != 405 && f->http_status != 415) {
        reply_grpc_failure(x, f, &status);
        return;
    }
    struct buf body = {0};
    struct fields headers = {.count = 0};
    char seconds[12];
    if (form == REPLY_GRPC)
        form = REPLY_PROTOBUF; /* not gRPC after all: plain HTTP says so */
    status_encode(&status, form == REPLY_JSON ? STATUS_JSON : STATUS_PROTOBUF, &body);
    add(&headers, "content-type", span_str(type_of[form]));
    if (f->retry_after_s > 0) {
        int n = snprintf(seconds, sizeof seconds, "%u", f->retry_after_s);
        add(&headers, "retry-after", span_of(seconds, (size_t)n));
    }
    if (f->allow != NULL)
        add(&headers, "allow", span_str(f->allow));
    if (f->challenge != NULL)
        add(&headers, "www-authenticate", span_str(f->challenge));
    add_origin(&headers, x);
    if (f->offers_codings)
        add(&headers, "accept-encoding", SPAN(CODING_ACCEPT));
    http_reply(x, &(struct http_response){.status = f->http_status,
                                          .headers = headers.list,
                                          .header_count = headers.count,
                                          .body = buf_span(&body),
                                          .close = f->close});
    buf_done(&body);
}

void reply_bare(struct http_exchange *x, enum reply_form form, int http_status)
{
    static const struct {
        int status, code;
        const char *message;
    } texts[] = {
        {408, GRPC_DEADLINE_EXCEEDED, "the request did not arrive in time"},
        {414, GRPC_INVALID_ARGUMENT, "the target of the request is longer than 8 KiB"},
        {417, GRPC_UNIMPLEMENTED, "Expect: of expectations 100-continue alone is known"},
        {431, GRPC_RESOURCE_EXHAUSTED, "the header fields of the request are too many or too long"},
        {501, GRPC_UNIMPLEMENTED, "no such method: use POST"},
        {503, GRPC_UNAVAILABLE, "no room for this request now; try again later"},
        {505, GRPC_UNIMPLEMENTED, "HTTP/1.1, HTTP/1.0 and HTTP/2 are spoken here"},
    };
    struct failure f = {.http_status = http_status,
                        .code = GRPC_INVALID_ARGUMENT,
                        .message = "these bytes are no sound request of HTTP",
                        .retry_after_s = http_status == 503 ? BARE_RETRY_S : 0,
                        .close = true};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i].status == http_status) {
            f.code = texts[i].code;
            f.message = texts[i].message;
        }
    }
    reply_failure(x, form, &f);
}

int reply_health_begin(struct http_exchange *x, enum grpc_health health)
{
    /* What ends such a call is that this process ends. */
    static const struct http_header ends = {{(const uint8_t *)"grpc-status", 11},
                                            {(const uint8_t *)"14", 2}};
    uint8_t message[GRPC_HEALTH_BYTES];
    struct http_header type = {SPAN("content-type"), span_str(type_of[REPLY_GRPC])};
    grpc_health_message(health, message);
    return http_stream(x, &(struct http_response){.status = 200,
                                                  .headers = &type,
                                                  .header_count = 1,
                                                  .body = span_of(message, sizeof message),
                                                  .trailers = &ends,
                                                  .trailer_count = 1});
}

void reply_health(struct http_exchange *x, enum grpc_health health)
{
    static const struct http_header ok = {{(const uint8_t *)"grpc-status", 11},
                                          {(const uint8_t *)"0", 1}};
    uint8_t message[GRPC_HEALTH_BYTES];
    struct http_header type = {SPAN("content-type"), span_str(type_of[REPLY_GRPC])};
    grpc_health_message(health, message);
    http_reply(x, &(struct http_response){.status = 200,
                                          .headers = &type,
                                          .header_count = 1,
                                          .body = span_of(message, sizeof message),
                                          .trailers = &ok,
                                          .trailer_count = 1});
}

void reply_options(struct http_exchange *x, const char *allow)
{
    struct http_header header = {SPAN("allow"), span_str(allow)};
    http_reply(x, &(struct http_response){.status = 204, .headers = &header, .header_count = 1});
}

void reply_preflight(struct http_exchange *x, uint32_t max_age_s)
{
    struct fields headers = {.count = 0};
    char seconds[12];
    add(&headers, "access-control-allow-origin", x->head.origin);
    add(&headers, "access-control-allow-methods", SPAN("POST"));
    if (x->head.wanted_headers.len > 0)
        add(&headers, "access-control-allow-headers", x->head.wanted_headers);
    add(&headers, "access-control-allow-credentials", SPAN("true"));
    if (max_age_s > 0) {
        int n = snprintf(seconds, sizeof seconds, "%u", max_age_s);
        add(&headers, "access-control-max-age", span_of(seconds, (size_t)n));
    }
    add(&headers, "vary",
        SPAN("origin, access-control-request-method, access-control-request-headers"));
    http_reply(x, &(struct http_response){
                      .status = 204, .headers = headers.list, .header_count = headers.count});
}
