/* pb: short names for what protoc-c makes of the OTLP messages. */
#pragma once

#include "logs_service.pb-c.h"
#include "otlp/wire.h"
#include "util/buf.h"

typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceRequest pb_request;
typedef Opentelemetry__Proto__Logs__V1__ResourceLogs pb_resource_logs;
typedef Opentelemetry__Proto__Logs__V1__ScopeLogs pb_scope_logs;
typedef Opentelemetry__Proto__Logs__V1__LogRecord pb_record;
typedef Opentelemetry__Proto__Resource__V1__Resource pb_resource;
typedef Opentelemetry__Proto__Common__V1__InstrumentationScope pb_scope;
typedef Opentelemetry__Proto__Common__V1__KeyValue pb_key_value;
typedef Opentelemetry__Proto__Common__V1__AnyValue pb_any_value;
typedef Opentelemetry__Proto__Common__V1__ArrayValue pb_array;
typedef Opentelemetry__Proto__Common__V1__KeyValueList pb_kvlist;

#define PB_COMMON(name) opentelemetry__proto__common__v1__##name
#define PB_LOGS(name) opentelemetry__proto__logs__v1__##name
#define PB_ANY(name) OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_##name

static inline pb_request *pb_unpack(struct span bytes)
{
    return (pb_request *)protobuf_c_message_unpack(
        &opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor, NULL,
        bytes.len, bytes.base);
}

/* Does a field that holds one message stand twice, in `message` or below? That is legal, the two
 * are merged; protobuf-c 1.4 cannot merge two values of which neither has a kind. */
static inline bool pb_has_twins(const ProtobufCMessageDescriptor *type, struct span message)
{
    uint64_t seen = 0;
    struct wire w;
    struct wire_field f;
    wire_init(&w, message);
    while (wire_next(&w, &f)) {
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field(type, f.number);
        if (f.type != WIRE_LEN || known == NULL || known->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        uint64_t bit = (uint64_t)1 << f.number % 64;
        if (known->label != PROTOBUF_C_LABEL_REPEATED && (seen & bit) != 0)
            return true;
        seen |= bit;
        if (pb_has_twins(known->descriptor, f.bytes))
            return true;
    }
    return false;
}

static inline bool pb_request_has_twins(struct span request)
{
    return pb_has_twins(
        &opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor,
        request);
}

static inline void pb_free(pb_request *request)
{
    if (request != NULL)
        protobuf_c_message_free_unpacked(&request->base, NULL);
}

static inline void pb_pack(const ProtobufCMessage *message, struct buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    if (buf_reserve(out, len) == 0)
        out->len += protobuf_c_message_pack(message, out->base + out->len);
}
