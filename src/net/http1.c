/* http1: llhttp says what the bytes are; this file decides what that means. */
#include <llhttp.h>

#include "net/http1.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

#include "net/http1_state.h"

/* A body's tail at least this long is read straight into place. */
#define LEND_BYTES 16384

/* A connection and its parser. */
struct connection {
    struct http1 s; /* first: the session is all of it */
    llhttp_t parser;
};

static llhttp_t *parser_of(struct http1 *s)
{
    return &container_of(s, struct connection, s)->parser;
}

void http1_go(struct http1 *s, enum http1_state to)
{
    if (s->state == HTTP1_OVER)
        return;
    s->state = to;
    s->since_ms = http1_now_ms(s);
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

static enum http_method method_of(struct http1 *s)
{
    return http_method_of(span_str(llhttp_method_name(llhttp_get_method(parser_of(s)))));
}

static void answer_bare(struct http1 *s, int status)
{
    http1_answer_bare(s, method_of(s), status);
}

/* ---- parser callbacks: they gather and pause, and never call out ---- */

static struct http1 *of(llhttp_t *parser)
{
    return &container_of(parser, struct connection, parser)->s;
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
    if (s->head.bytes.len + len > HTTP_TARGET_BYTES) {
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
    else if (s->x.is_piped || body->len + len <= body->cap || s->x.head.content_length <= 0 ||
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
    uint8_t major = llhttp_get_http_major(parser_of(s)),
            minor = llhttp_get_http_minor(parser_of(s));
    if (major != 1 || minor > 1)
        return major == 0 ? 400 : 505; /* 0.9 is a line without a version */
    s->x.head.version = minor == 0 ? HTTP_1_0 : HTTP_1_1;
    s->x.head.is_encrypted = s->output.is_encrypted;
    s->x.head.peer = s->output.peer;

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
    if (minor == 1 && head_expects_unknown(&s->head))
        return 417;
    struct span authority = {0};
    if (llhttp_get_method(parser_of(s)) != HTTP_CONNECT &&
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

    *x = (struct http_exchange){.ops = &http1_exchange_ops};
    int status = check_head(s);
    if (status != 0) {
        http1_fault(s, HTTP_FAULT_BAD_REQUEST);
        answer_bare(s, status);
        return;
    }
    x->head.method = method_of(s);
    x->body = (struct buf){.max_bytes = service->max_body_bytes, .budget = service->budget};
    arena_init(&x->arena, HTTP_ARENA_BYTES, service->budget);
    x->head.has_body = has_body(s);
    s->prefix_told = false;
    s->is_open = true;
    http1_go(s, HTTP1_BODY);
    metric_inc(&service->requests[x->head.version]);

    service->head(service->ctx, x);
    if (!s->is_open)
        return;
    if (x->is_piped) {
        x->body.max_bytes = 0; /* http1_room() is its limit */
    } else if (x->head.content_length > 0) {
        int rc = (uint64_t)x->head.content_length > service->max_body_bytes ? ERR_TOO_BIG : 0;
        if (rc == 0)
            rc = http_body_grow(&x->body, (size_t)x->head.content_length);
        if (rc < 0) {
            service->refuse(service->ctx, x, rc);
            return;
        }
    }
    if (x->head.has_body && !more_is_here && x->head.version == HTTP_1_1 &&
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
            http1_fault(s, HTTP_FAULT_BAD_REQUEST);
        http1_refuse_and_close(s, rc);
        return;
    }
    int status = s->bad_status != 0 ? s->bad_status : 400;
    /* A capital letter where llhttp knows no method with it: a method that we merely do
     * not know (RFC 9110 9.1), rather than noise. */
    const char *at = llhttp_get_error_pos(parser_of(s));
    if (err == HPE_INVALID_METHOD && at != NULL && *at >= 'A' && *at <= 'Z')
        status = 501;
    http1_fault(s, status == 431 || status == 414 ? HTTP_FAULT_TOO_LARGE : HTTP_FAULT_BAD_REQUEST);
    answer_bare(s, status);
}

/* *used: what the parser took of `in`, all unless it paused. */
static llhttp_errno_t execute(struct http1 *s, struct span in, size_t *used)
{
    llhttp_errno_t err = llhttp_execute(parser_of(s), (const char *)in.base, in.len);
    *used = in.len;
    if (err == HPE_PAUSED) {
        *used = (size_t)((const uint8_t *)llhttp_get_error_pos(parser_of(s)) - in.base);
        llhttp_resume(parser_of(s));
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
        http1_fault(s, HTTP_FAULT_BAD_REQUEST);
        answer_bare(s, status);
        return false;
    }
    if (!head_has(&s->head, HEAD_TRANSFER_ENCODING))
        return true;
    bool is_limited = s->state == HTTP1_BODY && !s->x.is_piped;
    size_t limit = is_limited ? s->service->max_body_bytes : SIZE_MAX, feed = 0;
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
    if (in.len > http1_room(s))
        in.len = http1_room(s);
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
            s->since_ms = http1_now_ms(s); /* the head's deadline runs from its first byte */
        s->head_bytes += used;
        if (!head_bytes_are_clean(s, span_of(in.base, used))) {
            http1_fault(s, HTTP_FAULT_BAD_REQUEST);
            answer_bare(s, 400);
        } else if (!s->head_done && s->head_bytes >= s->service->max_head_bytes) {
            http1_fault(s, HTTP_FAULT_TOO_LARGE);
            answer_bare(s, 431);
        }
        return used;
    }
    s->raw_bytes += used;
    if (s->raw_bytes - s->body_bytes > CHUNKED_EXTRA_BYTES + HTTP_FRAMING_RATIO * s->body_bytes) {
        http1_fault(s, HTTP_FAULT_BAD_REQUEST);
        http1_refuse_and_close(s, ERR_MALFORMED);
    } else if (s->state == HTTP1_SKIP && s->raw_bytes - s->skip_from > HTTP_SKIP_BYTES) {
        http1_go(s, HTTP1_OVER);
    } else if (s->is_open && s->x.is_piped) {
        if (s->body_bytes != body_before)
            s->service->piece(s->service->ctx, &s->x);
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

    if (!http1_pump_tail(s))
        return 0;
    s->is_feeding = true;
    while (s->state != HTTP1_OVER && s->state != HTTP1_WAIT && http1_room(s) > 0 &&
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
    if (s->wants_room && s->output.out->len < HTTP_OUT_HIGH_BYTES) {
        s->wants_room = false;
        s->service->drained(s->service->ctx, &s->x);
    }
    s->is_feeding = false;
    /* After the last request, discard input and keep reading, or the peer's close would go
     * unseen. */
    bool is_last = s->is_streaming && s->ends_after && s->state == HTTP1_WAIT;
    return s->state == HTTP1_OVER || is_last ? in.len : used;
}

static uint8_t *http1_lend(void *session, size_t *len)
{
    struct http1 *s = session;
    struct buf *body = &s->x.body;
    if (s->state != HTTP1_BODY || s->x.head.content_length <= 0 || s->x.is_piped)
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
    if (s->state != HTTP1_WAIT || s->x.ends_with_peer ||
        (s->is_streaming && !s->has_length)) /* who half-closes does not read one without an end */
        http1_go(s, HTTP1_OVER);
}

static void http1_tick(void *session)
{
    struct http1 *s = session;
    const struct http_service *service = s->service;
    uint64_t now = http1_now_ms(s), waited_ms = now - s->since_ms;

    s->is_feeding = true;
    switch (s->state) {
    case HTTP1_HEAD:
        if (s->head_bytes > 0 && waited_ms > service->head_timeout_ms) {
            http1_fault(s, HTTP_FAULT_TIMEOUT);
            answer_bare(s, 408);
        } else if (s->head_bytes == 0 && waited_ms > service->idle_timeout_ms) {
            http1_go(s, HTTP1_OVER);
        }
        break;
    case HTTP1_BODY:
    case HTTP1_SKIP:
        if (s->is_open && s->x.is_piped && s->x.body.len > 0) /* it waits for us */
            s->progress = (struct http_progress){now, s->body_bytes};
        if (http_body_is_slow(service, &s->progress, now, s->body_bytes)) {
            http1_fault(s, HTTP_FAULT_TIMEOUT);
            http1_refuse_and_close(s, UV_ETIMEDOUT);
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
    if (s->state != HTTP1_BODY || s->x.body.cap == 0 || s->is_writing ||
        now - s->since_ms < HTTP_BODY_YOUNG_MS)
        return false;
    *out = (struct http_slow){(struct http_exchange *)(uintptr_t)&s->x,
                              1000.0 * (double)s->body_bytes / (double)(now - s->since_ms)};
    return true;
}

static void http1_evict(void *session, struct http_exchange *x)
{
    struct http1 *s = session;
    (void)x;
    http1_refuse_and_close(s, ERR_FULL);
    s->output.wake(s->output.ctx);
}

static void http1_free(void *session)
{
    struct http1 *s = session;
    if (s->is_open) {
        s->is_open = false;
        if (!s->is_streaming || s->has_length) /* else it is how the peer ends it */
            http1_fault(s, HTTP_FAULT_ABORTED);
        s->service->gone(s->service->ctx, &s->x);
        buf_done(&s->x.body);
        arena_done(&s->x.arena);
    }
    head_done(&s->head);
    buf_done(&s->tail);
    budget_give(s->service->overhead, sizeof(struct connection));
    free(container_of(s, struct connection, s));
}

static uint64_t http1_held_kib_ms(const void *session, uint64_t now)
{
    const struct http1 *s = session;
    bool has_begun = s->state == HTTP1_BODY || (s->state == HTTP1_HEAD && s->head_bytes > 0);
    bool waits_for_us = s->is_feeding || (s->x.is_piped && s->x.body.len > 0);
    return has_begun && !waits_for_us ? (now - s->since_ms) * (1 + s->head.bytes.cap / 1024) : 0;
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
    .held_kib_ms = http1_held_kib_ms,
    .is_waiting = http1_is_waiting,
    .is_idle = http1_is_idle,
    .is_over = http1_is_over,
};

struct http1 *http1_new(struct http_service *service, struct http_output output)
{
    if (budget_take(service->overhead, sizeof(struct connection)) < 0)
        return NULL;
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        budget_give(service->overhead, sizeof *c);
        return NULL;
    }
    struct http1 *s = &c->s;
    s->service = service;
    s->output = output;
    s->since_ms = http1_now_ms(s);
    head_init(&s->head, service->max_head_bytes, service->overhead, service->passes_on);
    llhttp_init(&c->parser, HTTP_REQUEST, settings());
    return s;
}
