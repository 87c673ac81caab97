/* filter: nodes in the order of the text; a group knows where it ends. */
#include "pipeline/filter.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/rules.h"
#include "util/regex.h"
#include "pipeline/attr_text.h"

struct node {
    bool is_group;
    enum filter_group how;
    unsigned end;            /* of a group: the node behind its last */
    struct filter_leaf leaf; /* key and values: copies */
    struct regex **regexes;  /* of REGEX, one for each value */
    bool is_foreign;         /* a value has letters that ASCII has not: case is not ours to fold */
};

struct filter {
    struct node *nodes;
    unsigned count, room;
    unsigned open[FILTER_DEPTH_MAX], depth;
    size_t text_bytes;
    int err;
};

/* ---- building ---------------------------------------------------------- */

int filter_new(struct filter **out)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? ERR_NOMEM : 0;
}

static void free_leaf(struct node *n)
{
    struct filter_leaf *l = &n->leaf;
    for (unsigned i = 0; n->regexes != NULL && i < l->value_count; i++)
        regex_free(n->regexes[i]);
    free(n->regexes);
    for (unsigned i = 0; i < l->value_count; i++)
        free((void *)l->values[i].base);
    free(l->values);
    free((void *)l->key.base);
}

void filter_free(struct filter *f)
{
    if (f == NULL)
        return;
    for (unsigned i = 0; i < f->count; i++)
        free_leaf(&f->nodes[i]);
    free(f->nodes);
    free(f);
}

static void fail(struct filter *f, int rc)
{
    if (f->err == 0)
        f->err = rc;
}

/* A new node, zeroed; NULL: that failed. */
static struct node *append(struct filter *f)
{
    if (f->err != 0)
        return NULL;
    if (f->count == FILTER_NODES_MAX) {
        fail(f, ERR_TOO_BIG);
        return NULL;
    }
    if (f->count == f->room) {
        unsigned room = f->room == 0 ? 8 : f->room * 2;
        struct node *nodes = realloc(f->nodes, room * sizeof *nodes);
        if (nodes == NULL) {
            fail(f, ERR_NOMEM);
            return NULL;
        }
        f->nodes = nodes;
        f->room = room;
    }
    struct node *n = &f->nodes[f->count++];
    *n = (struct node){0};
    return n;
}

void filter_begin(struct filter *f, enum filter_group how)
{
    if (f->depth == FILTER_DEPTH_MAX)
        fail(f, ERR_TOO_BIG);
    struct node *n = append(f);
    if (n == NULL)
        return;
    n->is_group = true;
    n->how = how;
    f->open[f->depth++] = f->count - 1;
}

void filter_end(struct filter *f)
{
    if (f->err == 0)
        f->nodes[f->open[--f->depth]].end = f->count;
}

static bool copy(struct filter *f, struct span *out, struct span in)
{
    if ((f->text_bytes += in.len) > FILTER_TEXT_MAX) {
        fail(f, ERR_TOO_BIG);
        return false;
    }
    uint8_t *base = malloc(in.len + 1);
    if (base == NULL) {
        fail(f, ERR_NOMEM);
        return false;
    }
    if (in.len > 0)
        memcpy(base, in.base, in.len);
    base[in.len] = '\0';
    *out = (struct span){base, in.len};
    return true;
}

static bool is_ascii(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.base[i] >= 0x80)
            return false;
    return true;
}

/* Lines are no lines there: a dot is any byte. Case counts to queries, unless the expression says
 * so itself. */
static unsigned regex_flags(bool as_worker)
{
    return REGEX_DOTALL | (as_worker ? REGEX_CASELESS : 0);
}

bool filter_takes_regex(struct span pattern, bool as_worker)
{
    struct regex *re;
    struct error err = {{0}};
    if (regex_new(&re, pattern, regex_flags(as_worker), &err) < 0)
        return false;
    regex_free(re);
    return true;
}

