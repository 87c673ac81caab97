/* Messages of policy sync, from protobuf to JSON and back. */
#include "unit/test.h"

#include "otlp/policy_sync.h"
#include "otlp/wire.h"
#include "util/buf.h"

static void to_json(struct buf *out, enum policy_sync_message kind, struct span message, int want)
{
    buf_clear(out);
    assert_int_equal(policy_sync_to_json(out, kind, message, NULL), want);
    buf_append_byte(out, '\0');
}

static int to_protobuf(struct buf *out, enum policy_sync_message kind, const char *text,
                       struct error *err)
{
    struct json_doc *doc;
    struct json_node root;
    *err = (struct error){{0}};
    buf_clear(out);
    assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
    int rc = policy_sync_to_protobuf(out, kind, root, err);
    json_doc_free(doc);
    return rc;
}

/* What is written in one way comes out in the other. */
static void there_and_back(void **state)
{
    (void)state;
    static const struct {
        enum policy_sync_message kind;
        const char *in, *out; /* NULL: as it went in */
    } rows[] = {
        {POLICY_SYNC_REQUEST, "{}", NULL},
        {POLICY_SYNC_RESPONSE, "{\"policies\":[]}", "{}"},
        {POLICY_SYNC_REQUEST, "{\"full_sync\":false,\"last_successful_hash\":\"\"}", NULL},
        {POLICY_SYNC_REQUEST,
         "{\"policyStatuses\":[{\"id\":\"a\\u0000b\",\"matchHits\":\"-9\",\"match_misses\":3.0,"
         "\"errors\":[\"x\",\"\"]}]}",
         "{\"policy_statuses\":[{\"id\":\"a\\u0000b\",\"match_hits\":-9,\"match_misses\":3,"
         "\"errors\":[\"x\",\"\"]}]}"},
        {POLICY_SYNC_RESPONSE, "{\"policies\":[{\"id\":\"a\"},{\"id\":\"b\",\"enabled\":false}]}",
         "{\"policies\":[{\"id\":\"a\",\"enabled\":true},{\"id\":\"b\",\"enabled\":false}]}"},
        {POLICY_SYNC_RESPONSE,
         "{\"policies\":[{\"id\":\"a\",\"enabled\":true,\"log\":{\"match\":[{\"logField\":\"body\","
         "\"exact\":\"\"},{\"log_field\":\"LOG_FIELD_TRACE_ID\",\"exists\":false},"
         "{\"logAttribute\":\"x\",\"negate\":true},{\"log_attribute\":[\"x\",\"y\"]}]}}],"
         "\"syncType\":\"SYNC_TYPE_FULL\",\"sync_timestamp_unix_nano\":\"17\"}",
         "{\"policies\":[{\"id\":\"a\",\"enabled\":true,\"log\":{\"match\":[{\"log_field\":1,"
         "\"exact\":\"\"},{\"log_field\":3,\"exists\":false},{\"log_attribute\":{\"path\":[\"x\"]},"
         "\"negate\":true},{\"log_attribute\":{\"path\":[\"x\",\"y\"]}}]}}],"
         "\"sync_timestamp_unix_nano\":17,\"sync_type\":1}"},
        {POLICY_SYNC_REQUEST,
         "{\"client_metadata\":{\"resource_attributes\":[{\"key\":\"k\",\"value\":{\"arrayValue\":{"
         "\"values\":[]},\"stringValue\":\"v\"}}]}}",
         "{\"client_metadata\":{\"resource_attributes\":[{\"key\":\"k\",\"value\":{"
         "\"string_value\":\"v\"}}]}}"},
    };
    struct buf wire = {0}, json = {0};
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int rc = to_protobuf(&wire, rows[i].kind, rows[i].in, &err);
        assert_row(rc == 0, "%s: %s", rows[i].in, err.text);
        to_json(&json, rows[i].kind, buf_span(&wire), 0);
        const char *want = rows[i].out != NULL ? rows[i].out : rows[i].in;
        assert_row(strcmp((const char *)json.base, want) == 0, "%s, not %s",
                   (const char *)json.base, want);
    }
    buf_done(&wire);
    buf_done(&json);
}

