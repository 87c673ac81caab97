#include "unit/test.h"

#include <unistd.h>

#include "cli/term.h"

static void text_fits_and_is_harmless(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned columns, used;
        const char *shown;
    } rows[] = {
        {"", 5, 0, ""},
        {"hello", 5, 5, "hello"},
        {"hello!", 5, 5, "hell…"},
        {"hello", 1, 1, "…"},
        {"hello", 0, 0, ""},
        {"\033[2J\a\t", 9, 6, "?[2J??"},
        {"a\xc2\x9b"
         "b",
         9, 3, "a?b"}, /* CSI in one byte */
        {"a\xe2\x80\xae"
         "b",
         9, 3, "a?b"}, /* turns the writing direction */
        {"a\xff"
         "b",
         9, 3, "a?b"}, /* no UTF-8 */
        {"日本語", 6, 6, "日本語"},
        {"日本語", 5, 5, "日本…"},
        {"日本語", 4, 3, "日…"},
        {"e\xcc\x81t", 2, 2, "e\xcc\x81t"}, /* a combining accent takes no column */
        {"\xf0\x9f\x98\x80!", 3, 3, "\xf0\x9f\x98\x80!"},
        {"çà", 2, 2, "çà"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        unsigned used = term_add(&out, span_str(rows[i].text), rows[i].columns);
        assert_row(used == rows[i].used && span_eq(buf_span(&out), span_str(rows[i].shown)),
                   "%zu: %u '%.*s'", i, used, (int)out.len, (const char *)out.base);
        buf_done(&out);
    }
}

static void padding_counts_columns(void **state)
{
    (void)state;
    struct buf out = {0};
    term_add_padded(&out, SPAN("日"), 4);
    term_add_padded(&out, SPAN("abcde"), 4);
    assert_true(span_eq(buf_span(&out), SPAN("日  abc…")));
    buf_done(&out);
}

static void no_colour_without_a_terminal(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_false(term_has_colour(fds[1]));
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_fits_and_is_harmless),
        cmocka_unit_test(padding_counts_columns),
        cmocka_unit_test(no_colour_without_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
