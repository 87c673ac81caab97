/*
 * pace: how fast we may send, so that a quota that others use too lasts until its period ends.
 *
 *     rate = (99 % of the limit - what is used) / time left - what others send
 *
 * What others send is the growth of the organization's use over the last day, less what we
 * delivered in the same time. Between readings what is used is reckoned on from both; while PostHog
 * cannot be asked others are taken to grow, so that what cannot be seen is not overrun.
 *
 * Pure: time is an argument, nothing is asked. Units: bytes, seconds of the wall clock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PACE_HISTORY 25      /* hours of readings, and one: a day */
#define PACE_STALE_S 86400.0 /* an older reading is no ground for a budget, if there is another */

struct pace_reading {
    double at_s;
    double used, delivered; /* of the organization in this period; by us since the start */
};

struct pace {
    struct pace_reading history[PACE_HISTORY]; /* an hour apart, oldest first; of this period */
    uint32_t count;
    struct pace_reading last;
    double limit;
    double start_s, end_s; /* of the period */
    double share;          /* of what is left, ours: 1 / as many as we are, alike */
    bool is_known;         /* a reading with use and limit has come */
};

/* `share`: above 0, at most 1. */
void pace_init(struct pace *p, double share);

/* A reading with both use and limit. The period ends in the future. */
void pace_read(struct pace *p, const struct pace_reading *r, double limit, double start_s,
               double end_s);

/* Bytes a second that we may send now, at least 1. Only when is_known. */
double pace_rate(const struct pace *p, double now_s, double delivered);

/* What others send, bytes a second, as far as it was seen. */
double pace_others(const struct pace *p);

bool pace_is_stale(const struct pace *p, double now_s);

/* The month that began on that day of it (UTC), or on its last day where it has not so many. */
void pace_month(double now_s, uint32_t day, double *start_s, double *end_s);
