/* Sparks follow their pattern: minute by minute, over entries that begin anew, within memory. */
#include "unit/test.h"

#include <math.h>
#include <stdlib.h>

#include "telemetry/sparks.h"

#define START_NS (UINT64_C(1700000000) * 1000000000)
#define MINUTE_NS (UINT64_C(60) * 1000000000)

struct rig {
    struct budget budget;
    struct sparks *sparks;
    struct census census;
    struct census_pattern patterns[16384];
    uint64_t now_ns;
};

static struct rig rig; /* too large for a stack */

static struct rig *rig_open(uint64_t limit, uint32_t patterns)
{
    struct rig *r = &rig;
    *r = (struct rig){.now_ns = START_NS};
    budget_init(&r->budget, limit);
    assert_int_equal(sparks_new(&r->sparks, &r->budget), 0);
    r->census.patterns = r->patterns;
    r->census.pattern_count = patterns;
    for (uint32_t i = 0; i < patterns; i++)
        r->patterns[i] = (struct census_pattern){.number = i, .first_seen_ns = START_NS + i};
    return r;
}

static void rig_close(struct rig *r)
{
    sparks_free(r->sparks);
    assert_int_equal(r->budget.used, 0);
}

static void feed(struct rig *r, uint64_t minutes)
{
    r->now_ns += minutes * MINUTE_NS;
    sparks_feed(r->sparks, &r->census, r->now_ns);
}

static void minutes_and_hours_add_up(void **state)
{
    (void)state;
    struct rig *r = rig_open(1 << 20, 1);
    struct spark_view v;
    for (uint32_t i = 0; i < 150; i++) {
        r->patterns[0].counts.received += i;
        feed(r, 1);
    }
    assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
    for (uint32_t i = 0; i < SPARK_MINUTES; i++)
        assert_true(abs((int)v.minutes[i] - (int)(90 + i)) <= (int)(90 + i) / 9 + 1);
    assert_true(fabs(v.hour - (90 + 149) * 60 / 2.0) <= 89 / 9.0); /* what the 90th left over */
    assert_true(v.day == 149 * 150 / 2.0);
    assert_int_equal(v.busy_minutes, 60);
    feed(r, 30);
    assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
    assert_in_range(v.minutes[29], 149 - 149 / 9, 149 + 149 / 9);
    assert_int_equal(v.minutes[59], 0);
    assert_int_equal(v.busy_minutes, 30);
    feed(r, 60 * 24);
    assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
    assert_true(v.hour == 0 && v.day == 0);
    rig_close(r);
}

/* Within a minute each feed counts on. */
static void a_minute_may_be_fed_often(void **state)
{
    (void)state;
    struct rig *r = rig_open(1 << 20, 1);
    struct spark_view v;
    r->now_ns -= r->now_ns % MINUTE_NS;
    for (int i = 0; i < 6; i++) {
        r->patterns[0].counts.received += 1000;
        r->now_ns += MINUTE_NS / 6;
        sparks_feed(r->sparks, &r->census, r->now_ns);
    }
    assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
    assert_int_equal(v.minutes[59], 6000); /* the present one is exact */
    assert_int_equal(v.busy_minutes, 1);
    rig_close(r);
}

/* A minute that has passed is off by a ninth at most, the sum of an hour by nothing. */
static void numbers_are_near(void **state)
{
    (void)state;
    struct rig *r = rig_open(1 << 20, 1);
    for (uint64_t n = 1; n < INT32_MAX / 2; n = n * 7 / 4 + 1) {
        struct spark_view v;
        r->patterns[0].first_seen_ns++; /* another one */
        r->patterns[0].counts.received = n;
        feed(r, 1);
        r->patterns[0].counts.received += 1;
        feed(r, 1);
        assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
        assert_true(v.minutes[58] <= n && n - v.minutes[58] <= n / 9);
        assert_true(v.hour == (double)n + 1 && v.day == v.hour);
        if (n < 16)
            assert_int_equal(v.minutes[58], n);
        feed(r, 1);
        assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
        assert_true(v.hour == (double)n + 1);
        assert_int_equal(v.minutes[59], 0); /* left over, but nothing came */
    }
    rig_close(r);
}

