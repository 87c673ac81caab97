#include "unit/test.h"

#include "pipeline/follow.h"
#include "unit/pipeline/rig.h"

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

/* An error that was sent line by line between lines that nobody needs, twice. */
static void push_traces(struct rig *r)
{
    static const struct rig_record lines[] = {
        {.body = "calm before"},
        {.body = "request failed", .severity = 17},
        {.body = "java.lang.IllegalStateException: no"},
        {.body = "\tat com.shop.Cart.pay(Cart.java:17)"},
        {.body = "\tat com.shop.Cart.main(Cart.java:3)", .service = "other"},
        {.body = "\tat com.shop.Cart.main(Cart.java:3)"},
        {.body = "calm behind"},
    };
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
            clock_fake_advance(&r->clock, 1);
            rig_push(r, &lines[i]);
        }
        clock_fake_advance(&r->clock, 60000);
    }
}

static void open_dropping(struct rig *r, bool observe)
{
    rig_init(r);
    assert_int_equal(rules_set_global(r->rules, 0, NULL), 0);
    assert_int_equal(rules_set_first(r->rules, 0, 60000, NULL), 0);
    r->opts.observe = observe;
    r->opts.context.bytes = 1 << 20;
    r->opts.context.window_ms = 5000;
    r->opts.context.max_records = 50;
    r->opts.context.max_per_second = 100;
    r->opts.context.max_share = 1;
    r->opts.context.trace_lines = 256;
    r->opts.context.trigger = LEVEL_ERROR;
    rig_open(r);
}

/* What observing and a second policy say would be sent is what enforcing sends. */
static void what_would_follow_is_counted(void **state)
{
    (void)state;
    struct rig enforcing, observing;
    struct rules *same;
    open_dropping(&enforcing, false);
    push_traces(&enforcing);
    assert_int_equal(enforcing.emitted, 2 + 2 * 4);
    assert_int_equal(enforcing.released, 2 * 4); /* one led to it, three go on with it */

    open_dropping(&observing, true);
    assert_int_equal(rules_new(&same), 0);
    assert_int_equal(rules_set_global(same, 0, NULL), 0);
    assert_int_equal(rules_set_first(same, 0, 60000, NULL), 0);
    assert_int_equal(pipeline_set_shadow_rules(observing.pipeline, same), 0);
    push_traces(&observing);
    for (int lane = 0; lane < SHADOW_LANE_COUNT; lane++) {
        const struct shadow_counts *would = shadow_total(observing.pipeline->shadow, lane);
        assert_row(would->released == enforcing.released, "lane %d: %d", lane,
                   (int)would->released);
        assert_row(would->kept == 2 && would->sampled_out == 2 * 6, "lane %d", lane);
    }
    assert_int_equal(observing.emitted, 2 * 7);
    rules_unref(same);
    rig_close(&enforcing);
    rig_close(&observing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behind_an_error_of_the_same_instance),
        cmocka_unit_test(a_storm_sends_whole_traces_and_not_all),
        cmocka_unit_test(none_where_none_are_asked_for),
        cmocka_unit_test(what_would_follow_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
