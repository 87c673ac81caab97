#include "unit/test.h"

#include <math.h>
#include <stdlib.h>

#include "otlp/json.h"
#include "otlp/logs.h"
#include "pb.h"

/* Decode into *out, which must be done with afterwards. What is accepted must
 * pass logs_check(), be no longer than the text, and unpack. */
static int decode(struct span text, struct buf *out, struct error *err)
{
    struct json_decoder *d = json_decoder_new(NULL);
    struct buf json = {0};
    struct logs_count count;
    buf_append(&json, text);
    *out = (struct buf){0};
    buf_append(out, SPAN("kept"));
    *err = (struct error){{0}};
    struct logs_count wrote = {0};
    int rc = json_logs_decode(d, &json, out, &wrote, NULL, err);
    assert_true(json.len == text.len && memcmp(out->base, "kept", 4) == 0);
    if (rc == 0) {
        buf_consume(out, 4);
        assert_int_equal(logs_check(buf_span(out), &count), 0);
        assert_true(wrote.resources == count.resources && wrote.scopes == count.scopes &&
                    wrote.records == count.records && wrote.largest == count.largest &&
                    wrote.record_bytes == count.record_bytes);
        assert_true(out->len <= text.len);
        assert_int_equal(err->text[0], '\0');
    } else {
        assert_int_equal(out->len, 4);
        assert_true(strncmp(err->text, "JSON ", 5) == 0);
    }
    buf_done(&json);
    json_decoder_free(d);
    return rc;
}

static int decode_text(const char *text)
{
    struct buf out;
    struct error err;
    int rc = decode(span_str(text), &out, &err);
    buf_done(&out);
    return rc;
}

/* The pattern with `value` in place of its %s. */
static void fill(char *to, size_t size, const char *pattern, const char *value)
{
    const char *gap = strstr(pattern, "%s");
    assert_non_null(gap);
    snprintf(to, size, "%.*s%s%s", (int)(gap - pattern), pattern, value, gap + 2);
}

/* A request around the text of one record, or of what is in one. */
static const char *around(const char *pattern, const char *inner)
{
    static char text[4096];
    char record[2048];
    fill(record, sizeof record, pattern, inner);
    snprintf(text, sizeof text, "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[%s]}]}]}",
             record);
    return text;
}

/* ---- every field, against protobuf-c ---- */

static const char everything[] =
    "{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"
    "{\"stringValue\":\"shop\"}}],\"droppedAttributesCount\":4},\"scopeLogs\":[{\"scope\":{"
    "\"name\":"
    "\"lib\",\"version\":\"1.2\",\"attributes\":[{\"key\":\"k\",\"value\":{}}],"
    "\"droppedAttributesCount\":5},\"logRecords\":[{\"timeUnixNano\":\"1732183891000000001\","
    "\"severityNumber\":13,\"severityText\":\"WARN\",\"body\":{\"stringValue\":\"h\\u00e9llo "
    "\\ud83d\\ude00"
    "\\n\"},\"attributes\":[{\"key\":\"b\",\"value\":{\"boolValue\":true}},{\"key\":\"i\","
    "\"value\":"
    "{\"intValue\":\"-9223372036854775808\"}},{\"key\":\"n\",\"value\":{\"intValue\":"
    "9007199254740993}},"
    "{\"key\":\"d\",\"value\":{\"doubleValue\":0.1}},{\"key\":\"a\",\"value\":{\"arrayValue\":{"
    "\"values\":"
    "[{\"stringValue\":\"x\"},{\"arrayValue\":{\"values\":[]}},{}]}}},{\"key\":\"m\",\"value\":"
    "{\"kvlistValue\":{\"values\":[{\"key\":\"in\",\"value\":{\"bytesValue\":\"_-8=\"}}]}}}],"
    "\"droppedAttributesCount\":6,\"flags\":257,\"traceId\":\"5B8EFFF798038103d269b633813fc60c\","
    "\"spanId\":\"eee19b7ec3c1b174\",\"observedTimeUnixNano\":1732183891000000002,"
    "\"eventName\":\"ev\"}],\"schemaUrl\":\"s\"}],\"schemaUrl\":\"r\"}]}";

