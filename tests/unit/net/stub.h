/* stub: a real HTTP server on loopback, in the loop of the test, that answers as it is told. */
#pragma once

#include <stdlib.h>

#include "net/listener.h"
#include "util/clock.h"

#define STUB_BODY_BYTES 65536

struct stub {
    struct http_service service;
    struct listener listener;
    struct budget budget;
    char url[96]; /* "http://127.0.0.1:12345" */

    int status;
    struct http_header headers[4];
    size_t header_count;
    struct span body;
    bool hangs; /* takes requests and never answers */

    unsigned requests;
    const struct http_exchange
        *last; /* of HTTP/1.1: one for each connection; only to be compared */
    enum http_method method;
    char path[1024], query[256], authorization[256], content_type[128], content_encoding[64];
    char got[STUB_BODY_BYTES + 1];
    size_t got_len;
};

static inline void stub_copy(char *to, size_t size, struct span s)
{
    size_t n = s.len < size ? s.len : size - 1;
    if (n > 0)
        memcpy(to, s.base, n);
    to[n] = '\0';
}

static inline void stub_request(void *ctx, struct http_exchange *x)
{
    struct stub *s = ctx;
    s->requests++;
    s->last = x;
    s->method = x->head.method;
    stub_copy(s->path, sizeof s->path, x->head.path);
    stub_copy(s->query, sizeof s->query, x->head.query);
    stub_copy(s->authorization, sizeof s->authorization, x->head.authorization);
    stub_copy(s->content_type, sizeof s->content_type, x->head.content_type);
    stub_copy(s->content_encoding, sizeof s->content_encoding, x->head.content_encoding);
    stub_copy(s->got, sizeof s->got, buf_span(&x->body));
    s->got_len = x->body.len;
    if (!s->hangs)
        http_reply(x, &(struct http_response){.status = s->status,
                                              .headers = s->headers,
                                              .header_count = s->header_count,
                                              .body = s->body});
}

static inline void stub_nothing(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    (void)x;
}

static inline void stub_refuse(void *ctx, struct http_exchange *x, int err)
{
    (void)ctx;
    (void)err;
    http_reply(x, &(struct http_response){.status = 400});
}

static inline void stub_open(struct stub *s, uv_loop_t *loop)
{
    struct error err = {{0}};
    char address[LISTENER_ADDR_BYTES];
    *s = (struct stub){.status = 200};
    budget_init(&s->budget, 64 << 20);
    http_service_init(&s->service);
    s->service.ctx = s;
    s->service.head = s->service.prefix = s->service.gone = stub_nothing;
    s->service.request = stub_request;
    s->service.refuse = stub_refuse;
    s->service.budget = &s->budget;
    s->service.clock = clock_real();
    const struct listener_opts opts = {.service = &s->service, .addr = "127.0.0.1:0"};
    assert_int_equal(listener_open(&s->listener, loop, &opts, &err), 0);
    snprintf(s->url, sizeof s->url, "http://%s", listener_address(&s->listener, address));
    unsetenv("http_proxy"); /* loopback is not for a proxy */
    unsetenv("HTTP_PROXY");
    unsetenv("ALL_PROXY");
    unsetenv("all_proxy");
}

static inline void stub_close(struct stub *s)
{
    listener_close(&s->listener, NULL);
}

static inline void stub_stop(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* Turn the loop until *count has reached `least`, or for so long. */
static inline void stub_spin(uv_loop_t *loop, const unsigned *count, unsigned least, uint64_t ms)
{
    uv_timer_t tick;
    uint64_t end = uv_hrtime() + ms * 1000000;
    uv_timer_init(loop, &tick);
    uv_timer_start(&tick, stub_stop, 5, 5);
    while ((count == NULL || *count < least) && uv_hrtime() < end)
        uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}
