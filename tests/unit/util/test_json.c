#include "unit/test.h"

#include "util/json.h"

static void strings_that_are_not_utf8(void **state)
{
    (void)state;
#define BAD "\xef\xbf\xbd"
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain", "\"plain\""},
        {"\xff", "\"" BAD "\""},
        {"a\x80z", "\"a" BAD "z\""},
        {"\xc3", "\"" BAD "\""},
        {"\xc0\xaf", "\"" BAD BAD "\""},
        {"\xe0\x80\x80", "\"" BAD BAD BAD "\""},
        {"\xed\xa0\x80", "\"" BAD BAD BAD "\""},
        {"\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\""},
        {"\xe2\x82\"", "\"" BAD BAD "\\\"\""},
        {"\xe2\x82\xac\xff\xe2\x82\xac", "\"\xe2\x82\xac" BAD "\xe2\x82\xac\""},
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        json_write_string(&out, span_str(rows[i].in));
        assert_row(span_eq(buf_span(&out), span_str(rows[i].out)), "%zu: %.*s", i, (int)out.len,
                   (char *)out.base);
        buf_done(&out);
    }
}

static void is(struct buf *out, const char *text)
{
    assert_int_equal(out->err, 0);
    assert_row(span_eq(buf_span(out), span_str(text)), "%.*s", (int)out->len, (char *)out->base);
    buf_done(out);
}

static void commas_are_where_they_belong(void **state)
{
    (void)state;
    struct buf out = {0};
    struct json j = json_on(&out);
    json_begin(&j, NULL);
    json_end(&j);
    is(&out, "{}");

    j = json_on(&out);
    json_begin(&j, NULL);
    json_begin(&j, "a");
    json_end(&j);
    json_begin_list(&j, "b");
    json_begin(&j, NULL);
    json_u64(&j, "n", UINT64_MAX);
    json_end(&j);
    json_begin_list(&j, NULL);
    json_end_list(&j);
    json_i64(&j, NULL, INT64_MIN);
    json_end_list(&j);
    json_bool(&j, "c", true);
    json_null(&j, "d");
    json_end(&j);
    is(&out, "{\"a\":{},\"b\":[{\"n\":18446744073709551615},[],-9223372036854775808],\"c\":true,"
             "\"d\":null}");
}

static void values_and_keys_of_any_text(void **state)
{
    (void)state;
    struct buf out = {0};
    struct json j = json_on(&out);
    json_begin(&j, NULL);
    json_key(&j, SPAN("a \"b\"\n"));
    json_begin(&j, NULL);
    json_key(&j, SPAN(""));
    json_str(&j, NULL, "\\");
    json_text(&j, "t", SPAN("\x01"));
    json_end(&j);
    json_key(&j, SPAN("\xff"));
    json_printf(&j, NULL, "%.3f", 1.5);
    json_printf(&j, "hex", "\"0x%02x\"", 10);
    buf_append_str(json_value(&j, "own"), "7");
    json_end(&j);
    is(&out, "{\"a \\\"b\\\"\\n\":{\"\":\"\\\\\",\"t\":\"\\u0001\"},\"\xef\xbf\xbd\":1.500,"
             "\"hex\":\"0x0a\",\"own\":7}");
}

static void each_line_begins_anew(void **state)
{
    (void)state;
    struct buf out = {0};
    struct json j = json_on(&out);
    for (uint64_t i = 0; i < 2; i++) {
        json_begin(&j, NULL);
        json_u64(&j, "i", i);
        json_end(&j);
        json_line(&j);
    }
    is(&out, "{\"i\":0}\n{\"i\":1}\n");
}

static void the_first_failure_stays(void **state)
{
    (void)state;
    struct buf out = {.max_bytes = 12};
    struct json j = json_on(&out);
    json_begin_list(&j, NULL);
    json_str(&j, NULL, "longer than that");
    json_u64(&j, NULL, 1);
    json_end_list(&j);
    assert_int_equal(out.err, ERR_TOO_BIG);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_that_are_not_utf8),
        cmocka_unit_test(commas_are_where_they_belong),
        cmocka_unit_test(values_and_keys_of_any_text),
        cmocka_unit_test(each_line_begins_anew),
        cmocka_unit_test(the_first_failure_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
