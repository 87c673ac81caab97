/*
 * sink: an upstream that takes everything and keeps nothing, for bench/run.sh.
 *
 *     bench_sink HOST:PORT [DELAY_MS]     ends on SIGINT or SIGTERM
 *
 * Answers every request with 200 and {}, after DELAY_MS (default: at once); at the end
 * prints how many requests and body bytes came. It uses net/ itself, so that no other
 * server has to be installed; it runs on the generator's core.
 */
#include <stdio.h>
#include <stdlib.h>

#include "net/listener.h"
#include "util/list.h"

#define MEMORY_BYTES (UINT64_C(1) << 30) /* the sink is never to be the bottleneck */
#define BODY_BYTES_MAX (64u << 20)
#define TICK_MS 5

struct sink {
    struct http_service service;
    struct budget budget;
    struct listener listener;
    uv_signal_t signals[2];
    uv_timer_t timer;
    uint64_t delay_ms, requests, bytes;
    struct list waiting; /* of struct wait, oldest first */
};

/* An answer that is due later. */
struct wait {
    struct list link;
    struct http_exchange *x;
    uint64_t due_ms;
};

static void answer(struct http_exchange *x)
{
    static const struct http_header headers[] = {{SPAN("content-type"), SPAN("application/json")}};
    http_reply(x, &(struct http_response){
                      .status = 200,
                      .headers = headers,
                      .header_count = 1,
                      .body = SPAN("{}"),
                  });
}

static void on_head(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    (void)x;
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct sink *s = ctx;
    s->requests++;
    s->bytes += x->body.len;
    struct wait *w = s->delay_ms > 0 ? arena_alloc(&x->arena, sizeof *w) : NULL;
    if (w == NULL) {
        answer(x);
        return;
    }
    *w = (struct wait){.x = x, .due_ms = uv_now(s->timer.loop) + s->delay_ms};
    x->user = w;
    list_append(&s->waiting, &w->link);
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct wait *w = x->user;
    (void)ctx;
    if (w != NULL)
        list_remove(&w->link);
}

static void on_refuse(void *ctx, struct http_exchange *x, int err)
{
    (void)ctx;
    http_reply(x, &(struct http_response){.status = err == ERR_TOO_BIG ? 413 : 503});
}

static void on_tick(uv_timer_t *timer)
{
    struct sink *s = container_of(timer, struct sink, timer);
    while (!list_is_empty(&s->waiting)) {
        struct wait *w = container_of(s->waiting.next, struct wait, link);
        if (w->due_ms > uv_now(timer->loop))
            break;
        list_remove(&w->link);
        answer(w->x);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct sink *s = handle->data;
    (void)number;
    listener_close(&s->listener, NULL);
    uv_close((uv_handle_t *)&s->timer, NULL);
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
}

int main(int argc, char **argv)
{
    static struct sink s;
    struct error err = {0};
    uv_loop_t *loop = uv_default_loop();

    if (argc < 2) {
        fprintf(stderr, "usage: bench_sink HOST:PORT [DELAY_MS]\n");
        return 64;
    }
    s.delay_ms = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    list_init(&s.waiting);
    budget_init(&s.budget, MEMORY_BYTES);
    http_service_init(&s.service);
    s.service.ctx = &s;
    s.service.head = on_head;
    s.service.prefix = on_head;
    s.service.request = on_request;
    s.service.gone = on_gone;
    s.service.refuse = on_refuse;
    s.service.budget = &s.budget;
    s.service.clock = clock_real();
    s.service.max_body_bytes = BODY_BYTES_MAX;
    uv_timer_init(loop, &s.timer);
    if (s.delay_ms > 0)
        uv_timer_start(&s.timer, on_tick, TICK_MS, TICK_MS);
    for (int i = 0; i < 2; i++) {
        uv_signal_init(loop, &s.signals[i]);
        s.signals[i].data = &s;
        uv_signal_start(&s.signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
    }
    const struct listener_opts opts = {.service = &s.service, .addr = argv[1]};
    if (listener_open(&s.listener, loop, &opts, &err) < 0) {
        fprintf(stderr, "bench_sink: %s\n", err.text);
        return 69;
    }
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    printf("requests %llu bytes %llu\n", (unsigned long long)s.requests,
           (unsigned long long)s.bytes);
    return 0;
}
