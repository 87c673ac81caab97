/* Versions: states, numbers, bounds; and documents that are read as what was written. */
#include "unit/test.h"

#include <stdlib.h>

#include "config/config.h"
#include "policy/document.h"
#include "policy/document_write.h"
#include "policy/versions.h"
#include "util/rng.h"

static uint32_t add(struct versions *v, const char *by, const char *document)
{
    const struct version like = {.created_unix_s = 7, .number = 99, .state = VERSION_ACTIVE};
    struct version it = like;
    uint32_t number = 0;
    snprintf(it.by, sizeof it.by, "%s", by);
    assert_int_equal(versions_add(v, &it, span_str(document), &number), 0);
    return number;
}

static enum version_state state_of(const struct versions *v, uint32_t number)
{
    return versions_find(v, number)->state;
}

static void states(void **state)
{
    (void)state;
    struct budget budget;
    struct versions *v;
    budget_init(&budget, 1 << 20);
    assert_int_equal(versions_new(&v, &budget), 0);
    assert_int_equal(add(v, "config", "a"), 1);
    assert_int_equal(state_of(v, 1), VERSION_PROPOSED);
    versions_set_active(v, 1);
    assert_int_equal(add(v, "ann", "b"), 2);
    assert_int_equal(add(v, "ann", "c"), 3);
    versions_set_shadow(v, 2);
    versions_set_shadow(v, 3);
    assert_int_equal(state_of(v, 2), VERSION_PROPOSED);
    assert_int_equal(state_of(v, 3), VERSION_SHADOW);
    versions_set_shadow(v, 1); /* what is in force is not only counted */
    assert_int_equal(state_of(v, 1), VERSION_ACTIVE);
    versions_set_active(v, 3);
    assert_int_equal(state_of(v, 1), VERSION_PAST);
    assert_int_equal(versions_in(v, VERSION_ACTIVE)->number, 3);
    assert_null(versions_in(v, VERSION_SHADOW));
    versions_set_active(v, 77);
    assert_int_equal(versions_in(v, VERSION_ACTIVE)->number, 3);
    assert_null(versions_find(v, 77));
    assert_true(span_eq(versions_find(v, 2)->document, SPAN("b")));
    versions_free(v);
    assert_int_equal(budget.used, 0);
}

static void the_oldest_go_but_not_what_is_in_force(void **state)
{
    (void)state;
    struct budget budget;
    struct versions *v;
    uint32_t number;
    budget_init(&budget, 256 << 10);
    assert_int_equal(versions_new(&v, &budget), 0);
    struct version outside = {.is_from_outside = true, .by = "config"};
    assert_int_equal(versions_add(v, &outside, SPAN("first"), &number), 0);
    versions_set_active(v, 1);
    for (int i = 0; i < 200; i++)
        add(v, "auto", "x");
    versions_set_active(v, 201);
    add(v, "auto", "x");
    assert_int_equal(versions_at(v, 0)->number, 1); /* what the configuration says stays known */
    versions_set_active(v, 1);
    assert_int_equal(versions_count(v), VERSIONS_MAX);
    assert_int_equal(versions_at(v, 0)->number, 1);
    assert_int_equal(versions_at(v, 1)->number, 202 - VERSIONS_MAX + 2);
    /* Documents draw on an account: older ones make room, and what cannot be held is refused. */
    static char large[200 << 10];
    memset(large, 'x', sizeof large - 1);
    add(v, "ann", large);
    assert_int_equal(versions_add(v, versions_at(v, 0), span_of(large, 0), &number), 0);
    assert_int_equal(number, 204);
    struct version it = *versions_at(v, 0);
    assert_int_equal(versions_add(v, &it, span_of(large, VERSIONS_BYTES), &number), ERR_TOO_BIG);
    assert_int_equal(versions_in(v, VERSION_ACTIVE)->number, 1);
    versions_free(v);
    assert_int_equal(budget.used, 0);
}

static void an_earlier_process_is_restored(void **state)
{
    (void)state;
    struct budget budget;
    struct versions *v;
    budget_init(&budget, 1 << 20);
    assert_int_equal(versions_new(&v, &budget), 0);
    const struct version it = {.number = 5, .state = VERSION_ACTIVE, .document = SPAN("old")};
    assert_int_equal(versions_restore(v, &it), 0);
    assert_int_equal(versions_restore(v, &it), ERR_MALFORMED); /* numbers rise */
    assert_int_equal(add(v, "ann", "b"), 6);
    assert_int_equal(versions_in(v, VERSION_ACTIVE)->number, 5);
    versions_free(v);
}