static void every_field_arrives(void **state)
{
    static const uint8_t trace_id[] = {0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03,
                                       0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c};
    struct buf out, again = {0};
    struct error err;
    (void)state;
    int rc = decode(span_str(everything), &out, &err);
    assert_row(rc == 0, "%s", err.text);
    pb_request *q = pb_unpack(buf_span(&out));
    assert_non_null(q);
    const pb_resource_logs *rl = q->resource_logs[0];
    const pb_scope_logs *sl = rl->scope_logs[0];
    const pb_record *r = sl->log_records[0];

    assert_string_equal(rl->resource->attributes[0]->key, "service.name");
    assert_string_equal(rl->resource->attributes[0]->value->string_value, "shop");
    assert_int_equal(rl->resource->dropped_attributes_count, 4);
    assert_string_equal(rl->schema_url, "r");
    assert_string_equal(sl->schema_url, "s");
    assert_string_equal(sl->scope->name, "lib");
    assert_string_equal(sl->scope->version, "1.2");
    assert_int_equal(sl->scope->attributes[0]->value->value_case, 0);
    assert_int_equal(sl->scope->dropped_attributes_count, 5);

    assert_true(r->time_unix_nano == 1732183891000000001u);
    assert_true(r->observed_time_unix_nano == 1732183891000000002u);
    assert_int_equal(r->severity_number, 13);
    assert_string_equal(r->severity_text, "WARN");
    assert_string_equal(r->body->string_value, "h\xc3\xa9llo \xf0\x9f\x98\x80\n");
    assert_int_equal(r->n_attributes, 6);
    assert_true(r->attributes[0]->value->bool_value);
    assert_true(r->attributes[1]->value->int_value == INT64_MIN);
    assert_true(r->attributes[2]->value->int_value == 9007199254740993);
    assert_true(r->attributes[3]->value->double_value == 0.1);
    assert_int_equal(r->attributes[4]->value->array_value->n_values, 3);
    assert_int_equal(r->attributes[4]->value->array_value->values[2]->value_case, 0);
    const pb_key_value *in = r->attributes[5]->value->kvlist_value->values[0];
    assert_int_equal(in->value->bytes_value.len, 2);
    assert_memory_equal(in->value->bytes_value.data, "\xff\xef", 2);
    assert_int_equal(r->dropped_attributes_count, 6);
    assert_int_equal(r->flags, 257);
    assert_int_equal(r->trace_id.len, 16);
    assert_memory_equal(r->trace_id.data, trace_id, 16);
    assert_int_equal(r->span_id.len, 8);
    assert_string_equal(r->event_name, "ev");

    /* protobuf-c packs the same bytes but for the order of two fields */
    pb_pack(&q->base, &again);
    assert_int_equal(again.len, out.len);
    pb_free(q);
    buf_done(&out);
    buf_done(&again);
}

/* Records of all sizes around the edges of the length of the length. */
static void lengths_are_minimal(void **state)
{
    static char text[80000], inner[70000];
    static const size_t sizes[] = {0,     1,     100,   119,   120,   121,   122,   123,
                                   124,   125,   126,   127,   128,   129,   130,   250,
                                   16370, 16371, 16375, 16380, 16383, 16384, 16390, 65000};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf out, packed = {0};
        struct error err;
        memset(inner, 'x', sizes[i]);
        inner[sizes[i]] = '\0';
        snprintf(
            text, sizeof text,
            "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"severityText\":\"a\",\"body\":"
            "{\"arrayValue\":{\"values\":[{\"stringValue\":\"%s\"}]}}}]}]}]}",
            inner);
        assert_int_equal(decode(span_str(text), &out, &err), 0);
        pb_request *q = pb_unpack(buf_span(&out));
        assert_non_null(q);
        pb_pack(&q->base, &packed);
        assert_row(span_eq(buf_span(&out), buf_span(&packed)), "%zu bytes", sizes[i]);
        pb_free(q);
        buf_done(&out);
        buf_done(&packed);
    }
}

/* ---- wrong types, at every field ---- */

enum { NUM = 1, TXT = 2, BOOLEAN = 4, OBJ = 8, ARR = 16 };

static void a_wrong_type_at_any_field_is_refused(void **state)
{
    static const struct {
        const char *pattern; /* %s: the value */
        unsigned takes;
    } fields[] = {
        {"{\"resourceLogs\":%s}", ARR},
        {"{\"resourceLogs\":[%s]}", OBJ},
        {"{\"resourceLogs\":[{\"resource\":%s}]}", OBJ},
        {"{\"resourceLogs\":[{\"scopeLogs\":%s}]}", ARR},
        {"{\"resourceLogs\":[{\"schemaUrl\":%s}]}", TXT},
        {"{\"resourceLogs\":[{\"resource\":{\"attributes\":%s}}]}", ARR},
        {"{\"resourceLogs\":[{\"resource\":{\"attributes\":[%s]}}]}", OBJ},
        {"{\"resourceLogs\":[{\"resource\":{\"droppedAttributesCount\":%s}}]}", NUM},
        {"{\"resourceLogs\":[{\"resource\":{\"entityRefs\":%s}}]}", ARR},
        {"{\"resourceLogs\":[{\"resource\":{\"entityRefs\":[{\"type\":%s}]}}]}", TXT},
        {"{\"resourceLogs\":[{\"resource\":{\"entityRefs\":[{\"idKeys\":%s}]}}]}", ARR},
        {"{\"resourceLogs\":[{\"resource\":{\"entityRefs\":[{\"idKeys\":[%s]}]}}]}", TXT},
        {"{\"resourceLogs\":[{\"scopeLogs\":[%s]}]}", OBJ},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"scope\":%s}]}]}", OBJ},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"schemaUrl\":%s}]}]}", TXT},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":%s}]}]}", ARR},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[%s]}]}]}", OBJ},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"scope\":{\"name\":%s}}]}]}", TXT},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"scope\":{\"version\":%s}}]}]}", TXT},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"scope\":{\"attributes\":%s}}]}]}", ARR},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"scope\":{\"droppedAttributesCount\":%s}}]}]}", NUM},
