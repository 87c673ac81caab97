/*
 * budget: the one account of memory that requests, inflation, the queue and
 * the tables draw from (`memory.limit`). Taking is a promise that the memory
 * may be allocated; it does not allocate. What is taken must be given back. Without an
 * account (NULL) everything may be taken. Where there is no room its owner may make some, at the
 * cost of whoever holds memory without progress.
 *
 * Units: bytes. Blocking: never. One loop, no locks.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

struct budget {
    uint64_t limit;   /* what may be out at any moment */
    uint64_t used;    /* what is out now */
    uint64_t peak;    /* the most that ever was */
    uint64_t refused; /* how often budget_take() said no */
    /* Let somebody else's memory go, for `missing` bytes; false: there is none to be had. May be
     * NULL. */
    bool (*reclaim)(void *ctx, uint64_t missing);
    void *ctx;
    bool is_reclaiming;
    struct budget *parent; /* NULL, or the account that all of this one is part of */
};

static inline void budget_init(struct budget *b, uint64_t limit_bytes)
{
    *b = (struct budget){.limit = limit_bytes};
}

static inline bool budget_make_room(struct budget *b, uint64_t bytes)
{
    if (b->reclaim == NULL || b->is_reclaiming || bytes > b->limit)
        return false;
    b->is_reclaiming = true;
    while (bytes > b->limit - b->used && b->reclaim(b->ctx, bytes - (b->limit - b->used)))
        ;
    b->is_reclaiming = false;
    return bytes <= b->limit - b->used;
}

/* 0, or ERR_FULL with nothing taken. */
static inline int budget_take(struct budget *b, uint64_t bytes)
{
    if (b == NULL)
        return 0;
    if (bytes > b->limit - b->used && !budget_make_room(b, bytes)) {
        b->refused++;
        return ERR_FULL;
    }
    if (b->parent != NULL && budget_take(b->parent, bytes) < 0)
        return ERR_FULL;
    b->used += bytes;
    if (b->used > b->peak)
        b->peak = b->used;
    return 0;
}

static inline void budget_give(struct budget *b, uint64_t bytes)
{
    if (b == NULL)
        return;
    assert(bytes <= b->used);
    b->used -= bytes;
    budget_give(b->parent, bytes);
}
