/* guard: a list of filters with names. */
#include "pipeline/guard.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct guard_item item;
    struct filter *filter;
    char *text; /* id and name */
};

struct guard {
    unsigned refs, count, nodes;
    bool keeps;
    struct entry entries[GUARD_MAX];
};

const char *guard_kind_name(enum guard_kind kind)
{
    static const char *const names[] = {
#define X(name, text) [GUARD_##name] = text,
        GUARD_KINDS(X)
#undef X
    };
    return names[kind];
}

int guard_new(struct guard **out, bool keeps)
{
    struct guard *g = calloc(1, sizeof *g);
    if (g == NULL)
        return ERR_NOMEM;
    g->refs = 1;
    g->keeps = keeps;
    *out = g;
    return 0;
}

struct guard *guard_ref(const struct guard *g)
{
    struct guard *mine = (struct guard *)(uintptr_t)g; /* the count is not of its value */
    if (mine != NULL)
        mine->refs++;
    return mine;
}

void guard_unref(struct guard *g)
{
    if (g == NULL || --g->refs > 0)
        return;
    for (unsigned i = 0; i < g->count; i++) {
        filter_free(g->entries[i].filter);
        free(g->entries[i].text);
    }
    free(g);
}

/* Not through a character. */
static struct span cut(struct span name)
{
    if (name.len <= GUARD_NAME_BYTES)
        return name;
    name.len = GUARD_NAME_BYTES;
    while (name.len > 0 && (name.base[name.len] & 0xc0) == 0x80)
        name.len--;
    return name;
}

int guard_add(struct guard *g, const struct guard_item *item, struct filter *filter)
{
    struct span name = cut(item->name);
    unsigned nodes = g->nodes + filter_cost(filter);
    bool is_full = g->count == GUARD_MAX || nodes > GUARD_NODES_MAX;
    char *text = is_full ? NULL : malloc(item->id.len + name.len + 1);
    if (text == NULL) {
        filter_free(filter);
        return is_full ? ERR_FULL : ERR_NOMEM;
    }
    g->nodes = nodes;
    if (item->id.len > 0)
        memcpy(text, item->id.base, item->id.len);
    if (name.len > 0)
        memcpy(text + item->id.len, name.base, name.len);
    struct entry *e = &g->entries[g->count++];
    *e = (struct entry){*item, filter, text};
    e->item.id = span_of(text, item->id.len);
    e->item.name = span_of(text + item->id.len, name.len);
    return 0;
}

unsigned guard_count(const struct guard *g)
{
    return g == NULL ? 0 : g->count;
}

bool guard_keeps(const struct guard *g)
{
    return g->keeps;
}

const struct guard_item *guard_at(const struct guard *g, unsigned i)
{
    return &g->entries[i].item;
}

int guard_find(const struct guard *g, const struct guard_item *item)
{
    for (unsigned i = 0; i < guard_count(g); i++) {
        const struct guard_item *other = &g->entries[i].item;
        if (other->kind == item->kind && span_eq(other->id, item->id))
            return (int)i;
    }
    return ERR_EMPTY;
}

uint64_t guard_possible(const struct guard *g, const struct logs_group *group)
{
    uint64_t set = 0;
    for (unsigned i = 0; i < guard_count(g); i++)
        if (filter_ask_service(g->entries[i].filter, group) != FILTER_NO)
            set |= UINT64_C(1) << i;
    return set;
}

bool guard_selects(const struct guard *g, unsigned i, const struct filter_row *row)
{
    return filter_ask(g->entries[i].filter, row) != FILTER_NO;
}
