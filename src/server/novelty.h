/*
 * novelty: what is known of a new pattern besides its age: that only one instance has it, and that
 * it came with a version.
 *
 *     new on one instance   at least NOVELTY_OTHERS others have reported the service since before
 *                           the pattern was there, and still do, and none has it. It came in so
 *                           many minutes that this is chance once in NOVELTY_ODDS: each minute has
 *                           the pattern on one of them, any. Of three instances 10 minutes, of ten
 *                           5.
 *     new since a version   first seen within the hour after the newest version of the service,
 *                           which is not the first that is known. Where new patterns come by
 *                           themselves as well (as often as in the day before), no more than
 *                           NOVELTY_FALSE of those that came since may be such.
 *
 * What a pattern is by this does not change back while it is new: its own time and the day before
 * stay, and the patterns that came since only get more.
 *
 * Units      Unix milliseconds, minutes.
 * Memory     16 bytes an instance, NOVELTY_INSTANCES at most.
 * Blocking   novelty_write(), novelty_read(): the database.
 */
#pragma once

#include <stdbool.h>

#include "server/rollup.h"
#include "server/store.h"

#define NOVELTY_OTHERS 2
#define NOVELTY_ODDS 10000.0
#define NOVELTY_MINUTES 5
#define NOVELTY_FALSE 0.05
#define NOVELTY_INSTANCES 1000
#define NOVELTY_VERSIONS 32 /* of a service, in the database: the newest */

/* A version that a report names. */
MUST_CHECK int novelty_write(struct store *s, int64_t service, const struct rollup_version *v);

/* Of one service. */
struct novelty {
    struct {
        uint64_t hash; /* of its name */
        int64_t first_ms;
    } instances[NOVELTY_INSTANCES]; /* that report */
    uint32_t instance_count;
    char version[ROLLUP_VERSION_BYTES + 1]; /* the newest; "": none, or no other one before it */
    int64_t version_ms;
    double before_per_hour; /* new patterns, in the day before it */
    double since;           /* in the hour after it */
};

MUST_CHECK int novelty_read(struct novelty *out, struct store *s, int64_t service,
                            int64_t service_ms, int64_t now_ms);

/* Has only this instance a pattern that came in so many minutes since first_ms? *others: that
 * report, and have it not. */
bool novelty_is_on_one(const struct novelty *n, struct span instance, int64_t first_ms,
                       uint32_t minutes, uint32_t *others);

/* Did a pattern that was first seen then come with the version? */
bool novelty_is_of_version(const struct novelty *n, int64_t first_ms);
