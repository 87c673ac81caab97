/*
 * logs_check: the guard at the door of the pipeline.
 *
 * One loop with a stack of its own walks all levels of the request. What to do
 * with a field is looked up by message and tag byte; every field number that
 * OTLP defines is below 16, so its tag is one byte. All else takes the slow
 * path: unknown fields, tags written longer than need be, and known fields
 * with a wire type that is not theirs.
 */
#include "otlp/logs.h"
#include "otlp/logs_schema.h"
#include "util/utf8.h"

#define V(number) [(number) << 3 | WIRE_VARINT]
#define F64(number) [(number) << 3 | WIRE_I64]
#define F32(number) [(number) << 3 | WIRE_I32]
#define L(number) [(number) << 3 | WIRE_LEN]

/* clang-format off */
const uint8_t logs_actions[MESSAGE_COUNT][TAGS] = {
    [REQUEST] = {L(1) = ENTER + RESOURCE_LOGS},
    [RESOURCE_LOGS] = {
        L(1) = ENTER + RESOURCE, L(2) = ENTER + SCOPE_LOGS, L(3) = STRING,
    },
    [RESOURCE] = {
        L(1) = ENTER + KEY_VALUE, V(2) = VARINT, L(3) = ENTER + ENTITY_REF,
    },
    [ENTITY_REF] = {L(1) = STRING, L(2) = STRING, L(3) = STRING, L(4) = STRING},
    [SCOPE_LOGS] = {L(1) = ENTER + SCOPE, L(2) = ENTER + RECORD, L(3) = STRING},
    [SCOPE] = {
        L(1) = STRING, L(2) = STRING, L(3) = ENTER + KEY_VALUE, V(4) = VARINT,
    },
    [RECORD] = {
        F64(1) = I64, V(2) = VARINT, L(3) = STRING, L(5) = ENTER + ANY_VALUE,
        L(6) = ENTER + KEY_VALUE, V(7) = VARINT, F32(8) = I32, L(9) = BYTES, L(10) = BYTES,
        F64(11) = I64, L(12) = STRING,
    },
    [KEY_VALUE] = {L(1) = STRING, L(2) = ENTER + ANY_VALUE},
    [ANY_VALUE] = {
        L(1) = STRING, V(2) = VARINT, V(3) = VARINT, F64(4) = I64, L(5) = ENTER + ARRAY_VALUE,
        L(6) = ENTER + KEY_VALUE_LIST, L(7) = BYTES,
    },
    [ARRAY_VALUE] = {L(1) = ENTER + ANY_VALUE},
    [KEY_VALUE_LIST] = {L(1) = ENTER + KEY_VALUE},
};

/* Bit n: field n is defined, with whatever wire type. */
static const uint16_t defined[MESSAGE_COUNT] = {
    [REQUEST] = 1 << 1,
    [RESOURCE_LOGS] = 1 << 1 | 1 << 2 | 1 << 3,
    [RESOURCE] = 1 << 1 | 1 << 2 | 1 << 3,
    [ENTITY_REF] = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4,
    [SCOPE_LOGS] = 1 << 1 | 1 << 2 | 1 << 3,
    [SCOPE] = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4,
    [RECORD] = 0x1ffe & ~(1 << 4), /* 4 was `name`, taken out before 1.0 */
    [KEY_VALUE] = 1 << 1 | 1 << 2,
    [ANY_VALUE] = 0xfe,
    [ARRAY_VALUE] = 1 << 1,
    [KEY_VALUE_LIST] = 1 << 1,
};
/* clang-format on */

int logs_action(enum message in, uint32_t number, uint32_t type)
{
    if (number >= 16 || (defined[in] >> number & 1) == 0)
        return OTHER;
    int action = logs_actions[in][number << 3 | type];
    return action != OTHER ? action : ERR_MALFORMED;
}

/* Decide about a field that the table has no answer for. Returns its action
 * and leaves w behind its tag when it is a known field after all; OTHER and w
 * behind it when it may be skipped; or an error. */
static int check_odd_field(struct wire *w, enum message in, unsigned depth)
{
    struct wire ahead = *w;
    uint32_t number, type;
    if (!wire_read_tag(&ahead, &number, &type))
        return ahead.err;
    int action = logs_action(in, number, type);
    if (action != OTHER) {
        *w = ahead;
        return action;
    }

    struct wire_field f;
    if (!wire_next(w, &f))
        return w->err;
    /* prost counts a skipped field as one level, a group as one more. */
    return depth + f.groups < LOGS_MAX_DEPTH ? OTHER : ERR_TOO_DEEP;
}

