#include "unit/test.h"

#include "export/upstream.h"
#include "unit/net/stub.h"

struct rig {
    uv_loop_t loop;
    struct stub stub;
    struct client *client;
    struct sink sink;
    unsigned done;
    int err, status;
    char retry_after[64];
};

static void on_done(void *ctx, const struct sink_answer *a)
{
    struct rig *r = ctx;
    r->done++;
    r->err = a->err;
    r->status = a->status;
    stub_copy(r->retry_after, sizeof r->retry_after, a->retry_after);
}

static void a_parcel_is_a_post(void **state)
{
    (void)state;
    static const char *const headers[] = {"Authorization: Bearer phc", NULL};
    static const struct {
        enum signal signal;
        enum coding coding;
        const char *path, *encoding;
    } rows[] = {
        {SIGNAL_LOGS, CODING_ZSTD, "/i/v1/logs", "zstd"},
        {SIGNAL_TRACES, CODING_GZIP, "/t", "gzip"},
        {SIGNAL_METRICS, CODING_IDENTITY, "/m", ""},
    };
    struct rig r = {0};
    char urls[3][128];
    struct error err = {{0}};
    void *call;
    uv_loop_init(&r.loop);
    stub_open(&r.stub, &r.loop);
    assert_int_equal(client_open(&r.client, &r.loop, &(struct client_opts){"t", 1000, 4}), 0);
    for (unsigned i = 0; i < 3; i++)
        snprintf(urls[i], sizeof urls[i], "%s%s", r.stub.url, rows[i].path);
    struct upstream_opts opts = {
        .url = {urls[0], urls[1], urls[2]},
        .headers = headers,
        .timeout_ms = 2000,
        .concurrency = 3,
        .name = "stub",
    };
    assert_int_equal(upstream_open(&r.sink, r.client, &opts, &err), 0);
    assert_int_equal(r.sink.concurrency, 3);
    assert_true(r.sink.compresses);
    r.stub.headers[0] = (struct http_header){SPAN("retry-after"), SPAN("9")};
    r.stub.header_count = 1;
    r.stub.status = 503;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct parcel *p;
        assert_int_equal(parcel_of_relay(&p, rows[i].signal, SPAN("bytes"), rows[i].coding,
                                         SPAN("application/json"), (struct span){0}, NULL),
                         0);
        assert_true(r.sink.takes[rows[i].signal]);
        assert_int_equal(r.sink.ops->send(r.sink.self, p, on_done, &r, &call), 0);
        stub_spin(&r.loop, &r.done, i + 1, 5000);
        assert_int_equal(r.err, 0);
        assert_int_equal(r.status, 503);
        assert_string_equal(r.retry_after, "9");
        assert_string_equal(r.stub.path, rows[i].path);
        assert_string_equal(r.stub.content_encoding, rows[i].encoding);
        assert_string_equal(r.stub.content_type, "application/json");
        assert_string_equal(r.stub.authorization, "Bearer phc");
        assert_string_equal(r.stub.got, "bytes");
        parcel_free(p);
    }
    struct parcel *p;
    r.stub.hangs = true;
    assert_int_equal(parcel_of_relay(&p, SIGNAL_LOGS, SPAN("x"), CODING_IDENTITY, SPAN("a"),
                                     (struct span){0}, NULL),
                     0);
    assert_int_equal(r.sink.ops->send(r.sink.self, p, on_done, &r, &call), 0);
    stub_spin(&r.loop, &r.stub.requests, 4, 5000);
    r.sink.ops->cancel(r.sink.self, call);
    parcel_free(p);
    assert_int_equal(r.done, 3);
    r.sink.ops->close(r.sink.self);
    client_close(r.client);
    stub_close(&r.stub);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r.loop), 0);
}

static void too_many_headers(void **state)
{
    (void)state;
    const char *headers[UPSTREAM_HEADERS_MAX + 2] = {0};
    struct sink sink = {0};
    struct error err = {{0}};
    for (int i = 0; i <= UPSTREAM_HEADERS_MAX; i++)
        headers[i] = "A: b";
    struct upstream_opts opts = {.url = {"a", "b", "c"}, .headers = headers, .name = "x"};
    assert_int_equal(upstream_open(&sink, NULL, &opts, &err), ERR_CONFIG);
    assert_null(sink.ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parcel_is_a_post),
        cmocka_unit_test(too_many_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
