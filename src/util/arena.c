/* arena: blocks in a list, allocation by moving a mark. */
#include "util/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BLOCK_BYTES 1024 /* of a call that waits for its body, or only says no */
#define BLOCK_BYTES 16384      /* a request's small things fit in one */

struct arena_block {
    struct arena_block *older;
    size_t used, size;
    alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *a, size_t max_bytes, struct budget *budget)
{
    *a = (struct arena){.max_bytes = max_bytes, .budget = budget};
}

static struct arena_block *add_block(struct arena *a, size_t bytes)
{
    size_t usual = a->blocks == NULL ? FIRST_BLOCK_BYTES : BLOCK_BYTES;
    size_t size = bytes > usual ? bytes : usual;
    if (budget_take(a->budget, size) < 0)
        return NULL;
    struct arena_block *b = malloc(sizeof *b + size);
    if (b == NULL) {
        budget_give(a->budget, size);
        return NULL;
    }
    *b = (struct arena_block){.older = a->blocks, .size = size};
    a->blocks = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    const size_t align = ARENA_ALIGN;
    _Static_assert(ARENA_ALIGN >= alignof(max_align_t), "aligned for anything");
    if (bytes > a->max_bytes - a->used_bytes)
        return NULL;
    bytes = (bytes + align - 1) & ~(align - 1);

    struct arena_block *b = a->blocks;
    if (b == NULL || b->size - b->used < bytes)
        b = add_block(a, bytes);
    if (b == NULL)
        return NULL;
    void *at = b->data + b->used;
    b->used += bytes;
    a->used_bytes += bytes < a->max_bytes - a->used_bytes ? bytes : a->max_bytes - a->used_bytes;
    return memset(at, 0, bytes);
}

int arena_reserve(struct arena *a, size_t bytes)
{
    struct arena_block *b = a->blocks;
    if (bytes > a->max_bytes - a->used_bytes)
        return ERR_TOO_BIG;
    if (b != NULL && b->size - b->used >= bytes)
        return 0;
    return add_block(a, bytes) == NULL ? ERR_FULL : 0;
}

struct span arena_copy(struct arena *a, struct span s)
{
    uint8_t *at = arena_alloc(a, s.len);
    if (at == NULL)
        return (struct span){0};
    if (s.len > 0)
        memcpy(at, s.base, s.len);
    return (struct span){at, s.len};
}

static void drop_block(struct arena *a)
{
    struct arena_block *b = a->blocks;
    a->blocks = b->older;
    budget_give(a->budget, b->size);
    free(b);
}

void arena_reset(struct arena *a)
{
    while (a->blocks != NULL && a->blocks->older != NULL)
        drop_block(a);
    if (a->blocks != NULL) {
        if (a->blocks->size > BLOCK_BYTES)
            drop_block(a);
        else
            a->blocks->used = 0;
    }
    a->used_bytes = 0;
}

void arena_done(struct arena *a)
{
    while (a->blocks != NULL)
        drop_block(a);
    a->used_bytes = 0;
}
