/*
 * slices: where in a time to look for rows, so that each row is as likely to be seen as any other.
 *
 * Rows are counted by buckets of time first. The row at which a slice begins is drawn evenly from
 * the rows of its stratum, and its time is found in the bucket that holds it, as if a bucket's rows
 * lay evenly in it.
 *
 * Pure. Units: rows, unix nanoseconds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/json_doc.h"
#include "util/err.h"
#include "util/rng.h"

#define SLICE_ROWS 1000
#define SLICES_STRATA 100
#define SLICES_PER_STRATUM 2

struct slices_bucket {
    uint64_t from_ns, to_ns;
    double rows;
};

struct slices {
    uint64_t from_ns, to_ns;
    struct slices_bucket *buckets; /* in order of time */
    uint32_t bucket_count;
    double rows;
    double sizes[SLICES_STRATA];
};

/* From the answer of logs/count-ranges/. ERR_MALFORMED: it is none. */
MUST_CHECK int slices_read(struct slices *s, struct json_node answer, uint64_t from_ns,
                           uint64_t to_ns);
void slices_done(struct slices *s);

/* Where a slice of the stratum is. Its end is late enough for SLICE_ROWS rows, as a rule. */
struct slice {
    uint32_t stratum;
    uint64_t from_ns, to_ns;
};
struct slice slices_draw(const struct slices *s, uint32_t stratum, struct rng *rng);
