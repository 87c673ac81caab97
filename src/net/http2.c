/* http2: nghttp2's server session between feed() and `out`. */
#include "net/http2.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <uv.h>

#include "net/http2_state.h"
#include "util/charged.h"

/* A stream begins with the small window, HTTP_PIPE_BYTES, which bounds a piped body. When a body
 * that is not piped turns out to be long, it gets the large one while most of the small is left, so
 * that a batch of a megabyte does not wait. What arrives of it sits in bodies, which the memory
 * budget bounds. */
#define WIDE_WINDOW_BYTES (1 << 20)
#define WIDENED_AT_BYTES 4096
/* Several such batches side by side. */
#define CONNECTION_WINDOW_BYTES (4 << 20)

/* Of all header lists of streams that were refused. */
#define STRAY_LIST_BYTES ((size_t)1 << 20)

static void fault(struct http2 *s, enum http_fault f)
{
    metric_inc(&s->service->faults[f]);
}

/* ---- floods ---- */

static void spend(struct http2 *s, enum flood_kind kind)
{
    if (!flood_spend(&s->flood, kind))
        s->is_flooded = true;
}

static void calm(struct http2 *s)
{
    if (s->is_broken)
        return;
    s->is_broken = true;
    fault(s, HTTP_FAULT_FLOOD);
    nghttp2_session_terminate_session(s->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* ---- output ---- */

static void pump(struct http2 *s)
{
    struct buf *out = s->output.out;
    const uint8_t *bytes;
    while (out->len < HTTP_OUT_HIGH_BYTES && out->err == 0) {
        ssize_t n = nghttp2_session_mem_send(s->session, &bytes);
        if (n < 0)
            s->is_broken = true;
        if (n <= 0)
            break;
        buf_append(out, span_of(bytes, (size_t)n));
    }
    if (s->is_flooded && !s->is_broken) { /* by resets that we made */
        calm(s);
        pump(s);
    }
}

void http2_pump_late(struct http2 *s)
{
    if (s->is_feeding)
        return;
    s->is_feeding = true; /* callbacks of nghttp2 may come back here */
    pump(s);
    http2_tell_drained(s);
    s->is_feeding = false;
    s->output.wake(s->output.ctx);
}

/* ---- nghttp2's callbacks ---- */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    struct http2 *s = user;
    switch (hd->type) {
    case NGHTTP2_DATA:
        if (hd->length == 0 && (hd->flags & NGHTTP2_FLAG_END_STREAM) == 0)
            spend(s, FLOOD_EMPTY_DATA);
        break;
    case NGHTTP2_HEADERS: /* bounded by streams and by RESET */
        /* An id below that of an earlier one, which nghttp2 would ignore (RFC 9113 5.1.1). */
        if (hd->stream_id <= s->last_id &&
            nghttp2_session_find_stream(session, hd->stream_id) == NULL)
            s->is_violated = true;
        break;
    case NGHTTP2_PRIORITY:
        spend(s, FLOOD_PRIORITY);
        break;
    case NGHTTP2_RST_STREAM:
        spend(s, FLOOD_RESET);
        break;
    case NGHTTP2_SETTINGS:
        if ((hd->flags & NGHTTP2_FLAG_ACK) == 0)
            s->has_preface = true;
        spend(s, FLOOD_SETTINGS);
        break;
    case NGHTTP2_PING:
        spend(s, FLOOD_PING);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        spend(s, FLOOD_WINDOW_UPDATE);
        break;
    case NGHTTP2_CONTINUATION:
        spend(s, FLOOD_CONTINUATION);
        break;
    default:
        spend(s, FLOOD_OTHER);
        break;
    }
    return s->is_flooded || s->is_violated ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* Frames of unknown types: asked for only so that on_begin_frame() sees them, since
 * nghttp2 drops the others without a word. */
static int on_extension_chunk(nghttp2_session *session, const nghttp2_frame_hd *hd,
                              const uint8_t *bytes, size_t len, void *user)
{
    (void)session;
    (void)hd;
    (void)bytes;
    (void)len;
    (void)user;
    return NGHTTP2_ERR_CANCEL;
}

static int on_extension(nghttp2_session *session, void **payload, const nghttp2_frame_hd *hd,
                        void *user)
{
    (void)session;
    (void)payload;
    (void)hd;
    (void)user;
    return NGHTTP2_ERR_CANCEL;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *s = user;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (frame->hd.stream_id > s->last_id)
        s->last_id = frame->hd.stream_id;
    struct stream2 *st = NULL;
    bool has_room = budget_take(s->service->overhead, sizeof *st) == 0;
    if (has_room && (st = calloc(1, sizeof *st)) == NULL)
        budget_give(s->service->overhead, sizeof *st);
    if (st == NULL) /* it was not looked at, and may be sent again (RFC 9113 8.7) */
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM) == 0
                   ? 0
                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    st->owner = s;
    st->answer.budget = st->end.budget = s->service->overhead;
    st->id = frame->hd.stream_id;
    st->since_ms = http2_now_ms(s);
    head_init(&st->head, s->service->max_head_bytes, s->service->overhead, s->service->passes_on);
    list_append(&s->streams, &st->node);
    s->stream_count++;
    nghttp2_session_set_stream_user_data(session, st->id, st);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)flags;
    struct http2 *s = user;
    struct stream2 *st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (st == NULL) {
        s->stray_list_bytes += name_len + value_len + 32;
        s->is_flooded |= s->stray_list_bytes > STRAY_LIST_BYTES;
        return s->is_flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
    }
    st->list_bytes += (uint32_t)(name_len + value_len + 32);
    if (st->list_bytes > s->service->max_head_bytes * HTTP_HEAD_BOMB_RATIO) {
        s->is_flooded = true;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (st->list_bytes > s->service->max_head_bytes)
        st->refusal = 431;
    if (st->refusal == 431 || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers are ignored */

    struct head *h = &st->head;
    h->name_at = h->bytes.len;
    buf_append(&h->bytes, span_of(name, name_len));
    h->value_at = h->bytes.len;
    buf_append(&h->bytes, span_of(value, value_len));
    int rc = head_field(h);
    if (rc < 0)
        st->refusal = rc == ERR_MALFORMED ? 400 : rc == ERR_TOO_BIG ? 431 : 503;
    return 0;
}

static void begin_exchange(struct http2 *s, struct stream2 *st, bool has_body)
{
    struct http_service *service = s->service;
    struct http_exchange *x = &st->x;

    x->ops = &http2_exchange_ops;
    x->head.version = HTTP_2;
    x->head.is_encrypted = s->output.is_encrypted;
    x->head.peer = s->output.peer;
    st->since_ms = http2_now_ms(s);
    st->progress = (struct http_progress){st->since_ms, 0};
    if (st->refusal == 0 && head_finish(&st->head, &x->head) < 0)
        st->refusal = 400;
    if (st->refusal == 0 && head_expects_unknown(&st->head))
        st->refusal = 417;
    if (st->refusal != 0) {
        fault(s, st->refusal == 431 ? HTTP_FAULT_TOO_LARGE : HTTP_FAULT_BAD_REQUEST);
        spend(s, FLOOD_RESET); /* it costs as much, and is of as much use */
        http2_answer_bare(s, st, st->refusal);
        return;
    }
    x->head.has_body = has_body;
    x->body = (struct buf){.max_bytes = service->max_body_bytes, .budget = service->budget};
    arena_init(&x->arena, HTTP_ARENA_BYTES, service->budget);
    st->is_open = true;
    metric_inc(&service->requests[HTTP_2]);

    service->head(service->ctx, x);
    if (st->is_open && x->is_piped)
        x->body.max_bytes = 0; /* the window is its limit */
    if (!st->is_open || x->is_piped || x->head.content_length <= 0)
        return;
    int rc = (uint64_t)x->head.content_length > service->max_body_bytes
                 ? ERR_TOO_BIG
                 : http_body_grow(&x->body, (size_t)x->head.content_length);
    if (rc < 0)
        service->refuse(service->ctx, x, rc);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *s = user;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    if (frame->hd.type == NGHTTP2_DATA && frame->hd.length > 0 &&
        frame->hd.length < frame->data.padlen + FLOOD_TINY_BYTES &&
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        spend(s, frame->hd.length <= frame->data.padlen ? FLOOD_EMPTY_DATA : FLOOD_TINY_DATA);
        if (s->is_flooded)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    struct stream2 *st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (st == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        begin_exchange(s, st, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        st->is_whole = true;
        if (st->is_open)
            s->service->request(s->service->ctx, &st->x);
    }
    return 0;
}

/* The service words it, or it is too late for words. */
static void refuse(struct http2 *s, struct stream2 *st, int err)
{
    if (!st->is_streaming) {
        s->service->refuse(s->service->ctx, &st->x, err);
        return;
    }
    s->service->gone(s->service->ctx, &st->x);
    http_stream_abort(&st->x);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
                   size_t len, void *user)
{
    (void)flags;
    struct http2 *s = user;
    struct stream2 *st = nghttp2_session_get_stream_user_data(session, id);
    bool is_piped = st != NULL && st->is_open && st->x.is_piped;
    /* Neither fails but for want of memory, and then the peer waits. Of the connection's window a
     * piped body takes nothing, or it would hold up all others. */
    if (is_piped)
        nghttp2_session_consume_connection(session, len);
    else
        nghttp2_session_consume(session, id, len);
    if (st == NULL || !st->is_open)
        return 0; /* answered already; it is reset as soon as the answer is out */

    struct http_exchange *x = &st->x;
    st->body_bytes += len;
    buf_append(&x->body, span_of(bytes, len));
    if (!is_piped && !st->is_wide && st->body_bytes >= WIDENED_AT_BYTES) {
        st->is_wide = true;
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, id, WIDE_WINDOW_BYTES);
    }
    if (x->body.err != 0) {
        refuse(s, st, x->body.err);
    } else if (is_piped) {
        s->service->piece(s->service->ctx, x);
    } else if (!st->prefix_told && x->prefix_bytes > 0 && x->body.len >= x->prefix_bytes) {
        st->prefix_told = true;
        s->service->prefix(s->service->ctx, x);
    }
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *s = user;
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR) {
        const struct stream2 *ended =
            nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (ended == NULL || !ended->is_aborted) /* that is no fault of the peer's */
            spend(s, FLOOD_RESET);
    }
    if (frame->hd.type == NGHTTP2_DATA && frame->hd.length >= FLOOD_WORTHY_BYTES)
        flood_earn(&s->flood, FLOOD_WINDOW_UPDATE, FLOOD_WINDOW_UPDATES);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
        frame->goaway.error_code != NGHTTP2_ENHANCE_YOUR_CALM)
        fault(s, HTTP_FAULT_BAD_REQUEST);
    if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    /* The answer is out before the request was in: "please stop" (RFC 9113 8.1). */
    struct stream2 *st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (st != NULL && !st->is_whole)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
    return 0;
}

static void drop_stream(struct http2 *s, struct stream2 *st)
{
    list_remove(&st->node);
    s->stream_count--;
    if (s->stream_count == 0)
        s->since_ms = http2_now_ms(s);
    if (st->is_open) {
        if (!http2_is_endless(st)) /* else that is how the peer ends it */
            fault(s, HTTP_FAULT_ABORTED);
        s->service->gone(s->service->ctx, &st->x);
        http2_end_exchange(st);
    }
    head_done(&st->head);
    buf_done(&st->answer);
    buf_done(&st->end);
    budget_give(s->service->overhead, sizeof *st);
    free(st);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)code;
    struct stream2 *st = nghttp2_session_get_stream_user_data(session, id);
    if (st != NULL) {
        nghttp2_session_set_stream_user_data(session, id, NULL);
        drop_stream(user, st);
    }
    return 0;
}

