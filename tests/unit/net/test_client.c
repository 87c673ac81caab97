#include "unit/test.h"

#include "net/client.h"
#include "unit/net/stub.h"

struct rig {
    uv_loop_t loop;
    struct stub stub;
    struct client *client;
    unsigned done;
    struct client_result last;
    char retry_after[64], content_type[128], body[64];
    size_t body_len, pieces;
};

static void on_done(void *ctx, const struct client_result *r)
{
    struct rig *rig = ctx;
    rig->done++;
    rig->last = *r;
    rig->body_len = r->body.len;
    stub_copy(rig->retry_after, sizeof rig->retry_after, r->retry_after);
    stub_copy(rig->content_type, sizeof rig->content_type, r->content_type);
    stub_copy(rig->body, sizeof rig->body, r->body);
    assert_true(r->err == 0 || (r->text != NULL && r->text[0] != '\0'));
}

static void rig_open(struct rig *r)
{
    *r = (struct rig){.done = 0};
    uv_loop_init(&r->loop);
    stub_open(&r->stub, &r->loop);
    const struct client_opts opts = {"lipservice-test", 1000, 4};
    assert_int_equal(client_open(&r->client, &r->loop, &opts), 0);
}

static void rig_close(struct rig *r)
{
    client_close(r->client);
    stub_close(&r->stub);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
}

static struct client_call *send_to(struct rig *r, const char *url, const char *method,
                                   struct span body, uint32_t timeout_ms)
{
    static const char *const headers[] = {"Authorization: Bearer k", "Content-Type: a/b", NULL};
    struct client_call *call = NULL;
    const struct client_request request = {
        .method = method,
        .url = url,
        .headers = headers,
        .body = body,
        .timeout_ms = timeout_ms,
        .ctx = r,
        .done = on_done,
    };
    unsigned before = r->done;
    assert_int_equal(client_send(r->client, &request, &call), 0);
    assert_int_equal(r->done, before); /* never from inside */
    return call;
}

static void statuses_and_headers(void **state)
{
    (void)state;
    static const int statuses[] = {200, 204, 302, 400, 413, 429, 503};
    struct rig r;
    rig_open(&r);
    r.stub.headers[0] = (struct http_header){SPAN("content-type"), SPAN("text/x")};
    r.stub.headers[1] = (struct http_header){SPAN("retry-after"), SPAN("  17 ")};
    r.stub.headers[2] = (struct http_header){SPAN("location"), SPAN("/elsewhere")};
    r.stub.header_count = 3;
    for (unsigned i = 0; i < ARRAY_LEN(statuses); i++) {
        r.stub.status = statuses[i];
        r.stub.body = statuses[i] == 204 ? SPAN("") : SPAN("answer");
        (void)send_to(&r, r.stub.url, "POST", SPAN("request"), 5000);
        stub_spin(&r.loop, &r.done, i + 1, 5000);
        assert_row(r.done == i + 1 && r.last.err == 0 && r.last.status == statuses[i], "%d: %d %d",
                   statuses[i], r.last.err, r.last.status);
        assert_string_equal(r.retry_after, "17");
        assert_string_equal(r.content_type, "text/x");
        assert_string_equal(r.body, statuses[i] == 204 ? "" : "answer");
        assert_int_equal(r.stub.requests, i + 1); /* a redirect is not followed */
    }
    assert_string_equal(r.stub.authorization, "Bearer k");
    assert_string_equal(r.stub.content_type, "a/b");
    assert_string_equal(r.stub.got, "request");
    assert_int_equal(r.stub.method, METHOD_POST);
    (void)send_to(&r, r.stub.url, "GET", SPAN(""), 5000);
    stub_spin(&r.loop, &r.done, 8, 5000);
    assert_int_equal(r.stub.method, METHOD_GET);
    assert_int_equal(r.stub.got_len, 0);
    assert_int_equal(listener_connections(&r.stub.listener), 1); /* one, used again and again */
    rig_close(&r);
}

