/* The client's side is nghttp2's own, or bytes by hand where nghttp2 would refuse. */
#include "unit/test.h"

#include <nghttp2/nghttp2.h>

#include "net/http2.h"
#include "unit/net/probe.h"

#define STREAMS 1024

struct seen {
    int status;
    char grpc_status[8];
    size_t body_len;
    uint32_t reset; /* code + 1 */
    bool closed;
};

struct rig {
    struct probe probe;
    struct buf out;
    struct http2 *server;
    nghttp2_session *client;
    int wakes;
    struct seen seen[STREAMS]; /* by stream id / 2 */
    int goaways;
    uint32_t goaway_code;
    int32_t goaway_last_id;
    /* the body being sent by the client */
    struct span body;
    bool never_ends;
};

static void on_wake(void *ctx)
{
    ((struct rig *)ctx)->wakes++;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)session;
    (void)flags;
    struct rig *r = user;
    struct seen *s = &r->seen[frame->hd.stream_id / 2];
    if (span_eq(span_of(name, name_len), SPAN(":status")))
        s->status = atoi((const char *)value);
    if (span_eq(span_of(name, name_len), SPAN("grpc-status")) && value_len < 8)
        memcpy(s->grpc_status, value, value_len);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
                   size_t len, void *user)
{
    (void)session;
    (void)flags;
    (void)bytes;
    ((struct rig *)user)->seen[id / 2].body_len += len;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct rig *r = user;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        r->seen[frame->hd.stream_id / 2].reset = frame->rst_stream.error_code + 1;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        r->goaways++;
        r->goaway_code = frame->goaway.error_code;
        r->goaway_last_id = frame->goaway.last_stream_id;
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)session;
    (void)code;
    ((struct rig *)user)->seen[id / 2].closed = true;
    return 0;
}

