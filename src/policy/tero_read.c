/* tero_read: the list of policies, and what each has around its part for logs. */
#include "policy/tero_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NOTE_BYTES 320 /* of one error: the place, what is wrong, and a piece of the text */

int tero_note(struct tero *t, struct tero_policy *p, const char *fmt, ...)
{
    char room[NOTE_BYTES];
    va_list ap;
    p->is_on = false;
    if (p->errors == NULL)
        p->errors = arena_alloc(&t->arena, TERO_ERRORS * sizeof *p->errors);
    if (p->errors == NULL)
        return ERR_TOO_BIG;
    if (p->error_count == TERO_ERRORS)
        return 0;
    va_start(ap, fmt);
    int n = vsnprintf(room, sizeof room, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof room ? (size_t)n : sizeof room - 1;
    struct span text = arena_copy(&t->arena, span_of(room, len));
    if (text.base == NULL)
        return ERR_TOO_BIG;
    p->errors[p->error_count++] = text;
    return 0;
}

/* ---- one policy -------------------------------------------------------------- */

static int read_id(struct tero *t, struct tero_policy *p, struct json_node value)
{
    if (json_kind(value) != JSON_STRING)
        return tero_note(t, p, "id: must be a string");
    p->id = arena_copy(&t->arena, json_string(value));
    return p->id.base == NULL && json_string(value).len > 0 ? ERR_TOO_BIG : 0;
}

static int read_enabled(struct tero *t, struct tero_policy *p, struct json_node value)
{
    if (json_kind(value) != JSON_BOOL)
        return tero_note(t, p, "enabled: must be true or false");
    p->is_on = p->is_on && json_is_true(value);
    return 0;
}

static int read_nothing(struct tero *t, struct tero_policy *p, struct json_node value)
{
    (void)t;
    (void)p;
    (void)value;
    return 0;
}

static const struct {
    const char *name;
    int (*read)(struct tero *t, struct tero_policy *p, struct json_node value);
} members[] = {
    {"id", read_id},
    {"name", read_nothing},
    {"description", read_nothing},
    {"enabled", read_enabled},
    {"created", read_nothing},
    {"modified", read_nothing},
    {"created_at_unix_nano", read_nothing},
    {"modified_at_unix_nano", read_nothing},
    {"labels", read_nothing},
    {"log", tero_read_log},
    {"metric", read_nothing},
    {"trace", read_nothing},
    {"extensions", read_nothing},
};

static int read_member(struct tero *t, struct tero_policy *p, const struct json_each *each)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (policy_sync_name_is(each->key, members[i].name))
            return json_kind(each->value) == JSON_NULL ? 0 : members[i].read(t, p, each->value);
    return tero_note(t, p, "unknown field \"%.*s\"", (int)(each->key.len < 64 ? each->key.len : 64),
                     (const char *)each->key.base);
}

static int read_policy(struct tero *t, size_t number, struct json_node node)
{
    char name[32];
    struct tero_policy *p = &t->policies[number];
    struct json_each each = json_each(node);
    p->is_on = true;
    int rc = json_kind(node) == JSON_OBJECT ? 0 : tero_note(t, p, "must be an object");
    while (rc == 0 && json_next(&each))
        rc = read_member(t, p, &each);
    if (rc == 0 && p->id.len == 0) {
        rc = tero_note(t, p, "id: missing");
        snprintf(name, sizeof name, "policies[%zu]", number);
        p->id = arena_copy(&t->arena, span_str(name));
    }
    p->is_on = p->is_on && p->matcher_count > 0; /* one of another signal has none */
    return rc < 0 ? rc : p->id.base == NULL ? ERR_TOO_BIG : 0;
}

/* ---- the list ------------------------------------------------------------------ */

static int compare_ids(const void *a, const void *b)
{
    const struct tero_policy *x = a, *y = b;
    size_t n = x->id.len < y->id.len ? x->id.len : y->id.len;
    int order = memcmp(x->id.base, y->id.base, n);
    return order != 0 ? order : (x->id.len > y->id.len) - (x->id.len < y->id.len);
}

/* None of them is the one that is meant. */
static int refuse_twins(struct tero *t)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i + 1 < t->count; i++) {
        struct tero_policy *p = &t->policies[i];
        if (!span_eq(p[0].id, p[1].id))
            continue;
        bool is_noted = i > 0 && span_eq(p[-1].id, p[0].id);
        if (!is_noted)
            rc = tero_note(t, p, "id: more than one policy has it");
        if (rc == 0)
            rc = tero_note(t, p + 1, "id: more than one policy has it");
    }
    return rc;
}

static int find_list(struct json_node root, bool is_alone, struct json_node *list,
                     struct error *err)
{
    struct json_each each = json_each(root);
    bool is_there = false;
    if (json_kind(root) != JSON_OBJECT)
        return err_set(err, ERR_CONFIG, "the text is no JSON object");
    while (json_next(&each)) {
        bool is_list = span_eq(each.key, SPAN("policies"));
        if (!is_list && !is_alone)
            continue;
        if (!is_list)
            return err_set(err, ERR_CONFIG, "unknown field \"%.*s\"",
                           (int)(each.key.len < 64 ? each.key.len : 64),
                           (const char *)each.key.base);
        if (is_there)
            return err_set(err, ERR_CONFIG, "\"policies\" is there twice");
        *list = each.value;
        is_there = true;
    }
    if (!is_there && !is_alone) /* of a response that says there are none */
        return 0;
    if (!is_there || json_kind(*list) != JSON_ARRAY)
        return err_set(err, ERR_CONFIG, "there is no list \"policies\"");
    return 0;
}

int tero_read(struct tero *t, struct json_node root, bool is_alone, struct error *err)
{
    struct json_node list = {0};
    int rc = find_list(root, is_alone, &list, err);
    if (rc < 0)
        return rc;
    struct json_each each = json_each(list);
    while (json_next(&each))
        t->count++;
    if (t->count > TERO_POLICIES) {
        size_t count = t->count;
        t->count = 0;
        return err_set(err, ERR_CONFIG, "%zu policies: at most %d are taken", count, TERO_POLICIES);
    }
    size_t room = t->count + 1; /* of none too */
    t->policies = arena_alloc(&t->arena, room * sizeof *t->policies);
    t->matched = arena_alloc(&t->arena, room * sizeof *t->matched);
    if (t->policies == NULL || t->matched == NULL) {
        t->count = 0;
        return ERR_TOO_BIG;
    }
    each = json_each(list);
    for (size_t i = 0; rc == 0 && json_next(&each); i++)
        rc = read_policy(t, i, each.value);
    if (rc < 0)
        return rc;
    qsort(t->policies, t->count, sizeof *t->policies, compare_ids);
    return refuse_twins(t);
}