static void a_long_answer_is_cut(void **state)
{
    (void)state;
    static const struct {
        size_t sent, read;
    } rows[] = {
        {CLIENT_ANSWER_BYTES - 1, CLIENT_ANSWER_BYTES - 1},
        {CLIENT_ANSWER_BYTES, CLIENT_ANSWER_BYTES},
        {CLIENT_ANSWER_BYTES + 1, CLIENT_ANSWER_BYTES},
        {4 << 20, CLIENT_ANSWER_BYTES},
    };
    struct rig r;
    char *big = calloc(1, 4 << 20);
    rig_open(&r);
    r.stub.status = 413;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        r.stub.body = span_of(big, rows[i].sent);
        (void)send_to(&r, r.stub.url, "POST", SPAN("x"), 5000);
        stub_spin(&r.loop, &r.done, i + 1, 5000);
        assert_row(r.done == i + 1 && r.last.err == 0 && r.last.status == 413, "%u: %d", i,
                   r.last.err);
        assert_row(r.body_len == rows[i].read, "%u: %zu", i, r.body_len);
    }
    rig_close(&r);
    free(big);
}

static void on_piece(void *ctx, struct span bytes)
{
    ((struct rig *)ctx)->pieces += bytes.len;
}

static void a_long_answer_in_pieces(void **state)
{
    (void)state;
    struct rig r;
    char *big = calloc(1, 4 << 20);
    rig_open(&r);
    const struct client_request request = {
        .method = "GET",
        .url = r.stub.url,
        .timeout_ms = 5000,
        .ctx = &r,
        .done = on_done,
        .piece = on_piece,
    };
    r.stub.body = span_of(big, 4 << 20);
    assert_int_equal(client_send(r.client, &request, NULL), 0);
    stub_spin(&r.loop, &r.done, 1, 5000);
    assert_int_equal(r.pieces, 4 << 20);
    assert_int_equal(r.body_len, 0);
    assert_int_equal(r.last.status, 200);
    r.stub.status = 400; /* an error is read as ever */
    r.stub.body = SPAN("why");
    assert_int_equal(client_send(r.client, &request, NULL), 0);
    stub_spin(&r.loop, &r.done, 2, 5000);
    assert_int_equal(r.pieces, 4 << 20);
    assert_string_equal(r.body, "why");
    rig_close(&r);
    free(big);
}

static void no_answer(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.stub.hangs = true;
    (void)send_to(&r, r.stub.url, "POST", SPAN("x"), 150);
    stub_spin(&r.loop, &r.done, 1, 5000);
    assert_int_equal(r.last.err, UV_ETIMEDOUT);
    static const struct {
        const char *url;
        int err;
    } rows[] = {
        {"http://127.0.0.1:1/", ERR_UNAVAILABLE}, /* nobody listens there */
        {"ftp://127.0.0.1/", ERR_IO},
        {"file:///etc/passwd", ERR_IO},
        {"not a url", ERR_IO},
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        (void)send_to(&r, rows[i].url, "GET", SPAN(""), 2000);
        stub_spin(&r.loop, &r.done, i + 2, 5000);
        assert_row(r.done == i + 2 && r.last.err == rows[i].err, "%s: %d", rows[i].url, r.last.err);
    }
    rig_close(&r);
}

static void cancelled_and_closed(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.stub.hangs = true;
    struct client_call *early = send_to(&r, r.stub.url, "POST", SPAN("x"), 5000);
    client_cancel(early); /* before the loop has turned */
    struct client_call *call = send_to(&r, r.stub.url, "POST", SPAN("x"), 5000);
    stub_spin(&r.loop, &r.stub.requests, 1, 5000);
    client_cancel(call);
    stub_spin(&r.loop, NULL, 0, 50);
    assert_int_equal(r.done, 0);
    (void)send_to(&r, r.stub.url, "POST", SPAN("x"), 5000);
    stub_spin(&r.loop, &r.stub.requests, 2, 5000);
    rig_close(&r); /* with one in flight */
    assert_int_equal(r.done, 0);
    client_close(NULL);
}