#define RECORD(inner) "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{" inner "}]}]}]}"
        {RECORD("\"timeUnixNano\":%s"), NUM},
        {RECORD("\"observedTimeUnixNano\":%s"), NUM},
        {RECORD("\"severityNumber\":%s"), NUM},
        {RECORD("\"severityText\":%s"), TXT},
        {RECORD("\"body\":%s"), OBJ},
        {RECORD("\"attributes\":%s"), ARR},
        {RECORD("\"attributes\":[%s]"), OBJ},
        {RECORD("\"attributes\":[{\"key\":%s}]"), TXT},
        {RECORD("\"attributes\":[{\"value\":%s}]"), OBJ},
        {RECORD("\"droppedAttributesCount\":%s"), NUM},
        {RECORD("\"flags\":%s"), NUM},
        {RECORD("\"traceId\":%s"), TXT},
        {RECORD("\"spanId\":%s"), TXT},
        {RECORD("\"eventName\":%s"), TXT},
        {RECORD("\"body\":{\"stringValue\":%s}"), TXT},
        {RECORD("\"body\":{\"boolValue\":%s}"), BOOLEAN},
        {RECORD("\"body\":{\"intValue\":%s}"), NUM},
        {RECORD("\"body\":{\"doubleValue\":%s}"), NUM},
        {RECORD("\"body\":{\"bytesValue\":%s}"), TXT},
        {RECORD("\"body\":{\"arrayValue\":%s}"), OBJ},
        {RECORD("\"body\":{\"arrayValue\":{\"values\":%s}}"), ARR},
        {RECORD("\"body\":{\"arrayValue\":{\"values\":[%s]}}"), OBJ},
        {RECORD("\"body\":{\"kvlistValue\":%s}"), OBJ},
        {RECORD("\"body\":{\"kvlistValue\":{\"values\":%s}}"), ARR},
        {RECORD("\"body\":{\"kvlistValue\":{\"values\":[%s]}}"), OBJ},
        {RECORD("\"body\":{\"kvlistValue\":{\"values\":[{\"key\":%s}]}}"), TXT},
#undef RECORD
    };
    static const struct {
        const char *text;
        unsigned type; /* 0: null, which is the default but in lists */
    } values[] = {
        {"7", NUM},     {"\"abcd\"", TXT},    {"true", BOOLEAN}, {"false", BOOLEAN},
        {"{}", OBJ},    {"[]", ARR},          {"null", 0},       {"1.5", 0x40},
        {"[[]]", 0x80}, {"{\"x\":[1]}", OBJ}, {"truer", 0x80},   {"nul", 0x80},
        {"\"a", 0x80},  {"", 0x80},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        bool in_list = strstr(fields[i].pattern, "[%s]") != NULL;
        bool is_double = strstr(fields[i].pattern, "doubleValue") != NULL;
        for (size_t j = 0; j < ARRAY_LEN(values); j++) {
            char text[512];
            fill(text, sizeof text, fields[i].pattern, values[j].text);
            bool fits = (fields[i].takes & values[j].type) != 0;
            if (values[j].type == 0)
                fits = !in_list;
            if (values[j].type == 0x40)
                fits = is_double;
            if (values[j].text[0] == '\0')
                fits = in_list; /* an empty list */
            int rc = decode_text(text);
            assert_row(fits ? rc == 0 : rc == ERR_MALFORMED, "%s gave %d", text, rc);
        }
    }
}

