/* regex_syntax: one pass over an expression, by the grammar of RE2. */
#include "util/regex_syntax.h"

#include <stdbool.h>
#include <string.h>

/* The longest run of literal bytes outside of groups, as far as it has been read. */
struct walk {
    struct span p;
    size_t at;
    unsigned depth;
    bool has_choice;     /* an | outside of groups: no literal is in each match */
    bool is_caseless;    /* (?i) anywhere */
    bool after_quantity; /* the item before was a quantifier */
    struct regex_literal run, best;
    struct error *err;
};

static int refuse(struct walk *w, size_t at, const char *what)
{
    return err_set(w->err, ERR_CONFIG, "at %zu: %s", at + 1, what);
}

static bool is_at(const struct walk *w, size_t at, const char *text)
{
    size_t n = strlen(text);
    return at + n <= w->p.len && memcmp(w->p.base + at, text, n) == 0;
}

static void end_run(struct walk *w)
{
    if (w->run.len > w->best.len)
        w->best = w->run;
    w->run.len = 0;
}

static void add_literal(struct walk *w, uint8_t c)
{
    if (w->depth > 0)
        return;
    if (c >= 0x80 ||
        w->run.len == REGEX_LITERAL_BYTES) /* a quantifier is for the whole character */
        end_run(w);
    else
        w->run.text[w->run.len++] = (char)c;
}

/* ---- groups -------------------------------------------------------------- */

/* (?flags) or (?flags:  with i, m, s, U and one minus. */
static int read_flags(struct walk *w, size_t at)
{
    size_t start = at;
    for (; at < w->p.len && strchr("imsU-", w->p.base[at]) != NULL && w->p.base[at] != 0; at++)
        w->is_caseless = w->is_caseless || w->p.base[at] == 'i';
    if (at >= w->p.len || (w->p.base[at] != ')' && w->p.base[at] != ':') ||
        (at == start && w->p.base[at] == ')'))
        return refuse(w, start, "a group of this form is not accepted");
    w->depth += w->p.base[at] == ':';
    w->at = at + 1;
    return 0;
}

