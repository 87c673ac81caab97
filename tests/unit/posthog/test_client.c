/* How requests take their turn, against a real server on loopback. */
#include "unit/test.h"

#include "posthog/client.h"
#include "unit/net/stub.h"

#define KEY "phx_0123456789abcdef"

struct rig {
    uv_loop_t loop;
    struct stub stub;
    struct app *app;
    struct budget budget;
    struct clock_fake clock;
    unsigned done;
    enum app_fault fault;
    char text[APP_BASE_BYTES], said[256];
};

static void on_done(void *ctx, const struct app_answer *a)
{
    struct rig *r = ctx;
    r->done++;
    r->fault = a->fault;
    snprintf(r->text, sizeof r->text, "%s", a->text);
    stub_copy(r->said, sizeof r->said, json_string(json_get(a->root, "detail")));
}

static void rig_open(struct rig *r, uint32_t patience_ms)
{
    *r = (struct rig){.done = 0};
    uv_loop_init(&r->loop);
    stub_open(&r->stub, &r->loop);
    r->stub.body = SPAN("{}");
    budget_init(&r->budget, 16 << 20);
    clock_fake_init(&r->clock, 1000000, 0);
    const struct app_opts opts = {
        .host = r->stub.url,
        .key = KEY,
        .project_id = 7,
        .patience_ms = patience_ms,
        .clock = &r->clock.clock,
        .budget = &r->budget,
    };
    assert_int_equal(app_open(&r->app, &r->loop, &opts), 0);
}

static void rig_close(struct rig *r)
{
    app_close(r->app);
    stub_close(&r->stub);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    assert_int_equal(r->budget.used, 0);
}

static struct app_call *ask(struct rig *r, const char *method, const char *path, struct span body)
{
    struct app_call *call = NULL;
    const struct app_request request = {
        .method = method, .path = path, .body = body, .ctx = r, .done = on_done};
    unsigned before = r->done;
    assert_int_equal(app_send(r->app, &request, &call), 0);
    assert_int_equal(r->done, before); /* never from inside */
    return call;
}

static void paths_methods_and_the_key(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 0);
    (void)ask(&r, "POST", "logs/count/?x=1", SPAN("{\"query\":{}}"));
    stub_spin(&r.loop, &r.done, 1, 5000);
    assert_int_equal(r.fault, APP_FINE);
    assert_string_equal(r.stub.path, "/api/projects/7/logs/count/");
    assert_string_equal(r.stub.query, "x=1");
    assert_string_equal(r.stub.authorization, "Bearer " KEY);
    assert_string_equal(r.stub.content_type, "application/json");
    assert_string_equal(r.stub.got, "{\"query\":{}}");
    app_set_project(r.app, 9);
    r.stub.status = 204;
    r.stub.body = SPAN("");
    (void)ask(&r, "GET", "/api/projects/", (struct span){0});
    stub_spin(&r.loop, &r.done, 2, 5000);
    assert_string_equal(r.stub.path, "/api/projects/");
    assert_int_equal(r.fault, APP_FINE);
    assert_int_equal(app_counts(r.app)[APP_FINE], 2);
    rig_close(&r);
}

static void a_key_that_is_repeated_is_overwritten(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 0);
    r.stub.status = 401;
    r.stub.body = SPAN("{\"detail\":\"no such key: " KEY "!\"}");
    (void)ask(&r, "GET", "x/", (struct span){0});
    stub_spin(&r.loop, &r.done, 1, 5000);
    assert_int_equal(r.fault, APP_BAD_KEY);
    assert_null(strstr(r.said, KEY));
    assert_non_null(strstr(r.said, "no such key: ***"));
    assert_null(strstr(r.text, KEY));
    rig_close(&r);
}

