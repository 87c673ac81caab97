#include "unit/test.h"

#include "pipeline/record_clock.h"
#include "util/span.h"

#define NOW_MS UINT64_C(1800000000000)
#define NS(ms) ((ms)*UINT64_C(1000000))

enum { MINUTE = 60000 };

static void it_stands_at_the_newest_record(void **state)
{
    (void)state;
    struct record_clock c = {0};
    record_clock_begin(&c, NOW_MS, false);
    assert_int_equal(c.now_ms, 0); /* nobody knows yet */
    assert_int_equal(record_clock_move(&c, NS(NOW_MS - 5000)), NOW_MS - 5000);
    assert_int_equal(record_clock_move(&c, NS(NOW_MS - 4000) + 999999), NOW_MS - 4000);
    assert_int_equal(record_clock_move(&c, NS(NOW_MS - 9000)), NOW_MS - 4000); /* late */
    assert_int_equal(record_clock_move(&c, NS(NOW_MS - 3000)), NOW_MS - 3000);
    assert_int_equal(record_clock_move(&c, 0), NOW_MS); /* it has none */
}

/* A batch that is delivered at once has its own seconds. */
static void it_goes_on_within_a_request(void **state)
{
    (void)state;
    struct record_clock c = {0};
    for (uint64_t request = 0; request < 20; request++) {
        uint64_t sent_ms = NOW_MS + 10000 * request;
        record_clock_begin(&c, sent_ms, false);
        for (uint64_t ms = 10000; ms > 0; ms -= 500)
            assert_int_equal(record_clock_move(&c, NS(sent_ms - ms)), sent_ms - ms);
    }
}

/* A capture that is sent again goes by its own time, however fast it is sent. */
static void what_is_sent_later_keeps_its_pace(void **state)
{
    (void)state;
    struct record_clock c = {0};
    for (uint64_t s = 0; s < 3600; s++) {
        record_clock_begin(&c, NOW_MS + s, false);
        uint64_t written_ms = NOW_MS - RECORD_CLOCK_OLDEST_MS / 2 + s * 1000;
        assert_int_equal(record_clock_move(&c, NS(written_ms)), written_ms);
    }
}

static void no_clock_is_ahead(void **state)
{
    (void)state;
    static const uint64_t wrong[] = {NS(NOW_MS + 1), NS(NOW_MS + 3600 * 1000), UINT64_MAX, 1,
                                     NS(NOW_MS - RECORD_CLOCK_OLDEST_MS - 1)};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct record_clock c = {0};
        record_clock_begin(&c, NOW_MS, false);
        assert_int_equal(record_clock_move(&c, wrong[i]), NOW_MS);
        record_clock_begin(&c, NOW_MS + 1000, false);
        assert_int_equal(record_clock_move(&c, NS(NOW_MS + 500)), NOW_MS + 500);
    }
}

/* Whatever records say, over a longer time it goes on as the wall clock does. */
static void one_that_stands_still_costs_the_slack_once(void **state)
{
    (void)state;
    static const uint64_t lags_ms[] = {0, 100, 20000, 3600 * 1000};
    for (size_t i = 0; i < ARRAY_LEN(lags_ms); i++) {
        struct record_clock c = {0};
        uint64_t written_ms = NOW_MS - lags_ms[i];
        for (uint64_t wall_ms = NOW_MS; wall_ms < NOW_MS + 10 * MINUTE; wall_ms += 700) {
            record_clock_begin(&c, wall_ms, false);
            uint64_t at_ms = record_clock_move(&c, NS(written_ms));
            uint64_t passed_ms = wall_ms - NOW_MS;
            assert_true(at_ms <= wall_ms);
            assert_true(at_ms + RECORD_CLOCK_SLACK_MS >= written_ms + passed_ms);
        }
        record_clock_begin(&c, NOW_MS + 10 * MINUTE, true); /* what is shed cannot wait */
        assert_int_equal(c.now_ms, written_ms + 10 * MINUTE);
    }
}

static void it_never_runs_faster_than_there_was_lag(void **state)
{
    (void)state;
    struct record_clock c = {0};
    record_clock_begin(&c, NOW_MS, false);
    uint64_t from_ms = record_clock_move(&c, NS(NOW_MS - 2000)), at_ms = from_ms;
    for (uint64_t i = 0; i < 5000; i++) { /* back and forth, as far as they like */
        uint64_t wall_ms = NOW_MS + i;
        record_clock_begin(&c, wall_ms, false);
        at_ms = record_clock_move(&c, i % 2 == 0 ? NS(wall_ms + 86400000) : NS(wall_ms - 86400000));
    }
    assert_true(at_ms - from_ms <= 5000 + 2000);
}

static void the_wall_clock_is_set_back(void **state)
{
    (void)state;
    struct record_clock c = {0};
    record_clock_begin(&c, NOW_MS, false);
    assert_int_equal(record_clock_move(&c, NS(NOW_MS)), NOW_MS);
    record_clock_begin(&c, NOW_MS - 1000, false); /* a little: it waits */
    assert_int_equal(record_clock_move(&c, NS(NOW_MS - 1000)), NOW_MS);
    record_clock_begin(&c, NOW_MS - 3600 * 1000, false); /* it would wait too long */
    assert_int_equal(record_clock_move(&c, NS(NOW_MS - 3600 * 1000)), NOW_MS - 3600 * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stands_at_the_newest_record),
        cmocka_unit_test(it_goes_on_within_a_request),
        cmocka_unit_test(what_is_sent_later_keeps_its_pace),
        cmocka_unit_test(no_clock_is_ahead),
        cmocka_unit_test(one_that_stands_still_costs_the_slack_once),
        cmocka_unit_test(it_never_runs_faster_than_there_was_lag),
        cmocka_unit_test(the_wall_clock_is_set_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
