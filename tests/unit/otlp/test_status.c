#include "unit/test.h"

#include "error_details.pb-c.h"
#include "logs_service.pb-c.h"
#include "otlp/status.h"
#include "status.pb-c.h"

static void status_as_json(void **state)
{
    static const struct {
        struct status status;
        const char *json;
    } rows[] = {
        {{GRPC_INVALID_ARGUMENT, "no", 0, NULL}, "{\"code\":3,\"message\":\"no\",\"details\":[]}"},
        {{GRPC_INTERNAL, NULL, 0, NULL}, "{\"code\":13,\"message\":\"\",\"details\":[]}"},
        {{GRPC_UNAVAILABLE, "later", 3000, NULL},
         "{\"code\":14,\"message\":\"later\",\"details\":[{\"@type\":\"type.googleapis.com/"
         "google.rpc.RetryInfo\",\"retryDelay\":\"3s\"}]}"},
        {{GRPC_UNAVAILABLE, "", 1050, NULL},
         "{\"code\":14,\"message\":\"\",\"details\":[{\"@type\":\"type.googleapis.com/"
         "google.rpc.RetryInfo\",\"retryDelay\":\"1.050s\"}]}"},
        {{GRPC_INVALID_ARGUMENT, "a\"b\\c\n\x01h\xc3\xa9", 0, "bad\tfield"},
         "{\"code\":3,\"message\":\"a\\\"b\\\\c\\n\\u0001h\xc3\xa9\",\"details\":[{\"@type\":"
         "\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":[{\"field\":\"\","
         "\"description\":\"bad\\tfield\"}]}]}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        status_encode(&rows[i].status, STATUS_JSON, &out);
        assert_int_equal(out.err, 0);
        assert_row(span_eq(buf_span(&out), span_str(rows[i].json)), "%zu: %.*s", i, (int)out.len,
                   (const char *)out.base);
        buf_done(&out);
    }
}

static void status_as_protobuf(void **state)
{
    const struct status s = {GRPC_RESOURCE_EXHAUSTED, "full", 1500, "too many"};
    struct buf out = {0};
    (void)state;
    status_encode(&s, STATUS_PROTOBUF, &out);
    Google__Rpc__Status *got = google__rpc__status__unpack(NULL, out.len, out.base);
    assert_non_null(got);
    assert_int_equal(got->code, 8);
    assert_string_equal(got->message, "full");
    assert_int_equal(got->n_details, 2);

    assert_string_equal(got->details[0]->type_url, "type.googleapis.com/google.rpc.RetryInfo");
    Google__Rpc__RetryInfo *retry = google__rpc__retry_info__unpack(
        NULL, got->details[0]->value.len, got->details[0]->value.data);
    assert_non_null(retry);
    assert_int_equal(retry->retry_delay->seconds, 1);
    assert_int_equal(retry->retry_delay->nanos, 500000000);

    assert_string_equal(got->details[1]->type_url, "type.googleapis.com/google.rpc.BadRequest");
    Google__Rpc__BadRequest *bad = google__rpc__bad_request__unpack(
        NULL, got->details[1]->value.len, got->details[1]->value.data);
    assert_non_null(bad);
    assert_int_equal(bad->n_field_violations, 1);
    assert_string_equal(bad->field_violations[0]->description, "too many");

    google__rpc__retry_info__free_unpacked(retry, NULL);
    google__rpc__bad_request__free_unpacked(bad, NULL);
    google__rpc__status__free_unpacked(got, NULL);
    buf_done(&out);
}

static void the_budget_is_respected(void **state)
{
    const struct status s = {GRPC_INTERNAL, "0123456789", 0, NULL};
    struct buf out = {.max_bytes = 8};
    (void)state;
    status_encode(&s, STATUS_PROTOBUF, &out);
    assert_int_equal(out.err, ERR_TOO_BIG);
    buf_clear(&out);
    status_encode(&s, STATUS_JSON, &out);
    assert_int_equal(out.err, ERR_TOO_BIG);
    buf_done(&out);
}

static void full_success_says_nothing(void **state)
{
    static const char *const nothing[] = {NULL, ""};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(nothing); i++) {
        struct buf out = {0};
        export_response_encode(0, nothing[i], STATUS_PROTOBUF, &out);
        assert_int_equal(out.err, 0);
        assert_int_equal(out.len, 0);
        export_response_encode(0, nothing[i], STATUS_JSON, &out);
        assert_true(span_eq(buf_span(&out), SPAN("{}")));
        buf_done(&out);
    }
}

static void partial_success_in_both_forms(void **state)
{
    struct buf out = {0};
    (void)state;
    export_response_encode(9007199254740993, "some \"were\" bad", STATUS_JSON, &out);
    assert_true(span_eq(buf_span(&out),
                        SPAN("{\"partialSuccess\":{\"rejectedLogRecords\":\"9007199254740993\","
                             "\"errorMessage\":\"some \\\"were\\\" bad\"}}")));
    buf_clear(&out);
    export_response_encode(0, "a warning", STATUS_PROTOBUF, &out);
    Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceResponse *got =
        opentelemetry__proto__collector__logs__v1__export_logs_service_response__unpack(
            NULL, out.len, out.base);
    assert_non_null(got);
    assert_non_null(got->partial_success);
    assert_int_equal(got->partial_success->rejected_log_records, 0);
    assert_string_equal(got->partial_success->error_message, "a warning");
    opentelemetry__proto__collector__logs__v1__export_logs_service_response__free_unpacked(got,
                                                                                           NULL);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_as_json),
        cmocka_unit_test(status_as_protobuf),
        cmocka_unit_test(the_budget_is_respected),
        cmocka_unit_test(full_success_says_nothing),
        cmocka_unit_test(partial_success_in_both_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