static void values_in_and_out_of_range(void **state)
{
    static const struct {
        const char *pattern, *value;
        int rc;
    } rows[] = {
        {"{\"timeUnixNano\":%s}", "18446744073709551615", 0},
        {"{\"timeUnixNano\":%s}", "\"18446744073709551615\"", 0},
        {"{\"timeUnixNano\":%s}", "\"18446744073709551616\"", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "18446744073709551616", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "-1", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "\"-1\"", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "\"\"", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "\" 1\"", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "\"1x\"", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "\"+1\"", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "1e3", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "01", ERR_MALFORMED},
        {"{\"timeUnixNano\":%s}", "\"\\u0031\"", 0},
        {"{\"severityNumber\":%s}", "2147483647", 0},
        {"{\"severityNumber\":%s}", "2147483648", ERR_MALFORMED},
        {"{\"severityNumber\":%s}", "\"SEVERITY_NUMBER_INFO\"", 0},
        {"{\"severityNumber\":%s}", "\"SEVERITY_NUMBER_INFO5\"", ERR_MALFORMED},
        {"{\"severityNumber\":%s}", "\"SEVERITY_NUMBER_\"", ERR_MALFORMED},
        {"{\"severityNumber\":%s}", "\"INFO\"", ERR_MALFORMED},
        {"{\"flags\":%s}", "4294967295", 0},
        {"{\"flags\":%s}", "4294967296", ERR_MALFORMED},
        {"{\"droppedAttributesCount\":%s}", "4294967296", ERR_MALFORMED},
        {"{\"body\":{\"intValue\":%s}}", "9223372036854775807", 0},
        {"{\"body\":{\"intValue\":%s}}", "9223372036854775808", ERR_MALFORMED},
        {"{\"body\":{\"intValue\":%s}}", "-9223372036854775808", 0},
        {"{\"body\":{\"intValue\":%s}}", "\"-9223372036854775809\"", ERR_MALFORMED},
        {"{\"body\":{\"doubleValue\":%s}}", "1e308", 0},
        {"{\"body\":{\"doubleValue\":%s}}", "1e400", ERR_MALFORMED},
        {"{\"body\":{\"doubleValue\":%s}}", "-1e400", ERR_MALFORMED},
        {"{\"body\":{\"doubleValue\":%s}}", "-0", 0},
        {"{\"body\":{\"doubleValue\":%s}}", "\"NaN\"", 0},
        {"{\"body\":{\"doubleValue\":%s}}", "\"Infinity\"", 0},
        {"{\"body\":{\"doubleValue\":%s}}", "\"-Infinity\"", 0},
        {"{\"body\":{\"doubleValue\":%s}}", "\"1.5\"", 0},
        {"{\"body\":{\"doubleValue\":%s}}", "\"infinity\"", ERR_MALFORMED},
        {"{\"body\":{\"doubleValue\":%s}}", "\"\"", ERR_MALFORMED},
        {"{\"body\":{\"doubleValue\":%s}}", "NaN", ERR_MALFORMED},
        {"{\"body\":{\"doubleValue\":%s}}", "Infinity", ERR_MALFORMED},
        {"{\"body\":{\"bytesValue\":%s}}", "\"AA==\"", 0},
        {"{\"body\":{\"bytesValue\":%s}}", "\"AA\"", 0},
        {"{\"body\":{\"bytesValue\":%s}}", "\"-_+/\"", 0},
        {"{\"body\":{\"bytesValue\":%s}}", "\"\"", 0},
        {"{\"body\":{\"bytesValue\":%s}}", "\"A\"", ERR_MALFORMED},
        {"{\"body\":{\"bytesValue\":%s}}", "\"AA=\"", ERR_MALFORMED},
        {"{\"body\":{\"bytesValue\":%s}}", "\"A===\"", ERR_MALFORMED},
        {"{\"body\":{\"bytesValue\":%s}}", "\"====\"", ERR_MALFORMED},
        {"{\"body\":{\"bytesValue\":%s}}", "\"A A=\"", ERR_MALFORMED},
        {"{\"traceId\":%s}", "\"\"", 0},
        {"{\"traceId\":%s}", "\"aB\"", 0},
        {"{\"traceId\":%s}", "\"abc\"", ERR_MALFORMED},
        {"{\"traceId\":%s}", "\"ag\"", ERR_MALFORMED},
        {"{\"traceId\":%s}", "\"@A\"", ERR_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int rc = decode_text(around(rows[i].pattern, rows[i].value));
        assert_row(rc == rows[i].rc, "%s with %s gave %d", rows[i].pattern, rows[i].value, rc);
    }
}

static void special_doubles_arrive(void **state)
{
    static const struct {
        const char *text;
        double value;
    } rows[] = {{"\"Infinity\"", INFINITY},
                {"\"-Infinity\"", -INFINITY},
                {"\"NaN\"", NAN},
                {"\"-2.5e3\"", -2500},
                {"7", 7}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        struct error err;
        assert_int_equal(
            decode(span_str(around("{\"body\":{\"doubleValue\":%s}}", rows[i].text)), &out, &err),
            0);
        pb_request *q = pb_unpack(buf_span(&out));
        double got = q->resource_logs[0]->scope_logs[0]->log_records[0]->body->double_value;
        assert_row(isnan(rows[i].value) ? isnan(got) : got == rows[i].value, "%s", rows[i].text);
        pb_free(q);
        buf_done(&out);
    }
}

/* What is matched byte by byte and what the parser reads say the same, of the sound and of the
 * others: a blank makes the difference. */
static void spaces_change_nothing(void **state)
{
    static const char *const values[] = {
        "\"intValue\":7",
        "\"intValue\":\"7\"",
        "\"intValue\":-1",
        "\"intValue\":\"-1\"",
        "\"intValue\":0",
        "\"intValue\":-0",
        "\"intValue\":\"007\"",
        "\"intValue\":007",
        "\"intValue\":\"\"",
        "\"intValue\":",
        "\"intValue\":-",
        "\"intValue\":7.0",
        "\"intValue\":7e2",
        "\"intValue\":\"7",
        "\"intValue\":7\"",
        "\"intValue\":999999999999999999",
        "\"intValue\":9999999999999999999",
        "\"intValue\":9223372036854775807",
        "\"intValue\":\"-9223372036854775808\"",
        "\"intValue\":9223372036854775808",
        "\"intValue\":7,\"intValue\":8",
        "\"intValue\":null",
        "\"doubleValue\":0.5",
        "\"doubleValue\":-0",
        "\"doubleValue\":1e999",
        "\"doubleValue\":1e-999",
        "\"doubleValue\":64.77096887837587",
        "\"doubleValue\":0.1000000000000000055511151231257827",
        "\"doubleValue\":1.",
        "\"doubleValue\":.5",
        "\"doubleValue\":01",
        "\"doubleValue\":\"0.5\"",
        "\"doubleValue\":\"NaN\"",
        "\"doubleValue\":inf",
        "\"doubleValue\":",
        "\"boolValue\":true",
        "\"stringValue\":\"\"",
        "\"stringValue\":\"a\\\"b\"",
        "\"stringValue\":\"a\\\\\"",
        "\"stringValue\":\"a",
        "\"stringValue\":7",
        "\"stringValue\":\"a\",\"stringValue\":\"b\"",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct buf plain, spaced;
        struct error err;
        char pattern[256];
        int rc =
            decode(span_str(around("{\"attributes\":[{\"key\":\"k\",\"value\":{%s}}]}", values[i])),
                   &plain, &err);
        fill(pattern, sizeof pattern, "{\"attributes\":[{ \"key\":\"k\",\"value\":{%s}}]}",
             values[i]);
        int other = decode(span_str(around("%s", pattern)), &spaced, &err);
        assert_row(rc == other, "%s: %d and %d", values[i], rc, other);
        assert_row(span_eq(buf_span(&plain), buf_span(&spaced)), "%s", values[i]);
        buf_done(&plain);
        buf_done(&spaced);
    }
}

/* ---- the grammar, in the manner of JSONTestSuite ---- */

static void documents_are_json_or_not(void **state)
{
    static const struct {
        struct span text;
        int rc;
    } rows[] = {
        /* y_ */
        {SPAN("{}"), 0},
        {SPAN(" \t\r\n{ } \n"), 0},
        {SPAN("\xef\xbb\xbf{}"), 0},
        {SPAN("{\"resourceLogs\":[]}"), 0},
        {SPAN("{\"resourceLogs\":null}"), 0},
        {SPAN("{\"resource_log\":7}"), 0},
        {SPAN("{\"x\":[1,-0,0.5,1E+2,\"\",[],{},true,false,null,[[{\"y\":[]}]]]}"), 0},
        {SPAN("{\"\":0}"), 0},
        {SPAN("{\"x\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD834\\uDD1E\"}"), 0},
        {SPAN("{\"x\":\"\x7f\xc2\x80\xf4\x8f\xbf\xbf\"}"), 0},
        {SPAN("{\"x\":1,\"x\":2}"), 0},
        {SPAN("{\"re\\u0073ourceLogs\":[{}]}"), 0},
        {SPAN("{\"x\":123123123123123123123123123123}"), 0},
        /* n_ */
        {SPAN(""), ERR_MALFORMED},
        {SPAN(" "), ERR_MALFORMED},
        {SPAN("\xef\xbb\xbf"), ERR_MALFORMED},
        {SPAN("["), ERR_MALFORMED},
        {SPAN("{"), ERR_MALFORMED},
        {SPAN("}"), ERR_MALFORMED},
        {SPAN("[]"), ERR_MALFORMED},
        {SPAN("null"), ERR_MALFORMED},
        {SPAN("7"), ERR_MALFORMED},
        {SPAN("\"x\""), ERR_MALFORMED},
        {SPAN("{}{}"), ERR_MALFORMED},
        {SPAN("{} {}"), ERR_MALFORMED},
        {SPAN("{}x"), ERR_MALFORMED},
        {SPAN("{}}"), ERR_MALFORMED},
        {SPAN("{\"x\"}"), ERR_MALFORMED},
        {SPAN("{\"x\":}"), ERR_MALFORMED},
        {SPAN("{\"x\" 1}"), ERR_MALFORMED},
        {SPAN("{\"x\"::1}"), ERR_MALFORMED},
        {SPAN("{\"x\":1,}"), ERR_MALFORMED},
        {SPAN("{,\"x\":1}"), ERR_MALFORMED},
        {SPAN("{\"x\":1 \"y\":2}"), ERR_MALFORMED},
        {SPAN("{x:1}"), ERR_MALFORMED},
        {SPAN("{'x':1}"), ERR_MALFORMED},
        {SPAN("{1:1}"), ERR_MALFORMED},
        {SPAN("{\"x\":[1,]}"), ERR_MALFORMED},
        {SPAN("{\"x\":[,1]}"), ERR_MALFORMED},
        {SPAN("{\"x\":[1 2]}"), ERR_MALFORMED},
        {SPAN("{\"x\":[1}"), ERR_MALFORMED},
        {SPAN("{\"x\":[1}]"), ERR_MALFORMED},
        {SPAN("{\"x\":{\"y\":1]}"), ERR_MALFORMED},
        {SPAN("{\"x\":{\"y\":1}"), ERR_MALFORMED},
        {SPAN("{\"x\":01}"), ERR_MALFORMED},
        {SPAN("{\"x\":-}"), ERR_MALFORMED},
        {SPAN("{\"x\":-01}"), ERR_MALFORMED},
        {SPAN("{\"x\":+1}"), ERR_MALFORMED},
        {SPAN("{\"x\":.5}"), ERR_MALFORMED},
        {SPAN("{\"x\":1.}"), ERR_MALFORMED},
        {SPAN("{\"x\":1e}"), ERR_MALFORMED},
        {SPAN("{\"x\":1e+}"), ERR_MALFORMED},
        {SPAN("{\"x\":0x1}"), ERR_MALFORMED},
        {SPAN("{\"x\":1x}"), ERR_MALFORMED},
        {SPAN("{\"x\":NaN}"), ERR_MALFORMED},
        {SPAN("{\"x\":-Infinity}"), ERR_MALFORMED},
        {SPAN("{\"x\":1e400}"), ERR_MALFORMED},
        {SPAN("{\"x\":tru}"), ERR_MALFORMED},
        {SPAN("{\"x\":True}"), ERR_MALFORMED},
        {SPAN("{\"x\":nulll}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"a\"b}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"a\"\"b\"}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"a}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"\\x\"}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"\\u12\"}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"\\u12g4\"}"), ERR_MALFORMED},
        {SPAN("{\"\\x\":1}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"a\nb\"}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"a\0b\"}"), ERR_MALFORMED},
        {SPAN("{\"x\":1}\0"), ERR_MALFORMED},
        {SPAN("{\"x\":1/**/}"), ERR_MALFORMED},
        {SPAN("{\"x\":1}//"), ERR_MALFORMED},
        {SPAN("{\"x\":\"\xff\"}"), ERR_UTF8},
        {SPAN("{\"x\":\"\xed\xa0\x80\"}"), ERR_UTF8},
        {SPAN("{\"\xc0\x80\":1}"), ERR_UTF8},
        {SPAN("\xff\xfe{\0}\0"), ERR_UTF8},
        /* lone surrogates, wherever a string may be */
        {SPAN("{\"x\":\"\\ud800\"}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"\\ud800x\"}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"\\ud800\\u0041\"}"), ERR_MALFORMED},
        {SPAN("{\"x\":\"\\udc00\"}"), ERR_UTF8},
        {SPAN("{\"\\udc00\":1}"), ERR_UTF8},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        struct error err;
        int rc = decode(rows[i].text, &out, &err);
        /* which of the two a surrogate is depends on the version of simdjson */
        bool refused = rows[i].rc != 0 && (rc == ERR_MALFORMED || rc == ERR_UTF8);
        assert_row(rows[i].rc == 0 ? rc == 0 : refused, "%.*s gave %d", (int)rows[i].text.len,
                   (const char *)rows[i].text.base, rc);
        buf_done(&out);
    }
}

