/*
 * signature_context: the neighbour rules, in the order of the specification,
 * each left to right over the whole line.
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
        if (!in(&t[k], WORD_UNIT | WORD_MICRO))
            continue;
        bool spaced = t[k - 1].kind == TOKEN_SPC && k >= 2 && (t[k].words & WORD_UNIT) != 0;
        if (t[spaced ? k - 2 : k - 1].kind == TOKEN_VAR)
            t[k].kind = TOKEN_VAR;
    }
}

/* Bytes of its digits, when a variable is a number and nothing else. */
static uint32_t number_bytes(const struct line *l, const struct token *t)
{
    if (t->kind != TOKEN_VAR)
        return 0;
    for (uint32_t i = 0; i < t->len; i++)
        if (l->bytes[t->at + i] < '0' || l->bytes[t->at + i] > '9')
            return 0;
    return t->len;
}

static bool is_capital(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}

/* At least one capital and no small letter. */
static bool is_in_capitals(const struct line *l, const struct token *t)
{
    bool capital = false;
    for (uint32_t i = 0; i < t->len; i++) {
        uint8_t c = l->bytes[t->at + i];
        if (c >= 'a' && c <= 'z')
            return false;
        capital = capital || is_capital(c);
    }
    return capital;
}

/* Where a pair may end: at the end of the line, before a space, one of these marks, or a
 * variable whose text plays no part. */
static bool ends_before(const struct line *l, uint32_t k, const char *marks)
{
    const struct token *t = &l->tokens[k];
    return k >= l->count || t->kind == TOKEN_SPC || (t->kind == TOKEN_VAR && t->len == 0) ||
           (t->mark != 0 && strchr(marks, t->mark) != NULL);
}

/* ZONE(0) at k, of which `before` is what stands before it; NULL: nothing. */
static bool is_numbered(const struct line *l, uint32_t k, const struct token *before)
{
    const struct token *t = &l->tokens[k];
    return k + 3 < l->count && t[1].mark == '(' && t[3].mark == ')' && t[0].kind == TOKEN_LIT &&
           t[0].len > 1 && number_bytes(l, &t[2]) > 0 &&
           (before == NULL || before->kind == TOKEN_SPC) && is_in_capitals(l, &t[0]) &&
           ends_before(l, k + 4, ",;");
}

/* ... is one variable. */
static void numbered_capitals(struct line *l)
{
    struct token *t = l->tokens;
    uint32_t n = l->count, k = 0;
    while (k < n && !is_numbered(l, k, k > 0 ? &t[k - 1] : NULL))
        k++;
    if (k == n)
        return; /* nearly always */
    uint32_t kept = k;
    for (; k < n; k++) {
        bool is_one = is_numbered(l, k, kept > 0 ? &t[kept - 1] : NULL);
        t[kept++] = is_one ? (struct token){.kind = TOKEN_VAR} : t[k];
        k += is_one ? 3 : 0;
    }
    l->count = kept;
}

/* What stands before the token at k, but for spaces, colons and equal signs. -1: nothing. */
static int64_t word_before(const struct line *l, uint32_t k)
{
    const struct token *t = l->tokens;
    int64_t b = (int64_t)k - 1;
    while (b >= 0 && (t[b].kind == TOKEN_SPC || t[b].mark == ':' || t[b].mark == '=' ||
                      (t[b].kind == TOKEN_VAR && t[b].len == 0)))
        b--;
    return b;
}

