#include "unit/test.h"

#include <stdlib.h>

#include "unit/pipeline/row.h"

static struct filter *one(const struct filter_leaf *leaf)
{
    struct filter *f;
    assert_int_equal(filter_new(&f), 0);
    filter_add(f, leaf);
    return f;
}

enum { WORKER = 1, NOT = 2 };

static void leaves(void **state)
{
    (void)state;
    static const struct {
        enum filter_of of;
        const char *key;
        enum filter_op op;
        const char *values[2];
        double number;
        unsigned how;
        enum filter_answer answer;
    } rows[] = {
        /* clang-format off */
        {FILTER_BODY, "", FILTER_IS, {"Payment of 5 EUR failed"}, 0, 0, FILTER_YES},
        {FILTER_BODY, "", FILTER_IS, {"payment of 5 eur failed"}, 0, 0, FILTER_NO},
        {FILTER_BODY, "", FILTER_IS, {"payment of 5 eur failed"}, 0, WORKER, FILTER_YES},
        {FILTER_BODY, "", FILTER_CONTAINS, {"5 eur"}, 0, 0, FILTER_YES},
        {FILTER_BODY, "", FILTER_CONTAINS, {"6 eur", "FAILED"}, 0, 0, FILTER_YES},
        {FILTER_BODY, "", FILTER_CONTAINS, {"6 eur"}, 0, NOT, FILTER_YES},
        {FILTER_BODY, "", FILTER_CONTAINS, {"5_eur"}, 0, 0, FILTER_UNSURE},
        {FILTER_BODY, "", FILTER_CONTAINS, {"5_eur"}, 0, NOT, FILTER_UNSURE},
        {FILTER_BODY, "", FILTER_CONTAINS, {"5_eur"}, 0, WORKER, FILTER_NO},
        {FILTER_BODY, "", FILTER_CONTAINS, {""}, 0, 0, FILTER_YES},
        {FILTER_BODY, "", FILTER_REGEX, {"of \\d+ EUR"}, 0, 0, FILTER_YES},
        {FILTER_BODY, "", FILTER_REGEX, {"of \\d+ eur"}, 0, 0, FILTER_NO},
        {FILTER_BODY, "", FILTER_REGEX, {"of \\d+ eur"}, 0, WORKER, FILTER_YES},
        {FILTER_BODY, "", FILTER_REGEX, {"(?i)of \\d+ eur"}, 0, 0, FILTER_YES},
        {FILTER_BODY, "", FILTER_REGEX, {"^EUR", "failed$"}, 0, 0, FILTER_YES},
        {FILTER_BODY, "", FILTER_REGEX, {"^EUR"}, 0, NOT, FILTER_YES},
        {FILTER_ATTRIBUTE, "nothing", FILTER_REGEX, {"x"}, 0, NOT, FILTER_YES},
        {FILTER_ATTRIBUTE, "nothing", FILTER_REGEX, {"x"}, 0, NOT | WORKER, FILTER_NO},
        {FILTER_SERVICE, "", FILTER_IS, {"web", "checkout"}, 0, 0, FILTER_YES},
        {FILTER_SERVICE, "", FILTER_IS, {"Checkout"}, 0, 0, FILTER_NO},
        {FILTER_SERVICE, "", FILTER_IS, {"Checkout"}, 0, WORKER, FILTER_YES},
        {FILTER_SEVERITY, "", FILTER_IS, {"warn"}, 0, 0, FILTER_YES},
        {FILTER_SEVERITY, "", FILTER_IS, {"error", "fatal"}, 0, NOT, FILTER_YES},
        {FILTER_ATTRIBUTE, "http.method", FILTER_IS, {"GET"}, 0, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "twice", FILTER_IS, {"old"}, 0, 0, FILTER_NO},
        {FILTER_ATTRIBUTE, "twice", FILTER_IS, {"new"}, 0, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "status", FILTER_IS, {"503"}, 0, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "status", FILTER_GREATER, {NULL}, 499, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "status", FILTER_GREATER, {NULL}, 503, 0, FILTER_NO},
        {FILTER_ATTRIBUTE, "status", FILTER_AT_LEAST, {NULL}, 503, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "status", FILTER_AT_MOST, {NULL}, 503, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "share", FILTER_LESS, {NULL}, 0.5, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "http.method", FILTER_LESS, {NULL}, 1e9, 0, FILTER_NO},
        {FILTER_ATTRIBUTE, "nothing", FILTER_LESS, {NULL}, 1e9, 0, FILTER_NO},
        {FILTER_ATTRIBUTE, "list", FILTER_IS, {"[]"}, 0, 0, FILTER_UNSURE},
        {FILTER_ATTRIBUTE, "list", FILTER_IS_SET, {NULL}, 0, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "nothing", FILTER_IS_SET, {NULL}, 0, 0, FILTER_NO},
        {FILTER_ATTRIBUTE, "nothing", FILTER_IS_SET, {NULL}, 0, NOT, FILTER_YES},
        {FILTER_ATTRIBUTE, "empty", FILTER_IS_SET, {NULL}, 0, 0, FILTER_UNSURE},
        {FILTER_ATTRIBUTE, "empty", FILTER_IS_SET, {NULL}, 0, WORKER, FILTER_YES},
        {FILTER_ATTRIBUTE, "nothing", FILTER_IS, {"x"}, 0, NOT, FILTER_YES},
        {FILTER_ATTRIBUTE, "nothing", FILTER_IS, {""}, 0, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "nothing", FILTER_IS, {"x"}, 0, NOT | WORKER, FILTER_NO},
        {FILTER_ATTRIBUTE, "nothing", FILTER_IS, {""}, 0, WORKER, FILTER_NO},
        {FILTER_ATTRIBUTE, "nothing", FILTER_IS_SET, {NULL}, 0, NOT | WORKER, FILTER_YES},
        {FILTER_ATTRIBUTE, "region", FILTER_IS, {"eu-west-1"}, 0, 0, FILTER_NO},
        {FILTER_RESOURCE, "region", FILTER_IS, {"eu-west-1"}, 0, 0, FILTER_YES},
        {FILTER_RESOURCE, "http.method", FILTER_IS, {"GET"}, 0, 0, FILTER_NO},
        {FILTER_EITHER, "http.method", FILTER_IS, {"get"}, 0, WORKER, FILTER_YES},
        {FILTER_EITHER, "region", FILTER_IS, {"EU-west-1"}, 0, WORKER, FILTER_YES},
        {FILTER_ATTRIBUTE, "name", FILTER_CONTAINS, {"m\xc3\x9cll"}, 0, 0, FILTER_YES},
        {FILTER_ATTRIBUTE, "name", FILTER_CONTAINS, {"m\xc3\xbcll"}, 0, 0, FILTER_UNSURE},
        {FILTER_ATTRIBUTE, "name", FILTER_IS, {"m\xc3\xbcller"}, 0, WORKER, FILTER_UNSURE},
        {FILTER_ATTRIBUTE, "http.method", FILTER_CONTAINS, {"m\xc3\xbcll"}, 0, 0, FILTER_NO},
        {FILTER_ATTRIBUTE, "http.method", FILTER_UNKNOWN, {NULL}, 0, 0, FILTER_UNSURE},
        {FILTER_ATTRIBUTE, "http.method", FILTER_UNKNOWN, {NULL}, 0, NOT, FILTER_UNSURE},
        /* clang-format on */
    };
    struct row_rig r;
    row_init(&r, 13, NULL, "Payment of 5 EUR failed");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span values[2];
        struct filter_leaf leaf = {.of = rows[i].of,
                                   .op = rows[i].op,
                                   .key = span_str(rows[i].key),
                                   .is_not = (rows[i].how & NOT) != 0,
                                   .as_worker = (rows[i].how & WORKER) != 0,
                                   .values = values,
                                   .number = rows[i].number};
        for (; leaf.value_count < 2 && rows[i].values[leaf.value_count] != NULL; leaf.value_count++)
            values[leaf.value_count] = span_str(rows[i].values[leaf.value_count]);
        struct filter *f = one(&leaf);
        if (row_ask(f, &r) != rows[i].answer)
            fail_msg("row %zu (%s): %d", i, rows[i].key, (int)row_ask(f, &r));
        filter_free(f);
    }
    row_done(&r);
}

