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

static void http1_reply(struct http_exchange *x, const struct http_response *r)
{
    struct http1 *s = container_of(x, struct http1, x);
    struct buf *out = s->output.out;
    size_t body_len = r->owned != NULL ? r->owned->len : r->body.len;
    assert(s->is_open && !s->is_streaming && s->tail.len == 0);

    bool close = r->close || s->service->draining || !s->keep_alive || s->is_eof ||
                 s->state == HTTP1_OVER || rest_is_long(s);
    bool has_length = r->status >= 200 && r->status != 204 && r->status != 304;

    append_status(s, r->status);
    append_headers(out, r);
    if (has_length) {
        buf_append_str(out, "content-length: ");
        buf_append_u64(out, body_len);
        buf_append_str(out, "\r\n");
    }
    if (close)
        buf_append_str(out, "connection: close\r\n");
    else if (x->head.version == HTTP_1_0)
        buf_append_str(out, "connection: keep-alive\r\n");
    buf_append_str(out, "\r\n");
    if (has_length && x->head.method != METHOD_HEAD && r->owned != NULL) {
        buf_move(&s->tail, r->owned);
        http1_pump_tail(s);
    } else if (has_length && x->head.method != METHOD_HEAD) {
        buf_append(out, r->body);
    }

    s->is_open = false;
    buf_done(&x->body);
    arena_done(&x->arena);
    if (close)
        http1_go(s, HTTP1_OVER);
    else
        http1_go(s, s->state == HTTP1_WAIT ? HTTP1_HEAD : HTTP1_SKIP);
    if (!s->is_feeding)
        s->output.wake(s->output.ctx);
}

static int http1_expect(struct http_exchange *x, size_t total)
{
    return total > x->body.max_bytes ? ERR_TOO_BIG : http_body_grow(&x->body, total);
}

/* ---- answers that stay open: chunks (RFC 9112 7.1) ---- */

#define CHUNK_FRAME_BYTES 20 /* of a chunk: sixteen hex digits and two CRLF */

static void append_chunk(struct buf *out, struct span piece)
{
    if (piece.len == 0)
        return; /* it would be the last one */
    buf_printf(out, "%zx\r\n", piece.len);
    buf_append(out, piece);
    buf_append_str(out, "\r\n");
}

static int http1_stream(struct http_exchange *x, const struct http_response *r)
{
    struct http1 *s = container_of(x, struct http1, x);
    struct buf *out = s->output.out;
    assert(s->is_open && !s->is_streaming && s->state == HTTP1_WAIT);
    if (x->head.version != HTTP_1_1 || x->head.method == METHOD_HEAD)
        return ERR_UNSUPPORTED;
    append_status(s, r->status);
    append_headers(out, r);
    buf_append_str(out, "transfer-encoding: chunked\r\nconnection: close\r\n\r\n");
    append_chunk(out, r->body);
    s->is_streaming = true;
    if (!s->is_feeding)
        s->output.wake(s->output.ctx);
    return 0;
}

static int http1_stream_write(struct http_exchange *x, struct span piece)
{
    struct http1 *s = container_of(x, struct http1, x);
    struct buf *out = s->output.out;
    assert(s->is_streaming);
    if (out->len + piece.len + CHUNK_FRAME_BYTES > HTTP_STREAM_BYTES)
        return ERR_FULL;
    append_chunk(out, piece);
    if (!s->is_feeding)
        s->output.wake(s->output.ctx);
    return out->err;
}

static void http1_stream_end(struct http_exchange *x)
{
    struct http1 *s = container_of(x, struct http1, x);
    assert(s->is_streaming);
    buf_append_str(s->output.out, "0\r\n\r\n");
    s->is_open = s->is_streaming = false;
    buf_done(&x->body);
    arena_done(&x->arena);
    http1_go(s, HTTP1_OVER);
    if (!s->is_feeding)
        s->output.wake(s->output.ctx);
}

const struct http_exchange_ops http1_exchange_ops = {
    .reply = http1_reply,
    .expect = http1_expect,
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
    if (s->is_open) {
        s->keep_alive = false;
        s->service->refuse(s->service->ctx, &s->x, err);
        assert(!s->is_open); /* refuse() must answer */
    }
    http1_go(s, HTTP1_OVER);
}
