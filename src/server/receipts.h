/*
 * receipts: reports that were acknowledged and are not yet in the database, on disk.
 *
 * A report is answered when it is written here and synced; its numbers reach the database some
 * seconds later, many reports at once. After a crash what the database does not have is read from
 * here. Reports that arrive while others are written go together with the next write (group
 * commit), so that a disk with 5 ms for a sync takes thousands a second.
 *
 *     receipts_add() -> written, synced -> done(receipt, 0)     its numbers count from here on
 *     receipts_turn()     a new file: all that was done before is in the files before it
 *     receipts_forget()   those are in the database: removed
 *
 * A file is a sequence of frames: length and CRC-32C of what follows, team, time, body. A damaged
 * end is what a crash leaves of a write that was not acknowledged; reading goes on with the next
 * file.
 *
 * Units      bytes; Unix milliseconds.
 * Limits     max_bytes on disk: then ERR_FULL.
 * Ownership  a receipt is the caller's until done(), called on the loop.
 * Blocking   open and replay read the disk. The rest is done by libuv's thread pool, one job at a
 *            time.
 */
#pragma once

#include <uv.h>

#include "server/receipt_place.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/list.h"

struct receipt {
    struct list link;
    uint64_t team, unix_ms;
    struct buf body;
    struct receipt_place place; /* for done(r, 0) */
    void (*done)(struct receipt *r, int rc);
};

struct receipts_opts {
    const char *directory; /* copied */
    uint64_t max_bytes;
    /* Between two writes, once for each receipts_ask_turn(): nothing is under way. */
    void (*turn)(void *ctx);
    void *ctx;
    struct budget *budget; /* of what is being written; may be NULL */
};

struct receipts_stats {
    uint64_t bytes, written, syncs, failed;
};

struct receipts;

MUST_CHECK int receipts_open(struct receipts **out, uv_loop_t *loop,
                             const struct receipts_opts *opts, struct error *err);

/* Show what is there, of files from number `from` on, in order; before the first receipts_add().
 * The span is borrowed for the call. Behind each file file_over() is called with the number of the
 * next one. What either returns below 0 ends it. */
typedef int receipts_fn(void *ctx, uint64_t team, uint64_t unix_ms, struct span body,
                        struct receipt_place place);
MUST_CHECK int receipts_replay(struct receipts *r, uint64_t from, receipts_fn *fn,
                               int (*file_over)(void *ctx, uint64_t next), void *ctx);

/* ERR_FULL: done() will not be called. */
MUST_CHECK int receipts_add(struct receipts *r, struct receipt *receipt);

/* The body of a report whose file is not forgotten, appended to *out. From any thread. ERR_IO: it
 * cannot be read. */
MUST_CHECK int receipts_read(const struct receipts *r, struct receipt_place place, struct buf *out);

/* Have turn() called, at once where nothing is under way. */
void receipts_ask_turn(struct receipts *r);

/* From turn() only: the number of the new file, below which all is that was done. */
uint64_t receipts_turn(struct receipts *r);

/* Remove files below that number. */
void receipts_forget(struct receipts *r, uint64_t below);

bool receipts_is_idle(const struct receipts *r);
struct receipts_stats receipts_stats(const struct receipts *r);

/* What is under way has ended: receipts_is_idle(). Accepts NULL. */
void receipts_close(struct receipts *r);
