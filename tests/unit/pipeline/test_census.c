/* A census is what was counted, of as many rows as were asked for; and a sum of several. */
#include "unit/test.h"

#include "unit/otlp/pb.h"
#include "unit/pipeline/inside.h"
#include "util/rng.h"

enum { PATTERNS = 64 };

struct rig {
    struct pipeline *pipeline;
    struct clock_fake clock;
    struct budget budget;
    uint64_t seen;
};

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    (void)ctx;
    (void)g;
    (void)record;
    (void)stamp;
    (void)service;
    return 0;
}

static void rig_open(struct rig *r)
{
    struct rules *rules;
    *r = (struct rig){.seen = 100};
    budget_init(&r->budget, 4 << 20);
    clock_fake_init(&r->clock, 1000, 1700000000000000000u);
    const struct pipeline_opts opts = {
        .max_patterns = PATTERNS,
        .max_services = 8,
        .family_weight = 4,
        .observe = true,
        .budget = &r->budget,
        .clock = &r->clock.clock,
        .sink = {.ctx = r, .emit = on_emit},
    };
    assert_int_equal(rules_new(&rules), 0);
    assert_int_equal(pipeline_new(&r->pipeline, &opts, rules), 0);
    rules_unref(rules);
}

static void rig_close(struct rig *r)
{
    pipeline_free(r->pipeline);
    assert_int_equal(r->budget.used, 0);
}

/* n records of a pattern, as the pipeline counts them. */
static void count(struct rig *r, const char *service, uint64_t signature, uint64_t n, uint64_t kept)
{
    uint32_t id = pipeline_service(r->pipeline, span_str(service));
    struct patterns *table = pipeline_patterns(r->pipeline);
    struct pattern_key key = {.signature = signature, .service = id, .level = LEVEL_INFO};
    char text[32];
    bool is_new;
    struct pattern *e = patterns_get(table, &key, &is_new);
    snprintf(text, sizeof text, "template of %u", (unsigned)signature);
    if (is_new) {
        e->first_seen_ns = r->seen++;
        pattern_set_template(table, e, span_str(text));
    }
    e->last_seen_s = (uint32_t)r->seen++;
    e->counts.received += n;
    e->counts.kept += kept;
    e->counts.sampled_out += n - kept;
    e->counts.received_bytes += 10 * n;
    ledger_decide(pipeline_ledger(r->pipeline), id, VERDICT_KEPT, kept, 10 * kept);
    ledger_decide(pipeline_ledger(r->pipeline), id, VERDICT_SAMPLED_OUT, n - kept, 10 * (n - kept));
    const struct decision d = {.verdict = VERDICT_KEPT};
    shadow_note(r->pipeline->shadow, SHADOW_ENFORCED, e->number, &d, 10);
    r->pipeline->reasons.kept[REASON_FIRST] += kept;
}

static int by_volume(const void *a, const void *b)
{
    const struct census_pattern *x = a, *y = b;
    return x->counts.received != y->counts.received
               ? (x->counts.received < y->counts.received ? 1 : -1)
               : (x->number < y->number ? -1 : x->number > y->number);
}

static const struct census_want everything = {
    .services = true, .patterns = true, .templates = true, .shadow = true, .aliases = true};

