/*
 * owners: whose records lie in the spool, for the ledger's sake.
 *
 *     owners_add(id, parts) ... owners_until(id, fn) in the same order
 *
 * When frames are lost unread (dropped, expired, damaged) nobody can ask them any more
 * whose records they held. So this remembers it of every frame that this process has
 * stored and not read yet, in about five bytes for a frame of one service (numbers of
 * seven bits each, as differences). Bounded: a frame that cannot be remembered must not
 * be stored (owners_reserve() says so before).
 *
 * Units: records. Blocking: never. Memory: one buf, charged to the budget.
 */
#pragma once

#include "export/batch.h"

struct owners {
    struct buf log;
    size_t at;        /* of the oldest entry */
    uint64_t read_id; /* of the entry before it */
    uint64_t last_id; /* of the newest */
};

void owners_init(struct owners *o, size_t max_bytes, struct budget *budget);
void owners_done(struct owners *o);

/* Make sure that the next owners_add() of so many parts finds room. ERR_FULL, ERR_TOO_BIG,
 * ERR_NOMEM: not now. */
int owners_reserve(struct owners *o, size_t parts);

/* ids rise. Room was reserved. */
void owners_add(struct owners *o, uint64_t id, const struct batch_part *parts, size_t count);

/* Forget all frames below `id`, telling fn (may be NULL) of their records. */
void owners_until(struct owners *o, uint64_t id,
                  void (*fn)(void *ctx, uint32_t service, uint32_t records), void *ctx);

/* No more frames should be stored. */
bool owners_is_full(const struct owners *o);
