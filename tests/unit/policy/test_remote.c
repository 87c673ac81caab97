#include "unit/test.h"

#include "policy/remote.h"
#include "unit/net/stub.h"
#include "util/diag.h"

#define GOOD(version, rate) "{\"global_rate\": " rate ", \"version\": " version "}"

struct rig {
    uv_loop_t loop;
    struct stub stub;
    struct client *client;
    struct remote *remote;
    struct rules *base, *installed;
    unsigned installs;
    uint32_t service;
};

static void on_install(void *ctx, uint32_t service, const struct rules *rules)
{
    struct rig *r = ctx;
    r->installs++;
    r->service = service;
    rules_unref(r->installed);
    r->installed = rules_ref(rules);
}

static void rig_open(struct rig *r, const char *key)
{
    char server[128];
    *r = (struct rig){.installs = 0};
    uv_loop_init(&r->loop);
    stub_open(&r->stub, &r->loop);
    assert_int_equal(client_open(&r->client, &r->loop, &(struct client_opts){"t", 1000, 4}), 0);
    assert_int_equal(rules_new(&r->base), 0);
    snprintf(server, sizeof server, "%s//", r->stub.url);
    const struct remote_opts opts = {
        .server = server,
        .api_key = key,
        .team_id = 7,
        .refresh_interval_ms = 100,
        .timeout_ms = 300,
        .clock = clock_real(),
        .base = r->base,
        .install = on_install,
        .ctx = r,
    };
    assert_int_equal(remote_open(&r->remote, &r->loop, r->client, &opts), 0);
}

static void rig_close(struct rig *r)
{
    remote_close(r->remote);
    client_close(r->client);
    stub_close(&r->stub);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    rules_unref(r->installed);
    rules_unref(r->base);
}

static void installed_at_first_sight(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "key");
    r.stub.body = SPAN(GOOD("4", "0.25"));
    const uint32_t service = 1;
    const struct span name = SPAN("my shop/\xc3\xa9?&%");
    stub_spin(&r.loop, NULL, 0, 600);
    assert_int_equal(r.stub.requests, 0); /* nobody was seen yet */
    remote_service_seen(r.remote, service, name);
    remote_service_seen(r.remote, service, name); /* twice is once */
    stub_spin(&r.loop, &r.installs, 1, 5000);
    assert_int_equal(r.installs, 1);
    assert_int_equal(r.service, service);
    assert_int_equal(rules_version(r.installed), 4);
    assert_string_equal(r.stub.path, "/api/v1/policies/my%20shop%2F%C3%A9%3F%26%25");
    assert_string_equal(r.stub.query, "team_id=7");
    assert_string_equal(r.stub.authorization, "Bearer key");
    assert_int_equal(r.stub.method, METHOD_GET);

    r.stub.body = SPAN(GOOD("5", "0.5"));
    stub_spin(&r.loop, &r.installs, 2, 5000); /* and again after the interval */
    assert_int_equal(rules_version(r.installed), 5);
    assert_int_equal(remote_stats(r.remote)->services, 1);
    assert_true(remote_stats(r.remote)->last_success_ms > 0);

    remote_service_seen(r.remote, 0, SPAN("other")); /* no policy can be asked for these */
    remote_service_seen(r.remote, 2, SPAN(""));
    r.stub.hangs = true;
    stub_spin(&r.loop, NULL, 0, 300);
    assert_non_null(strstr(r.stub.path, "my%20shop"));
    rig_close(&r);
}

static void the_last_good_one_stays(void **state)
{
    (void)state;
    static char huge[2 << 20]; /* twice what is read of a policy */
    memset(huge, ' ', sizeof huge);
    memcpy(huge, GOOD("9", "0.5"), sizeof GOOD("9", "0.5") - 2); /* good, but for its end */
    huge[sizeof huge - 1] = '}';
    static const struct {
        const char *name;
        int status;
        struct span body;
        bool hangs;
        size_t counter; /* of struct remote_stats */
    } rows[] = {
#define STAT(s) offsetof(struct remote_stats, s)
        {"unknown", 404, {NULL, 0}, false, STAT(unknown)},
        {"ill", 500, {(const uint8_t *)"{\"global_rate\": 0}", 18}, false, STAT(failed)},
        {"redirect", 302, {NULL, 0}, false, STAT(failed)},
        {"garbage", 200, {(const uint8_t *)"<html>", 6}, false, STAT(invalid)},
        {"bad policy", 200, {(const uint8_t *)"{\"global_rate\": 7}", 18}, false, STAT(invalid)},
        {"nothing", 200, {NULL, 0}, false, STAT(invalid)},
        {"huge", 200, {(const uint8_t *)huge, sizeof huge}, false, STAT(invalid)},
        {"hangs", 200, {NULL, 0}, true, STAT(failed)},
    };
    struct rig r;
    rig_open(&r, "");
    r.stub.body = SPAN(GOOD("4", "0.25"));
    remote_service_seen(r.remote, 1, SPAN("cart"));
    stub_spin(&r.loop, &r.installs, 1, 5000);
    assert_string_equal(r.stub.authorization, "");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct metric *m =
            (const void *)((const char *)remote_stats(r.remote) + rows[i].counter);
        uint64_t before = m->value;
        unsigned installs = r.installs, asked = r.stub.requests;
        r.stub.status = rows[i].status;
        r.stub.body = rows[i].body;
        r.stub.hangs = rows[i].hangs;
        stub_spin(&r.loop, &r.stub.requests, asked + 1, 5000);
        stub_spin(&r.loop, NULL, 0, rows[i].hangs ? 500 : 50);
        assert_row(m->value > before, "%s", rows[i].name);
        assert_row(r.installs == installs, "%s", rows[i].name);
        assert_int_equal(rules_version(r.installed), 4);
    }
    r.stub.hangs = false;
    r.stub.status = 200;
    r.stub.body = SPAN(GOOD("6", "0.5"));
    stub_spin(&r.loop, &r.installs, 2, 5000);
    assert_int_equal(rules_version(r.installed), 6); /* and it comes back by itself */
    r.stub.hangs = true;
    stub_spin(&r.loop, &r.stub.requests, r.stub.requests + 1, 5000);
    rig_close(&r); /* with one in flight */
}

static void many_services_few_at_once(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "");
    r.stub.hangs = true;
    for (uint32_t i = 0; i < 50; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "s%u", i);
        remote_service_seen(r.remote, i + 1, span_of(name, (size_t)n));
    }
    stub_spin(&r.loop, &r.stub.requests, 4, 5000);
    stub_spin(&r.loop, NULL, 0, 100);
    assert_int_equal(r.stub.requests, 4);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(installed_at_first_sight),
        cmocka_unit_test(the_last_good_one_stays),
        cmocka_unit_test(many_services_few_at_once),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
