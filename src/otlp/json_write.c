/*
 * json_write: each message is a table of its fields; one function walks them.
 *
 * proto3 JSON leaves defaults out, so a field is written where the wire has it.
 * Repeated fields are gathered by a second walk from their first occurrence,
 * because JSON wants them in one list and the wire may not have them together.
 * Of a singular field that comes twice the last is written.
 */
#include "otlp/json_write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "otlp/logs.h"
#include "otlp/wire.h"
#include "util/json.h"

enum form {
    FORM_MESSAGE,
    FORM_STRING,
    FORM_BYTES,  /* base64 */
    FORM_HEX,    /* ids */
    FORM_INT64,  /* as a string */
    FORM_UINT64, /* as a string */
    FORM_NUMBER, /* an enum */
    FORM_UINT32,
    FORM_BOOL,
    FORM_DOUBLE,
};

struct message;

struct field {
    uint32_t number;
    enum form form;
    bool repeated;
    const char *name;
    const struct message *message;
};

struct message {
    const struct field *fields;
    size_t count;
};

/* clang-format off */
static const struct message any_value, key_value, array_value, kvlist_value;
static const struct message resource, scope, log_record, scope_logs, resource_logs, request_message;

#define MESSAGE(name, ...) \
    static const struct field name##_fields[] = {__VA_ARGS__}; \
    static const struct message name = {name##_fields, ARRAY_LEN(name##_fields)}

MESSAGE(any_value,
    {1, FORM_STRING,  false, "stringValue", NULL},
    {2, FORM_BOOL,    false, "boolValue",   NULL},
    {3, FORM_INT64,   false, "intValue",    NULL},
    {4, FORM_DOUBLE,  false, "doubleValue", NULL},
    {5, FORM_MESSAGE, false, "arrayValue",  &array_value},
    {6, FORM_MESSAGE, false, "kvlistValue", &kvlist_value},
    {7, FORM_BYTES,   false, "bytesValue",  NULL});
MESSAGE(array_value,  {1, FORM_MESSAGE, true, "values", &any_value});
MESSAGE(kvlist_value, {1, FORM_MESSAGE, true, "values", &key_value});
MESSAGE(key_value,
    {1, FORM_STRING,  false, "key",   NULL},
    {2, FORM_MESSAGE, false, "value", &any_value});
MESSAGE(resource,
    {1, FORM_MESSAGE, true,  "attributes",             &key_value},
    {2, FORM_UINT32,  false, "droppedAttributesCount", NULL});
MESSAGE(scope,
    {1, FORM_STRING,  false, "name",                   NULL},
    {2, FORM_STRING,  false, "version",                NULL},
    {3, FORM_MESSAGE, true,  "attributes",             &key_value},
    {4, FORM_UINT32,  false, "droppedAttributesCount", NULL});
MESSAGE(log_record,
    {1,  FORM_UINT64,  false, "timeUnixNano",           NULL},
    {11, FORM_UINT64,  false, "observedTimeUnixNano",   NULL},
    {2,  FORM_NUMBER,  false, "severityNumber",         NULL},
    {3,  FORM_STRING,  false, "severityText",           NULL},
    {5,  FORM_MESSAGE, false, "body",                   &any_value},
    {6,  FORM_MESSAGE, true,  "attributes",             &key_value},
    {7,  FORM_UINT32,  false, "droppedAttributesCount", NULL},
    {8,  FORM_UINT32,  false, "flags",                  NULL},
    {9,  FORM_HEX,     false, "traceId",                NULL},
    {10, FORM_HEX,     false, "spanId",                 NULL},
    {12, FORM_STRING,  false, "eventName",              NULL});
MESSAGE(scope_logs,
    {1, FORM_MESSAGE, false, "scope",      &scope},
    {2, FORM_MESSAGE, true,  "logRecords", &log_record},
    {3, FORM_STRING,  false, "schemaUrl",  NULL});
MESSAGE(resource_logs,
    {1, FORM_MESSAGE, false, "resource",  &resource},
    {2, FORM_MESSAGE, true,  "scopeLogs", &scope_logs},
    {3, FORM_STRING,  false, "schemaUrl", NULL});
MESSAGE(request_message, {1, FORM_MESSAGE, true, "resourceLogs", &resource_logs});
/* clang-format on */

static void write_base64(struct buf *out, struct span s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    buf_append_byte(out, '"');
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i < 3 ? s.len - i : 3;
        uint32_t word = (uint32_t)s.base[i] << 16;
        word |= n > 1 ? (uint32_t)s.base[i + 1] << 8 : 0;
        word |= n > 2 ? s.base[i + 2] : 0;
        for (size_t k = 0; k < 4; k++)
            buf_append_byte(out, k <= n ? (uint8_t)digits[word >> (18 - 6 * k) & 63] : '=');
    }
    buf_append_byte(out, '"');
}

