#include "unit/test.h"

#include "util/unicode.h"

static void utf8_reads_and_writes_back(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        uint32_t cp;
        size_t used;
    } rows[] = {
        {"A", 'A', 1},
        {"\xc3\xa9", 0xe9, 2},
        {"\xe2\x82\xac", 0x20ac, 3},
        {"\xf0\x9f\x8d\x8e", 0x1f34e, 4},
        {"\xf4\x8f\xbf\xbf", 0x10ffff, 4},
        /* not UTF-8: cut short, overlong, a surrogate, too high */
        {"\xc3", 0xdcc3, 1},
        {"\xc0\x80", 0xdcc0, 1},
        {"\xe0\x80\x80", 0xdce0, 1},
        {"\xed\xa0\x80", 0xdced, 1},
        {"\xf4\x90\x80\x80", 0xdcf4, 1},
        {"\x80", 0xdc80, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const uint8_t *at = (const uint8_t *)rows[i].bytes;
        uint8_t back[UTF8_MAX_BYTES];
        uint32_t cp;
        size_t used = utf8_read(at, at + strlen(rows[i].bytes), &cp);
        assert_row(used == rows[i].used && cp == rows[i].cp, "%zu: U+%04x", i, cp);
        assert_row(utf8_write(back, cp) == used && memcmp(back, at, used) == 0, "%zu", i);
    }
}

static void classes_are_those_of_cpython(void **state)
{
    (void)state;
    static const struct {
        uint32_t cp;
        bool space, decimal, word;
    } rows[] = {
        {' ', true, false, false},     {0x1c, true, false, false},
        {0x1b, false, false, false},   {0xa0, true, false, false},
        {0x200b, false, false, false}, {0x3000, true, false, false},
        {'7', false, true, true},      {'_', false, false, true},
        {'-', false, false, false},    {0x661, false, true, true},
        {0xb2, false, false, true},    {0xbc, false, false, true},
        {0xe9, false, false, true},    {0x6587, false, false, true},
        {0x301, false, false, false},  {0xdc80, false, false, false},
        {0x1d7ff, false, true, true},  {0x10ffff, false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t cp = rows[i].cp;
        assert_row(unicode_is_space(cp) == rows[i].space, "U+%04x", cp);
        assert_row(unicode_is_decimal(cp) == rows[i].decimal, "U+%04x", cp);
        assert_row(unicode_is_word(cp) == rows[i].word, "U+%04x", cp);
    }
}

static void lower_case_knows_pairs_runs_and_sigma(void **state)
{
    (void)state;
    static const struct {
        uint32_t in[4], out[5];
        size_t n, len;
    } rows[] = {
        {{'A', 'z', '1', '['}, {'a', 'z', '1', '['}, 4, 4},
        {{0xc4, 0x100, 0x101, 0x10400}, {0xe4, 0x101, 0x101, 0x10428}, 4, 4},
        {{0x130}, {'i', 0x307}, 1, 2},
        {{0x3a3}, {0x3c3}, 1, 1},
        {{0x39f, 0x3a3}, {0x3bf, 0x3c2}, 2, 2},
        {{0x39f, 0x3a3, 'x'}, {0x3bf, 0x3c3, 'x'}, 3, 3},
        {{0x39f, '.', 0x3a3, '.'}, {0x3bf, '.', 0x3c2, '.'}, 4, 4},
        {{0x39f, ' ', 0x3a3}, {0x3bf, ' ', 0x3c3}, 3, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t out[8];
        size_t len = unicode_lower(rows[i].in, rows[i].n, out);
        assert_row(len == rows[i].len && memcmp(out, rows[i].out, len * sizeof *out) == 0, "%zu",
                   i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_reads_and_writes_back),
        cmocka_unit_test(classes_are_those_of_cpython),
        cmocka_unit_test(lower_case_knows_pairs_runs_and_sigma),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
