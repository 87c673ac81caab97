/*
 * signature_context: the neighbour rules, in the order of the specification,
 * each left to right over the whole line; then the joining of variables.
 *
 * A rule only runs when the scan saw something it could apply to. Every rule is
 * linear in the tokens: a quote's partner comes from an index.
 */
#include "pattern/signature_line.h"

static bool is_word(const struct token *t)
{
    return t->kind <= TOKEN_VAR;
}

static bool is_quote(const struct token *t)
{
    return t->mark == '"' || t->mark == '\'';
}

/* A literal in one of the lists. */
static bool in(const struct token *t, uint32_t sets)
{
    return t->kind == TOKEN_LIT && (t->words & sets) != 0;
}

static bool is_short_hex(const struct line *l, const struct token *t)
{
    if (t->len > 4)
        return false;
    for (uint32_t i = 0; i < t->len; i++) {
        uint8_t c = l->bytes[t->at + i];
        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')))
            return false;
    }
    return true;
}

/* Three or more short hex words joined by : or :: (MAC, IPv6, fingerprint). */
static void hex_groups(struct line *l)
{
    struct token *t = l->tokens;
    uint32_t n = l->count, k = 0;
    while (k < n) {
        if (!is_word(&t[k]) || t[k].len == 0) {
            k++;
            continue;
        }
        bool all_hex = is_short_hex(l, &t[k]);
        uint32_t members = 1, j = k;
        while (j + 2 < n && t[j + 1].mark == ':') {
            uint32_t next = t[j + 2].mark == ':' ? j + 3 : j + 2;
            if (next >= n || !is_word(&t[next]) || t[next].len == 0)
                break;
            j = next;
            members++;
            all_hex = all_hex && is_short_hex(l, &t[j]);
        }
        if (members >= 3 && all_hex)
            for (uint32_t m = k; m <= j; m++)
                if (is_word(&t[m]))
                    t[m].kind = TOKEN_VAR;
        k = j + 1;
    }
}

/* Whether the next token that is no space and no comma is a variable. */
static bool steps_to_variable(const struct line *l, uint32_t k, int step)
{
    const struct token *t = l->tokens;
    for (k += (uint32_t)step; k < l->count; k += (uint32_t)step) /* -1 wraps over count: ends */
        if (t[k].kind != TOKEN_SPC && t[k].mark != ',')
            return t[k].kind == TOKEN_VAR;
    return false;
}

static void dates(struct line *l)
{
    struct token *t = l->tokens;
    if ((l->words_seen & WORD_MONTH) != 0)
        for (uint32_t k = 0; k < l->count; k++)
            if (in(&t[k], WORD_MONTH) &&
                (steps_to_variable(l, k, 1) || steps_to_variable(l, k, -1)))
                t[k].kind = TOKEN_VAR;
    if ((l->words_seen & (WORD_DAY | WORD_ZONE)) != 0)
        for (uint32_t k = 0; k < l->count; k++)
            if ((in(&t[k], WORD_DAY) && steps_to_variable(l, k, 1)) ||
                (in(&t[k], WORD_ZONE) && steps_to_variable(l, k, -1)))
                t[k].kind = TOKEN_VAR;
}

static void units(struct line *l)
{
    struct token *t = l->tokens;
    for (uint32_t k = 1; k < l->count; k++) {
        if (!in(&t[k], WORD_UNIT))
            continue;
        if (t[k - 1].kind != TOKEN_SPC)
            t[k].kind = t[k - 1].kind == TOKEN_VAR ? TOKEN_VAR : TOKEN_LIT;
        else if (k >= 2 && t[k - 2].kind == TOKEN_VAR)
            t[k].kind = TOKEN_VAR;
    }
}

/* "for user alice", but not "for user authentication". */
static void user_slots(struct line *l)
{
    struct token *t = l->tokens;
    for (uint32_t k = 2; k + 2 < l->count; k++)
        if (in(&t[k], WORD_USER) && t[k - 1].kind == TOKEN_SPC && in(&t[k - 2], WORD_SLOT_BEFORE) &&
            t[k + 1].kind == TOKEN_SPC && t[k + 2].kind == TOKEN_LIT &&
            !in(&t[k + 2], WORD_SLOT_NOT))
            t[k + 2].kind = TOKEN_VAR;
}

/* "<1 sec": a lone angle before a variable goes. */
static void comparisons(struct line *l)
{
    struct token *t = l->tokens;
    uint32_t n = l->count, kept = 0;
    bool free_before = true; /* at the start, or after a space (as the line was) */
    for (uint32_t k = 0; k < n; k++) {
        bool drop = (t[k].mark == '<' || t[k].mark == '>') && free_before && k + 1 < n &&
                    t[k + 1].kind == TOKEN_VAR && !(k + 2 < n && t[k + 2].mark == '>') &&
                    !(k + 3 < n && t[k + 3].mark == '>');
        free_before = t[k].kind == TOKEN_SPC;
        if (!drop)
            t[kept++] = t[k];
    }
    l->count = kept;
}

