/*
 * saved: numbers and texts behind each other, as they are kept over a restart.
 *
 * Little-endian, without names: both sides know the order, and a version above all of it says which
 * order it is. The reader fails once: after the first piece that is not there everything is 0 or
 * empty, and `is_bad` is asked at the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/buf.h"
#include "util/le.h"
#include "util/span.h"

static inline void saved_put_u8(struct buf *b, uint8_t n)
{
    buf_append_byte(b, n);
}

static inline void saved_put_u32(struct buf *b, uint32_t n)
{
    uint8_t bytes[4];
    le32_put(bytes, n);
    buf_append(b, span_of(bytes, sizeof bytes));
}

static inline void saved_put_u64(struct buf *b, uint64_t n)
{
    uint8_t bytes[8];
    le64_put(bytes, n);
    buf_append(b, span_of(bytes, sizeof bytes));
}

static inline void saved_put_double(struct buf *b, double n)
{
    uint64_t bits;
    memcpy(&bits, &n, sizeof bits);
    saved_put_u64(b, bits);
}

static inline void saved_put_span(struct buf *b, struct span s)
{
    saved_put_u32(b, (uint32_t)s.len);
    buf_append(b, s);
}

/* A count that is known only behind what it counts: where it stands. */
static inline size_t saved_put_later(struct buf *b)
{
    saved_put_u32(b, 0);
    return b->len;
}

static inline void saved_set_later(struct buf *b, size_t at, uint32_t n)
{
    if (b->err == 0)
        le32_put(b->base + at - 4, n);
}

struct saved {
    struct span left;
    bool is_bad;
};

/* Lent. */
static inline struct span saved_bytes(struct saved *s, size_t n)
{
    if (s->is_bad || s->left.len < n) {
        s->is_bad = true;
        return (struct span){0};
    }
    struct span bytes = span_of(s->left.base, n);
    s->left = span_skip(s->left, n);
    return bytes;
}

static inline uint8_t saved_u8(struct saved *s)
{
    struct span b = saved_bytes(s, 1);
    return b.len == 1 ? b.base[0] : 0;
}

static inline uint32_t saved_u32(struct saved *s)
{
    struct span b = saved_bytes(s, 4);
    return b.len == 4 ? le32_get(b.base) : 0;
}

static inline uint64_t saved_u64(struct saved *s)
{
    struct span b = saved_bytes(s, 8);
    return b.len == 8 ? le64_get(b.base) : 0;
}

static inline double saved_double(struct saved *s)
{
    uint64_t bits = saved_u64(s);
    double n;
    memcpy(&n, &bits, sizeof n);
    return n == n ? n : 0; /* no number is none that was saved */
}

static inline struct span saved_span(struct saved *s)
{
    return saved_bytes(s, saved_u32(s));
}
