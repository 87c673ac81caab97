/* What-if against what a pipeline does: the same lines under both rules, counted and asked. */
#include "unit/test.h"

#include <math.h>

#include "policy/whatif.h"

#define HOUR_S 3600.0

static const struct governor_target none = {.unit = GOVERNOR_NONE};

static struct rules *rules_of(double info, double debug, uint32_t first)
{
    struct rules *r;
    assert_int_equal(rules_new(&r), 0);
    assert_int_equal(rules_set_level(r, LEVEL_INFO, info, NULL), 0);
    assert_int_equal(rules_set_level(r, LEVEL_DEBUG, debug, NULL), 0);
    assert_int_equal(rules_set_global(r, 1, NULL), 0);
    assert_int_equal(rules_set_first(r, first, 60000, NULL), 0);
    return r;
}

/* Facts of the patterns of a test, by id. */
static struct standing_facts facts[16];

static struct whatif_pattern pattern(uint64_t id, enum level level, double records)
{
    facts[id] = (struct standing_facts){
        .signature = id, .family = id, .level = level, .service = SPAN("shop"), .factor = 1};
    return (struct whatif_pattern){
        .facts = &facts[id],
        .records = records,
        .bytes = records * 200,
        .busy_s = HOUR_S,
    };
}

static struct whatif ask(struct whatif_pattern *list, size_t n, const struct rules *now,
                         const struct rules *then, const struct governor_target *before,
                         const struct governor_target *after)
{
    struct whatif w;
    struct arena arena;
    arena_init(&arena, 64 << 20, NULL);
    for (size_t i = 0; i < n; i++) {
        list[i].now = now;
        list[i].then = then;
    }
    assert_int_equal(whatif_of(&w, list, n, &arena, HOUR_S, before, after), 0);
    arena_done(&arena);
    return w;
}

static void rates_and_firsts(void **state)
{
    (void)state;
    struct rules *now = rules_of(1, 1, 0), *then = rules_of(0.1, 0, 5);
    struct whatif_pattern list[] = {
        pattern(1, LEVEL_INFO, 60000),  /* 1000 a minute: 5 + 0.1 of 995 */
        pattern(2, LEVEL_DEBUG, 60000), /* 5 a minute */
        pattern(3, LEVEL_ERROR, 500),
        pattern(4, LEVEL_INFO, 60), /* nearly all are among the first */
    };
    struct whatif w = ask(list, 4, now, then, &none, &none);
    assert_true(w.now.records == w.received.records);
    assert_true(fabs(list[0].share_then - (5 + 99.5) / 1000) < 1e-3);
    assert_true(fabs(list[1].share_then - 0.005) < 1e-4);
    assert_true(list[2].share_then == 1 && list[2].is_certain_then);
    assert_true(list[3].share_then > 0.99);
    const struct whatif_sum received = {w.received.records, w.received.bytes};
    const struct whatif_sum kept = received; /* everything was kept */
    struct whatif_sum s = whatif_scaled(&w, &received, &kept);
    assert_true(fabs(s.records - w.then.records) < 1e-6);
    rules_unref(now);
    rules_unref(then);
}

static void equal_rules_change_nothing(void **state)
{
    (void)state;
    struct rules *now = rules_of(0.2, 0.05, 5);
    struct whatif_pattern list[] = {pattern(1, LEVEL_INFO, 60000), pattern(2, LEVEL_DEBUG, 1e6)};
    struct whatif w = ask(list, 2, now, now, &none, &none);
    /* What was kept is not what the model has: context of errors, boosts. */
    const struct whatif_sum received = {1060000, 212e6}, kept = {123456, 23e6};
    struct whatif_sum s = whatif_scaled(&w, &received, &kept);
    assert_true(fabs(s.records - kept.records) < 1e-6 && fabs(s.bytes - kept.bytes) < 1e-3);
    rules_unref(now);
}

static void a_rate_of_a_pattern_is_its_familys(void **state)
{
    (void)state;
    struct rules *now = rules_of(1, 1, 0), *then = rules_of(1, 1, 0);
    assert_int_equal(rules_set_pattern(then, 77, 0.25, NULL), 0);
    struct whatif_pattern list[] = {pattern(1, LEVEL_INFO, 1000), pattern(2, LEVEL_INFO, 1000)};
    facts[2].family = 77;
    struct whatif w = ask(list, 2, now, then, &none, &none);
    assert_true(list[0].share_then == 1);
    assert_true(fabs(list[1].share_then - 0.25) < 1e-4);
    assert_true(fabs(w.then.records - 1250) < 1);
    rules_unref(now);
    rules_unref(then);
}

static void rules_that_ask_for_more_are_counted(void **state)
{
    (void)state;
    struct rules *now = rules_of(0, 0, 0);
    const struct rules_matcher body = {.body = SPAN("*paid*")};
    const struct rules_matcher service = {.service = SPAN("bill*")};
    assert_int_equal(rules_add_matcher(now, true, &body, NULL), 0);
    assert_int_equal(rules_add_matcher(now, true, &service, NULL), 0);
    struct whatif_pattern list[] = {pattern(1, LEVEL_INFO, 1000), pattern(2, LEVEL_INFO, 1000)};
    facts[2].service = SPAN("billing");
    struct whatif w = ask(list, 2, now, now, &none, &none);
    assert_true(list[0].share_now == 0 && list[1].share_now == 1);
    assert_int_equal(w.unasked, 2);
    rules_unref(now);
}

static void a_budget_is_shared_as_the_governor_does(void **state)
{
    (void)state;
    struct rules *now = rules_of(1, 1, 0);
    struct whatif_pattern list[] = {
        pattern(1, LEVEL_INFO, 100000),
        pattern(2, LEVEL_INFO, 1000),
        pattern(3, LEVEL_ERROR, 2000),
    };
    const struct governor_target bytes = {GOVERNOR_BYTES, 10000 * 200 / HOUR_S, 0};
    struct whatif w = ask(list, 3, now, now, &none, &bytes);
    assert_true(fabs(w.then.bytes - 10000 * 200) < 1);
    assert_true(list[2].share_then == 1 && fabs(list[1].share_then - 1) < 1e-9);
    assert_true(fabs(list[0].share_then - 0.07) < 1e-6);
    const struct governor_target half = {GOVERNOR_REDUCTION, 0.5, 0.75};
    w = ask(list, 3, now, now, &none, &half);
    assert_true(fabs(w.then.bytes - w.received.bytes / 2) < 1);
    rules_unref(now);
}

static void nothing_is_nothing(void **state)
{
    (void)state;
    struct rules *now = rules_of(0.2, 0.1, 5);
    struct whatif w = ask(NULL, 0, now, now, &none, &none);
    const struct whatif_sum zero = {0, 0};
    struct whatif_sum s = whatif_scaled(&w, &zero, &zero);
    assert_true(s.records == 0 && s.bytes == 0);
    rules_unref(now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_and_firsts),
        cmocka_unit_test(equal_rules_change_nothing),
        cmocka_unit_test(a_rate_of_a_pattern_is_its_familys),
        cmocka_unit_test(rules_that_ask_for_more_are_counted),
        cmocka_unit_test(a_budget_is_shared_as_the_governor_does),
        cmocka_unit_test(nothing_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
