/*
 * signature_scan: one pass over a line's words. Where a word ends, and whether it holds a
 * digit or a byte of another kind, is read from the masks of its classes; a plain word is
 * settled by that and a keyword probe.
 */
#include "pattern/signature_line.h"

enum { /* of bytes in words */
    C_SLASH = 1 << 0,
    C_BACKSLASH = 1 << 1,
    C_AT = 1 << 2,
    C_DOT = 1 << 3,
    C_PLUS = 1 << 4,
    C_QUESTION = 1 << 5,
    C_TRIM = 1 << 6,
    C_DIGIT = 1 << 7, /* of a word, from the mask */
    C_HEX = 1 << 8,
    C_LETTER = 1 << 9,
    C_URL_END = 1 << 10,
};

/* clang-format off */
static const uint16_t classes[256] = {
    ['0' ... '9'] = C_HEX, ['A' ... 'F'] = C_HEX | C_LETTER, ['a' ... 'f'] = C_HEX | C_LETTER,
    ['G' ... 'Z'] = C_LETTER, ['g' ... 'z'] = C_LETTER,
    ['.'] = C_TRIM | C_DOT, ['?'] = C_TRIM | C_QUESTION, ['+'] = C_TRIM | C_PLUS,
    ['!'] = C_TRIM, ['*'] = C_TRIM, ['-'] = C_TRIM, ['~'] = C_TRIM, ['#'] = C_TRIM, ['$'] = C_TRIM,
    ['%'] = C_TRIM, ['^'] = C_TRIM, ['&'] = C_TRIM,
    ['/'] = C_SLASH, ['\\'] = C_BACKSLASH, ['@'] = C_AT,
    ['\t' ... '\r'] = C_URL_END, [' '] = C_URL_END, ['"'] = C_URL_END, ['\''] = C_URL_END,
    ['`'] = C_URL_END, ['<'] = C_URL_END, ['>'] = C_URL_END, [')'] = C_URL_END, [']'] = C_URL_END,
    ['}'] = C_URL_END,
};

/* What a token may begin with; anything else begins a word. */
enum { BEGINS_WORD, BEGINS_SPACE, BEGINS_MARK };
static const uint8_t begins[256] = {
    ['\t' ... '\r'] = BEGINS_SPACE, [' '] = BEGINS_SPACE,
    ['='] = BEGINS_MARK, [','] = BEGINS_MARK, [';'] = BEGINS_MARK, [':'] = BEGINS_MARK,
    ['|'] = BEGINS_MARK, ['('] = BEGINS_MARK, [')'] = BEGINS_MARK, ['['] = BEGINS_MARK,
    [']'] = BEGINS_MARK, ['{'] = BEGINS_MARK, ['}'] = BEGINS_MARK, ['<'] = BEGINS_MARK,
    ['>'] = BEGINS_MARK, ['"'] = BEGINS_MARK, ['\''] = BEGINS_MARK, ['`'] = BEGINS_MARK,
};