static void rig_open(struct rig *r)
{
    *r = (struct rig){0};
    probe_init(&r->probe);
    r->server = http2_new(&r->probe.service, (struct http_output){&r->out, r, on_wake});
    assert_non_null(r->server);
    nghttp2_session_callbacks *cbs = NULL;
    assert_int_equal(nghttp2_session_callbacks_new(&cbs), 0);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_close);
    assert_int_equal(nghttp2_session_client_new(&r->client, cbs, r), 0);
    nghttp2_session_callbacks_del(cbs);
    nghttp2_submit_settings(r->client, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void rig_close(struct rig *r)
{
    http2_ops.free(r->server);
    nghttp2_session_del(r->client);
    buf_done(&r->out);
    assert_int_equal(r->probe.budget.used, 0);
}

static bool rig_over(const struct rig *r)
{
    return http2_ops.is_over(r->server);
}

static void give_client(struct rig *r)
{
    assert_int_equal(nghttp2_session_mem_recv(r->client, r->out.base, r->out.len), r->out.len);
    buf_clear(&r->out);
}

/* Move bytes both ways until neither side has any; `step` at a time. */
static void rig_run_by(struct rig *r, size_t step)
{
    for (bool moved = true; moved;) {
        moved = false;
        const uint8_t *bytes;
        ssize_t n;
        while ((n = nghttp2_session_mem_send(r->client, &bytes)) > 0) {
            for (size_t at = 0; at < (size_t)n; at += step) {
                size_t len = (size_t)n - at < step ? (size_t)n - at : step;
                while (http2_ops.feed(r->server, span_of(bytes + at, len)) == 0 && r->out.len > 0)
                    give_client(r); /* it takes in nothing while so much waits */
            }
            moved = true;
        }
        http2_ops.feed(r->server, (struct span){0});
        if (r->out.len > 0) {
            give_client(r);
            moved = true;
        }
    }
}

static void rig_run(struct rig *r)
{
    rig_run_by(r, SIZE_MAX / 4);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t len,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    (void)user;
    struct rig *r = source->ptr;
    size_t n = r->body.len < len ? r->body.len : len;
    if (n == 0 && r->never_ends)
        return NGHTTP2_ERR_DEFERRED;
    if (n > 0)
        memcpy(to, r->body.base, n);
    r->body = span_skip(r->body, n);
    if (r->body.len == 0 && !r->never_ends)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

#define NV(name, value) \
    { \
        (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE \
    }

static int32_t post(struct rig *r, const char *path, const char *type, struct span body)
{
    const nghttp2_nv nv[] = {
        NV(":method", "POST"),    NV(":scheme", "http"),    NV(":path", path),
        NV(":authority", "test"), NV("content-type", type), NV("te", "trailers"),
    };
    r->body = body;
    nghttp2_data_provider provider = {.source = {.ptr = r}, .read_callback = read_body};
    int32_t id = nghttp2_submit_request(r->client, NULL, nv, ARRAY_LEN(nv), &provider, NULL);
    assert_true(id > 0);
    return id;
}

static void requests_are_answered(void **state)
{
    (void)state;
    static const size_t steps[] = {SIZE_MAX / 4, 1, 7};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct rig r;
        rig_open(&r);
        int32_t id = post(&r, "/v1/logs?x=y", "text/plain", SPAN("hello"));
        rig_run_by(&r, steps[i]);
        assert_int_equal(r.seen[id / 2].status, 200);
        assert_int_equal(r.seen[id / 2].body_len, 5);
        assert_true(r.seen[id / 2].closed);
        assert_int_equal(r.seen[id / 2].reset, 0);

        id = post(&r, "/svc/Export", "application/grpc", SPAN("\0\0\0\0\3abc"));
        rig_run_by(&r, steps[i]);
        assert_int_equal(r.seen[id / 2].status, 200);
        assert_int_equal(r.seen[id / 2].body_len, 8);
        assert_string_equal(r.seen[id / 2].grpc_status, "0");
        assert_int_equal(r.probe.prefixes, 2);
        assert_int_equal(r.probe.service.requests[HTTP_2].value, 2);
        assert_true(http2_ops.is_idle(r.server));
        assert_false(rig_over(&r));
        rig_close(&r);
    }
}

static void trailers_only(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    int32_t id = post(&r, "/hold", "application/grpc", SPAN("\0\0\0\0\0"));
    rig_run(&r);
    assert_non_null(r.probe.held);
    const struct http_header headers[] = {{SPAN("content-type"), SPAN("application/grpc")},
                                          {SPAN("grpc-status"), SPAN("14")}};
    http_reply(r.probe.held,
               &(struct http_response){.status = 200, .headers = headers, .header_count = 2});
    assert_true(r.wakes > 0);
    rig_run(&r);
    assert_string_equal(r.seen[id / 2].grpc_status, "14");
    assert_true(r.seen[id / 2].closed);
    rig_close(&r);
}

static void an_early_answer_stops_the_body(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.never_ends = true;
    int32_t id = post(&r, "/missing", "text/plain", SPAN("abc"));
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 404);
    assert_int_equal(r.seen[id / 2].reset, NGHTTP2_NO_ERROR + 1);
    assert_true(http2_ops.is_idle(r.server));
    rig_close(&r);
}

static void a_large_body_and_a_full_budget(void **state)
{
    (void)state;
    static uint8_t big[3 << 20];
    struct rig r;
    rig_open(&r);
    int32_t id = post(&r, "/", "text/plain", span_of(big, sizeof big));
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 200);
    assert_int_equal(r.seen[id / 2].body_len, sizeof big);

    r.probe.budget.limit = r.probe.budget.used + (1 << 20);
    id = post(&r, "/", "text/plain", span_of(big, sizeof big));
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 503);
    assert_int_equal(r.probe.last_err, ERR_FULL);

    r.probe.service.max_body_bytes = 1000;
    id = post(&r, "/", "text/plain", span_of(big, 1001));
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 413);
    id = post(&r, "/", "text/plain", span_of(big, 1000));
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 200);
    /* the message's length is known from its prefix: refused before it arrives */
    r.never_ends = true;
    r.probe.service.max_body_bytes = 100;
    id = post(&r, "/expect", "text/plain", SPAN("\0\0\0\0\377"));
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 413);
    rig_close(&r);
}

/* What came of a piped body by now, taken piece by piece until none is left. */
static size_t take_all(struct rig *r, size_t step)
{
    size_t taken = 0;
    while (r->probe.piped->body.len > 0) {
        size_t n = r->probe.piped->body.len < step ? r->probe.piped->body.len : step;
        http_take(r->probe.piped, n);
        taken += n;
        rig_run(r);
        assert_true(r->probe.piped->body.len <= HTTP_PIPE_BYTES);
    }
    return taken;
}

