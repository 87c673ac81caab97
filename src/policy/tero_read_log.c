/* tero_read_log: the part for logs of a policy: matchers, keep, sample_key, transform. */
#include "policy/tero_read.h"

#include <stdio.h>

/* ---- matchers ------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum tero_test test;
} tests[] = {
    {"exact", TERO_EXACT},    {"regex", TERO_REGEX},
    {"exists", TERO_EXISTS},  {"starts_with", TERO_STARTS},
    {"ends_with", TERO_ENDS}, {"contains", TERO_CONTAINS},
    {"equals", TERO_EQUALS},  {"gt", TERO_GT},
    {"gte", TERO_GTE},        {"lt", TERO_LT},
    {"lte", TERO_LTE},
};

static int read_test(struct tero_spot *at, const char *name, enum tero_test test,
                     struct json_node value, struct tero_matcher *m)
{
    if (m->test != TERO_TEST_NONE)
        return TERO_NOTE(at, "more than one test");
    m->test = test;
    if (test == TERO_EXISTS)
        return tero_read_bool(at, name, value, &m->exists);
    if (test < TERO_EQUALS)
        return tero_read_text(at, name, value, &m->text);
    int rc = tero_read_value(at, value, &m->value);
    bool is_number = m->value.kind == LOG_INT || m->value.kind == LOG_DOUBLE;
    return rc == 0 && test != TERO_EQUALS && m->value.kind != LOG_NONE && !is_number
               ? TERO_NOTE(at, "%s needs a number", name)
               : rc;
}

/* Letters alike in either case, those of all languages: an expression of the text. */
static int ignore_case(struct tero_spot *at, struct tero_matcher *m)
{
    char room[REGEX_PATTERN_BYTES + 1];
    size_t n = 0;
    bool from_start = m->test == TERO_EXACT || m->test == TERO_STARTS;
    bool to_end = m->test == TERO_EXACT || m->test == TERO_ENDS;
    if (from_start)
        n = (size_t)snprintf(room, sizeof room, "\\A");
    for (size_t i = 0; i < m->text.len; i++) {
        uint8_t c = m->text.base[i];
        bool is_plain =
            c >= 0x80 || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (n + 4 > REGEX_PATTERN_BYTES)
            return TERO_NOTE(at, "the text is too long for case_insensitive");
        if (!is_plain)
            room[n++] = '\\';
        room[n++] = (char)c;
    }
    if (to_end)
        n += (size_t)snprintf(room + n, sizeof room - n, "\\z");
    m->test = TERO_REGEX;
    return n == 0 ? 0 : tero_compile(at, span_of(room, n), REGEX_CASELESS, &m->regex);
}

static int finish_matcher(struct tero_spot *at, struct tero_matcher *m, bool has_field,
                          bool caseless)
{
    if (!has_field)
        return TERO_NOTE(at, "no field is set");
    if (m->test == TERO_TEST_NONE)
        return TERO_NOTE(at, "no test is set");
    if (m->test == TERO_REGEX)
        return tero_compile(at, m->text, caseless ? REGEX_CASELESS : 0, &m->regex);
    if (caseless && m->test >= TERO_EXACT && m->test <= TERO_CONTAINS && m->text.len > 0)
        return ignore_case(at, m);
    return 0;
}

static int read_matcher(struct tero_spot *at, struct json_node node, struct tero_matcher *m)
{
    struct json_each each = json_each(node);
    bool has_field = false, caseless = false;
    unsigned before = at->p->error_count;
    int rc = json_kind(node) == JSON_OBJECT ? 0 : TERO_NOTE(at, "must be an object");
    while (rc == 0 && json_next(&each)) {
        size_t i = 0;
        if (json_kind(each.value) == JSON_NULL)
            continue;
        while (i < ARRAY_LEN(tests) && !policy_sync_name_is(each.key, tests[i].name))
            i++;
        if (i < ARRAY_LEN(tests))
            rc = read_test(at, tests[i].name, tests[i].test, each.value, m);
        else if (policy_sync_name_is(each.key, "negate"))
            rc = tero_read_bool(at, "negate", each.value, &m->negate);
        else if (policy_sync_name_is(each.key, "case_insensitive"))
            rc = tero_read_bool(at, "case_insensitive", each.value, &caseless);
        else if ((rc = tero_read_field(at, "", &each, &m->field, &has_field)) == 0)
            rc = tero_unknown(at, each.key);
        else if (rc > 0)
            rc = 0;
    }
    return rc == 0 && at->p->error_count == before ? finish_matcher(at, m, has_field, caseless)
                                                   : rc;
}

