#include "unit/test.h"

#include "otlp/json_object.h"
#include "policy/report.h"
#include "unit/net/stub.h"
#include "unit/pipeline/inside.h"
#include "util/diag.h"

struct rig {
    uv_loop_t loop;
    struct stub stub;
    struct client *client;
    struct report *report;
    struct pipeline *pipeline;
    struct ledger *ledger; /* the pipeline's, as is the next */
    struct patterns *patterns;
    struct report_marks marks;
    uint64_t seen; /* patterns begin one after the other */
    struct clock_fake clock;
    struct budget budget;
    struct report_opts opts;
};

static int on_admit(void *ctx, size_t bytes, size_t largest)
{
    (void)ctx;
    (void)bytes;
    (void)largest;
    return ERR_FULL;
}

static int on_take(void *ctx, const struct census_want *want, struct census *out)
{
    return census_take(((struct rig *)ctx)->pipeline, want, out);
}

static void open_pipeline(struct rig *r)
{
    struct rules *rules;
    const struct pipeline_opts opts = {
        .max_patterns = 256,
        .max_services = 8,
        .clock = &r->clock.clock,
        .sink = {.ctx = r, .admit = on_admit},
    };
    assert_int_equal(rules_new(&rules), 0);
    assert_int_equal(pipeline_new(&r->pipeline, &opts, rules), 0);
    rules_unref(rules);
    r->ledger = pipeline_ledger(r->pipeline);
    r->patterns = pipeline_patterns(r->pipeline);
}