static void a_piped_body_waits_in_its_window(void **state)
{
    (void)state;
    static uint8_t big[3 << 20];
    struct rig r;
    rig_open(&r);
    r.probe.service.max_body_bytes = 1000; /* is of other bodies */
    rig_run(&r);
    int32_t id = post(&r, "/pipe", "text/plain", span_of(big, sizeof big));
    rig_run(&r);
    assert_int_equal(r.probe.piped->body.len, HTTP_PIPE_BYTES);
    for (int s = 0; s < 60; s++) { /* that is our own doing, and no slow client */
        clock_fake_advance(&r.probe.clock, 1000);
        http2_ops.tick(r.server);
    }
    rig_run(&r);
    assert_int_equal(r.probe.refusals, 0);
    /* It holds up no other. */
    const struct span rest = r.body;
    int32_t other = post(&r, "/", "text/plain", SPAN("abc"));
    rig_run(&r);
    assert_int_equal(r.seen[other / 2].status, 200);
    r.body = rest;
    assert_int_equal(take_all(&r, 10000), sizeof big);
    assert_int_equal(r.probe.requests, 2);
    http_reply(r.probe.piped, &(struct http_response){.status = 204});
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 204);
    assert_true(r.probe.budget.peak < (1 << 20));
    rig_close(&r);
}

/* Too late for words once the answer has begun; else in words. */
static void a_piped_body_that_breaks_off(void **state)
{
    (void)state;
    for (int is_answering = 0; is_answering <= 1; is_answering++) {
        struct rig r;
        rig_open(&r);
        r.never_ends = true;
        int32_t id = post(&r, "/pipe", "text/plain", SPAN("abc"));
        rig_run(&r);
        if (is_answering)
            assert_int_equal(http_stream(r.probe.piped, &(struct http_response){.status = 200}), 0);
        take_all(&r, 3);
        for (int s = 0; s < 12; s++) {
            clock_fake_advance(&r.probe.clock, 1000);
            http2_ops.tick(r.server);
        }
        rig_run(&r);
        assert_int_equal(r.seen[id / 2].status, is_answering ? 200 : 408);
        assert_int_equal(r.seen[id / 2].reset, (is_answering ? NGHTTP2_INTERNAL_ERROR : 0) + 1);
        assert_int_equal(r.probe.refusals, !is_answering);
        assert_int_equal(r.probe.gones, is_answering);
        rig_close(&r);
    }
}

static void an_open_answer_waits_and_says_when_it_has_room(void **state)
{
    (void)state;
    static uint8_t piece[10000];
    static const uint64_t million = 1000000;
    struct rig r;
    rig_open(&r);
    int32_t id = post(&r, "/hold", "text/plain", SPAN("abc"));
    rig_run(&r);
    const struct http_response head = {.status = 200, .length = &million};
    assert_int_equal(http_stream(r.probe.held, &head), 0);
    size_t sent = 0;
    while (sent < million) {
        int drains = r.probe.drains;
        while (sent < million && http_stream_write(r.probe.held, span_of(piece, sizeof piece)) == 0)
            sent += sizeof piece;
        assert_true(r.probe.budget.used < 4 * HTTP_STREAM_BYTES); /* it does not add up */
        rig_run(&r);
        assert_true(sent == million || r.probe.drains == drains + 1);
    }
    assert_false(http2_ops.is_idle(r.server)); /* it has an end, which is worth waiting for */
    http_stream_end(r.probe.held);
    r.probe.held = NULL;
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].body_len, million);
    assert_int_equal(r.seen[id / 2].reset, 0);
    assert_true(r.seen[id / 2].closed);
    rig_close(&r);
}

/* An answer that breaks off is a reset; as many of them as there may be are no flood. */
static void answers_that_break_off(void **state)
{
    (void)state;
    static const uint64_t twelve = 12;
    struct rig r;
    rig_open(&r);
    for (int i = 0; i < 1000 && !rig_over(&r); i++) {
        int32_t id = post(&r, "/hold", "text/plain", SPAN("abc"));
        struct seen *seen = &r.seen[id / 2];
        rig_run(&r);
        const struct http_response head = {
            .status = 200, .body = SPAN("hello"), .length = i % 2 ? &twelve : NULL};
        assert_int_equal(http_stream(r.probe.held, &head), 0);
        rig_run(&r);
        if (i % 2)
            http_stream_end(r.probe.held); /* short of its length */
        else
            http_stream_abort(r.probe.held);
        r.probe.held = NULL;
        rig_run(&r);
        assert_int_equal(seen->reset, NGHTTP2_INTERNAL_ERROR + 1);
    }
    assert_int_equal(r.goaways, 0);
    rig_close(&r);
}

