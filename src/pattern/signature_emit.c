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
    uint8_t *end;   /* behind the last token that is no space */
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
    e->end = e->at;
}

/* What is no variable was written. */
static inline void step_paren(struct emit *e, const struct token *t)
{
    if (e->paren == PAREN_SECOND && t->mark == ')') {
        e->at = e->end = e->last = e->first;
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

size_t line_emit(const struct line *l, uint8_t *out)
{
    struct emit e = {.at = out, .end = out};
    uint32_t k = 0;
    while (k < l->count && l->made[k].kind == TOKEN_SPC)
        k++;
    for (; k < l->count; k++) {
        const struct token *t = &l->made[k];
        if (t->kind == TOKEN_VAR) {
            put_variable(&e);
            continue;
        }
        const uint8_t *from = l->bytes + t->at;
        if (e.after != NULL && (!folds[from[0]] || (t->kind == TOKEN_LIT && !is_strokes(l, t))))
            e.after = NULL;
        memcpy(e.at, from, 16); /* short ones, nearly all, are done */
        if (t->len > 16)
            memcpy(e.at + 16, from + 16, t->len - 16u);
        e.at[t->len] = 0x02;
        e.at += t->len + 1;
        if (t->kind != TOKEN_SPC)
            e.end = e.at;
        if (e.paren != PAREN_NONE)
            step_paren(&e, t);
    }
    return e.end > out ? (size_t)(e.end - out) - 1 : 0;
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
        if (token_is_word(l, &l->made[k]) && !is_method(l, &l->made[k]))
            return true;
    return false;
}
