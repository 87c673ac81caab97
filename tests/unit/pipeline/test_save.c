/* What a pipeline saves, another one knows: keys, times, windows, families; and what is cut or
 * spoiled does no harm. */
#include "unit/test.h"

#include <stdlib.h>

#include "unit/pipeline/inside.h"
#include "util/rng.h"
#include "util/saved.h"

enum { PATTERNS = 64, SEED = 77 };

struct rig {
    struct pipeline *pipeline;
    struct clock_fake clock;
    struct budget budget;
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

static void rig_open_with(struct rig *r, uint32_t max_patterns, uint64_t seed)
{
    struct rules *rules;
    *r = (struct rig){.pipeline = NULL};
    budget_init(&r->budget, 16 << 20);
    clock_fake_init(&r->clock, 1000, 1700000000000000000u);
    const struct pipeline_opts opts = {
        .max_patterns = max_patterns,
        .max_services = 8,
        .family_weight = 4,
        .seed = seed,
        .events = {.learning_ms = 1, .interval_ms = 100},
        .budget = &r->budget,
        .clock = &r->clock.clock,
        .sink = {.ctx = r, .emit = on_emit},
    };
    assert_int_equal(rules_new(&rules), 0);
    assert_int_equal(rules_set_boost(rules, 2, NULL), 0);
    assert_int_equal(pipeline_new(&r->pipeline, &opts, rules), 0);
    rules_unref(rules);
}

static void rig_open(struct rig *r)
{
    rig_open_with(r, PATTERNS, SEED);
}

static void rig_close(struct rig *r)
{
    pipeline_free(r->pipeline);
    assert_int_equal(r->budget.used, 0);
}

static void put(struct rig *r, const char *service, uint64_t signature, uint32_t window,
                uint32_t in_window)
{
    struct patterns *table = pipeline_patterns(r->pipeline);
    struct pattern_key key = {.signature = signature,
                              .service = pipeline_service(r->pipeline, span_str(service)),
                              .level = LEVEL_INFO,
                              .status_class = 2};
    struct pattern *e = patterns_add(table, &key);
    e->first_seen_ns = 1600000000000000000u + signature;
    e->last_seen_s = 1650000000;
    e->window = window;
    e->in_window = in_window;
    e->counts.received = 1000;
    pattern_set_template(table, e, SPAN("user <*> logged in"));
}

static const char *const names[] = {"alice", "bob", "carol", "dave", "erin", "frank"};

static uint64_t learn(struct rig *r, const char *name)
{
    struct signer *signer;
    char line[64];
    assert_int_equal(signer_new(&signer), 0);
    snprintf(line, sizeof line, "user %s logged in", name);
    uint64_t id = signer_sign_text(signer, span_str(line));
    uint64_t family = families_add(pipeline_families(r->pipeline), id, signer_identity(signer),
                                   1700000000000000000u);
    signer_free(signer);
    return family;
}

static void fill(struct rig *r)
{
    put(r, "shop", 1, 500, 3);
    put(r, "", 2, PATTERN_WINDOW_NEW, 0);
    put(r, "pay", 3, PATTERN_WINDOW_KNOWN, 1);
    for (size_t i = 0; i < ARRAY_LEN(names) - 1; i++)
        learn(r, names[i]);
}

static const struct pattern *find(struct rig *r, const char *service, uint64_t signature)
{
    struct pattern_key key = {.signature = signature,
                              .service = pipeline_service(r->pipeline, span_str(service)),
                              .level = LEVEL_INFO,
                              .status_class = 2};
    return patterns_peek(pipeline_patterns(r->pipeline), &key);
}

static void what_is_saved_is_known(void **state)
{
    (void)state;
    struct rig a, b;
    struct buf text = {0};
    rig_open(&a);
    fill(&a);
    uint64_t family = learn(&a, names[0]);
    pipeline_save(a.pipeline, 0, &text);
    assert_int_equal(text.err, 0);
    rig_open(&b);
    pipeline_service(b.pipeline, SPAN("another")); /* numbers of services differ */
    clock_fake_advance(&b.clock, 1000);
    pipeline_tick(b.pipeline);
    assert_int_equal(pipeline_restore(b.pipeline, 0, buf_span(&text)), 0);
    const struct pattern *one = find(&b, "shop", 1), *two = find(&b, "", 2),
                         *three = find(&b, "pay", 3);
    assert_true(one != NULL && two != NULL && three != NULL);
    assert_int_equal(one->first_seen_ns, 1600000000000000001u);
    assert_int_equal(one->last_seen_s, 1650000000);
    assert_true(one->window == 500 && one->in_window == 3);
    assert_int_equal(two->window, PATTERN_WINDOW_KNOWN); /* not new */
    assert_true(three->window == PATTERN_WINDOW_KNOWN && three->in_window == 1);
    assert_int_equal(one->counts.received, 0);
    assert_memory_equal(one->template_text, "user <*> logged in", one->template_len);
    unsigned kinds;
    assert_true(anomaly_strength(b.pipeline->anomaly, one->number, one->key.service, &kinds) <= 0);
    assert_int_equal(kinds, 0);
    /* The family is known, and so is how far others have come. */
    assert_int_equal(learn(&b, names[0]), family);
    assert_int_equal(learn(&b, names[5]), family);
    struct families_stats x = families_stats(pipeline_families(a.pipeline));
    learn(&a, names[5]);
    x = families_stats(pipeline_families(a.pipeline));
    struct families_stats y = families_stats(pipeline_families(b.pipeline));
    assert_int_equal(x.signatures, y.signatures);
    assert_int_equal(x.aliases, y.aliases);
    assert_int_equal(x.holes, y.holes);
    buf_done(&text);
    rig_close(&a);
    rig_close(&b);
}

/* One name short of a family: the next process needs that one only. */
static void what_was_half_learned_goes_on(void **state)
{
    (void)state;
    struct rig a, b;
    struct buf text = {0};
    rig_open(&a);
    for (int i = 0; i < 3; i++)
        learn(&a, names[i]);
    pipeline_save(a.pipeline, 0, &text);
    rig_open(&b);
    assert_int_equal(pipeline_restore(b.pipeline, 0, buf_span(&text)), 0);
    learn(&b, names[3]);
    assert_true(families_stats(pipeline_families(b.pipeline)).aliases >= 4);
    buf_done(&text);
    rig_close(&a);
    rig_close(&b);
}

static void another_seed_has_other_keys(void **state)
{
    (void)state;
    struct rig a, b;
    struct buf text = {0};
    rig_open(&a);
    fill(&a);
    pipeline_save(a.pipeline, 0, &text);
    rig_open_with(&b, PATTERNS, SEED + 1);
    assert_int_equal(pipeline_restore(b.pipeline, 0, buf_span(&text)), 0);
    assert_non_null(find(&b, "shop", 1));
    assert_int_equal(families_stats(pipeline_families(b.pipeline)).signatures, 0);
    buf_done(&text);
    rig_close(&a);
    rig_close(&b);
}

static void a_smaller_table_takes_what_it_can(void **state)
{
    (void)state;
    struct rig a, b;
    struct buf text = {0};
    rig_open(&a);
    for (uint64_t i = 1; i <= 60; i++)
        put(&a, i % 2 == 0 ? "shop" : "pay", i, 5, 1);
    pipeline_save(a.pipeline, 0, &text);
    rig_open_with(&b, 16, SEED);
    assert_int_equal(pipeline_restore(b.pipeline, 0, buf_span(&text)), 0);
    assert_int_equal(patterns_count(pipeline_patterns(b.pipeline)), 16);
    assert_int_equal(patterns_evicted(pipeline_patterns(b.pipeline)), 0);
    buf_done(&text);
    rig_close(&a);
    rig_close(&b);
}

/* The file's CRC keeps such texts away; a bug would not. */
static void spoiled_texts_do_no_harm(void **state)
{
    (void)state;
    struct rig a;
    struct buf text = {0};
    struct rng rng = {.state = 3};
    rig_open(&a);
    fill(&a);
    pipeline_save(a.pipeline, 0, &text);
    unsigned refused = 0;
    for (int round = 0; round < 3000; round++) {
        struct rig b;
        uint8_t *copy = malloc(text.len);
        size_t n = round % 2 == 0 ? rng_next(&rng) % text.len : text.len;
        memcpy(copy, text.base, text.len);
        for (int i = 0; round % 2 != 0 && i < 3; i++)
            copy[rng_next(&rng) % (text.len - 9000)] = (uint8_t)rng_next(&rng);
        rig_open(&b);
        refused += pipeline_restore(b.pipeline, 0, span_of(copy, n)) < 0;
        rig_close(&b);
        free(copy);
    }
    assert_true(refused > 1000);
    buf_done(&text);
    rig_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_is_known),
        cmocka_unit_test(what_was_half_learned_goes_on),
        cmocka_unit_test(another_seed_has_other_keys),
        cmocka_unit_test(a_smaller_table_takes_what_it_can),
        cmocka_unit_test(spoiled_texts_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
