#include "unit/test.h"

#include <math.h>

#include "pipeline/governor.h"
#include "policy/money.h"
#include "util/span.h"

#define GB 1e9

static const struct money_terms tiers = {
    .tier_count = 3,
    .tiers = {{.up_to_mb = 10000},
              {.up_to_mb = 50000, .per_mb = 0.00025},
              {.up_to_mb = INFINITY, .per_mb = 0.00015}},
    .limit = INFINITY,
};

static void near(double a, double b)
{
    assert_row(fabs(a - b) < 1e-6 * fmax(1, fabs(b)), "%.9f and %.9f", a, b);
}

static void a_month_is_walked_through_the_tiers(void **state)
{
    (void)state;
    static const struct {
        double gb, price;
    } rows[] = {{0, 0}, {5, 0}, {10, 0}, {11, 0.25}, {50, 10}, {51, 10.15}, {1050, 160}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        near(money_price(&tiers, rows[i].gb * GB), rows[i].price);
    near(money_free_bytes(&tiers), 10 * GB);
}

static void a_saving_is_a_difference_and_never_a_rate(void **state)
{
    (void)state;
    struct money_terms t = tiers;
    near(money_saving(&t, 9 * GB, 1 * GB), 0); /* below the free part */
    near(money_saving(&t, 30 * GB, 5 * GB), 5);
    near(money_saving(&t, 60 * GB, 40 * GB), 11.5 - 7.5); /* over the edge of a tier */
    t.discount = 0.2;
    near(money_saving(&t, 30 * GB, 5 * GB), 4);
    t.limit = 6; /* beyond the limit nothing more is paid */
    near(money_price(&t, 1000 * GB), 6);
    near(money_saving(&t, 1000 * GB, 900 * GB), 0);
    near(money_saving(&t, 1000 * GB, 20 * GB), 6 - 2);
    t.limit = 0; /* 0 is a limit */
    near(money_price(&t, 1000 * GB), 0);
}

static void flat_parts_and_retention_are_paid(void **state)
{
    (void)state;
    struct money_terms t = tiers;
    t.tiers[1].flat = 3;
    near(money_price(&t, 10 * GB), 0);
    near(money_price(&t, 10.004 * GB), 3.001);
    t = money_assumed(10, 0.25, 2, 0.05);
    assert_true(t.is_assumed);
    near(money_price(&t, 4 * GB), 0.4); /* retention has no free part */
    near(money_price(&t, 20 * GB), 2.5 + 2);
    near(money_free_bytes(&t), 0);
    t = money_assumed(0, 0.3, 0, 0.05);
    near(money_price(&t, 20 * GB), 6);
}

static void a_sample_is_a_month(void **state)
{
    (void)state;
    char text[MONEY_TEXT_BYTES];
    double day = 86400, days = GOVERNOR_MONTH_S / 86400;
    struct money_month m = money_month(&tiers, 0, day, 1 * GB, 0.5 * GB);
    near(m.without_bytes, days * GB);
    near(m.without, (days - 10) * 0.25);
    near(m.saving, days / 2 * 0.25);
    assert_string_equal(money_say(text, &tiers, &m, "USD"), "saves 3.80 of 5.11 USD a month");
    /* Others fill the free part. */
    m = money_month(&tiers, 10 * GB, day, 0.1 * GB, 0.05 * GB);
    near(m.saving, days * 0.05 * 0.25);
    m = money_month(&tiers, 0, day, 0.1 * GB, 0.05 * GB);
    near(m.saving, 0);
    struct money_terms assumed = money_assumed(10, 0.25, 0, 0);
    assert_string_equal(money_say(text, &assumed, &m, "USD"),
                        "saves no money: 3.04 of 10 GB a month that are free, assumed");
    m = money_month(&tiers, 0, 0, 1, 1);
    near(m.without, 0);
    struct money_terms nothing = {
        .limit = INFINITY, .tier_count = 1, .tiers = {{.up_to_mb = INFINITY}}};
    m = money_month(&nothing, 0, day, GB, GB);
    assert_string_equal(money_say(text, &nothing, &m, "USD"), "saves no money: logs cost nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_month_is_walked_through_the_tiers),
        cmocka_unit_test(a_saving_is_a_difference_and_never_a_rate),
        cmocka_unit_test(flat_parts_and_retention_are_paid),
        cmocka_unit_test(a_sample_is_a_month),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
