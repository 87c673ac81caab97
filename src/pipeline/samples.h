/*
 * samples: a few lines of each pattern that were kept, and a few that were dropped, for people.
 *
 * One is taken when the number of kept (or dropped) records of a pattern becomes a power of two:
 * often while a pattern is new, rarely when it is loud, so that a record costs one test of a number
 * that is at hand. The last few stay. When there is no room, patterns give up their oldest one in
 * turn.
 *
 * Units      unix nanoseconds, bytes.
 * Memory     at most SAMPLE_BYTES and 32 bytes each, and 16 bytes a pattern, drawn from the budget.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/err.h"
#include "util/span.h"

#define SAMPLES_EACH 5    /* of each kind and pattern: a person reads no more */
#define SAMPLE_BYTES 1024 /* of a body; what is behind is cut off */

struct samples;

MUST_CHECK int samples_new(struct samples **out, uint32_t max_patterns, struct budget *budget);
void samples_free(struct samples *s); /* accepts NULL */

/* Is the record that made the count `n` one to take? */
static inline bool samples_is_due(uint64_t n)
{
    return (n & (n - 1)) == 0;
}

/* The body of a record of entry `number`, as people may see it; copied. */
void samples_take(struct samples *s, uint32_t number, bool is_kept, uint64_t unix_ns,
                  struct span body);

/* Entry `number` begins anew. */
void samples_forget(struct samples *s, uint32_t number);

struct sample_text {
    uint64_t unix_ns;
    struct span body; /* borrowed until the next samples_take() or samples_forget() */
};

/* Newest first; how many. */
unsigned samples_of(const struct samples *s, uint32_t number, bool is_kept,
                    struct sample_text out[SAMPLES_EACH]);
