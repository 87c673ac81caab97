/* signature_overflow: the first literal words among the parts of an identity. */
#include "pattern/signature_overflow.h"

#include <string.h>

#include "pattern/signature_identity.h"
#include "util/hash.h"
#include "util/unicode.h"

#define WORDS 2

/* Separators and variables are no words, nor is what is written for structure. */
static bool is_word(struct span part)
{
    uint8_t c = part.base[0], low = c | 0x20;
    return (c >= '0' && c <= '9') || (low >= 'a' && low <= 'z') || c >= 0x80;
}

struct span overflow_text(char room[OVERFLOW_TEXT_BYTES], struct span identity)
{
    size_t len = sizeof OVERFLOW_PREFIX - 1;
    memcpy(room, OVERFLOW_PREFIX, len);
    struct span rest = identity;
    for (int words = 0; words < WORDS && rest.len > 0;) {
        const uint8_t *end = memchr(rest.base, PART_SEPARATOR, rest.len);
        struct span part = span_of(rest.base, end != NULL ? (size_t)(end - rest.base) : rest.len);
        rest = span_skip(rest, part.len + (end != NULL));
        if (part.len == 0 || !is_word(part))
            continue;
        part = utf8_cut(part, OVERFLOW_WORD_BYTES);
        if (words++ > 0)
            room[len++] = ' ';
        memcpy(room + len, part.base, part.len);
        len += part.len;
    }
    return span_of(room, len);
}

uint64_t overflow_id(struct span text)
{
    return hash64(text);
}
