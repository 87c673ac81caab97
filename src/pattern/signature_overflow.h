/*
 * signature_overflow: the id that stands for all patterns of a service which has
 * too many: lps1:overflow:<the first two words of the line>. Its 64 bits are XXH3
 * of just that text, so it is the same in every process.
 */
#pragma once

#include <stdint.h>

#include "util/span.h"

#define OVERFLOW_PREFIX "lps1:overflow:"
#define OVERFLOW_WORD_BYTES 48 /* a longer word is cut; it is no word then */
#define OVERFLOW_TEXT_BYTES (sizeof OVERFLOW_PREFIX + 2 * OVERFLOW_WORD_BYTES)

/* Write the text for a line of these identity bytes (signer_identity()); with none,
 * or a line without literal words, the prefix alone, which stands for the rest. */
struct span overflow_text(char room[OVERFLOW_TEXT_BYTES], struct span identity);

/* The id of such a text. */
uint64_t overflow_id(struct span text);
