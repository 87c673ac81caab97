#include "unit/test.h"

#include <inttypes.h>

#include "util/arena.h"
#include "util/buf.h"

static void grows_and_is_charged(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1000);
    struct buf b = {.budget = &budget};

    for (int i = 0; i < 100; i++)
        buf_append(&b, SPAN("12345"));
    assert_int_equal(b.err, 0);
    assert_int_equal(b.len, 500);
    assert_true(budget.used >= 500 && budget.used == b.cap);

    for (int i = 0; i < 200; i++)
        buf_append(&b, SPAN("12345"));
    assert_int_equal(b.err, ERR_FULL);
    assert_true(b.len <= 1000 && budget.used <= 1000);

    buf_done(&b);
    assert_int_equal(budget.used, 0);
}

static void a_limit_is_sticky_until_cleared(void **state)
{
    (void)state;
    struct buf b = {.max_bytes = 8};
    buf_append(&b, SPAN("12345678"));
    assert_int_equal(b.err, 0);
    buf_append_byte(&b, '9');
    assert_int_equal(b.err, ERR_TOO_BIG);
    buf_append(&b, SPAN(""));
    assert_int_equal(b.len, 8);
    buf_clear(&b);
    buf_printf(&b, "%d", 1234567);
    assert_int_equal(b.err, 0);
    assert_memory_equal(b.base, "1234567", 7);
    buf_consume(&b, 3);
    assert_true(span_eq(buf_span(&b), SPAN("4567")));
    buf_done(&b);
}

static void a_trim_gives_back_what_is_not_used(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1000);
    struct buf b = {.budget = &budget};
    buf_trim(&b);
    ignore_code(buf_reserve_exact(&b, 900));
    buf_append(&b, SPAN("text"));
    buf_trim(&b);
    assert_int_equal(b.cap, 4);
    assert_int_equal(budget.used, 4);
    assert_true(span_eq(buf_span(&b), SPAN("text")));
    buf_clear(&b);
    buf_trim(&b);
    assert_null(b.base);
    assert_int_equal(budget.used, 0);
}

static void an_arena_is_capped_and_gives_back(void **state)
{
    (void)state;
    struct budget budget;
    struct arena a;
    budget_init(&budget, 1 << 20);
    arena_init(&a, 100000, &budget);
    for (int round = 0; round < 3; round++) {
        uint8_t *p = arena_alloc(&a, 50000);
        assert_non_null(p);
        assert_int_equal(p[49999], 0);
        assert_non_null(arena_alloc(&a, 100));
        assert_null(arena_alloc(&a, 60000));
        arena_reset(&a);
    }
    arena_done(&a);
    assert_int_equal(budget.used, 0);
}

static void numbers_are_as_printf_writes_them(void **state)
{
    static const uint64_t rows[] = {0, 9, 10, 200, 4294967296u, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        char expected[32];
        int n = snprintf(expected, sizeof expected, "%" PRIu64, rows[i]);
        buf_append_u64(&b, rows[i]);
        assert_row(span_eq(buf_span(&b), span_of(expected, (size_t)n)), "%s", expected);
        buf_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_is_charged),
        cmocka_unit_test(numbers_are_as_printf_writes_them),
        cmocka_unit_test(a_limit_is_sticky_until_cleared),
        cmocka_unit_test(a_trim_gives_back_what_is_not_used),
        cmocka_unit_test(an_arena_is_capped_and_gives_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
