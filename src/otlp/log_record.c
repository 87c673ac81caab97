/* log_record: one record and its values, seen where they lie. */
#include "otlp/logs.h"

#include <string.h>

/* Field numbers of LogRecord, KeyValue and AnyValue. */
enum {
    LOG_RECORD_TIME_UNIX_NANO = 1,
    LOG_RECORD_SEVERITY_NUMBER = 2,
    LOG_RECORD_SEVERITY_TEXT = 3,
    LOG_RECORD_BODY = 5,
    LOG_RECORD_ATTRIBUTES = 6,
    LOG_RECORD_FLAGS = 8,
    LOG_RECORD_TRACE_ID = 9,
    LOG_RECORD_SPAN_ID = 10,
    LOG_RECORD_OBSERVED_TIME_UNIX_NANO = 11,
    LOG_RECORD_EVENT_NAME = 12,

    KEY_VALUE_KEY = 1,
    KEY_VALUE_VALUE = 2,
};

/* A member of AnyValue's oneof: its kind, and the wire type that it must have. */
static const struct member {
    uint8_t kind, type;
} members[] = {
    [1] = {LOG_STRING, WIRE_LEN}, [2] = {LOG_BOOL, WIRE_VARINT}, [3] = {LOG_INT, WIRE_VARINT},
    [4] = {LOG_DOUBLE, WIRE_I64}, [5] = {LOG_ARRAY, WIRE_LEN},   [6] = {LOG_KVLIST, WIRE_LEN},
    [7] = {LOG_BYTES, WIRE_LEN},
};

int log_value_read(struct log_value *v, struct span any_value)
{
    struct wire w;
    struct wire_field f;

    wire_init(&w, any_value);
    while (wire_next(&w, &f)) {
        if (f.number >= ARRAY_LEN(members) || f.type != members[f.number].type)
            continue;
        v->kind = members[f.number].kind;
        v->text = f.bytes;
        v->integer = v->kind == LOG_BOOL ? f.value != 0 : (int64_t)f.value;
        if (v->kind == LOG_DOUBLE)
            memcpy(&v->real, &f.value, sizeof v->real);
    }
    return w.err;
}

void log_attrs_in(struct log_attrs *a, struct span message, uint32_t number)
{
    wire_init(&a->wire, message);
    a->number = number;
}

void log_attrs_of_record(struct log_attrs *a, struct span record)
{
    log_attrs_in(a, record, LOG_RECORD_ATTRIBUTES);
}

static int read_attr(struct log_attr *out, struct span key_value)
{
    struct wire w;
    struct wire_field f;

    *out = (struct log_attr){0};
    wire_init(&w, key_value);
    while (wire_next(&w, &f)) {
        if (f.type != WIRE_LEN)
            continue;
        if (f.number == KEY_VALUE_KEY)
            out->key = f.bytes;
        else if (f.number == KEY_VALUE_VALUE && log_value_read(&out->value, f.bytes) < 0)
            return ERR_MALFORMED;
    }
    return w.err;
}

bool log_attrs_next(struct log_attrs *a, struct log_attr *out)
{
    struct wire_field f;
    while (wire_next(&a->wire, &f)) {
        if (f.number != a->number || f.type != WIRE_LEN)
            continue;
        int rc = read_attr(out, f.bytes);
        if (rc == 0)
            return true;
        a->wire.err = rc;
        a->wire.at = a->wire.end;
    }
    return false;
}

/* clang-format off */
static const struct known_key {
    const char *text;
    size_t len;
} known_keys[] = {
#define X(name, key) [name] = {key, sizeof(key) - 1},
    LOG_KNOWN_MAP(X)
#undef X
};

/* Bit n: some known key has n bytes. It turns most keys away at once. */
static const uint32_t known_lengths = 0
#define X(name, key) | 1u << (sizeof(key) - 1)
    LOG_KNOWN_MAP(X)
#undef X
;
/* clang-format on */

