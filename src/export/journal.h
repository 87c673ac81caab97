/*
 * journal: the loop's side of the spool (durability: disk).
 *
 *     journal_add() -> group -> [append, sync] -> waiters are woken -> clients are answered
 *                                     [read]   -> feeder -> exporter
 *                                   [settle]  <- feeder
 *
 * Kept records are collected into a group. A group is closed when its first record has
 * waited for commit_delay_ms or when it has commit_bytes; while a job is writing, the next
 * one collects, so that the slower the disk the larger the commits. A group becomes one
 * frame of the spool. One job at a time runs in libuv's thread pool (export/journal_job.h).
 *
 * Failure  While the disk fails, journal_admit() refuses before anything is decided,
 *          and a probe is written a few times a second, so that it is found out when it does
 *          again. Records of a group that fails in flight are settled as FATE_LOST_DISK:
 *          its clients are answered to send them again.
 *
 * Units    bytes, records, milliseconds. Blocking: never. Ownership: copies what it is given.
 */
#pragma once

#include <uv.h>

#include "export/disk.h"
#include "export/exporter.h"
#include "export/spool.h"
#include "util/err.h"
#include "util/list.h"

/* JOURNAL_READ_BYTES and a frame are what the reader may hold outside of the budget's sight;
 * they are taken from it once. */
#define JOURNAL_READ_BYTES (512u << 10)

struct journal;

enum journal_fsync { FSYNC_ALWAYS, FSYNC_INTERVAL, FSYNC_NEVER };

struct journal_opts {
    uint64_t max_bytes, max_age_ms; /* of the spool */
    uint64_t segment_bytes;         /* 0: the spool's own choice */
    bool drops_oldest;
    enum journal_fsync fsync;
    uint32_t fsync_interval_ms;
    uint32_t commit_delay_ms;
    size_t commit_bytes;
    size_t max_held_bytes; /* of memory, that may wait to be stored */
    size_t owners_bytes;   /* of memory, to know whose records lie there */
    enum exporter_lane lane;
    struct budget *budget;
    const struct clock *clock;
    struct fate_sink fates;
    uint64_t seed;
    void *ctx;
    uint32_t (*service)(void *ctx, struct span name); /* see feeder.h */
    void (*found)(void *ctx, uint32_t service, struct span record, size_t bytes);
};

/* A request that must not be answered before its records are stored; in the caller's memory. */
struct journal_waiter {
    struct list link;
    uint64_t first, last; /* groups */
    int rc;
    /* 0: all of it is stored. ERR_*: part of it is not; send all of it again. */
    void (*done)(struct journal_waiter *w, int rc);
};

/* Opens the spool in *disk, which it takes over (also on failure). ERR_* as spool_open(). */
MUST_CHECK int journal_open(struct journal **out, uv_loop_t *loop, struct disk *disk,
                            const struct journal_opts *opts, struct error *err);

/* Begin to read. What is read goes to x, which must live until journal_close() is over or
 * journal_leave() was called. ERR_NOMEM. */
MUST_CHECK int journal_start(struct journal *j, struct exporter *x);

/* May `bytes` more of records enter? 0, ERR_FULL, ERR_TOO_BIG, or how the disk fails:
 * ERR_IO, ERR_DISK_FULL. */
MUST_CHECK int journal_admit(const struct journal *j, size_t bytes);

/* 0: nothing waits; 1: the spool is full. */
double journal_fullness(const struct journal *j);

/* Take one record, copying it. Returns by how many bytes its group has grown. A failure is
 * remembered for journal_wait(). */
MUST_CHECK int journal_add(struct journal *j, const struct logs_group *g, struct span record,
                           struct span stamp, uint32_t service);

/* Around the records of one request: which groups did they go to?
 * journal_wait(): 0: to none, answer now. 1: done() will be called, never from inside.
 * Negative: not all of them were taken. */
void journal_begin(struct journal *j);
MUST_CHECK int journal_wait(struct journal *j, struct journal_waiter *w);
/* done() will not be called. */
void journal_forget(struct journal_waiter *w);

/* Close the group that is collected, whatever its size. */
void journal_flush(struct journal *j);

/* Everything is stored, read and delivered. */
bool journal_is_idle(const struct journal *j);

struct journal_stats {
    struct spool_stats spool;
    uint64_t commits, commit_records, commit_bytes; /* groups that were stored */
    uint64_t failed_commits;
    uint64_t syncs, sync_ns, sync_max_ns;
    uint64_t unsynced_records; /* taken, and not certain to survive a power loss */
    uint64_t unstored_records; /* of them those that would not survive a crash of this program */
    uint64_t found_records;    /* of earlier processes, read so far */
    uint64_t unfound_records;  /* of earlier processes, not read so far */
    uint64_t unsound_frames;
    size_t held_bytes;
    bool is_full;
    bool is_closed;
};
void journal_stats(const struct journal *j, struct journal_stats *out);

/* Of two journals together: counts are added, and a fault of either is one of both. Whether it is
 * full is said of the first: what the second has no room for goes there. */
void journal_stats_add(struct journal_stats *sum, const struct journal_stats *one);

/* Store what is collected, tell the waiters, and close the spool; it is over when the stats
 * say is_closed, some turns of the loop later. Accepts NULL, and a second time. */
void journal_close(struct journal *j);
/* The exporter goes: what it has not delivered stays in the spool. Accepts NULL. */
void journal_leave(struct journal *j);
/* After the loop has run out. Accepts NULL. */
void journal_free(struct journal *j);
