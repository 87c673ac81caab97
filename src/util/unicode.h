/*
 * unicode: UTF-8 and the few character classes that older signatures and
 * stack traces need, exactly as CPython 3.11 has them (Unicode 14.0).
 *
 * A byte that is not UTF-8 is the code point 0xDC00 + byte, as with Python's
 * "surrogateescape": no class holds it, and writing it gives the byte back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/span.h"

#define UTF8_MAX_BYTES 4

/* Read one code point at `at` (< end) into *cp. Returns the bytes used, 1 to 4. */
size_t utf8_read(const uint8_t *at, const uint8_t *end, uint32_t *cp);

/* Write one code point, at most UTF8_MAX_BYTES. Returns the bytes written. */
size_t utf8_write(uint8_t *out, uint32_t cp);

bool unicode_is_space(uint32_t cp);   /* str.isspace(), \s */
bool unicode_is_decimal(uint32_t cp); /* str.isdecimal(), \d */
bool unicode_is_word(uint32_t cp);    /* \w: str.isalnum() or the underscore */

/* str.lower() of n code points, written to `out`, which has room for 2 * n.
 * Returns how many were written. Knows the final sigma. */
size_t unicode_lower(const uint32_t *in, size_t n, uint32_t *out);

/* The first `max` bytes, or a few less: never a part of a sequence. */
struct span utf8_cut(struct span s, size_t max);
