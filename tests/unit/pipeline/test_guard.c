#include "unit/pipeline/rig.h"

static struct guard *guard_of(bool keeps, const char *const *services, size_t count)
{
    struct guard *g;
    assert_int_equal(guard_new(&g, keeps), 0);
    for (size_t i = 0; i < count; i++) {
        struct filter *f;
        struct span value = span_str(services[i]);
        const struct guard_item item = {
            .kind = GUARD_ALERT, .id = span_str(services[i]), .name = SPAN("of a service")};
        assert_int_equal(filter_new(&f), 0);
        filter_add(f,
                   &(struct filter_leaf){
                       .of = FILTER_SERVICE, .op = FILTER_IS, .values = &value, .value_count = 1});
        assert_int_equal(guard_add(g, &item, f), 0);
    }
    return g;
}

static struct census take(struct rig *r)
{
    struct census c;
    const struct census_want want = {.services = true, .patterns = true, .guard = true};
    assert_int_equal(census_take(r->pipeline, &want, &c), 0);
    return c;
}

static void push(struct rig *r, const char *service, uint8_t severity, int times)
{
    for (int i = 0; i < times; i++) {
        clock_fake_advance(&r->clock, 10);
        rig_push(r, &(struct rig_record){.body = "tick", .service = service, .severity = severity});
    }
}

static void what_is_selected_is_kept_whole_and_counted(void **state)
{
    (void)state;
    static const char *const services[] = {"app", "none"};
    struct rig r;
    rig_init(&r);
    assert_int_equal(rules_set_global(r.rules, 0.1, NULL), 0);
    rig_open(&r);
    struct guard *g = guard_of(true, services, 2);
    pipeline_set_guard(r.pipeline, g);
    guard_unref(g);
    push(&r, "app", 9, 1000);
    push(&r, "app", 17, 10);
    push(&r, "web", 9, 1000);
    assert_int_equal(rig_kept(&r, REASON_GUARDED), 1000);
    assert_int_equal(rig_kept(&r, REASON_FLOOR), 10);
    assert_in_range(rig_kept(&r, REASON_GLOBAL_RATE), 95, 105);
    struct census c = take(&r);
    assert_ptr_equal(c.guard, g);
    assert_int_equal(c.selected[0].received, 1010);
    assert_int_equal(c.selected[0].kept, 1010);
    assert_int_equal(c.selected[0].guarded, 1000);
    assert_int_equal(c.selected[1].received, 0);
    uint64_t app_bytes = 0;
    for (uint32_t i = 0; i < c.pattern_count; i++)
        if (span_eq(c.services[c.patterns[i].key.service].name, SPAN("app")) &&
            c.patterns[i].key.level == LEVEL_INFO)
            app_bytes += c.patterns[i].counts.kept_bytes;
    assert_int_equal(c.selected[0].guarded_bytes, app_bytes);

    /* Another loop's census adds up, and one without a guard changes nothing. */
    struct census other = take(&r);
    assert_int_equal(census_add(&c, &other), 0);
    assert_int_equal(c.selected[0].guarded, 2000);
    census_done(&other);
    census_done(&c);

    /* Named anew, in another place: it counts on. */
    static const char *const turned[] = {"web", "app"};
    g = guard_of(true, turned, 2);
    pipeline_set_guard(r.pipeline, g);
    guard_unref(g);
    c = take(&r);
    assert_int_equal(c.selected[1].guarded, 1000);
    assert_int_equal(c.selected[0].received, 0);
    census_done(&c);
    pipeline_set_guard(r.pipeline, NULL);
    push(&r, "app", 9, 1000);
    assert_int_equal(rig_kept(&r, REASON_GUARDED), 1000);
    rig_close(&r);
}

static void a_guard_that_only_counts_keeps_nothing(void **state)
{
    (void)state;
    static const char *const services[] = {"app"};
    struct rig r;
    rig_init(&r);
    assert_int_equal(rules_set_global(r.rules, 0.1, NULL), 0);
    rig_open(&r);
    struct guard *g = guard_of(false, services, 1);
    pipeline_set_guard(r.pipeline, g);
    push(&r, "app", 9, 1000);
    struct census c = take(&r);
    assert_int_equal(rig_kept(&r, REASON_GUARDED), 0);
    assert_int_equal(c.selected[0].received, 1000);
    assert_in_range(c.selected[0].kept, 95, 105);
    assert_int_equal(c.selected[0].guarded, 0);
    census_done(&c);
    guard_unref(g);
    rig_close(&r);
}

static void rules_of_the_user_come_first(void **state)
{
    (void)state;
    static const char *const services[] = {"app"};
    struct rig r;
    rig_init(&r);
    const struct rules_matcher drop = {.body = SPAN("tick"), .name = SPAN("drop[0]")};
    assert_int_equal(rules_add_matcher(r.rules, false, &drop, NULL), 0);
    rig_open(&r);
    struct guard *g = guard_of(true, services, 1);
    pipeline_set_guard(r.pipeline, g);
    guard_unref(g);
    push(&r, "app", 9, 100);
    assert_int_equal(rig_kept(&r, REASON_GUARDED), 0);
    assert_int_equal(r.emitted, 0);
    rig_close(&r);
}

