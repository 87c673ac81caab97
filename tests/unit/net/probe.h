/*
 * probe: a service for tests of net/: echoes, holds or refuses, and counts.
 *
 *     /missing   404 from head()
 *     /hold      kept in probe->held, to be answered by probe_release()
 *     /expect    http_expect() of the whole body is tried in prefix(), after 5 bytes
 *     /discard   200 without a body
 *     /pipe      piped, kept in probe->piped
 *     others     200 with the body; gRPC content types get trailers
 */
#pragma once

#include <assert.h>
#include <uv.h>

#include "net/http.h"

struct probe {
    struct http_service service;
    struct budget budget;
    struct clock_fake clock;
    int heads, prefixes, requests, gones, refusals, last_err;
    int pieces, drains, fulls;
    struct http_exchange *held, *piped;
    bool is_answering; /* piped has an open answer */
    size_t largest_body;
};

static inline void probe_answer(struct http_exchange *x)
{
    bool grpc = span_starts(x->head.content_type, SPAN("application/grpc"));
    const struct http_header headers[] = {{SPAN("content-type"), SPAN("text/plain")}};
    const struct http_header grpc_headers[] = {{SPAN("content-type"), SPAN("application/grpc")}};
    const struct http_header trailers[] = {
        {SPAN("grpc-status"), SPAN("0")},
        {SPAN("grpc-message"), SPAN("fine")},
    };
    http_reply(x, &(struct http_response){
                      .status = 200,
                      .headers = grpc ? grpc_headers : headers,
                      .header_count = 1,
                      .body = span_eq(x->head.path, SPAN("/discard")) ? (struct span){0}
                                                                      : buf_span(&x->body),
                      .trailers = grpc ? trailers : NULL,
                      .trailer_count = grpc ? 2 : 0,
                  });
}

static inline void probe_head(void *ctx, struct http_exchange *x)
{
    struct probe *p = ctx;
    p->heads++;
    x->prefix_bytes = 5;
    if (span_eq(x->head.path, SPAN("/pipe"))) {
        x->is_piped = true;
        p->piped = x;
        p->is_answering = false;
    }
    if (span_eq(x->head.path, SPAN("/missing")))
        http_reply(x, &(struct http_response){.status = 404});
}

static inline void probe_refuse(void *ctx, struct http_exchange *x, int err)
{
    struct probe *p = ctx;
    p->refusals++;
    p->last_err = err;
    if (p->piped == x)
        p->piped = NULL;
    int status = err == ERR_TOO_BIG ? 413 : err == ERR_FULL ? 503 : err == UV_ETIMEDOUT ? 408 : 400;
    http_reply(x, &(struct http_response){.status = status, .body = SPAN("refused")});
}

static inline void probe_prefix(void *ctx, struct http_exchange *x)
{
    struct probe *p = ctx;
    p->prefixes++;
    if (span_eq(x->head.path, SPAN("/expect"))) {
        int rc = http_expect(x, 5 + (size_t)x->body.base[4]);
        if (rc < 0)
            probe_refuse(ctx, x, rc);
    }
}

static inline void probe_request(void *ctx, struct http_exchange *x)
{
    struct probe *p = ctx;
    p->requests++;
    if (x->body.len > p->largest_body)
        p->largest_body = x->body.len;
    if (span_eq(x->head.path, SPAN("/hold")))
        p->held = x;
    else if (!x->is_piped)
        probe_answer(x);
}

static inline void probe_gone(void *ctx, struct http_exchange *x)
{
    struct probe *p = ctx;
    p->gones++;
    if (p->held == x)
        p->held = NULL;
    if (p->piped == x)
        p->piped = NULL;
}

static inline void probe_piece(void *ctx, struct http_exchange *x)
{
    struct probe *p = ctx;
    (void)x;
    p->pieces++;
}

static inline void probe_drained(void *ctx, struct http_exchange *x)
{
    struct probe *p = ctx;
    (void)x;
    p->drains++;
}

/* One step of an owner that hands on: take some of the body, begin the answer, write some of it,
 * end it, or break it off. */
static inline void probe_pipe(struct probe *p, size_t n)
{
    static const uint8_t bytes[20000];
    struct http_exchange *x = p->piped;
    const uint64_t length = n;
    const struct http_response head = {.status = 200, .length = n % 2 ? &length : NULL};
    size_t len = n * 100 < sizeof bytes ? n * 100 : sizeof bytes;
    switch (n % 5) {
    case 0:
        http_take(x, x->body.len < n * 16 ? x->body.len : n * 16);
        break;
    case 1:
        if (!p->is_answering)
            p->is_answering = http_stream(x, &head) == 0;
        break;
    case 2:
        if (p->is_answering && http_stream_write(x, span_of(bytes, len)) < 0)
            p->fulls++;
        break;
    default:
        p->piped = NULL;
        if (!p->is_answering)
            probe_answer(x);
        else if (n % 5 == 3)
            http_stream_end(x);
        else
            http_stream_abort(x);
    }
}

static inline void probe_release(struct probe *p)
{
    struct http_exchange *x = p->held;
    assert(x != NULL);
    p->held = NULL;
    probe_answer(x);
}

static inline void probe_init(struct probe *p)
{
    *p = (struct probe){0};
    http_service_init(&p->service);
    budget_init(&p->budget, 64 << 20);
    clock_fake_init(&p->clock, 1000, 784111777000000000u);
    p->service.ctx = p;
    p->service.head = probe_head;
    p->service.prefix = probe_prefix;
    p->service.request = probe_request;
    p->service.gone = probe_gone;
    p->service.piece = probe_piece;
    p->service.drained = probe_drained;
    p->service.refuse = probe_refuse;
    p->service.budget = &p->budget;
    p->service.clock = &p->clock.clock;
}
