/*
 * position: how far the spool has been delivered, in a small file of its own.
 *
 * A hint: it may be older than the truth (frames are sent once more), never newer.
 * Two slots in two blocks: one is what the last position_sync() made durable and
 * is not written to; the other takes every newer position by one pwrite. So a
 * kill -9 finds the newest, a power loss at least the last synced, and no write can
 * hurt both. (A rename for each batch would cost four calls and the directory's
 * journal; in place it is one, and needs no room on a full disk.)
 *
 *     slot (128 bytes, at 0 and at 4096): magic "LIPSPOSN", u32 version, u32 zero,
 *     u64 sequence, u64 settled, u64 stored, 256 bits done, zeros, u32 CRC32C
 */
#pragma once

#include "export/disk.h"
#include "util/err.h"

#define POSITION_NAME "position"
#define POSITION_VERSION 1
#define POSITION_WINDOW 256 /* frames above `settled` that may be settled out of order */

struct position {
    uint64_t settled;                    /* every frame below this id is settled */
    uint64_t stored;                     /* no frame from this id on was stored yet */
    uint64_t done[POSITION_WINDOW / 64]; /* bit i: so is frame settled + i */
};

struct position_file {
    const struct disk *disk;
    int file;          /* < 0: there is none; then every call does nothing */
    unsigned slot;     /* takes the next write */
    uint64_t sequence; /* of the last write */
    bool unsynced;
    bool torn; /* the last write failed: the slot is not to be relied on */
};

bool position_is_done(const struct position *p, uint64_t id);

/* The newest sound position of the file: 0, ERR_EMPTY (no file), ERR_MALFORMED (none
 * is sound), ERR_UNSUPPORTED (a newer version), or -errno. `f` may be NULL; otherwise
 * it is opened for writing and stays open on success. */
MUST_CHECK int position_read(struct position *out, const struct disk *disk,
                             struct position_file *f);

/* A new file. 0 or -errno. */
MUST_CHECK int position_create(struct position_file *f, const struct disk *disk);

MUST_CHECK int position_write(struct position_file *f, const struct position *p);
/* Make the last written position durable. */
MUST_CHECK int position_sync(struct position_file *f);
void position_close(struct position_file *f);
