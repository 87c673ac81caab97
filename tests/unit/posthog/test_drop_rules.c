#include "unit/test.h"

#include "otlp/json_doc.h"
#include "posthog/canonical.h"
#include "posthog/drop_rules.h"

static void add(struct rules *r, bool keep, struct rules_matcher m)
{
    assert_int_equal(rules_add_matcher(r, keep, &m, NULL), 0);
}

static const char *why(const struct drop_rules *d, const char *what, bool is_warning)
{
    for (unsigned i = 0; i < d->note_count; i++)
        if (strcmp(d->notes[i].what, what) == 0 && d->notes[i].is_warning == is_warning)
            return d->notes[i].why;
    return "";
}

static bool has(const struct drop_rule *r, const char *text)
{
    return memmem(r->config.base, r->config.len, text, strlen(text)) != NULL;
}

static struct rules *of_rates(double debug, double others)
{
    struct rules *r;
    assert_int_equal(rules_new(&r), 0);
    assert_int_equal(rules_set_global(r, others, NULL), 0);
    assert_int_equal(rules_set_level(r, LEVEL_DEBUG, debug, NULL), 0);
    return r;
}

static void what_can_be_said_and_what_not(void **state)
{
    (void)state;
    struct rules *r = of_rates(1, 1);
    struct drop_rules d;
    const struct drop_rules_opts opts = {.severity_from_text = true, .has_budget = true};
    add(r, false, (struct rules_matcher){.service = SPAN("web"), .body = SPAN("GET /h*(1)")});
    add(r, false, (struct rules_matcher){.levels = 1u << LEVEL_FATAL, .body = SPAN("*")});
    add(r, false, (struct rules_matcher){.has_pattern = true, .pattern = 7});
    add(r, false,
        (struct rules_matcher){.attributes = 1, .attribute = {{SPAN("level"), SPAN("*")}}});
    add(r, false, (struct rules_matcher){.attributes = 1, .attribute = {{SPAN("n"), SPAN("*5")}}});
    assert_int_equal(drop_rules_of(&d, r, &opts), 0);
    assert_int_equal(d.count, 2);
    assert_string_equal(d.rules[0].name, "[lipservice] drop[0]");
    assert_true(has(&d.rules[0], "\"value\":[\"error\",\"fatal\"]"));
    assert_true(has(&d.rules[0], "\"exception.type\""));
    assert_true(has(&d.rules[0], "\"regex\",\"value\":\"^GET /h.*\\\\(1\\\\)$\""));
    assert_true(has(&d.rules[0], "\"exact\",\"value\":\"web\""));
    assert_true(*why(&d, "drop[0]", true) != '\0');
    assert_string_equal(why(&d, "drop[1]", false), "it drops nothing: errors are always kept");
    assert_string_equal(why(&d, "drop[2]", false),
                        "a pattern is more than a regular expression can tell");
    assert_true(*why(&d, "drop[3]", false) != '\0');
    assert_string_equal(d.rules[1].name, "[lipservice] drop[4]");
    assert_string_equal(why(&d, "drop[4]", true), ""); /* digits have no case */
    assert_true(*why(&d, "sampling.budget", false) != '\0');
    drop_rules_done(&d);
    rules_unref(r);
}