static void every_cut_of_a_document_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof everything - 1; len++) {
        struct buf out;
        struct error err;
        int rc = decode((struct span){(const uint8_t *)everything, len}, &out, &err);
        assert_row(rc < 0, "%zu bytes", len);
        buf_done(&out);
    }
}

/* ---- nesting ---- */

static int decode_nested(const char *before, const char *open, const char *close, const char *after,
                         unsigned n)
{
    struct buf text = {0}, out;
    struct error err;
    buf_append_str(&text, before);
    for (unsigned i = 0; i < n; i++)
        buf_append_str(&text, open);
    for (unsigned i = 0; i < n; i++)
        buf_append_str(&text, close);
    buf_append_str(&text, after);
    int rc = decode(buf_span(&text), &out, &err);
    buf_done(&text);
    buf_done(&out);
    return rc;
}

static void nesting_has_an_end(void **state)
{
    static const struct {
        const char *before, *open, *close, *after;
        unsigned deepest;
    } rows[] = {
        {"{\"x\":", "[", "]", "}", LOGS_MAX_DEPTH},
        {"{\"x\":0", ",\"x\":{\"x\":0", "}", "}", LOGS_MAX_DEPTH},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{",
         "\"arrayValue\":{\"values\":[{", "}]}", "}}]}]}]}", 48},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{",
         "\"kvlistValue\":{\"values\":[{\"value\":{", "}}]}", "}}]}]}]}", 32},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        static const struct {
            unsigned more;
            int rc;
        } depths[] = {{0, 0}, {1, ERR_TOO_DEEP}, {5000, ERR_TOO_DEEP}};
        for (size_t j = 0; j < ARRAY_LEN(depths); j++) {
            int rc = decode_nested(rows[i].before, rows[i].open, rows[i].close, rows[i].after,
                                   rows[i].deepest + depths[j].more);
            assert_row(rc == depths[j].rc, "row %zu, %u deeper, gave %d", i, depths[j].more, rc);
        }
    }
    assert_true(decode_nested("", "[", "", "", 100000) < 0);
    assert_true(decode_nested("{\"x\":", "[", "", "", 100000) < 0);
    assert_true(decode_nested("{\"x\":", "{\"x\":", "", "", 100000) < 0);
}