/* A KeyValue as nearly all are: a key, then a value that is a string or a number, each in one
 * piece with a length of one byte, and all text ASCII. It is sound. False: it may be as well. */
static inline bool is_plain_pair(const uint8_t *at, size_t len)
{
    if (len < 6 || at[0] != (1 << 3 | WIRE_LEN) || at[1] >= 0x80)
        return false;
    size_t value_at = 2 + (size_t)at[1];
    if (len < value_at + 4 || at[value_at] != (2 << 3 | WIRE_LEN) ||
        value_at + 2 + at[value_at + 1] != len || at[value_at + 1] >= 0x80)
        return false;
    const uint8_t *value = at + value_at + 2;
    size_t n = at[value_at + 1], i = 1;
    switch (value[0]) {
    case 1 << 3 | WIRE_LEN:
        return 2 + (size_t)value[1] == n && ascii_is_all(at, len);
    case 4 << 3 | WIRE_I64:
        return n == 9 && ascii_is_all(at + 2, at[1]);
    case 2 << 3 | WIRE_VARINT:
    case 3 << 3 | WIRE_VARINT:
        while (i < n && value[i] >= 0x80)
            i++;
        return i + 1 == n && n <= WIRE_VARINT_BYTES && ascii_is_all(at + 2, at[1]);
    default:
        return false;
    }
}

struct frame {
    const uint8_t *end;
    enum message in;
};

/* A field without a length is passed; false: it has one. */
static inline bool pass_scalar(struct wire *w, int action)
{
    uint64_t ignored;
    switch (action) {
    case OTHER:
        return true;
    case VARINT:
        wire_read_varint(w, &ignored);
        return true;
    case I64:
        wire_skip(w, 8);
        return true;
    case I32:
        wire_skip(w, 4);
        return true;
    default:
        return false;
    }
}

/* A message that stands `top` messages deep, and all in it. */
static inline int check(struct span message, enum message in, const unsigned top,
                        struct logs_count *out)
{
    struct frame above[LOGS_MAX_DEPTH];
    uint32_t seen[MESSAGE_COUNT] = {0};
    size_t record_bytes = 0, largest = 0;
    unsigned depth = top;
    struct wire w;
    uint64_t len;

    wire_init(&w, message);
    for (;;) {
        while (w.at == w.end) {
            if (w.err != 0)
                return w.err;
            if (depth == top)
                goto sound;
            w.end = above[--depth].end;
            in = above[depth].in;
        }

        int action = *w.at < TAGS ? logs_actions[in][*w.at] : OTHER;
        if (__builtin_expect(action != OTHER, 1)) {
            w.at++;
        } else {
            action = check_odd_field(&w, in, depth);
            if (action < 0)
                return action;
        }

        if (pass_scalar(&w, action))
            continue;
        if (!wire_read_varint(&w, &len))
            return w.err;
        if (len > (uint64_t)(w.end - w.at))
            return ERR_MORE;
        if (action == ENTER + KEY_VALUE && depth + 2 <= LOGS_MAX_DEPTH &&
            is_plain_pair(w.at, len)) {
            w.at += len; /* its two levels and all: most of a record is such */
            continue;
        }
        if (action >= ENTER) {
            if (depth == LOGS_MAX_DEPTH)
                return ERR_TOO_DEEP;
            above[depth++] = (struct frame){w.end, in};
            in = (enum message)(action - ENTER);
            w.end = w.at + len;
            seen[in]++;
            if (in == RECORD) {
                record_bytes += len;
                largest = len > largest ? len : largest;
            }
            continue;
        }
        if (action == STRING && !utf8_is_valid((struct span){w.at, len}))
            return ERR_UTF8;
        w.at += len;
    }

sound:
    *out = (struct logs_count){seen[RESOURCE_LOGS], seen[SCOPE_LOGS], seen[RECORD], record_bytes,
                               largest};
    return 0;
}

int logs_check(struct span request, struct logs_count *out)
{
    return check(request, REQUEST, 0, out);
}

int logs_check_message(struct span bytes, enum message kind, unsigned depth)
{
    struct logs_count ignored;
    return check(bytes, kind, depth, &ignored);
}
