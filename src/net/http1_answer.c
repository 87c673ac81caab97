/* http1_answer: answers on the wire of HTTP/1.1, and what they do to the connection. */
#include <assert.h>

#include "net/http1_state.h"

/* Header values may hold a peer's words: no byte of them may end the line. */
static void append_value(struct buf *out, struct span value)
{
    size_t at = out->len;
    buf_append(out, value);
    for (; at < out->len; at++)
        if ((out->base[at] < ' ' && out->base[at] != '\t') || out->base[at] == 0x7f)
            out->base[at] = '?';
}

/* No printf() for an answer's head: of a request of ten records it was 2,900 instructions. */
static void append_status(struct http1 *s, int status)
{
    struct buf *out = s->output.out;
    buf_append_str(out, "HTTP/1.1 ");
    buf_append_u64(out, (uint64_t)status);
    buf_append_byte(out, ' ');
    buf_append_str(out, http_reason(status));
    buf_append_str(out, "\r\nDate: ");
    buf_append_str(out, http_date_at(&s->date, clock_unix_ns(s->service->clock)));
    buf_append_str(out, "\r\n");
}

/* Will the rest of the request in hand be too much to throw away? */
static bool rest_is_long(const struct http1 *s)
{
    return s->state == HTTP1_BODY && s->x.head.content_length > 0 &&
           (size_t)s->x.head.content_length - s->body_bytes > HTTP_SKIP_BYTES;
}

static void append_headers(struct buf *out, const struct http_response *r)
{
    for (size_t i = 0; i < r->header_count; i++) {
        buf_append(out, r->headers[i].name);
        buf_append_str(out, ": ");
        append_value(out, r->headers[i].value);
        buf_append_str(out, "\r\n");
    }
}

bool http1_pump_tail(struct http1 *s)
{
    struct buf *out = s->output.out;
    size_t rest = s->tail.len - s->tail_sent;
    size_t room = out->len < HTTP_OUT_HIGH_BYTES ? HTTP_OUT_HIGH_BYTES - out->len : 0;
    size_t n = rest < room ? rest : room;
    buf_append(out, span_of(span_skip(buf_span(&s->tail), s->tail_sent).base, n));
    s->tail_sent += n;
    if (n < rest)
        return false;
    buf_done(&s->tail);
    s->tail_sent = 0;
    return true;
}

/* It is answered. */
static void end_exchange(struct http1 *s, bool ends_connection)
{
    s->is_open = s->is_streaming = s->wants_room = false;
    buf_done(&s->x.body);
    arena_done(&s->x.arena);
    if (ends_connection)
        http1_go(s, HTTP1_OVER);
    else
        http1_go(s, s->state == HTTP1_WAIT ? HTTP1_HEAD : HTTP1_SKIP);
    if (!s->is_feeding)
        s->output.wake(s->output.ctx);
}

/* The connection cannot go on after the answer that begins now. */
static bool must_close(const struct http1 *s, const struct http_response *r)
{
    return r->close || s->service->draining || !s->keep_alive || s->is_eof ||
           s->state == HTTP1_OVER || rest_is_long(s);
}

static void append_connection(struct http1 *s, bool close)
{
    if (close)
        buf_append_str(s->output.out, "connection: close\r\n");
    else if (s->x.head.version == HTTP_1_0)
        buf_append_str(s->output.out, "connection: keep-alive\r\n");
}

static void http1_reply(struct http_exchange *x, const struct http_response *r)
{
    struct http1 *s = container_of(x, struct http1, x);
    struct buf *out = s->output.out;
    size_t body_len = r->owned != NULL ? r->owned->len : r->body.len;
    assert(s->is_open && !s->is_streaming && s->tail.len == 0);

    bool close = must_close(s, r);
    bool has_length = r->status >= 200 && r->status != 204 && r->status != 304;
    s->is_writing = true;

    append_status(s, r->status);
    append_headers(out, r);
    if (has_length) {
        buf_append_str(out, "content-length: ");
        buf_append_u64(out, body_len);
        buf_append_str(out, "\r\n");
    }
    append_connection(s, close);
    buf_append_str(out, "\r\n");
    if (has_length && x->head.method != METHOD_HEAD && r->owned != NULL) {
        buf_move(&s->tail, r->owned);
        http1_pump_tail(s);
    } else if (has_length && x->head.method != METHOD_HEAD) {
        buf_append(out, r->body);
    }

    s->is_writing = false;
    end_exchange(s, close);
}

