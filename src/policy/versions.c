/* versions: a short array in order of numbers. */
#include "policy/versions.h"

#include <stdlib.h>
#include <string.h>

struct versions {
    struct budget *budget;
    struct version list[VERSIONS_MAX];
    uint32_t count, last_number;
    size_t bytes; /* of documents */
};

const char *version_state_name(enum version_state s)
{
    static const char *const names[] = {
#define X(name, text) [VERSION_##name] = text,
        VERSION_STATES(X)
#undef X
    };
    return names[s];
}

int versions_new(struct versions **out, struct budget *budget)
{
    if (budget_take(budget, sizeof(struct versions)) < 0)
        return ERR_FULL;
    struct versions *v = calloc(1, sizeof *v);
    if (v == NULL) {
        budget_give(budget, sizeof *v);
        return ERR_NOMEM;
    }
    v->budget = budget;
    *out = v;
    return 0;
}

static void drop(struct versions *v, uint32_t i)
{
    budget_give(v->budget, v->list[i].document.len);
    v->bytes -= v->list[i].document.len;
    free((void *)v->list[i].document.base);
    v->count--;
    memmove(&v->list[i], &v->list[i + 1], (v->count - i) * sizeof v->list[0]);
}

void versions_free(struct versions *v)
{
    if (v == NULL)
        return;
    while (v->count > 0)
        drop(v, v->count - 1);
    budget_give(v->budget, sizeof *v);
    free(v);
}

/* Is it what its maker outside says now? */
static bool is_last_from_outside(const struct versions *v, uint32_t i)
{
    bool is_last = v->list[i].is_from_outside;
    for (uint32_t k = i + 1; k < v->count; k++)
        is_last &= strcmp(v->list[k].by, v->list[i].by) != 0;
    return is_last;
}

/* The oldest that is not needed goes. False: there is none. */
static bool make_room(struct versions *v)
{
    for (uint32_t i = 0; i < v->count; i++) {
        if (v->list[i].state == VERSION_ACTIVE || v->list[i].state == VERSION_SHADOW ||
            is_last_from_outside(v, i))
            continue;
        drop(v, i);
        return true;
    }
    return false;
}

static int put(struct versions *v, const struct version *it, struct span document)
{
    if (document.len > VERSIONS_BYTES / 4)
        return ERR_TOO_BIG;
    while (v->count == VERSIONS_MAX || v->bytes + document.len > VERSIONS_BYTES)
        if (!make_room(v))
            return ERR_FULL;
    while (budget_take(v->budget, document.len) < 0)
        if (!make_room(v))
            return ERR_FULL;
    uint8_t *copy = malloc(document.len + 1);
    if (copy == NULL) {
        budget_give(v->budget, document.len);
        return ERR_NOMEM;
    }
    if (document.len > 0)
        memcpy(copy, document.base, document.len);
    copy[document.len] = '\0';
    struct version *made = &v->list[v->count++];
    *made = *it;
    made->document = span_of(copy, document.len);
    v->bytes += document.len;
    if (made->number > v->last_number)
        v->last_number = made->number;
    return 0;
}

int versions_add(struct versions *v, const struct version *like, struct span document,
                 uint32_t *number)
{
    struct version it = *like;
    const struct version *active = versions_in(v, VERSION_ACTIVE);
    it.number = v->last_number + 1;
    it.base = active == NULL ? 0 : active->number;
    it.state = VERSION_PROPOSED;
    int rc = put(v, &it, document);
    if (rc == 0)
        *number = it.number;
    return rc;
}

int versions_restore(struct versions *v, const struct version *it)
{
    if (it->number <= v->last_number || it->state >= VERSION_STATE_COUNT)
        return ERR_MALFORMED;
    return put(v, it, it->document);
}

const struct version *versions_at(const struct versions *v, uint32_t i)
{
    return i < v->count ? &v->list[i] : NULL;
}

uint32_t versions_count(const struct versions *v)
{
    return v->count;
}

static struct version *find(struct versions *v, uint32_t number)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (v->list[i].number == number)
            return &v->list[i];
    return NULL;
}

const struct version *versions_find(const struct versions *v, uint32_t number)
{
    return find((struct versions *)(uintptr_t)v, number); /* looks, and writes nothing */
}

const struct version *versions_in(const struct versions *v, enum version_state s)
{
    for (uint32_t i = v->count; i-- > 0;)
        if (v->list[i].state == s)
            return &v->list[i];
    return NULL;
}

/* All that are in one state are in another. */
static void move_all(struct versions *v, enum version_state from, enum version_state to)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (v->list[i].state == from)
            v->list[i].state = to;
}

void versions_set_active(struct versions *v, uint32_t number)
{
    struct version *it = find(v, number);
    if (it == NULL)
        return;
    move_all(v, VERSION_ACTIVE, VERSION_PAST);
    it->state = VERSION_ACTIVE;
}

void versions_set_shadow(struct versions *v, uint32_t number)
{
    struct version *it = find(v, number);
    if (it == NULL || it->state == VERSION_ACTIVE)
        return;
    versions_end_shadow(v);
    it->state = VERSION_SHADOW;
}

void versions_end_shadow(struct versions *v)
{
    move_all(v, VERSION_SHADOW, VERSION_PROPOSED);
}
