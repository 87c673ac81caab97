/*
 * minutes: how many records have gone on, by service and by the minute that they say they are of.
 *
 * What a backend stores can be counted by service and minute, and held against this. A day is
 * kept. Records of other times, and those for which there was no memory, are counted apart, and
 * their service cannot be held against anything then.
 *
 * Units      minutes since 1970 of the records, seconds of the process.
 * Memory     192 bytes a service, 488 for each of its hours with records, drawn from the budget.
 * Blocking   never.
 */
#pragma once

#include <stdint.h>

#include "util/budget.h"
#include "util/err.h"
#include "util/span.h"

#define MINUTES_HOURS 24

struct minutes;

MUST_CHECK int minutes_new(struct minutes **out, uint32_t max_services, struct budget *budget);
void minutes_free(struct minutes *m); /* accepts NULL */

/* What time it is; call it about each second. */
void minutes_set_now(struct minutes *m, uint64_t unix_ns);

/* A record has gone on; `stamp` stands behind it, and its time before that of the record. */
void minutes_count(struct minutes *m, uint32_t service, struct span record, struct span stamp);

struct minutes_cell {
    uint32_t records;
    uint32_t last_s; /* when the last of them was counted, since 1970 */
};

/* Of a minute; zeros: none were counted. */
struct minutes_cell minutes_at(const struct minutes *m, uint32_t service, uint64_t minute);

/* Records of the service that are in no minute here. */
uint64_t minutes_untold(const struct minutes *m, uint32_t service);
