/* Expressions of users: what is accepted, what is found, and what it costs at most. */
#include "unit/test.h"

#include "util/regex.h"
#include "util/regex_syntax.h"

static void syntax(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *refused; /* NULL: accepted, with this literal */
        const char *literal;
    } rows[] = {
        {"EMP-\\d{6}", NULL, "EMP-"},
        {"abc?def", NULL, "def"},
        {"abc*", NULL, "ab"},
        {"abc+", NULL, "abc"},
        {"abc{0,2}xy", NULL, "ab"},
        {"abc{2}", NULL, "abc"},
        {"a{b", NULL, "a{b"},
        {"abc|def", NULL, ""},
        {"(abc|def)ghi", NULL, "ghi"},
        {"(?:abc)de", NULL, "de"},
        {"(?i)abc", NULL, ""},
        {"(?i:abc)def", NULL, ""},
        {"(?s).a", NULL, "a"},
        {"[abc]de", NULL, "de"},
        {"[]abc]de", NULL, "de"},
        {"[[:alpha:]]x", NULL, "x"},
        {"\\.example\\.com", NULL, ".example.com"},
        {"\\bcard\\b", NULL, "card"},
        {"(?<secret>\\d+)", NULL, ""},
        {"(?P<secret>\\d+)-x", NULL, "-x"},
        {"\\x{41}bc", NULL, "bc"},
        {"\\p{L}bc", NULL, "bc"},
        {"a(?=b)", "at 2: look-ahead is not accepted", NULL},
        {"a(?!b)", "at 2: look-ahead is not accepted", NULL},
        {"(?<=a)b", "at 1: look-behind is not accepted", NULL},
        {"(?<!a)b", "at 1: look-behind is not accepted", NULL},
        {"(?>a)b", "at 1: atomic groups are not accepted", NULL},
        {"(a)\\1", "at 4: back references are not accepted", NULL},
        {"(?P<n>a)(?P=n)", "at 9: back references are not accepted", NULL},
        {"(?P<n>a)\\k{n}", "at 9: back references are not accepted", NULL},
        {"(?R)a", "at 3: a group of this form is not accepted", NULL},
        {"(?1)a", "at 3: a group of this form is not accepted", NULL},
        {"(?x) a", "at 3: a group of this form is not accepted", NULL},
        {"(?(1)a)", "at 1: conditions are not accepted", NULL},
        {"(*LIMIT_MATCH=9)a", "at 1: verbs are not accepted", NULL},
        {"a++", "at 3: possessive and repeated quantifiers are not accepted", NULL},
        {"a{2}+", "at 5: possessive and repeated quantifiers are not accepted", NULL},
        {"a\\Cb", "at 2: this escape is not accepted", NULL},
        {"a\\Kb", "at 2: this escape is not accepted", NULL},
        {"a\\", "at 2: a \\ at the end", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct regex_literal literal = {0};
        struct error err = {{0}};
        int rc = regex_syntax_check(span_str(rows[i].pattern), &literal, &err);
        if (rows[i].refused == NULL)
            assert_row(
                rc == 0 && span_eq(span_of(literal.text, literal.len), span_str(rows[i].literal)),
                "%s: %d '%.*s' %s", rows[i].pattern, rc, (int)literal.len, literal.text, err.text);
        else
            assert_row(rc == ERR_CONFIG && strcmp(err.text, rows[i].refused) == 0, "%s: %s",
                       rows[i].pattern, err.text);
    }
}

static void what_pcre2_refuses(void **state)
{
    (void)state;
    static const char *const rows[] = {"",        "a*", "(a", "[a", "a)", "((ab){1000}){1000}",
                                       "\\p{Nix}"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct regex *re = NULL;
        struct error err = {{0}};
        int rc = regex_new(&re, span_str(rows[i]), 0, &err);
        assert_row(rc == ERR_CONFIG && err.text[0] != '\0', "%s: %d", rows[i], rc);
    }
}

/* "at+len at+len", with ! behind one that is given up. */
static void check(const char *pattern, unsigned flags, struct span text, const char *wanted)
{
    struct regex *re;
    struct regex_match m;
    char out[256] = "";
    size_t n = 0;
    assert_int_equal(regex_new(&re, span_str(pattern), flags, NULL), 0);
    for (size_t from = 0; regex_next(re, text, from, &m); from = m.at + m.len) {
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%zu+%zu%s", n > 0 ? " " : "", m.at, m.len,
                              m.is_given_up ? "!" : "");
        assert_true(n < sizeof out && m.len > 0 && m.at >= from && m.at + m.len <= text.len);
    }
    regex_free(re);
    assert_row(strcmp(out, wanted) == 0, "%s: %s", pattern, out);
}

static void matches(void **state)
{
    (void)state;
    check("EMP-\\d{6}", 0, SPAN("EMP-123456 and EMP-654321, EMP-1"), "0+10 15+10");
    check("pin (?<secret>\\d+)", 0, SPAN("pin 1234 pin 5"), "4+4 13+1");
    check("pin (?<secret>\\d*)", 0, SPAN("pin x"), "0+4");
    check("(?:a|b(?<secret>c))", 0, SPAN("a bc"), "0+1 3+1");
    check("employee", 0, SPAN("EMPLOYEE"), "");
    check("employee", REGEX_CASELESS, SPAN("EMPLOYEE"), "0+8");
    check("a.b", 0, SPAN("a\nb"), "");
    check("a.b", REGEX_DOTALL, SPAN("a\nb"), "0+3");
    check("a$", 0, SPAN("a\n"), "");
    check("\\bab\\b", 0, SPAN("cab ab"), "4+2");
    check("^ab", 0, SPAN("abab"), "0+2");
    check("\xc3\xa9t\xc3\xa9", 0, SPAN("un \xc3\xa9t\xc3\xa9"), "3+5");
    check("ab", 0,
          SPAN("\xff\xfe"
               "ab\x80"),
          "2+2"); /* not UTF-8 */
    check("ab", 0, SPAN(""), "");
}