static void keep_rules_come_first(void **state)
{
    (void)state;
    struct rules *r = of_rates(1, 1);
    struct drop_rules d;
    const struct drop_rules_opts opts = {0};
    add(r, false, (struct rules_matcher){.service = SPAN("web")});
    add(r, true,
        (struct rules_matcher){.levels = 1u << LEVEL_WARN,
                               .has_pattern = true,
                               .pattern = 7,
                               .attributes = 1,
                               .attribute = {{SPAN("tenant"), SPAN("big*")}}});
    assert_int_equal(drop_rules_of(&d, r, &opts), 0);
    assert_int_equal(d.count, 1);
    assert_true(has(&d.rules[0], "{\"type\":\"OR\",\"values\":[{\"key\":\"severity_text\",\"type\":"
                                 "\"log_attribute\",\"operator\":\"is_not\",\"value\":[\"warn\"]},"
                                 "{\"key\":\"tenant\",\"type\":\"log_attribute\",\"operator\":"
                                 "\"is_not_set\"},{\"key\":\"tenant\",\"type\":\"log_attribute\","
                                 "\"operator\":\"not_regex\",\"value\":\"^big.*$\"}]}"));
    drop_rules_done(&d);
    /* One that is a pattern alone might keep anything. */
    add(r, true, (struct rules_matcher){.has_pattern = true, .pattern = 7});
    assert_int_equal(drop_rules_of(&d, r, &opts), 0);
    assert_int_equal(d.count, 0);
    assert_string_equal(why(&d, "drop[0]", false),
                        "a keep rule comes before it that cannot be said there");
    drop_rules_done(&d);
    rules_unref(r);
}

static void rates_of_nothing(void **state)
{
    (void)state;
    struct drop_rules d;
    const struct drop_rules_opts opts = {0};
    struct rules *r = of_rates(0, 0.5);
    assert_int_equal(drop_rules_of(&d, r, &opts), 0);
    assert_int_equal(d.count, 1);
    assert_string_equal(d.rules[0].name, "[lipservice] severity_rates.DEBUG");
    assert_true(*why(&d, "global_rate of INFO", false) != '\0');
    drop_rules_done(&d);
    assert_int_equal(rules_set_first(r, 1, 60000, NULL), 0);
    assert_int_equal(drop_rules_of(&d, r, &opts), 0);
    assert_int_equal(d.count, 0);
    drop_rules_done(&d);
    assert_int_equal(rules_set_first(r, 0, 60000, NULL), 0);
    assert_int_equal(rules_set_pattern(r, 7, 1, NULL), 0);
    assert_int_equal(drop_rules_of(&d, r, &opts), 0);
    assert_int_equal(d.count, 0);
    assert_true(*why(&d, "severity_rates.DEBUG", false) != '\0');
    assert_true(*why(&d, "pattern_rates", false) != '\0');
    drop_rules_done(&d);
    rules_unref(r);
}

static void too_many_conditions(void **state)
{
    (void)state;
    struct drop_rules d;
    const struct drop_rules_opts opts = {0};
    struct rules *r = of_rates(1, 1);
    add(r, false, (struct rules_matcher){.service = SPAN("web")});
    for (int i = 0; i < 100; i++)
        add(r, true, (struct rules_matcher){.service = SPAN("a"), .body = SPAN("b")});
    assert_int_equal(drop_rules_of(&d, r, &opts), 0);
    assert_int_equal(d.count, 0);
    assert_true(*why(&d, "drop[0]", false) != '\0');
    drop_rules_done(&d);
    rules_unref(r);
}

static void one_form_of_a_value(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{\"b\":1,\"a\":[true,null,\"x\\u0041\"]}", "{\"a\":[true,null,\"xA\"],\"b\":1}"},
        {"{\"b\":null,\"a\":[],\"c\":{},\"d\":{\"e\":2.50}}", "{\"d\":{\"e\":2.5}}"},
        {"[]", "[]"},
        {"\"\"", "\"\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        assert_int_equal(canonical_of(&out, span_str(rows[i][0])), 0);
        buf_append_byte(&out, '\0');
        assert_string_equal((char *)out.base, rows[i][1]);
        buf_done(&out);
    }
    struct buf out = {0};
    assert_true(canonical_of(&out, SPAN("{")) < 0);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_can_be_said_and_what_not),
        cmocka_unit_test(keep_rules_come_first),
        cmocka_unit_test(rates_of_nothing),
        cmocka_unit_test(too_many_conditions),
        cmocka_unit_test(one_form_of_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
