/*
 * frame_owners: under which service the records of each stored frame were counted, for the
 * ledger's sake.
 *
 *     frame_owners_add(id, parts) ... frame_owners_until(id, fn)      a frame was read, or is lost
 *                               frame_owners_find(id), owners_at(part)   of a frame that was read
 *
 * The stored bytes do not say it: an event of ours is counted under "lipservice" and names
 * the service that it is about, and a service beyond the ledger's room is counted under
 * "other". So this remembers the parts of every frame that this process has stored and not
 * yet handed on, in about five bytes for a frame of one service (numbers of seven bits each,
 * as differences). Bounded: a frame that cannot be remembered must not be stored
 * (frame_owners_reserve() says so before).
 *
 * Two places move through it, in the order of ids: what was read or lost (frame_owners_until), and
 * behind it what was handed on (frame_owners_find), because frames wait between the two.
 *
 * Units: records. Blocking: never. Memory: one buf, charged to the budget.
 */
#pragma once

#include "export/batch.h"
#include "util/err.h"

/* A place in the log: the entry there is of the frame `id` + the difference it holds. */
struct frame_owners_place {
    size_t at;
    uint64_t id;
};

struct frame_owners {
    struct buf log;
    struct frame_owners_place read; /* the oldest entry that was neither read nor lost */
    struct frame_owners_place kept; /* the oldest entry that is kept; never behind `read` */
    uint64_t last_id;               /* of the newest */
};

void frame_owners_init(struct frame_owners *o, size_t max_bytes, struct budget *budget);
void frame_owners_done(struct frame_owners *o);

/* Make sure that the next frame_owners_add() of so many parts finds room. ERR_FULL, ERR_TOO_BIG,
 * ERR_NOMEM: not now. */
MUST_CHECK int frame_owners_reserve(struct frame_owners *o, size_t parts);

/* ids rise. Room was reserved. */
void frame_owners_add(struct frame_owners *o, uint64_t id, const struct batch_part *parts,
                      size_t count);

/* Everything below `id` was read or is lost. fn (may be NULL) is called for each part of those
 * frames that no earlier call has passed. They stay to be found. */
void frame_owners_until(struct frame_owners *o, uint64_t id,
                        void (*fn)(void *ctx, uint32_t service, uint32_t records), void *ctx);

/* Frames below `id` that were passed by frame_owners_until() need not be found any more. */
void frame_owners_forget(struct frame_owners *o, uint64_t id);

struct frame_owners_part {
    size_t at;
    uint64_t left; /* parts of the frame behind this one */
    uint32_t service, records;
};

/* Put *part before the first part of frame `id`, which was passed, and forget the frames below
 * it. False: no parts of it were added. Valid until the next frame_owners_reserve(). */
bool frame_owners_find(struct frame_owners *o, uint64_t id, struct frame_owners_part *part);

/* Move to the next part of that frame; false behind the last. */
bool frame_owners_next(const struct frame_owners *o, struct frame_owners_part *part);

/* No more frames should be stored. */
bool frame_owners_is_full(const struct frame_owners *o);
