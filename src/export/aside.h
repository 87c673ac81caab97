/*
 * aside: where records go that the upstream refuses for good, so that somebody can look
 * at them or send them again: OTLP JSON lines at the end of a file of bounded size.
 *
 * A line is one request: one record where it was found alone, all of them where a batch
 * was given up whole. `lipservice replay` reads the file.
 *
 * Blocking: aside_put() writes on the caller's thread, a page cache's copy of at most
 * one batch (a few milliseconds for 1 MiB). That is acceptable because it is rare, and
 * bounded by the size of the file.
 */
#pragma once

#include <stdint.h>

#include "util/budget.h"
#include "util/err.h"
#include "util/metric.h"
#include "util/span.h"

struct aside;

struct aside_opts {
    const char *path;
    uint64_t max_bytes; /* what was in the file at the start counts */
    struct budget *budget;
};

struct aside_stats {
    struct metric written, left_out; /* records */
    uint64_t bytes;                  /* of the file */
};

/* ERR_CONFIG with the reason. */
int aside_open(struct aside **out, const struct aside_opts *opts, struct error *err);
/* The path may name another file by now (log rotation): go on there. ERR_CONFIG with the reason:
 * the old one stays. */
int aside_reopen(struct aside *a, const char *path, struct error *err);
/* Accepts NULL. */
void aside_close(struct aside *a);

/* Append a decoded request of so many records. A failure counts them as left out, and
 * leaves no half a line; the first of each kind is told in the log. */
int aside_put(struct aside *a, struct span request, uint32_t records);

/* So many records have no bytes to write: there was no memory to decode them. */
void aside_leave_out(struct aside *a, uint32_t records);

struct aside_stats aside_stats(const struct aside *a);
