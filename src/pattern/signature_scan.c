/*
 * signature_scan: one pass over a line's bytes, one class lookup a byte. What
 * kinds of bytes a word holds is gathered on the way, so that a plain word is
 * settled by a few bit tests and a keyword probe.
 */
#include "pattern/signature_line.h"

enum {
    C_SPACE = 1 << 0,
    C_SEPARATOR = 1 << 1,
    C_ESC = 1 << 2,
    C_RUN = 1 << 3, /* three of them are a rule: --- */
    C_WIDE = 1 << 4,
    C_DIGIT = 1 << 5,
    C_NOT_HEX = 1 << 6,
    C_NOT_ALPHA = 1 << 7,
    C_SLASH = 1 << 8,
    C_BACKSLASH = 1 << 9,
    C_AT = 1 << 10,
    C_DOT = 1 << 11,
    C_PLUS = 1 << 12,
    C_QUESTION = 1 << 13,
    C_TRIM = 1 << 14,
    C_URL_END = 1 << 15,
};
#define C_WORD_END (C_SPACE | C_SEPARATOR | C_ESC | C_RUN | C_WIDE)

/* clang-format off */
#define OTHER (C_NOT_HEX | C_NOT_ALPHA)
#define ESCAPE (C_ESC | OTHER)
#define SPACE (C_SPACE | C_URL_END | OTHER)
#define SEP (C_SEPARATOR | OTHER)
#define SEP_END (C_SEPARATOR | C_URL_END | OTHER)
#define DIGIT (C_DIGIT | C_NOT_ALPHA)
#define TRIM (C_TRIM | OTHER)

static const uint16_t classes[256] = {
    [0x00 ... 0x08] = OTHER, ['\t' ... '\r'] = SPACE, [0x0e ... 0x1a] = OTHER,
    [0x1b] = ESCAPE, [0x1c ... 0x1f] = OTHER, [' '] = SPACE, [0x7f] = OTHER,
    [0x80 ... 0xff] = C_WIDE | OTHER,
    ['0' ... '9'] = DIGIT,
    ['A' ... 'F'] = 0, ['G' ... 'Z'] = C_NOT_HEX,
    ['a' ... 'f'] = 0, ['g' ... 'z'] = C_NOT_HEX,
    [','] = SEP, [';'] = SEP, [':'] = SEP, ['|'] = SEP, ['('] = SEP, ['['] = SEP, ['{'] = SEP,
    [')'] = SEP_END, [']'] = SEP_END, ['}'] = SEP_END, ['<'] = SEP_END, ['>'] = SEP_END,
    ['"'] = SEP_END, ['\''] = SEP_END, ['`'] = SEP_END, ['='] = SEP | C_RUN,
    ['.'] = TRIM | C_RUN | C_DOT, ['*'] = TRIM | C_RUN, ['-'] = TRIM | C_RUN, ['#'] = TRIM | C_RUN,
    ['~'] = TRIM | C_RUN, ['+'] = TRIM | C_RUN | C_PLUS, ['_'] = OTHER | C_RUN,
    ['!'] = TRIM, ['?'] = TRIM | C_QUESTION, ['$'] = TRIM, ['%'] = TRIM, ['^'] = TRIM, ['&'] = TRIM,
    ['/'] = OTHER | C_SLASH, ['\\'] = OTHER | C_BACKSLASH, ['@'] = OTHER | C_AT,
};

/* What a separator tells about its line. */
static const uint8_t marks[128] = {
    [':'] = LINE_COLON, ['='] = LINE_EQUALS, ['"'] = LINE_QUOTE, ['\''] = LINE_QUOTE,
    ['<'] = LINE_ANGLE, ['>'] = LINE_ANGLE, ['('] = LINE_PAREN,
};

static const uint8_t closes[128] = {
    ['('] = ')', ['['] = ']', ['{'] = '}', ['"'] = '"', ['\''] = '\'',
};
/* clang-format on */

/* Endings of exception types, which keep a dotted name from being a variable. */
static const struct span faults[] = {
    {(const uint8_t *)"exception", 9}, {(const uint8_t *)"error", 5},
    {(const uint8_t *)"failure", 7},   {(const uint8_t *)"fault", 5},
    {(const uint8_t *)"warning", 7},
};

static bool is_run(const uint8_t *at)
{
    return at[1] == at[0] && at[2] == at[0];
}

static struct span trim(struct span word)
{
    while (word.len > 0 && (classes[word.base[0]] & C_TRIM) != 0)
        word = span_skip(word, 1);
    while (word.len > 0 && (classes[word.base[word.len - 1]] & C_TRIM) != 0)
        word.len--;
    return word;
}

