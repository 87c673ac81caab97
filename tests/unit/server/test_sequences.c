#include "unit/test.h"

#include <stdlib.h>

#include "server/sequences.h"

static const struct row {
    uint64_t highest;
    const char *missing;
    uint64_t number;
    bool is_new;
    uint64_t then;
    const char *left;
} rows[] = {
    {0, "", 1, true, 1, ""},
    {1, "", 2, true, 2, ""},
    {2, "", 2, false, 2, ""},
    {2, "", 1, false, 2, ""},
    {0, "", 5, true, 5, "1-4"},
    {2, "", 5, true, 5, "3-4"},
    {2, "", 4, true, 4, "3"},
    {5, "3-4", 3, true, 5, "4"},
    {5, "3-4", 4, true, 5, "3"},
    {5, "4", 4, true, 5, ""},
    {9, "2-8", 5, true, 9, "2-4,6-8"},
    {9, "2,4-6,8", 5, true, 9, "2,4,6,8"},
    {9, "2,4-6,8", 7, false, 9, "2,4-6,8"},
    {9, "2,4-6,8", 12, true, 12, "2,4-6,8,10-11"},
    /* texts that are none: what stands before the fault */
    {9, "x", 5, false, 9, ""},
    {9, "3-", 3, false, 9, ""},
    {9, "5,3", 5, true, 9, ""},
    {9, "3-12", 3, false, 9, ""},
    {9, "0", 1, false, 9, ""},
};

static void a_number_counts_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[SEQUENCES_TEXT_BYTES];
        struct sequences s = sequences_read(rows[i].highest, span_str(rows[i].missing));
        bool is_new = sequences_take(&s, rows[i].number);
        sequences_write(&s, text);
        assert_row(is_new == rows[i].is_new && s.highest == rows[i].then &&
                       strcmp(text, rows[i].left) == 0,
                   "%zu: %d, %llu, '%s'", i, is_new, (unsigned long long)s.highest, text);
        assert_false(sequences_take(&s, rows[i].number));
    }
}

/* Any order of numbers, each twice: each counts once, while there are few gaps at a time. */
static void any_order(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 200; round++) {
        enum { N = 200, APART = 10 };
        struct sequences s = {0};
        bool taken[N + 1] = {false};
        for (uint64_t next = 1; next <= N;) {
            uint64_t number = next + (uint64_t)(rand() % APART);
            char text[SEQUENCES_TEXT_BYTES];
            number = number > N ? N : number;
            assert_int_equal(sequences_take(&s, number), !taken[number]);
            taken[number] = true;
            sequences_write(&s, text);
            s = sequences_read(s.highest, span_str(text));
            while (next <= N && taken[next])
                next++;
        }
        assert_int_equal(s.count, 0);
        assert_int_equal(s.highest, N);
    }
}

static void too_many_gaps_the_lowest_goes(void **state)
{
    (void)state;
    char text[SEQUENCES_TEXT_BYTES];
    struct sequences s = {0};
    const uint64_t far = 1000000000000000 - 100;
    for (uint64_t i = 1; i <= SEQUENCES_RANGES + 1; i++)
        assert_true(sequences_take(&s, far + i * 4));
    assert_int_equal(s.count, SEQUENCES_RANGES);
    assert_false(sequences_take(&s, 1)); /* of the range that went */
    assert_true(sequences_take(&s, far + 5));
    assert_true(sequences_take(&s, far + 10)); /* parts a range: the lowest goes again */
    assert_int_equal(s.count, SEQUENCES_RANGES);
    sequences_write(&s, text);
    struct sequences again = sequences_read(s.highest, span_str(text));
    assert_memory_equal(&again.missing, &s.missing, sizeof s.missing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_counts_once),
        cmocka_unit_test(any_order),
        cmocka_unit_test(too_many_gaps_the_lowest_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