/* ---- the rest of the contract ---- */

static void the_last_value_of_a_key_wins(void **state)
{
    struct buf out;
    struct error err;
    (void)state;
    const char *text =
        around("{%s}", "\"severityNumber\":5,\"severityNumber\":17,\"severityNumber\":null,"
                       "\"body\":{\"stringValue\":\"a\",\"intValue\":3},"
                       "\"sever\\u0069tyText\":\"E\",\"unknown\":{\"body\":1}");
    assert_int_equal(decode(span_str(text), &out, &err), 0);
    pb_request *q = pb_unpack(buf_span(&out));
    const pb_record *r = q->resource_logs[0]->scope_logs[0]->log_records[0];
    assert_int_equal(r->severity_number, 17);
    assert_string_equal(r->severity_text, "E");
    assert_int_equal(r->body->value_case, PB_ANY(INT_VALUE));
    pb_free(q);
    buf_done(&out);
}

/* As the .proto files spell the keys, which proto3 JSON allows as well. */
static void keys_with_underscores_are_the_same(void **state)
{
    (void)state;
    char spelt[2 * sizeof everything];
    size_t n = 0;
    bool in_key = false;
    for (const char *c = everything; *c != '\0'; c++) {
        if (c[0] == '"')
            in_key = !in_key && (c[-1] == '{' || c[-1] == ',');
        if (in_key && *c >= 'A' && *c <= 'Z') {
            spelt[n++] = '_';
            spelt[n++] = (char)(*c - 'A' + 'a');
        } else {
            spelt[n++] = *c;
        }
    }
    spelt[n] = '\0';
    assert_non_null(strstr(spelt, "\"dropped_attributes_count\""));
    assert_non_null(strstr(spelt, "\"observed_time_unix_nano\""));
    assert_null(strstr(spelt, "logRecords"));
    struct buf a, b;
    struct error err;
    assert_int_equal(decode(span_str(everything), &a, &err), 0);
    assert_int_equal(decode(span_str(spelt), &b, &err), 0);
    assert_true(span_eq(buf_span(&a), buf_span(&b)));
    buf_done(&a);
    buf_done(&b);
}