static void a_list_is_read_as_it_was_saved(void **state)
{
    (void)state;
    struct budget budget;
    struct versions *a, *b;
    struct buf text = {0};
    budget_init(&budget, 1 << 20);
    assert_int_equal(versions_new(&a, &budget), 0);
    add(a, "config", "first");
    add(a, "ann", "second");
    versions_set_active(a, 2);
    versions_save(a, &text);
    assert_int_equal(versions_new(&b, &budget), 0);
    assert_int_equal(versions_read(b, buf_span(&text)), 0);
    assert_int_equal(versions_count(b), 2);
    assert_int_equal(versions_in(b, VERSION_ACTIVE)->number, 2);
    assert_string_equal(versions_find(b, 2)->by, "ann");
    assert_int_equal(versions_find(b, 1)->created_unix_s, 7);
    assert_true(span_eq(versions_find(b, 1)->document, SPAN("first")));
    versions_free(b);
    for (size_t n = 0; n < text.len; n++) {
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, text.base, n);
        assert_int_equal(versions_new(&b, &budget), 0);
        assert_int_equal(versions_read(b, span_of(copy, n)), ERR_MALFORMED);
        versions_free(b);
        free(copy);
    }
    buf_done(&text);
    versions_free(a);
    assert_int_equal(budget.used, 0);
}

/* ---- documents --------------------------------------------------------- */

static struct rules *read_back(const struct buf *text)
{
    struct rules *rules, *base;
    struct policy_notes notes;
    struct error err = {{0}};
    assert_int_equal(rules_new(&base), 0);
    if (policy_document_read_file(&rules, config_visit_yaml, "x", buf_span(text), base, &notes,
                                  &err) != 0)
        fail_msg("%s\n%.*s", err.text, (int)text->len, (const char *)text->base);
    rules_unref(base);
    return rules;
}

static void what_is_written_is_read_as_the_same(void **state)
{
    (void)state;
    struct rng rng = {.state = 5};
    for (int round = 0; round < 200; round++) {
        struct rules *a, *b;
        struct buf text = {0}, diff = {0};
        assert_int_equal(rules_new(&a), 0);
        assert_int_equal(rules_set_global(a, (double)(rng_next(&rng) % 1001) / 1000, NULL), 0);
        for (int l = 0; l < LEVEL_ERROR; l++)
            if (rng_next(&rng) % 2 == 0)
                assert_int_equal(
                    rules_set_level(a, (enum level)l,
                                    (double)(rng_next(&rng) >> 11) / 9007199254740992.0, NULL),
                    0);
        if (round % 3 == 0)
            assert_int_equal(rules_set_level(a, LEVEL_ERROR, 1, NULL), 0);
        for (uint64_t i = rng_next(&rng) % 50; i > 0; i--)
            assert_int_equal(rules_set_pattern(a, rng_next(&rng), 1.0 / (double)(i * i), NULL), 0);
        assert_int_equal(policy_document_write(&text, a, round, "a note"), 0);
        b = read_back(&text);
        assert_int_equal(rules_version(b), round);
        assert_int_equal(policy_document_diff(&diff, a, b), 0);
        if (diff.len > 0 && !(diff.len > 0 && strstr((char *)diff.base, "TRACE") != NULL))
            fail_msg("%.*s", (int)diff.len, (const char *)diff.base);
        buf_done(&text);
        buf_done(&diff);
        rules_unref(a);
        rules_unref(b);
    }
}

static void a_difference_is_lines(void **state)
{
    (void)state;
    struct rules *a, *b;
    struct buf diff = {0};
    assert_int_equal(rules_new(&a), 0);
    assert_int_equal(rules_new(&b), 0);
    assert_int_equal(rules_set_level(a, LEVEL_INFO, 0.2, NULL), 0);
    assert_int_equal(rules_set_level(b, LEVEL_INFO, 0.1, NULL), 0);
    assert_int_equal(rules_set_level(b, LEVEL_DEBUG, 0, NULL), 0);
    assert_int_equal(rules_set_pattern(a, 1, 0.5, NULL), 0);
    assert_int_equal(rules_set_pattern(a, 2, 0.5, NULL), 0);
    assert_int_equal(rules_set_pattern(b, 2, 0.25, NULL), 0);
    assert_int_equal(rules_set_pattern(b, 3, 0.0123, NULL), 0);
    assert_int_equal(policy_document_diff(&diff, a, b), 0);
    buf_append_byte(&diff, '\0');
    assert_string_equal((char *)diff.base, "+ severity_rates.DEBUG: 0\n"
                                           "- severity_rates.INFO: 0.2\n"
                                           "+ severity_rates.INFO: 0.1\n"
                                           "- lps1:0000000000000001: 0.5\n"
                                           "- lps1:0000000000000002: 0.5\n"
                                           "+ lps1:0000000000000002: 0.25\n"
                                           "+ lps1:0000000000000003: 0.0123\n");
    buf_done(&diff);
    rules_unref(a);
    rules_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states),
        cmocka_unit_test(the_oldest_go_but_not_what_is_in_force),
        cmocka_unit_test(an_earlier_process_is_restored),
        cmocka_unit_test(a_list_is_read_as_it_was_saved),
        cmocka_unit_test(what_is_written_is_read_as_the_same),
        cmocka_unit_test(a_difference_is_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
