#include "unit/test.h"

#include <math.h>

#include "pipeline/rules.h"

static struct rules *rules(void)
{
    struct rules *r = NULL;
    assert_int_equal(rules_new(&r), 0);
    return r;
}

static uint64_t threshold(const struct rules *r, uint64_t signature, enum level level,
                          enum rules_source source)
{
    enum rules_source got;
    uint64_t t = rules_threshold(r, signature, signature, level, &got);
    assert_int_equal(got, source);
    return t;
}

static void thresholds(void **state)
{
    (void)state;
    static const struct {
        double rate;
        uint64_t t;
    } rows[] = {
        {1.0, 0},
        {0.0, RULES_REJECT_ALL},
        {0.5, RULES_REJECT_ALL / 2},
        {0.75, RULES_REJECT_ALL / 4},
        {0.25, RULES_REJECT_ALL / 4 * 3},
        {1.0 / 1024, RULES_REJECT_ALL - (RULES_REJECT_ALL >> 10)},
        {-0.0, RULES_REJECT_ALL},
        {1e-300, RULES_REJECT_ALL},
        {0.2, UINT64_C(0xcccd) << 40},       /* as the Collector has it */
        {0.9999, UINT64_C(0x00068dc) << 28}, /* leading zeros are free, */
        {0.0001, UINT64_C(0xfff9724) << 28}, /* and so are leading f */
        {0x1p-55, RULES_REJECT_ALL - 2},
        {0x1p-56, RULES_REJECT_ALL - 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(rules_threshold_of(rows[i].rate) == rows[i].t, "rate %g", rows[i].rate);
    assert_true(rules_rate_of(0) == 1.0);
    assert_true(rules_rate_of(RULES_REJECT_ALL) == 0.0);
    for (double p = 1; p > 1e-12; p *= 0.99) {
        double q = rules_rate_of(rules_threshold_of(p));
        assert_row(fabs(q - p) <= p / 8192, "rate %g: %g", p, q);
        assert_row(rules_threshold_of(q) == rules_threshold_of(p), "rate %g: %g", p, q);
    }
}

static void what_is_no_rate_is_refused(void **state)
{
    (void)state;
    static const double bad[] = {NAN, -NAN, INFINITY, -INFINITY, -0.001, 1.001, -1, 2};
    struct rules *r = rules();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {{0}};
        assert_row(rules_set_level(r, LEVEL_INFO, bad[i], &err) == ERR_CONFIG, "%g", bad[i]);
        assert_row(strstr(err.text, "INFO") != NULL, "%s", err.text);
        assert_row(rules_set_global(r, bad[i], &err) == ERR_CONFIG, "%g", bad[i]);
        assert_row(rules_set_pattern(r, 1, bad[i], &err) == ERR_CONFIG, "%g", bad[i]);
    }
    for (int l = 0; l < LEVEL_COUNT; l++) /* nothing was half set */
        assert_int_equal(threshold(r, 1, (enum level)l, RULES_GLOBAL), 0);
    rules_unref(r);
}

static void errors_are_never_lowered(void **state)
{
    (void)state;
    struct rules *r = rules();
    struct error err = {{0}};
    assert_int_equal(rules_set_level(r, LEVEL_ERROR, 0.999999, &err), ERR_CONFIG);
    assert_int_equal(rules_set_level(r, LEVEL_FATAL, 0, &err), ERR_CONFIG);
    assert_int_equal(rules_set_level(r, LEVEL_ERROR, 1, &err), 0);
    assert_int_equal(rules_set_level(r, LEVEL_WARN, 0, &err), 0);
    assert_int_equal(threshold(r, 1, LEVEL_ERROR, RULES_SEVERITY), 0);
    assert_int_equal(threshold(r, 1, LEVEL_WARN, RULES_SEVERITY), RULES_REJECT_ALL);
    rules_unref(r);
}

static void the_nearest_setting_counts(void **state)
{
    (void)state;
    struct rules *r = rules();
    assert_int_equal(rules_set_global(r, 0.25, NULL), 0);
    assert_int_equal(rules_set_level(r, LEVEL_INFO, 0.5, NULL), 0);
    assert_int_equal(rules_set_pattern(r, 99, 0.75, NULL), 0);
    assert_int_equal(threshold(r, 99, LEVEL_INFO, RULES_PATTERN), RULES_REJECT_ALL / 4);
    assert_int_equal(threshold(r, 98, LEVEL_INFO, RULES_SEVERITY), RULES_REJECT_ALL / 2);
    assert_int_equal(threshold(r, 98, LEVEL_WARN, RULES_GLOBAL), RULES_REJECT_ALL / 4 * 3);
    rules_unref(r);
}

/* Signatures whose low bits are equal lie in one cluster of the table. */
static void many_patterns(void **state)
{
    (void)state;
    struct rules *r = rules();
    struct error err = {{0}};
    for (uint64_t i = 0; i < RULES_PATTERNS_MAX; i++)
        assert_int_equal(rules_set_pattern(r, i % 2 ? i : i << 32, (double)(i % 5) / 4, NULL), 0);
    for (uint64_t i = 0; i < RULES_PATTERNS_MAX; i++)
        assert_int_equal(threshold(r, i % 2 ? i : i << 32, LEVEL_INFO, RULES_PATTERN),
                         rules_threshold_of((double)(i % 5) / 4));
    assert_int_equal(rules_set_pattern(r, UINT64_MAX, 0.5, &err), ERR_CONFIG);
    assert_int_equal(rules_set_pattern(r, 1, 0.5, &err), 0); /* known: needs no room */
    assert_int_equal(threshold(r, 1, LEVEL_INFO, RULES_PATTERN), RULES_REJECT_ALL / 2);
    assert_int_equal(threshold(r, UINT64_MAX, LEVEL_INFO, RULES_GLOBAL), 0);
    rules_unref(r);
}

static void spellings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int level;
    } rows[] = {
        {"TRACE", LEVEL_TRACE}, {"debug", LEVEL_DEBUG},   {"Info", LEVEL_INFO},
        {"NOTICE", LEVEL_INFO}, {"warn", LEVEL_WARN},     {"WARNING", LEVEL_WARN},
        {"err", LEVEL_ERROR},   {"ERROR", LEVEL_ERROR},   {"CRITICAL", LEVEL_FATAL},
        {"fatal", LEVEL_FATAL}, {"", ERR_MALFORMED},      {"WARNINGS", ERR_MALFORMED},
        {"WAR", ERR_MALFORMED}, {" INFO", ERR_MALFORMED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(level_parse(span_str(rows[i].text)) == rows[i].level, "'%s'", rows[i].text);
    for (int l = 0; l < LEVEL_COUNT; l++)
        assert_int_equal(level_parse(span_str(level_name((enum level)l))), l);
    static const enum level numbers[] = {
        [0] = LEVEL_INFO,   [1] = LEVEL_TRACE,  [4] = LEVEL_TRACE,  [5] = LEVEL_DEBUG,
        [8] = LEVEL_DEBUG,  [9] = LEVEL_INFO,   [12] = LEVEL_INFO,  [13] = LEVEL_WARN,
        [16] = LEVEL_WARN,  [17] = LEVEL_ERROR, [20] = LEVEL_ERROR, [21] = LEVEL_FATAL,
        [24] = LEVEL_FATAL, [25] = LEVEL_FATAL,
    };
    static const unsigned asked[] = {0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25};
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        assert_row(level_of(asked[i]) == numbers[asked[i]], "%u", asked[i]);
}

static void matchers_are_copied_and_inherited(void **state)
{
    (void)state;
    struct rules *r = rules(), *heir = rules();
    char text[] = "check*";
    struct rules_matcher m = {.levels = 1u << LEVEL_INFO, .service = span_str(text)};
    m.attribute[0].key = SPAN("http.route");
    m.attribute[0].value = span_str(text);
    m.attributes = 1;
    assert_int_equal(rules_add_matcher(r, true, &m, NULL), 0);
    assert_int_equal(rules_add_matcher(r, false, &m, NULL), 0);
    assert_int_equal(rules_set_first(r, 7, 1000, NULL), 0);
    text[0] = 'X';
    assert_int_equal(rules_inherit(heir, r), 0);
    rules_unref(r);

    unsigned count;
    const struct rules_matcher *got = rules_matchers(heir, true, &count);
    assert_int_equal(count, 1);
    assert_true(span_eq(got->service, SPAN("check*")));
    assert_true(span_eq(got->attribute[0].value, SPAN("check*")));
    assert_null(got->body.base); /* not asked for stays so */
    rules_matchers(heir, false, &count);
    assert_int_equal(count, 1);
    assert_int_equal(rules_first(heir), 7);
    assert_int_equal(rules_window_ms(heir), 1000);
    rules_unref(heir);
}

static void bounds(void **state)
{
    (void)state;
    struct rules *r = rules();
    struct error err = {{0}};
    struct rules_matcher m = {.levels = 1};
    for (int i = 0; i < RULES_MATCHERS_MAX; i++)
        assert_int_equal(rules_add_matcher(r, true, &m, NULL), 0);
    assert_int_equal(rules_add_matcher(r, true, &m, &err), ERR_CONFIG);
    assert_int_equal(rules_set_first(r, 1, 0, &err), ERR_CONFIG);
    assert_int_equal(rules_set_first(r, 1, 24 * 3600 * 1000 + 1, &err), ERR_CONFIG);
    assert_int_equal(rules_set_first(r, 1, 24 * 3600 * 1000, &err), 0);
    assert_int_equal(rules_set_boost(r, 0.99, &err), ERR_CONFIG);
    assert_int_equal(rules_set_boost(r, NAN, &err), ERR_CONFIG);
    assert_int_equal(rules_set_boost(r, 3, &err), 0);
    rules_set_origin(r, "a name that is much too long", 3);
    assert_string_equal(rules_origin(r), "a name that is ");
    rules_set_origin(r, "server", 4);
    assert_string_equal(rules_origin(r), "server");
    assert_int_equal(rules_version(r), 4);
    struct rules *again = rules_ref(r);
    rules_unref(r);
    assert_int_equal(rules_version(again), 4);
    rules_unref(again);
    rules_unref(NULL);
}

/* Families for rules_bind(): pairs of what became what. */
struct became {
    uint64_t from[4], to[4];
};

static uint64_t look_up(void *ctx, uint64_t signature)
{
    const struct became *b = ctx;
    for (size_t i = 0; i < ARRAY_LEN(b->from); i++)
        if (b->from[i] == signature && signature != 0)
            return b->to[i];
    return signature;
}

static double rate_of(const struct rules *r, uint64_t signature, uint64_t family)
{
    enum rules_source source;
    return rules_rate_of(rules_threshold(r, signature, family, LEVEL_INFO, &source));
}

static void a_pattern_binds_its_family(void **state)
{
    (void)state;
    struct rules *r = rules(), *bound, *again, *later;
    struct became b = {{1, 2, 3, 5}, {100, 100, 200, 5}};
    assert_int_equal(rules_set_pattern(r, 1, 0.25, NULL), 0);
    assert_int_equal(rules_set_pattern(r, 2, 0.5, NULL), 0);
    assert_int_equal(rules_set_pattern(r, 3, 0.125, NULL), 0);
    assert_int_equal(rules_set_pattern(r, 200, 0.75, NULL), 0); /* the family itself is named */
    assert_int_equal(rules_set_pattern(r, 5, 0.0625, NULL), 0);
    rules_set_origin(r, "server", 9);
    assert_true(rate_of(r, 77, 100) == 1);
    assert_true(rate_of(r, 77, 200) == 0.75);
    assert_int_equal(rules_bind(&bound, r, look_up, &b), 0);
    rules_unref(r);
    assert_true(rate_of(bound, 1, 100) == 0.25); /* a pattern's own rate comes first */
    assert_true(rate_of(bound, 77, 100) == 0.5); /* of two the higher */
    assert_true(rate_of(bound, 77, 200) == 0.75);
    assert_true(rate_of(bound, 5, 5) == 0.0625);
    assert_true(rate_of(bound, 77, 78) == 1);
    assert_string_equal(rules_origin(bound), "server");
    assert_int_equal(rules_version(bound), 9);

    /* The families have become one; then all that is forgotten, but what was true stays. */
    b = (struct became){{1, 2, 100}, {300, 300, 300}};
    assert_int_equal(rules_bind(&again, bound, look_up, &b), 0);
    rules_unref(bound);
    assert_true(rate_of(again, 77, 300) == 0.5);
    assert_true(rate_of(again, 77, 100) == 1); /* nobody is of that family any more */
    b = (struct became){{0}, {0}};
    assert_int_equal(rules_bind(&later, again, look_up, &b), 0);
    rules_unref(again);
    assert_true(rate_of(later, 77, 300) == 0.5);
    assert_true(rate_of(later, 77, 200) == 0.75);
    rules_unref(later);
}

static void as_many_rates_as_may_be_are_bound(void **state)
{
    (void)state;
    struct rules *r = rules(), *bound, *again;
    struct became b = {{1, 2, 3, 4}, {1ull << 40, 1ull << 41, 1ull << 42, 1ull << 43}};
    for (uint64_t i = 1; i <= RULES_PATTERNS_MAX; i++)
        assert_int_equal(rules_set_pattern(r, i, 0.5, NULL), 0);
    assert_int_equal(rules_bind(&bound, r, look_up, &b), 0);
    assert_int_equal(rules_bind(&again, bound, look_up, &b), 0);
    for (int i = 40; i <= 43; i++)
        assert_true(rate_of(again, 1ull << 50, 1ull << i) == 0.5);
    assert_true(rate_of(again, RULES_PATTERNS_MAX, RULES_PATTERNS_MAX) == 0.5);
    rules_unref(r);
    rules_unref(bound);
    rules_unref(again);
}

static void only_some_rules_name_patterns(void **state)
{
    (void)state;
    struct rules *r = rules(), *bound;
    struct rules_matcher m = {.body = SPAN("x")};
    struct became b = {{8}, {9}};
    unsigned count;
    assert_int_equal(rules_add_matcher(r, true, &m, NULL), 0);
    assert_false(rules_name_patterns(r));
    m = (struct rules_matcher){.has_pattern = true, .pattern = 8};
    assert_int_equal(rules_add_matcher(r, false, &m, NULL), 0);
    assert_true(rules_name_patterns(r));
    assert_int_equal(rules_bind(&bound, r, look_up, &b), 0);
    const struct rules_matcher *drop = rules_matchers(bound, false, &count);
    assert_int_equal(drop->pattern, 8);
    assert_int_equal(drop->family, 9);
    rules_unref(r);
    rules_unref(bound);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds),
        cmocka_unit_test(what_is_no_rate_is_refused),
        cmocka_unit_test(errors_are_never_lowered),
        cmocka_unit_test(the_nearest_setting_counts),
        cmocka_unit_test(many_patterns),
        cmocka_unit_test(spellings),
        cmocka_unit_test(matchers_are_copied_and_inherited),
        cmocka_unit_test(bounds),
        cmocka_unit_test(a_pattern_binds_its_family),
        cmocka_unit_test(as_many_rates_as_may_be_are_bound),
        cmocka_unit_test(only_some_rules_name_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
