#include "unit/test.h"

#include "pipeline/pressure.h"

static void a_ramp_that_falls_slowly(void **state)
{
    (void)state;
    static const struct {
        uint64_t now_ms;
        double fullness, level;
        int watching;
    } rows[] = {
        {1000, 0, 0, 0},     {1100, 0.24, 0, 0},   {1200, 0.3, 0, 1},
        {1300, 0.5, 0, 1},   {1400, 0.7, 0.5, 1},  {1500, 0.9, 1, 1},
        {1600, 2, 1, 1},     {2600, 0.5, 0.8, 1},  /* after a second: a fifth less */
        {2600, 0, 0.8, 1},   {3600, 0.82, 0.8, 1}, /* held up */
        {4600, 0.7, 0.6, 1}, {4600, 0.86, 0.9, 1}, {5600, 0, 0.7, 1},
        {4000, 0, 0.7, 1}, /* a clock that went back */
        {14000, 0.26, 0, 1}, {14001, 0.2, 0, 0},
    };
    struct pressure p = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pressure_update(&p, rows[i].fullness, rows[i].now_ms);
        assert_row(p.level > rows[i].level - 1e-9 && p.level < rows[i].level + 1e-9, "%zu: %g", i,
                   p.level);
        assert_row(p.watching == rows[i].watching, "%zu", i);
    }
}

static void the_least_severe_go_first(void **state)
{
    (void)state;
    for (double level = 0; level <= 1; level += 0.125) {
        struct pressure p = {.level = level};
        for (unsigned l = 0; l < 6; l++) {
            double share = pressure_share(&p, l);
            assert_row(share > 0 && share <= 1, "%g %u: %g", level, l, share);
            assert_true(level > 0 || share >= 1);
            if (l > 0)
                assert_true(share >= pressure_share(&p, l - 1) &&
                            pressure_weight(l) > pressure_weight(l - 1));
        }
        assert_true(pressure_share(&p, 4) >= 1); /* ERROR */
        assert_true(pressure_volume(&p) > 0 && pressure_volume(&p) <= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ramp_that_falls_slowly),
        cmocka_unit_test(the_least_severe_go_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
