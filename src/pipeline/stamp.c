/* stamp: two KeyValues of fixed shape. */
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

struct span stamp_write(uint8_t room[STAMP_BYTES], double adjusted_count, uint64_t signature)
{
    uint8_t *at = put_key(room, STAMP_ADJUSTED_COUNT, 1 + sizeof adjusted_count);
    *at++ = ANY_DOUBLE << 3 | WIRE_I64;
    memcpy(at, &adjusted_count, sizeof adjusted_count);
    at += sizeof adjusted_count;

    char id[SIGNATURE_TEXT_BYTES];
    const size_t id_len = SIGNATURE_TEXT_BYTES - 1;
    signature_format(id, signature);
    at = put_key(at, STAMP_PATTERN_ID, wire_len_size(ANY_STRING, id_len));
    at = put_bytes(at, ANY_STRING, id, id_len);
    return span_of(room, (size_t)(at - room));
}
