/* secret: memory that held a key is overwritten before it is given back, and who shows us our key
 * does not have it repeated in a log. */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/span.h"

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