/* How many; a policy with too many is invalid, and those beyond are not read. */
static int count_list(struct tero_spot *at, struct json_node list, unsigned *count)
{
    struct json_each each = json_each(list);
    unsigned n = 0;
    while (json_kind(list) == JSON_ARRAY && json_next(&each))
        n++;
    *count = n < TERO_LIST ? n : TERO_LIST;
    if (json_kind(list) != JSON_ARRAY)
        return TERO_NOTE(at, "must be a list");
    return n > TERO_LIST ? TERO_NOTE(at, "%u entries: at most %d are taken", n, TERO_LIST) : 0;
}

static int read_match(struct tero *t, struct tero_policy *p, struct json_node list)
{
    struct tero_spot at = {t, p, "match"};
    struct json_each each = json_each(list);
    unsigned count;
    int rc = count_list(&at, list, &count);
    if (rc < 0 || count == 0 || p->matchers != NULL)
        return rc;
    p->matchers = arena_alloc(&t->arena, count * sizeof *p->matchers);
    if (p->matchers == NULL)
        return ERR_TOO_BIG;
    p->matcher_count = count;
    for (unsigned i = 0; rc == 0 && i < count && json_next(&each); i++) {
        snprintf(at.words, sizeof at.words, "match[%u]", i);
        rc = read_matcher(&at, each.value, &p->matchers[i]);
    }
    return rc;
}

/* ---- keep ------------------------------------------------------------------------------ */

static int read_keep(struct tero *t, struct tero_policy *p, struct json_node value)
{
    struct tero_spot at = {t, p, "keep"};
    struct span text = json_string(value);
    if (json_kind(value) != JSON_STRING)
        return TERO_NOTE(&at, "must be a string");
    return tero_keep_parse(&p->keep, text) < 0
               ? TERO_NOTE(&at, "invalid value \"%.*s\"", tero_shown(text), (const char *)text.base)
               : 0;
}

static int read_sample_key(struct tero *t, struct tero_policy *p, struct json_node value)
{
    struct tero_spot at = {t, p, "sample_key"};
    struct json_each each = json_each(value);
    int rc = 0;
    while (rc == 0 && json_next(&each)) {
        rc = tero_read_field(&at, "", &each, &p->keep.key, &p->keep.has_key);
        rc = rc == 0 ? tero_unknown(&at, each.key) : rc > 0 ? 0 : rc;
    }
    return rc == 0 && !p->keep.has_key ? TERO_NOTE(&at, "no field is set") : rc;
}

/* ---- transforms -------------------------------------------------------------------------- */

static const char *const op_names[TERO_OP_KINDS] = {
    [TERO_REMOVE] = "remove",
    [TERO_REDACT] = "redact",
    [TERO_RENAME] = "rename",
    [TERO_ADD] = "add",
};

/* What an operation has beside its field. */
static const struct {
    enum tero_op_kind kind;
    const char *name;
    char what; /* 'v'alue, 'r'egex, 'u'psert */
} op_members[] = {
    {TERO_REDACT, "replacement", 'v'}, {TERO_REDACT, "regex", 'r'}, {TERO_RENAME, "to", 'v'},
    {TERO_RENAME, "upsert", 'u'},      {TERO_ADD, "value", 'v'},    {TERO_ADD, "upsert", 'u'},
};

static int read_op_member(struct tero_spot *at, enum tero_op_kind kind,
                          const struct json_each *each, struct tero_op *op, bool *has_field)
{
    struct span pattern;
    for (size_t i = 0; i < ARRAY_LEN(op_members); i++) {
        const char *name = op_members[i].name;
        if (op_members[i].kind != kind || !policy_sync_name_is(each->key, name))
            continue;
        if (op_members[i].what == 'v')
            return tero_read_text(at, name, each->value, &op->value);
        if (op_members[i].what == 'u')
            return tero_read_bool(at, name, each->value, &op->upsert);
        unsigned before = at->p->error_count;
        int rc = op->regex != NULL ? TERO_NOTE(at, "more than one regex")
                                   : tero_read_text(at, name, each->value, &pattern);
        return rc == 0 && at->p->error_count == before ? tero_compile(at, pattern, 0, &op->regex)
                                                       : rc;
    }
    int rc = tero_read_field(at, kind == TERO_RENAME ? "from_" : "", each, &op->field, has_field);
    return rc == 0 ? tero_unknown(at, each->key) : rc > 0 ? 0 : rc;
}

