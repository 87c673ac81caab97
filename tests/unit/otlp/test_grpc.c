#include "unit/test.h"

#include "otlp/grpc.h"

static void messages(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct {
        const char *name;
        struct span body;
        enum grpc_status status;
        bool compressed;
        struct span bytes;
    } rows[] = {
        {"empty message",    SPAN("\0\0\0\0\0"),             GRPC_OK, false, {0}},
        {"message",          SPAN("\0\0\0\0\3abc"),          GRPC_OK, false, SPAN("abc")},
        {"compressed",       SPAN("\1\0\0\0\3abc"),          GRPC_OK, true,  SPAN("abc")},
        {"at the limit",     SPAN("\0\0\0\0\10abcdefgh"),    GRPC_OK, false, SPAN("abcdefgh")},
        {"over the limit",   SPAN("\0\0\0\0\11abcdefghi"),   GRPC_RESOURCE_EXHAUSTED, false, {0}},
        {"over, not here",   SPAN("\0\377\377\377\377"),     GRPC_RESOURCE_EXHAUSTED, false, {0}},
        {"nothing",          {0},                            GRPC_INTERNAL, false, {0}},
        {"half a prefix",    SPAN("\0\0\0"),                 GRPC_INTERNAL, false, {0}},
        {"cut short",        SPAN("\0\0\0\0\3ab"),           GRPC_INTERNAL, false, {0}},
        {"flag 2",           SPAN("\2\0\0\0\3abc"),          GRPC_INTERNAL, false, {0}},
        {"flag 255",         SPAN("\377\0\0\0\0"),           GRPC_INTERNAL, false, {0}},
        {"two messages",     SPAN("\0\0\0\0\1a\0\0\0\0\1b"), GRPC_UNIMPLEMENTED, false, {0}},
        {"a byte too many",  SPAN("\0\0\0\0\1ab"),           GRPC_UNIMPLEMENTED, false, {0}},
    };
    /* clang-format on */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct grpc_message m = {0};
        enum grpc_status status = grpc_message(rows[i].body, 8, &m);
        assert_row(status == rows[i].status, "%s: %d", rows[i].name, (int)status);
        assert_row(m.is_compressed == rows[i].compressed, "%s", rows[i].name);
        assert_row(span_eq(m.bytes, rows[i].bytes), "%s", rows[i].name);
    }
    size_t total = 0;
    assert_int_equal(grpc_prefix(SPAN("\0\0\0\1\2"), 1000, &total), GRPC_OK);
    assert_int_equal(total, 5 + 258);
}

static void trailer_encodings(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct {
        struct span in;
        const char *percent, *base64;
    } rows[] = {
        {SPAN(""),            "",                ""},
        {SPAN("f"),           "f",               "Zg"},
        {SPAN("fo"),          "fo",              "Zm8"},
        {SPAN("foo"),         "foo",             "Zm9v"},
        {SPAN("foob"),        "foob",            "Zm9vYg"},
        {SPAN("100% ~"),      "100%25 ~",        "MTAwJSB+"},
        {SPAN("a\r\n\xc3\xa4"), "a%0D%0A%C3%A4", "YQ0Kw6Q"},
        {SPAN("\xff\x7f\0"),  "%FF%7F%00",       "/38A"},
    };
    /* clang-format on */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        grpc_append_percent(&b, rows[i].in);
        assert_row(span_eq(buf_span(&b), span_str(rows[i].percent)), "%zu: percent", i);
        buf_clear(&b);
        grpc_append_base64(&b, rows[i].in);
        assert_row(span_eq(buf_span(&b), span_str(rows[i].base64)), "%zu: base64", i);
        buf_done(&b);
    }
}

static void content_types(void **state)
{
    (void)state;
    assert_true(grpc_is_content_type(SPAN("application/grpc")));
    assert_true(grpc_is_content_type(SPAN("Application/GRPC+proto")));
    assert_true(grpc_is_content_type(SPAN("application/grpc; a=b")));
    assert_false(grpc_is_content_type(SPAN("application/grpc-web")));
    assert_false(grpc_is_content_type(SPAN("application/json")));
    assert_false(grpc_is_content_type((struct span){0}));
}

static void only_protobuf(void **state)
{
    (void)state;
    assert_true(grpc_is_protobuf(SPAN("application/grpc")));
    assert_true(grpc_is_protobuf(SPAN("application/grpc+PROTO")));
    assert_true(grpc_is_protobuf(SPAN("application/grpc; a=b")));
    assert_false(grpc_is_protobuf(SPAN("application/grpc+json")));
    assert_false(grpc_is_protobuf(SPAN("application/grpc+proto2")));
    assert_false(grpc_is_protobuf(SPAN("application/grpc+")));
}

static void timeouts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint64_t ms;
    } rows[] = {
        {"1H", 0, 3600000},
        {"2M", 0, 120000},
        {"10S", 0, 10000},
        {"9981m", 0, 9981},
        {"99999999H", 0, 359999996400000u},
        {"1500u", 0, 1},
        {"1999999n", 0, 1},
        {"0m", 0, 0},
        {"1n", 0, 0},
        {"00000001S", 0, 1000},
        {"", ERR_MALFORMED, 0},
        {"S", ERR_MALFORMED, 0},
        {"10", ERR_MALFORMED, 0},
        {"123456789S", ERR_MALFORMED, 0},
        {"-1S", ERR_MALFORMED, 0},
        {"1 S", ERR_MALFORMED, 0},
        {"1s", ERR_MALFORMED, 0},
        {"1.5S", ERR_MALFORMED, 0},
        {"1SS", ERR_MALFORMED, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t ms = 0;
        assert_row(grpc_timeout(span_str(rows[i].text), &ms) == rows[i].rc, "'%s'", rows[i].text);
        assert_row(ms == rows[i].ms, "'%s': %llu", rows[i].text, (unsigned long long)ms);
    }
}

static void health(void **state)
{
    (void)state;
    struct span name = SPAN("before");
    uint8_t message[GRPC_HEALTH_BYTES];
    assert_int_equal(grpc_health_service((struct span){0}, &name), 0);
    assert_int_equal(name.len, 0);
    assert_int_equal(grpc_health_service(SPAN("\x10\1\x0a\3abc"), &name), 0);
    assert_true(span_eq(name, SPAN("abc")));
    assert_true(grpc_health_service(SPAN("\x0a\4abc"), &name) < 0);
    assert_true(span_eq(name, SPAN("abc")));
    grpc_health_message(GRPC_HEALTH_NOT_SERVING, message);
    assert_memory_equal(message, "\0\0\0\0\2\x08\2", sizeof message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),      cmocka_unit_test(trailer_encodings),
        cmocka_unit_test(content_types), cmocka_unit_test(only_protobuf),
        cmocka_unit_test(timeouts),      cmocka_unit_test(health),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
