/*
 * signature_field: what one field of a line's header is: bytes by class, words, numbers, clocks,
 * groups in brackets. Only signature_header.c includes it; it is in the hottest part of
 * signing, so its functions are inlined there.
 */
#pragma once

#include <string.h>

#include "pattern/signature_header.h"

#define MAX_GROUP 256 /* bytes of one bracket group */

/* clang-format off */
enum {
    DIGIT = 1, NUMBERISH = 2, NAME = 4, LETTER = 8, LONE = 16, FIELD_END = 32, BLANK = 64,
    TRAILS = 128, /* ] ) , ; : behind a field */
    JOINS = 256,  /* . / _ in it */
    SCOPES = 512, /* . $ / : in a name */
};
static const uint16_t classes[256] = {
    ['0' ... '9'] = DIGIT | NUMBERISH | NAME,
    ['A' ... 'S'] = NAME | LETTER, ['T'] = NAME | LETTER | NUMBERISH, ['U' ... 'Y'] = NAME | LETTER,
    ['Z'] = NAME | LETTER | NUMBERISH, ['a' ... 'z'] = NAME | LETTER,
    [':'] = NUMBERISH | NAME | LONE | TRAILS | SCOPES, ['.'] = NUMBERISH | NAME | LONE | JOINS | SCOPES,
    [','] = NUMBERISH | TRAILS, ['/'] = NUMBERISH | NAME | JOINS | SCOPES,
    ['_'] = NUMBERISH | NAME | JOINS, ['+'] = NUMBERISH, [']'] = TRAILS, [')'] = TRAILS, [';'] = TRAILS,
    ['-'] = NUMBERISH | NAME | LONE, ['#'] = NUMBERISH | NAME | LONE, ['*'] = NUMBERISH | NAME | LONE,
    ['$'] = NAME | SCOPES, ['@'] = NAME, ['&'] = NAME, ['~'] = NAME | LONE, ['='] = LONE, ['>'] = LONE,
    [' '] = FIELD_END | BLANK, ['\t'] = FIELD_END | BLANK, ['|'] = FIELD_END,
    ['\n'] = BLANK, ['\r'] = BLANK, ['\v'] = BLANK, ['\f'] = BLANK,
};

/* Of one letter. */
static const uint8_t letter_levels[128] = {
    ['V'] = SIGN_LEVEL_TRACE, ['T'] = SIGN_LEVEL_TRACE, ['D'] = SIGN_LEVEL_DEBUG,
    ['I'] = SIGN_LEVEL_INFO, ['N'] = SIGN_LEVEL_INFO, ['W'] = SIGN_LEVEL_WARN,
    ['E'] = SIGN_LEVEL_ERROR, ['F'] = SIGN_LEVEL_FATAL, ['C'] = SIGN_LEVEL_FATAL,
};
/* clang-format on */

#define NOWHERE SIZE_MAX

/* ---- bytes and words ----------------------------------------------------- */

/* -1 behind the end. */
static inline int byte_at(struct span s, size_t i)
{
    return i < s.len ? s.base[i] : -1;
}

static inline bool is(struct span s, size_t i, uint32_t class)
{
    return i < s.len && (classes[s.base[i]] & class) != 0;
}

static inline struct span part(struct span s, size_t from, size_t to)
{
    return (struct span){s.base + from, to - from};
}

static inline bool all(struct span s, uint32_t class)
{
    for (size_t i = 0; i < s.len; i++)
        if ((classes[s.base[i]] & class) == 0)
            return false;
    return s.len > 0;
}

static inline bool any(struct span s, uint32_t class)
{
    for (size_t i = 0; i < s.len; i++)
        if ((classes[s.base[i]] & class) != 0)
            return true;
    return false;
}

static inline bool is_numberish(struct span s)
{
    return all(s, NUMBERISH) && any(s, DIGIT);
}

/* At least one capital and no small letter. */
static inline bool is_capitals(struct span s)
{
    bool capital = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.base[i] >= 'a' && s.base[i] <= 'z')
            return false;
        capital = capital || (s.base[i] >= 'A' && s.base[i] <= 'Z');
    }
    return capital;
}

static inline bool has_byte(struct span s, uint8_t byte)
{
    return s.len > 0 && memchr(s.base, byte, s.len) != NULL;
}

/* Without the colons behind it. */
static inline struct span trim_colons(struct span s)
{
    while (s.len > 0 && s.base[s.len - 1] == ':')
        s.len--;
    return s;
}

static inline struct span trim_blanks(struct span s)
{
    while (is(s, 0, BLANK))
        s = span_skip(s, 1);
    while (s.len > 0 && is(s, s.len - 1, BLANK))
        s.len--;
    return s;
}

static inline uint32_t find(const struct words *w, struct span s)
{
    return s.len > 0 ? words_find(w, s.base, s.len) : 0;
}

