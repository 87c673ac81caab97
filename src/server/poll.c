/* poll: lists of calls that wait. */
#include "server/poll.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/page.h"
#include "util/hash.h"

#define TICK_MS 250
#define JITTER_PERCENT 10

const char poll_default_document[] =
    "{\"global_rate\":1.0,\"severity_rates\":{\"DEBUG\":0.1,\"INFO\":0.3,\"WARNING\":0.7,"
    "\"ERROR\":1.0,\"CRITICAL\":1.0},\"pattern_rates\":{},\"anomaly_boost\":2.0,"
    "\"reasoning\":null,\"generated_by\":\"default\",\"llm_model\":null,\"version\":0}";

static const struct served_policy *policy_of(const struct server *s, const struct service *service)
{
    return service->policy.body.len > 0 ? &service->policy : &s->poll.fallback;
}

/* ---- what a request says ------------------------------------------------ */

/* The value of "wait=N" of a Prefer header, in milliseconds. False: there is none. */
static bool preferred_wait(struct span prefer, uint64_t *ms)
{
    while (prefer.len > 0) {
        size_t n = 0;
        while (n < prefer.len && prefer.base[n] != ',' && prefer.base[n] != ';')
            n++;
        struct span one = span_trim(span_of(prefer.base, n));
        prefer = span_skip(prefer, n < prefer.len ? n + 1 : n);
        if (!span_starts(one, SPAN("wait=")) || one.len > 5 + 6)
            continue;
        uint64_t seconds = 0;
        for (size_t i = 5; i < one.len; i++) {
            if (one.base[i] < '0' || one.base[i] > '9')
                return false;
            seconds = seconds * 10 + (one.base[i] - '0');
        }
        *ms = seconds * 1000;
        return true;
    }
    return false;
}

/* ---- answers ------------------------------------------------------------ */

/* What there is to say now; 0: nothing new. */
static int look(struct call *c)
{
    struct server *s = c->server;
    struct service *service =
        registry_find_service(&s->registry, c->key->team, span_str(c->param[0]));
    if (service == NULL)
        return 0;
    const struct served_policy *p = policy_of(s, service);
    snprintf(c->etag, sizeof c->etag, "%s", p->etag);
    if (c->x == NULL || http_has_tag(c->x->head.if_none_match, span_str(p->etag)))
        return 0;
    buf_append(&c->out, buf_span(&p->body));
    return 200;
}

/* It has waited long enough. */
static int give_up(struct call *c)
{
    return c->etag[0] == '\0' ? api_detail(c, 404, "Service not found") : 304;
}

void poll_leave(struct call *c)
{
    list_remove(&c->waiter.link);
    list_remove(&c->waiter.all);
    c->waiter.is_waiting = false;
    c->server->poll.count--;
}

static void answer(struct call *c)
{
    poll_leave(c);
    c->status = look(c);
    if (c->status == 0)
        c->status = give_up(c);
    api_answer(c);
}

int poll_policy(struct call *c)
{
    struct server *s = c->server;
    uint64_t wait_ms = 0, most = s->cfg->server.max_wait_ms;
    int status = look(c);
    c->is_wait_known = preferred_wait(c->x->head.prefer, &wait_ms);
    if (status != 0)
        return status;
    if (wait_ms == 0 || s->phase != SERVER_RUNNING)
        return give_up(c);
    if (wait_ms > most)
        wait_ms = most;
    struct service *service =
        registry_find_service(&s->registry, c->key->team, span_str(c->param[0]));
    c->x->ends_with_peer = true;
    c->waiter.is_waiting = true;
    c->waiter.until_ms =
        clock_now_ms(s->clock) + wait_ms - rng_upto(&s->rng, wait_ms * JITTER_PERCENT / 100);
    list_append(service != NULL ? &service->waiters : &s->poll.strangers, &c->waiter.link);
    list_append(&s->poll.waiting, &c->waiter.all);
    s->poll.count++;
    buf_done(&c->body); /* nothing but the call itself is held while it waits */
    return 0;
}

/* ---- time and changes --------------------------------------------------- */

static void on_tick(uv_timer_t *timer)
{
    struct server *s = container_of(timer, struct server, poll.timer);
    uint64_t now = clock_now_ms(s->clock);
    uint32_t turn = 0;
    LIST_EACH (at, &s->poll.waiting) {
        struct call *c = container_of(at, struct call, waiter.all);
        if (c->waiter.until_ms > now)
            continue;
        answer(c);
        if (++turn == POLL_TURN)
            return; /* the rest in the next tick */
    }
}

static void on_wake(uv_timer_t *timer)
{
    struct server *s = container_of(timer, struct server, poll.wake_timer);
    for (uint32_t i = 0; i < POLL_TURN && !list_is_empty(&s->poll.woken); i++)
        answer(container_of(s->poll.woken.next, struct call, waiter.all));
    if (list_is_empty(&s->poll.woken))
        uv_timer_stop(timer);
}

static void wake(struct server *s, struct call *c)
{
    list_remove(&c->waiter.all);
    list_append(&s->poll.woken, &c->waiter.all);
    if (!uv_is_active((uv_handle_t *)&s->poll.wake_timer))
        uv_timer_start(&s->poll.wake_timer, on_wake, 0, 1);
}

void poll_wake(struct server *s, struct service *service)
{
    LIST_EACH (at, &service->waiters)
        wake(s, container_of(at, struct call, waiter.link));
}

void poll_welcome(struct server *s, struct service *service)
{
    struct span name = span_of(service->name, service->name_len);
    LIST_EACH (at, &s->poll.strangers) {
        struct call *c = container_of(at, struct call, waiter.link);
        if (c->key->team == service->team && span_eq(span_str(c->param[0]), name))
            wake(s, c);
    }
}

void poll_end(struct server *s)
{
    while (!list_is_empty(&s->poll.woken))
        answer(container_of(s->poll.woken.next, struct call, waiter.all));
    while (!list_is_empty(&s->poll.waiting))
        answer(container_of(s->poll.waiting.next, struct call, waiter.all));
}

int poll_start(struct server *s, struct error *err)
{
    struct span text = span_str(poll_default_document);
    struct served_policy *p = &s->poll.fallback;
    (void)err;
    list_init(&s->poll.waiting);
    list_init(&s->poll.strangers);
    list_init(&s->poll.woken);
    buf_append(&p->body, text);
    snprintf(p->etag, sizeof p->etag, "\"v0-%016" PRIx64 "\"", hash64(text));
    uv_timer_init(&s->loop, &s->poll.wake_timer);
    uv_timer_init(&s->loop, &s->poll.timer);
    uv_timer_start(&s->poll.timer, on_tick, TICK_MS, TICK_MS);
    return p->body.err;
}

void poll_stop(struct server *s)
{
    uv_close((uv_handle_t *)&s->poll.timer, NULL);
    uv_close((uv_handle_t *)&s->poll.wake_timer, NULL);
    buf_done(&s->poll.fallback.body);
}
