/*
 * signature_context: the neighbour rules, in the order of the specification,
 * each left to right over the whole line.
 *
 * A rule only runs when the scan saw something it could apply to, and only looks where a mark
 * or a word of a list is. Every rule is linear in the tokens: a quote's partner comes from an
 * index.
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
    uint32_t n = l->count, done = 0;
    for (uint32_t i = 0; i < l->mark_count; i++) {
        uint32_t k = l->marks[i] - 1u; /* of the first mark there may be none before it */
        if (t[k + 1].mark != ':' || k + 1 <= done || !is_word(&t[k]) || t[k].len == 0)
            continue;
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
        done = j + 1;
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
        for (uint32_t i = 0; i < l->listed_count; i++) {
            uint32_t k = l->listed[i];
            if (in(&t[k], WORD_MONTH) &&
                (steps_to_variable(l, k, 1) || steps_to_variable(l, k, -1)))
                t[k].kind = TOKEN_VAR;
        }
    if ((l->words_seen & (WORD_DAY | WORD_ZONE)) != 0)
        for (uint32_t i = 0; i < l->listed_count; i++) {
            uint32_t k = l->listed[i];
            if ((in(&t[k], WORD_DAY) && steps_to_variable(l, k, 1)) ||
                (in(&t[k], WORD_ZONE) && steps_to_variable(l, k, -1)))
                t[k].kind = TOKEN_VAR;
        }
}

static void units(struct line *l)
{
    struct token *t = l->tokens;
    for (uint32_t i = 0; i < l->listed_count; i++) {
        uint32_t k = l->listed[i];
        if (k == 0 || !in(&t[k], WORD_UNIT | WORD_MICRO))
            continue;
        bool spaced = t[k - 1].kind == TOKEN_SPC && k >= 2 && (t[k].words & WORD_UNIT) != 0;
        if (t[spaced ? k - 2 : k - 1].kind == TOKEN_VAR)
            t[k].kind = TOKEN_VAR;
    }
}

