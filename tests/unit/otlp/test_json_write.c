#include "unit/test.h"

#include "otlp/json.h"
#include "otlp/json_write.h"
#include "otlp/logs.h"
#include "unit/otlp/pb.h"

/* request -> JSON -> request: the same message, packed the one way that
 * protobuf-c packs it. */
static void assert_round_trip(const char *name, struct span request)
{
    struct logs_count n;
    struct error err = {{0}};
    struct buf json = {0}, back = {0}, a = {0}, b = {0};
    assert_row(logs_check(request, &n) == 0, "%s", name);
    assert_row(json_write_logs(&json, request) == 0, "%s", name);
    struct json_decoder *d = json_decoder_new(NULL);
    int rc = json_logs_decode(d, &json, &back, &(struct logs_count){0}, NULL, &err);
    assert_row(rc == 0, "%s: %s: %.*s", name, err.text, (int)json.len, (char *)json.base);
    pb_request *was = pb_unpack(request), *is = pb_unpack(buf_span(&back));
    assert_row(was != NULL && is != NULL, "%s", name);
    pb_pack(&was->base, &a);
    pb_pack(&is->base, &b);
    assert_row(span_eq(buf_span(&a), buf_span(&b)), "%s: %.*s", name, (int)json.len,
               (char *)json.base);
    pb_free(was);
    pb_free(is);
    json_decoder_free(d);
    struct buf *bufs[] = {&json, &back, &a, &b};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
}

static void wrap(struct buf *message, uint32_t number)
{
    struct buf outer = {0};
    wire_append_len(&outer, number, buf_span(message));
    buf_done(message);
    *message = outer;
}

static struct buf request_with(struct span record)
{
    struct buf b = {0};
    buf_append(&b, record);
    wrap(&b, 2);
    wrap(&b, 2);
    wrap(&b, 1);
    return b;
}

static void every_kind_comes_back(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span record;
    } rows[] = {
#define ROW(name, bytes) \
    { \
        name, \
        { \
            (const uint8_t *)(bytes), sizeof(bytes) - 1 \
        } \
    }
        ROW("empty", ""),
        ROW("times", "\x09\xff\xff\xff\xff\xff\xff\xff\xff\x59\x01\x00\x00\x00\x00\x00\x00\x80"),
        ROW("severity", "\x10\x18\x1a\x05"
                        "FATAL"),
        ROW("unknown severity", "\x10\xff\x01"),
        ROW("dropped, 32 bits", "\x38\xff\xff\xff\xff\x0f"),
        ROW("flags, 32 bits", "\x45\xff\xff\xff\xff"),
        ROW("ids",
            "\x4a\x10\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff\x52\x08"
            "abcdefgh"),
        ROW("event", "\x62\x02\xc3\xa9"),
        ROW("string", "\x2a\x04\x0a\x02hi"),
        ROW("empty string", "\x2a\x02\x0a\x00"),
        ROW("no value", "\x2a\x00"),
        ROW("true", "\x2a\x02\x10\x01"),
        ROW("false", "\x2a\x02\x10\x00"),
        ROW("least int", "\x2a\x0b\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
        ROW("2^53 + 1", "\x2a\x09\x18\x81\x80\x80\x80\x80\x80\x80\x10"),
        ROW("double 0.1", "\x2a\x09\x21\x9a\x99\x99\x99\x99\x99\xb9\x3f"),
        ROW("minus zero", "\x2a\x09\x21\x00\x00\x00\x00\x00\x00\x00\x80"),
        ROW("least double", "\x2a\x09\x21\x01\x00\x00\x00\x00\x00\x00\x00"),
        ROW("infinity", "\x2a\x09\x21\x00\x00\x00\x00\x00\x00\xf0\x7f"),
        ROW("minus infinity", "\x2a\x09\x21\x00\x00\x00\x00\x00\x00\xf0\xff"),
        ROW("NaN", "\x2a\x09\x21\x00\x00\x00\x00\x00\x00\xf8\x7f"),
        ROW("bytes 0", "\x2a\x02\x3a\x00"),
        ROW("bytes 1", "\x2a\x03\x3a\x01\xff"),
        ROW("bytes 2", "\x2a\x04\x3a\x02\xff\x00"),
        ROW("bytes 3", "\x2a\x05\x3a\x03\xfb\xef\xbe"),
        ROW("bytes 4", "\x2a\x06\x3a\x04\x00\x01\x02\x03"),
        ROW("list", "\x2a\x0a\x2a\x08\x0a\x02\x18\x01\x0a\x02\x10\x01"),
        ROW("empty list", "\x2a\x02\x2a\x00"),
        ROW("map", "\x2a\x0b\x32\x09\x0a\x07\x0a\x01k\x12\x02\x18\x01"),
        ROW("attributes apart", "\x32\x07\x0a\x01k\x12\x02\x18\x01\x10\x09\x32\x03\x0a\x01l"),
        ROW("severity twice", "\x10\x09\x1a\x01x\x10\x0d"),
        ROW("two members of a value", "\x2a\x06\x0a\x02hi\x18\x05"),
        ROW("the same, other order", "\x2a\x06\x18\x05\x0a\x02hi"),
        ROW("escapes", "\x1a\x15"
                       "\"\\/\b\f\n\r\t\x01\x1f\x7f\xe2\x80\xa8\xf0\x9f\x98\x80\xc2\x85z"),
#undef ROW
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf request = request_with(rows[i].record);
        assert_round_trip(rows[i].name, buf_span(&request));
        buf_done(&request);
    }
}