static int read_group(struct walk *w)
{
    static const struct {
        const char *text, *why;
    } refused[] = {
        {"(*", "verbs are not accepted"},        {"(?=", "look-ahead is not accepted"},
        {"(?!", "look-ahead is not accepted"},   {"(?<=", "look-behind is not accepted"},
        {"(?<!", "look-behind is not accepted"}, {"(?>", "atomic groups are not accepted"},
        {"(?|", "branch reset is not accepted"}, {"(?P=", "back references are not accepted"},
        {"(?P>", "recursion is not accepted"},   {"(?(", "conditions are not accepted"},
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (is_at(w, w->at, refused[i].text))
            return refuse(w, w->at, refused[i].why);
    end_run(w);
    if (is_at(w, w->at, "(?") && !is_at(w, w->at, "(?<") && !is_at(w, w->at, "(?P<"))
        return read_flags(w, w->at + 2);
    w->at++;
    if (w->at < w->p.len && w->p.base[w->at] == '?') { /* a name: up to its > */
        const uint8_t *end = memchr(w->p.base + w->at, '>', w->p.len - w->at);
        w->at = end == NULL ? w->p.len : (size_t)(end - w->p.base) + 1;
    }
    w->depth++;
    return 0;
}

/* ---- classes and escapes --------------------------------------------------- */

/* [abc], []abc], [^]a], [[:alpha:]]. PCRE2 reports one that has no end. */
static void read_class(struct walk *w)
{
    size_t at = w->at + 1;
    if (at < w->p.len && w->p.base[at] == '^')
        at++;
    if (at < w->p.len && w->p.base[at] == ']')
        at++;
    for (; at < w->p.len && w->p.base[at] != ']'; at++) {
        if (w->p.base[at] == '\\')
            at++;
        else if (is_at(w, at, "[:")) {
            const uint8_t *end = memmem(w->p.base + at, w->p.len - at, ":]", 2);
            at = end == NULL ? at : (size_t)(end - w->p.base) + 1;
        }
    }
    w->at = at < w->p.len ? at + 1 : w->p.len;
    end_run(w);
}

static int read_escape(struct walk *w)
{
    if (w->at + 1 >= w->p.len)
        return refuse(w, w->at, "a \\ at the end");
    uint8_t c = w->p.base[w->at + 1];
    bool is_letter = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9');
    if (!is_letter) {
        add_literal(w, c);
        w->at += 2;
        return 0;
    }
    if ((c >= '1' && c <= '9') || c == 'g' || c == 'k')
        return refuse(w, w->at, "back references are not accepted");
    if (strchr("AzbBdDsSwWpPnrtfvax0", c) == NULL)
        return refuse(w, w->at, "this escape is not accepted");
    end_run(w);
    w->at += 2;
    if ((c == 'x' || c == 'p' || c == 'P') && w->at < w->p.len && w->p.base[w->at] == '{') {
        const uint8_t *end = memchr(w->p.base + w->at, '}', w->p.len - w->at);
        w->at = end == NULL ? w->p.len : (size_t)(end - w->p.base) + 1;
    } else if (c == 'x') {
        w->at += w->at + 2 <= w->p.len ? 2 : w->p.len - w->at;
    } else if (c == 'p' || c == 'P') {
        w->at += w->at < w->p.len;
    }
    return 0;
}

/* ---- quantifiers ------------------------------------------------------------ */

/* How long the {n}, {n,} or {n,m} at w->at is; 0: this { is a literal. *none: n is 0. */
static size_t braces(const struct walk *w, bool *none)
{
    size_t at = w->at + 1, digits = 0;
    unsigned least = 0;
    for (; at < w->p.len && w->p.base[at] >= '0' && w->p.base[at] <= '9'; at++, digits++)
        least |= w->p.base[at] - '0';
    if (digits == 0)
        return 0;
    if (at < w->p.len && w->p.base[at] == ',')
        for (at++; at < w->p.len && w->p.base[at] >= '0' && w->p.base[at] <= '9';)
            at++;
    if (at >= w->p.len || w->p.base[at] != '}')
        return 0;
    *none = least == 0;
    return at + 1 - w->at;
}

/* What the quantifier is for may be missing, or be there more than once: a run ends with it. */
static int read_quantity(struct walk *w, size_t len, bool may_be_none)
{
    if (w->after_quantity)
        return refuse(w, w->at, "possessive and repeated quantifiers are not accepted");
    if (may_be_none && w->depth == 0 && w->run.len > 0)
        w->run.len--;
    end_run(w);
    w->at += len;
    if (w->at < w->p.len && w->p.base[w->at] == '?') /* lazy */
        w->at++;
    w->after_quantity = true;
    return 0;
}

/* ---- all of it --------------------------------------------------------------- */

static int read_item(struct walk *w)
{
    uint8_t c = w->p.base[w->at];
    bool none = true;
    size_t len = c == '{' ? braces(w, &none) : 1;
    if (c == '*' || c == '+' || c == '?' || (c == '{' && len > 0))
        return read_quantity(w, len, c == '*' || c == '?' || (c == '{' && none));
    w->after_quantity = false;
    if (c == '\\')
        return read_escape(w);
    if (c == '(')
        return read_group(w);
    if (c == '[') {
        read_class(w);
        return 0;
    }
    if (c == '|')
        w->has_choice = w->has_choice || w->depth == 0;
    if (c == ')' && w->depth > 0)
        w->depth--;
    if (strchr("|).^$", c) != NULL && c != '\0')
        end_run(w);
    else
        add_literal(w, c);
    w->at++;
    return 0;
}

int regex_syntax_check(struct span pattern, struct regex_literal *literal, struct error *err)
{
    struct walk w = {.p = pattern, .err = err};
    while (w.at < pattern.len) {
        int rc = read_item(&w);
        if (rc < 0)
            return rc;
    }
    end_run(&w);
    if (w.has_choice || w.is_caseless)
        w.best.len = 0;
    *literal = w.best;
    return 0;
}
