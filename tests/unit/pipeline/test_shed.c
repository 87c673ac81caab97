/* A queue that fills behind the pipeline: who goes first, and when a client is refused. */
#include "unit/test.h"

#include "pipeline/stamp.h"
#include "unit/pipeline/inside.h"
#include "unit/pipeline/requests.h"

enum {
    QUEUE_BYTES = 4 << 20,
    REQUEST_RECORDS = 100,
    STEP_MS = 10,
    BODY_BYTES = 200,
};

struct rig {
    struct pipeline *pipeline;
    struct rules *rules;
    struct clock_fake clock;
    struct arena arena;
    struct budget budget;
    double held, most;
    unsigned step_ms; /* between two requests; 0: STEP_MS */
    unsigned refused, offered[LEVEL_COUNT], kept[LEVEL_COUNT];
    double weight[LEVEL_COUNT];
};

static int on_admit(void *ctx, size_t bytes, size_t largest)
{
    struct rig *r = ctx;
    (void)largest;
    return r->held + (double)bytes > QUEUE_BYTES ? ERR_FULL : 0;
}

static double on_fullness(void *ctx)
{
    struct rig *r = ctx;
    return r->held / QUEUE_BYTES;
}

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct rig *r = ctx;
    struct log_record view;
    (void)g;
    (void)service;
    assert_int_equal(log_record_read(&view, record), 0);
    enum level level = level_of(log_severity(&view));
    r->held += (double)(record.len + stamp.len);
    if (r->held > r->most)
        r->most = r->held;
    r->kept[level]++;
    if (stamp.len > 0) {
        assert_int_equal(log_record_read(&view, stamp), 0);
        r->weight[level] += log_known(&view, LOG_ADJUSTED_COUNT)->real;
    } else {
        r->weight[level]++;
    }
    return 0;
}

static void rig_open(struct rig *r)
{
    *r = (struct rig){0};
    budget_init(&r->budget, 16 << 20);
    arena_init(&r->arena, 1 << 20, NULL);
    clock_fake_init(&r->clock, 1000, 1700000000000000000u);
    assert_int_equal(rules_new(&r->rules), 0);
    const struct pipeline_opts opts = {
        .max_patterns = 256,
        .max_services = 4,
        .seed = 3,
        .stamps = 1u << STAMP_ADJUSTED_COUNT,
        .budget = &r->budget,
        .clock = &r->clock.clock,
        .sink = {r, on_admit, on_emit, on_fullness},
    };
    assert_int_equal(pipeline_new(&r->pipeline, &opts, r->rules), 0);
}

static void rig_close(struct rig *r)
{
    assert_int_equal(ledger_imbalance(pipeline_ledger(r->pipeline)), 0);
    pipeline_free(r->pipeline);
    rules_unref(r->rules);
    arena_done(&r->arena);
    assert_int_equal(r->budget.used, 0);
}

/* Requests of 100 records each 10 ms, 2.3 MiB a second, a fifth of them errors where asked,
 * the rest DEBUG, INFO and WARN alike; the queue gives out `drain` bytes a second. */
static void load(struct rig *r, unsigned seconds, double drain, bool has_errors)
{
    static const enum level levels[] = {LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN};
    static uint64_t made;
    struct requests q = {0};
    unsigned step_ms = r->step_ms > 0 ? r->step_ms : STEP_MS;
    for (unsigned ms = 0; ms < seconds * 1000; ms += step_ms) {
        unsigned offered[LEVEL_COUNT] = {0};
        requests_begin(&q);
        for (unsigned i = 0; i < REQUEST_RECORDS; i++) {
            enum level level = has_errors && i % 5 == 4 ? LEVEL_ERROR : levels[i % 3];
            char body[BODY_BYTES + 1];
            memset(body, 'x', BODY_BYTES);
            body[BODY_BYTES] = '\0';
            memcpy(body, i % 2 == 0 ? "cache " : "queue ", 6);
            requests_record(&q, &(const struct request_record){
                                    .body = body,
                                    .time_ns = 1 + made++,
                                    .severity = (uint8_t)(4 * level + 1),
                                });
            offered[level]++;
        }
        requests_resource(&q, NULL);
        uint32_t records;
        int rc = pipeline_push(r->pipeline, buf_span(&q.bytes), &r->arena, &records);
        assert_true(rc == 0 || rc == ERR_FULL);
        arena_reset(&r->arena);
        r->refused += rc == ERR_FULL;
        for (int l = 0; l < LEVEL_COUNT && rc == 0; l++)
            r->offered[l] += offered[l];
        clock_fake_advance(&r->clock, step_ms);
        r->held -= drain * step_ms / 1000;
        if (r->held < 0)
            r->held = 0;
    }
    requests_done(&q);
}

