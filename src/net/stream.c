/* stream: socket on one side, session on the other. */
#include "net/stream.h"

#include <assert.h>
#include <stdlib.h>

#include "net/stream_state.h"
#include "net/tls.h"
#include "net/tls_context.h"
#include "util/diag.h"

/* A peer that is gone without a word is noticed after about twice as long. */
#define KEEPALIVE_S 60

/* An output buffer that grew beyond this is freed when the connection rests. */
#define OUT_KEPT_BYTES 1024

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct stream *s = container_of((uv_tcp_t *)handle, struct stream, tcp);
    struct stream_set *set = s->set;
    list_remove(&s->node);
    buf_done(&s->out);
    buf_done(&s->sending);
    buf_done(&s->stash);
    budget_give(set->service->overhead, sizeof *s);
    free(s);
    set->closing--;
    set->count--;
    if (set->on_freed != NULL)
        set->on_freed(set);
}

void stream_close(struct stream *s)
{
    if (s->state == STREAM_CLOSING)
        return;
    s->state = STREAM_CLOSING;
    s->set->closing++;
    list_remove(&s->awake);
    list_remove(&s->line);
    if (s->session != NULL) {
        void *session = s->session;
        s->session = NULL;
        s->ops->free(session);
    }
    buf_done(&s->out); /* at once: it may be closed to make room */
    buf_done(&s->stash);
    uv_close((uv_handle_t *)&s->tcp, on_closed);
}

/* ---- writing ---- */

/* Its answers go on in a turn of their own. */
static void stand_for_more(struct stream *s)
{
    if (!list_is_empty(&s->line))
        return;
    list_append(&s->set->more, &s->line);
    stream_set_want_turn(s->set);
}

static void on_written(uv_write_t *req, int status)
{
    struct stream *s = container_of(req, struct stream, write);
    s->sending.len = 0;
    if (s->state == STREAM_CLOSING)
        return;
    if (status < 0) {
        stream_close(s);
        return;
    }
    s->since_ms = s->used_ms = stream_now_ms(s);
    if (s->stash.len > 0)
        stand_for_more(s);
    else
        stream_turn(s);
}

/* Give `out` to the socket: at once what it takes, the rest to libuv. */
static void stream_flush(struct stream *s)
{
    if (s->out.err != 0) { /* out of memory inside an answer: it cannot be mended */
        stream_close(s);
        return;
    }
    if (s->sending.len > 0 || s->out.len == 0)
        return;

    uv_buf_t bytes = uv_buf_init((char *)s->out.base, (unsigned)s->out.len);
    int n = uv_try_write((uv_stream_t *)&s->tcp, &bytes, 1);
    if (n < 0 && n != UV_EAGAIN) {
        stream_close(s);
        return;
    }
    buf_consume(&s->out, n > 0 ? (size_t)n : 0);
    if (s->out.len > 0) {
        buf_done(&s->sending);
        buf_move(&s->sending, &s->out);
        bytes = uv_buf_init((char *)s->sending.base, (unsigned)s->sending.len);
        s->since_ms = stream_now_ms(s);
        if (uv_write(&s->write, (uv_stream_t *)&s->tcp, &bytes, 1, on_written) < 0)
            stream_close(s);
    } else if (s->out.cap > OUT_KEPT_BYTES) {
        buf_done(&s->out);
    }
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct stream *s = container_of(req, struct stream, shutdown);
    if (status < 0 || s->is_eof)
        stream_close(s);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *lent);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *lent);

static void stream_read(struct stream *s, bool want)
{
    if (want == s->is_reading || (want && !list_is_empty(&s->line)))
        return;
    s->is_reading = want;
    if (!want)
        uv_read_stop((uv_stream_t *)&s->tcp);
    else if (uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read) < 0)
        stream_close(s);
}

/* The session is over and its last word written: say so, then wait for the peer. */
static void stream_linger(struct stream *s)
{
    s->state = STREAM_LINGER;
    s->since_ms = stream_now_ms(s);
    list_remove(&s->awake);
    list_remove(&s->line);
    void *session = s->session;
    s->session = NULL;
    if (session != NULL)
        s->ops->free(session);
    buf_done(&s->stash);
    if (uv_shutdown(&s->shutdown, (uv_stream_t *)&s->tcp, on_shutdown) < 0)
        stream_close(s);
    else if (!s->is_eof)
        stream_read(s, true);
}

