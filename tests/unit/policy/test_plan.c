/* Plans on labelled streams: what is noise falls in steps, what is needed stays, and a plan that is
 * followed comes to an end. */
#include "unit/test.h"

#include <math.h>

#include "policy/plan.h"
#include "util/rng.h"

#define PATTERNS_MAX 400

struct stream {
    struct plan_pattern list[PATTERNS_MAX];
    struct standing_facts facts[PATTERNS_MAX];
    bool is_needed[PATTERNS_MAX];
    size_t count;
    struct rules *rules;
    struct arena arena;
};

static void stream_open(struct stream *s)
{
    *s = (struct stream){.count = 0};
    arena_init(&s->arena, 64 << 20, NULL);
    assert_int_equal(rules_new(&s->rules), 0);
    assert_int_equal(rules_set_global(s->rules, 1, NULL), 0);
}

static void stream_close(struct stream *s)
{
    rules_unref(s->rules);
    arena_done(&s->arena);
}

static struct plan_pattern *add(struct stream *s, uint64_t id, enum level level, double per_hour,
                                bool is_needed)
{
    struct plan_pattern *p = &s->list[s->count];
    struct standing_facts *facts = &s->facts[s->count];
    *facts = (struct standing_facts){
        .signature = id, .family = id, .level = level, .service = SPAN("shop"), .factor = 1};
    *p = (struct plan_pattern){
        .facts = facts,
        .records_per_hour = per_hour,
        .received_bytes = per_hour * 300,
        .seen = (uint64_t)per_hour,
    };
    s->is_needed[s->count++] = is_needed;
    return p;
}

/* What is kept now follows from the rules. */
static struct plan make(struct stream *s, double max_drop_change, double last_share)
{
    struct plan plan;
    const struct plan_opts opts = {max_drop_change, last_share};
    for (size_t i = 0; i < s->count; i++) {
        s->list[i].rules = s->rules;
        const struct standing standing = standing_of(s->rules, &s->facts[i]);
        s->list[i].kept_bytes = s->list[i].received_bytes * standing.rate;
    }
    assert_int_equal(plan_make(&plan, s->list, s->count, &opts, &s->arena), 0);
    return plan;
}

static const struct plan_change *find(const struct plan *plan, uint64_t id)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->changes[i].id == id)
            return &plan->changes[i];
    return NULL;
}

static void apply(struct stream *s, const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        assert_int_equal(
            rules_set_pattern(s->rules, plan->changes[i].id, plan->changes[i].rate, NULL), 0);
}

/* A day of a shop: a few lines make the noise, many are rare, errors and kept ones are needed. */
static void a_labelled_day(struct stream *s)
{
    struct rng rng = {.state = 11};
    for (uint64_t i = 1; i <= 5; i++)
        add(s, i, LEVEL_INFO, 60000.0 / (double)i, false);
    for (uint64_t i = 10; i < 200; i++)
        add(s, i, i % 3 == 0 ? LEVEL_WARN : LEVEL_INFO, 1 + (double)(rng_next(&rng) % 90), true);
    for (uint64_t i = 200; i < 210; i++)
        add(s, i, LEVEL_ERROR, 5000, true);
    add(s, 300, LEVEL_INFO, 50000, true);
    s->facts[s->count - 1].is_guarded = true;
}

static void noise_falls_and_what_is_needed_stays(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&s);
    a_labelled_day(&s);
    for (int version = 0; version < 12; version++) {
        struct plan plan = make(&s, 1, 0);
        if (plan.none != NULL) {
            assert_true(version > 2);
            break;
        }
        assert_true(version < 11);
        for (size_t i = 0; i < plan.count; i++) {
            const struct plan_change *c = &plan.changes[i];
            assert_false(s.is_needed[c->loudest]);
            assert_true(c->rate >= c->rate_now / PROPOSAL_STEP * 0.999);
        }
        assert_true(plan.kept_then < plan.kept_now);
        apply(&s, &plan);
    }
    /* What is left of each noisy one is enough to count it, and all of them together are not worth
     * a version any more. */
    double noise = 0, all = 0;
    for (size_t i = 0; i < s.count; i++) {
        const struct standing standing = standing_of(s.rules, &s.facts[i]);
        double left = standing.own * s.list[i].records_per_hour;
        assert_true(s.is_needed[i] ? standing.own >= 1 : left >= PROPOSAL_PER_HOUR * 0.99);
        all += left;
        noise += s.is_needed[i] ? 0 : left;
    }
    assert_true(noise < PLAN_GAIN_MIN * all + 5 * 1.3 * PROPOSAL_PER_HOUR);
    stream_close(&s);
}

