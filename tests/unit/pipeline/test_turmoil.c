/* Everything at once: small tables, scarce memory, a full queue, reloads between requests, and
 * a clock that leaps. What must hold then is the ledger, the sums of the patterns, and memory. */
#include "unit/test.h"

#include "pattern/signature.h"
#include "pipeline/stamp.h"
#include "unit/pipeline/inside.h"
#include "unit/pipeline/requests.h"
#include "util/diag.h"
#include "util/rng.h"

enum { SEEDS = 6, STEPS = 1500, SERVICES = 6 };

struct rig {
    struct pipeline *pipeline;
    struct rng rng;
    struct clock_fake clock;
    struct budget budget;
    struct arena arena;
    uint64_t watched, taken; /* by the sink */
};

static uint64_t dice(struct rig *r, uint64_t sides)
{
    return rng_upto(&r->rng, sides - 1);
}

static int on_admit(void *ctx, size_t bytes, size_t largest)
{
    (void)bytes;
    (void)largest;
    return dice(ctx, 30) == 0 ? ERR_FULL : 0;
}

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct rig *r = ctx;
    (void)g;
    (void)stamp;
    struct log_record read;
    assert_int_equal(log_record_read(&read, record), 0);
    if (dice(r, 30) == 0)
        return ERR_NOMEM;
    /* An earlier one: a sink settles nothing from inside of what it is given. */
    if (dice(r, 2) == 0 && ledger_row(pipeline_ledger(r->pipeline), service)->queued > 0)
        ledger_settle(pipeline_ledger(r->pipeline), service, FATE_DELIVERED, 1);
    r->taken++;
    return 0;
}

static double on_fullness(void *ctx)
{
    return (double)dice(ctx, 100) / 100;
}

static void on_decided(void *ctx, const struct subject *s, const struct decision *d)
{
    struct rig *r = ctx;
    assert_true(s->pattern->in_use && s->pattern->counts.received > 0 &&
                d->verdict < VERDICT_REJECTED);
    r->watched++;
}

static struct rules *some_rules(struct rig *r)
{
    struct rules *rules;
    struct error err;
    assert_int_equal(rules_new(&rules), 0);
    assert_int_equal(rules_set_global(rules, (double)dice(r, 11) / 10, &err), 0);
    assert_int_equal(rules_set_first(rules, (uint32_t)dice(r, 3), 1000, &err), 0);
    assert_int_equal(rules_set_boost(rules, 1 + (double)dice(r, 4), &err), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rules_set_pattern(rules, rng_next(&r->rng), 0.5, &err), 0);
    const struct rules_matcher m = {.body = SPAN("*drop*")};
    assert_int_equal(rules_add_matcher(rules, dice(r, 2) == 0, &m, &err), 0);
    return rules;
}

static void put_record(struct rig *r, struct requests *q)
{
    static const uint8_t severities[] = {1, 5, 9, 9, 9, 13, 17, 21};
    char text[64];
    snprintf(text, sizeof text, "%s %s went w%d to %d", dice(r, 9) == 0 ? "drop" : "it",
             dice(r, 2) == 0 ? "well" : "badly", (int)dice(r, 400), (int)dice(r, 1000));
    struct request_record record = {
        .body = text,
        .time_ns = 1,
        .severity = severities[dice(r, ARRAY_LEN(severities))],
    };
    if (dice(r, 2) == 0) {
        record.trace[0] = 1;
        record.trace[1] = dice(r, 8) << 56;
    }
    requests_record(q, &record);
}

static void push(struct rig *r)
{
    struct requests q = {0};
    uint32_t records;
    for (uint64_t groups = 1 + dice(r, 3); groups > 0; groups--) {
        const char name[] = {'s', (char)('a' + dice(r, SERVICES + 2)), '\0'};
        for (uint64_t n = dice(r, 40); n > 0; n--)
            put_record(r, &q);
        requests_resource(&q, name);
    }
    int rc = pipeline_push(r->pipeline, buf_span(&q.bytes), &r->arena, &records);
    assert_true(rc == 0 || rc == ERR_FULL || rc == ERR_NOMEM);
    arena_reset(&r->arena);
    requests_done(&q);
}

static void reload(struct rig *r)
{
    static const struct governor_target targets[] = {
        {GOVERNOR_NONE, 0, 0.3},   {GOVERNOR_BYTES, 1, 0.3},       {GOVERNOR_BYTES, 1e5, 1},
        {GOVERNOR_RECORDS, 50, 0}, {GOVERNOR_REDUCTION, 0.5, 0.3}, {GOVERNOR_REDUCTION, 0.001, 0.3},
    };
    struct rules *rules = some_rules(r);
    switch (dice(r, 7)) {
    case 0:
        pipeline_set_target(r->pipeline, &targets[dice(r, ARRAY_LEN(targets))]);
        break;
    case 1:
        assert_int_equal(pipeline_set_observe(r->pipeline, dice(r, 2) == 0), 0);
        break;
    case 2:
        assert_int_equal(pipeline_set_shadow_rules(r->pipeline, dice(r, 2) == 0 ? rules : NULL), 0);
        break;
    case 3:
        pipeline_set_common_rules(r->pipeline, rules);
        break;
    case 4: {
        uint32_t services = ledger_services(pipeline_ledger(r->pipeline));
        assert_int_equal(pipeline_set_rules(r->pipeline, (uint32_t)dice(r, services),
                                            dice(r, 2) == 0 ? rules : NULL),
                         0);
        break;
    }
    case 5: { /* memory comes and goes */
        size_t most = r->budget.limit - r->budget.used, n = dice(r, most + 1);
        assert_int_equal(budget_take(&r->budget, n), 0);
        push(r);
        budget_give(&r->budget, n);
        break;
    }
    default: {
        const struct pipeline_watcher watcher = {r, dice(r, 2) == 0 ? on_decided : NULL};
        pipeline_watch(r->pipeline, &watcher);
    }
    }
    rules_unref(rules);
}