/* For every quote the place of the next same one; count where there is none. */
static void index_quotes(struct line *l)
{
    uint16_t next_double = (uint16_t)l->count, next_single = (uint16_t)l->count;
    for (uint32_t k = l->count; k-- > 0;) {
        if (l->tokens[k].mark == '"') {
            l->next_quote[k] = next_double;
            next_double = (uint16_t)k;
        } else if (l->tokens[k].mark == '\'') {
            l->next_quote[k] = next_single;
            next_single = (uint16_t)k;
        }
    }
}

/* "key": value inside text. What is blanked lies before every quote that a
 * later match looks up, so the index stays good within this rule. */
static void json_members(struct line *l)
{
    static const struct token blank = {.kind = TOKEN_VAR};
    struct token *t = l->tokens;
    uint32_t n = l->count;
    for (uint32_t k = 3; k < n; k++) {
        if (t[k].mark != ':' || !is_quote(&t[k - 1]) || !is_word(&t[k - 2]) ||
            t[k - 3].mark != t[k - 1].mark || in(&t[k - 2], WORD_TEXT_KEY))
            continue;
        uint32_t a = k + 1 < n && t[k + 1].kind == TOKEN_SPC ? k + 2 : k + 1;
        if (a >= n)
            continue;
        if (is_quote(&t[a])) {
            uint32_t b = l->next_quote[a];
            if (b >= n)
                continue;
            for (uint32_t j = a + 1; j < b; j++)
                t[j] = blank;
            if (b == a + 1)
                t[a] = blank;
        } else if (t[a].kind == TOKEN_LIT) {
            t[a].kind = TOKEN_VAR;
        }
    }
}

/* Whether the last word of a compound name (taskId, x-request-id, pod_name)
 * says that an identifier follows. */
static bool is_id_key(const struct line *l, const struct token *key)
{
    const uint8_t *name = l->bytes + key->at;
    uint32_t i = key->len;
    while (i > 0 && name[i - 1] != '-' && name[i - 1] != '_' && name[i - 1] != '.') {
        i--;
        if (key->len - i > WORD_MAX_BYTES)
            return false; /* longer than any of them */
        bool capital = name[i] >= 'A' && name[i] <= 'Z';
        if (capital && !(i > 0 && name[i - 1] >= 'A' && name[i - 1] <= 'Z'))
            break;
    }
    return (words_find(&l->words, name + i, key->len - i) & WORD_ID_KEY) != 0;
}

static void id_keys(struct line *l)
{
    struct token *t = l->tokens;
    for (uint32_t k = 1; k + 1 < l->count; k++) {
        if (t[k].mark != ':' || t[k - 1].kind != TOKEN_LIT)
            continue;
        uint32_t a = t[k + 1].kind == TOKEN_SPC ? k + 2 : k + 1;
        if (a < l->count && t[a].kind == TOKEN_LIT && is_id_key(l, &t[k - 1]))
            t[a].kind = TOKEN_VAR;
    }
}

/* What the "=" at k assigns. Returns the closing quote of a quoted value that
 * gives way to one variable, else 0; *value is then its opening quote. */
static uint32_t assign(struct line *l, uint32_t k, uint32_t *value)
{
    struct token *t = l->tokens;
    uint32_t n = l->count;
    bool spaced = t[k - 1].kind == TOKEN_SPC;
    bool keeps = spaced ? k >= 2 && in(&t[k - 2], WORD_TEXT_KEY) : in(&t[k - 1], WORD_TEXT_KEY);
    uint32_t a = spaced && k + 1 < n && t[k + 1].kind == TOKEN_SPC ? k + 2 : k + 1;

    if (a >= n || keeps)
        return 0;
    if (is_word(&t[a]))
        t[a].kind = TOKEN_VAR;
    else if (is_quote(&t[a]) && l->next_quote[a] < n) {
        *value = a;
        return l->next_quote[a];
    }
    return 0;
}

static bool is_empty_pair(const struct token *open, const struct token *close)
{
    switch (open->mark) {
    case '(':
        return close->mark == ')';
    case '[':
        return close->mark == ']';
    case '{':
        return close->mark == '}';
    case '"':
    case '\'':
        return close->mark == open->mark;
    default:
        return false;
    }
}