/* By length and first byte: could it be one? */
static bool may_be_known(size_t len, uint8_t first)
{
    if (len >= 32 || (known_lengths >> len & 1) == 0)
        return false;
    for (unsigned i = 0; i < LOG_KNOWN_COUNT; i++)
        if (known_keys[i].len == len && known_keys[i].text[0] == (char)first)
            return true;
    return false;
}

/* Which known key this is; LOG_KNOWN_COUNT: none. */
static unsigned find_known(struct span key)
{
    if (key.len == 0 || !may_be_known(key.len, key.base[0]))
        return LOG_KNOWN_COUNT;
    unsigned i = 0;
    while (i < LOG_KNOWN_COUNT &&
           (known_keys[i].len != key.len || known_keys[i].text[0] != (char)key.base[0] ||
            memcmp(known_keys[i].text, key.base, key.len) != 0))
        i++;
    return i;
}

static int note_attribute(struct log_record *r, struct span key_value)
{
    /* As everybody writes them, the key is the first field: is it of interest? */
    const uint8_t *at = key_value.base;
    if (key_value.len >= 2 && at[0] == (KEY_VALUE_KEY << 3 | WIRE_LEN) && at[1] < 0x80) {
        size_t value_at = 2 + (size_t)at[1];
        bool canonical =
            key_value.len >= value_at + 2 && at[value_at] == (KEY_VALUE_VALUE << 3 | WIRE_LEN) &&
            at[value_at + 1] < 0x80 && value_at + 2 + at[value_at + 1] == key_value.len;
        if (canonical && !may_be_known(at[1], at[2]))
            return 0;
    }

    struct log_attr attr;
    int rc = read_attr(&attr, key_value);
    if (rc < 0)
        return rc;
    unsigned known = find_known(attr.key);
    if (known < LOG_KNOWN_COUNT) {
        r->known[known] = attr.value;
        r->known_set |= 1u << known;
    }
    return 0;
}

int log_record_read(struct log_record *out, struct span record)
{
    struct wire w;
    struct wire_field f;
    int rc = 0;

    memset(out, 0, offsetof(struct log_record, known)); /* known[] is valid by known_set */
    wire_init(&w, record);
    while (rc == 0 && wire_next(&w, &f)) {
        switch (f.number << 3 | f.type) { /* a number beyond 2^29 does not exist */
        case LOG_RECORD_ATTRIBUTES << 3 | WIRE_LEN:
            out->attributes++;
            rc = note_attribute(out, f.bytes);
            break;
        case LOG_RECORD_TIME_UNIX_NANO << 3 | WIRE_I64:
            out->time_unix_ns = f.value;
            break;
        case LOG_RECORD_OBSERVED_TIME_UNIX_NANO << 3 | WIRE_I64:
            out->observed_unix_ns = f.value;
            break;
        case LOG_RECORD_SEVERITY_NUMBER << 3 | WIRE_VARINT:
            out->severity_number = (int32_t)f.value; /* enums are truncated, as protobuf does */
            break;
        case LOG_RECORD_SEVERITY_TEXT << 3 | WIRE_LEN:
            out->severity_text = f.bytes;
            break;
        case LOG_RECORD_BODY << 3 | WIRE_LEN:
            rc = log_value_read(&out->body, f.bytes);
            break;
        case LOG_RECORD_FLAGS << 3 | WIRE_I32:
            out->flags = (uint32_t)f.value;
            break;
        case LOG_RECORD_TRACE_ID << 3 | WIRE_LEN:
            out->trace_id = f.bytes;
            break;
        case LOG_RECORD_SPAN_ID << 3 | WIRE_LEN:
            out->span_id = f.bytes;
            break;
        case LOG_RECORD_EVENT_NAME << 3 | WIRE_LEN:
            out->event_name = f.bytes;
            break;
        default: /* passed on untouched: the record is forwarded as it came */
            break;
        }
    }
    return rc < 0 ? rc : w.err;
}
