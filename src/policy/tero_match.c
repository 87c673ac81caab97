/* tero_match: one matcher against one record. */
#include "policy/tero_state.h"

static bool ends_with(struct span s, struct span suffix)
{
    return s.len >= suffix.len && span_eq(span_skip(s, s.len - suffix.len), suffix);
}

static bool contains(struct span s, struct span part)
{
    return part.len == 0 || (s.len > 0 && memmem(s.base, s.len, part.base, part.len) != NULL);
}

/* An expression that runs into the limit of steps does not match: an error never drops a record. */
static bool matches_text(const struct tero_matcher *m, struct span text)
{
    struct regex_match found;
    switch (m->test) {
    case TERO_EXACT:
        return span_eq(text, m->text);
    case TERO_STARTS:
        return span_starts(text, m->text);
    case TERO_ENDS:
        return ends_with(text, m->text);
    case TERO_CONTAINS:
        return contains(text, m->text);
    default:
        return regex_search(m->regex, text, 0, &found) == 1;
    }
}

/* -1, 0, 1; 2: one of the two is no number. */
static int compare(const struct log_value *a, const struct log_value *b)
{
    if (a->kind == LOG_INT && b->kind == LOG_INT)
        return a->integer < b->integer ? -1 : a->integer > b->integer;
    if ((a->kind != LOG_INT && a->kind != LOG_DOUBLE) ||
        (b->kind != LOG_INT && b->kind != LOG_DOUBLE))
        return 2;
    double x = a->kind == LOG_INT ? (double)a->integer : a->real;
    double y = b->kind == LOG_INT ? (double)b->integer : b->real;
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

static bool equals(const struct log_value *v, const struct log_value *want)
{
    if (want->kind == LOG_STRING || want->kind == LOG_BYTES)
        return v->kind == want->kind && span_eq(v->text, want->text);
    if (want->kind == LOG_BOOL)
        return v->kind == LOG_BOOL && (v->integer != 0) == (want->integer != 0);
    return compare(v, want) == 0;
}

static bool matches_value(const struct tero_matcher *m, const struct log_value *v)
{
    int order;
    if (m->test == TERO_EQUALS)
        return equals(v, &m->value);
    order = compare(v, &m->value);
    switch (m->test) {
    case TERO_GT:
        return order == 1;
    case TERO_GTE:
        return order == 0 || order == 1;
    case TERO_LT:
        return order == -1;
    default:
        return order == -1 || order == 0;
    }
}

bool tero_matches(const struct tero_matcher *m, const struct tero_view *view)
{
    char room[TERO_ID_TEXT];
    struct log_value v = {0};
    bool is_there = tero_field_read(&m->field, view, &v), is_match = false;
    if (m->test == TERO_EXISTS) {
        is_match = is_there == m->exists;
    } else if (is_there && m->test >= TERO_EQUALS) {
        is_match = matches_value(m, &v);
    } else if (is_there) {
        struct span text = tero_text(&m->field, &v, room);
        is_match = text.len > 0 && matches_text(m, text);
    }
    return is_match != m->negate;
}
