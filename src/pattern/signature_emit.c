/* signature_emit: the canonical bytes of a line's final tokens, joined on the way. */
#include "pattern/signature_line.h"

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

/*
 * "VAR (VAR)" is VAR, however often. How much of it was written last: nothing, VAR, a space,
 * the bracket, the second VAR; the other bracket completes it.
 */
enum { PAREN_NONE, PAREN_VAR, PAREN_SPACE, PAREN_OPEN, PAREN_SECOND };

struct emit {
    uint8_t *at;
    uint8_t *after; /* behind the last variable, if only separators that fold came since */
    uint8_t *last;  /* behind the last variable */
    uint8_t *first; /* behind the first VAR of a "VAR (" that was written */
    uint32_t paren, paren_at_last;
};

static inline void put_variable(struct emit *e)
{
    if (e->after != NULL) { /* it joins the last one */
        e->at = e->after;
        e->paren = e->paren_at_last;
    } else {
        e->at[0] = 0x01;
        e->at[1] = 0x02;
        e->at += 2;
        e->paren = e->paren == PAREN_OPEN ? PAREN_SECOND : PAREN_VAR;
        e->after = e->last = e->at;
        e->paren_at_last = e->paren;
    }
}

/* What is no variable was written. */
static inline void step_paren(struct emit *e, const struct token *t)
{
    if (e->paren == PAREN_SECOND && t->mark == ')') {
        e->at = e->last = e->first;
        e->paren = PAREN_VAR;
    } else if (t->kind == TOKEN_SPC && (e->paren == PAREN_VAR || e->paren == PAREN_SECOND)) {
        e->paren = PAREN_SPACE;
    } else if (e->paren == PAREN_SPACE && t->mark == '(') {
        e->paren = PAREN_OPEN;
        e->first = e->last;
    } else {
        e->paren = PAREN_NONE;
    }
}

/* The token's bytes and a separator. Returns what follows them. */
static inline uint8_t *put_text(const struct line *l, const struct token *t, uint8_t *at)
{
    const uint8_t *from = l->bytes + t->at;
    memcpy(at, from, 16); /* short ones, nearly all, are done */
    if (t->len > 16)
        memcpy(at + 16, from + 16, t->len - 16u);
    at[t->len] = 0x02;
    return at + t->len + 1;
}

size_t line_emit(const struct line *l, uint8_t *out)
{
    struct emit e = {.at = out};
    const struct token *t = l->final, *end = t + l->count;
    while (t < end && t->kind == TOKEN_SPC)
        t++;
    while (end > t && end[-1].kind == TOKEN_SPC)
        end--;
    while (t < end) {
        for (; t < end && t->kind != TOKEN_VAR; t++) { /* nothing is there to join with */
            e.at = put_text(l, t, e.at);
            if (e.paren != PAREN_NONE)
                step_paren(&e, t);
        }
        for (; t < end && (t->kind == TOKEN_VAR || e.after != NULL); t++) {
            if (t->kind == TOKEN_VAR) {
                put_variable(&e);
                continue;
            }
            if (!folds[l->bytes[t->at]] || (t->kind == TOKEN_LIT && !is_strokes(l, t)))
                e.after = NULL;
            e.at = put_text(l, t, e.at);
            step_paren(&e, t);
        }
    }
    return e.at > out ? (size_t)(e.at - out) - 1 : 0;
}

/* In capitals and in the list. */
static bool is_method(const struct line *l, const struct token *t)
{
    if ((t->words & WORD_METHOD) == 0)
        return false;
    for (uint32_t i = 0; i < t->len; i++)
        if (l->bytes[t->at + i] < 'A' || l->bytes[t->at + i] > 'Z')
            return false;
    return true;
}

bool token_is_word(const struct line *l, const struct token *t)
{
    if (t->kind != TOKEN_LIT || l->bytes[t->at] < ' ')
        return false;
    for (uint32_t i = 0; i < t->len; i++) {
        uint8_t c = l->bytes[t->at + i], low = c | 0x20;
        if ((c >= '0' && c <= '9') || (low >= 'a' && low <= 'z') || c >= 0x80)
            return true;
    }
    return false;
}

bool line_has_word(const struct line *l)
{
    for (uint32_t k = 0; k < l->count; k++)
        if (token_is_word(l, &l->final[k]) && !is_method(l, &l->final[k]))
            return true;
    return false;
}
