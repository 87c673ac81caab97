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
