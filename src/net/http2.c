/* http2: nghttp2's server session between feed() and `out`. */
#include "net/http2.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <uv.h>

#include "net/head.h"
#include "net/http2_flood.h"
#include "util/list.h"

/* A batch of a megabyte goes through without waiting for our WINDOW_UPDATE. What
 * arrives sits in bodies, which the memory budget bounds; windows need not. */
#define STREAM_WINDOW_BYTES (1 << 20)
/* Several such batches side by side. */
#define CONNECTION_WINDOW_BYTES (4 << 20)

/* A header list beyond max_head_bytes gets 431; this many times that is an
 * HPACK bomb (one table entry named again and again) and ends the connection. */
#define HEAD_BOMB_RATIO 8

/* Of an answer: grpc-status, grpc-message, grpc-status-details-bin and some air. */
#define TRAILERS_MAX 8

/* And of its header fields, :status, date and content-length among them. */
#define HEADERS_MAX 24

struct http2 {
    struct http_service *service;
    struct http_output output;
    nghttp2_session *session;
    struct list streams;
    uint32_t stream_count;
    bool is_feeding;   /* inside nghttp2 or our own entry points: output is made at their end */
    bool is_eof;       /* the peer will send no more */
    bool is_broken;    /* the session is of no use but for its last words */
    bool is_flooded;   /* ends with GOAWAY after the callback that noticed */
    bool has_preface;  /* the client's first SETTINGS came */
    uint8_t goaways;   /* while draining: 1 the warning, 2 the real one */
    uint64_t since_ms; /* when the last stream ended, or the connection began */
    struct http_date_cache date;
    struct flood flood;
    nghttp2_mem memory;
};

struct stream2 {
    struct list node; /* in http2.streams */
    struct http2 *owner;
    int32_t id;
    bool is_open;  /* shown to the handler, not answered yet */
    bool is_whole; /* the request has ended */
    bool is_answered;
    int refusal; /* the status with which the header list is answered at its end; 0: none */
    bool prefix_told;
    uint32_t list_bytes;           /* of the header list, as RFC 9113 6.5.2 counts */
    uint64_t since_ms;             /* when the head, the body or the answer began */
    struct http_progress progress; /* of the body */
    uint64_t body_bytes;
    struct head head;
    struct http_exchange x;
    /* The answer: its body from 0, then names and values of the trailers. */
    struct buf answer;
    size_t body_len, body_sent;
    size_t trailer_count;
    struct {
        uint16_t name_len;
        size_t value_len;
    } trailers[TRAILERS_MAX];
};

static uint64_t now_ms(const struct http2 *s)
{
    return clock_now_ms(s->service->clock);
}

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

/* Outside of feed() and tick(): make the output now and wake the socket. */
static void pump_late(struct http2 *s)
{
    if (s->is_feeding)
        return;
    s->is_feeding = true; /* callbacks of nghttp2 may come back here */
    pump(s);
    s->is_feeding = false;
    s->output.wake(s->output.ctx);
}

/* ---- answers ---- */

static nghttp2_nv nv(struct span name, struct span value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.base,
        .value = (uint8_t *)(uintptr_t)value.base,
        .namelen = name.len,
        .valuelen = value.len,
    };
}

static void submit_trailers(struct http2 *s, struct stream2 *st)
{
    nghttp2_nv fields[TRAILERS_MAX];
    const uint8_t *at = st->answer.base + st->body_len;
    for (size_t i = 0; i < st->trailer_count; i++) {
        struct span name = {at, st->trailers[i].name_len};
        struct span value = {at + name.len, st->trailers[i].value_len};
        fields[i] = nv(name, value);
        at = value.base + value.len;
    }
    if (nghttp2_submit_trailer(s->session, st->id, fields, st->trailer_count) != 0)
        nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *to, size_t len,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    struct http2 *s = user;
    struct stream2 *st = source->ptr;
    size_t n = st->body_len - st->body_sent;
    if (n > len)
        n = len;
    if (n > 0)
        memcpy(to, st->answer.base + st->body_sent, n);
    st->body_sent += n;
    st->since_ms = now_ms(s); /* its deadline is for a stall, not for the whole */
    if (st->body_sent == st->body_len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (st->trailer_count > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(s, st);
        }
    }
    return (ssize_t)n;
}

static void keep_answer(struct stream2 *st, const struct http_response *r)
{
    if (r->owned != NULL)
        buf_move(&st->answer, r->owned);
    else
        buf_append(&st->answer, r->body);
    st->body_len = st->answer.len;
    for (size_t i = 0; i < r->trailer_count && i < TRAILERS_MAX; i++) {
        st->trailers[i].name_len = (uint16_t)r->trailers[i].name.len;
        st->trailers[i].value_len = r->trailers[i].value.len;
        st->trailer_count = i + 1;
        buf_append(&st->answer, r->trailers[i].name);
        buf_append(&st->answer, r->trailers[i].value);
    }
}

