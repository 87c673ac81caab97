/*
 * slots: entries found by a 64-bit key, at most so many of them. For the tables
 * behind families.
 *
 * When all are taken, or memory is, the CLOCK hand takes back the first entry
 * without chances left; passing one costs it a chance. The caller that uses an entry
 * gives it chances, as many as losing it would hurt.
 *
 * The index is hashed with a seed, because a log writer may choose keys. Entries
 * are made in blocks and never move.
 *
 * Ownership  the caller's struct begins with a struct slot; slots own its memory,
 *            `drop` lets go of what it points to.
 * Blocking   never.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/budget.h"

struct slot {
    uint64_t key;
    uint8_t chances;
};

struct slots_opts {
    size_t entry_bytes;
    uint32_t max_entries;
    uint64_t seed;
    struct budget *budget; /* may be NULL */
    void (*drop)(void *ctx, struct slot *entry);
    void *ctx;
};

struct slots {
    struct slots_opts opts;
    uint8_t **blocks;
    uint32_t *index; /* entry numbers + 1, open addressing */
    uint32_t mask, made, hand;
    uint64_t evicted;
};

/* ERR_NOMEM also when the budget has no room for the index. */
int slots_init(struct slots *s, const struct slots_opts *opts);
void slots_done(struct slots *s);

/* NULL: there is none. */
struct slot *slots_find(const struct slots *s, uint64_t key);

/* A zeroed entry for a key that has none, in another's place if need be. NULL:
 * not even the first block could be had. */
struct slot *slots_take(struct slots *s, uint64_t key);

/* The i-th entry, 0 <= i < s->made. */
struct slot *slots_at(const struct slots *s, uint32_t i);
