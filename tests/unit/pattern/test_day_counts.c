#include "unit/test.h"

#include "pattern/day_counts.h"

#define HOUR_MS 3600000u
#define NOON_NS (UINT64_C(20000) * 86400000000000 + UINT64_C(43200000000000))

struct rig {
    struct patterns *patterns;
    struct clock_fake clock;
    struct budget budget;
    struct day_counts today;
};

static void rig_open(struct rig *r, uint64_t budget_bytes)
{
    *r = (struct rig){0};
    budget_init(&r->budget, budget_bytes);
    clock_fake_init(&r->clock, 1000, NOON_NS);
    const struct patterns_opts opts = {.max_entries = 2, .seed = 1};
    assert_int_equal(patterns_new(&r->patterns, &opts), 0);
    day_counts_init(&r->today, r->patterns, &r->clock.clock, &r->budget);
}

static void rig_close(struct rig *r)
{
    day_counts_done(&r->today);
    assert_int_equal(r->budget.used, 0);
    patterns_free(r->patterns);
}

/* n records of a pattern now; its slot. */
static uint32_t record(struct rig *r, uint64_t signature, unsigned n)
{
    const struct pattern_key key = {.signature = signature};
    bool is_new;
    struct pattern *p = patterns_get(r->patterns, &key, &is_new);
    if (is_new)
        p->first_seen_ns = clock_unix_ns(&r->clock.clock);
    p->counts.received += n;
    p->counts.kept += n / 2;
    return p->number;
}

static uint64_t today(struct rig *r, uint32_t slot)
{
    struct pattern_counts n;
    assert_int_equal(day_counts_get(&r->today, slot, &n), r->today.since_ns);
    assert_int_equal(n.kept, n.received / 2);
    return n.received;
}

static void midnight_is_where_it_begins_anew(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1 << 20);
    uint32_t a = record(&r, 1, 10);
    assert_int_equal(day_counts_tick(&r.today), 1000);
    assert_int_equal(today(&r, a), 10);
    assert_int_equal(r.today.since_ns, NOON_NS); /* since the start */
    clock_fake_advance(&r.clock, 12 * HOUR_MS - 5);
    assert_int_equal(day_counts_tick(&r.today), 6); /* just behind midnight */
    assert_int_equal(today(&r, a), 10);
    clock_fake_advance(&r.clock, 6);
    day_counts_tick(&r.today);
    assert_int_equal(r.today.since_ns, NOON_NS + UINT64_C(43200000000000) + 1000000);
    assert_int_equal(today(&r, a), 0);
    record(&r, 1, 4);
    uint32_t b = record(&r, 2, 6); /* new today */
    assert_int_equal(today(&r, a), 4);
    assert_int_equal(today(&r, b), 6);
    clock_fake_advance(&r.clock, 24 * HOUR_MS);
    day_counts_tick(&r.today);
    assert_int_equal(today(&r, a) + today(&r, b), 0);
    rig_close(&r);
}

/* The wall clock is set; the timer goes by another. */
static void a_jump_of_days(void **state)
{
    (void)state;
    static const int64_t days[] = {3, -3, 400};
    for (size_t i = 0; i < ARRAY_LEN(days); i++) {
        struct rig r;
        rig_open(&r, 1 << 20);
        uint32_t a = record(&r, 1, 10);
        uint64_t wait_ms = day_counts_tick(&r.today);
        assert_in_range(wait_ms, 1, 1000);
        r.clock.unix_ns += (uint64_t)(days[i] * INT64_C(86400000000000));
        clock_fake_advance(&r.clock, wait_ms);
        day_counts_tick(&r.today);
        assert_int_equal(today(&r, a), 0);
        assert_int_equal(r.today.since_ns, r.clock.unix_ns);
        rig_close(&r);
    }
}

static void a_slot_that_changed_hands(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1 << 20);
    record(&r, 1, 10);
    record(&r, 2, 20);
    clock_fake_advance(&r.clock, 13 * HOUR_MS);
    day_counts_tick(&r.today);
    clock_fake_advance(&r.clock, 1);
    uint32_t slot = record(&r, 3, 8); /* evicts one of them */
    assert_int_equal(patterns_evicted(r.patterns), 1);
    assert_int_equal(today(&r, slot), 8);
    rig_close(&r);
}

/* The same, and the wall clock was set back in between. */
static void a_slot_that_changed_hands_before_it_was_marked(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1 << 20);
    uint32_t a = record(&r, 1, 10), b = record(&r, 2, 20);
    clock_fake_advance(&r.clock, 13 * HOUR_MS);
    day_counts_tick(&r.today);
    r.clock.unix_ns -= UINT64_C(60000000000);
    uint32_t slot = record(&r, 3, 8);
    assert_true(slot == a || slot == b);
    assert_int_equal(today(&r, slot), 8);
    rig_close(&r);
}

static void without_memory_the_old_mark_stays(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 8);
    uint32_t a = record(&r, 1, 10);
    clock_fake_advance(&r.clock, 13 * HOUR_MS);
    day_counts_tick(&r.today);
    assert_int_equal(today(&r, a), 10);
    assert_int_equal(r.today.since_ns, NOON_NS);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(midnight_is_where_it_begins_anew),
        cmocka_unit_test(a_jump_of_days),
        cmocka_unit_test(a_slot_that_changed_hands),
        cmocka_unit_test(a_slot_that_changed_hands_before_it_was_marked),
        cmocka_unit_test(without_memory_the_old_mark_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
