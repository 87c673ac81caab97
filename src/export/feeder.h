/*
 * feeder: from the spool's frames to the exporter, and back to settled frames.
 *
 *     feeder_take(frame) -> feeder_run(): records, one by one -> exporter -> batches
 *     settled ids        <- the last batch with records of a frame is gone
 *
 * Frames are small (a commit each) and batches are large: the records of many frames are
 * merged into one batch, each Resource once, and a batch may be split later. So each frame
 * counts who holds it: the walk, and every batch with records of it (struct batch_origin).
 *
 * The ledger: records of this process were counted when they were decided; frames of an
 * earlier one are counted as received and kept when they are read. What the spool lost
 * before it was read is settled from the owners (export/frame_owners.h).
 *
 * Blocking   never. Nothing is called from inside that calls back into the feeder, but
 *            for batches that go.
 */
#pragma once

#include "export/exporter.h"
#include "export/frame_owners.h"
#include "export/spool.h"
#include "util/err.h"

struct feeder;

struct feeder_opts {
    struct exporter *exporter;
    enum exporter_lane lane; /* of it */
    struct budget *budget;
    const struct clock *clock;
    struct fate_sink fates;
    uint64_t own_id;     /* frames below it are of an earlier process */
    uint64_t seed;       /* of the hashes of Resources: clients choose them */
    size_t owners_bytes; /* see export/frame_owners.h */
    void *ctx;
    uint32_t (*service)(void *ctx, struct span name); /* its number in the ledger */
    /* A record of an earlier process, before the exporter takes it: count it as kept. */
    void (*found)(void *ctx, uint32_t service, struct span record, size_t bytes);
    void (*settled)(void *ctx); /* feeder_settled() has something to tell */
};

/* ERR_NOMEM. */
MUST_CHECK int feeder_new(struct feeder **out, const struct feeder_opts *opts);
/* No batch of it may be left, unless feeder_leave() was called. Accepts NULL. */
void feeder_free(struct feeder *f);

/* Everything that is not settled now stays in the spool. */
void feeder_leave(struct feeder *f);

struct frame_owners *feeder_owners(struct feeder *f);

/* Frames before `until_id` that were not read are lost; 0: some, up to the next one read. */
void feeder_lost(struct feeder *f, uint64_t until_id, enum spool_loss why);

/* Everything below that id was read, or is lost. */
void feeder_drained(struct feeder *f, uint64_t stored_id);

/* A frame was read, in order; *payload is taken. */
void feeder_take(struct feeder *f, const struct spool_frame *frame, struct buf *payload);

/* Hand on what was taken, as far as the exporter has room. */
void feeder_run(struct feeder *f);

/* Nothing waits for feeder_run(). */
bool feeder_is_idle(const struct feeder *f);

/* Move the ids of frames that are done with to ids[SPOOL_WINDOW]; how many. */
size_t feeder_settled(struct feeder *f, uint64_t *ids);
bool feeder_has_settled(const struct feeder *f);

/* Records of frames of earlier processes that were taken and not handed on. */
uint64_t feeder_unfound(const struct feeder *f);

/* Frames whose content was not logs. */
uint64_t feeder_unsound(const struct feeder *f);
