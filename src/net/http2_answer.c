/* http2_answer: answers as nghttp2 takes them: a header list, a body as it is asked for, trailers.
 */
#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "net/http2_state.h"

/* With :status, date and content-length. */
#define HEADERS_MAX (HTTP_ANSWER_FIELDS_MAX + 3)

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
    const uint8_t *at = st->is_streaming ? st->end.base : st->answer.base + st->body_len;
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
    if (st->is_aborted)
        return NGHTTP2_ERR_DEFERRED; /* it is reset in a moment */
    size_t n = st->body_len - st->body_sent;
    if (n > len)
        n = len;
    if (n > 0)
        memcpy(to, st->answer.base + st->body_sent, n);
    st->body_sent += n;
    st->since_ms = http2_now_ms(s); /* its deadline is for a stall, not for the whole */
    if (st->is_streaming && !st->is_ended && st->body_sent == st->body_len) {
        buf_clear(&st->answer);
        st->body_len = st->body_sent = 0;
        return n > 0 ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
    }
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
    struct buf *to = st->is_streaming ? &st->end : &st->answer;
    for (size_t i = 0; i < r->trailer_count && i < TRAILERS_MAX; i++) {
        st->trailers[i].name_len = (uint16_t)r->trailers[i].name.len;
        st->trailers[i].value_len = r->trailers[i].value.len;
        st->trailer_count = i + 1;
        buf_append(to, r->trailers[i].name);
        buf_append(to, r->trailers[i].value);
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
    if (st->has_length || (r->trailer_count == 0 && body_len > 0 && !st->is_streaming)) {
        snprintf(length, sizeof length, "%llu",
                 (unsigned long long)(st->has_length ? *r->length : body_len));
        fields[count++] = nv(SPAN("content-length"), span_str(length));
    }

    st->is_answered = true;
    st->since_ms = http2_now_ms(s);
    bool has_data = !is_head && (body_len > 0 || r->trailer_count > 0 || st->is_streaming);
    if (has_data)
        keep_answer(st, r);
    nghttp2_data_provider provider = {.source = {.ptr = st}, .read_callback = read_answer};
    if (st->answer.err != 0 || st->end.err != 0 ||
        nghttp2_submit_response(s->session, st->id, fields, count, has_data ? &provider : NULL) !=
            0)
        nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
}

void http2_end_exchange(struct stream2 *st)
{
    struct http2 *s = st->owner;
    s->endless_count -= http2_is_endless(st);
    s->full_count -= st->wants_room;
    st->wants_room = st->is_open = false;
    st->is_ended = st->is_streaming;
    buf_done(&st->x.body);
    arena_done(&st->x.arena);
}

/* Whatever asks for memory may make others give theirs: not this session, until leave(). */
static bool enter(struct http2 *s)
{
    bool was_feeding = s->is_feeding;
    s->is_feeding = true;
    return was_feeding;
}

/* May free streams. */
static void leave(struct http2 *s, bool was_feeding)
{
    s->is_feeding = was_feeding;
    http2_pump_late(s);
}

static void http2_reply(struct http_exchange *x, const struct http_response *r)
{
    struct stream2 *st = container_of(x, struct stream2, x);
    struct http2 *s = st->owner;
    assert(st->is_open);
    bool was_feeding = enter(s);
    submit(s, st, r, x->head.method == METHOD_HEAD);
    http2_end_exchange(st);
    head_clear(&st->head);
    leave(s, was_feeding);
}

static int http2_expect(struct http_exchange *x, size_t total)
{
    return total > x->body.max_bytes ? ERR_TOO_BIG : http_body_grow(&x->body, total);
}

/* ---- bodies and answers in pieces ---- */

static void http2_take(struct http_exchange *x, size_t n)
{
    struct stream2 *st = container_of(x, struct stream2, x);
    struct http2 *s = st->owner;
    bool was_feeding = enter(s);
    buf_consume(&x->body, n);
    nghttp2_session_consume_stream(s->session, st->id, n);
    leave(s, was_feeding);
}

static int http2_stream(struct http_exchange *x, const struct http_response *r)
{
    struct stream2 *st = container_of(x, struct stream2, x);
    struct http2 *s = st->owner;
    assert(st->is_open && !st->is_streaming);
    if (x->head.method == METHOD_HEAD)
        return ERR_UNSUPPORTED;
    st->is_streaming = true;
    st->has_length = r->length != NULL;
    st->length_left = r->length != NULL ? *r->length - r->body.len : 0;
    s->endless_count += !st->has_length;
    bool was_feeding = enter(s);
    submit(s, st, r, false);
    leave(s, was_feeding);
    return 0;
}

static int http2_stream_write(struct http_exchange *x, struct span piece)
{
    struct stream2 *st = container_of(x, struct stream2, x);
    struct http2 *s = st->owner;
    assert(st->is_streaming && !st->is_ended);
    if (st->body_len - st->body_sent + piece.len > HTTP_STREAM_BYTES) {
        s->full_count += !st->wants_room && s->service->drained != NULL;
        st->wants_room = s->service->drained != NULL;
        return ERR_FULL;
    }
    if (st->body_sent == st->body_len)
        st->since_ms = http2_now_ms(s);      /* from here on it may stall */
    buf_consume(&st->answer, st->body_sent); /* or it would grow as long as some of it waits */
    st->body_sent = 0;
    st->length_left -= piece.len < st->length_left ? piece.len : st->length_left;
    bool was_feeding = enter(s);
    buf_append(&st->answer, piece);
    int rc = st->answer.err;
    st->body_len = st->answer.len;
    nghttp2_session_resume_data(s->session, st->id);
    leave(s, was_feeding);
    return rc;
}

void http2_tell_drained(struct http2 *s)
{
    if (s->full_count == 0)
        return;
    LIST_EACH (node, &s->streams) {
        struct stream2 *st = container_of(node, struct stream2, node);
        if (!st->wants_room || st->body_len - st->body_sent > HTTP_STREAM_BYTES / 2)
            continue;
        st->wants_room = false;
        s->full_count--;
        s->service->drained(s->service->ctx, &st->x);
    }
}

static void http2_stream_end(struct http_exchange *x, bool is_whole)
{
    struct stream2 *st = container_of(x, struct stream2, x);
    struct http2 *s = st->owner;
    assert(st->is_streaming && !st->is_ended);
    st->is_aborted = !is_whole || st->length_left > 0;
    st->since_ms = http2_now_ms(s);
    bool was_feeding = enter(s);
    http2_end_exchange(st);
    head_clear(&st->head);
    if (st->is_aborted)
        nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
    else
        nghttp2_session_resume_data(s->session, st->id);
    leave(s, was_feeding);
}

const struct http_exchange_ops http2_exchange_ops = {
    .reply = http2_reply,
    .expect = http2_expect,
    .take = http2_take,
    .stream = http2_stream,
    .stream_write = http2_stream_write,
    .stream_end = http2_stream_end,
};

void http2_answer_bare(struct http2 *s, struct stream2 *st, int status)
{
    st->x.head = (struct http_head){.version = HTTP_2,
                                    .method = http_method_of(head_get(&st->head, HEAD_METHOD)),
                                    .origin = head_get(&st->head, HEAD_ORIGIN),
                                    .content_type = head_get(&st->head, HEAD_CONTENT_TYPE)};
    st->is_open = true;
    http_answer_bare(s->service, &st->x, status);
    assert(!st->is_open); /* bare() must answer */
}
