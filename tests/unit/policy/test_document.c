#include "unit/test.h"

#include "policy/document.h"

static void documents(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        bool good;
        double rate[LEVEL_COUNT]; /* of a good one */
        unsigned raised, foreign;
        int64_t version;
    } rows[] = {
        {"of the older server",
         "{\"global_rate\": 1.0, \"severity_rates\": {\"DEBUG\": 0.05, \"INFO\": 0.2, \"WARNING\": "
         "0.5, "
         "\"ERROR\": 1.0, \"CRITICAL\": 1.0}, \"pattern_rates\": "
         "{\"192e2189dedd759b686b29a872987cc1\": 0.01}, "
         "\"anomaly_boost\": 3.0, \"reasoning\": \"x\", \"llm_model\": null, \"version\": 4}",
         true,
         {0.05, 0.05, 0.2, 0.5, 1, 1},
         0,
         1,
         4},
        {"TRACE of its own",
         "{\"severity_rates\": {\"TRACE\": 0.5, \"DEBUG\": 0.25}}",
         true,
         {0.5, 0.25, 1, 1, 1, 1},
         0,
         0,
         0},
        {"global only",
         "{\"global_rate\": 0.25}",
         true,
         {0.25, 0.25, 0.25, 0.25, 0.25, 0.25},
         0,
         0,
         0},
        {"integers are rates",
         "{\"global_rate\": 0, \"severity_rates\": {\"INFO\": 1}}",
         true,
         {0, 0, 1, 0, 0, 0},
         0,
         0,
         0},
        {"errors are raised",
         "{\"severity_rates\": {\"ERROR\": 0.5, \"FATAL\": 0}}",
         true,
         {1, 1, 1, 1, 1, 1},
         2,
         0,
         0},
        {"unknown members",
         "{\"global_rate\": 1, \"x\": [1], \"y\": {\"INFO\": 7}}",
         true,
         {1, 1, 1, 1, 1, 1},
         0,
         0,
         0},
        {"unknown severity", "{\"severity_rates\": {\"LOUD\": 0.5}}", false, {0}, 0, 0, 0},
        {"above 1", "{\"global_rate\": 1.1}", false, {0}, 0, 0, 0},
        {"below 0", "{\"severity_rates\": {\"INFO\": -0.1}}", false, {0}, 0, 0, 0},
        {"NaN", "{\"global_rate\": NaN}", false, {0}, 0, 0, 0},
        {"text", "{\"global_rate\": \"1\"}", false, {0}, 0, 0, 0},
        {"null", "{\"global_rate\": null}", false, {0}, 0, 0, 0},
        {"true", "{\"severity_rates\": {\"INFO\": true}}", false, {0}, 0, 0, 0},
        {"huge", "{\"global_rate\": 18446744073709551615}", false, {0}, 0, 0, 0},
        {"rates in a list", "{\"global_rate\": 1, \"severity_rates\": [0.5]}", false, {0}, 0, 0, 0},
        {"patterns in a list", "{\"global_rate\": 1, \"pattern_rates\": []}", false, {0}, 0, 0, 0},
        {"pattern above 1",
         "{\"global_rate\": 1, \"pattern_rates\": {\"lps1:0000000000000001\": 2}}",
         false,
         {0},
         0,
         0,
         0},
        {"foreign, above 1",
         "{\"global_rate\": 1, \"pattern_rates\": {\"md5\": 2}}",
         false,
         {0},
         0,
         0,
         0},
        {"boost below 1", "{\"global_rate\": 1, \"anomaly_boost\": 0.5}", false, {0}, 0, 0, 0},
        {"boost is no number",
         "{\"global_rate\": 1, \"anomaly_boost\": \"3\"}",
         false,
         {0},
         0,
         0,
         0},
        {"version is no number", "{\"global_rate\": 1, \"version\": \"4\"}", false, {0}, 0, 0, 0},
        {"a list", "[1]", false, {0}, 0, 0, 0},
        {"a number", "1", false, {0}, 0, 0, 0},
        {"nothing", "", false, {0}, 0, 0, 0},
        {"neither rates", "{\"version\": 4}", false, {0}, 0, 0, 0},
        {"cut", "{\"global_rate\": 1", false, {0}, 0, 0, 0},
        {"two", "{\"global_rate\": 1} {}", false, {0}, 0, 0, 0},
        {"a page", "<html>login</html>", false, {0}, 0, 0, 0},
    };
    struct json_object *json;
    struct rules *base;
    assert_int_equal(json_object_new(&json, POLICY_DOCUMENT_BYTES), 0);
    assert_int_equal(rules_new(&base), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rules *rules = NULL;
        struct policy_notes notes = {99, 99};
        struct error err = {{0}};
        int rc = policy_document_read(&rules, json, span_str(rows[i].text), base, &notes, &err);
        assert_row(rc == (rows[i].good ? 0 : ERR_MALFORMED), "%s: %d %s", rows[i].name, rc,
                   err.text);
        if (!rows[i].good) {
            assert_row(strncmp(err.text, "policy", 6) == 0, "%s: %s", rows[i].name, err.text);
            assert_row(rules == NULL && notes.raised == 99, "%s", rows[i].name);
            continue;
        }
        for (int l = 0; l < LEVEL_COUNT; l++) {
            enum rules_source source;
            assert_row(rules_threshold(rules, 1, 1, (enum level)l, &source) ==
                           rules_threshold_of(rows[i].rate[l]),
                       "%s: %s", rows[i].name, level_name((enum level)l));
        }
        assert_row(notes.raised == rows[i].raised, "%s: %u", rows[i].name, notes.raised);
        assert_row(notes.foreign_keys == rows[i].foreign, "%s", rows[i].name);
        assert_row(rules_version(rules) == rows[i].version, "%s", rows[i].name);
        assert_row(strcmp(rules_origin(rules), "server") == 0, "%s", rows[i].name);
        rules_unref(rules);
    }
    rules_unref(base);
    json_object_free(json);
}

