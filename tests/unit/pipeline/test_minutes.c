#include "unit/test.h"

#include "otlp/fields.h"
#include "otlp/wire.h"
#include "pipeline/minutes.h"

#define NOW_S 1793491230u /* thirty seconds into a minute */
#define NS UINT64_C(1000000000)

static struct span record_of(struct buf *room, uint64_t unix_s, bool time_first)
{
    buf_clear(room);
    if (!time_first)
        wire_append_varint(room, LOG_RECORD_SEVERITY_NUMBER, 9);
    if (unix_s > 0)
        wire_append_i64(room, LOG_RECORD_TIME_UNIX_NANO, unix_s * NS);
    if (time_first)
        wire_append_varint(room, LOG_RECORD_SEVERITY_NUMBER, 9);
    return buf_span(room);
}

static void records_are_counted_by_the_minute_that_they_say(void **state)
{
    (void)state;
    static const struct {
        int64_t ago_s;
        bool time_first, counted;
    } rows[] = {
        {0, true, true},         {0, false, true},         {59, true, true},
        {3600, true, true},      {-299, true, true},       {-400, true, false},
        {22 * 3600, true, true}, {23 * 3600, true, false}, {100 * 3600, true, false},
    };
    struct budget budget;
    struct minutes *m;
    struct buf room = {0};
    budget_init(&budget, 1 << 20);
    assert_int_equal(minutes_new(&m, 4, &budget), 0);
    minutes_set_now(m, NOW_S * NS);
    uint64_t untold = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t at = (uint64_t)((int64_t)NOW_S - rows[i].ago_s);
        uint32_t before = minutes_at(m, 1, at / 60).records;
        minutes_count(m, 1, record_of(&room, at, rows[i].time_first), (struct span){0});
        untold += !rows[i].counted;
        assert_row(minutes_at(m, 1, at / 60).records == before + rows[i].counted, "%zu", i);
        assert_row(minutes_untold(m, 1) == untold, "%zu", i);
        assert_int_equal(minutes_at(m, 2, at / 60).records, 0);
    }
    assert_int_equal(minutes_at(m, 1, NOW_S / 60).last_s, NOW_S);
    minutes_count(m, 4, record_of(&room, NOW_S, true), (struct span){0}); /* no such service */
    buf_done(&room);
    minutes_free(m);
    assert_int_equal(budget.used, 0);
}

static void a_time_behind_the_record_counts(void **state)
{
    (void)state;
    struct minutes *m;
    struct buf room = {0}, stamp = {0};
    assert_int_equal(minutes_new(&m, 2, NULL), 0);
    minutes_set_now(m, NOW_S * NS);
    wire_append_i64(&stamp, LOG_RECORD_TIME_UNIX_NANO, (NOW_S - 120) * NS);
    minutes_count(m, 1, record_of(&room, 0, true), buf_span(&stamp));
    minutes_count(m, 1, record_of(&room, NOW_S, true), buf_span(&stamp));
    assert_int_equal(minutes_at(m, 1, NOW_S / 60 - 2).records, 2);
    minutes_count(m, 1, record_of(&room, 0, true), (struct span){0});
    assert_int_equal(minutes_untold(m, 1), 1);
    buf_done(&room);
    buf_done(&stamp);
    minutes_free(m);
}

static void a_day_goes_by_and_memory_is_bounded(void **state)
{
    (void)state;
    struct budget budget;
    struct minutes *m;
    struct buf room = {0};
    budget_init(&budget, 1 << 20);
    assert_int_equal(minutes_new(&m, 2, &budget), 0);
    uint64_t after_a_day = 0;
    for (uint64_t h = 0; h < 100; h++) {
        uint64_t at = NOW_S + h * 3600;
        minutes_set_now(m, at * NS);
        minutes_count(m, 1, record_of(&room, at, true), (struct span){0});
        assert_int_equal(minutes_at(m, 1, at / 60).records, 1);
        if (h == MINUTES_HOURS)
            after_a_day = budget.used;
    }
    assert_int_equal(budget.used, after_a_day);
    assert_int_equal(minutes_at(m, 1, NOW_S / 60).records, 0); /* forgotten */
    budget.limit = budget.used;                                /* no room: counted apart */
    minutes_count(m, 0, record_of(&room, NOW_S + 99 * 3600, true), (struct span){0});
    assert_int_equal(minutes_untold(m, 0), 1);
    buf_done(&room);
    minutes_free(m);
    assert_int_equal(budget.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_counted_by_the_minute_that_they_say),
        cmocka_unit_test(a_time_behind_the_record_counts),
        cmocka_unit_test(a_day_goes_by_and_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
