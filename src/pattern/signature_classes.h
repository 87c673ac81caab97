/*
 * signature_classes: what kinds of bytes a line holds, a bit for each byte, so that the scan
 * looks at words and not at bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct class_block { /* of 64 bytes; bit i is byte i */
    uint64_t stop;   /* no word of ASCII goes on here: white space, separator, run, or not ASCII */
    uint64_t run;    /* with the two behind it three of the same of . - * _ # ~ + = */
    uint64_t digit;
    uint64_t odd;    /* neither letter, digit nor underscore, and no stop */
    uint64_t wide;   /* not ASCII */
    uint64_t escape; /* may begin a colour code: ESC \ ^ # */
};

#define CLASS_BLOCKS(bytes) ((bytes) / 64 + 2) /* the last: a window may reach over its end */
#define CLASS_SLACK 128 /* bytes behind the line that are read, and are zero */

/* Classify n bytes. Every bit from n on is a stop. Picks the widest vectors that the
 * processor has; the result is the same with all. */
void classes_find(const uint8_t *s, size_t n, struct class_block *out);

/* The same with vectors of so many bytes: 32, 16, or 1 for none. False: not on this machine. */
bool classes_find_with(unsigned width, const uint8_t *s, size_t n, struct class_block *out);

/* 64 bits of one mask, from byte i on. */
#define CLASS_WINDOW(blocks, mask, i) \
    ((blocks)[(i) / 64].mask >> (i) % 64 | (blocks)[(i) / 64 + 1].mask << 1 << (63 - (i) % 64))
