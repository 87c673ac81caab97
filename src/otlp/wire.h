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
    uint32_t groups;   /* GROUP: how deep groups nest, itself included; otherwise 0 */
};

static inline void wire_init(struct wire *w, struct span message)
{
    const uint8_t *end = message.len > 0 ? message.base + message.len : message.base;
    *w = (struct wire){message.base, end, 0};
}

/* The two below in full: every wire type, every length of varint. */
bool wire_next_any(struct wire *w, struct wire_field *f);
bool wire_read_varint_any(struct wire *w, uint64_t *out);

/* The pieces of a field, for readers with a loop of their own. Each is false,
 * with w->err set, when the input ends too early or is damaged. */
bool wire_read_tag(struct wire *w, uint32_t *number, uint32_t *type);
bool wire_skip(struct wire *w, size_t bytes);

static inline bool wire_read_varint(struct wire *w, uint64_t *out)
{
    if (w->at < w->end && *w->at < 0x80) { /* nearly all of them */
        *out = *w->at++;
        return true;
    }
    return wire_read_varint_any(w, out);
}

/* Read the next field into *f. False at the end of the message and on damage;
 * tell the two apart with w->err after the loop. */
static inline bool wire_next(struct wire *w, struct wire_field *f)
{
    const uint8_t *at = w->at;
    size_t left = (size_t)(w->end - at);
    /* Most fields by far: LEN, number below 16, content below 128 bytes. */
    if (left >= 2 && (at[0] & 0x87) == WIRE_LEN && at[0] > 7 && at[1] < 0x80 && at[1] <= left - 2) {
        f->number = at[0] >> 3;
        f->type = WIRE_LEN;
        f->value = 0;
        f->groups = 0;
        f->bytes = (struct span){at + 2, at[1]};
        f->whole = (struct span){at, 2 + (size_t)at[1]};
        w->at = at + 2 + at[1];
        return true;
    }
    return wire_next_any(w, f);
}

/* Step over fixed numbers and short varints with numbers below 16, for readers that want none. */
static inline void wire_skip_numbers(struct wire *w)
{
    for (;;) {
        const uint8_t *at = w->at;
        size_t left = (size_t)(w->end - at), size;
        if (left < 9 || at[0] >= 0x80 || at[0] < 8)
            return;
        if ((at[0] & 7) == WIRE_I64)
            size = 9;
        else if ((at[0] & 7) == WIRE_I32)
            size = 5;
        else if ((at[0] & 7) == WIRE_VARINT && at[1] < 0x80)
            size = 2;
        else
            return;
        w->at = at + size;
    }
}

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

/* Append to a buf, whose sticky err has a failure. */
void wire_append_tag(struct buf *b, uint32_t number, uint32_t type);
void wire_append_varint(struct buf *b, uint32_t number, uint64_t value);
void wire_append_i64(struct buf *b, uint32_t number, uint64_t value);
void wire_append_double(struct buf *b, uint32_t number, double value);
void wire_append_len(struct buf *b, uint32_t number, struct span content);
/* Only the head of a LEN field whose content of `len` bytes follows. */
void wire_append_len_head(struct buf *b, uint32_t number, size_t len);

/* A nested message whose length is not known before its end: room for the length of `likely`
 * bytes is left, and the content moved where that was wrong, so that lengths are minimal. */
struct wire_nested {
    size_t content; /* where it begins in the buf */
    unsigned width;
};
void wire_begin(struct buf *b, uint32_t number, size_t likely, struct wire_nested *n);
void wire_end(struct buf *b, const struct wire_nested *n);