static void no_version_drops_more_than_it_may(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&s);
    a_labelled_day(&s);
    double received = 0;
    for (size_t i = 0; i < s.count; i++)
        received += s.list[i].received_bytes;
    int versions = 0;
    for (;; versions++) {
        struct plan plan = make(&s, 0.1, 0);
        if (plan.none != NULL)
            break;
        assert_true(plan.kept_now - plan.kept_then <= 0.1 * received * 1.000001);
        assert_true(versions < 40);
        apply(&s, &plan);
    }
    assert_true(versions >= 3);
    stream_close(&s);
}

static void one_that_is_loud_falls_as_far_as_it_may(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&s);
    add(&s, 1, LEVEL_INFO, 100000, false);
    struct plan plan = make(&s, 0.25, 0);
    const struct plan_change *c = find(&plan, 1);
    assert_non_null(c);
    assert_true(fabs(c->rate - 0.75) < 0.002);
    assert_true(c->is_cut);
    stream_close(&s);
}

static void members_of_a_family_are_one(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&s);
    for (uint64_t i = 1; i <= 4; i++)
        add(&s, i, LEVEL_INFO, 20000, false);
    for (size_t i = 0; i < s.count; i++)
        s.facts[i].family = 77;
    add(&s, 77, LEVEL_DEBUG, 40000, false);
    add(&s, 77, LEVEL_ERROR, 100, false); /* the same line, as an error: not asked */
    struct plan plan = make(&s, 1, 0);
    assert_int_equal(plan.count, 1);
    assert_int_equal(plan.changes[0].id, 77);
    assert_true(plan.changes[0].rate < 0.26);
    s.facts[2].is_guarded = true; /* a rate of the family would be its as well */
    plan = make(&s, 1, 0);
    assert_non_null(plan.none);
    stream_close(&s);
}

static void soft_protection_asks_for_a_shadow(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&s);
    add(&s, 1, LEVEL_INFO, 50000, false);
    struct plan plan = make(&s, 1, 0);
    assert_false(plan.needs_shadow);
    add(&s, 1, LEVEL_INFO, 500, true)->status_class = 5;
    plan = make(&s, 1, 0);
    assert_true(plan.needs_shadow);
    assert_int_equal(find(&plan, 1)->soft, 1);
    assert_non_null(strstr(find(&plan, 1)->soft_why, "5xx"));
    stream_close(&s);
}

static void hysteresis(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&s);
    add(&s, 1, LEVEL_INFO, 50000, false);
    struct plan plan = make(&s, 1, 0);
    double share = 1 - plan.kept_then / plan.kept_now;
    assert_null(plan.none);
    assert_non_null(strstr(make(&s, 1, share * 1.04).none, "last proposal"));
    assert_null(make(&s, 1, share * 1.06).none);
    /* Less than 5 % of all is not worth a version. */
    for (uint64_t i = 2; i < 100; i++)
        add(&s, i, LEVEL_ERROR, 50000, true);
    assert_non_null(strstr(make(&s, 1, 0).none, "less than 5%"));
    stream_close(&s);
    stream_open(&s);
    assert_non_null(strstr(make(&s, 1, 0).none, "nothing was counted"));
    add(&s, 1, LEVEL_INFO, 50, false);
    assert_non_null(strstr(make(&s, 1, 0).none, "no rate needs"));
    stream_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_falls_and_what_is_needed_stays),
        cmocka_unit_test(no_version_drops_more_than_it_may),
        cmocka_unit_test(one_that_is_loud_falls_as_far_as_it_may),
        cmocka_unit_test(members_of_a_family_are_one),
        cmocka_unit_test(soft_protection_asks_for_a_shadow),
        cmocka_unit_test(hysteresis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
