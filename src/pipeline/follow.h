/*
 * follow: the rest of a stack trace stays with its error.
 *
 * An agent that reads a log line by line sends the frames of a trace as records of their own,
 * behind the error and without its severity. While an error is fresh, lines of its service
 * instance (the same Resource, as the recorder has it) that go on with a trace
 * (pattern/trace_line.h) are given out as its context, each with an adjusted count of 0, though
 * they were sampled out.
 *
 * Bounds     so many lines for one error; in all so many a second on average, and the trace that
 *            is under way to its end; FOLLOW_SLOTS errors at once.
 * Cost       one comparison for a record that is sampled out while nothing is followed.
 * Blocking   never; no allocation.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/token_bucket.h"

#define FOLLOW_SLOTS 64        /* a sidecar sees a few instances, a gateway some hundreds */
#define FOLLOW_LINES_MAX 1024u /* the JVM's own limit for a trace */

struct follow {
    struct {
        uint64_t instance, until_ms;
        uint32_t lines; /* left */
    } slots[FOLLOW_SLOTS];
    uint64_t until_ms; /* of the last of them */
    uint64_t window_ms;
    uint32_t lines; /* of one error; 0: nothing is followed */
    struct token_bucket bucket;
    uint64_t limited; /* errors that were not followed, or not to the end */
};

void follow_init(struct follow *f, uint32_t lines, uint64_t window_ms, uint32_t per_second);

/* An error of this instance was kept: what follows is its. */
void follow_begin(struct follow *f, uint64_t instance, uint64_t now_ms);

static inline bool follow_is_idle(const struct follow *f, uint64_t now_ms)
{
    return now_ms > f->until_ms || f->until_ms == 0;
}

/* May a line that goes on with a trace be given out? */
bool follow_may(struct follow *f, uint64_t instance, uint64_t now_ms);

/* It was. */
void follow_took(struct follow *f, uint64_t instance);
