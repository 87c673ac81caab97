/* slots: an open-addressed index over blocks of entries, without tombstones. */
#include "pattern/slots.h"

#include <stdlib.h>
#include <string.h>

#include "util/hash.h"

#define BLOCK_ENTRIES 256

static uint32_t block_count(const struct slots *s)
{
    return (s->opts.max_entries + BLOCK_ENTRIES - 1) / BLOCK_ENTRIES;
}

/* What the index and the list of blocks take. */
static uint64_t index_bytes(const struct slots *s)
{
    return ((uint64_t)s->mask + 1) * sizeof *s->index + block_count(s) * sizeof *s->blocks;
}

static void *take_memory(struct slots *s, size_t bytes)
{
    if (budget_take(s->opts.budget, bytes) < 0)
        return NULL;
    void *memory = calloc(1, bytes);
    if (memory == NULL)
        budget_give(s->opts.budget, bytes);
    return memory;
}

static void give_memory(struct slots *s, void *memory, uint64_t bytes)
{
    if (memory != NULL)
        budget_give(s->opts.budget, bytes);
    free(memory);
}

int slots_init(struct slots *s, const struct slots_opts *opts)
{
    *s = (struct slots){.opts = *opts};
    uint32_t size = 2;
    while (size < opts->max_entries * 2)
        size *= 2;
    s->mask = size - 1;
    /* One piece: the blocks' addresses, then the index. */
    s->blocks = take_memory(s, index_bytes(s));
    if (s->blocks == NULL)
        return ERR_NOMEM;
    s->index = (uint32_t *)(void *)(s->blocks + block_count(s));
    return 0;
}

struct slot *slots_at(const struct slots *s, uint32_t i)
{
    return (struct slot *)(void *)(s->blocks[i / BLOCK_ENTRIES] +
                                   i % BLOCK_ENTRIES * s->opts.entry_bytes);
}

void slots_done(struct slots *s)
{
    if (s->blocks == NULL)
        return;
    for (uint32_t i = 0; i < s->made; i++)
        s->opts.drop(s->opts.ctx, slots_at(s, i));
    for (uint32_t i = 0; i < block_count(s); i++)
        give_memory(s, s->blocks[i], BLOCK_ENTRIES * s->opts.entry_bytes);
    give_memory(s, s->blocks, index_bytes(s));
    *s = (struct slots){0};
}

static uint32_t home(const struct slots *s, uint64_t key)
{
    return (uint32_t)hash_mix(key ^ s->opts.seed, s->opts.seed) & s->mask;
}

/* Where the key is in the index, or the free place where it would be. */
static uint32_t place(const struct slots *s, uint64_t key)
{
    uint32_t at = home(s, key);
    while (s->index[at] != 0 && slots_at(s, s->index[at] - 1)->key != key)
        at = (at + 1) & s->mask;
    return at;
}

struct slot *slots_find(const struct slots *s, uint64_t key)
{
    uint32_t at = place(s, key);
    return s->index[at] == 0 ? NULL : slots_at(s, s->index[at] - 1);
}

/* Deletion shifts the cluster back (Knuth 6.4 R). */
static void unindex(struct slots *s, uint32_t hole)
{
    for (uint32_t at = (hole + 1) & s->mask; s->index[at] != 0; at = (at + 1) & s->mask) {
        uint32_t want = home(s, slots_at(s, s->index[at] - 1)->key);
        /* Move it back unless its home lies cyclically in (hole, at]. */
        if (((at - want) & s->mask) >= ((at - hole) & s->mask)) {
            s->index[hole] = s->index[at];
            hole = at;
        }
    }
    s->index[hole] = 0;
}

static uint32_t evict(struct slots *s)
{
    for (;;) {
        uint32_t i = s->hand;
        struct slot *e = slots_at(s, i);
        s->hand = (s->hand + 1) % s->made;
        if (e->chances > 0) {
            e->chances--;
            continue;
        }
        unindex(s, place(s, e->key));
        s->opts.drop(s->opts.ctx, e);
        s->evicted++;
        return i;
    }
}

static bool has_room(struct slots *s)
{
    uint8_t **block = &s->blocks[s->made / BLOCK_ENTRIES];
    if (*block == NULL)
        *block = take_memory(s, BLOCK_ENTRIES * s->opts.entry_bytes);
    return *block != NULL;
}

struct slot *slots_take(struct slots *s, uint64_t key)
{
    uint32_t i;
    if (s->made < s->opts.max_entries && has_room(s))
        i = s->made++;
    else if (s->made > 0)
        i = evict(s);
    else
        return NULL;
    struct slot *e = slots_at(s, i);
    memset(e, 0, s->opts.entry_bytes);
    e->key = key;
    s->index[place(s, key)] = i + 1;
    return e;
}