static void rig_open(struct rig *r)
{
    *r = (struct rig){.report = NULL};
    uv_loop_init(&r->loop);
    stub_open(&r->stub, &r->loop);
    budget_init(&r->budget, 8 << 20);
    clock_fake_init(&r->clock, 1000, 1700000000000000000u);
    assert_int_equal(client_open(&r->client, &r->loop, &(struct client_opts){"t", 1000, 4}), 0);
    open_pipeline(r);
    report_marks_init(&r->marks, &r->budget);
    r->opts = (struct report_opts){
        .server = r->stub.url,
        .api_key = "key",
        .team_id = 7,
        .interval_ms = 3600000,
        .timeout_ms = 300,
        .clock = &r->clock.clock,
        .marks = &r->marks,
        .take = on_take,
        .ctx = r,
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
    pipeline_free(r->pipeline);
    report_marks_done(&r->marks);
    assert_int_equal(r->budget.used, 0);
}

static void count(struct rig *r, uint32_t service, uint64_t signature, enum level level, uint64_t n,
                  uint64_t kept)
{
    struct pattern_key key = {.signature = signature, .service = service, .level = (uint8_t)level};
    bool is_new;
    struct pattern *e = patterns_get(r->patterns, &key, &is_new);
    if (is_new) {
        e->first_seen_ns = 1600000000500000000u + r->seen++;
        pattern_set_template(r->patterns, e, SPAN("took <*> \"ms\""));
    }
    e->last_seen_s = 1600000009;
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
    struct census census;
    assert_int_equal(report_take(&census, &r.opts), 0);
    assert_int_equal(report_write(&body, &r.opts, &census, cart), 2);
    census_done(&census);
    buf_append_byte(&body, 0);
    assert_string_equal(
        (char *)body.base,
        "{\"service_name\":\"cart "
        "\\\"x\\\"\",\"team_id\":7,\"timestamp\":1700000000.000,\"algorithm\":\"lps1\","
        "\"patterns\":["
        "{\"signature\":\"lps1:0000000000000001\",\"count\":4,\"sampled_count\":0,\"first_seen\":"
        "1600000000.500,"
        "\"last_seen\":1600000009.000,\"bytes\":40,\"sampled_bytes\":0,\"template\":\"took <*> "
        "\\\"ms\\\"\",\"severity_distribution\":{\"DEBUG\":4}},"
        "{\"signature\":\"lps1:00000000000000ab\",\"count\":8,\"sampled_count\":3,\"first_seen\":"
        "1600000000.500,"
        "\"last_seen\":1600000009.000,\"bytes\":80,\"sampled_bytes\":0,\"template\":\"took <*> "
        "\\\"ms\\\"\",\"severity_distribution\":{\"INFO\":5,\"WARN\":3}}"
        "],\"total_logs\":12,\"unique_patterns\":2}");
    buf_done(&body);
    rig_close(&r);
}

static void versions_of_the_service(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t cart = ledger_service(r.ledger, SPAN("cart"));
    r.stub.status = 202;
    count(&r, cart, 1, LEVEL_INFO, 5, 2);
    tell(&r);
    assert_false(says(&r, "versions"));
    service_versions_add(ledger_versions(r.ledger, cart), 1, SPAN("1.0\"x"), 1600000000500000000u);
    service_versions_add(ledger_versions(r.ledger, cart), 2, SPAN("2.0"), 1600000009000000000u);
    count(&r, cart, 1, LEVEL_INFO, 5, 2);
    tell(&r);
    assert_true(says(&r, "\"versions\":[{\"version\":\"1.0\\\"x\",\"first_seen\":1600000000.500},"
                         "{\"version\":\"2.0\",\"first_seen\":1600000009.000}]"));
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
    assert_int_equal(report_stats(r.report)->failed.value, 1); /* the round */
    struct census census;
    r.budget.limit = 8 << 20;
    assert_int_equal(report_take(&census, &r.opts), 0);
    assert_int_equal(report_marks_reserve(&r.marks, &census), 0);
    r.budget.limit = r.budget.used; /* a census has room, and no body */
    census_done(&census);
    tell(&r);
    assert_int_equal(r.stub.requests, 0);
    assert_int_equal(report_stats(r.report)->failed.value, 6);
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

/* The same pattern, evicted and come again into the entry that it had: not what was reported. */
static void a_mark_is_of_one_stay_in_the_table(void **state)
{
    (void)state;
    struct report_marks marks;
    struct census_pattern p = {.key = {7, 1, LEVEL_INFO, 0}, .first_seen_ns = 5, .number = 3};
    const struct census c = {.patterns = &p, .pattern_count = 1, .services_held = 2};
    report_marks_init(&marks, NULL);
    assert_int_equal(report_marks_of(&marks, &p).received, 0);
    assert_int_equal(report_marks_reserve(&marks, &c), 0);
    p.counts = (struct pattern_counts){.received = 9, .kept = 4, .received_bytes = 90};
    report_marks_set(&marks, &p);
    p.counts.received = 12;
    assert_int_equal(report_marks_of(&marks, &p).received, 9);
    assert_int_equal(report_marks_of(&marks, &p).kept, 4);
    assert_int_equal(report_marks_of(&marks, &p).bytes, 90);
    struct census_pattern others[] = {p, p, p, p};
    others[0].first_seen_ns = 6;
    others[1].key.signature = 8;
    others[2].key.service = 0;
    others[3].counts.received = 8; /* the wall clock was set back, and it began at the same time */
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_row(report_marks_of(&marks, &others[i]).received == 0, "%zu", i);
    report_marks_done(&marks);
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

static bool is_limited_now(void *ctx)
{
    return ((struct rig *)ctx)->clock.now_ms > 5000;
}

/* Losses are reported once each, also of a service that has nothing else to report; those of a
 * report that was not taken go with a later one. */
static void losses_and_the_quota(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    report_close(r.report);
    r.opts.is_quota_limited = is_limited_now;
    assert_int_equal(report_open(&r.report, &r.loop, r.client, &r.opts), 0);
    r.stub.status = 202;
    uint32_t cart = ledger_service(r.ledger, SPAN("cart"));
    count(&r, cart, 1, LEVEL_INFO, 1, 1);
    ledger_decide(r.ledger, cart, VERDICT_KEPT, 20, 200);
    ledger_settle(r.ledger, cart, FATE_DELIVERED, 5);
    tell(&r);
    assert_int_equal(r.stub.requests, 1);
    assert_false(says(&r, "lost"));
    assert_false(says(&r, "quota"));

    ledger_settle(r.ledger, cart, FATE_LOST_EXPIRED, 7);
    ledger_settle(r.ledger, cart, FATE_LOST_TOO_BIG, 1);
    r.stub.status = 422;
    tell(&r);
    ledger_settle(r.ledger, cart, FATE_LOST_EXPIRED, 2);
    r.stub.status = 202;
    r.clock.now_ms = 6000;
    tell(&r);
    assert_int_equal(r.stub.requests, 3);
    assert_true(says(&r, "\"total_logs\":0,\"unique_patterns\":0,\"lost\":{\"too_large\":1,"
                         "\"expired\":9},\"quota_limited\":true}"));
    tell(&r);
    assert_int_equal(r.stub.requests, 3);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_the_server_requires),
        cmocka_unit_test(versions_of_the_service),
        cmocka_unit_test(only_differences_and_nothing_twice),
        cmocka_unit_test(a_failed_report_goes_with_the_next),
        cmocka_unit_test(counting_goes_on_meanwhile),
        cmocka_unit_test(every_service_once_and_no_memory),
        cmocka_unit_test(a_mark_is_of_one_stay_in_the_table),
        cmocka_unit_test(our_own_events_are_no_service),
        cmocka_unit_test(losses_and_the_quota),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