static void severities_by_name(void **state)
{
    (void)state;
    static const char *const levels[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
    for (int number = 0; number <= 24; number++) {
        char name[64], text[64];
        struct buf a, b;
        struct error err;
        if (number == 0)
            snprintf(name, sizeof name, "\"SEVERITY_NUMBER_UNSPECIFIED\"");
        else if (number % 4 == 1)
            snprintf(name, sizeof name, "\"SEVERITY_NUMBER_%s\"", levels[number / 4]);
        else
            snprintf(name, sizeof name, "\"SEVERITY_NUMBER_%s%d\"", levels[(number - 1) / 4],
                     (number - 1) % 4 + 1);
        snprintf(text, sizeof text, "%d", number);
        assert_int_equal(decode(span_str(around("{\"severityNumber\":%s}", name)), &a, &err), 0);
        assert_int_equal(decode(span_str(around("{\"severityNumber\":%s}", text)), &b, &err), 0);
        assert_row(span_eq(buf_span(&a), buf_span(&b)), "%s", name);
        buf_done(&a);
        buf_done(&b);
    }
}

static void what_is_not_otlp_is_counted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t foreign;
    } rows[] = {
        {"{}", 0},
        {"{\"resourceLogs\":[]}", 0},
        {"{\"resource_logs\":[]}", 0},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"x\":1}]}]}]}", 0},
        {"{\"level\":30,\"msg\":\"hello\"}", 2},
        {"{\"resourceLog\":[]}", 1},
        {"{\"resourceSpans\":[{\"scopeSpans\":[]}]}", 1},
        {"{\"resourceLogs\":[{\"scopeLog\":[]}]}", 1},
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"logs\":[]}]}]}", 1},
        {"{\"resourceLogs\":[{\"instrumentationLibraryLogs\":[{\"logs\":[]}]}]}", 1},
        {"{\"\\u0072esourceLogs\":[]}", 0},
        {"{\"_\":1,\"__a\":2,\"a_\":3,\"a_b_c_d_e_f_g_h_i_j_k_l_m_n_o_p_q_r_s_t_u_v_w_x_y\":4}", 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_decoder *d = json_decoder_new(NULL);
        struct buf json = {0}, out = {0};
        struct logs_count count;
        struct error err;
        buf_append_str(&json, rows[i].text);
        assert_row(json_logs_decode(d, &json, &out, &count, NULL, &err) == 0, "%s", rows[i].text);
        assert_row(count.foreign == rows[i].foreign, "%s: %u", rows[i].text, count.foreign);
        buf_done(&json);
        buf_done(&out);
        json_decoder_free(d);
    }
}

