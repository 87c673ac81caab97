/*
 * blocks: an array of so many entries, made in blocks as entries come to be used.
 *
 * For tables beside another one, by its numbers. An entry never moves, and begins with zeros.
 * The size of an entry is given with each call, so that the compiler knows it.
 *
 * Memory     8 bytes a block, and the blocks, which alone are drawn from the budget.
 * Blocking   never.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/budget.h"

#define BLOCK_ENTRIES 256

struct blocks {
    uint8_t **blocks; /* NULL until an entry of it is used */
    uint32_t count;
    struct budget *budget; /* may be NULL */
};

/* ERR_NOMEM. */
int blocks_init(struct blocks *b, uint32_t max_entries, struct budget *budget);
/* Accepts a zeroed one. */
void blocks_done(struct blocks *b, size_t entry_bytes);

/* How many entries there may be; a multiple of BLOCK_ENTRIES. */
static inline uint32_t blocks_entries(const struct blocks *b)
{
    return b->count * BLOCK_ENTRIES;
}

/* NULL: it was never used. */
static inline void *blocks_find(const struct blocks *b, uint32_t number, size_t entry_bytes)
{
    uint8_t *block = b->blocks[number / BLOCK_ENTRIES];
    return block == NULL ? NULL : block + number % BLOCK_ENTRIES * entry_bytes;
}

void blocks_add(struct blocks *b, uint32_t block, size_t entry_bytes);

/* NULL: there is no memory for it. */
static inline void *blocks_use(struct blocks *b, uint32_t number, size_t entry_bytes)
{
    if (b->blocks[number / BLOCK_ENTRIES] == NULL)
        blocks_add(b, number / BLOCK_ENTRIES, entry_bytes);
    return blocks_find(b, number, entry_bytes);
}
