/* Lines stay with their pattern, the newest first, within their memory. */
#include "unit/test.h"

#include "pipeline/samples.h"

static void take(struct samples *s, uint32_t number, bool is_kept, unsigned n, size_t len)
{
    char text[2048];
    memset(text, 'x', sizeof text);
    int head = snprintf(text, sizeof text, "line %u", n);
    text[head] = ' ';
    samples_take(s, number, is_kept, n, span_of(text, len));
}

static void the_last_few_stay(void **state)
{
    (void)state;
    struct budget budget;
    struct samples *s;
    struct sample_text texts[SAMPLES_EACH];
    budget_init(&budget, 1 << 20);
    assert_int_equal(samples_new(&s, 1000, &budget), 0);
    for (unsigned i = 1; i <= 9; i++)
        take(s, 7, true, i, 6);
    take(s, 7, false, 100, 8);
    assert_int_equal(samples_of(s, 7, true, texts), SAMPLES_EACH);
    assert_true(span_eq(texts[0].body, SPAN("line 9")));
    assert_true(span_eq(texts[4].body, SPAN("line 5")));
    assert_int_equal(texts[0].unix_ns, 9);
    assert_int_equal(samples_of(s, 7, false, texts), 1);
    assert_true(span_eq(texts[0].body, SPAN("line 100")));
    assert_int_equal(samples_of(s, 8, true, texts), 0);
    assert_int_equal(samples_of(s, 999, true, texts), 0);
    assert_int_equal(samples_of(NULL, 7, true, texts), 0);
    samples_forget(s, 7);
    assert_int_equal(samples_of(s, 7, true, texts), 0);
    samples_free(s);
    assert_int_equal(budget.used, 0);
}

static void long_and_empty_lines(void **state)
{
    (void)state;
    struct budget budget;
    struct samples *s;
    struct sample_text texts[SAMPLES_EACH];
    budget_init(&budget, 1 << 20);
    assert_int_equal(samples_new(&s, 10, &budget), 0);
    take(s, 1, true, 1, 2000);
    take(s, 1, true, 2, 0);
    assert_int_equal(samples_of(s, 1, true, texts), 1);
    assert_int_equal(texts[0].body.len, SAMPLE_BYTES);
    samples_free(s);
    assert_int_equal(budget.used, 0);
}

/* Whatever comes, the limit holds, and the newest lines find room. */
static void the_oldest_of_others_give_way(void **state)
{
    (void)state;
    struct budget budget;
    struct samples *s;
    struct sample_text texts[SAMPLES_EACH];
    budget_init(&budget, 64 << 10);
    assert_int_equal(samples_new(&s, 512, &budget), 0);
    for (unsigned i = 0; i < 5000; i++) {
        uint32_t number = i % 300;
        take(s, number, i % 3 == 0, i, 500);
        assert_true(budget.used <= budget.limit);
        assert_true(samples_of(s, number, i % 3 == 0, texts) > 0);
        assert_int_equal(texts[0].unix_ns, i);
    }
    samples_free(s);
    assert_int_equal(budget.used, 0);
}

static void due_at_powers_of_two(void **state)
{
    (void)state;
    unsigned due = 0;
    for (uint64_t n = 1; n <= 1024; n++)
        due += samples_is_due(n);
    assert_int_equal(due, 11);
    assert_true(samples_is_due(1) && samples_is_due(2) && !samples_is_due(3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_few_stay),
        cmocka_unit_test(long_and_empty_lines),
        cmocka_unit_test(the_oldest_of_others_give_way),
        cmocka_unit_test(due_at_powers_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