static void messages_say_where_and_what(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"severityNumber\":\"INFO\"}]}]}]}",
         "JSON at byte 64, resourceLogs.scopeLogs.logRecords.severityNumber: "
         "an integer in range is expected here"},
        {"{\"resourceLogs\":7}",
         "JSON at byte 16, resourceLogs: a value of another type is expected here"},
        {"{} {}", "JSON at byte 3: something follows the JSON document"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        struct error err;
        assert_true(decode(span_str(rows[i].text), &out, &err) < 0);
        assert_row(strcmp(err.text, rows[i].message) == 0, "%s", err.text);
        buf_done(&out);
    }
}

static void limits_and_budget_are_kept(void **state)
{
    struct budget budget;
    struct error err;
    struct buf json = {0}, out = {.max_bytes = sizeof everything + JSON_PADDING_BYTES - 2};
    (void)state;
    budget_init(&budget, 100); /* less than the text: there will never be room */
    struct json_decoder *d = json_decoder_new(&budget);
    buf_append(&json, span_str(everything));
    assert_int_equal(json_logs_decode(d, &json, &out, &(struct logs_count){0}, NULL, &err),
                     ERR_TOO_BIG);
    assert_int_equal(out.err, 0);
    out.max_bytes++;
    assert_int_equal(json_logs_decode(d, &json, &out, &(struct logs_count){0}, NULL, &err),
                     ERR_TOO_BIG);
    budget.limit = sizeof everything; /* once there would be room, now there is not */
    assert_int_equal(budget_take(&budget, 2), 0);
    assert_int_equal(json_logs_decode(d, &json, &out, &(struct logs_count){0}, NULL, &err),
                     ERR_FULL);
    budget_give(&budget, 2);
    for (int i = 0; i < 3; i++) { /* a decoder is used again and again */
        buf_clear(&out);
        assert_int_equal(json_logs_decode(d, &json, &out, &(struct logs_count){0}, NULL, &err), 0);
        assert_int_equal(budget.used, 0);
    }
    buf_done(&json);
    buf_done(&out);
    json_decoder_free(d);
    json_decoder_free(NULL);
}

static void a_long_text_follows_a_short_one(void **state)
{
    struct json_decoder *d = json_decoder_new(NULL);
    struct error err;
    (void)state;
    for (unsigned records = 1; records < 100000; records *= 10) {
        struct buf json = {0}, out = {0};
        struct logs_count count;
        buf_append_str(&json, "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{}");
        for (unsigned i = 1; i < records; i++)
            buf_append_str(&json, ",{\"body\":{\"stringValue\":\"some text\"}}");
        buf_append_str(&json, "]}]}]}");
        assert_int_equal(json_logs_decode(d, &json, &out, &(struct logs_count){0}, NULL, &err), 0);
        assert_int_equal(logs_check(buf_span(&out), &count), 0);
        assert_int_equal(count.records, records);
        buf_done(&json);
        buf_done(&out);
    }
    json_decoder_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_arrives),
        cmocka_unit_test(lengths_are_minimal),
        cmocka_unit_test(a_wrong_type_at_any_field_is_refused),
        cmocka_unit_test(values_in_and_out_of_range),
        cmocka_unit_test(special_doubles_arrive),
        cmocka_unit_test(spaces_change_nothing),
        cmocka_unit_test(documents_are_json_or_not),
        cmocka_unit_test(every_cut_of_a_document_is_refused),
        cmocka_unit_test(nesting_has_an_end),
        cmocka_unit_test(the_last_value_of_a_key_wins),
        cmocka_unit_test(keys_with_underscores_are_the_same),
        cmocka_unit_test(severities_by_name),
        cmocka_unit_test(what_is_not_otlp_is_counted),
        cmocka_unit_test(messages_say_where_and_what),
        cmocka_unit_test(limits_and_budget_are_kept),
        cmocka_unit_test(a_long_text_follows_a_short_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
