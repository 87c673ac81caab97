#include "unit/test.h"

#include <stdlib.h>

#include "pattern/patterns.h"
#include "util/rng.h"

static struct patterns *table(uint32_t max_entries, struct budget *budget)
{
    struct patterns *p = NULL;
    const struct patterns_opts opts = {.max_entries = max_entries, .seed = 5, .budget = budget};
    assert_int_equal(patterns_new(&p, &opts), 0);
    return p;
}

static struct pattern *get(struct patterns *p, uint64_t signature, bool *is_new)
{
    struct pattern_key key = {.signature = signature, .service = 1, .level = 2};
    return patterns_get(p, &key, is_new);
}

static struct pattern_counts sum_of(struct patterns *p)
{
    struct pattern_counts sum = *patterns_other(p);
    for (uint32_t i = 0; i < patterns_slots(p); i++)
        if (patterns_at(p, i)->in_use)
            pattern_counts_add(&sum, &patterns_at(p, i)->counts);
    return sum;
}

static void all_of_the_key_counts(void **state)
{
    (void)state;
    static const struct pattern_key keys[] = {
        {1, 1, 1, 1}, {2, 1, 1, 1}, {1, 2, 1, 1}, {1, 1, 2, 1}, {1, 1, 1, 2}, {1, 257, 1, 1},
    };
    struct patterns *p = table(256, NULL);
    bool is_new;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct pattern *e = patterns_get(p, &keys[i], &is_new);
        assert_row(is_new && e->counts.received == 0, "%zu", i);
        e->counts.received = i + 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct pattern *e = patterns_get(p, &keys[i], &is_new);
        assert_row(!is_new && e->counts.received == i + 1, "%zu", i);
    }
    const struct pattern_key unknown = {9, 9, 1, 1};
    assert_null(patterns_peek(p, &unknown));
    assert_null(patterns_find(p, &unknown)); /* looking makes nothing */
    assert_int_equal(patterns_count(p), ARRAY_LEN(keys));
    patterns_free(p);
}

static void no_count_is_lost_to_a_million_patterns(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 4 << 20);
    struct patterns *p = table(512, &budget);
    bool is_new;
    for (uint64_t i = 0; i < 1000000; i++) {
        struct pattern *e = get(p, i * 0x9e3779b97f4a7c15u, &is_new);
        assert_true(is_new);
        if (i % 16 == 0)
            pattern_set_template(p, e, SPAN("some text of a template"));
        e->counts.received++;
        e->counts.received_bytes += i;
        e->counts.kept += i % 3 == 0;
    }
    struct pattern_counts sum = sum_of(p);
    assert_int_equal(sum.received, 1000000);
    assert_int_equal(sum.received_bytes, 999999ull * 1000000 / 2);
    assert_int_equal(sum.kept, 333334);
    assert_int_equal(patterns_count(p), 512);
    assert_int_equal(patterns_evicted(p), 1000000 - 512);
    patterns_free(p);
    assert_int_equal(budget.used, 0);
}

/* Every entry of the table is found again under its key: eviction never breaks
 * a probe. The model is the table itself, read slot by slot. */
static void the_index_agrees_with_the_slots(void **state)
{
    (void)state;
    struct patterns *p = table(256, NULL);
    struct rng rng = {.state = 1};
    enum { KEYS = 700 };
    static uint64_t in_table[KEYS], ever[KEYS];
    for (int step = 0; step < 40000; step++) {
        uint64_t k = rng_upto(&rng, KEYS - 1);
        uint64_t evicted = patterns_evicted(p);
        bool is_new;
        struct pattern *e = get(p, k, &is_new);
        assert_int_equal(e->key.signature, k);
        assert_int_equal(is_new, in_table[k] == 0);
        assert_true(is_new || e->counts.received == in_table[k]);
        e->counts.received++;
        ever[k]++;
        if (patterns_evicted(p) != evicted || step % 500 == 0) { /* who is there now? */
            uint64_t was[KEYS];
            memcpy(was, in_table, sizeof was);
            memset(in_table, 0, sizeof in_table);
            for (uint32_t i = 0; i < patterns_slots(p); i++) {
                const struct pattern *s = patterns_at(p, i);
                assert_int_equal(in_table[s->key.signature], 0); /* nobody is there twice */
                in_table[s->key.signature] = s->counts.received;
            }
            unsigned gone = 0;
            for (int i = 0; i < KEYS; i++)
                gone += was[i] > 0 && in_table[i] == 0;
            assert_true(gone <= 1);
        } else {
            in_table[k] = e->counts.received;
        }
    }
    uint64_t all = 0;
    for (int i = 0; i < KEYS; i++)
        all += ever[i];
    assert_int_equal(sum_of(p).received, all);
    assert_true(patterns_evicted(p) > 10000);
    patterns_free(p);
}

static void what_is_used_stays(void **state)
{
    (void)state;
    struct patterns *p = table(256, NULL);
    bool is_new;
    get(p, 1, &is_new)->counts.received = 1;
    for (uint64_t i = 0; i < 20000; i++) {
        (void)get(p, 1000 + i, &is_new);
        struct pattern *e = get(p, 1, &is_new);
        assert_false(is_new);
        e->counts.received++;
    }
    assert_int_equal(get(p, 1, &is_new)->counts.received, 20001);
    patterns_free(p);
}

static void little_memory_means_early_eviction(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 256 * sizeof(struct pattern) + 10);
    struct patterns *p = table(10000, &budget);
    bool is_new;
    for (uint64_t i = 0; i < 1000; i++) {
        struct pattern *e = get(p, i, &is_new);
        e->counts.received++;
        pattern_set_template(p, e, SPAN("eleven byte"));
        assert_null(e->template_text);
        assert_int_equal(e->template_len, 0);
    }
    assert_int_equal(patterns_count(p), 256);
    assert_int_equal(sum_of(p).received, 1000);
    patterns_free(p);
    assert_int_equal(budget.used, 0);

    const struct patterns_opts opts = {.max_entries = 1, .budget = &budget};
    budget_init(&budget, 10);
    assert_int_equal(patterns_new(&p, &opts), ERR_NOMEM);
    assert_int_equal(budget.used, 0);
    patterns_free(NULL);
}

static void templates_are_cut_between_characters(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1 << 20);
    struct patterns *p = table(1, &budget);
    uint64_t empty = budget.used;
    bool is_new;
    struct pattern *e = get(p, 1, &is_new);
    char text[300];
    memset(text, 'x', sizeof text);
    memcpy(text + 238, "\xe2\x82\xac", 3);
    pattern_set_template(p, e, span_of(text, sizeof text));
    assert_int_equal(e->template_len, 238);
    pattern_set_template(p, e, span_of(text, 238));
    assert_int_equal(e->template_len, 238);
    memset(text, 'x', sizeof text);
    pattern_set_template(p, e, span_of(text, sizeof text));
    assert_int_equal(e->template_len, PATTERN_TEMPLATE_BYTES);
    assert_int_equal(budget.used, empty + PATTERN_TEMPLATE_BYTES);
    pattern_set_template(p, e, SPAN(""));
    assert_null(e->template_text);
    assert_int_equal(budget.used, empty);
    patterns_free(p);
    assert_int_equal(budget.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_the_key_counts),
        cmocka_unit_test(no_count_is_lost_to_a_million_patterns),
        cmocka_unit_test(the_index_agrees_with_the_slots),
        cmocka_unit_test(what_is_used_stays),
        cmocka_unit_test(little_memory_means_early_eviction),
        cmocka_unit_test(templates_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