/* ---- between socket and session ---- */

static void on_wake(void *ctx)
{
    struct stream *s = ctx;
    if (s->in_session || s->state != STREAM_OPEN || !list_is_empty(&s->awake))
        return;
    list_append(&s->set->awake, &s->awake);
    stream_set_want_turn(s->set);
}

static bool is_under_way(const struct stream *s)
{
    return s->state == STREAM_OPEN && !s->ops->is_idle(s->session);
}

/* The handshake of a new connection waits for a turn when others have had theirs in this one. Who
 * has its turn goes on: leaving the line was counted. */
static bool must_wait_to_shake(const struct stream *s)
{
    return s->is_tls && !s->has_turn && s->state == STREAM_OPEN &&
           s->set->handshakes >= STREAM_TURN_HANDSHAKES && tls_is_shaking(s->session);
}

/* Enough was read in this turn, or others wait to begin. */
static bool must_wait(const struct stream *s)
{
    if (s->state == STREAM_LINGER)
        return false;
    if (must_wait_to_shake(s))
        return true;
    return s->set->taken >= STREAM_TURN_BYTES ||
           (stream_set_has_line(s->set) && !s->has_turn && !is_under_way(s));
}

static void stand_in_line(struct stream *s)
{
    struct stream_set *set = s->set;
    if (!s->is_reading)
        return;
    stream_read(s, false);
    struct list *line = is_under_way(s)         ? &set->begun
                        : must_wait_to_shake(s) ? &set->hellos
                                                : &set->line;
    /* A handshake that has begun is ended before others begin; a first flight is in the stash. */
    bool has_begun = line == &set->hellos && s->stash.len == 0;
    if (s->has_turn || has_begun) /* others took all of its turn: it keeps its place */
        list_prepend(line, &s->line);
    else
        list_append(line, &s->line);
    s->has_turn = false;
    stream_set_want_turn(set);
}

static size_t feed(struct stream *s, struct span in)
{
    if (s->is_tls && in.len > 0 && tls_is_shaking(s->session))
        s->set->handshakes++;
    s->in_session = true;
    size_t used = s->ops->feed(s->session, in);
    s->in_session = false;
    return used;
}

/* After the session was at work: write what it made, read on or not, end or not.
 * What it left undone (input in the stash, output beyond the mark) is taken up in
 * another turn when the socket took all at once, else when it has written. */
static void stream_settle(struct stream *s)
{
    bool was_full = s->out.len >= HTTP_OUT_HIGH_BYTES;
    stream_flush(s);
    if (s->state != STREAM_OPEN)
        return;

    bool over = s->ops->is_over(s->session);
    if (over && stream_unsent(s) == 0) {
        stream_linger(s);
        return;
    }
    bool has_more = was_full && stream_unsent(s) == 0;
    stream_read(s, !over && !has_more && !s->is_eof && s->stash.len == 0 &&
                       stream_unsent(s) < HTTP_OUT_HIGH_BYTES);
    if (s->state == STREAM_OPEN && has_more)
        stand_for_more(s);
}

void stream_turn(struct stream *s)
{
    if (s->state != STREAM_OPEN)
        return;
    if (stream_unsent(s) < HTTP_OUT_HIGH_BYTES) {
        buf_consume(&s->stash, feed(s, buf_span(&s->stash)));
        if (s->stash.len == 0)
            buf_done(&s->stash);
    }
    stream_settle(s);
}

/* Bytes for the session; what it does not use now waits in the stash. */
static void stream_take(struct stream *s, struct span in)
{
    size_t used = feed(s, in);
    buf_append(&s->stash, span_skip(in, used));
    if (s->stash.err != 0)
        stream_close(s);
    else
        stream_settle(s);
}

static bool speaks_tls(const struct stream *s)
{
    return s->set->service->tls != NULL && s->set->service->tls->context != NULL;
}

/* For those to whom its requests are passed on. */
static struct span peer_of(struct stream *s)
{
    struct sockaddr_storage peer;
    int len = sizeof peer;
    if (s->set->service->passes_on == NULL ||
        uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&peer, &len) < 0 ||
        uv_ip_name((struct sockaddr *)&peer, s->peer, sizeof s->peer) < 0)
        return SPAN("");
    return span_str(s->peer);
}

