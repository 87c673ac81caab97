/* status: protobuf by protobuf-c, JSON member by member. */
#include "otlp/status.h"

#include <inttypes.h>

#include "error_details.pb-c.h"
#include "logs_service.pb-c.h"
#include "status.pb-c.h"
#include "util/json.h"

#define TYPE_PREFIX "type.googleapis.com/"
#define RETRY_INFO "google.rpc.RetryInfo"
#define BAD_REQUEST "google.rpc.BadRequest"

/* ---- protobuf ---- */

static void append_packed(struct buf *out, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    if (buf_reserve(out, len) == 0)
        out->len += protobuf_c_message_pack(message, out->base + out->len);
}

static void append_detail(Google__Rpc__Status *status, Google__Protobuf__Any *any,
                          const char *type_url, struct buf *packed, const ProtobufCMessage *detail)
{
    google__protobuf__any__init(any);
    append_packed(packed, detail);
    any->type_url = (char *)type_url; /* protobuf-c only reads what it packs */
    any->value = (ProtobufCBinaryData){packed->len, packed->base};
    status->details[status->n_details++] = any;
}

static void encode_protobuf(const struct status *s, struct buf *out)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Google__Protobuf__Any any[2], *details[2];
    struct buf retry_bytes = {0}, bad_bytes = {0};

    status.code = s->code;
    status.message = s->message != NULL ? (char *)s->message : status.message;
    status.details = details;
    if (s->retry_ms > 0) {
        Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
        Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
        delay.seconds = (int64_t)(s->retry_ms / 1000);
        delay.nanos = (int32_t)(s->retry_ms % 1000 * 1000000);
        info.retry_delay = &delay;
        append_detail(&status, &any[status.n_details], TYPE_PREFIX RETRY_INFO, &retry_bytes,
                      &info.base);
    }
    if (s->bad != NULL) {
        Google__Rpc__BadRequest__FieldViolation one =
            GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
        Google__Rpc__BadRequest__FieldViolation *all[] = {&one};
        Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
        one.description = (char *)s->bad;
        bad.n_field_violations = 1;
        bad.field_violations = all;
        append_detail(&status, &any[status.n_details], TYPE_PREFIX BAD_REQUEST, &bad_bytes,
                      &bad.base);
    }
    if (retry_bytes.err != 0 || bad_bytes.err != 0)
        out->err = ERR_NOMEM;
    else
        append_packed(out, &status.base);
    buf_done(&retry_bytes);
    buf_done(&bad_bytes);
}

/* ---- JSON ---- */

static void write_duration(struct json *j, const char *key, uint64_t ms)
{
    if (ms % 1000 == 0)
        json_printf(j, key, "\"%" PRIu64 "s\"", ms / 1000);
    else
        json_printf(j, key, "\"%" PRIu64 ".%03us\"", ms / 1000, (unsigned)(ms % 1000));
}

static void encode_json(const struct status *s, struct buf *out)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_i64(&j, "code", s->code);
    json_str(&j, "message", s->message != NULL ? s->message : "");
    json_begin_list(&j, "details");
    if (s->retry_ms > 0) {
        json_begin(&j, NULL);
        json_str(&j, "@type", TYPE_PREFIX RETRY_INFO);
        write_duration(&j, "retryDelay", s->retry_ms);
        json_end(&j);
    }
    if (s->bad != NULL) {
        json_begin(&j, NULL);
        json_str(&j, "@type", TYPE_PREFIX BAD_REQUEST);
        json_begin_list(&j, "fieldViolations");
        json_begin(&j, NULL);
        json_str(&j, "field", "");
        json_str(&j, "description", s->bad);
        json_end(&j);
        json_end_list(&j);
        json_end(&j);
    }
    json_end_list(&j);
    json_end(&j);
}

void status_encode(const struct status *s, enum status_form form, struct buf *out)
{
    if (form == STATUS_JSON)
        encode_json(s, out);
    else
        encode_protobuf(s, out);
}

void export_response_encode(int64_t rejected, const char *message, enum status_form form,
                            struct buf *out)
{
    bool full = rejected == 0 && (message == NULL || message[0] == '\0');
    if (form == STATUS_JSON) {
        struct json j = json_on(out);
        json_begin(&j, NULL);
        if (!full) {
            json_begin(&j, "partialSuccess");
            if (rejected != 0) /* as proto3 JSON has it: the default is left out */
                json_printf(&j, "rejectedLogRecords", "\"%" PRId64 "\"", rejected);
            json_str(&j, "errorMessage", message != NULL ? message : "");
            json_end(&j);
        }
        json_end(&j);
        return;
    }

    Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceResponse response =
        OPENTELEMETRY__PROTO__COLLECTOR__LOGS__V1__EXPORT_LOGS_SERVICE_RESPONSE__INIT;
    Opentelemetry__Proto__Collector__Logs__V1__ExportLogsPartialSuccess partial =
        OPENTELEMETRY__PROTO__COLLECTOR__LOGS__V1__EXPORT_LOGS_PARTIAL_SUCCESS__INIT;
    partial.rejected_log_records = rejected;
    if (message != NULL)
        partial.error_message = (char *)message;
    if (!full)
        response.partial_success = &partial;
    append_packed(out, &response.base);
}
