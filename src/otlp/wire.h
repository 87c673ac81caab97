/*
 * wire: walk and write protobuf bytes in place. No copies, no allocation, no
 * schema. (protobuf.dev/programming-guides/encoding)
 *
 * Strict where Google's parsers are: varints of at most 10 bytes and 64 bits,
 * field numbers 1..2^29-1, groups balanced and at most WIRE_MAX_DEPTH deep.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/span.h"

enum {
    WIRE_VARINT = 0,
    WIRE_I64 = 1,
    WIRE_LEN = 2,
    WIRE_GROUP = 3,
    WIRE_END_GROUP = 4,
    WIRE_I32 = 5,
};

#define WIRE_MAX_DEPTH 100 /* protobuf's own default recursion limit */
#define WIRE_VARINT_BYTES 10

struct wire {
    const uint8_t *at, *end;
    int err; /* 0, or the first ERR_*; once set, every read says "no more" */
};

struct wire_field {
    uint32_t number;
    uint32_t type;     /* WIRE_VARINT, WIRE_I64, WIRE_LEN, WIRE_I32, WIRE_GROUP */
    uint64_t value;    /* VARINT, I64, I32; otherwise 0 */
    struct span bytes; /* LEN: the content; GROUP: all up to its end tag; borrowed */
    struct span whole; /* tag and value as they stand in the input */
};

static inline void wire_init(struct wire *w, struct span message)
{
    *w = (struct wire){message.base, message.base + message.len, 0};
}

/* Read the next field into *f. False at the end of the message and on damage;
 * tell the two apart with w->err after the loop. */
bool wire_next(struct wire *w, struct wire_field *f);

/* Bytes that `value` takes as a varint. */
static inline size_t wire_varint_size(uint64_t value)
{
    return (size_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}

/* Bytes of tag, length and content of a LEN field. */
static inline size_t wire_len_size(uint32_t number, size_t content)
{
    return wire_varint_size((uint64_t)number << 3) + wire_varint_size(content) + content;
}

/* Write a varint at `at`, which has room for 10 bytes. Returns the byte after it. */
static inline uint8_t *wire_put_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* Append to a buf (whose sticky err tells of failure). */
void wire_append_tag(struct buf *b, uint32_t number, uint32_t type);
void wire_append_varint(struct buf *b, uint32_t number, uint64_t value);
void wire_append_i64(struct buf *b, uint32_t number, uint64_t value);
void wire_append_double(struct buf *b, uint32_t number, double value);
void wire_append_len(struct buf *b, uint32_t number, struct span content);
/* Only the head of a LEN field whose content of `len` bytes follows. */
void wire_append_len_head(struct buf *b, uint32_t number, size_t len);