static void choose(struct stream *s, enum sniff_kind kind)
{
    struct http_service *service = s->set->service;
    struct http_output output = {.out = &s->out, .ctx = s, .wake = on_wake, .peer = peer_of(s)};
    s->is_tls = kind == SNIFF_TLS;
    if (s->is_tls) {
        s->ops = &tls_ops;
        s->session = tls_new(service, output);
    } else {
        s->session = sniff_open(kind, service, output, &s->ops);
    }
    s->state = STREAM_OPEN;
    if (s->session == NULL) { /* there is no room for it */
        metric_inc(&service->faults[HTTP_FAULT_CONNECTIONS]);
        stream_close(s);
    }
}

static unsigned own_port(const struct stream *s)
{
    struct sockaddr_storage own = {0};
    int len = sizeof own;
    uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&own, &len);
    /* sin_port and sin6_port are at the same place */
    return ntohs(((const struct sockaddr_in *)&own)->sin_port);
}

static void refuse_tls(struct stream *s)
{
    metric_inc(&s->set->service->faults[HTTP_FAULT_TLS]);
    diag(DIAG_WARN, "tls_on_clear_port",
         "a client spoke TLS to a port that speaks clear text: give it http:// or \"insecure\"",
         "port=%u", own_port(s));
    stream_close(s);
}

/* Clear text where only TLS is spoken: an answer that its client can show. */
static void refuse_clear(struct stream *s, enum sniff_kind kind)
{
#define SAYS "this port speaks TLS only: use https://"
    static const char http1[] = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n"
                                "connection: close\r\n\r\n" SAYS "\n";
    /* SETTINGS, and GOAWAY for INADEQUATE_SECURITY (RFC 9113 6.5, 6.8, 7) */
    static const char http2[] = "\0\0\0\4\0\0\0\0\0\0\0\x2f\7\0\0\0\0\0\0\0\0\0\0\0\0\xc" SAYS;
    _Static_assert(sizeof SAYS - 1 + 8 == 0x2f, "the length of that GOAWAY");
#undef SAYS
    metric_inc(&s->set->service->faults[HTTP_FAULT_CLEAR]);
    diag(DIAG_WARN, "clear_text_on_tls_port",
         "a client spoke clear text to a port that requires TLS: give it https://", "port=%u",
         own_port(s));
    if (kind == SNIFF_HTTP2)
        buf_append(&s->out, span_of(http2, sizeof http2 - 1));
    else
        buf_append(&s->out, span_of(http1, sizeof http1 - 1));
    stream_flush(s);
    if (s->state != STREAM_CLOSING)
        stream_linger(s);
}

static void sniff(struct stream *s, struct span in)
{
    uint8_t had = s->sniff.len;
    if (had == 0)
        s->since_ms = stream_now_ms(s);
    enum sniff_kind kind = sniff_next(&s->sniff, in);
    if (kind == SNIFF_MORE)
        return;
    if (kind == SNIFF_TLS && !speaks_tls(s)) {
        refuse_tls(s);
        return;
    }
    if (kind != SNIFF_TLS && speaks_tls(s) && s->set->service->tls->is_required) {
        refuse_clear(s, kind);
        return;
    }
    choose(s, kind);
    if (s->state == STREAM_OPEN && must_wait_to_shake(s)) {
        buf_append(&s->stash, span_of(s->sniff.bytes, had));
        buf_append(&s->stash, in);
        stand_in_line(s);
        return;
    }
    if (s->state == STREAM_OPEN && had > 0)
        stream_take(s, span_of(s->sniff.bytes, had));
    if (s->state == STREAM_OPEN)
        stream_take(s, in);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *lent)
{
    (void)suggested;
    struct stream *s = container_of((uv_tcp_t *)handle, struct stream, tcp);
    size_t len = 0;
    uint8_t *at = NULL;
    if (must_wait(s)) {
        *lent = uv_buf_init(NULL, 0); /* on_read() hears of it */
        return;
    }
    if (s->state == STREAM_OPEN && s->ops->lend != NULL) {
        s->in_session = true; /* what grows here is not what has to make room for it */
        at = s->ops->lend(s->session, &len);
        s->in_session = false;
    }
    if (at == NULL) {
        at = s->set->read_bytes;
        len = STREAM_READ_BYTES;
    }
    *lent = uv_buf_init((char *)at, len < UINT32_MAX ? (unsigned)len : UINT32_MAX);
}

