/* log_record: one record and its values, seen where they lie. */
#include "otlp/fields.h"
#include "otlp/logs.h"

#include <string.h>

/* Field numbers of LogRecord, KeyValue and AnyValue. */
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

/* Keys of interest by their last two bytes, in any case of letters: in the row of the last
 * byte the bit of the one before it. Nearly all other keys are turned away by it at once. */
#define BIT(byte) (UINT32_C(1) << ((byte)&31))
static const uint32_t last_two[32] = {
    ['e' & 31] = BIT('m') | BIT('p') | BIT('t') | BIT('d'), /* .name .type template _code */
    ['t' & 31] = BIT('x') | BIT('m') | BIT('n'),            /* .text @mt _count */
    ['}' & 31] = BIT('t'), ['d' & 31] = BIT('l'),           /* Format} threshold */
    ['s' & 31] = BIT('s'), ['y' & 31] = BIT('t'),           /* randomness priority */
};
/* clang-format on */

#define ENDING_BYTES 8

/* The first NAMING_ENDINGS are those of keys that a record may be signed by. */
static const char endings[][ENDING_BYTES + 1] = {
    "ent.name", "ion.type", "template", "ate.text", "lFormat}",
    "hreshold", "ndomness", "priority", "tus_code", "ed_count",
};
#define NAMING_ENDINGS 5

/* Which of the endings, letters in any case, of which @mt is like the first; -1: none. */
static int find_ending(struct span key)
{
    const uint64_t small = 0x2020202020202020u;
    uint64_t end, other;
    if (key.len < 3)
        return -1;
    const uint8_t *last = key.base + key.len - 1;
    if (last[-2] == '@' && (last[-1] | 0x20) == 'm' && (last[0] | 0x20) == 't')
        return 0;
    if (key.len < ENDING_BYTES)
        return -1;
    memcpy(&end, last + 1 - ENDING_BYTES, ENDING_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        memcpy(&other, endings[i], ENDING_BYTES);
        if ((end | small) == (other | small))
            return (int)i;
    }
    return -1;
}

/* Neither a known key nor one that a record may be signed by. */
static inline bool is_dull(const uint8_t *key, size_t len)
{
    return len < 3 || (last_two[key[len - 1] & 31] & BIT(key[len - 2])) == 0 ||
           find_ending(span_of(key, len)) < 0;
}

/* Which known key this is; LOG_KNOWN_COUNT: none. */
static unsigned find_known(struct span key)
{
    unsigned i = 0;
    while (i < LOG_KNOWN_COUNT &&
           (known_keys[i].len != key.len || memcmp(known_keys[i].text, key.base, key.len) != 0))
        i++;
    return i;
}

/* An AnyValue that is one member and no map, which stands in one of the forms that everybody
 * writes. */
static inline bool is_one_member(const uint8_t *at, size_t len)
{
    size_t i = 1;
    if (len == 0)
        return true;
    switch (at[0]) {
    case 1 << 3 | WIRE_LEN: /* a string, an array, bytes */
    case 5 << 3 | WIRE_LEN:
    case 7 << 3 | WIRE_LEN:
        return len >= 2 && at[1] < 0x80 && len == 2 + (size_t)at[1];
    case 4 << 3 | WIRE_I64:
        return len == 9;
    case 2 << 3 | WIRE_VARINT:
    case 3 << 3 | WIRE_VARINT:
        while (i < len && at[i] >= 0x80)
            i++;
        return i + 1 == len;
    default:
        return false;
    }
}

/* An attribute as everybody writes it, key first, of which nothing is to be noted. */
static inline bool is_dull_attribute(struct span key_value)
{
    const uint8_t *at = key_value.base;
    if (key_value.len < 2 || at[0] != (KEY_VALUE_KEY << 3 | WIRE_LEN) || at[1] >= 0x80)
        return false;
    size_t value_at = 2 + (size_t)at[1];
    if (key_value.len < value_at + 2 || at[value_at] != (KEY_VALUE_VALUE << 3 | WIRE_LEN) ||
        at[value_at + 1] >= 0x80 || value_at + 2 + at[value_at + 1] != key_value.len)
        return false;
    return is_dull(at + 2, at[1]) && is_one_member(at + value_at + 2, at[value_at + 1]);
}

static int note_attribute(struct log_record *r, struct span key_value)
{
    if (is_dull_attribute(key_value))
        return 0;

    struct log_attr attr;
    int rc = read_attr(&attr, key_value);
    if (rc < 0)
        return rc;
    int ending = find_ending(attr.key);
    r->may_name =
        r->may_name || (ending >= 0 && ending < NAMING_ENDINGS) || attr.value.kind == LOG_KVLIST;
    unsigned known = ending >= 0 ? find_known(attr.key) : LOG_KNOWN_COUNT;
    if (known < LOG_KNOWN_COUNT) {
        r->known[known] = attr.value;
        r->known_set |= 1u << known;
    }
    return 0;
}

/* All but known[], which is valid by known_set. One by one: memset() of so few bytes becomes
 * `rep stos`, which takes longer than the rest of a short record. */
static inline void clear(struct log_record *r)
{
    const struct span none = {0};
    r->time_unix_ns = r->observed_unix_ns = 0;
    r->severity_number = 0;
    r->flags = r->attributes = r->known_set = 0;
    r->severity_text = r->event_name = r->trace_id = r->span_id = none;
    r->body = (struct log_value){0};
    r->may_name = false;
}

int log_record_read(struct log_record *out, struct span record)
{
    struct wire w;
    struct wire_field f;
    int rc = 0;

    clear(out);
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