/* What a separator tells about its line. */
static const uint8_t marks[128] = {
    [':'] = LINE_COLON, ['='] = LINE_EQUALS, ['"'] = LINE_QUOTE, ['\''] = LINE_QUOTE,
    ['<'] = LINE_ANGLE, ['>'] = LINE_ANGLE, ['('] = LINE_PAREN, ['`'] = LINE_TICK,
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

/* Whether every byte has one of these classes. */
static bool all_of(struct span s, uint32_t wanted)
{
    for (size_t i = 0; i < s.len; i++)
        if ((classes[s.base[i]] & wanted) == 0)
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

/* a.b.action.SCREEN_ON: a dotted name whose last label, which begins at `last`, is a constant. */
static bool is_constant(struct span core, const uint8_t *last)
{
    const uint8_t *end = core.base + core.len;
    bool underscore = false;
    if (*last < 'A' || *last > 'Z')
        return false;
    for (const uint8_t *at = last + 1; at < end; at++) {
        underscore = underscore || *at == '_';
        if (*at >= 'a' && *at <= 'z')
            return false;
    }
    for (const uint8_t *at = core.base; underscore && at < end; at++)
        if ((classes[*at] & C_LETTER) == 0 && *at != '_' && *at != '.')
            return false;
    return underscore;
}

/* A word with dots: is it the name of a machine, a package? */
static bool is_dotted(const struct words *w, struct span core)
{
    const uint8_t *end = core.base + core.len, *dot = end;
    while (dot > core.base && dot[-1] != '.')
        dot--; /* the last label */
    if (dot == core.base)
        return false;
    if (has_two(core, '.') && !names_a_fault(core) && !is_constant(core, dot))
        return true;
    return (words_find(w, dot, (size_t)(end - dot)) & WORD_DOMAIN) != 0;
}

/* The word classes in their order. `seen` is the union of the word's classes. */
static bool is_variable(const struct words *w, struct span word, uint32_t seen)
{
    struct span core = trim(word);
    if (core.len == 0)
        return false;
    if ((seen & C_DIGIT) != 0)
        return (words_find(w, core.base, core.len) & WORD_KEEP) == 0;
    if ((seen & C_SLASH) != 0 &&
        (has_two(core, '/') || core.base[0] == '/' || span_starts(word, SPAN("./")) ||
         span_starts(word, SPAN("../")) || span_starts(word, SPAN("~/"))))
        return true;
    if ((seen & C_BACKSLASH) != 0 && has_two(core, '\\'))
        return true;
    if ((seen & C_AT) != 0 && core.len > 2 && memchr(core.base + 1, '@', core.len - 2) != NULL)
        return true;
    if ((words_find(w, core.base, core.len) & WORD_ATOM) != 0)
        return true;
    if ((seen & C_DOT) != 0 && is_dotted(w, core))
        return true;
    return core.len >= 8 && all_of(core, C_HEX);
}

static bool has_digit(const uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] >= '0' && at[i] <= '9')
            return true;
    return false;
}

/* symbol+0x1f/0x30 and Class@1b2c keep the name: bytes of "symbol+", "Class@". */
static size_t named_head(struct span word, uint32_t seen)
{
    static const struct {
        uint32_t class;
        uint8_t mark;
    } splits[] = {{C_PLUS, '+'}, {C_AT, '@'}};
    for (size_t i = 0; i < ARRAY_LEN(splits); i++) {
        const uint8_t *mark =
            (seen & splits[i].class) != 0 ? memchr(word.base, splits[i].mark, word.len) : NULL;
        if (mark == NULL || mark - word.base < 2)
            continue;
        size_t head = (size_t)(mark - word.base) + 1;
        struct span tail = span_skip(word, head);
        if (has_digit(word.base, head))
            continue;
        if (splits[i].mark == '+') {
            if (span_starts(tail, SPAN("0x")))
                return head;
            continue;
        }
        while (tail.len > 0 && (classes[tail.base[tail.len - 1]] & C_TRIM) != 0)
            tail.len--;
        if (tail.len > 0 && all_of(tail, C_HEX))
            return head;
    }
    return 0;
}

static inline void put(struct line *l, enum token_kind kind, size_t at, size_t len, uint32_t words)
{
    words &= WORD_OF_TOKEN;
    l->words_seen |= words;
    l->tokens[l->count++] = (struct token){
        .at = (uint16_t)at, .len = (uint16_t)len, .kind = (uint8_t)kind, .words = (uint16_t)words};
}

/* The next byte from i on where a bit of the mask is set; there is one at the end. */
static inline size_t next_stop(const struct class_block *blocks, size_t i)
{
    uint64_t window = CLASS_WINDOW(blocks, stop, i);
    while (window == 0) {
        i = i / 64 * 64 + 64;
        window = blocks[i / 64].stop;
    }
    return i + (size_t)__builtin_ctzll(window);
}

/* The end of the bytes from 0x80 up that begin at i. */
static size_t wide_end(const struct class_block *blocks, size_t i)
{
    uint64_t window = ~CLASS_WINDOW(blocks, wide, i);
    while (window == 0) {
        i = i / 64 * 64 + 64;
        window = ~blocks[i / 64].wide;
    }
    return i + (size_t)__builtin_ctzll(window);
}

/* What a word that is more than letters holds: the union of its bytes' classes. */
static uint32_t classes_of(const struct line *l, const uint8_t *s, size_t i, size_t j)
{
    uint32_t seen = 0;
    for (size_t at = i; at < j; at += 64) {
        uint64_t in_word = j - at >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << (j - at)) - 1;
        uint64_t odd = CLASS_WINDOW(l->blocks, odd, at) & in_word;
        if ((CLASS_WINDOW(l->blocks, digit, at) & in_word) != 0)
            seen |= C_DIGIT;
        for (; odd != 0; odd &= odd - 1)
            seen |= classes[s[at + (size_t)__builtin_ctzll(odd)]];
    }
    return seen;
}