/* ---- the session ---- */

/* DATA of streams that are gone, of which nghttp2 says nothing to anybody. */
static void count_strays(struct http2 *s, struct span in)
{
    uint8_t type;
    int32_t id;
    while (frame_walk_next(&s->walk, &in, &type, &id))
        if (type == NGHTTP2_DATA && id <= s->last_id &&
            nghttp2_session_get_stream_user_data(s->session, id) == NULL)
            spend(s, FLOOD_STRAY_DATA);
}

static size_t http2_feed(void *session, struct span in)
{
    struct http2 *s = session;
    if (s->is_broken && !nghttp2_session_want_write(s->session))
        return in.len;

    size_t used = 0;
    s->is_feeding = true;
    if (!s->is_broken && in.len > 0 && s->output.out->len < HTTP_OUT_HIGH_BYTES) {
        count_strays(s, in);
        ssize_t n = s->is_flooded ? 0 : nghttp2_session_mem_recv(s->session, in.base, in.len);
        used = in.len;
        if (s->is_flooded || n == NGHTTP2_ERR_FLOODED) {
            calm(s);
        } else if (s->is_violated) {
            s->is_broken = true;
            nghttp2_session_terminate_session(s->session, NGHTTP2_PROTOCOL_ERROR);
        } else if (n < 0) {
            s->is_broken = true;
            nghttp2_session_terminate_session(s->session, n == NGHTTP2_ERR_NOMEM
                                                              ? NGHTTP2_INTERNAL_ERROR
                                                              : NGHTTP2_PROTOCOL_ERROR);
        }
    } else if (s->is_broken) {
        used = in.len;
    }
    pump(s);
    http2_tell_drained(s);
    s->is_feeding = false;
    return used;
}

