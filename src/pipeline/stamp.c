/* stamp: KeyValues, each of them a text or the one double. */
#include "pipeline/stamp.h"

#include <string.h>

#include "otlp/fields.h"
#include "otlp/wire.h"
#include "pattern/signature.h"
#include "pipeline/rules.h"

#define HEX_DIGITS (RULES_RANDOM_BITS / 4)

static const struct {
    const char *name, *key;
    size_t key_len, text_max;
} stamps[] = {
#define X(name, word, key, bytes) [STAMP_##name] = {word, key, sizeof(key) - 1, bytes},
    STAMPS(X)
#undef X
};

const char *stamp_name(enum stamp s)
{
    return stamps[s].name;
}

int stamp_parse(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(stamps); i++)
        if (span_eq(name, span_str(stamps[i].name)))
            return (int)i;
    return ERR_CONFIG;
}

static size_t pair_size(enum stamp s, size_t value)
{
    return wire_len_size(KEY_VALUE_KEY, stamps[s].key_len) + wire_len_size(KEY_VALUE_VALUE, value);
}

size_t stamp_bytes(unsigned set)
{
    size_t sum = 0;
    for (unsigned s = 0; s < STAMP_COUNT; s++) {
        size_t value = stamps[s].text_max > 0 ? wire_len_size(ANY_VALUE_STRING, stamps[s].text_max)
                                              : 1 + sizeof(double);
        bool is_twice = s == STAMP_WEIGHT_ALWAYS && (set >> STAMP_ADJUSTED_COUNT & 1) != 0;
        if ((set >> s & 1) != 0 && !is_twice)
            sum += wire_len_size(LOG_RECORD_ATTRIBUTES, pair_size((enum stamp)s, value));
    }
    return sum;
}

static uint8_t *put_len(uint8_t *at, uint32_t number, size_t len)
{
    return wire_put_varint(wire_put_varint(at, (uint64_t)number << 3 | WIRE_LEN), len);
}

static uint8_t *put_bytes(uint8_t *at, uint32_t number, struct span bytes)
{
    at = put_len(at, number, bytes.len);
    memcpy(at, bytes.base, bytes.len);
    return at + bytes.len;
}

/* Tag, length and key of a KeyValue whose AnyValue takes `value` bytes. */
static uint8_t *put_key(uint8_t *at, enum stamp s, size_t value)
{
    at = put_len(at, LOG_RECORD_ATTRIBUTES, pair_size(s, value));
    at = put_bytes(at, KEY_VALUE_KEY, span_of(stamps[s].key, stamps[s].key_len));
    return put_len(at, KEY_VALUE_VALUE, value);
}

static uint8_t *put_text(uint8_t *at, enum stamp s, struct span text)
{
    at = put_key(at, s, wire_len_size(ANY_VALUE_STRING, text.len));
    return put_bytes(at, ANY_VALUE_STRING, text);
}

static uint8_t *put_double(uint8_t *at, enum stamp s, double real)
{
    at = put_key(at, s, 1 + sizeof real);
    *at++ = ANY_VALUE_DOUBLE << 3 | WIRE_I64;
    memcpy(at, &real, sizeof real);
    return at + sizeof real;
}

/* The 14 digits of 56 bits. */
static struct span hex(char room[HEX_DIGITS], uint64_t word)
{
    for (size_t i = HEX_DIGITS; i-- > 0; word >>= 4)
        room[i] = "0123456789abcdef"[word & 15];
    return span_of(room, HEX_DIGITS);
}

struct span stamp_write(uint8_t room[STAMP_BYTES], unsigned set, const struct stamp_values *v)
{
    uint8_t *at = room;
    char digits[HEX_DIGITS], id[SIGNATURE_TEXT_BYTES];
    if (stamp_has_weight(set))
        at =
            put_double(at, STAMP_ADJUSTED_COUNT, v->released ? 0 : 1 / rules_rate_of(v->threshold));
    if (v->threshold == 0 && !v->released)
        return span_of(room, (size_t)(at - room));
    if ((set >> STAMP_PATTERN & 1) != 0) {
        signature_format(id, v->signature);
        at = put_text(at, STAMP_PATTERN, span_of(id, SIGNATURE_TEXT_BYTES - 1));
    }
    if ((set >> STAMP_FAMILY & 1) != 0 && v->family != v->signature) {
        signature_format(id, v->family);
        at = put_text(at, STAMP_FAMILY, span_of(id, SIGNATURE_TEXT_BYTES - 1));
    }
    if ((set >> STAMP_THRESHOLD & 1) != 0) {
        struct span text = hex(digits, v->threshold);
        while (text.len > 1 && text.base[text.len - 1] == '0')
            text.len--;
        at = put_text(at, STAMP_THRESHOLD, text);
    }
    if ((set >> STAMP_RANDOMNESS & 1) != 0 && v->own_randomness)
        at = put_text(at, STAMP_RANDOMNESS, hex(digits, v->randomness));
    if ((set >> STAMP_TEMPLATE & 1) != 0 && v->template_text.len > 0)
        at = put_text(at, STAMP_TEMPLATE, v->template_text);
    if ((set >> STAMP_REASON & 1) != 0)
        at = put_text(at, STAMP_REASON, span_str(v->reason));
    return span_of(room, (size_t)(at - room));
}