static void what_it_does_not_speak_of_stays(void **state)
{
    (void)state;
    struct json_object *json;
    struct rules *base, *rules;
    struct policy_notes notes;
    struct error err;
    struct rules_matcher m = {.levels = 1};
    unsigned count;
    assert_int_equal(json_object_new(&json, POLICY_DOCUMENT_BYTES), 0);
    assert_int_equal(rules_new(&base), 0);
    assert_int_equal(rules_add_matcher(base, true, &m, NULL), 0);
    assert_int_equal(rules_set_first(base, 9, 5000, NULL), 0);
    assert_int_equal(rules_set_level(base, LEVEL_INFO, 0.5, NULL), 0);
    assert_int_equal(
        policy_document_read(
            &rules, json,
            SPAN("{\"global_rate\": 1, \"pattern_rates\": {\"lps1:00000000000000AB\": 0.75}}"),
            base, &notes, &err),
        0);
    rules_matchers(rules, true, &count);
    assert_int_equal(count, 1);
    assert_int_equal(rules_first(rules), 9);
    assert_int_equal(rules_window_ms(rules), 5000);
    enum rules_source source;
    assert_int_equal(rules_threshold(rules, 2, 2, LEVEL_INFO, &source),
                     0); /* rates are the server's */
    assert_int_equal(rules_threshold(rules, 0xab, 0xab, LEVEL_INFO, &source), RULES_REJECT_ALL / 4);
    assert_int_equal(source, RULES_PATTERN);
    rules_unref(rules);

    assert_int_equal(rules_set_global(base, 0.25, NULL), 0);
    assert_int_equal(policy_document_read(&rules, json, SPAN("{\"severity_rates\": {\"WARN\": 1}}"),
                                          base, &notes, &err),
                     0);
    assert_int_equal(rules_threshold(rules, 2, 2, LEVEL_WARN, &source), 0);
    assert_int_equal(rules_threshold(rules, 2, 2, LEVEL_INFO, &source), RULES_REJECT_ALL / 4 * 3);
    assert_int_equal(source, RULES_GLOBAL);
    rules_unref(rules);
    rules_unref(base);
    json_object_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(what_it_does_not_speak_of_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
