/*
 * day_counts: how much of each pattern's counts belongs to the present day (UTC).
 *
 * At midnight the counts of all patterns are marked, beside the table and not in
 * it, so that a record costs nothing for it. Today's counts are those since the mark;
 * a pattern that stands where another one was marked has all its counts today. Before the
 * first midnight of the process there is no mark.
 *
 * Units      Unix nanoseconds; milliseconds for the wait.
 * Blocking   never. A mark takes about a hundred microseconds for 16,384 patterns.
 */
#pragma once

#include "pattern/patterns.h"
#include "util/clock.h"

struct day_counts_mark {
    struct pattern_counts counts;
    uint64_t first_seen_ns; /* of the pattern: the wall clock may be set, so this distinguishes it
                               from the next */
};

struct day_counts {
    struct patterns *patterns;
    const struct clock *clock;
    struct budget *budget;         /* may be NULL */
    struct day_counts_mark *marks; /* by slot */
    uint32_t mark_count;
    uint64_t since_ns; /* when the marks were taken; at first when it began */
    uint64_t day;      /* since 1970, that `since_ns` is in */
};

void day_counts_init(struct day_counts *t, struct patterns *patterns, const struct clock *clock,
                     struct budget *budget);
void day_counts_done(struct day_counts *t);

/* Mark if a new day has begun; when there is no memory for that, the marks of before
 * stay. Returns how many milliseconds later to call again. */
uint64_t day_counts_tick(struct day_counts *t);

/* Today's counts of the pattern in a slot, and since when they are counted. */
uint64_t day_counts_get(const struct day_counts *t, uint32_t slot, struct pattern_counts *out);
