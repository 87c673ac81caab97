/* Tero's policies that are wrong, too many, too deep, or too slow. */
#include "unit/policy/tero_world.h"

#include <stdlib.h>

static void texts_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "no valid JSON"},
        {"{\"policies\":[", "no valid JSON"},
        {"{\"policies\":[]} x", "no valid JSON"},
        {"\xff", "no valid JSON"},
        {"[]", "the text is no JSON object"},
        {"{}", "there is no list \"policies\""},
        {"{\"policies\":{}}", "there is no list \"policies\""},
        {"{\"policies\":[],\"more\":1}", "unknown field \"more\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tero *t = NULL;
        struct error err = {{0}};
        int rc = tero_new(&t, span_str(rows[i].text), 1, NULL, &err);
        assert_row(rc < 0 && t == NULL, "%s", rows[i].text);
        assert_row(strstr(err.text, rows[i].why) != NULL, "%s: %s", rows[i].text, err.text);
    }
}

#define LOG(log) "{\"id\":\"p\",\"log\":{" log "}}"
#define OK "\"match\":[{\"log_field\":\"body\",\"exists\":true}]"
#define MATCH(matcher) LOG("\"match\":[{" matcher "}]")
#define TRANSFORM(ops) LOG(OK ",\"transform\":{" ops "}")

static void policies_that_are_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *policy, *why;
    } rows[] = {
        {"7", "must be an object"},
        {"{\"log\":{" OK "}}", "id: missing"},
        {"{\"id\":7,\"log\":{" OK "}}", "id: must be a string"},
        {"{\"id\":\"p\",\"lock\":1}", "unknown field \"lock\""},
        {"{\"id\":\"p\",\"enabled\":\"no\"}", "enabled: must be true or false"},
        {"{\"id\":\"p\",\"log\":[]}", "log: must be an object"},
        {LOG(""), "log: match: at least one matcher is needed"},
        {LOG("\"match\":[]"), "log: match: at least one matcher is needed"},
        {LOG("\"match\":{}"), "log: match: must be a list"},
        {LOG(OK ",\"x\":1"), "log: unknown field \"x\""},
        {LOG(OK ",\"keep\":7"), "log: keep: must be a string"},
        {LOG(OK ",\"sample_key\":{}"), "log: sample_key: no field is set"},
        {LOG(OK ",\"sample_key\":{\"y\":1}"), "log: sample_key: unknown field \"y\""},
        {MATCH("\"exact\":\"x\""), "log: match[0]: no field is set"},
        {MATCH("\"log_field\":\"body\""), "log: match[0]: no test is set"},
        {MATCH("\"log_field\":\"hat\",\"exact\":\"x\""),
         "log: match[0]: there is no such log field"},
        {MATCH("\"log_field\":0,\"exact\":\"x\""), "log: match[0]: there is no such log field"},
        {MATCH("\"log_field\":\"body\",\"log_attribute\":\"x\",\"exists\":true"),
         "log: match[0]: more than one field"},
        {MATCH("\"log_field\":\"body\",\"exists\":true,\"exact\":\"x\""),
         "log: match[0]: more than one test"},
        {MATCH("\"log_attribute\":[],\"exists\":true"), "log: match[0]: attribute has empty path"},
        {MATCH("\"log_attribute\":\"\",\"exists\":true"),
         "log: match[0]: attribute has empty path"},
        {MATCH("\"log_attribute\":[1],\"exists\":true"),
         "log: match[0]: a name in a path must be a string"},
        {MATCH("\"log_attribute\":[\"1\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\","
               "\"\",\"\",\"\",\"\",\"\"],\"exists\":true"),
         "log: match[0]: attribute path has more than 16 names"},
        {MATCH("\"log_field\":\"body\",\"regex\":\"(?=x)\""),
         "log: match[0]: invalid regex \"(?=x)\""},
        {MATCH("\"log_field\":\"body\",\"gt\":\"x\""), "log: match[0]: gt needs a number"},
        {MATCH("\"log_field\":\"body\",\"gt\":{}"), "log: match[0]: value is not set"},
        {MATCH("\"log_field\":\"body\",\"equals\":{\"int_value\":\"1x\"}"),
         "log: match[0]: a number is wanted"},
        {MATCH("\"log_field\":\"body\",\"equals\":{\"hex_value\":\"abc\"}"),
         "log: match[0]: invalid hex_value \"abc\""},
        {MATCH("\"log_field\":\"body\",\"equals\":{\"bytes_value\":\"abc=\"}"),
         "log: match[0]: values of this kind are not supported: \"bytes_value\""},
        {MATCH("\"log_field\":\"body\",\"exists\":1"),
         "log: match[0]: exists must be true or false"},
        {TRANSFORM("\"hide\":[]"), "log: transform: unknown field \"hide\""},
        {TRANSFORM("\"remove\":[{}]"), "log: transform: remove[0]: no field is set"},
        {TRANSFORM("\"remove\":[{\"log_field\":\"body\",\"regex\":\"x\"}]"),
         "log: transform: remove[0]: unknown field \"regex\""},
        {TRANSFORM("\"rename\":[{\"from_log_field\":\"body\",\"to\":\"x\"}]"),
         "log: transform: rename[0]: only attributes can be renamed"},
        {TRANSFORM("\"rename\":[{\"from_log_attribute\":\"x\"}]"),
         "log: transform: rename[0]: to is empty"},
        {TRANSFORM("\"redact\":[{\"log_field\":\"trace_id\"}]"),
         "log: transform: redact[0]: trace_id and span_id can only be removed"},
        {TRANSFORM("\"redact\":[{\"log_field\":\"body\",\"regex\":\"a\",\"regex\":\"b\"}]"),
         "log: transform: redact[0]: more than one regex"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1024];
        struct world w;
        struct tero_count c;
        snprintf(text, sizeof text, "{\"policies\":[%s]}", rows[i].policy);
        world_init(&w, text);
        assert_true(tero_count(w.tero, 0, &c));
        assert_row(c.errors > 0, "%s", text);
        assert_row(span_eq(tero_error(w.tero, 0, 0), span_str(rows[i].why)), "%s: %.*s", text,
                   (int)tero_error(w.tero, 0, 0).len, (const char *)tero_error(w.tero, 0, 0).base);
        world_offer(&w, "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{"
                        "\"stringValue\":\"x\"}}]}]}]}");
        assert_row(w.kept == 1 && w.changed == 0, "%s", text);
        world_done(&w);
    }
}

