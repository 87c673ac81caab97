/*
 * arena: memory for one request. Everything is freed at once by a reset; no
 * free() in request code. Capped: over the cap an allocation is NULL and the
 * request gets the protocol's "too big", not an abort.
 */
#pragma once

#include <stddef.h>

#include "util/budget.h"
#include "util/err.h"
#include "util/span.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first; the oldest is kept over a reset */
    size_t used_bytes, max_bytes;
    struct budget *budget; /* charged for every block; may be NULL */
};

void arena_init(struct arena *a, size_t max_bytes, struct budget *budget);

/* Zeroed, aligned for anything. NULL over the cap, the budget or the heap. */
void *arena_alloc(struct arena *a, size_t bytes);

/* Make sure that allocations of `bytes` in all, padding of up to ARENA_ALIGN - 1
 * each included, will not fail. 0, ERR_TOO_BIG, ERR_FULL or ERR_NOMEM. */
#define ARENA_ALIGN 16
MUST_CHECK int arena_reserve(struct arena *a, size_t bytes);

/* A copy of s in the arena. The base is NULL on failure (and s.len > 0). */
struct span arena_copy(struct arena *a, struct span s);

/* Forget everything, keep one block for the next request. */
void arena_reset(struct arena *a);

void arena_done(struct arena *a);