/* In the list, and written in capitals. */
static inline bool is_in_capitals(const struct words *w, struct span s, uint32_t set)
{
    return (find(w, s) & set) != 0 && all(s, LETTER) && is_capitals(s);
}

static inline enum sign_level letter_level(struct span s)
{
    return s.len == 1 && s.base[0] < 0x80 ? (enum sign_level)letter_levels[s.base[0]]
                                          : SIGN_LEVEL_NONE;
}

/* ---- fields -------------------------------------------------------------- */

/* The end of a run of least to most digits at i, which no other digit follows; NOWHERE. */
static inline size_t digits(struct span s, size_t i, size_t least, size_t most)
{
    size_t j = i;
    while (j - i < most && is(s, j, DIGIT))
        j++;
    return j - i < least || is(s, j, DIGIT) ? NOWHERE : j;
}

/* The end of h:mm:ss with fraction and zone at i, or NOWHERE. */
static inline size_t clock_end(struct span s, size_t i)
{
    size_t j = digits(s, i, 1, 2), k;
    int mark = j != NOWHERE ? byte_at(s, j) : -1;
    if (mark != ':' && mark != '.')
        return NOWHERE;
    for (int n = 0; n < 2; n++) {
        if (byte_at(s, j) != mark || (j = digits(s, j + 1, 1, 2)) == NOWHERE)
            return NOWHERE;
    }
    int next = byte_at(s, j);
    if (next == '.' || next == ',' || next == ':') {
        k = digits(s, j + 1, 1, 9);
        j = k != NOWHERE ? k : j;
    } else if (mark == '.') {
        return NOWHERE;
    }
    if (byte_at(s, j) == 'Z')
        return j + 1;
    if ((byte_at(s, j) == '+' || byte_at(s, j) == '-') && (k = digits(s, j + 1, 2, 4)) != NOWHERE) {
        j = k;
        if (byte_at(s, j) == ':' && (k = digits(s, j + 1, 2, 2)) != NOWHERE)
            j = k;
    }
    return j;
}

/* Is the clock that fills the field from i on a time of day? A dotted one only behind
 * yyyy-mm-dd-, and none behind a second colon. */
static inline bool is_clock_at(struct span w, size_t i)
{
    if (clock_end(w, i) != w.len ||
        (i > 0 && w.base[i - 1] == ':' && has_byte(part(w, 0, i - 1), ':')))
        return false;
    return has_byte(part(w, i, w.len), ':') || (i >= 11 && w.base[i - 1] == '-');
}

/* A field that ends in a time of day, alone or behind T _ - : */
static inline bool has_time(struct span w)
{
    if (!any(w, DIGIT) || has_byte(w, '@'))
        return false;
    for (size_t i = 0; i < w.len; i++) {
        if (!is(w, i, DIGIT) || (i > 0 && memchr("T_-:", w.base[i - 1], 4) == NULL))
            continue;
        if (is_clock_at(w, i))
            return true;
        while (is(w, i + 1, DIGIT))
            i++;
    }
    return w.len >= 15 && w.base[8] == 'T' && digits(w, 0, 8, 8) == 8 && digits(w, 9, 6, 6) == 15;
}

/* The next of what separates header fields: spaces, tabs, commas, bars. */
static inline size_t bar(struct span s, size_t i)
{
    while (i < s.len && ((classes[s.base[i]] & FIELD_END) != 0 || s.base[i] == ','))
        i++;
    return i;
}

/* The end of the balanced bracket group at i, or NOWHERE. */
static inline size_t group_end(struct span s, size_t i)
{
    uint8_t open = s.base[i], shut = open == '[' ? ']' : open == '(' ? ')' : '>';
    size_t end = s.len < i + MAX_GROUP ? s.len : i + MAX_GROUP;
    int depth = 0;
    for (size_t j = i; j < end; j++) {
        depth += s.base[j] == open;
        if (s.base[j] == shut && --depth == 0)
            return j + 1;
    }
    return NOWHERE;
}

/* [error], [ info], [core:error] */
static inline enum sign_level group_level(const struct words *w, struct span text)
{
    text = trim_blanks(text);
    const uint8_t *colon = text.len > 0 ? memrchr(text.base, ':', text.len) : NULL;
    if (colon != NULL)
        text = span_skip(text, (size_t)(colon - text.base) + 1);
    return text.len == 1 ? letter_level(text) : word_level(w, text);
}

/* One of these stands between the first and the last byte. */
static inline bool has_inside(struct span w, uint32_t class)
{
    return w.len > 2 && any(part(w, 1, w.len - 1), class);
}

/* A dotted, scoped or file name: org.x.Y, a::b, main.go:12 */
static inline bool is_name(struct span w)
{
    return is(w, 0, LETTER) && all(w, NAME) && has_inside(w, SCOPES);
}