static void on_end(struct stream *s, int why)
{
    s->is_eof = true;
    s->is_reading = false;
    if (why != UV_EOF || s->state != STREAM_OPEN) {
        stream_close(s);
        return;
    }
    uv_read_stop((uv_stream_t *)&s->tcp);
    s->in_session = true;
    s->ops->eof(s->session);
    s->in_session = false;
    stream_turn(s);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *lent)
{
    struct stream *s = container_of((uv_tcp_t *)handle, struct stream, tcp);
    if (n == 0)
        return;
    if (n == UV_ENOBUFS) {
        stand_in_line(s);
        return;
    }
    if (n < 0) {
        on_end(s, (int)n);
        return;
    }
    s->set->taken += (size_t)n;
    s->used_ms = stream_now_ms(s);
    struct span in = span_of(lent->base, (size_t)n);
    switch (s->state) {
    case STREAM_SNIFF:
        sniff(s, in);
        break;
    case STREAM_OPEN:
        stream_take(s, in);
        break;
    case STREAM_LINGER:
        s->linger_bytes += in.len;
        if (s->linger_bytes > STREAM_LINGER_BYTES)
            stream_close(s);
        break;
    case STREAM_CLOSING:
        break;
    }
    s->has_turn = false;
}

void stream_resume(struct stream *s)
{
    s->has_turn = true;
    if (s->state == STREAM_SNIFF)
        stream_read(s, true);
    else if (s->stash.len > 0) /* a handshake that had to wait */
        stream_turn(s);
    else
        stream_settle(s);
}

/* ---- life and time ---- */

static void on_refused(uv_handle_t *handle)
{
    free(handle);
}

static int refuse_one(struct stream_set *set, uv_stream_t *server)
{
    metric_inc(&set->service->faults[HTTP_FAULT_CONNECTIONS]);
    uv_tcp_t *tcp = calloc(1, sizeof *tcp);
    if (tcp == NULL)
        return ERR_NOMEM;
    uv_tcp_init(set->loop, tcp);
    int rc = uv_accept(server, (uv_stream_t *)tcp);
    uv_close((uv_handle_t *)tcp, on_refused);
    return rc;
}

int stream_accept(struct stream_set *set, uv_stream_t *server, bool refuse)
{
    if (refuse)
        return refuse_one(set, server);
    struct budget *overhead = set->service->overhead;
    if (budget_take(overhead, sizeof(struct stream)) < 0)
        return ERR_NOMEM; /* it waits until those that were ended for it are gone */
    struct stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        budget_give(overhead, sizeof *s);
        return ERR_NOMEM;
    }
    s->set = set;
    s->since_ms = s->used_ms = stream_now_ms(s);
    s->stash.budget = s->out.budget = s->sending.budget = overhead;
    list_init(&s->awake);
    list_init(&s->line);
    list_append(&set->all, &s->node);
    set->count++;
    uv_tcp_init(set->loop, &s->tcp);
    int rc = uv_accept(server, (uv_stream_t *)&s->tcp);
    if (rc < 0) {
        stream_close(s);
        return rc;
    }
    uv_tcp_nodelay(&s->tcp, 1);
    uv_tcp_keepalive(&s->tcp, 1, KEEPALIVE_S);
    stream_read(s, true);
    return 0;
}

void stream_tick(struct stream *s)
{
    const struct http_service *service = s->set->service;
    uint64_t waited_ms = stream_now_ms(s) - s->since_ms;

    if (s->state == STREAM_SNIFF) {
        if (waited_ms >
            (s->sniff.len > 0 ? service->head_timeout_ms : service->silent_timeout_ms)) {
            if (s->sniff.len > 0)
                metric_inc(&s->set->service->faults[HTTP_FAULT_TIMEOUT]);
            stream_close(s);
        }
        return;
    }
    if (s->state == STREAM_LINGER && waited_ms > STREAM_LINGER_MS)
        stream_close(s);
    if (s->state != STREAM_OPEN)
        return;

    size_t queued = uv_stream_get_write_queue_size((uv_stream_t *)&s->tcp);
    if (queued > 0 && queued >= s->queued && waited_ms > service->write_timeout_ms) {
        metric_inc(&s->set->service->faults[HTTP_FAULT_TIMEOUT]);
        stream_close(s);
        return;
    }
    if (queued < s->queued)
        s->since_ms = stream_now_ms(s);
    s->queued = queued;
    s->in_session = true;
    s->ops->tick(s->session);
    s->in_session = false;
    stream_turn(s);
}
