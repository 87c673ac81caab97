/*
 * secret: keys are compared and wiped so that neither time nor memory tells of them.
 *
 * Both texts stand in blocks of SECRET_BYTES, padded with zeros, and whole blocks are compared:
 * the time says neither where they differ nor how long they are.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/span.h"

#define SECRET_BYTES 256 /* a JWT would be longer; keys that people make are not */

struct secret {
    uint64_t words[SECRET_BYTES / sizeof(uint64_t)];
    uint64_t len; /* a NUL at the end is no padding */
};

/* False: it is too long to be one. */
static inline bool secret_set(struct secret *s, struct span text)
{
    if (text.len >= SECRET_BYTES)
        return false;
    memset(s, 0, sizeof *s);
    if (text.len > 0)
        memcpy(s->words, text.base, text.len);
    s->len = text.len;
    return true;
}

static inline bool secret_eq(const struct secret *a, const struct secret *b)
{
    uint64_t differs = a->len ^ b->len;
    for (size_t i = 0; i < ARRAY_LEN(a->words); i++)
        differs |= a->words[i] ^ b->words[i];
    __asm__ volatile("" : "+r"(differs)); /* the loop may not end early for what comes of it */
    return differs == 0;
}

static inline void secret_wipe(void *at, size_t len)
{
    if (len > 0)
        explicit_bzero(at, len);
}
