/*
 * state: what outlives the process, in state.directory: patterns and families, the history of a day
 * and the month, the versions of the policy, and what PostHog counts. So after a restart what is
 * known is not new.
 *
 *     state_start() -> pipeline, history, versioning -> state_restore() -> ... -> state_stop()
 *
 * Written each state.interval on the thread pool, and once more at the end. Whatever is wrong with
 * the file or the disk, the program starts and goes on without; a line of log says so.
 *
 * Blocking   start and stop touch the disk. In between the loop writes a copy into memory (about
 *            2 ms with full tables) and the pool stores it.
 */
#pragma once

#include <stdint.h>

#include "util/buf.h"
#include "util/err.h"
#include "util/metric.h"

struct sidecar;

/* Lock the directory and read the file. ERR_UNAVAILABLE: the directory cannot be used, or another
 * process does. */
MUST_CHECK int state_start(struct sidecar *sc, struct error *err);

/* The seed of what was hashed before; `fresh` where nothing is known. */
uint64_t state_seed(const struct sidecar *sc, uint64_t fresh);

MUST_CHECK int state_restore(struct sidecar *sc, struct error *err);

/* What was guarded before: moved into *out, which owns nothing. */
void state_take_guard(struct sidecar *sc, struct buf *out);

struct state_stats {
    struct metric written, failed;
    uint64_t written_ms; /* monotonic; 0: never */
};
struct state_stats state_stats(const struct sidecar *sc); /* zeros without one */

void state_stop(struct sidecar *sc);
void state_release(struct sidecar *sc);