static void http2_eof(void *session)
{
    ((struct http2 *)session)->is_eof = true;
}

static void reset(struct http2 *s, struct stream2 *st)
{
    fault(s, HTTP_FAULT_TIMEOUT);
    nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
}

static void tick_stream(struct http2 *s, struct stream2 *st, uint64_t now)
{
    const struct http_service *service = s->service;
    uint64_t waited_ms = now - st->since_ms;

    bool has_sent_all = st->is_streaming && !st->is_ended && st->body_sent == st->body_len;
    if (st->is_open && st->x.is_piped && st->x.body.len > 0) /* it waits for us */
        st->progress = (struct http_progress){now, st->body_bytes};
    if (st->is_answered && waited_ms > service->write_timeout_ms && !has_sent_all) {
        reset(s, st); /* the peer's window stays shut, or its body never ends */
    } else if (st->is_answered && !st->is_open) {
        return;
    } else if (!st->is_open) {
        if (waited_ms > service->head_timeout_ms) {
            fault(s, HTTP_FAULT_TIMEOUT);
            s->is_broken = true; /* inside a header block nothing else can be said */
            nghttp2_session_terminate_session(s->session, NGHTTP2_NO_ERROR);
        }
    } else if (!st->is_whole && ((st->x.deadline_ms != 0 && now >= st->x.deadline_ms) ||
                                 http_body_is_slow(service, &st->progress, now, st->body_bytes))) {
        fault(s, HTTP_FAULT_TIMEOUT);
        refuse(s, st, UV_ETIMEDOUT);
    }
}

