/*
 * signature_line: LPS-1 of one line, for the files that implement it.
 *
 *     load       the line is copied, colour codes go, bytes are classified
 *     scan       bytes -> tokens: literal, variable, punctuation, space
 *     context    tokens that become variables because of their neighbours
 *     emit       runs of variables become one, ends are trimmed; the canonical
 *                bytes: tokens with 0x02 between, 0x01 a variable
 *
 * A token refers to the line's copy in struct line, which has room to read (not
 * to use) 16 bytes past any token: copies and word lookups need no length loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pattern/signature_classes.h"
#include "pattern/signature_words.h"
#include "util/span.h"

#define LINE_MAX_BYTES CLASS_MAX_BYTES /* what of a line counts; the rest is never looked at */
#define LINE_MAX_TOKENS 256
#define LINE_TEXT_AT 16 /* text starts here: before it the bytes of VAR and SPC tokens */

enum token_kind { TOKEN_LIT, TOKEN_VAR, TOKEN_PUN, TOKEN_SPC };

struct token {
    uint16_t at, len; /* in line.bytes; len 0: a variable whose text plays no part */
    uint8_t kind;
    uint8_t mark;   /* PUN of one byte: that byte; otherwise 0 */
    uint16_t words; /* LIT: the lists that hold it (WORD_*) */
};

/* What a line holds somewhere, so that rules which cannot apply are not tried. */
enum {
    LINE_COLONS = 1 << 0, /* two at least */
    LINE_COLON = 1 << 1,
    LINE_EQUALS = 1 << 2,
    LINE_QUOTE = 1 << 3, /* ' or " */
    LINE_ANGLE = 1 << 4,
    LINE_PAREN = 1 << 5,
    LINE_PAIR = 1 << 6,   /* () [] {} "" '' */
    LINE_TICK = 1 << 7,   /* ` */
    LINE_GROUP = 1 << 8,  /* a word directly before an opening bracket */
    LINE_GROUPS = 1 << 9, /* two of them at least */
    LINE_KEY = 1 << 10,   /* a word directly before a colon */
};

struct line {
    struct words words;
    uint32_t has;        /* LINE_* */
    uint32_t words_seen; /* the union of all token.words */
    uint32_t count;
    uint32_t mark_count, listed_count;
    uint16_t marks[LINE_MAX_TOKENS + 2];        /* places in tokens[] of those with a mark */
    uint16_t listed[LINE_MAX_TOKENS + 2];       /* and of literals that a list holds */
    struct span text;                           /* of what was loaded, in bytes[] */
    struct token tokens[LINE_MAX_TOKENS + 2];   /* a split name may pass the limit by one */
    const struct token *final;                  /* after line_context(): tokens[] or made[] */
    struct token made[2 * LINE_MAX_TOKENS + 4]; /* "()" and "=''" gain a variable */
    uint16_t next_quote[LINE_MAX_TOKENS + 2];   /* the next token that is the same quote */
    uint16_t closing[2 * LINE_MAX_TOKENS + 4];  /* of a bracket in made[], its partner */
    struct classes classes;
    uint8_t bytes[LINE_TEXT_AT + LINE_MAX_BYTES + CLASS_SLACK];
};

/* Bytes emit may write: every token's text and a separator, and 16 of slack. */
#define LINE_EMIT_BYTES (LINE_MAX_BYTES + 4 * (2 * LINE_MAX_TOKENS + 4) + 16)

void line_init(struct line *l);

/* signature_load.c: the line without colour codes, which is l->text from then on. True: there
 * were some. */
bool line_load(struct line *l, struct span text);

/* signature_scan.c: the text from byte `from` on. */
void line_scan(struct line *l, size_t from);

/* signature_context.c: leaves the final tokens in final[0..count). */
void line_context(struct line *l);

/* signature_emit.c: Write the canonical bytes to out (LINE_EMIT_BYTES of room). Returns their
 * number. */
size_t line_emit(const struct line *l, uint8_t *out);

/* A literal that holds a letter or digit. */
bool token_is_word(const struct line *l, const struct token *t);

/* After line_context(): whether a literal word beside HTTP methods is left. */
bool line_has_word(const struct line *l);
