/*
 * signature_scan: one pass over a line's words. Where a word ends, and whether it holds a
 * digit or a byte of another kind, is read from the masks of its classes; a plain word is
 * settled by that and a keyword probe.
 */
#include "pattern/signature_line.h"

#include <assert.h>
#include <stddef.h>

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

/* What a token may begin with; anything else begins a word. Of the last two only a run of
 * three is no word or mark. */
enum { BEGINS_WORD, BEGINS_SPACE, BEGINS_MARK, BEGINS_WIDE, BEGINS_RUN, BEGINS_EQUALS };
static const uint8_t begins[256] = {
    ['\t' ... '\r'] = BEGINS_SPACE, [' '] = BEGINS_SPACE,
    [','] = BEGINS_MARK, [';'] = BEGINS_MARK, [':'] = BEGINS_MARK, ['|'] = BEGINS_MARK,
    ['('] = BEGINS_MARK, [')'] = BEGINS_MARK, ['['] = BEGINS_MARK, [']'] = BEGINS_MARK,
    ['{'] = BEGINS_MARK, ['}'] = BEGINS_MARK, ['<'] = BEGINS_MARK, ['>'] = BEGINS_MARK,
    ['"'] = BEGINS_MARK, ['\''] = BEGINS_MARK, ['`'] = BEGINS_MARK,
    ['.'] = BEGINS_RUN, ['-'] = BEGINS_RUN, ['*'] = BEGINS_RUN, ['_'] = BEGINS_RUN,
    ['#'] = BEGINS_RUN, ['~'] = BEGINS_RUN, ['+'] = BEGINS_RUN, ['='] = BEGINS_EQUALS,
    [0x80 ... 0xff] = BEGINS_WIDE,
};

/* What a separator says about its line. */
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

/* Where a scan goes on, and where its next token goes: by value, so that they stay in registers. */
struct step {
    size_t at;
    struct token *next;
};

/* The token that is put next is a literal that is in these lists. */
static inline void list(struct line *l, const struct token *next, uint32_t sets)
{
    if (sets == 0)
        return;
    l->words_seen |= sets;
    l->listed[l->listed_count++] = (uint16_t)(next - l->tokens);
}

/* In one store: field by field it takes five. */
static inline struct token *put_token(struct token *next, enum token_kind kind, uint8_t mark,
                                      size_t at, size_t len, uint32_t words)
{
    static_assert(sizeof *next == 8 && offsetof(struct token, words) == 6, "see below");
    uint64_t bits = (uint64_t)(uint16_t)at | (uint64_t)(uint16_t)len << 16 | (uint64_t)kind << 32 |
                    (uint64_t)mark << 40 | (uint64_t)words << 48;
    memcpy(next, &bits, sizeof bits);
    return next + 1;
}

static inline struct token *put(struct token *next, enum token_kind kind, size_t at, size_t len,
                                uint32_t words)
{
    return put_token(next, kind, 0, at, len, words);
}

/* The first byte from i on whose bit is the other one of `mask`, which is a stop's or has one
 * at the end. */
static size_t far_end(const uint64_t *mask, size_t i, uint64_t flip)
{
    uint64_t bits = (mask[i / 64] ^ flip) >> i % 64;
    if (bits != 0)
        return i + (size_t)__builtin_ctzll(bits);
    size_t word = i / 64 + 1;
    while ((mask[word] ^ flip) == 0)
        word++;
    return 64 * word + (size_t)__builtin_ctzll(mask[word] ^ flip);
}

/* The next stop from byte i on; there is one at the end. */
static inline size_t next_stop(const struct classes *c, size_t i)
{
    uint64_t window = class_window(c->stop, i);
    return window != 0 ? i + (size_t)__builtin_ctzll(window) : far_end(c->stop, i, 0);
}

