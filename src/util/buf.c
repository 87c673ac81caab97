/* buf: growing owned bytes. */
#include "util/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST_BYTES 64 /* the first allocation: one cache line */

static int resize(struct buf *b, size_t cap)
{
    if (budget_take(b->budget, cap - b->cap) < 0)
        return ERR_FULL;
    uint8_t *base = realloc(b->base, cap);
    if (base == NULL) {
        budget_give(b->budget, cap - b->cap);
        return ERR_NOMEM;
    }
    b->base = base;
    b->cap = cap;
    return 0;
}

static int wanted(struct buf *b, size_t more, size_t *need)
{
    if (b->err != 0)
        return b->err;
    if (more > SIZE_MAX / 2 - b->len)
        return ERR_TOO_BIG;
    *need = b->len + more;
    if (b->max_bytes > 0 && *need > b->max_bytes)
        return ERR_TOO_BIG;
    return 0;
}

int buf_reserve_exact(struct buf *b, size_t more)
{
    size_t need = 0;
    int rc = wanted(b, more, &need);
    if (rc == 0 && need > b->cap)
        rc = resize(b, need);
    return b->err = rc;
}

int buf_reserve(struct buf *b, size_t more)
{
    size_t need = 0;
    int rc = wanted(b, more, &need);
    if (rc < 0 || need <= b->cap)
        return b->err = rc;

    size_t cap = b->cap * 2;
    if (cap < SMALLEST_BYTES)
        cap = SMALLEST_BYTES;
    if (cap < need)
        cap = need;
    if (b->max_bytes > 0 && cap > b->max_bytes)
        cap = b->max_bytes;
    rc = resize(b, cap);
    if (rc == ERR_FULL && cap > need)
        rc = resize(b, need); /* the budget is nearly out: take only what is needed */
    return b->err = rc;
}

void buf_append(struct buf *b, struct span s)
{
    if (s.len == 0 || buf_reserve(b, s.len) < 0)
        return;
    memcpy(b->base + b->len, s.base, s.len);
    b->len += s.len;
}

void buf_append_byte(struct buf *b, uint8_t byte)
{
    if (buf_reserve(b, 1) == 0)
        b->base[b->len++] = byte;
}

void buf_append_str(struct buf *b, const char *text)
{
    buf_append(b, span_str(text));
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && buf_reserve(b, (size_t)n + 1) == 0) {
        vsnprintf((char *)b->base + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_append_u64(struct buf *b, uint64_t n)
{
    char digits[20]; /* of 2^64 - 1 */
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    buf_append(b, span_of(digits + at, sizeof digits - at));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->err = 0;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    b->len -= n;
    if (b->len > 0 && n > 0)
        memmove(b->base, b->base + n, b->len);
}

void buf_trim(struct buf *b)
{
    if (b->len == b->cap)
        return;
    if (b->len == 0) {
        buf_done(b);
        return;
    }
    uint8_t *base = realloc(b->base, b->len);
    if (base == NULL)
        return;
    budget_give(b->budget, b->cap - b->len);
    b->base = base;
    b->cap = b->len;
}

void buf_done(struct buf *b)
{
    free(b->base);
    budget_give(b->budget, b->cap);
    *b = (struct buf){.max_bytes = b->max_bytes, .budget = b->budget};
}

void buf_move(struct buf *to, struct buf *from)
{
    assert(to->base == NULL);
    *to = *from;
    *from = (struct buf){.max_bytes = from->max_bytes, .budget = from->budget};
}