static void rows_are_copies(void **state)
{
    (void)state;
    struct rig r;
    struct census c, bare;
    rig_open(&r);
    count(&r, "cart", 7, 5, 2);
    count(&r, "pay", 9, 3, 0);
    struct census_want want = everything;
    want.order = by_volume;
    assert_int_equal(census_take(r.pipeline, &want, &c), 0);
    count(&r, "cart", 7, 100, 100); /* the copy does not know of it */
    count(&r, "late", 8, 1, 1);
    assert_int_equal(c.total.received, 8);
    assert_int_equal(c.imbalance, 0);
    assert_int_equal(c.services_held, 3);
    assert_true(span_eq(c.services[0].name, SPAN("other")));
    assert_true(span_eq(c.services[1].name, SPAN("cart")));
    assert_int_equal(c.services[2].row.received, 3);
    assert_int_equal(c.pattern_count, 2);
    assert_int_equal(c.patterns[0].counts.received, 5);
    assert_int_equal(c.patterns[0].key.service, 1);
    assert_true(span_eq(census_template(&c.patterns[1]), SPAN("template of 9")));
    assert_int_equal(c.patterns[0].shadow[SHADOW_ENFORCED].kept, 1);
    assert_true(c.has_shadow && !c.has_events && !c.has_anomaly);
    assert_int_equal(c.shadow[SHADOW_ENFORCED].kept, 2);
    assert_int_equal(c.reasons.kept[REASON_FIRST], 2);
    census_done(&c);

    const struct census_want counters = {0};
    assert_int_equal(census_take(r.pipeline, &counters, &bare), 0); /* and nothing to be freed */
    assert_int_equal(bare.total.received, 109);
    assert_int_equal(bare.patterns_held, 3);
    assert_null(bare.services);
    rig_close(&r);
}

/* The first so many are those that sorting all would give, whatever the order of the table. */
static void the_first_so_many(void **state)
{
    (void)state;
    struct rng rng = {3};
    for (uint32_t round = 0; round < 200; round++) {
        struct rig r;
        struct census all, some;
        rig_open(&r);
        uint64_t patterns = rng_upto(&rng, PATTERNS - 1);
        for (uint64_t i = 0; i < patterns; i++)
            count(&r, "cart", i + 1, 1 + rng_upto(&rng, 9), 0);
        struct census_want want = {.patterns = true, .order = by_volume};
        assert_int_equal(census_take(r.pipeline, &want, &all), 0);
        want.limit = 1 + (uint32_t)rng_upto(&rng, PATTERNS);
        assert_int_equal(census_take(r.pipeline, &want, &some), 0);
        uint32_t expected = want.limit < patterns ? want.limit : (uint32_t)patterns;
        assert_row(some.pattern_count == expected, "%u: %u", round, some.pattern_count);
        for (uint32_t i = 0; i < expected; i++)
            assert_row(some.patterns[i].number == all.patterns[i].number, "%u: %u", round, i);
        census_done(&all);
        census_done(&some);
        rig_close(&r);
    }
}

static bool is_odd(const void *ctx, const struct census_pattern *p)
{
    (void)ctx;
    return p->key.signature % 2 == 1;
}

static void only_what_is_wanted(void **state)
{
    (void)state;
    struct rig r;
    struct census c;
    rig_open(&r);
    for (uint64_t i = 1; i <= 20; i++)
        count(&r, "cart", i, i, 0);
    struct census_want want = {
        .patterns = true, .is_wanted = is_odd, .order = by_volume, .limit = 3};
    assert_int_equal(census_take(r.pipeline, &want, &c), 0);
    assert_int_equal(c.pattern_count, 3);
    assert_int_equal(c.patterns[0].key.signature, 19);
    assert_int_equal(c.patterns[2].key.signature, 15);
    assert_null(c.patterns[0].template_text);
    assert_int_equal(c.patterns_held, 20);
    census_done(&c);
    rig_close(&r);
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    struct rig r;
    struct census c, untouched;
    struct budget budget;
    rig_open(&r);
    for (uint64_t i = 1; i <= 60; i++)
        count(&r, "cart", i, i, 0);
    struct census_want want = everything;
    want.budget = &budget;
    memset(&c, 7, sizeof c);
    memset(&untouched, 7, sizeof untouched);
    unsigned refused = 0, taken = 0;
    for (size_t limit = 0; limit < 100000; limit += 4000) {
        budget_init(&budget, limit);
        struct census got = c;
        if (census_take(r.pipeline, &want, &got) < 0) {
            assert_memory_equal(&got, &untouched, sizeof got);
            refused++;
        } else {
            census_done(&got);
            taken++;
        }
        assert_int_equal(budget.used, 0);
    }
    assert_true(refused > 0 && taken > 0);
    rig_close(&r);
}