/* The client opens its windows as it reads; one that only opens them is a flood. */
static void a_long_answer_is_no_flood_of_windows(void **state)
{
    (void)state;
    static uint8_t piece[16384];
    struct rig r;
    rig_open(&r);
    int32_t id = post(&r, "/hold", "text/plain", SPAN("abc"));
    rig_run(&r);
    assert_int_equal(http_stream(r.probe.held, &(struct http_response){.status = 200}), 0);
    enum { PIECES = 6000 };
    for (int i = 0; i < PIECES && r.goaways == 0; i++) {
        assert_int_equal(http_stream_write(r.probe.held, span_of(piece, sizeof piece)), 0);
        rig_run(&r);
    }
    assert_int_equal(r.goaways, 0);
    assert_int_equal(r.seen[id / 2].body_len, PIECES * sizeof piece);
    for (int i = 0; i < 6000 && r.goaways == 0; i++) {
        nghttp2_submit_window_update(r.client, NGHTTP2_FLAG_NONE, 0, 1);
        rig_run(&r);
    }
    assert_int_equal(r.goaways, 1);
    rig_close(&r);
}

static void a_reset_stream_is_gone(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    int32_t id = post(&r, "/hold", "text/plain", SPAN("abc"));
    rig_run(&r);
    assert_non_null(r.probe.held);
    nghttp2_submit_rst_stream(r.client, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    rig_run(&r);
    assert_null(r.probe.held);
    assert_int_equal(r.probe.gones, 1);
    assert_true(http2_ops.is_idle(r.server));
    rig_close(&r);
}

static void too_many_streams_are_refused(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.probe.service.max_streams = 2; /* after the session told 128: the client obeys that */
    http2_ops.free(r.server);
    r.server = http2_new(&r.probe.service, (struct http_output){&r.out, &r, on_wake});
    for (int i = 0; i < 4; i++)
        post(&r, "/hold", "text/plain", SPAN("abc"));
    rig_run(&r);
    int refused = 0;
    for (int i = 0; i < 4; i++)
        refused += r.seen[i].reset == NGHTTP2_REFUSED_STREAM + 1;
    assert_int_equal(r.probe.requests + refused, 4);
    assert_true(r.probe.requests <= 2 || refused > 0);
    rig_close(&r);
}

static void draining(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    int32_t id = post(&r, "/hold", "text/plain", SPAN("abc"));
    rig_run(&r);
    r.probe.service.draining = true;
    http2_ops.tick(r.server);
    rig_run(&r);
    assert_int_equal(r.goaways, 1);
    assert_int_equal(r.goaway_last_id, INT32_MAX);
    http2_ops.tick(r.server);
    rig_run(&r);
    assert_int_equal(r.goaways, 2);
    assert_int_equal(r.goaway_last_id, id);
    assert_false(rig_over(&r));
    probe_release(&r.probe);
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 200);
    assert_true(rig_over(&r));
    rig_close(&r);
}

static void deadlines(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r); /* idle */
    rig_run(&r);
    clock_fake_advance(&r.probe.clock, 120000);
    http2_ops.tick(r.server);
    assert_false(rig_over(&r));
    clock_fake_advance(&r.probe.clock, 1);
    http2_ops.tick(r.server);
    rig_run(&r);
    assert_true(rig_over(&r));
    assert_int_equal(r.goaway_code, NGHTTP2_NO_ERROR);
    rig_close(&r);

    rig_open(&r); /* a body that stops */
    r.never_ends = true;
    int32_t id = post(&r, "/", "text/plain", SPAN("abc"));
    rig_run(&r);
    clock_fake_advance(&r.probe.clock, 11000);
    http2_ops.tick(r.server);
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 408);
    assert_int_equal(r.probe.last_err, UV_ETIMEDOUT);
    rig_close(&r);

    rig_open(&r); /* a window that stays shut */
    const nghttp2_settings_entry shut[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}};
    nghttp2_submit_settings(r.client, NGHTTP2_FLAG_NONE, shut, 1);
    id = post(&r, "/", "text/plain", SPAN("abc"));
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 200);
    assert_int_equal(r.seen[id / 2].body_len, 0);
    assert_false(http2_ops.is_idle(r.server));
    clock_fake_advance(&r.probe.clock, 30001);
    http2_ops.tick(r.server);
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].reset, NGHTTP2_CANCEL + 1);
    assert_true(http2_ops.is_idle(r.server));
    rig_close(&r);

    rig_open(&r); /* a preface and silence; a header block that does not end */
    struct span half = SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    http2_ops.feed(r.server, half);
    clock_fake_advance(&r.probe.clock, 10001);
    http2_ops.tick(r.server);
    buf_clear(&r.out);
    http2_ops.feed(r.server, (struct span){0});
    assert_true(rig_over(&r));
    rig_close(&r);

    rig_open(&r);
    http2_ops.feed(r.server, half);
    http2_ops.feed(r.server, SPAN("\0\0\0\4\0\0\0\0\0"        /* SETTINGS */
                                  "\0\0\1\1\0\0\0\0\1\x83")); /* HEADERS, :method only */
    clock_fake_advance(&r.probe.clock, 10001);
    http2_ops.tick(r.server);
    buf_clear(&r.out);
    http2_ops.feed(r.server, (struct span){0});
    assert_true(rig_over(&r));
    assert_int_equal(r.probe.service.faults[HTTP_FAULT_TIMEOUT].value, 1);
    rig_close(&r);
}

