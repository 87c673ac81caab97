/* utf8: is this text well formed, and what stands for it where it is not? (RFC 3629, Unicode 15
 * table 3-7) */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "util/span.h"

/* The general case, from the first byte that is not ASCII. */
bool utf8_check_from(const uint8_t *at, const uint8_t *end);

/* The length of the next piece of [at, end), which is not empty: a character, or bytes that are
 * none: as many as could begin one (Unicode 15, 3.9, "maximal subpart"), for which one U+FFFD
 * stands. */
size_t utf8_step(const uint8_t *at, const uint8_t *end, bool *is_sound);

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define UTF8_REPLACEMENT_BYTES 3

/* Sixteen bytes at a time, the last may overlap those before. */
static inline bool ascii_is_all(const uint8_t *at, size_t len)
{
    const uint64_t high_bits = 0x8080808080808080u;
    uint64_t a, b, seen = 0;
    if (len < 16) {
        if (len >= 8) {
            memcpy(&a, at, 8);
            memcpy(&b, at + len - 8, 8);
            return ((a | b) & high_bits) == 0;
        }
        if (len >= 4) {
            uint32_t head, tail;
            memcpy(&head, at, 4);
            memcpy(&tail, at + len - 4, 4);
            return ((head | tail) & (uint32_t)high_bits) == 0;
        }
        uint8_t any = 0;
        for (size_t i = 0; i < len; i++)
            any |= at[i];
        return any < 0x80;
    }
    for (size_t i = 0; i + 16 < len; i += 16) {
        memcpy(&a, at + i, 8);
        memcpy(&b, at + i + 8, 8);
        seen |= a | b;
    }
    memcpy(&a, at + len - 16, 8);
    memcpy(&b, at + len - 8, 8);
    return ((seen | a | b) & high_bits) == 0;
}

/* No overlong forms, no surrogates, nothing above U+10FFFF. NUL is a
 * character like any other. Nearly all text is ASCII. */
static inline bool utf8_is_valid(struct span s)
{
    return ascii_is_all(s.base, s.len) || utf8_check_from(s.base, s.base + s.len);
}