static void compile(struct filter *f, struct node *n)
{
    struct error err = {{0}};
    n->regexes = calloc(n->leaf.value_count + 1u, sizeof(struct regex *));
    int rc = n->regexes == NULL ? ERR_NOMEM : 0;
    for (unsigned i = 0; i < n->leaf.value_count && rc == 0; i++)
        rc = regex_new(&n->regexes[i], n->leaf.values[i], regex_flags(n->leaf.as_worker), &err);
    if (rc < 0)
        fail(f, rc);
}

void filter_add(struct filter *f, const struct filter_leaf *leaf)
{
    if (leaf->value_count > FILTER_VALUES_MAX)
        fail(f, ERR_TOO_BIG);
    struct node *n = append(f);
    if (n == NULL)
        return;
    struct filter_leaf *to = &n->leaf;
    *to = *leaf;
    to->key = (struct span){0};
    to->value_count = 0;
    to->values = calloc(leaf->value_count + 1u, sizeof *to->values);
    if (to->values == NULL) {
        fail(f, ERR_NOMEM);
        return;
    }
    if (!copy(f, &to->key, leaf->key))
        return;
    for (unsigned i = 0; i < leaf->value_count; i++) {
        if (!copy(f, &to->values[i], leaf->values[i]))
            return;
        to->value_count++;
        n->is_foreign |= !is_ascii(leaf->values[i]);
    }
    if (leaf->op == FILTER_REGEX)
        compile(f, n);
}

int filter_built(const struct filter *f)
{
    return f->err;
}

unsigned filter_size(const struct filter *f)
{
    return f->count;
}

unsigned filter_cost(const struct filter *f)
{
    unsigned sum = f->count;
    for (unsigned i = 0; i < f->count; i++)
        sum += f->nodes[i].regexes != NULL ? FILTER_REGEX_COST * f->nodes[i].leaf.value_count : 0;
    return sum;
}

/* ---- what a row holds -------------------------------------------------- */

struct held {
    enum { ABSENT, TEXT, OTHER } kind; /* OTHER: stored as JSON, which is not written here */
    struct span text;
    char room[ATTR_TEXT_BYTES];
};

static void hold(struct held *h, const struct log_value *v)
{
    h->text = attr_text(v, h->room);
    h->kind = h->text.base != NULL ? TEXT : OTHER;
}

struct search {
    struct span key;
    struct log_value found;
    bool is_found;
};

static int on_resource_attr(void *ctx, const struct log_attr *a)
{
    struct search *s = ctx;
    if (span_eq(a->key, s->key)) {
        s->found = a->value; /* of duplicates the last is stored */
        s->is_found = true;
    }
    return 0;
}

static void read_attribute(const struct filter_row *row, enum filter_of of, struct span key,
                           struct held *h)
{
    struct search s = {.key = key};
    if (of != FILTER_RESOURCE) {
        struct log_attrs attrs;
        struct log_attr a;
        log_attrs_of_record(&attrs, row->bytes);
        while (log_attrs_next(&attrs, &a))
            (void)on_resource_attr(&s, &a);
    }
    if (!s.is_found && of != FILTER_ATTRIBUTE)
        ignore_code(logs_resource_attrs(row->group, on_resource_attr, &s));
    if (s.is_found)
        hold(h, &s.found);
}

const char *filter_stored_severity(const struct log_record *r)
{
    static const char *const names[] = {"trace", "debug", "info", "warn", "error", "fatal"};
    static const struct {
        const char *text;
        enum level level;
    } spellings[] = {
        /* clang-format off */
        {"critical", LEVEL_FATAL}, {"fatal", LEVEL_FATAL}, {"crit", LEVEL_FATAL},
        {"alert", LEVEL_FATAL}, {"emerg", LEVEL_FATAL}, {"error", LEVEL_ERROR},
        {"err", LEVEL_ERROR}, {"eror", LEVEL_ERROR}, {"warn", LEVEL_WARN},
        {"warning", LEVEL_WARN}, {"debug", LEVEL_DEBUG}, {"dbug", LEVEL_DEBUG},
        {"trace", LEVEL_TRACE},
        /* clang-format on */
    };
    if (r->severity_number > 24)
        return "unknown";
    if (r->severity_number > 0)
        return names[(r->severity_number - 1) / 4];
    const struct log_value *body = &r->body;
    bool is_json = body->kind == LOG_KVLIST;
    if (body->kind == LOG_STRING) {
        size_t at = 0;
        while (at < body->text.len && strchr(" \t\r\n", body->text.base[at]) != NULL)
            at++;
        is_json = at < body->text.len && body->text.base[at] == '{';
    }
    if (is_json)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(spellings); i++)
        if (span_ieq(r->severity_text, span_str(spellings[i].text)))
            return names[spellings[i].level];
    return names[LEVEL_INFO];
}

