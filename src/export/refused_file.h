/*
 * refused_file: where records go that the upstream refuses for good, so that they can be looked
 * at them or send them again: OTLP JSON lines at the end of a file of bounded size.
 *
 * A line is one request: one record where it was found alone, all of them where a batch
 * was given up whole. `lipservice replay` reads the file.
 *
 * Blocking: refused_file_put() writes on the caller's thread, a page cache's copy of at most
 * one batch (a few milliseconds for 1 MiB). That is acceptable because it is rare, and
 * bounded by the size of the file.
 */
#pragma once

#include <stdint.h>

#include "util/budget.h"
#include "util/err.h"
#include "util/metric.h"
#include "util/span.h"

struct refused_file;

struct refused_file_opts {
    const char *path;
    uint64_t max_bytes; /* what was in the file at the start counts */
    struct budget *budget;
};

struct refused_file_stats {
    struct metric written, left_out; /* records */
    uint64_t bytes;                  /* of the file */
};

/* ERR_CONFIG with the reason. */
MUST_CHECK int refused_file_open(struct refused_file **out, const struct refused_file_opts *opts,
                                 struct error *err);
/* The path may name another file by now (log rotation): go on there. ERR_CONFIG with the reason:
 * the old one stays. */
MUST_CHECK int refused_file_reopen(struct refused_file *a, const char *path, struct error *err);
/* Accepts NULL. */
void refused_file_close(struct refused_file *a);

/* Append a decoded request of so many records. A failure counts them as left out, and
 * leaves no half a line; the first of each kind is logged. */
MUST_CHECK int refused_file_put(struct refused_file *a, struct span request, uint32_t records);

/* So many records have no bytes to write: there was no memory to decode them. */
void refused_file_leave_out(struct refused_file *a, uint32_t records);

struct refused_file_stats refused_file_stats(const struct refused_file *a);