/* A word of ASCII that holds more than letters and underscores. Returns where the scan goes
 * on: past j where the word was the start of a URL. */
static size_t put_odd_word(struct line *l, const uint8_t *s, size_t i, size_t j)
{
    uint32_t seen = classes_of(l, s, i, j);
    struct span word = {s + i, j - i};
    if ((seen & C_QUESTION) != 0 && (seen & C_SLASH) != 0) {
        while (j < l->text.len && (classes[s[j]] & C_URL_END) == 0)
            j++;
        put(l, TOKEN_VAR, 0, 0, 0);
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

/* A word before a colon: does a URL or a path with a drive begin here? Returns its end, or j. */
static size_t link_end(const struct line *l, const uint8_t *s, size_t i, size_t j)
{
    bool drive = j - i == 1 && s[j + 1] == '\\';
    bool url = s[j + 1] == '/' && s[j + 2] == '/';
    if ((!drive && !url) || !all_of(span_of(s + i, j - i), C_LETTER))
        return j;
    while (j < l->text.len && (classes[s[j]] & C_URL_END) == 0 &&
           !(drive && (s[j] == '|' || s[j] == ',' || s[j] == ';')))
        j++;
    return j;
}

/* The word of ASCII at i. Returns where the scan goes on. */
static inline size_t put_word(struct line *l, const uint8_t *s, size_t i)
{
    size_t j = next_stop(l->blocks, i + 1), len = j - i;
    if (s[j] == ':') {
        size_t end = link_end(l, s, i, j);
        if (end > j) {
            put(l, TOKEN_VAR, 0, 0, 0);
            return end;
        }
    }
    uint64_t more = CLASS_WINDOW(l->blocks, odd, i) | CLASS_WINDOW(l->blocks, digit, i);
    if (len > 63 || (more & ((UINT64_C(1) << len) - 1)) != 0)
        return put_odd_word(l, s, i, j);
    uint32_t sets = words_find(&l->words, s + i, len);
    bool variable = (sets & WORD_ATOM) != 0 || (len >= 8 && all_of(span_of(s + i, len), C_HEX));
    put(l, variable ? TOKEN_VAR : TOKEN_LIT, LINE_TEXT_AT + i, len, variable ? 0 : sets);
    return j;
}

static size_t put_wide(struct line *l, const uint8_t *s, size_t i)
{
    size_t j = wide_end(l->blocks, i);
    bool micro = j - i == 2 && (memcmp(s + i, "\xc2\xb5", 2) == 0 || memcmp(s + i, "\xce\xbc", 2) == 0);
    put(l, TOKEN_LIT, LINE_TEXT_AT + i, j - i, micro ? WORD_MICRO : 0);
    return j;
}

static void put_mark(struct line *l, size_t i, uint8_t c)
{
    uint32_t has = marks[c];
    if ((has & l->has & LINE_COLON) != 0)
        has |= LINE_COLONS;
    if (l->count > 0) {
        const struct token *before = &l->tokens[l->count - 1];
        if (before->mark != 0 && closes[before->mark] == c)
            has |= LINE_PAIR;
        if (before->kind == TOKEN_LIT && (c == '(' || c == '[' || c == '{'))
            has |= (l->has & LINE_GROUP) != 0 ? LINE_GROUPS : LINE_GROUP;
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

void line_scan(struct line *l, size_t from)
{
    const uint8_t *s = l->text.base;
    const size_t n = l->text.len;
    size_t i = from;

    l->count = 0;
    l->has = 0;
    l->words_seen = 0;
    while (i < n && l->count < LINE_MAX_TOKENS) {
        uint8_t c = s[i];
        if (begins[c] == BEGINS_SPACE) {
            do
                i++;
            while (begins[s[i]] == BEGINS_SPACE);
            put(l, TOKEN_SPC, 0, 1, 0);
        } else if ((l->blocks[i / 64].run >> i % 64 & 1) != 0) {
            put(l, TOKEN_PUN, LINE_TEXT_AT + i, 3, 0);
            while (s[i] == c)
                i++;
        } else if (begins[c] == BEGINS_MARK) {
            put_mark(l, i++, c);
        } else {
            i = c >= 0x80 ? put_wide(l, s, i) : put_word(l, s, i);
        }
    }
}