/* Tokens have moved. */
static void list_again(struct line *l)
{
    l->mark_count = l->listed_count = 0;
    for (uint32_t k = 0; k < l->count; k++) {
        if (l->tokens[k].mark != 0)
            l->marks[l->mark_count++] = (uint16_t)k;
        if (l->tokens[k].kind == TOKEN_LIT && l->tokens[k].words != 0)
            l->listed[l->listed_count++] = (uint16_t)k;
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
    uint32_t n = l->count, k = n;
    for (uint32_t i = 0; i < l->mark_count && k == n; i++) {
        uint32_t at = l->marks[i]; /* of the bracket */
        if (at > 0 && is_numbered(l, at - 1, at > 1 ? &t[at - 2] : NULL))
            k = at - 1;
    }
    if (k == n)
        return; /* nearly always */
    uint32_t kept = k;
    for (; k < n; k++) {
        bool is_one = is_numbered(l, k, kept > 0 ? &t[kept - 1] : NULL);
        t[kept++] = is_one ? (struct token){.kind = TOKEN_VAR} : t[k];
        k += is_one ? 3 : 0;
    }
    l->count = kept;
    list_again(l);
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
    for (uint32_t i = 0; i < l->mark_count; i++) {
        uint32_t k = l->marks[i] - 1u; /* what is before a colon */
        if (t[k + 1].mark != ':' || k + 1 == 0 || k + 2 >= l->count || t[k].kind != TOKEN_LIT)
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
    for (uint32_t i = 0; i < l->listed_count; i++) {
        uint32_t k = l->listed[i];
        if (k >= 2 && k + 2 < l->count && in(&t[k], WORD_USER) && t[k - 1].kind == TOKEN_SPC &&
            in(&t[k - 2], WORD_SLOT_BEFORE) && t[k + 1].kind == TOKEN_SPC &&
            t[k + 2].kind == TOKEN_LIT && !in(&t[k + 2], WORD_SLOT_NOT))
            t[k + 2].kind = TOKEN_VAR;
    }
}

/* A lone angle at k before a variable. */
static bool is_comparison(const struct line *l, uint32_t k)
{
    const struct token *t = l->tokens;
    uint32_t n = l->count;
    return (t[k].mark == '<' || t[k].mark == '>') && (k == 0 || t[k - 1].kind == TOKEN_SPC) &&
           k + 1 < n && t[k + 1].kind == TOKEN_VAR && !(k + 2 < n && t[k + 2].mark == '>') &&
           !(k + 3 < n && t[k + 3].mark == '>');
}

/* "<1 sec": it goes. */
static void comparisons(struct line *l)
{
    struct token *t = l->tokens;
    uint32_t n = l->count, from = 0, kept = 0;
    for (uint32_t i = 0; i < l->mark_count; i++) {
        uint32_t k = l->marks[i];
        if (!is_comparison(l, k))
            continue;
        memmove(t + kept, t + from, (k - from) * sizeof *t);
        kept += k - from;
        from = k + 1;
    }
    if (from == 0)
        return;
    memmove(t + kept, t + from, (n - from) * sizeof *t);
    l->count = kept + n - from;
    list_again(l);
}

/* For every quote the place of the next same one; count where there is none. */
static void index_quotes(struct line *l)
{
    uint16_t none = (uint16_t)l->count, doubles = none, singles = none, ticks = none;
    for (uint32_t i = l->mark_count; i-- > 0;) {
        uint16_t k = l->marks[i];
        uint8_t mark = l->tokens[k].mark;
        if (mark != '"' && mark != '\'' && mark != '`')
            continue;
        uint16_t *next = mark == '"' ? &doubles : mark == '\'' ? &singles : &ticks;
        l->next_quote[k] = *next;
        *next = k;
    }
}

/* "key": value inside text. What is blanked lies before every quote that a
 * later match looks up, so the index stays good within this rule. */
static void json_members(struct line *l)
{
    static const struct token blank = {.kind = TOKEN_VAR};
    struct token *t = l->tokens;
    uint32_t n = l->count;
    for (uint32_t i = 0; i < l->mark_count; i++) {
        uint32_t k = l->marks[i];
        if (k < 3 || t[k].mark != ':' || !is_quote(&t[k - 1]) || !is_word(&t[k - 2]) ||
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
    for (uint32_t i = 0; i < l->mark_count; i++) {
        uint32_t k = l->marks[i];
        if (t[k].mark != ':' || k == 0 || k + 1 >= l->count || t[k - 1].kind != TOKEN_LIT)
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

/* Tokens on their way to made[], which begins when there is something to change. */
struct move {
    uint32_t from, made; /* tokens[0..from) are in made[0..made) */
};

/* All before the token at k go, then a variable, and the scan goes on at `next`. */
static void move_and_put(struct line *l, struct move *m, uint32_t k, uint32_t next)
{
    static const struct token variable = {.kind = TOKEN_VAR};
    memcpy(l->made + m->made, l->tokens + m->from, (k - m->from) * sizeof l->made[0]);
    m->made += k - m->from;
    l->made[m->made++] = variable;
    m->from = next;
}

/* key=value, empty pairs and quoted values. */
static void values_and_pairs(struct line *l)
{
    struct token *t = l->tokens;
    struct move m = {0};
    uint32_t n = l->count, next = 0, close;
    for (uint32_t i = 0; i < l->mark_count; i++) {
        uint32_t k = l->marks[i];
        if (k < next || t[k].mark == 0)
            continue; /* it was in quotes */
        if (t[k].mark == '=') {
            close = k > 0 && t[k - 1].kind != TOKEN_PUN ? assign(l, k) : 0;
            if (close > 0)
                move_and_put(l, &m, k + 1, next = close + 1);
        } else if (k + 1 < n && is_empty_pair(&t[k], &t[k + 1]) &&
                   (k == 0 || t[k - 1].kind != TOKEN_LIT)) {
            move_and_put(l, &m, k + 1, k + 1);
        } else if ((close = quoted_value(l, k)) > 0) {
            move_and_put(l, &m, k, next = close + 1);
        }
    }
    if (m.from == 0 && m.made == 0)
        return;
    memcpy(l->made + m.made, t + m.from, (n - m.from) * sizeof l->made[0]);
    l->count = m.made + n - m.from;
    l->final = l->made;
}

/* ---- groups that repeat -------------------------------------------------- */

#define UNIT_MAX_TOKENS 64

/* The bytes that a token is compared by: a variable's own text plays no part any more. */
static inline struct span text_of(const struct line *l, const struct token *t)
{
    return t->kind == TOKEN_VAR ? span_of(l->bytes + 1, 1) : span_of(l->bytes + t->at, t->len);
}

static bool is_same(const struct line *l, const struct token *a, const struct token *b)
{
    return span_eq(text_of(l, a), text_of(l, b));
}

/* For every opening bracket of the final tokens its partner, among those of its own kind; 0: none.
 */
static void index_brackets(struct line *l)
{
    static const uint8_t opens[128] = {['('] = 1, ['['] = 2, ['{'] = 3},
                         closes[128] = {[')'] = 1, [']'] = 2, ['}'] = 3};
    uint16_t open[4][2 * LINE_MAX_TOKENS + 4];
    uint32_t depth[4] = {0};
    for (uint32_t k = 0; k < l->count; k++) {
        uint8_t mark = l->final[k].mark, kind = opens[mark];
        if (kind != 0) {
            l->closing[k] = 0;
            open[kind][depth[kind]++] = (uint16_t)k;
        } else if ((kind = closes[mark]) != 0 && depth[kind] > 0) {
            l->closing[open[kind][--depth[kind]]] = (uint16_t)k;
        }
    }
}

/* The tokens of name(...) at i; 0: there is none, or it holds no variable. */
static uint32_t unit_at(const struct line *l, uint32_t i)
{
    const struct token *t = l->final;
    if (i + 1 >= l->count || t[i].kind != TOKEN_LIT ||
        (t[i + 1].mark != '(' && t[i + 1].mark != '[' && t[i + 1].mark != '{'))
        return 0;
    uint32_t close = l->closing[i + 1];
    if (close == 0 || close - i >= UNIT_MAX_TOKENS)
        return 0;
    for (uint32_t k = i; k < close; k++)
        if (span_eq(text_of(l, &t[k]), SPAN("\x01")))
            return close + 1 - i;
    return 0;
}

/* Where the unit of `len` tokens at i, repeated from k on behind spaces, commas and
 * semicolons, ends. k: it is not. */
static uint32_t repeat_end(const struct line *l, uint32_t i, uint32_t len, uint32_t k)
{
    const struct token *t = l->final;
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
    struct token *t = l->final == l->made ? l->made : l->tokens;
    uint32_t n = l->count, kept = 0;
    index_brackets(l);
    for (uint32_t i = 0; i < n;) {
        uint32_t len = unit_at(l, i), end = i + len, more;
        while (len > 0 && (more = repeat_end(l, i, len, end)) > end)
            end = more;
        bool repeated = end > i + len; /* else the next may be */
        uint32_t stays = repeated ? len : 1;
        if (kept < i)
            memmove(t + kept, t + i, stays * sizeof *t);
        kept += stays;
        i = repeated ? end : i + 1;
    }
    l->count = kept;
}

void line_context(struct line *l)
{
    l->final = l->tokens;
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
    if ((l->has & LINE_GROUPS) != 0)
        repeats(l);
}
