/*
 * usage: what happened to the records of each service, from the ledger, as one record of our own
 * for each service and interval.
 *
 * Rows in PostHog are survivors, and what was dropped cannot be counted there. These records say it
 * exactly: over all of them the counts add up to the ledger's, but for the time behind the last of
 * a process that was killed. What could not be sent is said by the next. The service "lipservice",
 * which our own records are counted under, has none.
 *
 * Units      records, bytes as a backend meters them, unix nanoseconds.
 * Memory     160 bytes a service, drawn from the budget.
 * Blocking   never.
 */
#pragma once

#include <stdint.h>

#include "otlp/logs.h"
#include "pipeline/ledger.h"
#include "util/err.h"

struct usage;

struct usage_opts {
    uint64_t interval_ms; /* the ends of intervals are those of the clock: full hours, say */
    uint32_t max_services;
    uint64_t seed;
    const struct ledger *ledger;
    struct budget *budget;
    /* Take one record. 0; ERR_*: it was not taken. */
    int (*send)(void *ctx, const struct logs_group *g, struct span record);
    void *ctx;
};

MUST_CHECK int usage_new(struct usage **out, const struct usage_opts *opts);
void usage_free(struct usage *u); /* accepts NULL */

/* Time has passed: when an interval is over, what it held is sent. */
void usage_tick(struct usage *u, uint64_t unix_ns);

/* The end: all that is left to say. */
void usage_finish(struct usage *u, uint64_t unix_ns);