static void resources_and_scopes(void **state)
{
    (void)state;
    /* Resource with attributes and a count; two scopes apart; schema URLs; twice. */
    static const char one[] = "\x0a\x26"
                              "\x12\x0c\x0a\x04\x0a\x02sc\x12\x02\x10\x01\x1a\x00"
                              "\x0a\x0d\x0a\x09\x0a\x01k\x12\x04\x0a\x02vv\x10\x03"
                              "\x12\x04\x12\x02\x10\x02"
                              "\x1a\x01u";
    struct buf request = {0};
    buf_append(&request, span_of(one, sizeof one - 1));
    buf_append(&request, span_of(one, sizeof one - 1));
    struct buf json = {0};
    assert_int_equal(json_write_logs(&json, buf_span(&request)), 0);
    buf_append_byte(&json, 0);
    assert_string_equal(
        (char *)json.base,
        "{\"resourceLogs\":["
        "{\"scopeLogs\":[{\"scope\":{\"name\":\"sc\"},\"logRecords\":[{\"severityNumber\":1}],"
        "\"schemaUrl\":\"\"},"
        "{\"logRecords\":[{\"severityNumber\":2}]}],"
        "\"resource\":{\"attributes\":[{\"key\":\"k\",\"value\":{\"stringValue\":\"vv\"}}],"
        "\"droppedAttributesCount\":3},\"schemaUrl\":\"u\"},"
        "{\"scopeLogs\":[{\"scope\":{\"name\":\"sc\"},\"logRecords\":[{\"severityNumber\":1}],"
        "\"schemaUrl\":\"\"},"
        "{\"logRecords\":[{\"severityNumber\":2}]}],"
        "\"resource\":{\"attributes\":[{\"key\":\"k\",\"value\":{\"stringValue\":\"vv\"}}],"
        "\"droppedAttributesCount\":3},\"schemaUrl\":\"u\"}]}");
    assert_round_trip("resources", buf_span(&request));
    buf_done(&json);
    buf_done(&request);
    assert_round_trip("empty request", SPAN(""));
}

static void depth_and_memory_are_bounded(void **state)
{
    (void)state;
    for (unsigned lists = 40; lists < 60; lists++) {
        struct buf body = {0}, record = {0}, json = {0};
        struct logs_count n;
        buf_append(&body, SPAN("\x10\x01"));
        for (unsigned i = 0; i < lists; i++) {
            wrap(&body, 1); /* ArrayValue.values */
            wrap(&body, 5); /* AnyValue.array_value */
        }
        wire_append_len(&record, 5, buf_span(&body));
        struct buf request = request_with(buf_span(&record));
        int checked = logs_check(buf_span(&request), &n);
        int written = json_write_logs(&json, buf_span(&request));
        if (checked == 0) /* what may enter can be written */
            assert_row(written == 0, "%u", lists);
        assert_row(lists < 55 || written == ERR_TOO_DEEP, "%u: %d", lists, written);
        struct buf *bufs[] = {&body, &record, &json, &request};
        for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
            buf_done(bufs[i]);
    }
    struct buf request = request_with(SPAN("\x1a\x05hello")), small = {.max_bytes = 40};
    assert_int_equal(json_write_logs(&small, buf_span(&request)), ERR_TOO_BIG);
    buf_done(&small);
    assert_true(json_write_logs(&small, SPAN("\x0f")) < 0);
    buf_done(&small);
    buf_done(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back),
        cmocka_unit_test(resources_and_scopes),
        cmocka_unit_test(depth_and_memory_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
