/*
 * state_file: one file that is there whole or not at all: a head with its version, length and
 * CRC32C, and what is kept.
 *
 * Written beside and renamed. One that is of another version, torn or damaged is put aside
 * (STATE_ASIDE), so that it can be looked at, and the next start does not meet it. The directory is
 * locked: two processes that write one file would each undo what the other knows.
 *
 * Errors     ERR_EMPTY: there is none; ERR_MALFORMED: it was put aside; ERR_TOO_BIG; -errno.
 * Blocking   every call may touch the disk.
 */
#pragma once

#include "export/disk.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

#define STATE_NAME "lipservice.state"
#define STATE_NEW "lipservice.state.new"
#define STATE_ASIDE "lipservice.state.aside"
#define STATE_LOCK "lipservice.lock"
#define STATE_VERSION 4u
#define STATE_BYTES \
    (32u << 20) /* 16,384 patterns, 65,536 words of families and a day take 8 MiB \
                 */

/* *out: the body; it must be empty. `why` is written where the file was put aside. */
MUST_CHECK int state_file_read(const struct disk *d, struct buf *out, const char **why);

/* Called on the thread pool. On failure the file of before stays, and nothing is left beside it. */
MUST_CHECK int state_file_write(const struct disk *d, struct span body);