static void while_observing_it_is_said_what_would_be_kept(void **state)
{
    (void)state;
    static const char *const services[] = {"app"};
    struct rig r;
    rig_init(&r);
    assert_int_equal(rules_set_global(r.rules, 0.1, NULL), 0);
    r.opts.observe = true;
    r.opts.stamps |= 1u << STAMP_WEIGHT_ALWAYS;
    rig_open(&r);
    struct guard *g = guard_of(true, services, 1);
    pipeline_set_guard(r.pipeline, g);
    guard_unref(g);
    push(&r, "app", 9, 100);
    struct census c = take(&r);
    assert_int_equal(c.selected[0].guarded, 100);
    assert_int_equal(c.reasons.kept[REASON_OBSERVED], 100);
    assert_int_equal(c.shadow[SHADOW_ENFORCED].kept, 100);
    assert_true(r.weight == 100);
    census_done(&c);
    rig_close(&r);
}

static void a_budget_pays_for_it_and_cuts_the_others(void **state)
{
    (void)state;
    static const char *const services[] = {"app"};
    struct rig r;
    rig_init(&r);
    r.opts.target =
        (struct governor_target){.unit = GOVERNOR_RECORDS, .amount = 100, .exponent = 0.3};
    rig_open(&r);
    struct guard *g = guard_of(true, services, 1);
    pipeline_set_guard(r.pipeline, g);
    guard_unref(g);
    for (int i = 0; i < 60000; i++) { /* 50 a second are guarded, of 1,000 */
        clock_fake_advance(&r.clock, 1);
        bool is_app = i % 20 == 0;
        rig_push(&r, &(struct rig_record){.body = is_app ? "tick" : "tock",
                                          .service = is_app ? "app" : "web"});
    }
    assert_int_equal(rig_kept(&r, REASON_GUARDED), 3000);
    assert_in_range(r.emitted, 5000, 7200);
    rig_close(&r);
}

static void a_weight_on_all(void **state)
{
    (void)state;
    static const struct {
        bool always;
        const char *service;
        double weight;
        size_t grown;
    } rows[] = {{false, "app", 1, 0}, {true, "app", 1, 9 + 24 + 6}, {true, "web", 10, 39}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        static const char *const services[] = {"app"};
        struct rig r;
        rig_init(&r);
        assert_int_equal(rules_set_global(r.rules, 0.1, NULL), 0);
        if (rows[i].always)
            r.opts.stamps = 1u << STAMP_WEIGHT_ALWAYS;
        rig_open(&r);
        struct guard *g = guard_of(true, services, 1);
        pipeline_set_guard(r.pipeline, g);
        guard_unref(g);
        while (r.last_weight == 0)
            push(&r, rows[i].service, 9, 1);
        assert_true(r.last_weight > 0.99 * rows[i].weight && r.last_weight < 1.01 * rows[i].weight);
        size_t plain = r.last_len;
        assert_int_equal(r.scratch.len - plain, rows[i].grown);
        rig_close(&r);
    }
}

/* What a service rules out is not asked for each record; it may rule nothing out. */
static void what_a_service_leaves_possible(void **state)
{
    (void)state;
    static const char *const services[] = {"app", "web", "app"};
    struct guard *g = guard_of(true, services, 3);
    struct filter *f;
    struct span word = SPAN("x");
    assert_int_equal(filter_new(&f), 0);
    filter_begin(f, FILTER_ANY);
    filter_add(f, &(struct filter_leaf){
                      .of = FILTER_SERVICE, .op = FILTER_IS, .values = &word, .value_count = 1});
    filter_add(f, &(struct filter_leaf){
                      .of = FILTER_BODY, .op = FILTER_CONTAINS, .values = &word, .value_count = 1});
    filter_end(f);
    const struct guard_item item = {.id = SPAN("any"), .name = SPAN("any")};
    assert_int_equal(guard_add(g, &item, f), 0);
    const struct logs_group app = {.service_name = SPAN("app")}, none = {.resource = {0}};
    assert_int_equal(guard_possible(g, &app), 1 | 4 | 8);
    assert_int_equal(guard_possible(g, &none), 8);
    guard_unref(g);
}

static void no_more_than_the_limit(void **state)
{
    (void)state;
    struct guard *g;
    struct filter *f;
    char name[2 * GUARD_NAME_BYTES];
    memset(name, 'n', sizeof name);
    memcpy(name + GUARD_NAME_BYTES - 1, "\xc3\xbc", 2); /* the limit goes through it */
    const struct guard_item item = {.id = SPAN("1"), .name = span_of(name, sizeof name)};
    assert_int_equal(guard_new(&g, true), 0);
    for (int i = 0; i < GUARD_MAX; i++) {
        assert_int_equal(filter_new(&f), 0);
        assert_int_equal(guard_add(g, &item, f), 0);
    }
    assert_int_equal(filter_new(&f), 0);
    assert_int_equal(guard_add(g, &item, f), ERR_FULL);
    assert_int_equal(guard_count(g), GUARD_MAX);
    assert_int_equal(guard_at(g, 0)->name.len, GUARD_NAME_BYTES - 1);
    guard_unref(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_selected_is_kept_whole_and_counted),
        cmocka_unit_test(a_guard_that_only_counts_keeps_nothing),
        cmocka_unit_test(rules_of_the_user_come_first),
        cmocka_unit_test(while_observing_it_is_said_what_would_be_kept),
        cmocka_unit_test(a_budget_pays_for_it_and_cuts_the_others),
        cmocka_unit_test(a_weight_on_all),
        cmocka_unit_test(what_a_service_leaves_possible),
        cmocka_unit_test(no_more_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
