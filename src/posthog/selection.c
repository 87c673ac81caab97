/* selection: leaves by two tables, of types and of operators. */
#include "posthog/selection.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 32

struct reading {
    struct selection *out;
    unsigned depth;
};

static void unsaid(struct reading *r, const char *what, struct span which)
{
    const struct filter_leaf unknown = {.op = FILTER_UNKNOWN};
    filter_add(r->out->filter, &unknown);
    if (r->out->unsaid++ > 0)
        return;
    int shown = which.len < 60 ? (int)which.len : 60;
    snprintf(r->out->why, sizeof r->out->why, "%s%s%.*s%s", what, shown > 0 ? " '" : "", shown,
             shown > 0 ? (const char *)which.base : "", shown > 0 ? "'" : "");
}

/* ---- values ------------------------------------------------------------ */

struct values {
    struct span list[FILTER_VALUES_MAX];
    char numbers[FILTER_VALUES_MAX][NUMBER_BYTES];
    unsigned count;
};

static bool add_value(struct values *v, struct json_node n)
{
    double number;
    if (v->count == FILTER_VALUES_MAX)
        return false;
    char *room = v->numbers[v->count];
    struct span text = json_string(n);
    if (text.base == NULL && json_kind(n) == JSON_BOOL)
        text = json_is_true(n) ? SPAN("true") : SPAN("false");
    if (text.base == NULL) {
        if (!json_number(n, &number))
            return false;
        text = span_of(room, (size_t)snprintf(room, NUMBER_BYTES, "%.15g", number));
    }
    v->list[v->count++] = text;
    return true;
}

/* One value, or a list: any of them. */
static bool read_values(struct values *v, struct json_node n)
{
    v->count = 0;
    if (json_kind(n) != JSON_ARRAY)
        return add_value(v, n);
    struct json_each each = json_each(n);
    while (json_next(&each))
        if (!add_value(v, each.value))
            return false;
    return true;
}

static bool read_number(struct json_node n, double *out)
{
    struct json_each each = json_each(n);
    if (json_kind(n) == JSON_ARRAY)
        return json_next(&each) && read_number(each.value, out) && !json_next(&each);
    if (json_number(n, out))
        return true;
    struct span text = json_string(n);
    char digits[NUMBER_BYTES], *end;
    if (text.len == 0 || text.len >= sizeof digits)
        return false;
    memcpy(digits, text.base, text.len);
    digits[text.len] = '\0';
    *out = strtod(digits, &end);
    return end != digits && *end == '\0';
}

/* ---- a condition ------------------------------------------------------- */

static const struct verb {
    const char *name;
    enum filter_op op;
    bool is_not;
} verbs[] = {
    /* clang-format off */
    {"exact",         FILTER_IS,       false}, {"is_not",        FILTER_IS,       true},
    {"in",            FILTER_IS,       false}, {"not_in",        FILTER_IS,       true},
    {"icontains",     FILTER_CONTAINS, false}, {"not_icontains", FILTER_CONTAINS, true},
    {"gt",            FILTER_GREATER,  false}, {"lt",            FILTER_LESS,     false},
    {"gte",           FILTER_AT_LEAST, false}, {"lte",           FILTER_AT_MOST,  false},
    {"regex",         FILTER_REGEX,    false}, {"not_regex",     FILTER_REGEX,    true},
    {"is_set",        FILTER_IS_SET,   false}, {"is_not_set",    FILTER_IS_SET,   true},
    /* clang-format on */
};

static const struct verb *find_verb(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (span_eq(name, span_str(verbs[i].name)))
            return &verbs[i];
    return NULL;
}

/* What a leaf reads. False: something that no record of ours tells. */
static bool find_subject(struct span type, struct span key, struct filter_leaf *leaf)
{
    leaf->key = key;
    if (span_eq(type, SPAN("log_attribute"))) {
        leaf->of = FILTER_ATTRIBUTE;
    } else if (span_eq(type, SPAN("log_resource_attribute"))) {
        leaf->of = span_eq(key, SPAN("service.name")) ? FILTER_SERVICE : FILTER_RESOURCE;
    } else if (span_eq(type, SPAN("log"))) {
        leaf->of = FILTER_BODY;
        return span_eq(key, SPAN("message")) || span_eq(key, SPAN("body"));
    } else {
        return false;
    }
    return key.len > 0;
}

