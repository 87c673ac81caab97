/* charged: a header before each piece. */
#include "util/charged.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/budget.h"

union piece {
    size_t bytes; /* with this */
    max_align_t aligned;
};

void charged_free(void *at, void *budget)
{
    if (at == NULL)
        return;
    union piece *piece = (union piece *)at - 1;
    budget_give(budget, piece->bytes);
    free(piece);
}

void *charged_realloc(void *at, size_t size, void *budget)
{
    union piece *old = at == NULL ? NULL : (union piece *)at - 1;
    size_t had = old == NULL ? 0 : old->bytes, bytes = size + sizeof *old;
    if (size > SIZE_MAX / 2 || (bytes > had && budget_take(budget, bytes - had) < 0))
        return NULL;
    union piece *piece = realloc(old, bytes);
    if (piece == NULL) {
        if (bytes > had)
            budget_give(budget, bytes - had);
        return NULL;
    }
    if (bytes < had)
        budget_give(budget, had - bytes);
    piece->bytes = bytes;
    return piece + 1;
}

void *charged_malloc(size_t size, void *budget)
{
    return charged_realloc(NULL, size, budget);
}

void *charged_calloc(size_t count, size_t size, void *budget)
{
    void *at =
        size > 0 && count > SIZE_MAX / 2 / size ? NULL : charged_malloc(count * size, budget);
    return at == NULL ? NULL : memset(at, 0, count * size);
}
