/*
 * signature_words: the word lists of LPS-1 and their one lookup.
 *
 * A word may be in several lists; a lookup gives the set of them. The table is
 * filled once per signer and then only read. Any change of a list is a new
 * version of the signature.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "pattern/signature.h"

enum {
    WORD_MONTH = 1 << 0,
    WORD_DAY = 1 << 1,
    WORD_ZONE = 1 << 2, /* time zones, am and pm */
    WORD_UNIT = 1 << 3,
    WORD_ATOM = 1 << 4,   /* true, null: values that are written out */
    WORD_KEEP = 1 << 5,   /* has a digit and is a word all the same: ipv4 */
    WORD_DOMAIN = 1 << 6, /* last labels of host names */
    WORD_TEXT_KEY = 1 << 7,
    WORD_SLOT_BEFORE = 1 << 8, /* "for user X" */
    WORD_SLOT_NOT = 1 << 9,    /* "for user authentication" */
    WORD_ID_KEY = 1 << 10,
    WORD_USER = 1 << 11,
    WORD_PORT_AFTER = 1 << 12,     /* "to cache:80" */
    WORD_METHOD = 1 << 13,         /* of HTTP, when written in capitals */
    WORD_MICRO = 1 << 14,          /* the sign of 10^-6: of tokens only, in no list */
    WORD_OF_TOKEN = (1 << 16) - 1, /* those above stay with a token, those below do not */
    WORD_WEAK = 1 << 16,           /* a level, but a plain word as well */
    WORD_CAPS = 1 << 17,           /* stands for a level when written in capitals */
    WORD_ZONE_CAPS = 1 << 18,      /* a time zone of a header, in capitals */
    WORD_NULL = 1 << 19,
    WORD_LEVEL_AT = 24, /* three bits from here: enum sign_level */
};

/* The level that a word of any case of letters stands for. */
#define WORD_LEVEL(sets) ((enum sign_level)((sets) >> WORD_LEVEL_AT))

#define WORD_MAX_BYTES 16 /* the longest is "authentication", 14 */
#define WORD_SLOTS 1024   /* four times the words, so that nearly all sit in their own slot */

struct words {
    uint32_t may_start[WORD_MAX_BYTES + 1][32]; /* by length and first letter: second letters */
    struct word_slot {
        uint64_t low, high; /* the word's bytes, zero-padded */
        uint32_t sets;      /* 0: an empty slot */
    } slots[WORD_SLOTS];
};

void words_init(struct words *w);

/* ASCII capitals of eight bytes at once to small letters. */
static inline uint64_t words_lower8(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low7 = v & (0x7f * ones);
    uint64_t from_a = low7 + (0x80 - 'A') * ones, past_z = low7 + (0x7f - 'Z') * ones;
    return v | (from_a & ~past_z & ~v & (0x80 * ones)) >> 2;
}

static inline uint32_t words_slot(uint64_t low, uint64_t high)
{
    return (uint32_t)(((low ^ (high * 0x9e3779b97f4a7c15u)) * 0xc2b2ae3d27d4eb4fu) >> 54);
}

/* The lists that hold the word of `len` bytes at `at`, in any case of letters;
 * 0: none. Reads up to 16 bytes from `at` whatever len is. */
static inline __attribute__((always_inline)) uint32_t words_find(const struct words *w,
                                                                 const uint8_t *at, size_t len)
{
    if (len - 1 >= WORD_MAX_BYTES)
        return 0;
    if ((w->may_start[len][at[0] & 31] >> (at[1] & 31) & 1) == 0 || at[len - 1] == 0)
        return 0; /* a zero at the end would be taken for padding */

    uint64_t low, high;
    memcpy(&low, at, 8);
    memcpy(&high, at + 8, 8);
    if (len < 8)
        low &= ((uint64_t)1 << 8 * len) - 1;
    low = words_lower8(low);
    if (len <= 8)
        high = 0;
    else if (len < 16)
        high &= ((uint64_t)1 << 8 * (len - 8)) - 1;
    high = words_lower8(high);

    uint32_t slot = words_slot(low, high);
    while (w->slots[slot].sets != 0) {
        if (w->slots[slot].low == low && w->slots[slot].high == high)
            return w->slots[slot].sets;
        slot = (slot + 1) % WORD_SLOTS;
    }
    return 0;
}
