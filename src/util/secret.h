/*
 * secret: keys are compared and wiped so that neither time nor memory tells of them.
 *
 * Both texts stand in blocks of SECRET_BYTES, padded with zeros, and whole blocks are compared:
 * the time says neither where they differ nor how long they are. Who shows us our key does not
 * have it repeated in a log.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

#define SECRET_LEAST_BYTES 8 /* what is shorter is found in any text */

/* Not memset(), which a compiler leaves out where nothing reads the memory again. */
static inline void secret_wipe(void *at, size_t bytes)
{
    if (bytes > 0)
        explicit_bzero(at, bytes);
}

/* free() of a text. Accepts NULL. */
static inline void secret_free(char *text)
{
    if (text != NULL)
        secret_wipe(text, strlen(text));
    free(text);
}

/* The value of a whole header, without the scheme of Authorization ("Bearer"). */
static inline const char *secret_of_header(const char *header)
{
    const char *colon = strchr(header, ':');
    const char *value = colon == NULL ? header : colon + 1 + strspn(colon + 1, " ");
    const char *space = strncasecmp(header, "authorization:", 14) == 0 ? strchr(value, ' ') : NULL;
    return space == NULL ? value : space + 1;
}

/* Overwrite each place in a received text, whose memory is ours, at which the secret stands. */
static inline void secret_mask(struct span text, const char *secret)
{
    size_t n = strlen(secret);
    uint8_t *at;
    while (n >= SECRET_LEAST_BYTES && text.len >= n &&
           (at = memmem(text.base, text.len, secret, n)) != NULL) {
        memset(at, '*', n);
        text = span_skip(text, (size_t)(at - text.base) + n);
    }
}