static bool compares_numbers(enum filter_op op)
{
    return op == FILTER_GREATER || op == FILTER_LESS || op == FILTER_AT_LEAST ||
           op == FILTER_AT_MOST;
}

static void read_leaf(struct reading *r, struct json_node n)
{
    struct values values;
    struct span name = json_string(json_get(n, "operator"));
    struct span key = json_string(json_get(n, "key"));
    struct filter_leaf leaf = {.values = values.list};
    if (name.len == 0)
        name = SPAN("exact");
    if (!find_subject(json_string(json_get(n, "type")), key, &leaf)) {
        unsaid(r, "a condition on", key);
        return;
    }
    const struct verb *verb = find_verb(name);
    if (verb == NULL) {
        unsaid(r, "the operator", name);
        return;
    }
    leaf.op = verb->op;
    leaf.is_not = verb->is_not;
    struct json_node value = json_get(n, "value");
    bool is_read = verb->op == FILTER_IS_SET    ? true
                   : compares_numbers(verb->op) ? read_number(value, &leaf.number)
                                                : read_values(&values, value);
    if (!is_read) {
        unsaid(r, "the value for", key);
        return;
    }
    bool has_values = verb->op != FILTER_IS_SET && !compares_numbers(verb->op);
    leaf.value_count = has_values ? values.count : 0;
    for (unsigned i = 0; verb->op == FILTER_REGEX && i < values.count; i++) {
        if (filter_takes_regex(values.list[i], false))
            continue;
        unsaid(r, "the expression", values.list[i]);
        return;
    }
    filter_add(r->out->filter, &leaf);
}

/* ---- groups ------------------------------------------------------------ */

/* A leaf, a group, or a list, which is all of its members. One without members holds for all, to
 * a query. */
static void read_group(struct reading *r, struct json_node n)
{
    struct json_node members = json_kind(n) == JSON_ARRAY ? n : json_get(n, "values");
    if (json_kind(members) != JSON_ARRAY) {
        read_leaf(r, n);
        return;
    }
    struct json_each each = json_each(members);
    if (!json_next(&each))
        return;
    if (r->depth == FILTER_DEPTH_MAX) { /* no deeper than the stack is meant to be */
        unsaid(r, "a group that is nested too deep", (struct span){0});
        return;
    }
    bool is_any = span_eq(json_string(json_get(n, "type")), SPAN("OR"));
    filter_begin(r->out->filter, is_any ? FILTER_ANY : FILTER_ALL);
    r->depth++;
    do
        read_group(r, each.value);
    while (json_next(&each));
    r->depth--;
    filter_end(r->out->filter);
}

static void add_one_of(struct reading *r, enum filter_of of, enum filter_op op, struct json_node n)
{
    struct values values;
    const struct filter_leaf all = {.of = of, .op = op, .values = values.list};
    struct filter_leaf leaf = all;
    if (json_kind(n) == JSON_NULL || (json_kind(n) == JSON_STRING && json_string(n).len == 0))
        return;
    if (!read_values(&values, n)) {
        unsaid(r, "a list of services or severities", (struct span){0});
        return;
    }
    leaf.value_count = values.count;
    if (values.count > 0)
        filter_add(r->out->filter, &leaf);
}

/* Words with a sign before them, or in quotes, are a language of their own. */
static void read_search(struct reading *r, struct json_node n)
{
    struct span term = span_trim(json_string(n));
    if (term.len > 0 && strchr("-!\"'", term.base[0]) != NULL)
        unsaid(r, "the search term", term);
    else
        add_one_of(r, FILTER_BODY, FILTER_CONTAINS, n);
}

