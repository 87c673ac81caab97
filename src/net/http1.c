/* http1: llhttp says what the bytes are; this file decides what that means. */
#include <llhttp.h>

#include "net/http1.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

#include "net/head.h"
#include "net/http1_framing.h"

/* 8,000 bytes of request line must work (RFC 9112 3); beyond 8 KiB a target is 414. */
#define TARGET_BYTES 8192

/* What all framing of a chunked body may cost: chunks of one byte have five
 * bytes of frame each, so 8 for 1 lets every honest client through. */
#define FRAMING_RATIO 8

/* A body's tail at least this long is read straight into place. */
#define LEND_BYTES 16384

/*
 *     HEAD -> BODY -> WAIT -> HEAD        the handler answers a whole request
 *               |
 *               +---> SKIP -> HEAD        it answered early: throw the rest away
 *
 * Any state may go to OVER, and nothing leaves OVER.
 */
enum http1_state {
    HTTP1_HEAD, /* between requests, or inside a head */
    HTTP1_BODY, /* exchange open, body arriving */
    HTTP1_WAIT, /* exchange open, body complete: the handler's turn */
    HTTP1_SKIP, /* exchange answered, the rest of its body is thrown away */
    HTTP1_OVER,
};

struct http1 {
    struct http_service *service;
    struct http_output output;
    enum http1_state state;
    bool is_open;                 /* x has been shown to the handler and has no answer yet */
    bool is_streaming;            /* or its answer has begun and not ended */
    bool is_feeding;              /* inside feed(): no need to wake anybody */
    bool is_eof;                  /* the peer has sent all it will */
    bool keep_alive;              /* what the request said */
    bool head_done, message_done; /* what the parser just paused for */
    bool prefix_told;
    uint8_t last_byte;             /* of the head so far, to see folds and bare CR or LF */
    int bad_status;                /* the status that a parser callback wants */
    int body_err;                  /* why on_body() gave up */
    size_t head_bytes;             /* raw, of the head in hand */
    size_t raw_bytes;              /* of the body in hand with its framing */
    size_t body_bytes;             /* of the body in hand without it */
    size_t skip_from;              /* raw_bytes when SKIP began */
    uint64_t since_ms;             /* when the present wait for the peer began */
    struct http_progress progress; /* of the body */
    struct buf tail;               /* the body of an answer that did not fit `out` */
    size_t tail_sent;
    bool in_fields; /* of the head in hand: behind its first line */
    struct request_line line;
    struct chunked chunked;
    struct http_date_cache date;
    struct head head;
    struct http_exchange x;
    llhttp_t parser;
};

static uint64_t now_ms(const struct http1 *s)
{
    return clock_now_ms(s->service->clock);
}

/* The only writer of s->state. */
static void http1_go(struct http1 *s, enum http1_state to)
{
    if (s->state == HTTP1_OVER)
        return;
    s->state = to;
    s->since_ms = now_ms(s);
    s->progress = (struct http_progress){s->since_ms, s->body_bytes};
    if (to == HTTP1_SKIP)
        s->skip_from = s->raw_bytes;
    if (to == HTTP1_HEAD) {
        s->head_bytes = s->raw_bytes = s->body_bytes = 0;
        s->last_byte = 0;
        s->in_fields = false;
        s->line = (struct request_line){0};
        s->chunked = (struct chunked){0};
        head_clear(&s->head);
    }
}

static void fault(struct http1 *s, enum http_fault f)
{
    metric_inc(&s->service->faults[f]);
}

/* ---- answers ---- */

/* Header values may hold a peer's words: no byte of them may end the line. */
static void append_value(struct buf *out, struct span value)
{
    size_t at = out->len;
    buf_append(out, value);
    for (; at < out->len; at++)
        if ((out->base[at] < ' ' && out->base[at] != '\t') || out->base[at] == 0x7f)
            out->base[at] = '?';
}

