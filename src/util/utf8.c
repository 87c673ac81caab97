/* utf8: the path for text that is not all ASCII. */
#include "util/utf8.h"

#include <stddef.h>

/* What may follow a lead byte: how many bytes, and the bounds of the first of
 * them, which is where overlong forms, surrogates and the end of Unicode show. */
struct lead {
    uint8_t from, to; /* of the lead byte */
    uint8_t more;
    uint8_t low, high;
};

/* clang-format off */
static const struct lead leads[] = {
    {0xc2, 0xdf, 1, 0x80, 0xbf},
    {0xe0, 0xe0, 2, 0xa0, 0xbf},
    {0xe1, 0xec, 2, 0x80, 0xbf},
    {0xed, 0xed, 2, 0x80, 0x9f},
    {0xee, 0xef, 2, 0x80, 0xbf},
    {0xf0, 0xf0, 3, 0x90, 0xbf},
    {0xf1, 0xf3, 3, 0x80, 0xbf},
    {0xf4, 0xf4, 3, 0x80, 0x8f},
};
/* clang-format on */

static const struct lead *find_lead(uint8_t byte)
{
    for (size_t i = 0; i < ARRAY_LEN(leads); i++) {
        if (byte >= leads[i].from && byte <= leads[i].to)
            return &leads[i];
    }
    return NULL;
}

size_t utf8_step(const uint8_t *at, const uint8_t *end, bool *is_sound)
{
    *is_sound = true;
    if (*at < 0x80)
        return 1;
    const struct lead *l = find_lead(*at);
    *is_sound = false;
    if (l == NULL)
        return 1;
    size_t left = (size_t)(end - at), n = 1;
    while (n <= l->more && n < left) {
        uint8_t low = n == 1 ? l->low : 0x80, high = n == 1 ? l->high : 0xbf;
        if (at[n] < low || at[n] > high)
            return n;
        n++;
    }
    *is_sound = n == l->more + 1u;
    return n;
}

bool utf8_check_from(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        if (*at < 0x80) {
            at++;
            continue;
        }
        const struct lead *l = find_lead(*at++);
        if (l == NULL || end - at < l->more)
            return false;
        if (*at < l->low || *at > l->high)
            return false;
        for (unsigned i = 1; i < l->more; i++) {
            if ((at[i] & 0xc0) != 0x80)
                return false;
        }
        at += l->more;
    }
    return true;
}
