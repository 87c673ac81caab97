/*
 * span: borrowed bytes. The holder of a span does not own what it points at;
 * it dies with the memory it was cut from. An empty span may have a NULL base.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct span {
    const uint8_t *base;
    size_t len;
};

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* A string literal as a span, without its NUL. */
#define SPAN(literal) ((struct span){(const uint8_t *)("" literal), sizeof(literal) - 1})

static inline struct span span_of(const void *base, size_t len)
{
    return (struct span){(const uint8_t *)base, len};
}

static inline struct span span_str(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

/* The value of a hexadecimal digit of either case; -1: it is none. */
static inline int span_hex_digit(uint8_t c)
{
    uint8_t letter = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* ASCII letters compare equal in either case; other bytes exactly. */
static inline bool span_ieq(struct span a, struct span b)
{
    return a.len == b.len &&
           (a.len == 0 || strncasecmp((const char *)a.base, (const char *)b.base, a.len) == 0);
}

static inline bool span_starts(struct span s, struct span prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.base, prefix.base, prefix.len) == 0);
}

static inline struct span span_skip(struct span s, size_t n)
{
    return n == 0 ? s : (struct span){s.base + n, s.len - n}; /* NULL + 0 is none in C17 */
}

/* Without spaces and tabs at both ends. */
static inline struct span span_trim(struct span s)
{
    while (s.len > 0 && (s.base[0] == ' ' || s.base[0] == '\t'))
        s = span_skip(s, 1);
    while (s.len > 0 && (s.base[s.len - 1] == ' ' || s.base[s.len - 1] == '\t'))
        s.len--;
    return s;
}
