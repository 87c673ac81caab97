/*
 * demo_traffic: log records as a handful of services would write them, as OTLP requests.
 *
 * The same seed and the same sizes of requests give the same records; only their times differ.
 * What happens when (a surge, a new pattern, a story of an error) goes by records made at
 * `per_second`, not by the clock.
 */
#pragma once

#include <stdint.h>

#include "util/buf.h"
#include "util/rng.h"

#define DEMO_SERVICES 6 /* the last one has no name */

struct demo_traffic {
    struct rng rng;
    uint32_t per_second;
    uint64_t made, stories;
    struct buf records[DEMO_SERVICES]; /* of the request that is being made */
    struct buf text;                   /* scratch */
};

void demo_traffic_init(struct demo_traffic *t, uint64_t seed, uint32_t per_second);
void demo_traffic_done(struct demo_traffic *t);

/* Write a request with at least `records` records, the last of them at now_ns, into *out. A story
 * that begins ends in the same request. How many there are; ERR_NOMEM. */
int demo_traffic_make(struct demo_traffic *t, struct buf *out, uint32_t records, uint64_t now_ns);
