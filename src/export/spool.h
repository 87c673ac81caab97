/*
 * spool: the durable queue. Frames (an encoded request each, or whatever the caller
 * commits at once) are appended to segment files, read in order, and settled in any
 * order; a frame leaves the disk only when it is settled.
 *
 *     append, append, ... sync     what was appended is stored: say yes to the clients
 *     next, next, ...              read stored frames, at most SPOOL_WINDOW unsettled
 *     settle(id)                   delivered, or given up: not read again
 *     checkpoint                   now and then: remove what is settled, bound duplicates
 *
 * Stored   A frame counts as stored when spool_stored() is above its id: after a
 *          sync() that returned 0, or, with `lazy`, once append() has. It then outlives
 *          a kill -9, and (not with `lazy`) a power loss.
 * Failure  When append() or sync() fails by ERR_IO or ERR_DISK_FULL, every frame that
 *          is not stored at that moment never will be: refuse those clients. The
 *          kernel drops what it could not write, so no fsync is asked again; the
 *          segment ends at its last stored frame and the next append begins another,
 *          so that room which has come back is found at once. Should a frame that was
 *          refused survive in the old file, it is void from the moment at which a
 *          newer frame is stored; only a crash before that may deliver it, at most
 *          what was appended since the last sync, once for each crash.
 *          ERR_FULL and ERR_TOO_BIG of append() change nothing; what was appended
 *          before goes on waiting for its sync().
 * Twice    After a kill -9 those frames are read again that were read and not
 *          settled. After a power loss also those settled since the last checkpoint.
 * Start    From the data; the position is a hint. It never fails for damage: a torn
 *          tail is cut, damaged frames are passed over and counted, and a segment in
 *          which something was damaged is kept as *.seg.corrupt when its sound frames
 *          are delivered. Files of other names are not touched.
 * Reading  What cannot be opened or read is tried again for as long as it takes
 *          (stats.unreadable); what is given up is proven to be gone: its bytes are not
 *          what was written, its name is, or the medium refuses it for a minute while it
 *          gives the rest of the file.
 * Removed  When another program removes or replaces the directory or the segment that is written,
 *          the next sync() fails, since what it stored would not be found; the append after
 *          it begins anew at the directory's path. Frames in files that are still open are
 *          read from there.
 * Age      By the monotonic clock as long as the machine runs, so a wall clock that steps
 *          makes nothing older. Only across a start of the machine by the wall clock, as
 *          far as it was ever set.
 *
 * Units      bytes, records, frames; unix_ns is wall time.
 * Errors     0 or ERR_*; out parameters are written on success only.
 * Ownership  the spool copies what it is given, and writes payloads into the caller's buf.
 * Blocking   every call that is not marked "quick" may touch the disk. One thread at a
 *            time: call it from uv_queue_work(), one job at a time, and ask for the
 *            stats there. No locks, no libuv inside.
 */
#pragma once

#include "export/disk.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/err.h"

#define SPOOL_WINDOW 256 /* frames read and not settled at once */
#define SPOOL_SEGMENT_BYTES (16u << 20)
#define SPOOL_ASIDE_FILES 8 /* damaged segments that are kept, of at most max_bytes / 8 */
#define SPOOL_LOCK_NAME "lock"

struct spool;

struct spool_frame {
    uint64_t id; /* rises; the same after every restart; never 0 */
    uint64_t accepted_unix_ns;
    uint32_t records;
    uint32_t bytes;  /* of the payload */
    uint64_t age_ms; /* when it was read */
};

/* clang-format off */
#define SPOOL_LOSSES(X) \
    X(EXPIRED, "expired")  /* older than max_age */ \
    X(DROPPED, "dropped")  /* the oldest segment made room */ \
    X(DAMAGED, "damaged")  /* its bytes are not what was written */
/* clang-format on */

#define X(name, text) SPOOL_LOST_##name,
enum spool_loss { SPOOL_LOSSES(X) SPOOL_LOSS_COUNT };
#undef X

struct spool_opts {
    uint64_t max_bytes;     /* on disk; 0: no bound. Passed by one segment at most */
    uint64_t max_age_ns;    /* a frame that waited longer is not read; 0: no bound */
    uint64_t segment_bytes; /* 0: SPOOL_SEGMENT_BYTES, or max_bytes / 8 where that is less */
    bool drops_oldest;      /* full: drop the oldest segment; else ERR_FULL */
    bool lazy;              /* fsync: interval or never. Written is stored */
    uint32_t salt;          /* for tests; 0: random */
    uint64_t boot;          /* for tests; 0: what the kernel says */
    const struct clock *clock;
    void *ctx;
    /* Stored frames will not be read, and why; called from inside append(), next() and
     * checkpoint(), must not call the spool. `frame` is NULL when several went at once that
     * cannot be named. Frames in the reader's hands are not reported. */
    void (*lost)(void *ctx, const struct spool_frame *frame, uint64_t frames, uint64_t records,
                 enum spool_loss why);
    /* To be logged: of the segment with that name `frames` are missing, with `records` as far as
     * these are known. Called from inside open(), next() and checkpoint(). May be NULL. */
    void (*damaged)(void *ctx, const char *segment, uint64_t frames, uint64_t records,
                    uint64_t bytes);
};