static void read(const struct filter_row *row, const struct filter_leaf *l, struct held *h)
{
    const char *severity;
    h->kind = ABSENT;
    switch (l->of) {
    case FILTER_BODY:
        if (row->record->body.kind != LOG_NONE)
            hold(h, &row->record->body);
        break;
    case FILTER_SEVERITY:
        severity = filter_stored_severity(row->record);
        h->kind = severity == NULL ? OTHER : TEXT;
        h->text = severity == NULL ? SPAN("") : span_str(severity);
        return;
    case FILTER_SERVICE: /* stored as "" where it is missing */
        h->kind = TEXT;
        h->text = row->group->service_name.base != NULL ? row->group->service_name : SPAN("");
        return;
    default:
        read_attribute(row, l->of, l->key, h);
        break;
    }
    if (h->kind == ABSENT && (l->of == FILTER_BODY || !l->as_worker) && l->op != FILTER_IS_SET) {
        h->kind = TEXT;
        h->text = SPAN("");
    }
}

/* ---- asking ------------------------------------------------------------ */

static enum filter_answer answer(bool yes)
{
    return yes ? FILTER_YES : FILTER_NO;
}

static enum filter_answer opposite(enum filter_answer a)
{
    return a == FILTER_UNSURE ? a : answer(a == FILTER_NO);
}