static int http1_expect(struct http_exchange *x, size_t total)
{
    return total > x->body.max_bytes ? ERR_TOO_BIG : http_body_grow(&x->body, total);
}

/* ---- bodies and answers in pieces ---- */

static void http1_take(struct http_exchange *x, size_t n)
{
    struct http1 *s = container_of(x, struct http1, x);
    bool was_full = http1_room(s) == 0;
    buf_consume(&x->body, n);
    if (was_full && !s->is_feeding)
        s->output.wake(s->output.ctx);
}

#define CHUNK_FRAME_BYTES 20 /* of a chunk (RFC 9112 7.1): sixteen hex digits and two CRLF */

static void append_piece(struct http1 *s, struct span piece)
{
    struct buf *out = s->output.out;
    if (piece.len == 0)
        return; /* as a chunk it would be the last one */
    if (s->is_chunked)
        buf_printf(out, "%zx\r\n", piece.len);
    buf_append(out, piece);
    if (s->is_chunked)
        buf_append_str(out, "\r\n");
    s->length_left -= piece.len < s->length_left ? piece.len : s->length_left;
}

static int http1_stream(struct http_exchange *x, const struct http_response *r)
{
    struct http1 *s = container_of(x, struct http1, x);
    struct buf *out = s->output.out;
    assert(s->is_open && !s->is_streaming);
    if (x->head.method == METHOD_HEAD)
        return ERR_UNSUPPORTED;
    s->is_streaming = s->is_writing = true;
    s->has_length = r->length != NULL;
    s->length_left = r->length != NULL ? *r->length : 0;
    s->is_chunked = !s->has_length && x->head.version == HTTP_1_1;
    s->ends_after = must_close(s, r) || !(s->has_length || s->is_chunked);
    append_status(s, r->status);
    append_headers(out, r);
    if (s->has_length)
        buf_printf(out, "content-length: %llu\r\n", (unsigned long long)s->length_left);
    else if (s->is_chunked)
        buf_append_str(out, "transfer-encoding: chunked\r\n");
    append_connection(s, s->ends_after);
    buf_append_str(out, "\r\n");
    append_piece(s, r->body);
    s->is_writing = false;
    if (!s->is_feeding)
        s->output.wake(s->output.ctx);
    return 0;
}

static int http1_stream_write(struct http_exchange *x, struct span piece)
{
    struct http1 *s = container_of(x, struct http1, x);
    struct buf *out = s->output.out;
    assert(s->is_streaming);
    if (out->len + piece.len + CHUNK_FRAME_BYTES > HTTP_STREAM_BYTES) {
        s->wants_room = s->service->drained != NULL;
        return ERR_FULL;
    }
    s->is_writing = true;
    append_piece(s, piece);
    s->is_writing = false;
    if (!s->is_feeding)
        s->output.wake(s->output.ctx);
    return out->err;
}

static void http1_stream_end(struct http_exchange *x, bool is_whole)
{
    struct http1 *s = container_of(x, struct http1, x);
    assert(s->is_streaming);
    is_whole = is_whole && s->length_left == 0;
    if (is_whole && s->is_chunked)
        buf_append_str(s->output.out, "0\r\n\r\n");
    end_exchange(s, !is_whole || s->ends_after || s->is_eof || rest_is_long(s));
}

const struct http_exchange_ops http1_exchange_ops = {
    .reply = http1_reply,
    .expect = http1_expect,
    .take = http1_take,
    .stream = http1_stream,
    .stream_write = http1_stream_write,
    .stream_end = http1_stream_end,
};

void http1_answer_bare(struct http1 *s, enum http_method method, int status)
{
    assert(!s->is_open);
    s->x = (struct http_exchange){
        .ops = &http1_exchange_ops,
        .head = {.version = HTTP_1_1,
                 .method = method,
                 .origin = head_get(&s->head, HEAD_ORIGIN),
                 .content_type = head_get(&s->head, HEAD_CONTENT_TYPE)},
    };
    s->keep_alive = false;
    s->is_open = true;
    http_answer_bare(s->service, &s->x, status);
    assert(!s->is_open); /* bare() must answer */
}

void http1_refuse_and_close(struct http1 *s, int err)
{
    if (s->is_open && s->is_streaming) { /* it is too late for words */
        s->service->gone(s->service->ctx, &s->x);
        end_exchange(s, true);
    } else if (s->is_open) {
        s->keep_alive = false;
        s->service->refuse(s->service->ctx, &s->x, err);
        assert(!s->is_open); /* refuse() must answer */
    }
    http1_go(s, HTTP1_OVER);
}
