/*
 * disk: what the spool asks of the operating system, as a table of functions,
 * so that tests can lose power, fill up and break at any point.
 *
 * A struct disk is one directory; names are plain names in it. Symbolic links
 * are never followed and only regular files are opened.
 *
 * Errors     0 or a count, or -errno (which is libuv's code too). Nothing is
 *            retried here but EINTR.
 * Blocking   every call may.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

enum disk_mode {
    DISK_READ,   /* an existing file */
    DISK_WRITE,  /* the same, to be changed */
    DISK_CREATE, /* a new file; -EEXIST when there is one */
};

/* Called for each name of the directory; non-zero ends the list and is returned. */
typedef int disk_name_fn(void *ctx, const char *name);

struct disk_ops {
    int (*open)(void *self, const char *name, enum disk_mode mode); /* a handle */
    void (*close)(void *self, int file);
    int64_t (*size)(void *self, int file);
    int64_t (*pread)(void *self, int file, void *to, size_t n, uint64_t at);
    int64_t (*pwritev)(void *self, int file, const struct span *spans, size_t n, uint64_t at);
    /* Reserve room, so that writes below `bytes` do not run out of it; the new part
     * reads as zeros. -EOPNOTSUPP where the file system cannot. */
    int (*allocate)(void *self, int file, uint64_t bytes);
    int (*truncate)(void *self, int file, uint64_t bytes);
    int (*fdatasync)(void *self, int file);
    int (*rename)(void *self, const char *from, const char *to);
    int (*unlink)(void *self, const char *name);
    int (*sync_dir)(void *self); /* creations, renames and removals are durable */
    int (*list)(void *self, disk_name_fn *fn, void *ctx);
    int (*lock)(void *self, const char *name); /* until close_dir; -EAGAIN: another has it */
    /* Would another process find what is written? 0: the directory is the one at its path, and
     * `file` (< 0: none) has a name. -ENOENT: one of them was removed or replaced. */
    int (*attached)(void *self, int file);
    /* Take the directory that its path names now (made where it is missing) and its lock
     * instead of the one in hand. Open files stay open. A failure changes nothing. */
    int (*renew)(void *self, const char *lock_name);
    int64_t (*free_bytes)(void *self); /* that a file may take; -errno where it is not known */
    void (*close_dir)(void *self);
};

struct disk {
    const struct disk_ops *ops;
    void *self;
};

/* Make a directory that is missing, durably: 0, or a negative errno. */
MUST_CHECK int disk_make_directory(const char *dir);

/* The real one. `create`: make the directory (mode 0700) where it is missing. */
MUST_CHECK int disk_open(struct disk *out, const char *dir, bool create);
void disk_close(struct disk *d);

/* Read up to n bytes; fewer only at the end of the file. */
int64_t disk_read(const struct disk *d, int file, void *to, size_t n, uint64_t at);

/* Write all of the spans, or fail. */
MUST_CHECK int disk_write(const struct disk *d, int file, const struct span *spans, size_t n,
                          uint64_t at);

/* -errno as ERR_DISK_FULL or ERR_IO; 0 stays. */
MUST_CHECK int disk_err(int rc);