static const struct census_pattern *find(const struct census *c, const char *service,
                                         uint64_t signature)
{
    for (uint32_t i = 0; i < c->services_held; i++)
        if (span_eq(c->services[i].name, span_str(service))) {
            const struct pattern_key key = {
                .signature = signature, .service = i, .level = LEVEL_INFO};
            return census_find(c, &key);
        }
    return NULL;
}

/* Two pipelines have their services in another order, and patterns of their own. */
static void sums_go_by_name_and_key(void **state)
{
    (void)state;
    struct rig a, b;
    struct census sum, one;
    rig_open(&a);
    rig_open(&b);
    count(&a, "cart", 7, 5, 2);
    count(&a, "pay", 7, 1, 1);
    count(&b, "", 1, 1, 0); /* a service without a name */
    count(&b, "pay", 7, 10, 4);
    count(&b, "ship", 8, 3, 3);
    count(&b, "cart", 7, 100, 50);
    count(&b, "cart", 6, 2, 0);
    assert_int_equal(census_take(a.pipeline, &everything, &sum), 0);
    assert_int_equal(census_take(b.pipeline, &everything, &one), 0);
    assert_int_equal(census_add(&sum, &one), 0);
    census_done(&one);
    rig_close(&b); /* all that the sum points to is its own */

    assert_int_equal(sum.total.received, 122);
    assert_int_equal(sum.imbalance, 0);
    assert_int_equal(sum.reasons.kept[REASON_FIRST], 60);
    assert_int_equal(sum.services_held, 5); /* other, cart, pay, "", ship */
    assert_int_equal(sum.pattern_count, 5);
    assert_int_equal(find(&sum, "cart", 7)->counts.received, 105);
    assert_int_equal(find(&sum, "cart", 7)->counts.kept, 52);
    assert_int_equal(find(&sum, "cart", 7)->shadow[SHADOW_ENFORCED].kept, 2);
    assert_int_equal(find(&sum, "pay", 7)->counts.received, 11);
    assert_int_equal(find(&sum, "ship", 8)->counts.received, 3);
    assert_true(span_eq(census_template(find(&sum, "ship", 8)), SPAN("template of 8")));
    assert_int_equal(find(&sum, "", 1)->counts.received, 1);
    assert_null(find(&sum, "pay", 8));
    assert_int_equal(find(&sum, "cart", 7)->first_seen_ns, 100); /* the earlier of both */
    uint64_t by_service = 0;
    for (uint32_t i = 0; i < sum.services_held; i++)
        by_service += sum.services[i].row.received;
    assert_int_equal(by_service, 122);
    census_done(&sum);
    rig_close(&a);
}

static void a_sum_without_memory_stays(void **state)
{
    (void)state;
    struct rig a, b;
    struct census sum, one;
    struct budget budget;
    rig_open(&a);
    rig_open(&b);
    for (uint64_t i = 1; i <= 60; i++) {
        count(&a, "cart", i, 1, 0);
        count(&b, "pay", i, 1, 0);
    }
    budget_init(&budget, 1 << 20);
    struct census_want want = everything;
    want.budget = &budget;
    assert_int_equal(census_take(a.pipeline, &want, &sum), 0);
    assert_int_equal(census_take(b.pipeline, &everything, &one), 0);
    budget.limit = budget.used;
    while (sum.arena.blocks != NULL && arena_alloc(&sum.arena, 1024) != NULL)
        ; /* what was left of a block */
    assert_int_equal(census_add(&sum, &one), ERR_NOMEM);
    assert_int_equal(sum.total.received, 60);
    assert_int_equal(sum.pattern_count, 60);
    assert_int_equal(sum.services_held, 2);
    budget.limit = 1 << 20;
    assert_int_equal(census_add(&sum, &one), 0);
    assert_int_equal(sum.pattern_count, 120);
    census_done(&one);
    census_done(&sum);
    assert_int_equal(budget.used, 0);
    rig_close(&a);
    rig_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_copies),         cmocka_unit_test(the_first_so_many),
        cmocka_unit_test(only_what_is_wanted),     cmocka_unit_test(without_memory_there_is_none),
        cmocka_unit_test(sums_go_by_name_and_key), cmocka_unit_test(a_sum_without_memory_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
