/* stamp: KeyValues of fixed shape. */
#include "pipeline/stamp.h"

#include <string.h>

#include "otlp/wire.h"
#include "pipeline/signature.h"

enum { RECORD_ATTRIBUTES = 6, KEY_VALUE_KEY = 1, KEY_VALUE_VALUE = 2, ANY_STRING = 1, ANY_DOUBLE = 4 };

static uint8_t *put_len(uint8_t *at, uint32_t number, size_t len)
{
    return wire_put_varint(wire_put_varint(at, (uint64_t)number << 3 | WIRE_LEN), len);
}

static uint8_t *put_bytes(uint8_t *at, uint32_t number, const void *bytes, size_t len)
{
    at = put_len(at, number, len);
    memcpy(at, bytes, len);
    return at + len;
}

/* Tag, length and key of a KeyValue whose AnyValue takes `value` bytes. */
static uint8_t *put_key(uint8_t *at, const char *key, size_t value)
{
    size_t len = strlen(key);
    at = put_len(at, RECORD_ATTRIBUTES,
                 wire_len_size(KEY_VALUE_KEY, len) + wire_len_size(KEY_VALUE_VALUE, value));
    at = put_bytes(at, KEY_VALUE_KEY, key, len);
    return put_len(at, KEY_VALUE_VALUE, value);
}

static uint8_t *put_id(uint8_t *at, const char *key, uint64_t id)
{
    char text[SIGNATURE_TEXT_BYTES];
    const size_t len = SIGNATURE_TEXT_BYTES - 1;
    at = put_key(at, key, wire_len_size(ANY_STRING, len));
    return put_bytes(at, ANY_STRING, signature_format(text, id), len);
}

struct span stamp_write(uint8_t room[STAMP_BYTES], double adjusted_count, uint64_t signature,
                        uint64_t family)
{
    uint8_t *at = put_key(room, STAMP_ADJUSTED_COUNT, 1 + sizeof adjusted_count);
    *at++ = ANY_DOUBLE << 3 | WIRE_I64;
    memcpy(at, &adjusted_count, sizeof adjusted_count);
    at += sizeof adjusted_count;

    at = put_id(at, STAMP_PATTERN_ID, signature);
    if (family != signature)
        at = put_id(at, STAMP_PATTERN_FAMILY, family);
    return span_of(room, (size_t)(at - room));
}
