/*
 * signature_classes: what kinds of bytes a line holds, a bit for each byte, so that the scan
 * looks at words and not at bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CLASS_MAX_BYTES 8192 /* of a line */
#define CLASS_SLACK 128      /* bytes behind the line that are read, and are zero */
#define CLASS_WORDS (CLASS_MAX_BYTES / 64 + 2) /* the last: a window may reach over its end */

struct classes {                /* bit i of each is byte i */
    uint64_t stop[CLASS_WORDS]; /* no word of ASCII goes on here: white space, separator, run,
                                   not ASCII, behind the end */
    uint64_t run[CLASS_WORDS];  /* with the two behind it three of the same of . - * _ # ~ + = */
    uint64_t digit[CLASS_WORDS];
    uint64_t odd[CLASS_WORDS]; /* neither letter, digit nor underscore, and no stop */
    uint64_t odd_or_digit[CLASS_WORDS];
    uint64_t wide[CLASS_WORDS]; /* not ASCII */
    bool may_escape;            /* some byte may begin a colour code: ESC \ ^ # */
    bool has_question;          /* some byte is a ? */
};

#define CLASS_WINDOW_BITS 57

/* The bits of one mask from byte i on: CLASS_WINDOW_BITS of them at least, then zeros. */
static inline uint64_t class_window(const uint64_t *mask, size_t i)
{
    uint64_t bits;
    memcpy(&bits, (const uint8_t *)mask + i / 8, sizeof bits);
    return bits >> i % 8;
}

/* The first byte from i on that has its bit in the mask, which ends with one: as stop does. */
static inline size_t class_next(const uint64_t *mask, size_t i)
{
    uint64_t bits = mask[i / 64] >> i % 64;
    if (bits != 0)
        return i + (size_t)__builtin_ctzll(bits);
    size_t word = i / 64 + 1;
    while (mask[word] == 0)
        word++;
    return 64 * word + (size_t)__builtin_ctzll(mask[word]);
}

static inline bool class_is(const uint64_t *mask, size_t i)
{
    return (mask[i / 64] >> i % 64 & 1) != 0;
}

/* Copy n bytes, CLASS_MAX_BYTES at most, and CLASS_SLACK of zeros behind them, and classify
 * them on the way. Every bit from n on is a stop. `from` is not read beyond n, and may be `to`
 * itself. Picks the widest vectors that the processor has; the result is the same with all. */
void classes_copy(uint8_t *to, const uint8_t *from, size_t n, struct classes *out);

/* The same with vectors of so many bytes: 32, 16, or 1 for none. False: not on this machine. */
bool classes_copy_with(unsigned width, uint8_t *to, const uint8_t *from, size_t n,
                       struct classes *out);
