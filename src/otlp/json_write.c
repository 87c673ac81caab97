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
#include "util/utf8.h"

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

/* Length of the UTF-8 sequence at s, or 0 when it is not one. */
static size_t utf8_length(struct span s)
{
    uint8_t lead = s.base[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return n <= s.len && utf8_is_valid(span_of(s.base, n)) ? n : 0;
}

static void write_escaped(struct buf *out, uint8_t c)
{
    static const char *const shorts[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r",
    };
    if (c == '"' || c == '\\')
        buf_printf(out, "\\%c", c);
    else if (c < ARRAY_LEN(shorts) && shorts[c] != NULL)
        buf_append_str(out, shorts[c]);
    else
        buf_printf(out, "\\u%04x", c);
}

void json_write_string(struct buf *out, struct span text)
{
    size_t plain = 0; /* bytes before `at` that are not written yet */
    buf_append_byte(out, '"');
    for (size_t at = 0; at < text.len;) {
        uint8_t c = text.base[at];
        size_t n = utf8_length(span_skip(text, at));
        if (n > 0 && c >= 0x20 && c != '"' && c != '\\') {
            at += n;
            plain += n;
            continue;
        }
        buf_append(out, span_of(text.base + at - plain, plain));
        plain = 0;
        if (n == 0)
            buf_append_str(out, "\xef\xbf\xbd");
        else
            write_escaped(out, c);
        at++;
    }
    buf_append(out, span_of(text.base + text.len - plain, plain));
    buf_append_byte(out, '"');
}

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

static void write_double(struct buf *out, uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    if (isnan(d))
        buf_append_str(out, "\"NaN\"");
    else if (isinf(d))
        buf_append_str(out, d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else
        buf_printf(out, "%.17g", d);
}

static int write_message(struct buf *out, const struct message *m, struct span bytes,
                         unsigned depth);

static int write_value(struct buf *out, const struct field *f, const struct wire_field *w,
                       unsigned depth)
{
    switch (f->form) {
    case FORM_MESSAGE:
        return write_message(out, f->message, w->bytes, depth + 1);
    case FORM_STRING:
        json_write_string(out, w->bytes);
        break;
    case FORM_BYTES:
        write_base64(out, w->bytes);
        break;
    case FORM_HEX:
        write_hex(out, w->bytes);
        break;
    case FORM_INT64:
        buf_printf(out, "\"%lld\"", (long long)w->value);
        break;
    case FORM_UINT64:
        buf_printf(out, "\"%llu\"", (unsigned long long)w->value);
        break;
    case FORM_NUMBER:
        buf_printf(out, "%d", (int)w->value);
        break;
    case FORM_UINT32:
        buf_printf(out, "%u", (unsigned)w->value);
        break;
    case FORM_BOOL:
        buf_append_str(out, w->value != 0 ? "true" : "false");
        break;
    case FORM_DOUBLE:
        write_double(out, w->value);
        break;
    }
    return out->err;
}

/* All occurrences of a repeated field, from here to the end, as a list. */
static int write_list(struct buf *out, const struct field *f, struct wire rest,
                      const struct wire_field *first, unsigned depth)
{
    struct wire_field w = *first;
    const char *comma = "";
    buf_append_byte(out, '[');
    do {
        if (w.number != f->number)
            continue;
        buf_append_str(out, comma);
        comma = ",";
        int rc = write_value(out, f, &w, depth);
        if (rc < 0)
            return rc;
    } while (wire_next(&rest, &w));
    buf_append_byte(out, ']');
    return rest.err != 0 ? rest.err : out->err;
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
static int write_any_value(struct buf *out, struct span bytes, unsigned depth)
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
    buf_append_byte(out, '{');
    if (member != NULL) {
        buf_printf(out, "\"%s\":", member->name);
        int rc = write_value(out, member, &last, depth);
        if (rc < 0)
            return rc;
    }
    buf_append_byte(out, '}');
    return wire.err != 0 ? wire.err : out->err;
}

static int write_message(struct buf *out, const struct message *m, struct span bytes,
                         unsigned depth)
{
    struct wire wire;
    struct wire_field w;
    uint32_t seen = 0; /* field numbers are below 32 */
    const char *comma = "";

    if (depth > LOGS_MAX_DEPTH + 1)
        return ERR_TOO_DEEP; /* logs_check() has refused it before */
    if (m == &any_value)
        return write_any_value(out, bytes, depth);
    wire_init(&wire, bytes);
    buf_append_byte(out, '{');
    while (wire_next(&wire, &w)) {
        const struct field *f = find_field(m, w.number);
        if (f == NULL || seen & 1u << f->number)
            continue;
        seen |= 1u << f->number;
        buf_append_str(out, comma);
        comma = ",";
        buf_printf(out, "\"%s\":", f->name);
        int rc;
        if (f->repeated) {
            rc = write_list(out, f, wire, &w, depth);
        } else {
            struct wire_field last = last_of(wire, &w);
            rc = write_value(out, f, &last, depth);
        }
        if (rc < 0)
            return rc;
    }
    buf_append_byte(out, '}');
    return wire.err != 0 ? wire.err : out->err;
}

int json_write_logs(struct buf *out, struct span request)
{
    return write_message(out, &request_message, request, 0);
}
