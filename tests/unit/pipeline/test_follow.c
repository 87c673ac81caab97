#include "unit/test.h"

#include "pipeline/follow.h"

#define A 17u
#define B (17u + FOLLOW_SLOTS) /* in the same place */
#define C 18u

static uint32_t take(struct follow *f, uint64_t instance, uint32_t lines, uint64_t now_ms)
{
    uint32_t taken = 0;
    for (; lines > 0; lines--) {
        if (!follow_may(f, instance, now_ms))
            continue;
        follow_took(f, instance);
        taken++;
    }
    return taken;
}

static void behind_an_error_of_the_same_instance(void **state)
{
    (void)state;
    struct follow f;
    follow_init(&f, 40, 5000, 100);
    assert_true(follow_is_idle(&f, 0) && follow_is_idle(&f, 1000));
    assert_false(follow_may(&f, A, 1000));
    follow_begin(&f, A, 1000);
    assert_false(follow_is_idle(&f, 1000));
    assert_int_equal(take(&f, C, 3, 1000), 0);
    assert_int_equal(take(&f, B, 3, 1000), 0); /* another one in the same place */
    assert_int_equal(take(&f, A, 3, 1000), 3);
    assert_int_equal(take(&f, A, 3, 6000), 3); /* to the end of the window */
    assert_int_equal(take(&f, A, 3, 6001), 0);
    assert_true(follow_is_idle(&f, 6001));
    follow_begin(&f, A, 7000);
    assert_int_equal(take(&f, A, 50, 7000), 40); /* so many for one error */
    follow_begin(&f, B, 8000);
    assert_int_equal(take(&f, A, 1, 8000), 0); /* the newest has the place */
    assert_int_equal(take(&f, B, 1, 8000), 1);
    assert_int_equal(f.limited, 0);
}

static void a_storm_sends_whole_traces_and_not_all(void **state)
{
    (void)state;
    struct follow f;
    uint32_t whole = 0, in_all = 0;
    follow_init(&f, 200, 5000, 100);
    for (uint64_t ms = 0; ms < 10000; ms += 10) { /* a trace of 43 lines every 10 ms */
        follow_begin(&f, A + ms / 10 % 8, 1 + ms);
        uint32_t n = take(&f, A + ms / 10 % 8, 43, 1 + ms);
        in_all += n;
        whole += n == 43;
    }
    assert_true(in_all <= 11 * 100 + 200 && in_all > 1000);
    assert_true(whole >= 20);
    assert_true(f.limited > 900);
}

static void none_where_none_are_asked_for(void **state)
{
    (void)state;
    struct follow f;
    follow_init(&f, 0, 5000, 100);
    follow_begin(&f, A, 1000);
    assert_true(follow_is_idle(&f, 1000));
    assert_int_equal(take(&f, A, 1, 1000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behind_an_error_of_the_same_instance),
        cmocka_unit_test(a_storm_sends_whole_traces_and_not_all),
        cmocka_unit_test(none_where_none_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
