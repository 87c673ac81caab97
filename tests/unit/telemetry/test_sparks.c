/* Sparks follow their pattern: minute by minute, over entries that begin anew, within memory. */
#include "unit/test.h"

#include <math.h>

#include "telemetry/sparks.h"

#define START_NS (UINT64_C(1700000000) * 1000000000)
#define MINUTE_NS (UINT64_C(60) * 1000000000)

struct rig {
    struct budget budget;
    struct sparks *sparks;
    struct census census;
    struct census_pattern patterns[4096];
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
        assert_int_equal(v.minutes[i], 90 + i);
    assert_true(v.hour == (90 + 149) * 60 / 2.0);
    assert_true(fabs(v.day - 149 * 150 / 2.0) < v.day / 2000);
    assert_int_equal(v.busy_minutes, 60);
    feed(r, 30);
    assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
    assert_int_equal(v.minutes[29], 149);
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
    assert_in_range(v.minutes[59], 5998, 6002);
    assert_int_equal(v.busy_minutes, 1);
    rig_close(r);
}

static void numbers_are_near(void **state)
{
    (void)state;
    struct rig *r = rig_open(1 << 20, 1);
    for (uint64_t n = 1; n < UINT64_C(1) << 40; n = n * 7 / 4 + 1) {
        struct spark_view v;
        r->patterns[0].counts.received += n;
        feed(r, 1);
        assert_true(sparks_of(r->sparks, &r->patterns[0], &v));
        double shown = v.minutes[59], most = UINT32_MAX;
        assert_true(fabs(shown - fmin((double)n, most)) <=
                    fmin((double)n, most) / 2048 + (n > UINT32_MAX));
        if (n < 2048)
            assert_true(shown == (double)n);
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
    struct rig *r = rig_open(ROOM * 208 + 2048 * 8, PATTERNS);
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
        cmocka_unit_test(another_pattern_has_none_of_it),
        cmocka_unit_test(the_loudest_have_the_room),
        cmocka_unit_test(a_saved_spark_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