/* At least two of them. */
static bool has_two(struct span s, uint8_t byte)
{
    const uint8_t *first = memchr(s.base, byte, s.len);
    const uint8_t *end = s.base + s.len;
    return first != NULL && memchr(first + 1, byte, (size_t)(end - first - 1)) != NULL;
}

static bool is_hex(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((classes[s.base[i]] & C_NOT_HEX) != 0)
            return false;
    return true;
}

static bool names_a_fault(struct span word)
{
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        if (word.len >= faults[i].len &&
            span_ieq(span_skip(word, word.len - faults[i].len), faults[i]))
            return true;
    return false;
}

/* The word classes in their order. `seen` is the union of the word's classes. */
static bool is_variable(const struct words *w, struct span word, uint32_t seen)
{
    struct span core = trim(word);
    if (core.len == 0)
        return false;
    if ((seen & C_DIGIT) != 0)
        return (words_find(w, core.base, core.len) & WORD_KEEP) == 0;
    if ((seen & C_SLASH) != 0) {
        if (core.base[0] == '/' || span_starts(word, SPAN("./")) ||
            span_starts(word, SPAN("../")) || span_starts(word, SPAN("~/")) || has_two(core, '/'))
            return true;
    }
    if ((seen & C_BACKSLASH) != 0 && has_two(core, '\\'))
        return true;
    if ((seen & C_AT) != 0 && core.len > 2 &&
        memchr(core.base + 1, '@', core.len - 2) != NULL)
        return true;
    if ((words_find(w, core.base, core.len) & WORD_ATOM) != 0)
        return true;
    if ((seen & C_DOT) != 0) {
        if (has_two(core, '.') && !names_a_fault(core))
            return true;
        const uint8_t *dot = memrchr(core.base, '.', core.len);
        if (dot != NULL) {
            size_t len = (size_t)(core.base + core.len - dot - 1);
            if ((words_find(w, dot + 1, len) & WORD_DOMAIN) != 0)
                return true;
        }
    }
    return core.len >= 8 && is_hex(core);
}

/* symbol+0x1f/0x30 and Class@1b2c keep the name: bytes of "symbol+", "Class@". */
static size_t named_head(struct span word, uint32_t seen)
{
    static const char split_at[] = {'+', '@'};
    for (size_t i = 0; i < sizeof split_at; i++) {
        if ((seen & (split_at[i] == '+' ? C_PLUS : C_AT)) == 0)
            continue;
        const uint8_t *mark = memchr(word.base, split_at[i], word.len);
        if (mark == NULL || mark - word.base < 2)
            continue;
        size_t head = (size_t)(mark - word.base) + 1;
        bool digit = false;
        for (size_t k = 0; k < head; k++)
            digit |= (classes[word.base[k]] & C_DIGIT) != 0;
        if (digit)
            continue;
        struct span tail = span_skip(word, head);
        if (split_at[i] == '+') {
            if (span_starts(tail, SPAN("0x")))
                return head;
            continue;
        }
        while (tail.len > 0 && (classes[tail.base[tail.len - 1]] & C_TRIM) != 0)
            tail.len--;
        if (tail.len > 0 && is_hex(tail))
            return head;
    }
    return 0;
}

/* A letter, if the byte were Latin-1 (for a drive letter; UTF-8 never gives
 * a single byte from 0x80 up). */
