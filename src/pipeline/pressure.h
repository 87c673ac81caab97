/*
 * pressure: how hard a filling queue presses, from how full it is.
 *
 *     fullness  0 ---- WATCH ---- BEGIN ------------- FULL ---- 1
 *     level              0          0        rises       1      1
 *
 * Above WATCH the sampler begins to count patterns, so that it knows the loudest when
 * BEGIN is reached; what is above FULL stays free for errors and for the request at the
 * door. The level rises at once and falls slowly, and below WATCH ends at 0: a queue that
 * hovers around one mark does not flap.
 *
 * Units: fullness and level 0 to 1, milliseconds. Blocking: never. Zero is a valid state.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pressure {
    double level;  /* 0: nothing is shed */
    bool watching; /* patterns are to be counted */
    uint64_t at_ms;
};

void pressure_update(struct pressure *p, double fullness, uint64_t now_ms);

/* The share of a record's own rate that is left when nothing is known of its pattern;
 * severities from 0 (TRACE). */
double pressure_share(const struct pressure *p, unsigned level);

/* How much more of a share a severity gets than the one below it. */
double pressure_weight(unsigned level);

/* The share of all volume that may stay. */
double pressure_volume(const struct pressure *p);