static void go_away(struct http2 *s)
{
    if (s->goaways == 0)
        nghttp2_submit_shutdown_notice(s->session);
    else if (s->goaways == 1)
        nghttp2_submit_goaway(s->session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(s->session), NGHTTP2_NO_ERROR,
                              NULL, 0);
    if (s->goaways < 2)
        s->goaways++;
}

static void http2_tick(void *session)
{
    struct http2 *s = session;
    uint64_t now = http2_now_ms(s);

    s->is_feeding = true;
    LIST_EACH (node, &s->streams)
        tick_stream(s, container_of(node, struct stream2, node), now);
    if (!s->has_preface && now - s->since_ms > s->service->head_timeout_ms && !s->is_broken) {
        fault(s, HTTP_FAULT_TIMEOUT);
        s->is_broken = true;
        nghttp2_session_terminate_session(s->session, NGHTTP2_NO_ERROR);
    } else if (s->service->draining) {
        go_away(s);
    } else if (s->stream_count == 0 && now - s->since_ms > s->service->idle_timeout_ms &&
               !s->is_broken) {
        s->is_broken = true;
        nghttp2_session_terminate_session(s->session, NGHTTP2_NO_ERROR);
    }
    pump(s);
    s->is_feeding = false;
}

static void http2_free(void *session)
{
    struct http2 *s = session;
    s->is_feeding = true; /* gone() may not make output any more */
    LIST_EACH (node, &s->streams)
        drop_stream(s, container_of(node, struct stream2, node));
    nghttp2_session_del(s->session);
    budget_give(s->service->overhead, sizeof *s);
    free(s);
}

static bool http2_slowest(const void *session, uint64_t now, struct http_slow *out)
{
    const struct http2 *s = session;
    bool found = false;
    if (s->is_feeding) /* nghttp2 asks for memory, and may not be called from there */
        return false;
    LIST_EACH (node, &s->streams) {
        struct stream2 *st = container_of(node, struct stream2, node);
        if (!st->is_open || st->is_whole || st->x.body.cap == 0 ||
            now - st->since_ms < HTTP_BODY_YOUNG_MS)
            continue;
        double bytes_per_s = 1000.0 * (double)st->body_bytes / (double)(now - st->since_ms);
        if (!found || bytes_per_s < out->bytes_per_s)
            *out = (struct http_slow){&st->x, bytes_per_s};
        found = true;
    }
    return found;
}

static void http2_evict(void *session, struct http_exchange *x)
{
    refuse(session, container_of(x, struct stream2, x), ERR_FULL);
}

