#include "unit/test.h"

#include "util/blocks.h"

enum { ENTRIES = 3 * BLOCK_ENTRIES };

static void entries_come_as_they_are_used(void **state)
{
    (void)state;
    struct budget budget;
    struct blocks b;
    budget_init(&budget, 2 * BLOCK_ENTRIES * sizeof(uint64_t));
    assert_int_equal(blocks_init(&b, ENTRIES - 1, &budget), 0);
    assert_int_equal(blocks_entries(&b), ENTRIES);
    assert_null(blocks_find(&b, 300, sizeof(uint64_t)));
    uint64_t *n = blocks_use(&b, 300, sizeof *n);
    assert_int_equal(*n, 0);
    *n = 7;
    assert_ptr_equal(blocks_find(&b, 300, sizeof *n), n);
    assert_int_equal(*(uint64_t *)blocks_find(&b, 301, sizeof *n), 0); /* made with it */
    assert_null(blocks_find(&b, BLOCK_ENTRIES - 1, sizeof *n));
    assert_non_null(blocks_use(&b, ENTRIES - 1, sizeof *n));
    assert_null(blocks_use(&b, 0, sizeof *n)); /* the budget is used up */
    assert_int_equal(*n, 7);
    blocks_done(&b, sizeof *n);
    assert_int_equal(budget.used, 0);
    blocks_done(&b, sizeof *n); /* twice is once */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(entries_come_as_they_are_used)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