/* "to cache:80", and a line that begins so: the name is one of a machine. */
static void ports(struct line *l)
{
    struct token *t = l->tokens;
    for (uint32_t k = 0; k + 2 < l->count; k++) {
        if (t[k + 1].mark != ':' || t[k].kind != TOKEN_LIT)
            continue;
        uint32_t digits = number_bytes(l, &t[k + 2]);
        uint8_t first = l->bytes[t[k].at] | 0x20; /* a word of ASCII, or else all of it is not */
        if (digits < 2 || digits > 5 || first < 'a' || first > 'z' ||
            !ends_before(l, k + 3, ",;)]"))
            continue;
        int64_t b = word_before(l, k);
        if (b < 0 ? k + 3 < l->count && t[k + 3].kind == TOKEN_SPC
                  : b + 1 < (int64_t)k && in(&t[b], WORD_PORT_AFTER))
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
    uint16_t none = (uint16_t)l->count, next[128] = {['"'] = none, ['\''] = none, ['`'] = none};
    for (uint32_t k = l->count; k-- > 0;) {
        uint8_t mark = l->tokens[k].mark;
        if (mark != '"' && mark != '\'' && mark != '`')
            continue;
        l->next_quote[k] = next[mark];
        next[mark] = (uint16_t)k;
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
        if (is_capital(name[i]) && !(i > 0 && is_capital(name[i - 1])))
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

/* What the "=" at k assigns becomes a variable. Returns the closing quote of a quoted value,
 * which gives way as a whole; else 0. */
static uint32_t assign(struct line *l, uint32_t k)
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
    return is_quote(&t[a]) && l->next_quote[a] < n ? l->next_quote[a] : 0;
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

/* Whether the quote at k stands behind a colon that is no text key's. */
static bool is_behind_colon(const struct line *l, uint32_t k)
{
    const struct token *t = l->tokens;
    uint32_t b = k;
    while (b > 0 && t[b - 1].kind == TOKEN_SPC)
        b--;
    if (b < 2 || t[b - 1].mark != ':')
        return false;
    b -= 2;
    if (b > 0 && is_quote(&t[b]))
        b--;
    return !in(&t[b], WORD_TEXT_KEY) || l->bytes[t[b].at + t[b].len - 1] == '.';
}

/* The closing quote of a quoted value behind a colon, which gives way to one variable; 0: it
 * is none. */
static uint32_t quoted_value(const struct line *l, uint32_t k)
{
    const struct token *t = l->tokens;
    uint32_t n = l->count;
    if ((!is_quote(&t[k]) && t[k].mark != '`') || k + 1 >= n || !is_behind_colon(l, k))
        return 0;
    uint32_t close = l->next_quote[k];
    bool is_value =
        close < n && close > k + 1 && (close + 1 == n || t[close + 1].kind != TOKEN_LIT);
    return is_value ? close : 0;
}

/* key=value, empty pairs and quoted values: the tokens move to l->made, which may be longer. */
static void values_and_pairs(struct line *l)
{
    static const struct token variable = {.kind = TOKEN_VAR};
    struct token *t = l->tokens;
    uint32_t n = l->count, made = 0, close;
    for (uint32_t k = 0; k < n; k++) {
        l->made[made++] = t[k];
        if (t[k].mark == 0)
            continue;
        if (t[k].mark == '=') {
            close = k > 0 && t[k - 1].kind != TOKEN_PUN ? assign(l, k) : 0;
            if (close > 0) {
                l->made[made++] = variable;
                k = close;
            }
        } else if (k + 1 < n && is_empty_pair(&t[k], &t[k + 1]) &&
                   (k == 0 || t[k - 1].kind != TOKEN_LIT)) {
            l->made[made++] = variable;
        } else if ((close = quoted_value(l, k)) > 0) {
            l->made[made - 1] = variable;
            k = close;
        }
    }
    l->count = made;
}

/* ---- groups that repeat -------------------------------------------------- */

#define UNIT_MAX_TOKENS 64

static bool is_same(const struct line *l, const struct token *a, const struct token *b)
{
    if (a->len == 1 && b->len == 1) /* marks, and variables */
        return l->bytes[a->at] == l->bytes[b->at];
    return a->len == b->len && memcmp(l->bytes + a->at, l->bytes + b->at, a->len) == 0;
}

/* For every opening bracket of made[] its partner, among those of its own kind; 0: none. */
static void index_brackets(struct line *l)
{
    static const uint8_t pairs[][2] = {{'(', ')'}, {'[', ']'}, {'{', '}'}};
    for (size_t p = 0; p < ARRAY_LEN(pairs); p++) {
        uint16_t open[2 * LINE_MAX_TOKENS + 4];
        uint32_t depth = 0;
        for (uint32_t k = 0; k < l->count; k++) {
            if (l->made[k].mark == pairs[p][0]) {
                l->closing[k] = 0;
                open[depth++] = (uint16_t)k;
            } else if (l->made[k].mark == pairs[p][1] && depth > 0) {
                l->closing[open[--depth]] = (uint16_t)k;
            }
        }
    }
}

/* The tokens of name(...) at i; 0: there is none, or it holds no variable. */
static uint32_t unit_at(const struct line *l, uint32_t i)
{
    const struct token *t = l->made;
    if (i + 1 >= l->count || t[i].kind != TOKEN_LIT ||
        (t[i + 1].mark != '(' && t[i + 1].mark != '[' && t[i + 1].mark != '{'))
        return 0;
    uint32_t close = l->closing[i + 1];
    if (close == 0 || close - i >= UNIT_MAX_TOKENS)
        return 0;
    for (uint32_t k = i; k < close; k++)
        if (t[k].len == 1 && l->bytes[t[k].at] == 0x01)
            return close + 1 - i;
    return 0;
}

/* Where the unit of `len` tokens at i, repeated from k on behind spaces, commas and
 * semicolons, ends. k: it is not. */
static uint32_t repeat_end(const struct line *l, uint32_t i, uint32_t len, uint32_t k)
{
    const struct token *t = l->made;
    uint32_t m = k, same = 0;
    while (m < l->count && (t[m].kind == TOKEN_SPC || t[m].mark == ',' || t[m].mark == ';'))
        m++;
    if (m == k || len > l->count - m)
        return k;
    while (same < len && is_same(l, &t[i + same], &t[m + same]))
        same++;
    return same == len ? m + len : k;
}

/* name(...), name(...), name(...) becomes name(...) once. */
static void repeats(struct line *l)
{
    struct token *t = l->made;
    uint32_t n = l->count, kept = 0;
    for (uint32_t k = 0; k < n; k++)
        if (t[k].kind == TOKEN_VAR)
            t[k] = (struct token){.at = 1, .len = 1, .kind = TOKEN_VAR};
    index_brackets(l);
    for (uint32_t i = 0; i < n;) {
        uint32_t len = unit_at(l, i), end = i + len, more;
        while (len > 0 && (more = repeat_end(l, i, len, end)) > end)
            end = more;
        if (end == i + len) { /* not repeated */
            t[kept++] = t[i++];
            continue;
        }
        for (uint32_t k = 0; k < len; k++) /* the place is its own or before */
            t[kept++] = t[i + k];
        i = end;
    }
    l->count = kept;
}

void line_context(struct line *l)
{
    l->final = l->made;
    if ((l->has & LINE_COLONS) != 0)
        hex_groups(l);
    if ((l->words_seen & (WORD_MONTH | WORD_DAY | WORD_ZONE)) != 0)
        dates(l);
    if ((l->words_seen & (WORD_UNIT | WORD_MICRO)) != 0)
        units(l);
    if ((l->has & LINE_GROUP) != 0 && (l->has & LINE_PAREN) != 0)
        numbered_capitals(l);
    if ((l->has & LINE_KEY) != 0)
        ports(l);
    if ((l->words_seen & WORD_USER) != 0)
        user_slots(l);
    if ((l->has & LINE_ANGLE) != 0)
        comparisons(l);
    if ((l->has & LINE_COLON) != 0 && (l->has & LINE_QUOTE) != 0) {
        index_quotes(l);
        json_members(l);
    }
    if ((l->has & LINE_KEY) != 0)
        id_keys(l);
    bool quoted = (l->has & LINE_QUOTE) != 0 && (l->has & (LINE_EQUALS | LINE_COLON)) != 0;
    bool ticked = (l->has & LINE_TICK) != 0 && (l->has & LINE_COLON) != 0;
    if (quoted || ticked)
        index_quotes(l); /* again: values blanked above may have held quotes */
    if (quoted || ticked || (l->has & (LINE_EQUALS | LINE_PAIR)) != 0)
        values_and_pairs(l);
    else if ((l->has & LINE_GROUPS) != 0)
        memcpy(l->made, l->tokens, l->count * sizeof l->made[0]);
    else
        l->final = l->tokens;
    if ((l->has & LINE_GROUPS) != 0)
        repeats(l);
}