static int begin(struct selection *out)
{
    *out = (struct selection){.filter = NULL};
    int rc = filter_new(&out->filter);
    if (rc == 0)
        filter_begin(out->filter, FILTER_ALL);
    return rc;
}

/* A group without members holds for nothing, to our filter; to a query for all. */
static int finish(struct selection *out, bool is_empty)
{
    out->is_all = is_empty;
    if (is_empty)
        filter_add(out->filter,
                   &(const struct filter_leaf){.of = FILTER_SERVICE, .op = FILTER_IS_SET});
    filter_end(out->filter);
    int rc = filter_built(out->filter);
    if (rc == 0)
        return 0;
    filter_free(out->filter);
    out->filter = NULL;
    return rc;
}

int selection_of_filters(struct selection *out, struct json_node filters)
{
    struct reading r = {.out = out, .depth = 1};
    int rc = begin(out);
    if (rc < 0)
        return rc;
    add_one_of(&r, FILTER_SEVERITY, FILTER_IS, json_get(filters, "severityLevels"));
    add_one_of(&r, FILTER_SERVICE, FILTER_IS, json_get(filters, "serviceNames"));
    read_search(&r, json_get(filters, "searchTerm"));
    struct json_node group = json_get(filters, "filterGroup");
    if (json_kind(group) != JSON_NULL)
        read_group(&r, group);
    return finish(out, filter_size(out->filter) == 1);
}

int selection_of_group(struct selection *out, struct json_node group)
{
    struct reading r = {.out = out, .depth = 1};
    int rc = begin(out);
    if (rc < 0)
        return rc;
    if (json_kind(group) != JSON_NULL)
        read_group(&r, group);
    return finish(out, filter_size(out->filter) == 1);
}

/* ---- SQL --------------------------------------------------------------- */

static struct span skip_blanks(struct span s)
{
    while (s.len > 0 && isspace(s.base[0]))
        s = span_skip(s, 1);
    return s;
}

/* A text in quotes at the front; false: none, or one with an escape. */
static bool quoted(struct span *rest, struct span *out)
{
    struct span s = skip_blanks(*rest);
    if (s.len < 2 || s.base[0] != '\'')
        return false;
    const uint8_t *end = memchr(s.base + 1, '\'', s.len - 1);
    if (end == NULL)
        return false;
    *out = span_of(s.base + 1, (size_t)(end - s.base) - 1);
    *rest = span_skip(s, out->len + 2);
    return memchr(out->base, '\\', out->len) == NULL;
}

static void services_behind(struct span s, struct values *v)
{
    struct span name;
    s = skip_blanks(s);
    if (s.len > 0 && s.base[0] == '=') {
        s = span_skip(s, 1);
        if (v->count < FILTER_VALUES_MAX && quoted(&s, &name))
            v->list[v->count++] = name;
        return;
    }
    if (s.len < 2 || !span_ieq(span_of(s.base, 2), SPAN("in")))
        return;
    s = skip_blanks(span_skip(s, 2));
    for (char at = '('; s.len > 0 && s.base[0] == at; at = ',', s = skip_blanks(s)) {
        s = span_skip(s, 1);
        if (v->count == FILTER_VALUES_MAX || !quoted(&s, &name))
            return;
        v->list[v->count++] = name;
    }
}

int selection_of_sql(struct selection *out, struct span sql)
{
    static const char column[] = "service_name";
    struct values services = {.count = 0};
    struct reading r = {.out = out, .depth = 1};
    int rc = begin(out);
    if (rc < 0)
        return rc;
    for (struct span s = sql; s.len >= sizeof column; s = span_skip(s, 1))
        if (memcmp(s.base, column, sizeof column - 1) == 0)
            services_behind(span_skip(s, sizeof column - 1), &services);
    if (services.count > 0)
        filter_add(out->filter, &(const struct filter_leaf){.of = FILTER_SERVICE,
                                                            .op = FILTER_IS,
                                                            .values = services.list,
                                                            .value_count = services.count});
    unsaid(&r, "SQL", (struct span){0});
    return finish(out, false);
}