/* A text in windows: nothing is missed at their edges, and \b, ^ and $ see what is there. */
static void windows(void **state)
{
    (void)state;
    enum { BYTES = 5 * REGEX_WINDOW_BYTES };
    static char text[BYTES];
    for (size_t at = 1; at + 12 < BYTES; at += 97) {
        char wanted[32];
        memset(text, ' ', BYTES);
        memcpy(text + at, "EMP-123456", 10);
        snprintf(wanted, sizeof wanted, "%zu+10", at);
        check("EMP-\\d+\\b", 0, span_of(text, BYTES), wanted);
        check("\\bEMP-\\d+", 0, span_of(text, BYTES), wanted);
        check("^EMP-\\d+", 0, span_of(text, BYTES), "");
        text[at - 1] = 'X';
        check("\\bEMP-\\d+", 0, span_of(text, BYTES), "");
    }
    memset(text, 'a', BYTES);
    check("a+", 0, span_of(text, BYTES), "0+20480"); /* to the end: it is not seen whole */
    memset(text, ' ', BYTES);
    memset(text + 100, 'a', REGEX_WINDOW_BYTES / 2);
    check("a+", 0, span_of(text, BYTES), "100+2048");
    memset(text, 'a', BYTES);
    check("a$", 0, span_of(text, BYTES), "20479+1");
    check("a+b", 0, span_of(text, BYTES), "");
}

/* What would take for ever is given up: the text counts as a match to its end. */
static void steps_are_bounded(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    static char text[BYTES];
    memset(text, 'a', BYTES);
    check("(a+)+[bc]", 0, span_of(text, 64), "0+64!");
    check("(a|aa)+[bc]", 0, span_of(text, BYTES), "0+1048576!");
    memset(text, '1', BYTES);
    check("\\d+[xy]", 0, span_of(text, BYTES), "");
}

/* The text as a whole, groups, and the empty text. */
static void searching(void **state)
{
    (void)state;
    enum { BYTES = 3 * REGEX_WINDOW_BYTES };
    static const struct {
        const char *pattern, *text;
        size_t from;
        const char *whole, *first, *named; /* NULL: no match */
    } rows[] = {
        {"(?P<a>x+)(y)?", "-xx", 0, "xx", "xx", "xx"},
        {"(y)?(?P<a>x+)", "-xxy", 0, "xx", "", "xx"},
        {"^(?P<a>.*)$", "", 0, "", "", ""},
        {"^.*$", "abc", 0, "abc", "", ""},
        {"^b", "ab", 1, NULL, NULL, NULL},
        {"b*", "ab", 2, "", "", ""},
        {"b*", "ab", 3, NULL, NULL, NULL},
        {"(?P<secret>b)c", "abc", 0, "bc", "b", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct regex *re;
        struct regex_match m;
        struct error err = {{0}};
        struct span text = span_str(rows[i].text);
        assert_int_equal(regex_new(&re, span_str(rows[i].pattern), REGEX_EMPTY, &err), 0);
        int rc = regex_search(re, text, rows[i].from, &m);
        assert_row(rc == (rows[i].whole != NULL), "%s", rows[i].pattern);
        if (rc == 1) {
            struct span whole = span_of(text.base + m.at, m.len);
            struct span named = regex_group_named(re, text, SPAN("a"));
            assert_row(span_eq(whole, span_str(rows[i].whole)), "%s", rows[i].pattern);
            assert_row(span_eq(regex_group(re, text, 0), whole), "%s", rows[i].pattern);
            assert_row(span_eq(regex_group(re, text, 1), span_str(rows[i].first)), "%s",
                       rows[i].pattern);
            assert_row(span_eq(named, span_str(rows[i].named)), "%s", rows[i].pattern);
            assert_int_equal(regex_group(re, text, 9).len, 0);
        }
        regex_free(re);
    }
    static char text[BYTES];
    static const struct {
        const char *pattern;
        int found;
    } long_rows[] = {{"^a+b$", 1}, {"^.*a$", 0}, {"(a|aa)+[cd]", ERR_TOO_BIG}};
    memset(text, 'a', BYTES);
    text[BYTES - 1] = 'b';
    for (size_t i = 0; i < ARRAY_LEN(long_rows); i++) {
        struct regex *re;
        struct regex_match m;
        assert_int_equal(regex_new(&re, span_str(long_rows[i].pattern), REGEX_EMPTY, NULL), 0);
        int rc = regex_search(re, span_of(text, BYTES), 0, &m);
        assert_row(rc == long_rows[i].found, "%s: %d", long_rows[i].pattern, rc);
        regex_free(re);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(syntax),
        cmocka_unit_test(what_pcre2_refuses),
        cmocka_unit_test(matches),
        cmocka_unit_test(windows),
        cmocka_unit_test(steps_are_bounded),
        cmocka_unit_test(searching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
