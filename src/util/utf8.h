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

/* No overlong forms, no surrogates, nothing above U+10FFFF. NUL is a
 * character like any other. Nearly all text is ASCII: eight bytes at a time,
 * the last eight may overlap those before. */
static inline bool utf8_is_valid(struct span s)
{
    const uint64_t high_bits = 0x8080808080808080u;
    uint64_t word;
    if (s.len == 0)
        return true;
    const uint8_t *at = s.base, *end = s.base + s.len;
    if (s.len >= 8) {
        for (; end - at > 8; at += 8) {
            memcpy(&word, at, 8);
            if ((word & high_bits) != 0)
                return utf8_check_from(at, end);
        }
        memcpy(&word, end - 8, 8);
        return (word & high_bits) == 0 || utf8_check_from(at, end);
    }
    if (s.len >= 4) {
        uint32_t head, tail;
        memcpy(&head, at, 4);
        memcpy(&tail, end - 4, 4);
        return ((head | tail) & (uint32_t)high_bits) == 0 || utf8_check_from(at, end);
    }
    for (uint8_t seen = 0; at < end; at++) {
        seen |= *at;
        if (seen >= 0x80)
            return utf8_check_from(s.base, end);
    }
    return true;
}