static double share(const struct rig *r, enum level level)
{
    return r->offered[level] == 0 ? 1 : (double)r->kept[level] / r->offered[level];
}

static void a_slow_queue_sheds_and_refuses_nobody(void **state)
{
    (void)state;
    static const double drains[] = {2e6, 1.5e6, 1e6,
                                    7e5}; /* of 2.4e6 that come; errors are 4.8e5 */
    for (size_t i = 0; i < ARRAY_LEN(drains); i++) {
        struct rig r;
        rig_open(&r);
        load(&r, 60, drains[i], true);
        print_message("drain %g: DEBUG %.3f, INFO %.3f, WARN %.3f, ERROR %.3f, fullest %.2f\n",
                      drains[i], share(&r, LEVEL_DEBUG), share(&r, LEVEL_INFO),
                      share(&r, LEVEL_WARN), share(&r, LEVEL_ERROR), r.most / QUEUE_BYTES);
        assert_int_equal(r.refused, 0);
        assert_int_equal(r.kept[LEVEL_ERROR], r.offered[LEVEL_ERROR]);
        assert_true(share(&r, LEVEL_DEBUG) < share(&r, LEVEL_INFO));
        assert_true(share(&r, LEVEL_INFO) <= share(&r, LEVEL_WARN));
        assert_true(share(&r, LEVEL_DEBUG) < 0.1 ||
                    share(&r, LEVEL_INFO) > 0.9); /* one after the other */
        assert_true(share(&r, LEVEL_INFO) < 0.5 || share(&r, LEVEL_WARN) > 0.9);
        for (int l = LEVEL_DEBUG; l <= LEVEL_ERROR; l++) { /* the counts stay true */
            double off = r.weight[l] / r.offered[l] - 1;
            assert_row(off > -0.25 && off < 0.25, "%s: %g", level_name((enum level)l), off);
        }
        const struct census_reasons *why = pipeline_reasons(r.pipeline);
        assert_true(why->dropped[REASON_PRESSURE] > 0);
        assert_int_equal(why->dropped[REASON_BUDGET], 0);
        assert_true(pipeline_governor(r.pipeline).pressure > 0);
        rig_close(&r);
    }
}

/* Without errors there is nothing that could fill the last tenth for long. */
static void a_dead_queue_refuses_late(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    load(&r, 20, 0, false); /* ten queues full of records */
    print_message("fullest %.2f, %u refused\n", r.most / QUEUE_BYTES, r.refused);
    assert_int_equal(r.refused, 0);
    load(&r, 20, 0, true); /* errors are never shed: in the end it is full */
    assert_true(r.refused > 0);
    assert_true(r.most <= QUEUE_BYTES);
    assert_int_equal(r.kept[LEVEL_ERROR], r.offered[LEVEL_ERROR]);
    rig_close(&r);
}

/* A queue that fills within a fraction of the interval in which rates are shared out. */
static void a_fast_client_is_not_refused(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    load(&r, 1, 1e9, false); /* known before */
    r.step_ms = 1;           /* 23 MiB a second for a queue of 4 */
    load(&r, 10, 0, false);
    print_message("fullest %.2f, %u refused\n", r.most / QUEUE_BYTES, r.refused);
    assert_int_equal(r.refused, 0);
    assert_true(share(&r, LEVEL_DEBUG) < share(&r, LEVEL_INFO));
    assert_true(share(&r, LEVEL_INFO) < share(&r, LEVEL_WARN));
    rig_close(&r);
}

static void what_is_over_is_forgotten(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    load(&r, 10, 1e6, false);
    assert_true(pipeline_governor(r.pipeline).pressure > 0);
    load(&r, 10, 1e9, false);
    assert_true(pipeline_governor(r.pipeline).pressure <= 0);
    memset(r.kept, 0, sizeof r.kept);
    memset(r.offered, 0, sizeof r.offered);
    load(&r, 10, 1e9, false);
    for (int l = LEVEL_DEBUG; l <= LEVEL_WARN; l++)
        assert_int_equal(r.kept[l], r.offered[l]);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_queue_sheds_and_refuses_nobody),
        cmocka_unit_test(a_dead_queue_refuses_late),
        cmocka_unit_test(a_fast_client_is_not_refused),
        cmocka_unit_test(what_is_over_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
