#include "unit/test.h"

#include "otlp/json_object.h"
#include "pipeline/rules.h"
#include "policy/report.h"
#include "unit/net/stub.h"
#include "util/diag.h"

struct rig {
    uv_loop_t loop;
    struct stub stub;
    struct client *client;
    struct report *report;
    struct ledger *ledger;
    struct patterns *patterns;
    struct clock_fake clock;
    struct budget budget;
    struct report_opts opts;
};

static void rig_open(struct rig *r)
{
    *r = (struct rig){.report = NULL};
    uv_loop_init(&r->loop);
    stub_open(&r->stub, &r->loop);
    budget_init(&r->budget, 8 << 20);
    clock_fake_init(&r->clock, 1000, 1700000000000000000u);
    assert_int_equal(client_open(&r->client, &r->loop, &(struct client_opts){"t", 1000, 4}), 0);
    assert_int_equal(ledger_new(&r->ledger, &(struct ledger_opts){.max_services = 8}), 0);
    assert_int_equal(patterns_new(&r->patterns, &(struct patterns_opts){.max_entries = 256}), 0);
    r->opts = (struct report_opts){
        .server = r->stub.url,
        .api_key = "key",
        .team_id = 7,
        .interval_ms = 3600000,
        .timeout_ms = 300,
        .clock = &r->clock.clock,
        .ledger = r->ledger,
        .patterns = r->patterns,
        .budget = &r->budget,
    };
    assert_int_equal(report_open(&r->report, &r->loop, r->client, &r->opts), 0);
}

static void rig_close(struct rig *r)
{
    report_close(r->report);
    client_close(r->client);
    stub_close(&r->stub);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    patterns_free(r->patterns);
    ledger_free(r->ledger);
    assert_int_equal(r->budget.used, 0);
}

static void count(struct rig *r, uint32_t service, uint64_t signature, enum level level, uint64_t n,
                  uint64_t kept)
{
    struct pattern_key key = {.signature = signature, .service = service, .level = (uint8_t)level};
    bool is_new;
    struct pattern *e = patterns_get(r->patterns, &key, &is_new);
    if (is_new) {
        e->first_seen_ns = 1600000000500000000u;
        pattern_set_template(r->patterns, e, SPAN("took <*> \"ms\""));
    }
    e->last_seen_ns = 1600000009000000000u;
    e->counts.received += n;
    e->counts.kept += kept;
    e->counts.received_bytes += n * 10;
    ledger_decide(r->ledger, service, VERDICT_SAMPLED_OUT, n, n * 10);
}

/* A round; what was posted last is in the stub. */
static void tell(struct rig *r)
{
    report_now(r->report);
    for (int i = 0; i < 100 && !report_is_idle(r->report); i++)
        stub_spin(&r->loop, NULL, 0, 20);
    assert_true(report_is_idle(r->report));
}

static bool says(struct rig *r, const char *text)
{
    return strstr(r->stub.got, text) != NULL;
}

static void all_that_the_server_requires(void **state)
{
    (void)state;
    struct rig r;
    struct buf body = {0};
    rig_open(&r);
    uint32_t cart = ledger_service(r.ledger, SPAN("cart \"x\"")),
             pay = ledger_service(r.ledger, SPAN("pay"));
    count(&r, cart, 0xab, LEVEL_INFO, 5, 2);
    count(&r, cart, 0xab, LEVEL_WARN, 3, 1);
    count(&r, cart, 0x1, LEVEL_DEBUG, 4, 0);
    count(&r, pay, 0x2, LEVEL_INFO, 1, 1);
    assert_int_equal(report_write(&body, &r.opts, cart, 12), 2);
    buf_append_byte(&body, 0);
    assert_string_equal(
        (char *)body.base,
        "{\"service_name\":\"cart "
        "\\\"x\\\"\",\"team_id\":7,\"timestamp\":1700000000.000,\"algorithm\":\"lps1\","
        "\"patterns\":["
        "{\"signature\":\"lps1:0000000000000001\",\"count\":4,\"sampled_count\":0,\"first_seen\":"
        "1600000000.500,"
        "\"last_seen\":1600000009.000,\"bytes\":40,\"template\":\"took <*> "
        "\\\"ms\\\"\",\"severity_distribution\":{\"DEBUG\":4}},"
        "{\"signature\":\"lps1:00000000000000ab\",\"count\":8,\"sampled_count\":3,\"first_seen\":"
        "1600000000.500,"
        "\"last_seen\":1600000009.000,\"bytes\":80,\"template\":\"took <*> "
        "\\\"ms\\\"\",\"severity_distribution\":{\"INFO\":5,\"WARN\":3}}"
        "],\"total_logs\":12,\"unique_patterns\":2}");
    buf_done(&body);
    rig_close(&r);
}