static void half_close(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    int32_t id = post(&r, "/hold", "text/plain", SPAN("abc"));
    rig_run(&r);
    http2_ops.eof(r.server);
    assert_false(rig_over(&r));
    probe_release(&r.probe);
    rig_run(&r);
    assert_int_equal(r.seen[id / 2].status, 200);
    assert_true(rig_over(&r));
    rig_close(&r);
}

/* ---- floods ---- */

/* A frame of `len` zero bytes. */
static void frame(struct buf *b, uint8_t type, uint8_t flags, uint32_t id, struct span payload)
{
    const uint8_t head[9] = {
        0,          (uint8_t)(payload.len >> 8), (uint8_t)payload.len, type,
        flags,      (uint8_t)(id >> 24),         (uint8_t)(id >> 16),  (uint8_t)(id >> 8),
        (uint8_t)id};
    buf_append(b, span_of(head, sizeof head));
    buf_append(b, payload);
}

/* :method POST, :scheme http, :path /hold, :authority a; nothing indexed. */
#define HEADERS \
    SPAN("\x83\x86\x04\x05/hold\x01\x01" \
         "a")
#define MISSING \
    SPAN("\x83\x86\x04\x08/missing\x01\x01" \
         "a")
#define ZEROS8 SPAN("\0\0\0\0\0\0\0\0")

static void make_resets(struct buf *b, int i)
{
    frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, (uint32_t)(2 * i + 1), HEADERS);
    frame(b, NGHTTP2_RST_STREAM, 0, (uint32_t)(2 * i + 1), SPAN("\0\0\0\x08"));
}

/* MadeYouReset, first form: nghttp2 takes a WINDOW_UPDATE of 0 for the connection's error. */
static void make_us_reset(struct buf *b, int i)
{
    frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, (uint32_t)(2 * i + 1), HEADERS);
    frame(b, NGHTTP2_WINDOW_UPDATE, 0, (uint32_t)(2 * i + 1), SPAN("\0\0\0\0"));
}

/* And second form: it answers these with a reset. */
static void make_overflows(struct buf *b, int i)
{
    frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, (uint32_t)(2 * i + 1), HEADERS);
    frame(b, NGHTTP2_WINDOW_UPDATE, 0, (uint32_t)(2 * i + 1), SPAN("\x7f\xff\xff\xff"));
}

static void make_pings(struct buf *b, int i)
{
    (void)i;
    frame(b, NGHTTP2_PING, 0, 0, ZEROS8);
}

static void make_settings(struct buf *b, int i)
{
    (void)i;
    frame(b, NGHTTP2_SETTINGS, 0, 0, SPAN(""));
}

static void make_empty_data(struct buf *b, int i)
{
    if (i == 0)
        frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, HEADERS);
    frame(b, NGHTTP2_DATA, 0, 1, SPAN(""));
}

static void make_padding(struct buf *b, int i)
{
    if (i == 0)
        frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, HEADERS);
    frame(b, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, SPAN("\3\0\0\0"));
}

static void make_priorities(struct buf *b, int i)
{
    frame(b, NGHTTP2_PRIORITY, 0, (uint32_t)(2 * i + 1), SPAN("\0\0\0\0\x10"));
}