static void expressions_that_may_mean_something_else(void **state)
{
    (void)state;
    assert_true(filter_takes_regex(SPAN("^a.*b$"), false));
    assert_false(filter_takes_regex(SPAN("(a"), false));
    assert_false(filter_takes_regex(SPAN("(?=a)b"), false));
    static const struct {
        const char *body;
        enum filter_answer answer;
    } rows[] = {{"a\nb", FILTER_UNSURE}, {"a b", FILTER_YES}, {"b\na", FILTER_NO}};
    struct span pattern = SPAN("a.b");
    struct filter *f = one(&(struct filter_leaf){
        .of = FILTER_BODY, .op = FILTER_REGEX, .values = &pattern, .value_count = 1});
    assert_int_equal(filter_cost(f), 1 + FILTER_REGEX_COST);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct row_rig r;
        row_init(&r, 9, NULL, rows[i].body);
        assert_int_equal(row_ask(f, &r), rows[i].answer);
        row_done(&r);
    }
    char *much = malloc(5001);
    memset(much, 'x', 5000);
    much[5000] = '\0';
    struct row_rig r;
    row_init(&r, 9, NULL, much);
    assert_int_equal(row_ask(f, &r), FILTER_UNSURE);
    row_done(&r);
    free(much);
    filter_free(f);
    pattern = SPAN("(a");
    f = one(&(struct filter_leaf){
        .of = FILTER_BODY, .op = FILTER_REGEX, .values = &pattern, .value_count = 1});
    assert_int_equal(filter_built(f), ERR_CONFIG);
    filter_free(f);
}

