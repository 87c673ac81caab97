/*
 * watch: a small file that is read again when it changes.
 *
 * Its directory is watched, so that replacing it by rename, and Kubernetes' swap of the directory
 * behind a symbolic link, are changes like others; every few seconds it is looked at in any case
 * (network file systems). Its content decides whether it changed, not its time.
 *
 * Units      milliseconds.
 * Blocking   watch_read() and watch_open() read the file; after that it is read on libuv's
 *            thread pool.
 * Ownership  the text is lent to changed(), and wiped after it: it may hold keys.
 */
#pragma once

#include <uv.h>

#include "util/buf.h"
#include "util/err.h"

#define WATCH_POLL_MS 5000

struct watch;

struct watch_opts {
    const char *path; /* copied */
    size_t max_bytes;
    uint32_t poll_ms; /* 0: WATCH_POLL_MS */
    void *ctx;
    /* On the loop, before it is read. May be NULL. */
    void (*begin)(void *ctx);
    /* On the pool, when it has changed and could be read: for what takes time. May be NULL. */
    void (*prepare)(void *ctx, struct span text);
    /* On the loop. rc < 0: it cannot be read, and *err says why. */
    void (*changed)(void *ctx, int rc, struct span text, const struct error *err);
    /* After watch_close(), when no more of these will be called. May be NULL. */
    void (*closed)(void *ctx);
};

/* Read a whole file; *mode (may be NULL) its permissions. ERR_CONFIG with a sentence. */
MUST_CHECK int watch_read(const char *path, size_t max_bytes, struct buf *out, unsigned *mode,
                          struct error *err);

/* `text`: what the caller has read of it already; a change from that is the first one. */
MUST_CHECK int watch_open(struct watch **out, uv_loop_t *loop, const struct watch_opts *opts,
                          struct span text);

/* Look now; changed() is called whether it changed or not. */
void watch_again(struct watch *w);

/* Handles, and a read under way, end with the loop. Accepts NULL. */
void watch_close(struct watch *w);