static int finish_op(struct tero_spot *at, enum tero_op_kind kind, struct tero_op *op,
                     bool has_field)
{
    if (!has_field)
        return TERO_NOTE(at, "no field is set");
    if (kind == TERO_RENAME && op->field.place == TERO_FIELD)
        return TERO_NOTE(at, "only attributes can be renamed");
    if (kind == TERO_RENAME && op->value.len == 0)
        return TERO_NOTE(at, "to is empty");
    if (kind != TERO_REMOVE && tero_field_is_id(&op->field))
        return TERO_NOTE(at, "trace_id and span_id can only be removed");
    if (kind == TERO_REDACT && op->value.base == NULL)
        op->value = SPAN("[REDACTED]");
    return 0;
}

static int read_op(struct tero_spot *at, enum tero_op_kind kind, struct json_node node,
                   struct tero_op *op)
{
    struct json_each each = json_each(node);
    bool has_field = false;
    unsigned before = at->p->error_count;
    int rc = json_kind(node) == JSON_OBJECT ? 0 : TERO_NOTE(at, "must be an object");
    while (rc == 0 && json_next(&each))
        if (json_kind(each.value) != JSON_NULL)
            rc = read_op_member(at, kind, &each, op, &has_field);
    return rc == 0 && at->p->error_count == before ? finish_op(at, kind, op, has_field) : rc;
}

static int read_ops(struct tero_spot *at, enum tero_op_kind kind, struct json_node list)
{
    struct tero_ops *ops = &at->p->ops[kind];
    struct json_each each = json_each(list);
    unsigned count;
    snprintf(at->words, sizeof at->words, "transform: %s", op_names[kind]);
    int rc = count_list(at, list, &count);
    if (rc < 0 || count == 0 || ops->list != NULL)
        return rc;
    ops->list = arena_alloc(&at->t->arena, count * sizeof *ops->list);
    if (ops->list == NULL)
        return ERR_TOO_BIG;
    ops->count = count;
    for (unsigned i = 0; rc == 0 && i < count && json_next(&each); i++) {
        snprintf(at->words, sizeof at->words, "transform: %s[%u]", op_names[kind], i);
        rc = read_op(at, kind, each.value, &ops->list[i]);
    }
    return rc;
}

static int read_transform(struct tero *t, struct tero_policy *p, struct json_node value)
{
    struct tero_spot at = {t, p, "transform"};
    struct json_each each = json_each(value);
    int rc = 0;
    while (rc == 0 && json_next(&each)) {
        unsigned kind = 0;
        while (kind < TERO_OP_KINDS && !policy_sync_name_is(each.key, op_names[kind]))
            kind++;
        if (kind < TERO_OP_KINDS && json_kind(each.value) != JSON_NULL)
            rc = read_ops(&at, (enum tero_op_kind)kind, each.value);
        else if (kind == TERO_OP_KINDS)
            rc = tero_unknown(&at, each.key);
    }
    return rc;
}

/* ---- the part ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*read)(struct tero *t, struct tero_policy *p, struct json_node value);
} parts[] = {
    {"match", read_match},
    {"keep", read_keep},
    {"transform", read_transform},
    {"sample_key", read_sample_key},
};

int tero_read_log(struct tero *t, struct tero_policy *p, struct json_node log)
{
    struct json_each each = json_each(log);
    int rc = json_kind(log) == JSON_OBJECT ? 0 : tero_note(t, p, "log: must be an object");
    while (rc == 0 && json_next(&each)) {
        size_t i = 0;
        while (i < ARRAY_LEN(parts) && !policy_sync_name_is(each.key, parts[i].name))
            i++;
        if (i == ARRAY_LEN(parts))
            rc = tero_note(t, p, "log: unknown field \"%.*s\"", tero_shown(each.key),
                           (const char *)each.key.base);
        else if (json_kind(each.value) != JSON_NULL)
            rc = parts[i].read(t, p, each.value);
    }
    return rc == 0 && p->matcher_count == 0 && p->error_count == 0
               ? tero_note(t, p, "log: match: at least one matcher is needed")
               : rc;
}
