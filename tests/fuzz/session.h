/*
 * session: a whole connection as a small program, for fuzz_http1_session and fuzz_http2_session.
 *
 * The first byte says how much memory the account has, so that it can be full, the second how long
 * a body may be. Then steps of two bytes, what and how much (n):
 *
 *     0 1 2   the peer sends the next n bytes of the input, or 16 n
 *     3       it sends what the target's compose() makes of the next bytes
 *     4       the answer that was held is given, or a piped exchange makes a step (probe_pipe())
 *     5       the peer reads what waits for it; from 128 on room is short: the slowest body goes
 *     6       n tenths of a second pass
 *     7       the server begins to drain, when n is 0; else the peer reads
 *
 * What a session does not use is offered again, as by a socket. In the end nothing is charged.
 */
#pragma once

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "unit/net/probe.h"

#define SESSION_BODY_BYTES 100000
#define SESSION_WAITING_BYTES 65536 /* sent and not used: the socket's buffer is full */
#define SESSION_OUT_BYTES (HTTP_OUT_HIGH_BYTES + 4 * SESSION_BODY_BYTES)

struct session_kind {
    const struct http_session_ops *ops;
    void *(*open)(const struct http_service *service, struct http_output out);
    /* Append what the peer sends, made of n and the input; returns what is left of the input. */
    struct span (*compose)(struct buf *to, size_t n, struct span in);
};

struct session_run {
    const struct session_kind *kind;
    void *session;
    struct probe probe;
    struct buf out, waiting;
};

static inline void session_on_wake(void *ctx)
{
    (void)ctx;
}

static inline bool session_passes_on(struct span path)
{
    return span_starts(path, SPAN("/hold"));
}

static inline void session_offer(struct session_run *r)
{
    struct span in = buf_span(&r->waiting);
    for (;;) {
        size_t used = r->kind->ops->feed(r->session, in);
        assert(used <= in.len);
        in = span_skip(in, used);
        if (used == 0 || in.len == 0 || r->kind->ops->is_over(r->session))
            break;
    }
    struct buf rest = {0};
    buf_append(&rest, in);
    buf_done(&r->waiting);
    r->waiting = rest;
    assert(r->out.len < SESSION_OUT_BYTES);
    uint64_t now_ms = clock_now_ms(&r->probe.clock.clock);
    assert(r->kind->ops->held_kib_ms(r->session, now_ms) < UINT64_MAX / 2);
    bool is_waiting = r->kind->ops->is_waiting(r->session);
    assert(!is_waiting || !r->kind->ops->is_idle(r->session));
}

static inline void session_evict(struct session_run *r)
{
    struct http_slow slow;
    if (!r->kind->ops->slowest(r->session, clock_now_ms(&r->probe.clock.clock), &slow))
        return;
    int refusals = r->probe.refusals;
    assert(slow.bytes_per_s >= 0);
    r->kind->ops->evict(r->session, slow.x);
    assert(r->probe.refusals == refusals + 1 && r->probe.last_err == ERR_FULL);
}

static inline struct span session_step(struct session_run *r, uint8_t what, size_t n,
                                       struct span in)
{
    size_t bytes = what % 8 == 2 ? n * 16 : n;
    switch (what % 8) {
    case 0:
    case 1:
    case 2:
        bytes = bytes < in.len ? bytes : in.len;
        buf_append(&r->waiting, span_of(in.base, bytes));
        in = span_skip(in, bytes);
        break;
    case 3:
        in = r->kind->compose(&r->waiting, n, in);
        break;
    case 4:
        if (r->probe.held != NULL)
            probe_release(&r->probe);
        else if (r->probe.piped != NULL)
            probe_pipe(&r->probe, n);
        break;
    case 5:
        if (n >= 128)
            session_evict(r);
        buf_clear(&r->out);
        break;
    case 6:
        clock_fake_advance(&r->probe.clock, n * 100);
        r->kind->ops->tick(r->session);
        break;
    case 7:
        r->probe.service.draining |= n == 0;
        if (n == 0) {
            r->kind->ops->tick(r->session);
            break;
        }
        buf_clear(&r->out);
        break;
    default:
        buf_clear(&r->out);
    }
    return in;
}

static inline void session_run(const struct session_kind *kind, const uint8_t *data, size_t size)
{
    struct session_run r = {.kind = kind};
    if (size < 2)
        return;
    probe_init(&r.probe);
    budget_init(&r.probe.budget, (uint64_t)8192 << data[0] % 14);
    r.probe.service.overhead = &r.probe.budget;
    r.probe.service.passes_on = session_passes_on;
    r.probe.service.max_body_bytes = 1 + (size_t)data[1] * (SESSION_BODY_BYTES / 256);
    r.session = kind->open(&r.probe.service, (struct http_output){&r.out, NULL, session_on_wake});
    struct span in = span_of(data + 2, size - 2);
    while (r.session != NULL && in.len >= 2 && !kind->ops->is_over(r.session)) {
        uint8_t what = in.base[0], n = in.base[1];
        in = session_step(&r, what, n, span_skip(in, 2));
        session_offer(&r);
        if (r.waiting.len > SESSION_WAITING_BYTES)
            break;
    }
    if (r.session != NULL) {
        if (size % 2 == 0) {
            bool was_over = kind->ops->is_over(r.session);
            kind->ops->eof(r.session);
            assert(kind->ops->is_over(r.session) || !was_over);
        }
        kind->ops->free(r.session);
    }
    buf_done(&r.out);
    buf_done(&r.waiting);
    assert(r.probe.held == NULL || r.session == NULL);
    assert(r.probe.budget.used == 0);
}
