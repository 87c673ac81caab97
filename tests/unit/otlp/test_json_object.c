#include "unit/test.h"

#include "otlp/json_object.h"
#include "util/buf.h"
#include "util/err.h"

#define MAX_BYTES 4096

/* Members as "key=kind:value;". */
static bool note(void *arg, const struct json_member *m)
{
    static const char letters[] = {
        [JSON_NULL] = 'n',   [JSON_BOOL] = 'b',   [JSON_INT] = 'i',   [JSON_UINT] = 'u',
        [JSON_DOUBLE] = 'd', [JSON_STRING] = 's', [JSON_ARRAY] = 'a', [JSON_OBJECT] = 'o'};
    struct buf *out = arg;
    buf_append(out, m->key);
    buf_printf(out, "=%c:", letters[m->kind]);
    if (m->kind == JSON_STRING)
        buf_append(out, m->text);
    else if (m->kind == JSON_BOOL || m->kind == JSON_INT || m->kind == JSON_UINT)
        buf_printf(out, m->kind == JSON_INT ? "%lld" : "%llu", (unsigned long long)m->number);
    buf_append_byte(out, ';');
    return m->kind != JSON_NULL; /* a null ends the visit */
}

static void members_come_in_order_and_unescaped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        const char *members;
    } rows[] = {
        {"{}", 0, ""},
        {" {\"a\" : 1 , \"a\":-2}\n", 0, "a=i:1;a=i:-2;"},
        {"{\"\\u00e9\\n\":\"\\ud83d\\ude00\"}", 0, "\xc3\xa9\n=s:\xf0\x9f\x98\x80;"},
        {"{\"t\":true,\"f\":false,\"d\":1.5,\"l\":[1,[2]],\"o\":{\"x\":1}}", 0,
         "t=b:1;f=b:0;d=d:;l=a:;o=o:;"},
        {"{\"u\":18446744073709551615,\"z\":-0}", 0, "u=u:18446744073709551615;z=i:0;"},
        {"{\"stop\":null,\"b\":1}", 0, "stop=n:;"},
        {"", ERR_MALFORMED, ""},
        {"[1]", ERR_MALFORMED, ""},
        {"{\"a\":1,}", ERR_MALFORMED, ""},
        {"{\"a\":{\"b\":tru}}", ERR_MALFORMED, ""},
        {"{\"a\":01}", ERR_MALFORMED, ""},
        {"{\"a\":NaN}", ERR_MALFORMED, ""},
        {"{\"a\":\"\\ud800\"}", ERR_MALFORMED, ""},
        {"{\"a\":\"\xff\"}", ERR_MALFORMED, ""},
        {"{\"a\":18446744073709551616}", ERR_MALFORMED, ""},
        {"{\"a\":1} x", ERR_MALFORMED, ""},
    };
    struct json_object *j;
    struct buf out = {0};
    assert_int_equal(json_object_new(&j, MAX_BYTES), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&out);
        int rc = json_object_visit(j, span_str(rows[i].text), note, &out);
        assert_row(rc == rows[i].rc && span_eq(buf_span(&out), span_str(rows[i].members)),
                   "%s gave %d %.*s", rows[i].text, rc, (int)out.len, (const char *)out.base);
    }
    buf_done(&out);
    json_object_free(j);
}

static bool keep_text(void *arg, const struct json_member *m)
{
    *(struct span *)arg = m->text;
    return true;
}

static void a_member_may_be_visited_in_turn(void **state)
{
    (void)state;
    struct json_object *j;
    struct span inner = {0};
    assert_int_equal(json_object_new(&j, MAX_BYTES), 0);
    struct span outer = SPAN("{\"a\":\"{\\\"b\\\":\\\"{no\\\"}\"}");
    assert_int_equal(json_object_visit(j, outer, keep_text, &inner), 0);
    assert_int_equal(json_object_visit(j, inner, keep_text, &inner), 0);
    assert_true(span_eq(inner, SPAN("{no")));
    assert_int_equal(json_object_visit(j, inner, keep_text, &inner), ERR_MALFORMED);
    json_object_free(j);
    json_object_free(NULL);
}

static void size_and_depth_are_limited(void **state)
{
    (void)state;
    static char text[MAX_BYTES + 1];
    struct json_object *j;
    struct span none = {0};
    assert_int_equal(json_object_new(&j, MAX_BYTES), 0);

    memset(text, ' ', sizeof text);
    memcpy(text, "{}", 2);
    assert_int_equal(json_object_visit(j, span_of(text, MAX_BYTES), keep_text, &none), 0);
    assert_int_equal(json_object_visit(j, span_of(text, MAX_BYTES + 1), keep_text, &none),
                     ERR_TOO_BIG);

    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', 1500);
    memset(text + 1505, ']', 1500);
    text[3005] = '}';
    assert_int_equal(json_object_visit(j, span_of(text, 3006), keep_text, &none), ERR_MALFORMED);
    json_object_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_in_order_and_unescaped),
        cmocka_unit_test(a_member_may_be_visited_in_turn),
        cmocka_unit_test(size_and_depth_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
