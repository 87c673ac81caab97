#include "unit/test.h"

#include <stdlib.h>

#include "util/glob.h"

static void whole_texts(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool hit;
    } rows[] = {
        {"", "", true},           {"", "a", false},        {"*", "", true},
        {"*", "anything", true},  {"a", "a", true},        {"a", "A", false},
        {"a*", "a", true},        {"a*b", "ab", true},     {"a*b", "a-b-b", true},
        {"a*b", "a-b-c", false},  {"*a*", "bab", true},    {"**", "x", true},
        {"a**b", "axb", true},    {"*.x", "a.y.x", true},  {"a?c", "abc", false},
        {"a\nb*", "a\nbc", true}, {"*", "\xff", true},     {"ab", "a", false},
        {"*ab", "aab", true},     {"*aab", "aaaab", true}, {"x*", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(glob_matches(span_str(rows[i].pattern), span_str(rows[i].text)) == rows[i].hit,
                   "'%s' '%s'", rows[i].pattern, rows[i].text);
}

/* The worst that a pattern can ask for: no more than len * pattern. */
static void many_stars(void **state)
{
    (void)state;
    static char text[65536], pattern[] = "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b";
    memset(text, 'a', sizeof text);
    assert_false(glob_matches(span_str(pattern), span_of(text, sizeof text)));
    text[sizeof text - 1] = 'b';
    assert_true(glob_matches(span_str(pattern), span_of(text, sizeof text)));
}

/* What a final star stands for is not looked at: there is nothing behind these bytes. */
static void a_final_star_matches_at_once(void **state)
{
    (void)state;
    static const char *const patterns[] = {"*", "**", "ab*", "a*b*", "*b*"};
    char *text = malloc(2);
    assert_non_null(text);
    memcpy(text, "ab", 2);
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        assert_row(glob_matches(span_str(patterns[i]), span_of(text, SIZE_MAX / 2)), "'%s'",
                   patterns[i]);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_texts),
        cmocka_unit_test(many_stars),
        cmocka_unit_test(a_final_star_matches_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