/* The library counts ages in whole seconds, so the youngest connections are the hard ones. */
static void what_was_forgotten_is_not_used_again(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    const struct http_exchange *first = NULL;
    for (unsigned i = 0; i < 5; i++) {
        (void)send_to(&r, r.stub.url, "POST", SPAN("x"), 5000);
        stub_spin(&r.loop, &r.done, i + 1, 5000);
        assert_int_equal(r.done, i + 1);
        if (i == 0) {
            first = r.stub.last;
            stub_spin(&r.loop, NULL, 0, 400);
            client_forget_connections(r.client);
            stub_spin(&r.loop, NULL, 0, 1050);
        } else {
            assert_ptr_not_equal(r.stub.last, first);
            stub_spin(&r.loop, NULL, 0, 300);
        }
    }
    rig_close(&r);
}

/* ---- flows ---- */

/* A call whose body is given, and whose answer is taken, a little at a time. */
struct flow_rig {
    struct rig rig;
    struct client_call *call;
    struct span body; /* what is left of it */
    size_t ready;     /* of that, what may leave now */
    bool is_full;     /* pieces are not taken */
    int refused;      /* so often */
    bool cancels;     /* itself, in the first piece */
    int status;
    char head[512], got[STUB_BODY_BYTES];
    size_t got_len;
    uv_timer_t timer;
};

static int on_upload(void *ctx, uint8_t *to, size_t *n)
{
    struct flow_rig *f = ctx;
    if (f->ready == 0 && f->body.len > 0)
        return ERR_MORE;
    if (*n > f->ready)
        *n = f->ready;
    if (*n > 0)
        memcpy(to, f->body.base, *n);
    f->body = span_skip(f->body, *n);
    f->ready -= *n;
    return 0;
}

static int on_head(void *ctx, const struct client_result *r)
{
    struct flow_rig *f = ctx;
    assert_int_equal(f->status, 0); /* once */
    f->status = r->status;
    stub_copy(f->head, sizeof f->head, r->head);
    return 0;
}

static int on_flow_piece(void *ctx, struct span bytes)
{
    struct flow_rig *f = ctx;
    if (f->cancels) {
        client_cancel(f->call);
        f->call = NULL;
        return ERR_IO;
    }
    f->refused += f->is_full;
    if (f->is_full)
        return ERR_FULL;
    assert_true(f->got_len + bytes.len <= sizeof f->got);
    memcpy(f->got + f->got_len, bytes.base, bytes.len);
    f->got_len += bytes.len;
    return 0;
}

static void on_flow_done(void *ctx, const struct client_result *r)
{
    struct flow_rig *f = ctx;
    f->call = NULL;
    on_done(&f->rig, r);
}

static void on_step(uv_timer_t *timer)
{
    struct flow_rig *f = timer->data;
    f->is_full = false;
    if (f->ready == 0)
        f->ready = f->body.len < 1000 ? f->body.len : 1000;
    if (f->call != NULL)
        client_resume(f->call);
}

static void flow_send(struct flow_rig *f, const char *url, int64_t length, uint32_t timeout_ms)
{
    const struct client_flow flow = {.length = length,
                                     .upload = on_upload,
                                     .head = on_head,
                                     .piece = on_flow_piece,
                                     .silent_timeout_ms = timeout_ms};
    const struct client_request request = {.method = "POST",
                                           .url = url,
                                           .timeout_ms = timeout_ms,
                                           .keeps_head = true,
                                           .flow = &flow,
                                           .ctx = f,
                                           .done = on_flow_done};
    f->status = f->refused = 0;
    f->got_len = 0;
    assert_int_equal(client_send(f->rig.client, &request, &f->call), 0);
}

static void flow_open(struct flow_rig *f)
{
    rig_open(&f->rig);
    uv_timer_init(&f->rig.loop, &f->timer);
    f->timer.data = f;
}

static void flow_close(struct flow_rig *f)
{
    uv_close((uv_handle_t *)&f->timer, NULL);
    rig_close(&f->rig);
}