static void write_hex(struct buf *out, struct span s)
{
    static const char digits[] = "0123456789abcdef";
    buf_append_byte(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        buf_append_byte(out, (uint8_t)digits[s.base[i] >> 4]);
        buf_append_byte(out, (uint8_t)digits[s.base[i] & 15]);
    }
    buf_append_byte(out, '"');
}

static void write_double(struct json *j, const char *key, uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    if (isnan(d))
        json_str(j, key, "NaN");
    else if (isinf(d))
        json_str(j, key, d > 0 ? "Infinity" : "-Infinity");
    else
        json_printf(j, key, "%.17g", d);
}

static int write_message(struct json *j, const struct message *m, struct span bytes,
                         unsigned depth);

/* `key` is NULL in a list. */
static int write_value(struct json *j, const char *key, const struct field *f,
                       const struct wire_field *w, unsigned depth)
{
    switch (f->form) {
    case FORM_MESSAGE:
        json_begin(j, key);
        return write_message(j, f->message, w->bytes, depth + 1);
    case FORM_STRING:
        json_text(j, key, w->bytes);
        break;
    case FORM_BYTES:
        write_base64(json_value(j, key), w->bytes);
        break;
    case FORM_HEX:
        write_hex(json_value(j, key), w->bytes);
        break;
    case FORM_INT64:
        json_printf(j, key, "\"%lld\"", (long long)w->value);
        break;
    case FORM_UINT64:
        json_printf(j, key, "\"%llu\"", (unsigned long long)w->value);
        break;
    case FORM_NUMBER:
        json_i64(j, key, (int)w->value);
        break;
    case FORM_UINT32:
        json_u64(j, key, (uint32_t)w->value);
        break;
    case FORM_BOOL:
        json_bool(j, key, w->value != 0);
        break;
    case FORM_DOUBLE:
        write_double(j, key, w->value);
        break;
    }
    return j->out->err;
}

/* All occurrences of a repeated field, from here to the end, as a list. */
static int write_list(struct json *j, const struct field *f, struct wire rest,
                      const struct wire_field *first, unsigned depth)
{
    struct wire_field w = *first;
    json_begin_list(j, f->name);
    do {
        int rc = w.number == f->number ? write_value(j, NULL, f, &w, depth) : 0;
        if (rc < 0)
            return rc;
    } while (wire_next(&rest, &w));
    json_end_list(j);
    return rest.err != 0 ? rest.err : j->out->err;
}

/* The last occurrence of a singular field: the first, unless a later one is there. */
static struct wire_field last_of(struct wire rest, const struct wire_field *first)
{
    struct wire_field w, last = *first;
    while (wire_next(&rest, &w))
        if (w.number == first->number)
            last = w;
    return last;
}

static const struct field *find_field(const struct message *m, uint32_t number)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->fields[i].number == number)
            return &m->fields[i];
    return NULL;
}

/* The members of an AnyValue are a oneof: where the wire has several, the last counts. */
static int write_any_value(struct json *j, struct span bytes, unsigned depth)
{
    struct wire wire;
    struct wire_field w, last;
    const struct field *member = NULL;

    wire_init(&wire, bytes);
    while (wire_next(&wire, &w)) {
        const struct field *f = find_field(&any_value, w.number);
        if (f == NULL)
            continue;
        member = f;
        last = w;
    }
    int rc = member == NULL ? 0 : write_value(j, member->name, member, &last, depth);
    if (rc < 0)
        return rc;
    json_end(j);
    return wire.err != 0 ? wire.err : j->out->err;
}

/* The members and the end of an object that has begun. */
static int write_message(struct json *j, const struct message *m, struct span bytes, unsigned depth)
{
    struct wire wire;
    struct wire_field w;
    uint32_t seen = 0; /* field numbers are below 32 */

    if (depth > LOGS_MAX_DEPTH + 1)
        return ERR_TOO_DEEP; /* logs_check() has refused it before */
    if (m == &any_value)
        return write_any_value(j, bytes, depth);
    wire_init(&wire, bytes);
    while (wire_next(&wire, &w)) {
        const struct field *f = find_field(m, w.number);
        if (f == NULL || seen & 1u << f->number)
            continue;
        seen |= 1u << f->number;
        int rc;
        if (f->repeated) {
            rc = write_list(j, f, wire, &w, depth);
        } else {
            struct wire_field last = last_of(wire, &w);
            rc = write_value(j, f->name, f, &last, depth);
        }
        if (rc < 0)
            return rc;
    }
    json_end(j);
    return wire.err != 0 ? wire.err : j->out->err;
}

int json_write_logs(struct buf *out, struct span request)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    return write_message(&j, &request_message, request, 0);
}
