/*
 * buf: owned bytes that grow at the end, charged to a budget when it has one.
 *
 * Appends fail once: after the first failure (`err`) every further append is
 * a no-op, so a sequence of small writes is checked after the last one.
 * Zero is a valid, empty buf without a budget and without a limit.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/err.h"
#include "util/span.h"

struct buf {
    uint8_t *base;
    size_t len, cap;
    size_t max_bytes;      /* ERR_TOO_BIG beyond; 0: no limit of its own */
    struct budget *budget; /* charged with cap; NULL: not charged */
    int err;               /* 0, or the first failure; sticky */
};

/* Make room for `more` bytes past len. The capacity doubles where limit and
 * budget allow, so a sequence of appends is linear. */
MUST_CHECK int buf_reserve(struct buf *b, size_t more);

/* Make the capacity exactly len + more, when less is there: for a size that is
 * known (Content-Length). */
MUST_CHECK int buf_reserve_exact(struct buf *b, size_t more);

void buf_append(struct buf *b, struct span s);
void buf_append_byte(struct buf *b, uint8_t byte);
void buf_append_str(struct buf *b, const char *text);
void buf_append_u64(struct buf *b, uint64_t n); /* in decimal digits */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Forget the content, keep the memory; clears err. */
void buf_clear(struct buf *b);

/* Remove n bytes from the front. */
void buf_consume(struct buf *b, size_t n);

/* Give back the memory beyond len, where the allocator takes it. */
void buf_trim(struct buf *b);

/* Free the memory, give it back to the budget. Accepts a zeroed buf; leaves
 * an empty one with the same limit and budget. */
void buf_done(struct buf *b);

/* Move the memory, the charge included, into *to (which must own nothing). */
void buf_move(struct buf *to, struct buf *from);

static inline struct span buf_span(const struct buf *b)
{
    return (struct span){b->base, b->len};
}
