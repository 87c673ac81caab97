/* The rate of a pattern and why: the order of the sampler, row by row. */
#include "unit/test.h"

#include <math.h>

#include "pipeline/standing.h"

static struct rules *policy(void)
{
    struct rules *r;
    assert_int_equal(rules_new(&r), 0);
    assert_int_equal(rules_set_level(r, LEVEL_INFO, 0.25, NULL), 0);
    assert_int_equal(rules_set_global(r, 0.5, NULL), 0);
    assert_int_equal(rules_set_pattern(r, 9, 0.125, NULL), 0);
    assert_int_equal(rules_set_first(r, 5, 60000, NULL), 0);
    assert_int_equal(rules_set_boost(r, 3, NULL), 0);
    const struct rules_matcher keep = {.service = SPAN("pay*")},
                               drop = {.has_pattern = true, .pattern = 8},
                               body = {.body = SPAN("*x*")};
    assert_int_equal(rules_add_matcher(r, true, &body, NULL), 0);
    assert_int_equal(rules_add_matcher(r, true, &keep, NULL), 0);
    assert_int_equal(rules_add_matcher(r, false, &drop, NULL), 0);
    return r;
}

static void rows_of_the_table(void **state)
{
    (void)state;
    struct rules *r = policy();
    const struct {
        struct standing_facts facts;
        enum standing_origin origin;
        double rate;
        const char *why;
    } rows[] = {
        /* clang-format off */
        {{.level = LEVEL_ERROR, .factor = 1}, STANDING_FLOOR, 1, "errors are always kept"},
        {{.level = LEVEL_INFO, .factor = 1, .service = SPAN("payments")}, STANDING_KEEP, 1, "rule keep[1] keeps it"},
        {{.level = LEVEL_INFO, .factor = 1, .signature = 8}, STANDING_DROP, 0, "rule drop[0] drops it"},
        {{.level = LEVEL_INFO, .factor = 1, .is_guarded = true}, STANDING_GUARD, 1, "an alert, metric, view or insight of PostHog counts it"},
        {{.level = LEVEL_INFO, .factor = 1}, STANDING_SEVERITY, 0.25, "severity_rates.INFO keeps 25% of it"},
        {{.level = LEVEL_WARN, .factor = 1}, STANDING_GLOBAL, 0.5, "global_rate keeps 50% of it"},
        {{.level = LEVEL_INFO, .factor = 1, .signature = 1, .family = 9}, STANDING_PATTERN, 0.125, "pattern_rates keeps 12.5% of it"},
        {{.level = LEVEL_INFO, .factor = 0.5}, STANDING_BUDGET, 0.125, "the budget leaves 12.5% of it; its own rate is 25%"},
        {{.level = LEVEL_INFO, .factor = 0.5, .is_pressed = true}, STANDING_PRESSURE, 0.125, "the full queue leaves 12.5% of it; its own rate is 25%"},
        {{.level = LEVEL_INFO, .factor = 1, .strength = 0.5}, STANDING_BOOST, 0.5, "2 times its rate of 25% while it is anomalous"},
        {{.level = LEVEL_INFO, .factor = 1, .is_all_first = true}, STANDING_FIRST, 0.25, "the first 5 of each 60s are kept, and no more came"},
        /* clang-format on */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char why[STANDING_TEXT_BYTES];
        const struct standing s = standing_of(r, &rows[i].facts);
        standing_say(why, r, &rows[i].facts, &s);
        assert_row(s.origin == rows[i].origin && fabs(s.rate - rows[i].rate) < 1e-4 &&
                       strcmp(why, rows[i].why) == 0,
                   "%zu: %s %g %s", i, standing_name(s.origin), s.rate, why);
        assert_row(rows[i].facts.level == LEVEL_ERROR || s.unasked == 1, "%zu: unasked", i);
    }
    rules_unref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_of_the_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