static void submit(struct http2 *s, struct stream2 *st, const struct http_response *r, bool is_head)
{
    nghttp2_nv fields[HEADERS_MAX];
    char status[16], length[24];
    size_t count = 0, body_len = r->owned != NULL ? r->owned->len : r->body.len;

    snprintf(status, sizeof status, "%d", r->status);
    fields[count++] = nv(SPAN(":status"), span_str(status));
    const char *date = http_date_at(&s->date, clock_unix_ns(s->service->clock));
    fields[count++] = nv(SPAN("date"), span_str(date));
    for (size_t i = 0; i < r->header_count && count < HEADERS_MAX - 1; i++)
        fields[count++] = nv(r->headers[i].name, r->headers[i].value);
    if (r->trailer_count == 0 && body_len > 0) {
        snprintf(length, sizeof length, "%zu", body_len);
        fields[count++] = nv(SPAN("content-length"), span_str(length));
    }

    st->is_answered = true;
    st->since_ms = now_ms(s);
    bool has_data = !is_head && (body_len > 0 || r->trailer_count > 0);
    if (has_data)
        keep_answer(st, r);
    nghttp2_data_provider provider = {.source = {.ptr = st}, .read_callback = read_answer};
    if (st->answer.err != 0 || nghttp2_submit_response(s->session, st->id, fields, count,
                                                       has_data ? &provider : NULL) != 0)
        nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
}

static void end_exchange(struct stream2 *st)
{
    st->is_open = false;
    buf_done(&st->x.body);
    arena_done(&st->x.arena);
}

static void http2_reply(struct http_exchange *x, const struct http_response *r)
{
    struct stream2 *st = container_of(x, struct stream2, x);
    struct http2 *s = st->owner;
    assert(st->is_open);
    submit(s, st, r, x->head.method == METHOD_HEAD);
    end_exchange(st);
    head_clear(&st->head);
    pump_late(s); /* may free the stream */
}

static int http2_expect(struct http_exchange *x, size_t total)
{
    return total > x->body.max_bytes ? ERR_TOO_BIG : http_body_grow(&x->body, total);
}

static const struct http_exchange_ops exchange_ops = {
    .reply = http2_reply,
    .expect = http2_expect,
};

static void answer_bare(struct http2 *s, struct stream2 *st, int status)
{
    const struct http_header later = {SPAN("retry-after"), SPAN(HTTP_BARE_RETRY_AFTER)};
    submit(
        s, st,
        &(struct http_response){.status = status, .headers = &later, .header_count = status == 503},
        true);
    head_clear(&st->head);
}

