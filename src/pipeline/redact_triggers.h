/*
 * redact_triggers: which pairs of bytes of a text may begin something to hide.
 *
 * Byte by byte a table says it exactly. 64 pairs at once are looked at by classes, with vectors of
 * 32 bytes: a byte is of a class when both of its halves may be (the lookup of Mula and Lemire,
 * "Faster Base64 Encoding and Decoding Using AVX2 Instructions", 2018). Classes may be wider than
 * the table, never narrower, and the table has the last word.
 *
 * Ownership  texts are read during the call only. Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/span.h"

enum trigger_class {
    TRIGGER_WORD,  /* what a byte is: digit, letter, underscore */
    TRIGGER_FIRST, /* of a key, by the place of the byte in it */
    TRIGGER_SECOND,
    TRIGGER_THIRD,
    TRIGGER_BEFORE, /* of any other pair: what a name may end with, say, */
    TRIGGER_BEHIND, /* and what assigns a value to it */
    TRIGGER_CLASSES
};

struct redact_triggers {
    /* The exact table: a pair is a trigger when both have a bit in common, that of the bin of the
     * second. A bit per pair would be 8 KiB. */
    uint16_t firsts[256], seconds[256];
    struct {
        uint8_t low[16], high[16];
    } classes[TRIGGER_CLASSES];
    bool has_ibans;         /* digits behind capital letters are asked for */
    bool has_short_numbers; /* addresses and telephones are */
    bool is_wide;           /* this machine has the vectors */
    unsigned keys;          /* first bytes of keys that differ, so far, */
    uint8_t last_key;       /* and the last of them */
};

void redact_triggers_init(struct redact_triggers *t);

/* A digit behind `first`. */
void redact_triggers_add_number(struct redact_triggers *t, uint8_t first);
/* A key that begins with these three; keys with the same first byte one after the other. */
void redact_triggers_add_key(struct redact_triggers *t, const char *prefix);
/* `second` behind anything. */
void redact_triggers_add_sign(struct redact_triggers *t, uint8_t second);
/* = : or % behind `first`. */
void redact_triggers_add_assign(struct redact_triggers *t, uint8_t first);
/* Any other pair. */
void redact_triggers_add(struct redact_triggers *t, uint8_t first, uint8_t second);

static inline bool redact_triggers_has(const struct redact_triggers *t, const uint8_t *pair)
{
    return (t->firsts[pair[0]] & t->seconds[pair[1]]) != 0;
}

/* Where a trigger may be: bit i % 64 of word i / 64 for the pair that begins at byte i. Left out
 * are the middles of words, and numbers that are too short for what is asked for. */
#define REDACT_LOOK_BYTES 4096

struct redact_look {
    struct span text;
    uint64_t bits[REDACT_LOOK_BYTES / 64 + 1];
};

/* Look at a text, or at a message as a whole, because its texts are short and many. It is to stay
 * as it is meanwhile. Of a longer one nothing is known then: the caller looks at parts. */
void redact_look_at(struct redact_look *l, const struct redact_triggers *t, struct span text);

/* Does it know of all of this text? */
static inline bool redact_look_knows(const struct redact_look *l, struct span text)
{
    return l->text.len > 0 && text.base >= l->text.base &&
           text.base + text.len <= l->text.base + l->text.len;
}

/* It knows of this text, and there is no trigger in it. */
bool redact_look_clears(const struct redact_look *l, const struct redact_triggers *t,
                        struct span text);

/* The pairs that begin at `at` and behind, 64 or as many as there are; bit i for that of
 * text[at + i]. at + 1 < text.len. Of a text that `l` does not know, or without one, byte by byte.
 */
uint64_t redact_look_bits(const struct redact_look *l, const struct redact_triggers *t,
                          struct span text, size_t at);