static void three_at_once_and_480_a_minute(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 0);
    r.stub.hangs = true;
    for (int i = 0; i < 20; i++)
        (void)ask(&r, "GET", "x/", (struct span){0});
    stub_spin(&r.loop, &r.stub.requests, 4, 200);
    assert_int_equal(r.stub.requests, APP_AT_ONCE);
    rig_close(&r); /* those under way and those that wait are forgotten */

    rig_open(&r, 0);
    for (int i = 0; i < 20; i++)
        (void)ask(&r, "GET", "x/", (struct span){0});
    stub_spin(&r.loop, &r.done, 9, 500); /* time stands still: a second's worth */
    assert_int_equal(r.done, APP_PER_MINUTE / 60);
    clock_fake_advance(&r.clock, 500);
    stub_spin(&r.loop, &r.done, 12, 5000);
    stub_spin(&r.loop, NULL, 0, 200);
    assert_int_equal(r.done, 12);
    rig_close(&r);
}

static void a_429_holds_all_back(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 60000);
    r.stub.status = 429;
    r.stub.headers[0] = (struct http_header){SPAN("retry-after"), SPAN("1")};
    r.stub.header_count = 1;
    (void)ask(&r, "GET", "x/", (struct span){0});
    stub_spin(&r.loop, &r.stub.requests, 1, 5000);
    r.stub.status = 200;
    (void)ask(&r, "GET", "y/", (struct span){0});
    stub_spin(&r.loop, &r.done, 1, 300);
    assert_int_equal(r.done, 0);
    assert_int_equal(r.stub.requests, 1);
    clock_fake_advance(&r.clock, 1000);
    stub_spin(&r.loop, &r.done, 2, 5000);
    assert_int_equal(r.done, 2);
    assert_int_equal(r.fault, APP_FINE);
    assert_int_equal(r.stub.requests, 3);

    /* Longer than there is patience for: said at once, of those that wait as well. */
    r.stub.status = 429;
    r.stub.headers[0] = (struct http_header){SPAN("retry-after"), SPAN("600")};
    (void)ask(&r, "GET", "x/", (struct span){0});
    stub_spin(&r.loop, &r.done, 3, 5000);
    assert_int_equal(r.fault, APP_THROTTLED);
    (void)ask(&r, "GET", "y/", (struct span){0});
    stub_spin(&r.loop, &r.done, 4, 5000);
    assert_int_equal(r.fault, APP_THROTTLED);
    assert_int_equal(r.stub.requests, 4);
    rig_close(&r);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct rig r;
    unsigned sent = 0;
    const struct app_request request = {
        .method = "GET", .path = "x/", .ctx = &r, .done = on_done, .max_answer_bytes = 32 << 20};
    rig_open(&r, 0);
    assert_int_equal(app_send(r.app, &request, NULL), 0);
    stub_spin(&r.loop, &r.done, 1, 5000);
    assert_int_equal(r.fault, APP_NO_ROOM);
    r.stub.hangs = true;
    int rc;
    do {
        struct app_request more = request;
        more.max_answer_bytes = 0;
        rc = app_send(r.app, &more, NULL);
        sent += rc == 0;
    } while (rc == 0);
    assert_int_equal(rc, ERR_FULL);
    assert_int_equal(sent, APP_WAITING_MAX);
    rig_close(&r);
}

static void what_is_cancelled_is_not_answered(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 0);
    r.stub.hangs = true;
    struct app_call *calls[5];
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        calls[i] = ask(&r, "GET", "x/", (struct span){0});
    stub_spin(&r.loop, &r.stub.requests, 3, 5000);
    app_cancel(calls[0]); /* under way */
    app_cancel(calls[3]); /* waits */
    stub_spin(&r.loop, &r.stub.requests, 4, 5000);
    assert_int_equal(r.stub.requests, 4); /* the next has taken its place */
    assert_int_equal(r.done, 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_methods_and_the_key),
        cmocka_unit_test(a_key_that_is_repeated_is_overwritten),
        cmocka_unit_test(three_at_once_and_480_a_minute),
        cmocka_unit_test(a_429_holds_all_back),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(what_is_cancelled_is_not_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
