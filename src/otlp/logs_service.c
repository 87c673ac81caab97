/* logs_service: one pass; what is not a Resource goes on as it came. */
#include "otlp/logs_service.h"

#include "otlp/fields.h"
#include "otlp/wire.h"

#define NAME_ROOM 64 /* for the length of a Resource: a guess that wire_end() mends */

static bool names_service(struct span attribute)
{
    struct wire w;
    struct wire_field f;
    struct span key = {0};
    wire_init(&w, attribute);
    while (wire_next(&w, &f))
        if (f.number == KEY_VALUE_KEY && f.type == WIRE_LEN)
            key = f.bytes; /* the last one counts */
    return span_eq(key, SPAN("service.name"));
}

static void append_name(struct buf *out, struct span name)
{
    struct wire_nested attribute, value;
    wire_begin(out, RESOURCE_ATTRIBUTES, name.len, &attribute);
    wire_append_len(out, KEY_VALUE_KEY, SPAN("service.name"));
    wire_begin(out, KEY_VALUE_VALUE, name.len, &value);
    wire_append_len(out, ANY_VALUE_STRING, name);
    wire_end(out, &value);
    wire_end(out, &attribute);
}

/* A Resource that comes in pieces is one: protobuf merges them. */
static void append_resource(struct buf *out, struct span resource_logs, struct span name)
{
    struct wire logs, w;
    struct wire_field r, f;
    struct wire_nested resource;
    wire_begin(out, RESOURCE_LOGS_RESOURCE, name.len + NAME_ROOM, &resource);
    append_name(out, name);
    wire_init(&logs, resource_logs);
    while (wire_next(&logs, &r)) {
        if (r.number != RESOURCE_LOGS_RESOURCE || r.type != WIRE_LEN)
            continue;
        wire_init(&w, r.bytes);
        while (wire_next(&w, &f))
            if (f.number != RESOURCE_ATTRIBUTES || f.type != WIRE_LEN || !names_service(f.bytes))
                buf_append(out, f.whole);
    }
    wire_end(out, &resource);
}

int logs_set_service(struct span request, struct span name, struct buf *out)
{
    struct wire w, logs;
    struct wire_field r, f;
    struct wire_nested n;
    int rc = buf_reserve(out, request.len);
    wire_init(&w, request);
    while (rc == 0 && wire_next(&w, &r)) {
        if (r.number != REQUEST_RESOURCE_LOGS || r.type != WIRE_LEN) {
            buf_append(out, r.whole);
            rc = out->err;
            continue;
        }
        wire_begin(out, REQUEST_RESOURCE_LOGS, r.bytes.len + name.len, &n);
        append_resource(out, r.bytes, name);
        wire_init(&logs, r.bytes);
        while (wire_next(&logs, &f))
            if (f.number != RESOURCE_LOGS_RESOURCE || f.type != WIRE_LEN)
                buf_append(out, f.whole);
        wire_end(out, &n);
        rc = out->err;
    }
    return rc < 0 ? rc : w.err;
}