static void make_windows(struct buf *b, int i)
{
    (void)i;
    frame(b, NGHTTP2_WINDOW_UPDATE, 0, 0, SPAN("\0\0\0\1"));
}

static void make_unknown(struct buf *b, int i)
{
    (void)i;
    frame(b, 0xbe, 0, 0, SPAN(""));
}

static void make_tiny_data(struct buf *b, int i)
{
    if (i == 0)
        frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, HEADERS);
    frame(b, NGHTTP2_DATA, 0, 1, SPAN("x"));
}

/* Of a stream that was answered, and reset because its request went on. */
static void make_stray_data(struct buf *b, int i)
{
    if (i == 0)
        frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, MISSING);
    frame(b, NGHTTP2_DATA, 0, 1, ZEROS8);
}

static void make_long_heads(struct buf *b, int i)
{
    static const char names[] = "\x83\x86\x84\x41\x01"
                                "a"
                                "\x40\x01x\x7f\xa1\x1e"; /* 4000 */
    struct buf block = {0};
    buf_append(&block, span_of(names, sizeof names - 1));
    for (int n = 0; n < 4000; n++)
        buf_append_byte(&block, 'a');
    for (int n = 0; n < 4; n++)
        buf_append_byte(&block, 0xbe);
    frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM,
          (uint32_t)(2 * i + 1), buf_span(&block));
    buf_done(&block);
}

static void make_continuations(struct buf *b, int i)
{
    if (i == 0)
        frame(b, NGHTTP2_HEADERS, 0, 1, HEADERS);
    frame(b, NGHTTP2_CONTINUATION, 0, 1, SPAN(""));
}

/* clang-format off */
static const struct {
    const char *name;
    void (*make)(struct buf *b, int i);
    int harmless;  /* so many must be served */
    int count;     /* so many must not */
    enum http_fault fault;
} floods[] = {
    {"rapid reset",     make_resets,        200, 20000, HTTP_FAULT_FLOOD},
    {"made you reset",  make_us_reset,        0, 20000, HTTP_FAULT_BAD_REQUEST},
    {"window overflow", make_overflows,     200, 20000, HTTP_FAULT_FLOOD},
    {"ping",            make_pings,         100, 20000, HTTP_FAULT_FLOOD},
    {"settings",        make_settings,       10, 20000, HTTP_FAULT_FLOOD},
    {"empty data",      make_empty_data,    100, 20000, HTTP_FAULT_FLOOD},
    {"padding",         make_padding,       100, 20000, HTTP_FAULT_FLOOD},
    {"priority",        make_priorities,    100, 20000, HTTP_FAULT_FLOOD},
    {"window update",   make_windows,      1000, 200000, HTTP_FAULT_FLOOD},
    {"unknown frames",  make_unknown,       100, 200000, HTTP_FAULT_FLOOD},
    {"tiny data",       make_tiny_data,    1000, 5000, HTTP_FAULT_FLOOD},
    {"stray data",      make_stray_data,   1000, 5000, HTTP_FAULT_FLOOD},
    {"long heads",      make_long_heads,    100, 5000, HTTP_FAULT_FLOOD},
    {"continuation",    make_continuations,   0, 20000, HTTP_FAULT_BAD_REQUEST},
};
/* clang-format on */

/* Look through what the server sent for a GOAWAY, then forget it. The client's nghttp2
 * cannot be asked: it did not open these streams. */
static void read_frames(struct rig *r)
{
    for (size_t at = 0; at + 9 <= r->out.len;) {
        const uint8_t *f = r->out.base + at;
        if (f[3] == NGHTTP2_GOAWAY) {
            r->goaways++;
            r->goaway_code = f[16]; /* the last byte of the code: all codes are small */
        }
        at += 9 + ((size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2]);
    }
    buf_clear(&r->out);
}