/* ---- nghttp2's callbacks ---- */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    (void)session;
    struct http2 *s = user;
    switch (hd->type) {
    case NGHTTP2_DATA:
        if (hd->length == 0 && (hd->flags & NGHTTP2_FLAG_END_STREAM) == 0)
            spend(s, FLOOD_EMPTY_DATA);
        break;
    case NGHTTP2_HEADERS: /* bounded by streams and by RESET */
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
    return s->is_flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
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
    st->answer.budget = s->service->overhead;
    st->id = frame->hd.stream_id;
    st->since_ms = now_ms(s);
    head_init(&st->head, s->service->max_head_bytes, s->service->overhead);
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
    if (st == NULL)
        return 0;
    st->list_bytes += (uint32_t)(name_len + value_len + 32);
    if (st->list_bytes > s->service->max_head_bytes * HEAD_BOMB_RATIO) {
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

static void begin_exchange(struct http2 *s, struct stream2 *st)
{
    struct http_service *service = s->service;
    struct http_exchange *x = &st->x;

    x->ops = &exchange_ops;
    x->head.version = HTTP_2;
    st->since_ms = now_ms(s);
    st->progress = (struct http_progress){st->since_ms, 0};
    if (st->refusal == 0 && head_finish(&st->head, &x->head) < 0)
        st->refusal = 400;
    if (st->refusal != 0) {
        fault(s, st->refusal == 431 ? HTTP_FAULT_TOO_LARGE : HTTP_FAULT_BAD_REQUEST);
        answer_bare(s, st, st->refusal);
        return;
    }
    x->body = (struct buf){.max_bytes = service->max_body_bytes, .budget = service->budget};
    arena_init(&x->arena, HTTP_ARENA_BYTES, service->budget);
    st->is_open = true;
    metric_inc(&service->requests[HTTP_2]);

    service->head(service->ctx, x);
    if (!st->is_open || x->head.content_length <= 0)
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
        frame->hd.length <= frame->data.padlen && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        spend(s, FLOOD_EMPTY_DATA); /* nothing but padding */
        if (s->is_flooded)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    struct stream2 *st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (st == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        begin_exchange(s, st);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        st->is_whole = true;
        if (st->is_open)
            s->service->request(s->service->ctx, &st->x);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
                   size_t len, void *user)
{
    (void)flags;
    struct http2 *s = user;
    struct stream2 *st = nghttp2_session_get_stream_user_data(session, id);
    if (st == NULL || !st->is_open)
        return 0; /* answered already; it is reset as soon as the answer is out */

    struct http_exchange *x = &st->x;
    st->body_bytes += len;
    buf_append(&x->body, span_of(bytes, len));
    if (x->body.err != 0) {
        s->service->refuse(s->service->ctx, x, x->body.err);
    } else if (!st->prefix_told && x->prefix_bytes > 0 && x->body.len >= x->prefix_bytes) {
        st->prefix_told = true;
        s->service->prefix(s->service->ctx, x);
    }
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *s = user;
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
        spend(s, FLOOD_RESET);
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
        s->since_ms = now_ms(s);
    if (st->is_open) {
        fault(s, HTTP_FAULT_ABORTED);
        s->service->gone(s->service->ctx, &st->x);
        end_exchange(st);
    }
    head_done(&st->head);
    buf_done(&st->answer);
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

static size_t http2_feed(void *session, struct span in)
{
    struct http2 *s = session;
    if (s->is_broken && !nghttp2_session_want_write(s->session))
        return in.len;

    size_t used = 0;
    s->is_feeding = true;
    if (!s->is_broken && in.len > 0 && s->output.out->len < HTTP_OUT_HIGH_BYTES) {
        ssize_t n = nghttp2_session_mem_recv(s->session, in.base, in.len);
        used = in.len;
        if (s->is_flooded || n == NGHTTP2_ERR_FLOODED) {
            calm(s);
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

    if (st->is_answered) {
        if (waited_ms > service->write_timeout_ms)
            reset(s, st); /* the peer's window stays shut, or its body never ends */
    } else if (!st->is_open) {
        if (waited_ms > service->head_timeout_ms) {
            fault(s, HTTP_FAULT_TIMEOUT);
            s->is_broken = true; /* inside a header block nothing else can be said */
            nghttp2_session_terminate_session(s->session, NGHTTP2_NO_ERROR);
        }
    } else if (!st->is_whole && http_body_is_slow(service, &st->progress, now, st->body_bytes)) {
        fault(s, HTTP_FAULT_TIMEOUT);
        service->refuse(service->ctx, &st->x, UV_ETIMEDOUT);
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
    uint64_t now = now_ms(s);

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
    struct http2 *s = session;
    s->service->refuse(s->service->ctx, x, ERR_FULL);
}

/* A stream that can still be answered after the peer's last byte. */
static bool has_answerable(const struct http2 *s)
{
    LIST_EACH (node, &s->streams) {
        const struct stream2 *st = container_of(node, struct stream2, node);
        if (st->is_whole || st->is_answered)
            return true;
    }
    return false;
}

static bool http2_is_waiting(const void *session)
{
    const struct http2 *s = session;
    LIST_EACH (node, &s->streams)
        if (container_of(node, struct stream2, node)->is_open)
            return true;
    return false;
}

static bool http2_is_idle(const void *session)
{
    const struct http2 *s = session;
    return s->stream_count == 0 && !nghttp2_session_want_write(s->session);
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
    .is_waiting = http2_is_waiting,
    .is_idle = http2_is_idle,
    .is_over = http2_is_over,
};

/* ---- nghttp2's memory, each piece with its size before it ---- */

union piece {
    size_t bytes; /* with this */
    max_align_t aligned;
};

static void on_free(void *at, void *user)
{
    if (at == NULL)
        return;
    union piece *piece = (union piece *)at - 1;
    budget_give(user, piece->bytes);
    free(piece);
}

static void *on_realloc(void *at, size_t size, void *user)
{
    union piece *old = at == NULL ? NULL : (union piece *)at - 1;
    size_t had = old == NULL ? 0 : old->bytes, bytes = size + sizeof *old;
    if (size > SIZE_MAX / 2 || (bytes > had && budget_take(user, bytes - had) < 0))
        return NULL;
    union piece *piece = realloc(old, bytes);
    if (piece == NULL) {
        if (bytes > had)
            budget_give(user, bytes - had);
        return NULL;
    }
    if (bytes < had)
        budget_give(user, had - bytes);
    piece->bytes = bytes;
    return piece + 1;
}

static void *on_malloc(size_t size, void *user)
{
    return on_realloc(NULL, size, user);
}

static void *on_calloc(size_t count, size_t size, void *user)
{
    void *at = size > 0 && count > SIZE_MAX / 2 / size ? NULL : on_malloc(count * size, user);
    return at == NULL ? NULL : memset(at, 0, count * size);
}

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
        for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
            nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
        s->memory = (nghttp2_mem){s->service->overhead, on_malloc, on_free, on_calloc, on_realloc};
        rc = nghttp2_session_server_new3(&s->session, cbs, s, option, &s->memory);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cbs);
    if (rc != 0)
        return ERR_NOMEM;

    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, s->service->max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
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
    s->since_ms = now_ms(s);
    flood_init(&s->flood, service->clock);
    list_init(&s->streams);
    if (open_session(s) < 0) {
        http2_free(s);
        return NULL;
    }
    return s;
}
