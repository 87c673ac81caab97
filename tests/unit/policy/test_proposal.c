#include "unit/test.h"

#include <math.h>

#include "policy/proposal.h"
#include "util/rng.h"

static double uniform(struct rng *r)
{
    return (double)(rng_next(r) >> 11) / (double)(UINT64_C(1) << 53);
}

static void rows_of_the_table(void **state)
{
    (void)state;
    static const struct {
        double per_hour, rate_now;
        enum level level;
        const char *protected_by;
        double rate;
        const char *why;
    } rows[] = {
        {5, 1, LEVEL_INFO, NULL, 1, "5 an hour: there is nothing to gain"},
        {100, 1, LEVEL_INFO, NULL, 1, "100 an hour: there is nothing to gain"},
        {105, 1, LEVEL_INFO, NULL, 1, "105 an hour: there is nothing to gain"},
        {200, 1, LEVEL_INFO, NULL, 0.5, "200 an hour: 100 of them are enough to count it"},
        {1000, 0.25, LEVEL_INFO, NULL, 0.1, "1000 an hour: 100 of them are enough to count it"},
        {100000, 1, LEVEL_INFO, NULL, 0.25,
         "100000 an hour: 25000 of them are enough to count it; a step goes to a quarter at most"},
        {100000, 0.25, LEVEL_DEBUG, NULL, 0.063,
         "100000 an hour: 6300 of them are enough to count it; a step goes to a quarter at most"},
        {1e9, 0.002, LEVEL_INFO, NULL, 0.001,
         "1 billion an hour: 1 million of them are enough to count it"},
        {800, 1, LEVEL_WARN, NULL, 0.5, "800 an hour: 400 of them are enough to count it"},
        {200, 0.1, LEVEL_INFO, NULL, 0.1, "200 an hour: there is nothing to gain"},
        {200, 0.01, LEVEL_INFO, NULL, 0.04, "200 an hour: 10 of them are enough to count it"},
        {5, 0.5, LEVEL_INFO, NULL, 1, "5 an hour: 5 of them are enough to count it"},
        {100000, 1, LEVEL_ERROR, "errors are always kept", 1, "errors are always kept"},
        {100000, 0, LEVEL_INFO, NULL, 0, "100000 an hour: there is nothing to gain"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proposal out;
        const struct proposal_pattern p = {.level = rows[i].level,
                                           .records_per_hour = rows[i].per_hour,
                                           .bytes = 1000,
                                           .seen = 30,
                                           .rate_now = rows[i].rate_now,
                                           .protected_by = rows[i].protected_by};
        proposal_of(&out, &p);
        if (fabs(out.rate - rows[i].rate) > 1e-12 || strcmp(out.why, rows[i].why) != 0)
            fail_msg("row %zu: %.17g, %s", i, out.rate, out.why);
        double bytes = rows[i].rate_now > 0 ? 1000 * rows[i].rate / rows[i].rate_now : 1000;
        assert_true(fabs(out.bytes - bytes) < 1e-9);
    }
    struct proposal out;
    const struct proposal_pattern seldom = {
        .level = LEVEL_INFO, .records_per_hour = 1e5, .bytes = 1, .rate_now = 1, .seen = 29};
    proposal_of(&out, &seldom);
    assert_true(out.rate == 1 && out.bytes == 1);
}

static void no_step_is_larger_than_four(void **state)
{
    (void)state;
    struct rng rng;
    rng.state = 7;
    for (int i = 0; i < 100000; i++) {
        struct proposal out;
        double now = exp(-7 * uniform(&rng)), per_hour = exp(18 * uniform(&rng));
        const struct proposal_pattern p = {.level = LEVEL_INFO,
                                           .records_per_hour = per_hour,
                                           .bytes = 1,
                                           .rate_now = now,
                                           .seen = 100};
        proposal_of(&out, &p);
        assert_true(out.rate >= now / 4 * 0.999999 && out.rate <= now * 4 * 1.000001 &&
                    out.rate <= 1);
        /* What is left is enough. */
        if (out.rate < now)
            assert_true(per_hour * out.rate >= 99.99);
    }
}

static void the_first_of_a_window(void **state)
{
    (void)state;
    struct rng rng;
    rng.state = 8;
    assert_true(proposal_share(1, 5, 3) == 1 && proposal_share(0.5, 0, 3) == 0.5);
    static const double means[] = {0.1, 1, 4, 12, 60, 2000};
    for (size_t m = 0; m < ARRAY_LEN(means); m++) {
        double kept = 0, all = 0, mean = means[m];
        for (int i = 0; i < 20000; i++) {
            double n = 0;
            for (double t = -log(1 - uniform(&rng)); t < mean; t -= log(1 - uniform(&rng)))
                n++;
            all += n;
            kept += n <= 5 ? n : 5 + 0.1 * (n - 5);
            if (mean > 100 && i > 500)
                break;
        }
        double share = proposal_share(0.1, 5, mean);
        if (fabs(kept / all - share) > 0.01)
            fail_msg("%g: %g, and it was %g", mean, share, kept / all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_the_table),
        cmocka_unit_test(no_step_is_larger_than_four),
        cmocka_unit_test(the_first_of_a_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