/* What a word that is more than letters holds: the union of its bytes' classes. */
static uint32_t classes_of(const struct line *l, size_t i, size_t j)
{
    uint32_t seen = 0;
    for (size_t at = i; at < j; at += CLASS_WINDOW_BITS) {
        size_t left = j - at < CLASS_WINDOW_BITS ? j - at : CLASS_WINDOW_BITS;
        uint64_t in_word = (UINT64_C(1) << left) - 1,
                 odd = class_window(l->classes.odd, at) & in_word;
        if ((class_window(l->classes.digit, at) & in_word) != 0)
            seen |= C_DIGIT;
        for (; odd != 0; odd &= odd - 1)
            seen |= classes[l->text.base[at + (size_t)__builtin_ctzll(odd)]];
    }
    return seen;
}

/* A literal that is more than letters. */
static struct token *put_odd_literal(struct line *l, struct token *next, size_t i, struct span word)
{
    size_t len = word.len;
    while (len > 0 && word.base[len - 1] == '.')
        len--;
    uint32_t sets = words_find(&l->words, word.base, len) & WORD_OF_TOKEN;
    list(l, next, sets);
    return put(next, TOKEN_LIT, LINE_TEXT_AT + i, word.len, sets);
}

/* A word of ASCII that holds more than letters and underscores. It ends past j where it was
 * the start of a URL. */
static __attribute__((noinline)) struct step put_odd_word(struct line *l, struct token *next,
                                                          size_t i, size_t j)
{
    uint32_t seen = classes_of(l, i, j);
    struct span word = {l->text.base + i, j - i};
    if ((seen & C_QUESTION) != 0 && (seen & C_SLASH) != 0) {
        while (j < l->text.len && (classes[l->text.base[j]] & C_URL_END) == 0)
            j++;
        return (struct step){j, put(next, TOKEN_VAR, 0, 0, 0)};
    }
    if (!is_variable(&l->words, word, seen))
        return (struct step){j, put_odd_literal(l, next, i, word)};
    size_t head = (seen & (C_PLUS | C_AT)) != 0 ? named_head(word, seen) : 0;
    if (head > 0)
        next = put(next, TOKEN_LIT, LINE_TEXT_AT + i, head, 0);
    return (struct step){j, put(next, TOKEN_VAR, LINE_TEXT_AT + i + head, word.len - head, 0)};
}

/* A word before a colon: does a URL or a path with a drive begin here? Returns its end, or j. */
static size_t link_end(const struct line *l, size_t i, size_t j)
{
    const uint8_t *s = l->text.base;
    bool drive = j - i == 1 && s[j + 1] == '\\';
    bool url = s[j + 1] == '/' && s[j + 2] == '/';
    if ((!drive && !url) || !all_of(span_of(s + i, j - i), C_LETTER))
        return j;
    while (j < l->text.len && (classes[s[j]] & C_URL_END) == 0 &&
           !(drive && (s[j] == '|' || s[j] == ',' || s[j] == ';')))
        j++;
    return j;
}

static struct step put_wide(struct line *l, struct token *next, size_t i)
{
    const uint8_t *s = l->text.base + i;
    size_t j = far_end(l->classes.wide, i, ~UINT64_C(0));
    bool micro = j - i == 2 && (memcmp(s, "\xc2\xb5", 2) == 0 || memcmp(s, "\xce\xbc", 2) == 0);
    list(l, next, micro ? WORD_MICRO : 0);
    return (struct step){j, put(next, TOKEN_LIT, LINE_TEXT_AT + i, j - i, micro ? WORD_MICRO : 0)};
}

static struct token *put_mark(struct line *l, struct token *next, size_t i, uint8_t mark)
{
    uint32_t has = marks[mark];
    if ((has & l->has & LINE_COLON) != 0)
        has |= LINE_COLONS;
    if (next > l->tokens) {
        const struct token *before = next - 1;
        if (before->mark != 0 && closes[before->mark] == mark)
            has |= LINE_PAIR;
        if (before->kind == TOKEN_LIT && mark == ':')
            has |= LINE_KEY;
        if (before->kind == TOKEN_LIT && (mark == '(' || mark == '[' || mark == '{'))
            has |= (l->has & LINE_GROUP) != 0 ? LINE_GROUPS : LINE_GROUP;
    }
    l->has |= has;
    l->marks[l->mark_count++] = (uint16_t)(next - l->tokens);
    return put_token(next, TOKEN_PUN, mark, LINE_TEXT_AT + i, 1, 0);
}