static void append_status(struct http1 *s, int status)
{
    buf_printf(s->output.out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http_reason(status),
               http_date_at(&s->date, clock_unix_ns(s->service->clock)));
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

/* More of a long body into `out`. False: some is still left. */
static bool pump_tail(struct http1 *s)
{
    struct buf *out = s->output.out;
    size_t rest = s->tail.len - s->tail_sent;
    size_t room = out->len < HTTP_OUT_HIGH_BYTES ? HTTP_OUT_HIGH_BYTES - out->len : 0;
    size_t n = rest < room ? rest : room;
    buf_append(out, span_of(s->tail.base + s->tail_sent, n));
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
    if (has_length)
        buf_printf(out, "content-length: %zu\r\n", body_len);
    if (close)
        buf_append_str(out, "connection: close\r\n");
    else if (x->head.version == HTTP_1_0)
        buf_append_str(out, "connection: keep-alive\r\n");
    buf_append_str(out, "\r\n");
    if (has_length && x->head.method != METHOD_HEAD && r->owned != NULL) {
        buf_move(&s->tail, r->owned);
        pump_tail(s);
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

static const struct http_exchange_ops exchange_ops = {
    .reply = http1_reply,
    .expect = http1_expect,
    .stream = http1_stream,
    .stream_write = http1_stream_write,
    .stream_end = http1_stream_end,
};

/* An answer to what is no request, of whose head some may have been read; the connection ends with
 * it. */
static void answer_bare(struct http1 *s, int status)
{
    struct span method = span_str(llhttp_method_name(llhttp_get_method(&s->parser)));
    assert(!s->is_open);
    s->x = (struct http_exchange){
        .ops = &exchange_ops,
        .head = {.version = HTTP_1_1,
                 .method = http_method_of(method),
                 .origin = head_get(&s->head, HEAD_ORIGIN),
                 .content_type = head_get(&s->head, HEAD_CONTENT_TYPE)},
    };
    s->keep_alive = false;
    s->is_open = true;
    http_answer_bare(s->service, &s->x, status);
    assert(!s->is_open); /* bare() must answer */
}

/* The service words the refusal; the connection ends with it. */
static void refuse_and_close(struct http1 *s, int err)
{
    if (s->is_open) {
        s->keep_alive = false;
        s->service->refuse(s->service->ctx, &s->x, err);
        assert(!s->is_open); /* refuse() must answer */
    }
    http1_go(s, HTTP1_OVER);
}

/* ---- parser callbacks: they gather and pause, and never call out ---- */

static struct http1 *of(llhttp_t *parser)
{
    return container_of(parser, struct http1, parser);
}

static int gather(struct http1 *s, const char *at, size_t len)
{
    if (s->state != HTTP1_HEAD) /* a trailer field: ignored (RFC 9110 6.5.1) */
        return HPE_OK;
    buf_append(&s->head.bytes, span_of(at, len));
    if (s->head.bytes.err == 0)
        return HPE_OK;
    s->bad_status = s->head.bytes.err == ERR_TOO_BIG ? 431 : 503;
    return HPE_USER;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct http1 *s = of(parser);
    if (s->head.bytes.len + len > TARGET_BYTES) {
        s->bad_status = 414;
        return HPE_USER;
    }
    return gather(s, at, len);
}

static int on_url_complete(llhttp_t *parser)
{
    struct http1 *s = of(parser);
    head_mark(&s->head, HEAD_PATH, 0);
    s->head.name_at = s->head.bytes.len;
    return HPE_OK;
}

static int on_name(llhttp_t *parser, const char *at, size_t len)
{
    of(parser)->in_fields = true;
    return gather(of(parser), at, len);
}

static int on_name_complete(llhttp_t *parser)
{
    struct http1 *s = of(parser);
    s->head.value_at = s->head.bytes.len;
    return HPE_OK;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    return gather(of(parser), at, len);
}

static int on_value_complete(llhttp_t *parser)
{
    struct http1 *s = of(parser);
    if (s->state != HTTP1_HEAD)
        return HPE_OK;
    int rc = head_field(&s->head);
    s->head.name_at = s->head.bytes.len;
    if (rc == 0)
        return HPE_OK;
    s->bad_status = rc == ERR_MALFORMED ? 400 : rc == ERR_TOO_BIG ? 431 : 503;
    return HPE_USER;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http1 *s = of(parser);
    s->keep_alive = llhttp_should_keep_alive(parser) && parser->method != HTTP_CONNECT;
    parser->upgrade = 0; /* an Upgrade is ignored: go on in HTTP/1.1 (RFC 9110 7.8) */
    s->head_done = true;
    return HPE_PAUSED;
}

/* The parser and the look at the raw bytes must see the same chunks. */
static int on_chunk_header(llhttp_t *parser)
{
    return parser->content_length == of(parser)->chunked.announced ? HPE_OK : HPE_USER;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct http1 *s = of(parser);
    s->body_bytes += len;
    if (!s->is_open)
        return HPE_OK;

    struct buf *body = &s->x.body;
    if (body->base != NULL && (const uint8_t *)at == body->base + body->len &&
        len <= body->cap - body->len)
        body->len += len; /* it was read into place: see http1_lend() */
    else if (body->len + len <= body->cap || s->x.head.content_length <= 0 ||
             http_body_grow(body, (size_t)s->x.head.content_length) == 0)
        buf_append(body, span_of(at, len));
    s->body_err = body->err;
    return s->body_err == 0 ? HPE_OK : HPE_USER;
}

static int on_message_complete(llhttp_t *parser)
{
    of(parser)->message_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t *settings(void)
{
    static const llhttp_settings_t table = {
        .on_url = on_url,
        .on_url_complete = on_url_complete,
        .on_header_field = on_name,
        .on_header_field_complete = on_name_complete,
        .on_header_value = on_value,
        .on_header_value_complete = on_value_complete,
        .on_headers_complete = on_headers_complete,
        .on_chunk_header = on_chunk_header,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    return &table;
}

/* ---- the request ---- */

/* What llhttp leaves to its user, and what we do not want to depend on its
 * version for. 0 or the status of the refusal. */
static int check_head(struct http1 *s)
{
    uint8_t major = llhttp_get_http_major(&s->parser), minor = llhttp_get_http_minor(&s->parser);
    if (major != 1 || minor > 1)
        return major == 0 ? 400 : 505; /* 0.9 is a line without a version */
    s->x.head.version = minor == 0 ? HTTP_1_0 : HTTP_1_1;

    if (minor == 1 && !head_has(&s->head, HEAD_HOST))
        return 400; /* RFC 9112 3.2 */
    if (head_has(&s->head, HEAD_TRANSFER_ENCODING)) {
        if (minor == 0 || head_has(&s->head, HEAD_CONTENT_LENGTH))
            return 400; /* RFC 9112 6.1 */
        if (!span_ieq(head_get(&s->head, HEAD_TRANSFER_ENCODING), SPAN("chunked")))
            return 400; /* 6.3 item 4; other transfer codings are not supported */
    }
    if (head_finish(&s->head, &s->x.head) < 0)
        return 400;
    struct span authority = {0};
    if (llhttp_get_method(&s->parser) != HTTP_CONNECT &&
        http_target_authority(head_get(&s->head, HEAD_PATH), &authority) < 0)
        return 400;
    if (authority.base != NULL)
        s->x.head.host = authority; /* whatever Host says (3.2.2) */
    return 0;
}

static bool has_body(const struct http1 *s)
{
    return s->x.head.content_length > 0 || head_has(&s->head, HEAD_TRANSFER_ENCODING);
}

static void begin_exchange(struct http1 *s, bool more_is_here)
{
    struct http_service *service = s->service;
    struct http_exchange *x = &s->x;

    *x = (struct http_exchange){.ops = &exchange_ops};
    int status = check_head(s);
    if (status != 0) {
        fault(s, HTTP_FAULT_BAD_REQUEST);
        answer_bare(s, status);
        return;
    }
    struct span method = span_str(llhttp_method_name(llhttp_get_method(&s->parser)));
    x->head.method = http_method_of(method);
    x->body = (struct buf){.max_bytes = service->max_body_bytes, .budget = service->budget};
    arena_init(&x->arena, HTTP_ARENA_BYTES, service->budget);
    s->prefix_told = false;
    s->is_open = true;
    http1_go(s, HTTP1_BODY);
    metric_inc(&service->requests[x->head.version]);

    service->head(service->ctx, x);
    if (!s->is_open)
        return;
    if (x->head.content_length > 0) {
        int rc = (uint64_t)x->head.content_length > service->max_body_bytes ? ERR_TOO_BIG : 0;
        if (rc == 0)
            rc = http_body_grow(&x->body, (size_t)x->head.content_length);
        if (rc < 0) {
            service->refuse(service->ctx, x, rc);
            return;
        }
    }
    if (has_body(s) && !more_is_here && x->head.version == HTTP_1_1 &&
        span_ieq(head_get(&s->head, HEAD_EXPECT), SPAN("100-continue")))
        buf_append_str(s->output.out, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void end_message(struct http1 *s)
{
    if (s->state == HTTP1_SKIP) {
        http1_go(s, HTTP1_HEAD);
        return;
    }
    assert(s->state == HTTP1_BODY && s->is_open);
    http1_go(s, HTTP1_WAIT);
    s->service->request(s->service->ctx, &s->x);
}

/* CR and LF only as pairs, no NUL, and no line that begins with a blank: the
 * fold of RFC 9112 5.2, or white space before the first field (2.2). */
static bool head_bytes_are_clean(struct http1 *s, struct span in)
{
    uint8_t last = s->last_byte;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.base[i];
        if (c == 0 || (last == '\r') != (c == '\n') || (last == '\n' && (c == ' ' || c == '\t')))
            return false;
        last = c;
    }
    s->last_byte = last;
    return true;
}

/* The parser gave up, or one of its callbacks did. */
static void end_by_error(struct http1 *s, llhttp_errno_t err)
{
    if (s->state != HTTP1_HEAD) {
        int rc = s->body_err != 0 ? s->body_err : ERR_MALFORMED;
        if (rc == ERR_MALFORMED)
            fault(s, HTTP_FAULT_BAD_REQUEST);
        refuse_and_close(s, rc);
        return;
    }
    int status = s->bad_status != 0 ? s->bad_status : 400;
    /* A capital letter where llhttp knows no method with it: a method that we merely do
     * not know (RFC 9110 9.1), rather than noise. */
    const char *at = llhttp_get_error_pos(&s->parser);
    if (err == HPE_INVALID_METHOD && at != NULL && *at >= 'A' && *at <= 'Z')
        status = 501;
    fault(s, status == 431 || status == 414 ? HTTP_FAULT_TOO_LARGE : HTTP_FAULT_BAD_REQUEST);
    answer_bare(s, status);
}

/* *used: what the parser took of `in`, all unless it paused. */
static llhttp_errno_t execute(struct http1 *s, struct span in, size_t *used)
{
    llhttp_errno_t err = llhttp_execute(&s->parser, (const char *)in.base, in.len);
    *used = in.len;
    if (err == HPE_PAUSED) {
        *used = (size_t)((const uint8_t *)llhttp_get_error_pos(&s->parser) - in.base);
        llhttp_resume(&s->parser);
    }
    return err;
}

/* A tab around a value is as good as a space (RFC 9110 5.6.3), and the parser refuses it around
 * those that frame the body: it is shown a space. */
static llhttp_errno_t execute_head(struct http1 *s, struct span in, size_t *used)
{
    llhttp_errno_t err = HPE_OK;
    size_t n = 0;
    *used = 0;
    while (err == HPE_OK && *used < in.len) {
        struct span rest = span_skip(in, *used);
        const uint8_t *tab = memchr(rest.base, '\t', rest.len);
        if (tab == rest.base && s->in_fields) {
            err = execute(s, SPAN(" "), &n);
            *used += 1;
            continue;
        }
        if (tab == rest.base)
            tab = NULL; /* in the first line it is not to be there */
        err =
            execute(s, span_of(rest.base, tab != NULL ? (size_t)(tab - rest.base) : rest.len), &n);
        *used += n;
    }
    return err;
}

/* Before the parser sees it. False: the request has been refused. */
static bool check_raw(struct http1 *s, struct span *in, size_t *skip)
{
    if (s->state == HTTP1_HEAD) {
        int status = request_line_check(&s->line, *in);
        if (status == 0)
            return true;
        fault(s, HTTP_FAULT_BAD_REQUEST);
        answer_bare(s, status);
        return false;
    }
    if (!head_has(&s->head, HEAD_TRANSFER_ENCODING))
        return true;
    size_t limit = s->state == HTTP1_BODY ? s->service->max_body_bytes : SIZE_MAX, feed = 0;
    int rc = chunked_scan(&s->chunked, *in, limit - s->body_bytes, &feed, skip);
    if (rc < 0) {
        s->body_err = rc;
        end_by_error(s, HPE_USER);
        return false;
    }
    in->len = feed;
    return true;
}

/* Let the parser see `in`; returns how much of it is done with. */
static size_t parse(struct http1 *s, struct span in)
{
    bool in_head = s->state == HTTP1_HEAD;
    size_t body_before = s->body_bytes;

    if (in_head && in.len > s->service->max_head_bytes - s->head_bytes)
        in.len = s->service->max_head_bytes - s->head_bytes;
    s->head_done = s->message_done = false;

    size_t offered = in.len, skip = 0, used;
    if (!check_raw(s, &in, &skip))
        return offered;
    llhttp_errno_t err = in_head ? execute_head(s, in, &used) : execute(s, in, &used);
    if (err != HPE_OK && err != HPE_PAUSED) {
        end_by_error(s, err);
        return offered;
    }
    used += skip;

    if (in_head) {
        if (s->head_bytes == 0 && used > 0)
            s->since_ms = now_ms(s); /* the head's deadline runs from its first byte */
        s->head_bytes += used;
        if (!head_bytes_are_clean(s, span_of(in.base, used))) {
            fault(s, HTTP_FAULT_BAD_REQUEST);
            answer_bare(s, 400);
        } else if (!s->head_done && s->head_bytes >= s->service->max_head_bytes) {
            fault(s, HTTP_FAULT_TOO_LARGE);
            answer_bare(s, 431);
        }
        return used;
    }
    s->raw_bytes += used;
    if (s->raw_bytes - s->body_bytes > CHUNKED_EXTRA_BYTES + FRAMING_RATIO * s->body_bytes) {
        fault(s, HTTP_FAULT_BAD_REQUEST);
        refuse_and_close(s, ERR_MALFORMED);
    } else if (s->state == HTTP1_SKIP && s->raw_bytes - s->skip_from > HTTP_SKIP_BYTES) {
        http1_go(s, HTTP1_OVER);
    } else if (s->is_open && !s->prefix_told && s->x.prefix_bytes > 0 &&
               s->body_bytes != body_before && s->x.body.len >= s->x.prefix_bytes) {
        s->prefix_told = true;
        s->service->prefix(s->service->ctx, &s->x);
    }
    return used;
}

static size_t http1_feed(void *session, struct span in)
{
    struct http1 *s = session;
    size_t used = 0;

    if (!pump_tail(s))
        return 0;
    s->is_feeding = true;
    while (s->state != HTTP1_OVER && s->state != HTTP1_WAIT &&
           s->output.out->len < HTTP_OUT_HIGH_BYTES && s->tail.len == 0 && used < in.len) {
        do {
            used += parse(s, span_skip(in, used));
            if (s->state == HTTP1_OVER)
                break;
            bool head_done = s->head_done, message_done = s->message_done;
            if (head_done)
                begin_exchange(s, used < in.len);
            else if (message_done)
                end_message(s);
            /* After a head without a body the parser has to be asked once more,
             * though no byte is left: its end is an event of its own. */
            if (!head_done)
                break;
        } while (s->state != HTTP1_OVER);
    }
    s->is_feeding = false;
    /* After the last response, discard input and keep reading, or the peer's close would go
     * unseen. */
    return s->state == HTTP1_OVER || s->is_streaming ? in.len : used;
}

static uint8_t *http1_lend(void *session, size_t *len)
{
    struct http1 *s = session;
    struct buf *body = &s->x.body;
    if (s->state != HTTP1_BODY || s->x.head.content_length <= 0)
        return NULL;
    size_t rest = (size_t)s->x.head.content_length - s->body_bytes;
    if (rest < LEND_BYTES)
        return NULL;
    if (body->cap - body->len < LEND_BYTES &&
        http_body_grow(body, (size_t)s->x.head.content_length) < 0)
        body->err = 0; /* on_body() asks again, and refuses */
    size_t room = body->cap - body->len;
    if (room < LEND_BYTES)
        return NULL;
    *len = room < rest ? room : rest;
    return body->base + body->len;
}

static void http1_eof(void *session)
{
    struct http1 *s = session;
    s->is_eof = true;
    if (s->state != HTTP1_WAIT ||
        s->is_streaming) /* a client that half-closes does not read a stream */
        http1_go(s, HTTP1_OVER);
}

static void http1_tick(void *session)
{
    struct http1 *s = session;
    const struct http_service *service = s->service;
    uint64_t now = now_ms(s), waited_ms = now - s->since_ms;

    s->is_feeding = true;
    switch (s->state) {
    case HTTP1_HEAD:
        if (s->head_bytes > 0 && waited_ms > service->head_timeout_ms) {
            fault(s, HTTP_FAULT_TIMEOUT);
            answer_bare(s, 408);
        } else if (s->head_bytes == 0 && waited_ms > service->idle_timeout_ms) {
            http1_go(s, HTTP1_OVER);
        }
        break;
    case HTTP1_BODY:
    case HTTP1_SKIP:
        if (http_body_is_slow(service, &s->progress, now, s->body_bytes)) {
            fault(s, HTTP_FAULT_TIMEOUT);
            refuse_and_close(s, UV_ETIMEDOUT);
        }
        break;
    case HTTP1_WAIT: /* the handler's own affair */
    case HTTP1_OVER:
        break;
    }
    s->is_feeding = false;
}

static bool http1_slowest(const void *session, uint64_t now, struct http_slow *out)
{
    const struct http1 *s = session;
    if (s->state != HTTP1_BODY || s->x.body.cap == 0 || now - s->since_ms < HTTP_BODY_YOUNG_MS)
        return false;
    *out = (struct http_slow){(struct http_exchange *)(uintptr_t)&s->x,
                              1000.0 * (double)s->body_bytes / (double)(now - s->since_ms)};
    return true;
}

static void http1_evict(void *session, struct http_exchange *x)
{
    struct http1 *s = session;
    (void)x;
    refuse_and_close(s, ERR_FULL);
    s->output.wake(s->output.ctx);
}

static void http1_free(void *session)
{
    struct http1 *s = session;
    if (s->is_open) {
        s->is_open = false;
        if (!s->is_streaming) /* there it is how the peer ends it */
            fault(s, HTTP_FAULT_ABORTED);
        s->service->gone(s->service->ctx, &s->x);
        buf_done(&s->x.body);
        arena_done(&s->x.arena);
    }
    head_done(&s->head);
    buf_done(&s->tail);
    budget_give(s->service->overhead, sizeof *s);
    free(s);
}

static bool http1_is_waiting(const void *session)
{
    return ((const struct http1 *)session)->is_open;
}

static bool http1_is_idle(const void *session)
{
    const struct http1 *s = session;
    return s->tail.len == 0 &&
           (s->state == HTTP1_OVER || (s->state == HTTP1_HEAD && s->head_bytes == 0));
}

static bool http1_is_over(const void *session)
{
    const struct http1 *s = session;
    return s->state == HTTP1_OVER && s->tail.len == 0;
}

const struct http_session_ops http1_ops = {
    .feed = http1_feed,
    .lend = http1_lend,
    .eof = http1_eof,
    .tick = http1_tick,
    .free = http1_free,
    .slowest = http1_slowest,
    .evict = http1_evict,
    .is_waiting = http1_is_waiting,
    .is_idle = http1_is_idle,
    .is_over = http1_is_over,
};

struct http1 *http1_new(struct http_service *service, struct http_output output)
{
    if (budget_take(service->overhead, sizeof(struct http1)) < 0)
        return NULL;
    struct http1 *s = calloc(1, sizeof *s);
    if (s == NULL) {
        budget_give(service->overhead, sizeof *s);
        return NULL;
    }
    s->service = service;
    s->output = output;
    s->since_ms = now_ms(s);
    head_init(&s->head, service->max_head_bytes, service->overhead);
    llhttp_init(&s->parser, HTTP_REQUEST, settings());
    return s;
}
