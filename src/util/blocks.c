/* blocks: a list of them. */
#include "util/blocks.h"

#include <stdlib.h>

int blocks_init(struct blocks *b, uint32_t max_entries, struct budget *budget)
{
    *b = (struct blocks){.count = (max_entries + BLOCK_ENTRIES - 1) / BLOCK_ENTRIES,
                         .budget = budget};
    b->blocks = calloc(b->count, sizeof *b->blocks);
    return b->blocks == NULL ? ERR_NOMEM : 0;
}

void blocks_done(struct blocks *b, size_t entry_bytes)
{
    for (uint32_t i = 0; b->blocks != NULL && i < b->count; i++) {
        if (b->blocks[i] != NULL)
            budget_give(b->budget, BLOCK_ENTRIES * entry_bytes);
        free(b->blocks[i]);
    }
    free(b->blocks);
    *b = (struct blocks){0};
}

void blocks_add(struct blocks *b, uint32_t block, size_t entry_bytes)
{
    if (budget_take(b->budget, BLOCK_ENTRIES * entry_bytes) < 0)
        return;
    b->blocks[block] = calloc(BLOCK_ENTRIES, entry_bytes);
    if (b->blocks[block] == NULL)
        budget_give(b->budget, BLOCK_ENTRIES * entry_bytes);
}