static bool is_latin1_letter(uint8_t c)
{
    if (c < 0x80)
        return (classes[c] & C_NOT_ALPHA) == 0;
    return c == 0xaa || c == 0xb5 || c == 0xba || (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}

static void put(struct line *l, enum token_kind kind, size_t at, size_t len, uint32_t words)
{
    l->words_seen |= words;
    l->tokens[l->count++] = (struct token){
        .at = (uint16_t)at, .len = (uint16_t)len, .kind = (uint8_t)kind, .words = (uint16_t)words};
}

/* The word s[i..j) is settled; `seen` is the union of its classes. Returns
 * where the scan goes on: past j where the word was the start of a URL. */
static size_t put_word(struct line *l, const uint8_t *s, size_t i, size_t j, size_t n,
                       uint32_t seen)
{
    struct span word = {s + i, j - i};
    bool wide = (seen & C_WIDE) != 0;
    bool drive = word.len == 1 && s[j] == ':' && s[j + 1] == '\\' && is_latin1_letter(s[i]);
    bool url = s[j] == ':' && s[j + 1] == '/' && s[j + 2] == '/' && (seen & C_NOT_ALPHA) == 0;
    bool query = (seen & C_QUESTION) != 0 && (seen & C_SLASH) != 0;

    if (url || query || drive) {
        while (j < n && (classes[s[j]] & C_URL_END) == 0 &&
               !(drive && (s[j] == '|' || s[j] == ',' || s[j] == ';')))
            j++;
        put(l, TOKEN_VAR, 0, 0, 0);
        return j;
    }
    if (wide) {
        put(l, TOKEN_LIT, LINE_TEXT_AT + i, word.len, 0);
        return j;
    }

    bool trimmed = ((classes[s[i]] | classes[s[j - 1]]) & C_TRIM) != 0;
    if (!trimmed && (seen & (C_DIGIT | C_SLASH | C_BACKSLASH | C_AT | C_DOT)) == 0) {
        /* A plain word: the only question is which. */
        uint32_t sets = words_find(&l->words, word.base, word.len);
        bool variable = (sets & WORD_ATOM) != 0 || (word.len >= 8 && (seen & C_NOT_HEX) == 0);
        put(l, variable ? TOKEN_VAR : TOKEN_LIT, LINE_TEXT_AT + i, word.len, variable ? 0 : sets);
        return j;
    }
    if (!is_variable(&l->words, word, seen)) {
        size_t len = word.len;
        while (len > 0 && word.base[len - 1] == '.')
            len--;
        put(l, TOKEN_LIT, LINE_TEXT_AT + i, word.len, words_find(&l->words, word.base, len));
        return j;
    }
    size_t head = (seen & (C_PLUS | C_AT)) != 0 ? named_head(word, seen) : 0;
    if (head > 0)
        put(l, TOKEN_LIT, LINE_TEXT_AT + i, head, 0);
    put(l, TOKEN_VAR, LINE_TEXT_AT + i + head, word.len - head, 0);
    return j;
}

static void put_mark(struct line *l, size_t i, uint8_t c)
{
    uint32_t has = marks[c];
    if ((has & l->has & LINE_COLON) != 0)
        has |= LINE_COLONS;
    if (l->count > 0) {
        uint8_t before = l->tokens[l->count - 1].mark;
        if (before != 0 && closes[before] == c)
            has |= LINE_PAIR;
    }
    l->has |= has;
    put(l, TOKEN_PUN, LINE_TEXT_AT + i, 1, 0);
    l->tokens[l->count - 1].mark = c;
}

void line_init(struct line *l)
{
    words_init(&l->words);
    l->bytes[0] = ' ';  /* what a SPC token's at=0 refers to */
    l->bytes[1] = 0x01; /* and a VAR's, once its own text no longer counts */
    l->count = 0;
}

void line_scan(struct line *l, struct span text)
{
    uint8_t *s = l->bytes + LINE_TEXT_AT;
    const size_t most = LINE_MAX_BYTES + LINE_LOOKAHEAD;
    size_t known = text.len < most ? text.len : most;
    size_t n = known < LINE_MAX_BYTES ? known : LINE_MAX_BYTES;
    if (known > 0)
        memcpy(s, text.base, known);
    memset(s + known, 0, 16); /* no rule takes a zero byte for one of its own */

    l->count = 0;
    l->has = 0;
    l->words_seen = 0;
    size_t i = 0;
    while (i < n && l->count < LINE_MAX_TOKENS) {
        uint32_t class = classes[s[i]];
        if ((class & C_SPACE) != 0) {
            do
                i++;
            while (i < n && (classes[s[i]] & C_SPACE) != 0);
            if (l->count == 0 || l->tokens[l->count - 1].kind != TOKEN_SPC)
                put(l, TOKEN_SPC, 0, 1, 0);
            continue;
        }
        if ((class & C_RUN) != 0 && is_run(s + i)) {
            put(l, TOKEN_PUN, LINE_TEXT_AT + i, 3, 0);
            for (uint8_t c = s[i]; i < n && s[i] == c;)
                i++;
            continue;
        }
        if ((class & C_SEPARATOR) != 0) {
            put_mark(l, i, s[i]);
            i++;
            continue;
        }
        if ((class & C_ESC) != 0 && i + 1 < n && s[i + 1] == '[') {
            for (i += 2; i < n && (s[i] < '@' || s[i] > '~');)
                i++;
            i++;
            continue;
        }

        size_t j = i + 1;
        uint32_t seen = class;
        if ((class & C_WIDE) != 0) {
            while (j < n && s[j] >= 0x80)
                j++;
        } else {
            for (; j < n; j++) {
                uint32_t next = classes[s[j]];
                if ((next & C_WORD_END) != 0 &&
                    ((next & (C_WORD_END & ~C_RUN)) != 0 || is_run(s + j)))
                    break;
                seen |= next;
            }
        }
        i = put_word(l, s, i, j, n, seen);
    }
}