static void an_id_is_of_one_policy(void **state)
{
    (void)state;
    struct world w;
    struct tero_count c;
    world_init(&w, "{\"policies\":[" LOG(OK) "," LOG(OK) "," LOG(OK) ",{\"id\":\"q\",\"log\":{" OK
                                                                     "}}]}");
    for (size_t i = 0; i < 4; i++) {
        assert_true(tero_count(w.tero, i, &c));
        assert_int_equal(c.errors, i < 3);
    }
    assert_false(tero_count(w.tero, 4, &c));
    world_done(&w);
}

/* So many policies of this text, with %u for a number. */
static int new_of_many(struct tero **t, const char *policy, unsigned count, struct error *err)
{
    struct buf text = {0};
    buf_append_str(&text, "{\"policies\":[");
    for (unsigned i = 0; i < count; i++) {
        buf_printf(&text, "%s{\"id\":\"%05u\",", i > 0 ? "," : "", i);
        buf_append_str(&text, policy);
        buf_append_byte(&text, '}');
    }
    buf_append_str(&text, "]}");
    int rc = tero_new(t, buf_span(&text), 1, NULL, err);
    buf_done(&text);
    return rc;
}

static void many_policies(void **state)
{
    (void)state;
    struct tero *t = NULL;
    struct error err = {{0}};
    struct tero_count c;
    assert_int_equal(new_of_many(&t, "\"log\":{" OK "}", TERO_POLICIES, &err), 0);
    assert_true(tero_count(t, TERO_POLICIES - 1, &c));
    assert_int_equal(c.errors, 0);
    tero_free(t);
    t = NULL;
    assert_int_equal(new_of_many(&t, "\"log\":{" OK "}", TERO_POLICIES + 1, &err), ERR_CONFIG);
    assert_string_equal(err.text, "10001 policies: at most 10000 are taken");
    assert_null(t);
}