static void check(struct rig *r)
{
    const struct ledger *l = pipeline_ledger(r->pipeline);
    const struct ledger_row *t = ledger_total(l);
    struct patterns *table = pipeline_patterns(r->pipeline);
    struct pattern_counts sum = *patterns_other(table);
    for (uint32_t i = 0; i < patterns_slots(table); i++)
        if (patterns_at(table, i)->in_use)
            pattern_counts_add(&sum, &patterns_at(table, i)->counts);
    uint64_t events = pipeline_reasons(r->pipeline)->kept[REASON_EVENT];
    assert_int_equal(ledger_imbalance(l), 0);
    /* What is kept, released or of our own goes by the door, and nothing else does. */
    assert_int_equal(r->taken, t->verdict[VERDICT_KEPT] + t->released - t->fate[FATE_LOST_BUDGET]);
    assert_int_equal(sum.received, t->received - t->verdict[VERDICT_REJECTED] - events);
    assert_int_equal(sum.kept, t->verdict[VERDICT_KEPT] - events);
    assert_int_equal(sum.sampled_out, t->verdict[VERDICT_SAMPLED_OUT]);
    assert_int_equal(sum.dropped_by_rule, t->verdict[VERDICT_DROPPED_BY_RULE]);
    assert_true(r->budget.used <= r->budget.limit);
    struct governor_stats g = pipeline_governor(r->pipeline);
    assert_true(g.rate >= 0 && g.used >= 0 && g.allowed >= 0 && g.pressure >= 0 && g.pressure <= 1);
}

static void nothing_is_lost_in_turmoil(void **state)
{
    (void)state;
    uint64_t kept[REASON_COUNT] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rig r = {.rng = {seed}};
        budget_init(&r.budget, 600000 + (seed % 3) * 500000);
        arena_init(&r.arena, 1 << 20, NULL);
        clock_fake_init(&r.clock, seed % 2 == 0 ? 0 : 1000, 1700000000000000000u);
        const struct pipeline_opts opts = {
            .max_patterns = 40 + 300 * (uint32_t)(seed % 2),
            .max_patterns_per_service = 16,
            .max_services = SERVICES,
            .family_weight = seed % 3 == 0 ? 0 : 30,
            .seed = seed,
            .stamps = (1u << STAMP_COUNT) - 1,
            .context = {RECORDER_BYTES_MIN, LEVEL_ERROR, 5000, 20, 200},
            .floor_per_second = seed % 2 == 0 ? 20 : 0,
            .events = {true, 1000, 1, 3000, 20},
            .budget = &r.budget,
            .clock = &r.clock.clock,
            .sink = {&r, on_admit, on_emit, on_fullness},
        };
        struct rules *rules = some_rules(&r);
        assert_int_equal(pipeline_new(&r.pipeline, &opts, rules), 0);
        rules_unref(rules);
        for (int step = 0; step < STEPS; step++) {
            push(&r);
            if (dice(&r, 10) == 0)
                reload(&r);
            clock_fake_advance(&r.clock, dice(&r, 50) == 0 ? dice(&r, 4000000) : dice(&r, 300));
            if (dice(&r, 100) == 0)
                r.clock.unix_ns -= dice(&r, UINT64_C(7200000000000));
            if (dice(&r, 3) == 0)
                pipeline_tick(r.pipeline);
            check(&r);
        }
        pipeline_finish(r.pipeline);
        check(&r);
        const struct census_reasons *why = pipeline_reasons(r.pipeline);
        for (int i = 0; i < REASON_COUNT; i++)
            kept[i] += why->kept[i];
        assert_true(why->kept[REASON_EVENT] > 0 &&
                    patterns_evicted(pipeline_patterns(r.pipeline)) > 0);
        assert_true(r.pipeline->place.overflowed > 0 && r.watched > 0);
        assert_true(recorder_stats(r.pipeline->recorder, 0).released > 0);
        pipeline_free(r.pipeline);
        arena_done(&r.arena);
        assert_int_equal(r.budget.used, 0);
    }
    /* Survivors of each kind were among them. */
    assert_true(kept[REASON_FLOOR] > 0 && kept[REASON_FIRST] > 0 && kept[REASON_KEEP_RULE] > 0 &&
                kept[REASON_GLOBAL_RATE] > 0 && kept[REASON_OBSERVED] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_lost_in_turmoil)};
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