/* Of the oldest stream that waits for the peer, times their number: a look at each of 100 streams
 * of 200 connections whenever there is no room took a third of the time. */
static uint64_t http2_held_kib_ms(const void *session, uint64_t now)
{
    const struct http2 *s = session;
    if (s->is_feeding)
        return 0;
    LIST_EACH (node, &s->streams) {
        const struct stream2 *st = container_of(node, struct stream2, node);
        bool has_sent_all = st->is_streaming && !st->is_ended && st->body_sent == st->body_len;
        bool waits_for_us =
            st->is_answered ? has_sent_all : st->is_whole || (st->x.is_piped && st->x.body.len > 0);
        if (!waits_for_us)
            return (now - st->since_ms) * s->stream_count *
                   (1 + (st->head.bytes.cap + st->answer.cap) / 1024);
    }
    return 0;
}

/* A stream that can still be answered after the peer's last byte. */
static bool has_answerable(const struct http2 *s)
{
    LIST_EACH (node, &s->streams) {
        const struct stream2 *st = container_of(node, struct stream2, node);
        /* who half-closes reads no answer without an end */
        if ((st->is_whole || st->is_answered) && !http2_is_endless(st))
            return true;
    }
    return false;
}

static bool http2_is_waiting(const void *session)
{
    const struct http2 *s = session;
    if (s->is_feeding)
        return true;
    LIST_EACH (node, &s->streams)
        if (container_of(node, struct stream2, node)->is_open)
            return true;
    return false;
}

static bool http2_is_idle(const void *session)
{
    const struct http2 *s = session;
    return s->stream_count == s->endless_count && !nghttp2_session_want_write(s->session);
}

static bool http2_is_over(const void *session)
{
    const struct http2 *s = session;
    bool wants_write = nghttp2_session_want_write(s->session) != 0;
    if (s->is_broken)
        return !wants_write;
    if (s->is_eof)
        return !wants_write && !has_answerable(s);
    if (s->goaways >= 2)
        return !wants_write && s->stream_count == 0;
    return !wants_write && !nghttp2_session_want_read(s->session);
}

const struct http_session_ops http2_ops = {
    .feed = http2_feed,
    .lend = NULL,
    .eof = http2_eof,
    .tick = http2_tick,
    .free = http2_free,
    .slowest = http2_slowest,
    .evict = http2_evict,
    .held_kib_ms = http2_held_kib_ms,
    .is_waiting = http2_is_waiting,
    .is_idle = http2_is_idle,
    .is_over = http2_is_over,
};

static int open_session(struct http2 *s)
{
    nghttp2_session_callbacks *cbs = NULL;
    int rc = nghttp2_session_callbacks_new(&cbs);
    if (rc != 0)
        return ERR_NOMEM;
    nghttp2_session_callbacks_set_on_begin_frame_callback(cbs, on_begin_frame);
    nghttp2_session_callbacks_set_on_extension_chunk_recv_callback(cbs, on_extension_chunk);
    nghttp2_session_callbacks_set_unpack_extension_callback(cbs, on_extension);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_close);
    nghttp2_option *option = NULL;
    rc = nghttp2_option_new(&option);
    if (rc == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1); /* see on_data() */
        for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
            nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
        nghttp2_mem memory = {s->service->overhead, charged_malloc, charged_free, charged_calloc,
                              charged_realloc}; /* copied */
        rc = nghttp2_session_server_new3(&s->session, cbs, s, option, &memory);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cbs);
    if (rc != 0)
        return ERR_NOMEM;

    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, s->service->max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP_PIPE_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)s->service->max_head_bytes},
    };
    if (nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, entries, ARRAY_LEN(entries)) != 0 ||
        nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, 0,
                                              CONNECTION_WINDOW_BYTES) != 0)
        return ERR_NOMEM;
    return 0;
}

struct http2 *http2_new(struct http_service *service, struct http_output output)
{
    if (budget_take(service->overhead, sizeof(struct http2)) < 0)
        return NULL;
    struct http2 *s = calloc(1, sizeof *s);
    if (s == NULL) {
        budget_give(service->overhead, sizeof *s);
        return NULL;
    }
    s->service = service;
    s->output = output;
    s->since_ms = http2_now_ms(s);
    flood_init(&s->flood, service->clock);
    frame_walk_init(&s->walk);
    list_init(&s->streams);
    if (open_session(s) < 0) {
        http2_free(s);
        return NULL;
    }
    return s;
}