static void only_differences_and_nothing_twice(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t cart = ledger_service(r.ledger, SPAN("cart"));
    count(&r, cart, 1, LEVEL_INFO, 5, 2);
    count(&r, cart, 2, LEVEL_INFO, 1, 1);
    r.stub.status = 202;
    tell(&r);
    assert_int_equal(r.stub.requests, 1);
    assert_string_equal(r.stub.path, "/api/v1/patterns/stats");
    assert_string_equal(r.stub.authorization, "Bearer key");
    assert_string_equal(r.stub.content_type, "application/json");
    assert_true(says(&r, "\"total_logs\":6,\"unique_patterns\":2}"));
    tell(&r);
    assert_int_equal(r.stub.requests, 1); /* nothing new, nothing told */

    count(&r, cart, 1, LEVEL_INFO, 7, 3);
    tell(&r);
    assert_int_equal(r.stub.requests, 2);
    assert_true(says(&r, "\"count\":7,\"sampled_count\":3,"));
    assert_true(says(&r, "\"total_logs\":7,\"unique_patterns\":1}"));
    assert_int_equal(report_stats(r.report)->accepted.value, 2);
    assert_int_equal(report_stats(r.report)->last_success_ms, 1000);

    /* A reload of its settings opens another one, which goes on where this one was. */
    report_close(r.report);
    assert_int_equal(report_open(&r.report, &r.loop, r.client, &r.opts), 0);
    tell(&r);
    assert_int_equal(r.stub.requests, 2);
    count(&r, cart, 1, LEVEL_INFO, 4, 3);
    tell(&r);
    assert_true(says(&r, "\"total_logs\":4,\"unique_patterns\":1}"));
    rig_close(&r);
}

static void a_failed_report_goes_with_the_next(void **state)
{
    (void)state;
    static const int statuses[] = {500, 422, 302, 0};
    struct rig r;
    rig_open(&r);
    uint32_t cart = ledger_service(r.ledger, SPAN("cart"));
    uint64_t sum = 0;
    for (unsigned i = 0; i < ARRAY_LEN(statuses); i++) {
        count(&r, cart, 1, LEVEL_INFO, i + 1, 1);
        sum += i + 1;
        r.stub.status = statuses[i];
        r.stub.hangs = statuses[i] == 0;
        tell(&r);
        assert_int_equal(report_stats(r.report)->failed.value, i + 1);
    }
    r.stub.hangs = false;
    r.stub.status = 202;
    char text[64];
    tell(&r);
    snprintf(text, sizeof text, "\"count\":%u,\"sampled_count\":4,", (unsigned)sum);
    assert_true(says(&r, text));
    unsigned asked = r.stub.requests;
    tell(&r);
    assert_int_equal(r.stub.requests, asked);
    rig_close(&r);
}

/* What is counted while a report is under way goes with the next; what is evicted
 * meanwhile, and comes again, is not mistaken for what was told. */
static void counting_goes_on_meanwhile(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.stub.status = 202;
    uint32_t cart = ledger_service(r.ledger, SPAN("cart"));
    count(&r, cart, 1, LEVEL_INFO, 5, 0);
    count(&r, cart, 2, LEVEL_INFO, 9, 0);
    report_now(r.report);
    report_now(r.report); /* one round at a time */
    count(&r, cart, 1, LEVEL_INFO, 3, 0);
    count(&r, cart, 1, LEVEL_INFO, 1, 0);
    for (uint64_t i = 0; i < 2000; i++) {
        count(&r, cart, 1000 + i, LEVEL_INFO, 1, 0);
        if (i % 50 == 0)
            count(&r, cart, 1, LEVEL_INFO, 0, 0); /* in use: it stays */
    }
    count(&r, cart, 2, LEVEL_INFO, 6, 0); /* was evicted, begins anew */
    tell(&r);
    assert_int_equal(r.stub.requests, 1);
    tell(&r);
    assert_int_equal(r.stub.requests, 2);
    assert_true(says(&r, "{\"signature\":\"lps1:0000000000000001\",\"count\":4,"));
    assert_true(says(&r, "{\"signature\":\"lps1:0000000000000002\",\"count\":6,"));
    assert_true(says(&r, "\"total_logs\":2010,"));
    rig_close(&r);
}

static void every_service_once_and_no_memory(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.stub.status = 202;
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        count(&r, ledger_service(r.ledger, span_str(names[i])), 1, LEVEL_INFO, 1, 0);
    count(&r, LEDGER_OTHER, 1, LEVEL_INFO, 1, 0); /* has no name to be told under */
    r.budget.limit = 8;
    tell(&r);
    assert_int_equal(r.stub.requests, 0);
    assert_int_equal(report_stats(r.report)->failed.value, 5);
    r.budget.limit = 8 << 20;
    tell(&r);
    assert_int_equal(r.stub.requests, 5);
    assert_int_equal(report_stats(r.report)->accepted.value, 5);
    count(&r, 1, 1, LEVEL_INFO, 1, 0);
    r.stub.hangs = true;
    report_now(r.report);
    stub_spin(&r.loop, &r.stub.requests, 6, 5000);
    rig_close(&r); /* with one in flight */
}

/* Events are kept records of a service without patterns; who is really called so has some. */
static void our_own_events_are_no_service(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.stub.status = 202;
    uint32_t own = ledger_service(r.ledger, SPAN("lipservice"));
    ledger_decide(r.ledger, own, VERDICT_KEPT, 3, 300);
    ledger_settle(r.ledger, own, FATE_DELIVERED, 3);
    tell(&r);
    assert_int_equal(r.stub.requests, 0);
    count(&r, own, 5, LEVEL_INFO, 2, 0);
    tell(&r);
    assert_int_equal(r.stub.requests, 1);
    assert_true(says(&r, "\"total_logs\":2,"));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_the_server_requires),
        cmocka_unit_test(only_differences_and_nothing_twice),
        cmocka_unit_test(a_failed_report_goes_with_the_next),
        cmocka_unit_test(counting_goes_on_meanwhile),
        cmocka_unit_test(every_service_once_and_no_memory),
        cmocka_unit_test(our_own_events_are_no_service),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