static void floods_end_in_goaway(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(floods); f++) {
        for (int reads = 0; reads < 2; reads++) { /* with and without reading our answers */
            struct rig r;
            rig_open(&r);
            http2_ops.feed(r.server, SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                          "\0\0\0\4\0\0\0\0\0"));
            struct buf in = {0};
            int i = 0;
            for (; i < floods[f].count && !rig_over(&r); i++) {
                buf_clear(&in);
                floods[f].make(&in, i);
                http2_ops.feed(r.server, buf_span(&in));
                if (reads)
                    read_frames(&r);
                if (i < floods[f].harmless)
                    assert_row(!rig_over(&r), "%s: over after %d", floods[f].name, i);
                assert_true(r.out.len < 2 * HTTP_OUT_HIGH_BYTES);
            }
            assert_row(rig_over(&r), "%s: no end", floods[f].name);
            read_frames(&r);
            if (reads)
                assert_row(r.goaways > 0, "%s: no GOAWAY", floods[f].name);
            if (reads && floods[f].fault == HTTP_FAULT_FLOOD)
                assert_int_equal(r.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
            assert_row(r.probe.service.faults[floods[f].fault].value == 1, "%s: not counted",
                       floods[f].name);
            assert_true(r.probe.budget.peak < (1 << 20));
            buf_done(&in);
            rig_close(&r);
        }
    }
}

static void pings_of_grpc_are_served(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_run(&r);
    for (int second = 0; second < 20; second++) {
        for (int i = 0; i < 100; i++) {
            nghttp2_submit_ping(r.client, NGHTTP2_FLAG_NONE, NULL);
            clock_fake_advance(&r.probe.clock, 10);
            rig_run(&r);
        }
    }
    assert_int_equal(r.goaways, 0);
    assert_false(rig_over(&r));
    rig_close(&r);
}

static void large_header_lists(void **state)
{
    (void)state;
    static char value[9001];
    memset(value, 'a', sizeof value - 1);
    static const struct {
        int count, status;
    } rows[] = {{1, 200}, {2, 431}, {6, 431}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        rig_open(&r);
        nghttp2_nv nv[10] = {NV(":method", "POST"), NV(":scheme", "http"), NV(":path", "/"),
                             NV(":authority", "test")};
        for (int n = 0; n < rows[i].count; n++)
            nv[4 + n] = (nghttp2_nv)NV("x-a", value);
        int32_t id =
            nghttp2_submit_request(r.client, NULL, nv, 4 + (size_t)rows[i].count, NULL, NULL);
        rig_run(&r);
        assert_row(r.seen[id / 2].status == rows[i].status, "%d: %d", rows[i].count,
                   r.seen[id / 2].status);
        id = post(&r, "/", "text/plain", SPAN("still works"));
        rig_run(&r);
        assert_int_equal(r.seen[id / 2].status, 200);
        rig_close(&r);
    }

    struct rig r; /* the bomb: one entry of 4,000 bytes in the table, named 10,000 times */
    rig_open(&r);
    http2_ops.feed(r.server, SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
    struct buf block = {0}, in = {0};
    buf_append(&block, HEADERS);
    buf_append(&block, SPAN("\x40\x01x\x7f\x81\x1e")); /* value of 127 + 3841 = 3968 */
    for (int n = 0; n < 3968; n++)
        buf_append_byte(&block, 'a');
    for (int n = 0; n < 10000; n++)
        buf_append_byte(&block, 0xbe);
    frame(&in, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1,
          buf_span(&block));
    http2_ops.feed(r.server, buf_span(&in));
    nghttp2_session_mem_recv(r.client, r.out.base, r.out.len);
    assert_int_equal(r.goaways, 1);
    assert_int_equal(r.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(rig_over(&r));
    buf_done(&block);
    buf_done(&in);
    rig_close(&r);
}

static void noise_ends_the_connection(void **state)
{
    (void)state;
    static const struct span rows[] = {
        {(const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18},
        {(const uint8_t *)"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxxxx", 44},
        {(const uint8_t *)"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        rig_open(&r);
        http2_ops.feed(r.server, rows[i]);
        assert_row(rig_over(&r), "%zu", i);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(trailers_only),
        cmocka_unit_test(an_early_answer_stops_the_body),
        cmocka_unit_test(a_large_body_and_a_full_budget),
        cmocka_unit_test(a_piped_body_waits_in_its_window),
        cmocka_unit_test(a_piped_body_that_breaks_off),
        cmocka_unit_test(an_open_answer_waits_and_says_when_it_has_room),
        cmocka_unit_test(answers_that_break_off),
        cmocka_unit_test(a_long_answer_is_no_flood_of_windows),
        cmocka_unit_test(a_reset_stream_is_gone),
        cmocka_unit_test(too_many_streams_are_refused),
        cmocka_unit_test(draining),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(half_close),
        cmocka_unit_test(floods_end_in_goaway),
        cmocka_unit_test(pings_of_grpc_are_served),
        cmocka_unit_test(large_header_lists),
        cmocka_unit_test(noise_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