struct spool_stats {
    uint64_t bytes, segments;                 /* on disk, room reserved included */
    uint64_t room_bytes;                      /* that can be appended within max_bytes, about */
    uint64_t frames, records;                 /* stored and not settled */
    uint64_t unsynced_frames, unsynced_bytes; /* appended and not stored */
    uint64_t in_hand;                         /* read and not settled */
    uint64_t oldest_unix_ns;                  /* about when the oldest was accepted; 0: none */
    uint64_t next_id, settled_id;             /* every frame below settled_id is settled */
    int broken;               /* why the last write failed: ERR_IO, ERR_DISK_FULL; 0: it works */
    uint64_t broken_since_ms; /* monotonic */
    int broken_by;            /* -errno of it; -ENOENT: removed or replaced */
    uint64_t needed_bytes, free_bytes; /* of the disk, when it was found to be full */
    int unreadable;               /* -errno, while a segment that should be there cannot be read */
    uint64_t unreadable_id;       /* names it, see segment_name() */
    uint64_t unreadable_since_ms; /* monotonic */
    uint64_t earlier_records;     /* unread, of earlier processes, as far as it is known */
    uint64_t nameless_records;    /* of `records`: in files that were removed, see Removed */
    uint64_t
        dropped_records; /* of `records`: in hand, and their segment was dropped to make room */
    uint64_t write_errors, read_errors; /* calls that failed */
    uint64_t position_errors;           /* the hint could not be written or was not usable */
    uint64_t lost_frames[SPOOL_LOSS_COUNT], lost_records[SPOOL_LOSS_COUNT];
    /* Damage, found at the start or later. lost_frames[DAMAGED] has missing_frames in it,
     * whose records are not known any more. */
    uint64_t missing_frames, damaged_bytes, torn_bytes, duplicate_frames;
    uint64_t damaged_segments, aside_files, aside_bytes;
};

/* Open the spool in opened directory *disk, which it takes over (also on failure).
 *   ERR_UNAVAILABLE  another process uses it
 *   ERR_UNSUPPORTED  it is of a newer version; nothing was touched
 *   ERR_IO           the directory cannot be used */
MUST_CHECK int spool_open(struct spool **out, struct disk *disk, const struct spool_opts *opts,
                          struct error *err);

/* sync(), checkpoint(), unlock. Accepts NULL. */
void spool_close(struct spool *s);

/* Write one frame behind the last. *id names it.
 *   ERR_TOO_BIG    it could never fit
 *   ERR_FULL       max_bytes is reached
 *   ERR_DISK_FULL, ERR_IO   see Failure above */
MUST_CHECK int spool_append(struct spool *s, const struct span *payload, size_t spans,
                            uint32_t records, uint64_t accepted_unix_ns, uint64_t *id);

/* Make every appended frame durable. ERR_DISK_FULL, ERR_IO: see Failure. */
MUST_CHECK int spool_sync(struct spool *s);

/* Quick. Every frame below this id that was not refused is stored. */
uint64_t spool_stored(const struct spool *s);

/* Read the next stored frame; its payload replaces what is in *payload.
 *   ERR_EMPTY   there is none
 *   ERR_FULL    SPOOL_WINDOW frames are in hand
 *   ERR_IO      it could not be read now: try again
 *   or the buf's failure (ERR_FULL, ERR_NOMEM): nothing was read */
MUST_CHECK int spool_next(struct spool *s, struct spool_frame *frame, struct buf *payload);

/* A frame in hand is done with. ids that are not in hand are ignored. */
void spool_settle(struct spool *s, uint64_t id);

/* Make the position durable, then remove the segments that are settled. Call it every
 * second or so, and when idle. ERR_IO: part of it did not work; the next one tries again. */
MUST_CHECK int spool_checkpoint(struct spool *s);

/* Quick. */
void spool_stats(const struct spool *s, struct spool_stats *out);

static inline const char *spool_loss_name(enum spool_loss why)
{
    static const char *const names[] = {
#define X(name, text) [SPOOL_LOST_##name] = text,
        SPOOL_LOSSES(X)
#undef X
    };
    return names[why];
}