static void severities_are_those_that_posthog_stores(void **state)
{
    (void)state;
    static const struct {
        int number;
        const char *text, *body, *stored; /* stored NULL: cannot be told */
    } rows[] = {
        {9, "ERROR", "x", "info"},        {17, NULL, "{\"level\":\"info\"}", "error"},
        {25, NULL, "x", "unknown"},       {0, "Critical", "x", "fatal"},
        {0, "eror", "x", "error"},        {0, "WARNING", "x", "warn"},
        {0, "notice", "x", "info"},       {0, NULL, "x", "info"},
        {0, "error", " {\"a\":1}", NULL}, {0, NULL, NULL, "info"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct row_rig r;
        row_init(&r, rows[i].number, rows[i].text, rows[i].body);
        const char *stored = filter_stored_severity(&r.record);
        if (rows[i].stored == NULL)
            assert_null(stored);
        else
            assert_string_equal(stored, rows[i].stored);
        struct filter *f = one(&(struct filter_leaf){.of = FILTER_SEVERITY,
                                                     .op = FILTER_IS,
                                                     .values = (struct span[]){SPAN("error")},
                                                     .value_count = 1});
        enum filter_answer want = rows[i].stored == NULL                 ? FILTER_UNSURE
                                  : strcmp(rows[i].stored, "error") == 0 ? FILTER_YES
                                                                         : FILTER_NO;
        assert_int_equal(row_ask(f, &r), want);
        filter_free(f);
        row_done(&r);
    }
}

/* y, n and ? are leaves of that answer; ( ) all of, [ ] any of, and so on. */
static struct filter *parse(const char *text)
{
    struct filter *f;
    assert_int_equal(filter_new(&f), 0);
    const struct filter_leaf yes = {.of = FILTER_SERVICE, .op = FILTER_IS_SET};
    const struct filter_leaf no = {.of = FILTER_SERVICE, .op = FILTER_IS_SET, .is_not = true};
    const struct filter_leaf unsure = {.op = FILTER_UNKNOWN};
    for (; *text != '\0'; text++) {
        if (*text == '(' || *text == '[')
            filter_begin(f, *text == '(' ? FILTER_ALL : FILTER_ANY);
        else if (*text == ')' || *text == ']')
            filter_end(f);
        else
            filter_add(f, *text == 'y' ? &yes : *text == 'n' ? &no : &unsure);
    }
    return f;
}

static void groups_join_three_answers(void **state)
{
    (void)state;
    static const struct {
        const char *tree;
        enum filter_answer answer;
        bool tells_apart;
    } rows[] = {
        {"", FILTER_YES, false},
        {"()", FILTER_NO, true},
        {"[]", FILTER_NO, true},
        {"(yy)", FILTER_YES, true},
        {"(yn)", FILTER_NO, true},
        {"(y?)", FILTER_UNSURE, true},
        {"(n?)", FILTER_NO, true},
        {"(?n)", FILTER_NO, true},
        {"[nn]", FILTER_NO, true},
        {"[ny]", FILTER_YES, true},
        {"[?y]", FILTER_YES, false},
        {"[n?]", FILTER_UNSURE, false},
        {"(?)", FILTER_UNSURE, false},
        {"(y[n?]y)", FILTER_UNSURE, true},
        {"([ny](yy))", FILTER_YES, true},
        {"([n](yy))", FILTER_NO, true},
        {"[(yn)(?y)n]", FILTER_UNSURE, true},
        {"(([n?]))", FILTER_UNSURE, false},
    };
    struct row_rig r;
    row_init(&r, 9, NULL, "x");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct filter *f = parse(rows[i].tree);
        if (row_ask(f, &r) != rows[i].answer || filter_tells_apart(f) != rows[i].tells_apart)
            fail_msg("%s: %d", rows[i].tree, (int)row_ask(f, &r));
        filter_free(f);
    }
    row_done(&r);
}

static void what_is_too_large_is_refused(void **state)
{
    (void)state;
    char deep[2 * FILTER_DEPTH_MAX + 4] = "";
    for (int i = 0; i <= FILTER_DEPTH_MAX; i++)
        strcat(deep, "(");
    for (int i = 0; i <= FILTER_DEPTH_MAX; i++)
        strcat(deep, ")");
    struct filter *f = parse(deep);
    assert_int_equal(filter_built(f), ERR_TOO_BIG);
    filter_free(f);
    f = parse("(");
    for (int i = 0; i < FILTER_NODES_MAX; i++)
        filter_add(f, &(struct filter_leaf){.op = FILTER_UNKNOWN});
    filter_end(f);
    assert_int_equal(filter_built(f), ERR_TOO_BIG);
    filter_free(f);
    f = parse("");
    char *text = calloc(1, FILTER_TEXT_MAX + 1);
    struct span value = span_of(text, FILTER_TEXT_MAX + 1);
    filter_add(f, &(struct filter_leaf){.op = FILTER_IS, .values = &value, .value_count = 1});
    assert_int_equal(filter_built(f), ERR_TOO_BIG);
    filter_free(f);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves),
        cmocka_unit_test(expressions_that_may_mean_something_else),
        cmocka_unit_test(severities_are_those_that_posthog_stores),
        cmocka_unit_test(groups_join_three_answers),
        cmocka_unit_test(what_is_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
