/* log_record: one record and its values, seen where they lie. */
#include "otlp/fields.h"
#include "otlp/logs.h"

#include <stddef.h>
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

#define ENDING_BYTES 8
#define ENDING_SLOTS 16

/* Keys of interest by their last eight bytes, each in the slot that the upper bits of a product
 * name: one comparison for a key, whatever it is. The factor was found by trial. An empty slot is
 * like eight blanks, which have a slot that is not empty. */
#define ENDING_FACTOR UINT64_C(0x78e510617311d8a3)
static const struct ending {
    char text[ENDING_BYTES + 1];
    bool is_naming; /* of a key that a record may be signed by */
} endings[ENDING_SLOTS] = {
    [0] = {"ndomness", false}, [1] = {"ion.type", true},   [2] = {"ate.text", true},
    [4] = {"lFormat}", true},  [5] = {"tus_code", false},  [8] = {"template", true},
    [10] = {"priority", false}, [12] = {"ent.name", true}, [14] = {"hreshold", false},
    [15] = {"ed_count", false},
};
static const struct ending short_ending = {"@mt", true};
/* clang-format on */

/* Which of them ends the key, letters in any case. NULL: none. */
static inline const struct ending *find_ending(const uint8_t *key, size_t len)
{
    const uint64_t small = 0x2020202020202020u;
    uint64_t end, other;
    if (len < 3)
        return NULL;
    const uint8_t *last = key + len - 1;
    if (last[-2] == '@' && (last[-1] | 0x20) == 'm' && (last[0] | 0x20) == 't')
        return &short_ending;
    if (len < ENDING_BYTES)
        return NULL;
    memcpy(&end, last + 1 - ENDING_BYTES, ENDING_BYTES);
    const struct ending *e = &endings[(end | small) * ENDING_FACTOR >> 60];
    memcpy(&other, e->text, ENDING_BYTES);
    return (end | small) == (other | small) ? e : NULL;
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

/* A varint of `len` bytes ends with the last of them and not before. The eight bytes up to there
 * can be read. */
static inline bool is_one_varint(const uint8_t *end, size_t len)
{
    const uint64_t more = 0x8080808080808080u;
    uint64_t bytes;
    if (len == 0 || len > 8)
        return false;
    memcpy(&bytes, end - 8, 8);
    unsigned others = 64 - 8 * (unsigned)len; /* bits that belong to what stands before it */
    return (bytes & more) >> others == (more >> 8) >> others;
}

/* An attribute as everybody writes it (a key of eight bytes or more that says nothing to us, then
 * one member of AnyValue that is no map, lengths of one byte): of it nothing is to be noted.
 * False: it may be as well. */
static inline bool is_dull_attribute(const uint8_t *at, size_t len)
{
    if (len < 4 || at[0] != (KEY_VALUE_KEY << 3 | WIRE_LEN) || at[1] >= 0x80)
        return false;
    size_t value_at = 2 + (size_t)at[1];
    if (len < value_at + 4 || at[value_at] != (KEY_VALUE_VALUE << 3 | WIRE_LEN) ||
        value_at + 2 + at[value_at + 1] != len)
        return false;

    const uint8_t *value = at + value_at + 2;
    size_t n = len - value_at - 2;
    bool is_one;
    switch (value[0]) {
    case 1 << 3 | WIRE_LEN: /* a string, an array, bytes */
    case 5 << 3 | WIRE_LEN:
    case 7 << 3 | WIRE_LEN:
        is_one = 2 + (size_t)value[1] == n;
        break;
    case 4 << 3 | WIRE_I64:
        is_one = n == 9;
        break;
    case 2 << 3 | WIRE_VARINT:
    case 3 << 3 | WIRE_VARINT:
        is_one = len >= 8 && is_one_varint(at + len, n - 1);
        break;
    default:
        is_one = false;
        break;
    }
    return is_one && find_ending(at + 2, at[1]) == NULL;
}

static int note_attribute(struct log_record *r, struct span key_value)
{
    struct log_attr attr;
    int rc = read_attr(&attr, key_value);
    if (rc < 0)
        return rc;
    const struct ending *ending = find_ending(attr.key.base, attr.key.len);
    r->may_name =
        r->may_name || (ending != NULL && ending->is_naming) || attr.value.kind == LOG_KVLIST;
    unsigned known = ending != NULL ? find_known(attr.key) : LOG_KNOWN_COUNT;
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

/* Fields of one tag byte, a length of one byte and a content that goes into the record as it is,
 * by their tag: where to, as an offset. 0: another field. */
#define TAG_LEN(number) ((number) << 3 | WIRE_LEN)
static const uint8_t span_offsets[0x80] = {
    [TAG_LEN(LOG_RECORD_SEVERITY_TEXT)] = offsetof(struct log_record, severity_text),
    [TAG_LEN(LOG_RECORD_TRACE_ID)] = offsetof(struct log_record, trace_id),
    [TAG_LEN(LOG_RECORD_SPAN_ID)] = offsetof(struct log_record, span_id),
    [TAG_LEN(LOG_RECORD_EVENT_NAME)] = offsetof(struct log_record, event_name),
};

/* Read fields as long as they have the form that nearly all have, and leave w at the first that has
 * another: what a field costs here is what a record costs, as it has some fifteen. */
static void read_plain(struct log_record *out, struct wire *w)
{
    const uint8_t *at = w->at, *end = w->end;
    uint32_t attributes = 0;
    while (end - at >= 9) {
        uint8_t tag = at[0], len = at[1];
        if (tag == TAG_LEN(LOG_RECORD_ATTRIBUTES)) {
            if (len >= 0x80 || len > end - at - 2 || !is_dull_attribute(at + 2, len))
                break;
            attributes++;
            at += 2 + len;
        } else if (tag < 0x80 && span_offsets[tag] != 0) {
            if (len >= 0x80 || len > end - at - 2)
                break;
            *(struct span *)((char *)out + span_offsets[tag]) = span_of(at + 2, len);
            at += 2 + len;
        } else if (tag == (LOG_RECORD_TIME_UNIX_NANO << 3 | WIRE_I64)) {
            memcpy(&out->time_unix_ns, at + 1, 8);
            at += 9;
        } else if (tag == (LOG_RECORD_OBSERVED_TIME_UNIX_NANO << 3 | WIRE_I64)) {
            memcpy(&out->observed_unix_ns, at + 1, 8);
            at += 9;
        } else if (tag == (LOG_RECORD_SEVERITY_NUMBER << 3 | WIRE_VARINT) && len < 0x80) {
            out->severity_number = len;
            at += 2;
        } else if (tag == TAG_LEN(LOG_RECORD_BODY) && len >= 2 && len <= end - at - 2 &&
                   at[2] == TAG_LEN(1) && at[3] == len - 2 && len < 0x80) {
            out->body = (struct log_value){.kind = LOG_STRING, .text = span_of(at + 4, at[3])};
            at += 2 + len;
        } else {
            break;
        }
    }
    out->attributes += attributes;
    w->at = at;
}

int log_record_read(struct log_record *out, struct span record)
{
    struct wire w;
    struct wire_field f;
    int rc = 0;

    clear(out);
    wire_init(&w, record);
    while (rc == 0) {
        read_plain(out, &w);
        if (!wire_next(&w, &f))
            break;
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