static enum filter_answer is_one_of(const struct node *n, struct span text)
{
    const struct filter_leaf *l = &n->leaf;
    for (unsigned i = 0; i < l->value_count; i++)
        if (l->as_worker ? span_ieq(text, l->values[i]) : span_eq(text, l->values[i]))
            return FILTER_YES;
    return l->as_worker && n->is_foreign && !is_ascii(text) ? FILTER_UNSURE : FILTER_NO;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* ASCII letters in any case. */
static bool contains(struct span text, struct span part)
{
    for (size_t at = 0; at + part.len <= text.len; at++) {
        size_t i = 0;
        while (i < part.len && lower(text.base[at + i]) == lower(part.base[i]))
            i++;
        if (i == part.len)
            return true;
    }
    return false;
}

/* ILIKE reads % and _ as any characters, unless who asks has escaped them: then either is
 * possible. Bytes that ASCII has not may be the other case of each other. */
static enum filter_answer contains_one_of(const struct node *n, struct span text)
{
    const struct filter_leaf *l = &n->leaf;
    bool is_wild = n->is_foreign && !is_ascii(text);
    for (unsigned i = 0; i < l->value_count; i++) {
        if (contains(text, l->values[i]))
            return FILTER_YES;
        if (!l->as_worker && l->values[i].len > 0)
            is_wild |= memchr(l->values[i].base, '%', l->values[i].len) != NULL ||
                       memchr(l->values[i].base, '_', l->values[i].len) != NULL;
    }
    return is_wild ? FILTER_UNSURE : FILTER_NO;
}

/* In what is longer than a window an end is not always an end; and where a dot is no newline a
 * match over several lines is none. */
static enum filter_answer matches_one_of(const struct node *n, struct span text)
{
    struct regex_match m;
    bool has_lines = text.len > 0 && memchr(text.base, '\n', text.len) != NULL;
    if (text.len > REGEX_WINDOW_BYTES)
        return FILTER_UNSURE;
    for (unsigned i = 0; i < n->leaf.value_count; i++)
        if (regex_next(n->regexes[i], text, 0, &m))
            return m.is_given_up || (has_lines && !n->leaf.as_worker) ? FILTER_UNSURE : FILTER_YES;
    return FILTER_NO;
}

static enum filter_answer compare(const struct filter_leaf *l, struct span text)
{
    char digits[ATTR_TEXT_BYTES + 1], *end;
    if (text.len == 0 || text.len > ATTR_TEXT_BYTES)
        return FILTER_NO;
    memcpy(digits, text.base, text.len);
    digits[text.len] = '\0';
    double real = strtod(digits, &end);
    if (end == digits || *end != '\0')
        return FILTER_NO; /* no number: it is not among those that are compared */
    switch (l->op) {
    case FILTER_GREATER:
        return answer(real > l->number);
    case FILTER_AT_LEAST:
        return answer(real >= l->number);
    case FILTER_LESS:
        return answer(real < l->number);
    default:
        return answer(real <= l->number);
    }
}

static enum filter_answer ask_text(const struct node *n, struct span text)
{
    switch (n->leaf.op) {
    case FILTER_IS:
        return is_one_of(n, text);
    case FILTER_CONTAINS:
        return contains_one_of(n, text);
    case FILTER_REGEX:
        return matches_one_of(n, text);
    case FILTER_UNKNOWN:
    case FILTER_IS_SET:
        return FILTER_UNSURE;
    default:
        return compare(&n->leaf, text);
    }
}

/* Set, to a query, may mean that it is there or that it is not "". */
static enum filter_answer ask_set(const struct filter_leaf *l, const struct held *h)
{
    if (h->kind == ABSENT)
        return FILTER_NO;
    return h->kind == TEXT && h->text.len == 0 && !l->as_worker ? FILTER_UNSURE : FILTER_YES;
}

static enum filter_answer ask_leaf(const struct node *n, const struct filter_row *row)
{
    struct held h;
    const struct filter_leaf *l = &n->leaf;
    if (l->op == FILTER_UNKNOWN)
        return FILTER_UNSURE;
    read(row, l, &h);
    if (h.kind == ABSENT && l->op != FILTER_IS_SET)
        return FILTER_NO; /* to a worker, with a "not" as well */
    enum filter_answer a = l->op == FILTER_IS_SET ? ask_set(l, &h)
                           : h.kind == OTHER      ? FILTER_UNSURE
                                                  : ask_text(n, h.text);
    return l->is_not ? opposite(a) : a;
}

/* Of a group: the first member that settles it, else unsure where one was. `ask` answers leaves. */
static enum filter_answer ask_node(const struct filter *f, unsigned at,
                                   enum filter_answer (*ask)(const struct node *n,
                                                             const struct filter_row *row),
                                   const struct filter_row *row)
{
    const struct node *n = &f->nodes[at];
    if (!n->is_group)
        return ask(n, row);
    enum filter_answer settles = n->how == FILTER_ALL ? FILTER_NO : FILTER_YES;
    enum filter_answer sum = n->end == at + 1 ? FILTER_NO : opposite(settles);
    for (unsigned i = at + 1; i < n->end; i = f->nodes[i].is_group ? f->nodes[i].end : i + 1) {
        enum filter_answer a = ask_node(f, i, ask, row); /* FILTER_DEPTH_MAX deep */
        if (a == settles)
            return a;
        if (a == FILTER_UNSURE)
            sum = a;
    }
    return sum;
}

enum filter_answer filter_ask(const struct filter *f, const struct filter_row *row)
{
    return f->count == 0 ? FILTER_YES : ask_node(f, 0, ask_leaf, row);
}

static enum filter_answer ask_service(const struct node *n, const struct filter_row *row)
{
    return n->leaf.of == FILTER_SERVICE ? ask_leaf(n, row) : FILTER_UNSURE;
}

enum filter_answer filter_ask_service(const struct filter *f, const struct logs_group *group)
{
    const struct filter_row row = {.group = group};
    return f->count == 0 ? FILTER_YES : ask_node(f, 0, ask_service, &row);
}

/* The worst record: each condition that is known says no. */
static enum filter_answer ask_worst(const struct node *n, const struct filter_row *row)
{
    (void)row;
    return n->leaf.op == FILTER_UNKNOWN ? FILTER_UNSURE : FILTER_NO;
}

bool filter_tells_apart(const struct filter *f)
{
    return f->count > 0 && ask_node(f, 0, ask_worst, NULL) == FILTER_NO;
}
