/*
 * family_template: the text of a pattern as its words, and the same with one of
 * them made a variable. For families.
 *
 * It works on identity bytes (pattern/signature.h). What stands before a message (a level, the type
 * of an error, the kind of body) and the trace below it tell patterns apart for ever and are never
 * touched. Of all else words may turn out to be variables, where there are enough of them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/span.h"

#define TEMPLATE_MIN_WORDS 3   /* of two words or fewer, one is too little to know them by */
#define TEMPLATE_MAX_WORDS 24  /* longer lines are prose or dumps; each word costs a key */
#define TEMPLATE_MAX_PARTS 520 /* more than a line can have (256 tokens and what they gain) */

struct template_part {
    struct span text;
    uint64_t hash; /* of the text and its place */
};

struct template
{
    struct span head, tail; /* what stands around the text, separators included */
    uint32_t part_count, word_count;
    uint16_t words[TEMPLATE_MAX_WORDS]; /* which parts are words */
    uint64_t hash;                      /* the sum over everything */
    struct template_part parts[TEMPLATE_MAX_PARTS];
};

/* Take a pattern apart; spans point into `identity`. False: it can never be
 * merged with others. `seed` is of the hashes. */
bool template_read(struct template *t, struct span identity, uint64_t seed);

/* The hash of the template with a hole in place of its w-th word. */
uint64_t template_hole(const struct template *t, uint32_t w);

/* What a word counts for as a sign that its place holds a variable: 1, or 2 when
 * it is in quotes or looks like an identifier (camelCase, or one of . _ - / @ # inside). */
uint32_t template_weight(const struct template *t, uint32_t w);

/* Append the identity bytes of the pattern whose w-th word is a variable. */
void template_generalise(const struct template *t, uint32_t w, struct buf *out);
