/*
 * worker: the one thread that speaks to the database, and the line before it.
 *
 * Work is added on the loop, run() on the thread, in order, and finished on the loop by done().
 * Nobody else touches the store from worker_open() to worker_close().
 *
 * Limits     WORKER_LINE_MAX wait at once; then ERR_FULL.
 * Ownership  the caller's memory, until done().
 */
#pragma once

#include <uv.h>

#include "server/store.h"
#include "util/err.h"
#include "util/list.h"

#define WORKER_LINE_MAX 64 /* a second of work, where each takes some milliseconds */

struct work {
    struct list link;
    int rc;                                          /* of run(), for done() */
    int (*run)(struct work *w, struct store *store); /* on the thread */
    void (*done)(struct work *w);                    /* on the loop */
};

struct worker;

MUST_CHECK int worker_open(struct worker **out, uv_loop_t *loop, struct store *store);

/* ERR_FULL. `is_ours`: not a client's, and taken in any case. */
MUST_CHECK int worker_add(struct worker *w, struct work *work, bool is_ours);

/* All that was added is run, then the thread ends; done() is called for each before this returns.
 * The handle closes with the loop. Accepts NULL. */
void worker_close(struct worker *w);