static void a_flow_goes_at_its_owners_pace(void **state)
{
    (void)state;
    static uint8_t body[20000], answer[60000];
    static struct flow_rig f;
    memset(body, 'b', sizeof body);
    memset(answer, 'a', sizeof answer);
    for (int is_known = 0; is_known <= 1; is_known++) {
        f = (struct flow_rig){.body = span_of(body, sizeof body), .is_full = true};
        flow_open(&f);
        f.rig.stub.body = span_of(answer, sizeof answer);
        /* Its own time does not count: the deadline is shorter than twenty of its steps. */
        flow_send(&f, f.rig.stub.url, is_known ? (int64_t)sizeof body : -1, 300);
        uv_timer_start(&f.timer, on_step, 30, 30);
        stub_spin(&f.rig.loop, &f.rig.done, 1, 20000);
        assert_int_equal(f.rig.done, 1);
        assert_int_equal(f.rig.last.err, 0);
        assert_true(f.rig.last.is_whole);
        assert_int_equal(f.status, 200);
        assert_non_null(strstr(f.head, "content-length: 60000\r\n"));
        assert_int_equal(f.rig.stub.got_len, sizeof body);
        assert_memory_equal(f.rig.stub.got, body, sizeof body);
        assert_int_equal(f.got_len, sizeof answer);
        assert_memory_equal(f.got, answer, sizeof answer);
        flow_close(&f);
    }
}

static void a_flow_that_is_full_waits(void **state)
{
    (void)state;
    static uint8_t answer[60000];
    static struct flow_rig f;
    f = (struct flow_rig){.is_full = true};
    flow_open(&f);
    f.rig.stub.body = span_of(answer, sizeof answer);
    flow_send(&f, f.rig.stub.url, 0, 100);
    stub_spin(&f.rig.loop, (unsigned *)&f.refused, 1, 5000);
    stub_spin(&f.rig.loop, &f.rig.done, 1, 700); /* several deadlines, of the owner's time */
    assert_int_equal(f.refused, 1);
    assert_int_equal(f.rig.done, 0);
    on_step(&f.timer);
    stub_spin(&f.rig.loop, &f.rig.done, 1, 5000);
    assert_true(f.rig.done == 1 && f.rig.last.is_whole && f.got_len == sizeof answer);
    flow_close(&f);
}

static void a_flow_has_deadlines_and_may_be_cancelled_anywhere(void **state)
{
    (void)state;
    static struct flow_rig f;
    f = (struct flow_rig){0};
    flow_open(&f);
    f.rig.stub.hangs = true;
    flow_send(&f, f.rig.stub.url, 0, 100);
    stub_spin(&f.rig.loop, &f.rig.done, 1, 5000);
    assert_true(f.rig.done == 1 && f.rig.last.err == UV_ETIMEDOUT && f.status == 0);

    f.rig.stub.hangs = false;
    f.rig.stub.body = SPAN("answer");
    f.cancels = true;
    flow_send(&f, f.rig.stub.url, 0, 5000);
    uint64_t end = uv_hrtime() + 5000000000u;
    while (f.call != NULL && uv_hrtime() < end)
        uv_run(&f.rig.loop, UV_RUN_NOWAIT);
    assert_null(f.call);
    stub_spin(&f.rig.loop, &f.rig.done, 2, 50);
    assert_int_equal(f.rig.done, 1); /* nothing of it is heard any more */

    /* Another one goes on as if nothing had been. */
    f.cancels = false;
    flow_send(&f, f.rig.stub.url, 0, 5000);
    stub_spin(&f.rig.loop, &f.rig.done, 2, 5000);
    assert_true(f.rig.done == 2 && f.rig.last.is_whole && f.got_len == 6);
    flow_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_and_headers),
        cmocka_unit_test(a_long_answer_is_cut),
        cmocka_unit_test(a_long_answer_in_pieces),
        cmocka_unit_test(no_answer),
        cmocka_unit_test(cancelled_and_closed),
        cmocka_unit_test(what_was_forgotten_is_not_used_again),
        cmocka_unit_test(a_flow_goes_at_its_owners_pace),
        cmocka_unit_test(a_flow_that_is_full_waits),
        cmocka_unit_test(a_flow_has_deadlines_and_may_be_cancelled_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
