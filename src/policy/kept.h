/*
 * kept: the last good policy of each service, on disk, for a start without the policy server.
 *
 * All are read when it is opened; each is lent once, when its service is seen. A policy that is
 * fetched is written to a file of its own, which takes the place of the one before as a whole. A
 * file that cannot be read as one of ours is left alone.
 *
 * Limits     KEPT_FILES files, of KEPT_BYTES in all, drawn from the budget until they are lent.
 * Blocking   kept_open() reads the directory. Writes are done by libuv's thread pool, one at a
 *            time; of a service that changes meanwhile the latest is written.
 */
#pragma once

#include <uv.h>

#include "util/budget.h"
#include "util/err.h"
#include "util/metric.h"
#include "util/span.h"

#define KEPT_FILES 4096
#define KEPT_BYTES (16u << 20)

struct kept;

struct kept_stats {
    struct metric written, failed;
};

/* The directory is there. ERR_UNAVAILABLE, ERR_NOMEM. */
MUST_CHECK int kept_open(struct kept **out, uv_loop_t *loop, const char *directory,
                         struct budget *budget, struct error *err);

/* When the loop has run out, and with it what was being written. Accepts NULL. */
void kept_free(struct kept *k);

/* The document of a service, borrowed until kept_forget() of it; empty: none. */
struct span kept_find(const struct kept *k, struct span service);
void kept_forget(struct kept *k, struct span service);

/* Both are copied. Without memory it is counted as failed. */
void kept_write(struct kept *k, struct span service, struct span document);

const struct kept_stats *kept_stats(const struct kept *k);