/* The word of ASCII at i. Nearly all are letters, or begin with a digit. */
static inline __attribute__((always_inline)) struct step put_word(struct line *l, const uint8_t *s,
                                                                  struct token *next, size_t i)
{
    size_t j = next_stop(&l->classes, i), len = j - i;
    if (s[j] == ':' && (s[j + 1] == '/' || s[j + 1] == '\\')) {
        size_t end = link_end(l, i, j);
        if (end > j)
            return (struct step){end, put(next, TOKEN_VAR, 0, 0, 0)};
    }
    if (s[i] <= '9' && s[i] >= '0' && !l->classes.has_question) /* no word of a list does so */
        return (struct step){j, put(next, TOKEN_VAR, LINE_TEXT_AT + i, len, 0)};
    uint64_t more = class_window(l->classes.odd_or_digit, i);
    if (len > CLASS_WINDOW_BITS || more << (63 - len) << 1 != 0)
        return put_odd_word(l, next, i, j);
    uint32_t sets = words_find(&l->words, s + i, len);
    bool variable = (sets & WORD_ATOM) != 0 || (len >= 8 && (classes[s[i]] & C_HEX) != 0 &&
                                                all_of(span_of(s + i, len), C_HEX));
    if (variable)
        return (struct step){j, put(next, TOKEN_VAR, LINE_TEXT_AT + i, len, 0)};
    sets &= WORD_OF_TOKEN;
    list(l, next, sets);
    return (struct step){j, put(next, TOKEN_LIT, LINE_TEXT_AT + i, len, sets)};
}

void line_init(struct line *l)
{
    words_init(&l->words);
    l->bytes[0] = ' ';  /* what a SPC token's at=0 refers to */
    l->bytes[1] = 0x01; /* and a VAR's, once its own text no longer counts */
    l->count = 0;
}

/* What begins with neither a letter nor a space. */
static inline __attribute__((always_inline)) struct step put_other(struct line *l, struct step step,
                                                                   uint8_t byte)
{
    const uint8_t *s = l->text.base;
    uint8_t begin = begins[byte];
    if (begin >= BEGINS_RUN && class_is(l->classes.run, step.at)) {
        step.next = put(step.next, TOKEN_PUN, LINE_TEXT_AT + step.at, 3, 0);
        while (s[step.at] == byte)
            step.at++;
        return step;
    }
    if (begin == BEGINS_RUN)
        return put_word(l, s, step.next, step.at);
    if (begin == BEGINS_WIDE)
        return put_wide(l, step.next, step.at);
    return (struct step){step.at + 1, put_mark(l, step.next, step.at, byte)};
}

void line_scan(struct line *l, size_t from)
{
    static const struct token space = {.len = 1, .kind = TOKEN_SPC};
    const uint8_t *s = l->text.base;
    const size_t n = l->text.len;
    struct token *full = l->tokens + LINE_MAX_TOKENS;
    struct step step = {from, l->tokens};

    l->has = l->words_seen = l->mark_count = l->listed_count = 0;
    while (step.at < n && step.next < full) {
        uint8_t byte = s[step.at];
        if (begins[byte] == BEGINS_WORD) {
            step = put_word(l, s, step.next, step.at);
            if (s[step.at] == ' ' && begins[s[step.at + 1]] != BEGINS_SPACE && step.next < full) {
                *step.next++ = space; /* behind most words */
                step.at++;
            }
        } else if (begins[byte] == BEGINS_SPACE) {
            do
                step.at++;
            while (begins[s[step.at]] == BEGINS_SPACE);
            *step.next++ = space;
        } else {
            step = put_other(l, step, byte);
        }
    }
    l->count = (uint32_t)(step.next - l->tokens);
}
