/*
 * estimate: sums over many rows from a sample of slices, with how far off they may be.
 *
 * The rows lie in order of time and are cut into strata of known size. In each stratum some slices
 * are drawn: a slice begins at a row that is drawn evenly from the stratum and is some rows long,
 * so that each row is as likely to be in one as any other, in a burst and in the night. Where it is
 * known how many rows each service has, the sums are drawn to those numbers (a ratio estimate by
 * service), and the interval is that of what is left over.
 *
 * The sum is N times the mean of the slices' shares, stratum by stratum. The interval is 95 %, by
 * the spread between the slices of each stratum; strata with one slice are taken together with
 * their neighbours.
 *
 * Memory     48 bytes for each kind of row in a slice. Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"

struct estimate;

/* Rows of a slice that are alike: of one service and one pattern (numbers of the caller's). */
struct estimate_entry {
    uint32_t slice, service, kind;
    double rows, weight, bytes; /* weight: true records that the rows stand for */
};

struct estimate_sum {
    double value, low, high;
};

/* `sizes`: rows of each stratum; copied. */
MUST_CHECK int estimate_new(struct estimate **out, const double *sizes, uint32_t strata);
void estimate_free(struct estimate *e);

/* All rows of a service, where that is known. Services are numbered from 0. */
MUST_CHECK int estimate_service(struct estimate *e, uint32_t service, double rows);

/* The next slice, of a stratum; then its rows, one after the other. */
MUST_CHECK int estimate_begin(struct estimate *e, uint32_t stratum);
MUST_CHECK int estimate_row(struct estimate *e, uint32_t service, uint32_t kind, double weight,
                            double bytes);
/* The slices are all rows that there are: sums are exact. */
void estimate_is_complete(struct estimate *e);

/* After the last slice. `kinds`: each is below it. */
MUST_CHECK int estimate_finish(struct estimate *e, uint32_t kinds);

/* Of one kind: rows, weight, bytes, of all rows. */
struct estimate_kind {
    double rows, weight, bytes;
    uint64_t seen; /* rows in the sample */
};
const struct estimate_kind *estimate_kinds(const struct estimate *e);

/* The sum of what `value` gives for the entries. ERR_NOMEM. */
MUST_CHECK int estimate_total(const struct estimate *e, struct estimate_sum *out,
                              double (*value)(void *ctx, const struct estimate_entry *entry),
                              void *ctx);

uint32_t estimate_slices(const struct estimate *e);