static void what_protobuf_does_not_carry(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"[]", "no JSON object"},
        {"{\"more\":1}", "more: is carried by JSON alone"},
        {"{\"policies\":{}}", "policies: must be a list"},
        {"{\"policies\":[1]}", "policies: must be an object"},
        {"{\"hash\":1}", "hash: must be a string"},
        {"{\"sync_type\":\"HALF\"}", "sync_type: must be one of its names or numbers"},
        {"{\"recommended_sync_interval_seconds\":-1}", "must be a whole number"},
        {"{\"recommended_sync_interval_seconds\":4294967296}", "must be a whole number"},
        {"{\"sync_timestamp_unix_nano\":\"1x\"}", "must be a whole number"},
        {"{\"policies\":[{\"id\":\"a\",\"enabled\":1}]}", "policy \"a\": enabled: must be true"},
        {"{\"policies\":[{\"id\":\"a\",\"metric\":{\"x\":1}}]}",
         "policy \"a\": metric: is carried by JSON alone"},
        {"{\"policies\":[{\"id\":\"a\",\"log\":{\"match\":[{\"gt\":1}]}}]}",
         "policy \"a\": gt: is carried by JSON alone"},
        {"{\"policies\":[{\"log\":{\"match\":[{\"log_attribute\":[1]}]}}]}",
         "policy \"\": log_attribute: must be a path of strings"},
    };
    struct buf wire = {0};
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int rc = to_protobuf(&wire, POLICY_SYNC_RESPONSE, rows[i].text, &err);
        assert_row(rc == ERR_CONFIG, "%s: %d", rows[i].text, rc);
        assert_row(strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].text, err.text);
    }
    buf_done(&wire);
}

/* A policy with a field that is not known here says so; elsewhere it is read over. */
static void unknown_fields(void **state)
{
    (void)state;
    struct buf policy = {0}, message = {0}, json = {0};
    wire_append_len(&policy, 1, SPAN("a"));
    wire_append_varint(&policy, 99, 1);
    wire_append_len(&policy, 11, SPAN("\x08\x01")); /* metric: opaque */
    wire_append_len(&message, 1, buf_span(&policy));
    wire_append_varint(&message, 98, 1);
    to_json(&json, POLICY_SYNC_RESPONSE, buf_span(&message), 0);
    assert_string_equal(json.base, "{\"policies\":[{\"id\":\"a\",\"enabled\":false,\"metric\":{},"
                                   "\"field 99\":true}]}");
    buf_done(&policy);
    buf_done(&message);
    buf_done(&json);
}

static void damage_and_size(void **state)
{
    (void)state;
    struct buf json = {0}, big = {0};
    struct budget none = {.limit = 100};
    to_json(&json, POLICY_SYNC_RESPONSE, SPAN("\x0a\x05x"), ERR_MALFORMED);
    to_json(&json, POLICY_SYNC_RESPONSE, SPAN("\x12\x02\xff\xfe"), ERR_MALFORMED);
    to_json(&json, POLICY_SYNC_RESPONSE, (struct span){0}, 0);
    assert_int_equal(policy_sync_to_json(&json, POLICY_SYNC_RESPONSE, SPAN("\x12\x01x"), &none),
                     ERR_FULL);
    assert_int_equal(none.used, 0);
    for (int i = 0; i < 400000; i++) /* policies of nothing: 2 bytes each */
        buf_append(&big, SPAN("\x0a\x00"));
    to_json(&json, POLICY_SYNC_RESPONSE, buf_span(&big), ERR_TOO_BIG);
    while (big.len <= POLICY_SYNC_BYTES)
        buf_append(&big, SPAN("\x0a\x00"));
    to_json(&json, POLICY_SYNC_RESPONSE, buf_span(&big), ERR_TOO_BIG);
    buf_done(&json);
    buf_done(&big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_protobuf_does_not_carry),
        cmocka_unit_test(unknown_fields),
        cmocka_unit_test(damage_and_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