static void many_expressions(void **state)
{
    (void)state;
    struct tero *t = NULL;
    struct error err = {{0}};
    struct tero_count c;
    const char *policy = "\"log\":{\"match\":[{\"log_field\":\"body\",\"regex\":\"a[0-9]+\"}]}";
    assert_int_equal(new_of_many(&t, policy, TERO_EXPRESSIONS + 1, &err), 0);
    assert_true(tero_count(t, TERO_EXPRESSIONS - 1, &c));
    assert_int_equal(c.errors, 0);
    assert_true(tero_count(t, TERO_EXPRESSIONS, &c));
    assert_int_equal(c.errors, 1);
    assert_true(span_eq(tero_error(t, TERO_EXPRESSIONS, 0),
                        SPAN("log: match[0]: more than 2000 expressions in all")));
    tero_free(t);
}

/* Nesting of the JSON, and lists that are too long. */
static void deep_and_long(void **state)
{
    (void)state;
    struct buf text = {0};
    struct tero *t = NULL;
    struct error err = {{0}};
    struct tero_count c;
    buf_append_str(&text, "{\"policies\":");
    for (unsigned i = 0; i < 100000; i++)
        buf_append_byte(&text, '[');
    assert_int_equal(tero_new(&t, buf_span(&text), 1, NULL, &err), ERR_MALFORMED);
    buf_clear(&text);
    buf_append_str(&text, "{\"policies\":[{\"id\":\"p\",\"log\":{\"match\":[");
    for (unsigned i = 0; i <= TERO_LIST; i++)
        buf_append_str(&text, i > 0 ? ",{\"x\":1}" : "{\"x\":1}");
    buf_append_str(&text, "]}}]}");
    assert_int_equal(tero_new(&t, buf_span(&text), 1, NULL, &err), 0);
    assert_true(tero_count(t, 0, &c));
    assert_int_equal(c.errors, TERO_ERRORS);
    assert_true(span_eq(tero_error(t, 0, 0), SPAN("log: match: 65 entries: at most 64 are taken")));
    tero_free(t);
    buf_done(&text);
}

/* What takes too many steps matches nothing, and hides what it was to look at. */
static void expressions_that_take_too_long(void **state)
{
    (void)state;
    struct world w;
    char request[512];
    const char *bomb = "(a+)+[0-9]";
    snprintf(request, sizeof request,
             "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{\"stringValue\":"
             "\"1:%0128d\"}}]}]}]}",
             0);
    for (char *q = strstr(request, "1:") + 2; *q == '0'; q++)
        *q = 'a';
    char text[512];
    snprintf(text, sizeof text,
             "{\"policies\":[" LOG("\"match\":[{\"log_field\":\"body\",\"regex\":\"%s\"}],"
                                   "\"keep\":\"none\"") "]}",
             bomb);
    world_init(&w, text);
    world_offer(&w, request);
    assert_int_equal(w.kept, 1);
    world_done(&w);
    snprintf(
        text, sizeof text,
        "{\"policies\":[" TRANSFORM("\"redact\":[{\"log_field\":\"body\",\"regex\":\"%s\"}]") "]}",
        bomb);
    world_init(&w, text);
    world_offer(&w, request);
    assert_int_equal(w.changed, 1);
    assert_null(strstr((char *)w.out.base, "aaa"));
    assert_non_null(strstr((char *)w.out.base, "[REDACTED]"));
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_are_refused),
        cmocka_unit_test(policies_that_are_invalid),
        cmocka_unit_test(an_id_is_of_one_policy),
        cmocka_unit_test(many_policies),
        cmocka_unit_test(many_expressions),
        cmocka_unit_test(deep_and_long),
        cmocka_unit_test(expressions_that_take_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
