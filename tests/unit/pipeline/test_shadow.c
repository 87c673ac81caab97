#include "unit/test.h"

#include "pipeline/shadow.h"

static struct shadow *shadow(struct budget *budget)
{
    struct shadow *s = NULL;
    const struct shadow_opts opts = {1000, budget};
    assert_int_equal(shadow_new(&s, &opts), 0);
    return s;
}

static void what_was_not_carried_out_is_counted(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1 << 20);
    struct shadow *s = shadow(&budget);
    const struct decision decisions[] = {
        {.verdict = VERDICT_KEPT},
        {.verdict = VERDICT_KEPT, .threshold = 5},
        {.verdict = VERDICT_SAMPLED_OUT, .threshold = 5},
        {.verdict = VERDICT_DROPPED_BY_RULE},
    };
    for (size_t i = 0; i < ARRAY_LEN(decisions); i++)
        shadow_note(s, SHADOW_ENFORCED, 300, &decisions[i], 10);
    shadow_release(s, SHADOW_ENFORCED, 300, 7);
    const struct shadow_counts *total = shadow_total(s, SHADOW_ENFORCED);
    struct shadow_counts one = shadow_of(s, SHADOW_ENFORCED, 300);
    assert_memory_equal(total, &one, sizeof one);
    assert_int_equal(one.kept, 2);
    assert_int_equal(one.sampled_out, 1);
    assert_int_equal(one.dropped_by_rule, 1);
    assert_int_equal(one.released, 1);
    assert_int_equal(one.kept_bytes, 10 + 10 + 7);
    shadow_release(s, SHADOW_ENFORCED, SHADOW_NO_PATTERN, 5);
    shadow_release(s, SHADOW_ENFORCED, 999, 5); /* it was never counted */
    assert_int_equal(total->released, 3);
    assert_int_equal(total->kept_bytes, 27 + 10);
    assert_int_equal(shadow_of(s, SHADOW_ENFORCED, 300).kept_bytes, 27);
    assert_int_equal(shadow_total(s, SHADOW_POLICY)->kept, 0);
    assert_int_equal(shadow_of(s, SHADOW_ENFORCED, 999).kept, 0);
    const struct pattern entry = {.number = 300};
    shadow_begin(s, &entry);
    assert_int_equal(shadow_of(s, SHADOW_ENFORCED, 300).kept, 0);
    assert_int_equal(shadow_total(s, SHADOW_ENFORCED)->kept, 2);
    shadow_free(s);
    assert_int_equal(budget.used, 0);
    shadow_free(NULL);
}

/* Its windows are its own: what is first for one policy is so for the other. */
static void a_second_policy_has_windows_of_its_own(void **state)
{
    (void)state;
    struct shadow *s = shadow(NULL);
    struct rules *rules, *other;
    assert_int_equal(rules_new(&rules), 0);
    assert_int_equal(rules_new(&other), 0);
    assert_int_equal(rules_set_global(rules, 0, NULL), 0);
    assert_int_equal(rules_set_global(other, 0, NULL), 0);
    assert_int_equal(rules_set_first(rules, 2, 60000, NULL), 0);
    assert_int_equal(rules_set_first(other, 5, 60000, NULL), 0);
    struct pattern pattern = {.number = 7};
    struct log_record record = {0};
    const struct subject subject = {.bytes = SPAN("x"),
                                    .record = &record,
                                    .level = LEVEL_INFO,
                                    .pattern = &pattern,
                                    .now_ms = 1000};
    unsigned kept = 0;
    for (int i = 0; i < 10; i++) {
        struct decision d = sampler_decide(rules, &subject);
        struct decision policy = shadow_decide(s, other, &subject);
        shadow_note(s, SHADOW_POLICY, 7, &policy, 1);
        kept += d.verdict == VERDICT_KEPT;
    }
    assert_int_equal(kept, 2);
    assert_int_equal(shadow_of(s, SHADOW_POLICY, 7).kept, 5);
    assert_int_equal(shadow_of(s, SHADOW_POLICY, 7).sampled_out, 5);
    assert_int_equal(pattern.in_window, 2);
    shadow_free(s);
    rules_unref(rules);
    rules_unref(other);
}

/* Of whatever signature the records of an entry are, and also of entries that there is no room for.
 */
static void windows_of_shared_entries_close(void **state)
{
    (void)state;
    struct budget none;
    budget_init(&none, 100);
    for (int has_room = 0; has_room < 2; has_room++) {
        struct shadow *s = shadow(has_room ? NULL : &none);
        struct rules *rules;
        assert_int_equal(rules_new(&rules), 0);
        assert_int_equal(rules_set_global(rules, 0, NULL), 0);
        assert_int_equal(rules_set_first(rules, 5, 60000, NULL), 0);
        struct log_record record = {0};
        for (uint64_t i = 0; i < 1000; i++) {
            /* A family's entry; and many entries where they share what is left. */
            struct pattern pattern = {.number = has_room ? 7 : i % 50,
                                      .key.signature = has_room ? 7 : i % 50};
            const struct subject subject = {.bytes = SPAN("x"),
                                            .record = &record,
                                            .level = LEVEL_INFO,
                                            .signature = i % 20 * 7919,
                                            .pattern = &pattern,
                                            .now_ms = 1000 + i};
            struct decision d = shadow_decide(s, rules, &subject);
            shadow_note(s, SHADOW_POLICY, pattern.number, &d, 1);
        }
        assert_row(shadow_total(s, SHADOW_POLICY)->kept == 5, "%d: %llu kept", has_room,
                   (unsigned long long)shadow_total(s, SHADOW_POLICY)->kept);
        shadow_free(s);
        rules_unref(rules);
    }
}

static void without_memory_the_totals_hold(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 100);
    struct shadow *s = shadow(&budget);
    const struct decision d = {.verdict = VERDICT_KEPT};
    shadow_note(s, SHADOW_ENFORCED, 1, &d, 1);
    assert_int_equal(shadow_total(s, SHADOW_ENFORCED)->kept, 1);
    assert_int_equal(shadow_of(s, SHADOW_ENFORCED, 1).kept, 0);
    shadow_free(s);
    assert_int_equal(budget.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_carried_out_is_counted),
        cmocka_unit_test(a_second_policy_has_windows_of_its_own),
        cmocka_unit_test(windows_of_shared_entries_close),
        cmocka_unit_test(without_memory_the_totals_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
