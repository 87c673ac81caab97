/* words: a list of texts in one text, commas between; no word is empty. */
#pragma once

#include <stdbool.h>

#include "util/span.h"

/* Cut the next word off *rest. False: there are no more. */
static inline bool words_next(struct span *rest, struct span *word)
{
    if (rest->len == 0)
        return false;
    const uint8_t *comma = memchr(rest->base, ',', rest->len);
    size_t n = comma == NULL ? rest->len : (size_t)(comma - rest->base);
    *word = span_of(rest->base, n);
    *rest = span_skip(*rest, n < rest->len ? n + 1 : n);
    return true;
}