/* key=value and empty pairs: the tokens move to l->made, which may be longer. */
static void values_and_pairs(struct line *l)
{
    static const struct token variable = {.kind = TOKEN_VAR};
    struct token *t = l->tokens;
    uint32_t n = l->count, made = 0;
    for (uint32_t k = 0; k < n; k++) {
        l->made[made++] = t[k];
        if (t[k].mark == 0)
            continue;
        if (t[k].mark == '=') {
            uint32_t open;
            if (k == 0 || t[k - 1].kind == TOKEN_PUN)
                continue;
            uint32_t close = assign(l, k, &open);
            if (close > 0) {
                for (uint32_t j = k + 1; j <= open; j++)
                    l->made[made++] = t[j];
                l->made[made++] = variable;
                k = close - 1;
            }
        } else if (k + 1 < n && is_empty_pair(&t[k], &t[k + 1]) &&
                   (k == 0 || t[k - 1].kind != TOKEN_LIT)) {
            l->made[made++] = variable;
        }
    }
    l->count = made;
}

void line_context(struct line *l)
{
    if ((l->has & LINE_COLONS) != 0)
        hex_groups(l);
    if ((l->words_seen & (WORD_MONTH | WORD_DAY | WORD_ZONE)) != 0)
        dates(l);
    if ((l->words_seen & WORD_UNIT) != 0)
        units(l);
    if ((l->words_seen & WORD_USER) != 0)
        user_slots(l);
    if ((l->has & LINE_ANGLE) != 0)
        comparisons(l);
    if ((l->has & LINE_COLON) != 0) {
        if ((l->has & LINE_QUOTE) != 0) {
            index_quotes(l);
            json_members(l);
        }
        id_keys(l);
    }
    if ((l->has & LINE_EQUALS) != 0 && (l->has & LINE_QUOTE) != 0)
        index_quotes(l); /* again: values blanked above may have held quotes */
    if ((l->has & (LINE_EQUALS | LINE_PAIR)) != 0)
        values_and_pairs(l);
    else
        memcpy(l->made, l->tokens, l->count * sizeof l->made[0]);
}

/* Separators, by their first byte, that disappear between two variables. */
static const bool folds[256] = {
    [' '] = true, [','] = true, [';'] = true, [':'] = true,
    ['|'] = true, ['.'] = true, ['/'] = true, ['-'] = true,
};

/* A literal of nothing but . - / + ~ _ counts as a separator. */
static bool is_strokes(const struct line *l, const struct token *t)
{
    for (uint32_t i = 0; i < t->len; i++)
        if (memchr(".-/+~_", l->bytes[t->at + i], 6) == NULL)
            return false;
    return true;
}

/* VAR (VAR) becomes VAR. */
static void join_parentheses(struct line *l)
{
    const struct token *t = l->made;
    uint32_t n = l->count, kept = 0;
    for (uint32_t k = 0; k < n; k++) {
        bool variable = t[k].kind == TOKEN_VAR;
        l->made[kept++] = t[k];
        while (variable && k + 4 < n && t[k + 1].kind == TOKEN_SPC &&
               t[k + 2].mark == '(' && t[k + 3].kind == TOKEN_VAR && t[k + 4].mark == ')')
            k += 4;
    }
    l->count = kept;
}

void line_join(struct line *l)
{
    struct token *t = l->made;
    uint32_t n = l->count, out = 0;
    uint32_t after = 0;    /* out just after the last variable, when only separators followed */
    bool foldable = false; /* ... and all of them are such as fold */
    for (uint32_t k = 0; k < n; k++) {
        if (t[k].kind == TOKEN_VAR) {
            out = foldable ? after : out;
            if (!foldable)
                t[out++] = (struct token){.at = 1, .len = 1, .kind = TOKEN_VAR};
            after = out;
            foldable = true;
            continue;
        }
        if (foldable)
            foldable = folds[l->bytes[t[k].at]] && (t[k].kind != TOKEN_LIT || is_strokes(l, &t[k]));
        t[out++] = t[k];
    }
    l->count = out;

    if ((l->has & LINE_PAREN) != 0)
        join_parentheses(l);
    while (l->count > 0 && t[l->count - 1].kind == TOKEN_SPC)
        l->count--;
    uint32_t skip = 0;
    while (skip < l->count && t[skip].kind == TOKEN_SPC)
        skip++;
    if (skip > 0) {
        l->count -= skip;
        memmove(t, t + skip, l->count * sizeof *t);
    }
}

size_t line_emit(const struct line *l, uint8_t *out)
{
    uint8_t *at = out;
    for (uint32_t k = 0; k < l->count; k++) {
        const struct token *t = &l->made[k];
        const uint8_t *from = l->bytes + t->at;
        memcpy(at, from, 16); /* short ones, nearly all, are done */
        if (t->len > 16)
            memcpy(at + 16, from + 16, t->len - 16u);
        at[t->len] = 0x02;
        at += t->len + 1;
    }
    return (size_t)(at - out) - (l->count > 0);
}