/* Over hours the sums do not drift, whatever each step rounds. */
static void sums_do_not_drift(void **state)
{
    (void)state;
    struct rig *r = rig_open(1 << 20, 1);
    for (int i = 0; i < 60 * 30; i++) {
        struct spark_view v;
        r->patterns[0].counts.received += 1000; /* 960 is the code below */
        feed(r, 1);
        assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
        assert_true(fabs(v.hour - 1000.0 * (i < 60 ? i + 1 : 60)) <= 1000 / 8.0);
    }
    rig_close(r);
}

/* All patterns of a full table, within what history.memory is by default. */
static void a_full_table_fits(void **state)
{
    (void)state;
    enum { PATTERNS = 16384 };
    struct rig *r = rig_open(2 << 20, PATTERNS);
    for (int minute = 0; minute < 61; minute++) {
        for (uint32_t i = 0; i < PATTERNS; i++)
            r->patterns[i].counts.received += i % 7;
        feed(r, 1);
    }
    assert_int_equal(r->budget.used, PATTERNS * (SPARK_BYTES + 8));
    for (uint32_t i = 0; i < PATTERNS; i++) {
        struct spark_view v;
        assert_true(sparks_of(r->sparks, &r->patterns[i], &v));
        assert_true(v.hour == 60.0 * (i % 7));
    }
    rig_close(r);
}

static void another_pattern_has_none_of_it(void **state)
{
    (void)state;
    struct rig *r = rig_open(1 << 20, 1);
    struct spark_view v;
    r->patterns[0].counts.received = 100;
    feed(r, 1);
    struct census_pattern other = r->patterns[0];
    other.first_seen_ns++;
    other.counts.received = 3;
    assert_false(sparks_of(r->sparks, &other, &v));
    assert_true(v.hour == 0);
    r->patterns[0] = other;
    feed(r, 1);
    assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
    assert_true(v.hour == 3);
    rig_close(r);
}

static void the_loudest_have_the_room(void **state)
{
    (void)state;
    enum { PATTERNS = 2000, ROOM = 300, LOUD = 100 };
    struct rig *r = rig_open(ROOM * SPARK_BYTES + 2048 * 8, PATTERNS);
    unsigned loud = 0, quiet = 0;
    for (int minute = 0; minute < 20; minute++) {
        for (uint32_t i = 0; i < PATTERNS; i++)
            r->patterns[i].counts.received += i % 20 == 7 ? 1000 : 1;
        feed(r, 1);
        assert_true(r->budget.used <= r->budget.limit);
    }
    for (uint32_t i = 0; i < PATTERNS; i++) {
        struct spark_view v;
        bool has = sparks_of(r->sparks, &r->patterns[i], &v);
        loud += has && i % 20 == 7;
        quiet += has && i % 20 != 7;
    }
    assert_true(loud >= LOUD * 9 / 10);
    assert_true(loud + quiet <= ROOM && loud + quiet > ROOM * 8 / 10);
    for (unsigned i = 0; i < ROOM; i++)
        sparks_give_way(r->sparks);
    assert_false(sparks_give_way(r->sparks));
    rig_close(r);
}

static void a_saved_spark_goes_on(void **state)
{
    (void)state;
    struct rig *r = rig_open(1 << 20, 1);
    struct spark_saved saved;
    struct spark_view v;
    for (int i = 0; i < 5; i++) {
        r->patterns[0].counts.received += 10;
        feed(r, 1);
    }
    assert_true(sparks_save(r->sparks, &r->patterns[0], &saved));
    sparks_free(r->sparks);
    assert_int_equal(sparks_new(&r->sparks, &r->budget), 0);
    r->patterns[0].counts.received = 2; /* of the new process */
    r->patterns[0].first_seen_ns += 99;
    sparks_restore(r->sparks, &r->patterns[0], &saved, r->now_ns + MINUTE_NS);
    r->patterns[0].counts.received = 9;
    feed(r, 2);
    assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
    assert_true(v.hour == 57);
    assert_int_equal(v.minutes[59], 7);
    assert_int_equal(v.minutes[58], 0);
    assert_int_equal(v.minutes[57], 10);
    rig_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minutes_and_hours_add_up),
        cmocka_unit_test(a_minute_may_be_fed_often),
        cmocka_unit_test(numbers_are_near),
        cmocka_unit_test(sums_do_not_drift),
        cmocka_unit_test(a_full_table_fits),
        cmocka_unit_test(another_pattern_has_none_of_it),
        cmocka_unit_test(the_loudest_have_the_room),
        cmocka_unit_test(a_saved_spark_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
