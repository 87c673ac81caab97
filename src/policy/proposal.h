/*
 * proposal: from what a pattern costs to the rate that it should have.
 *
 * A pattern is left with about as many records as it takes to count it well, and with no less than
 * a quarter of what it has now: a step is one that a person can follow and take back. What is
 * protected stays, and is said to.
 *
 * Pure: from counts of `lipservice posthog analyze`, of a running program, or of a fleet.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/rules.h"

#define PROPOSAL_STEP 4.0 /* at most that much less, or more, at once */
#define PROPOSAL_PER_HOUR \
    100.0                   /* records that are left: an hour is counted to 10 %, a day to 2 % */
#define PROPOSAL_LEAST 10.0 /* of an hour: fewer tell little, and a rate is raised for them */
#define PROPOSAL_WARN_TIMES 4.0 /* so much more of warnings */
#define PROPOSAL_RATE_MIN 0.001 /* a survivor that stands for more says little of any time */
#define PROPOSAL_GAIN_MIN 0.1   /* of the rate: less is not worth a change */
#define PROPOSAL_SEEN_MIN 30    /* rows: what is known from fewer is known too badly */
#define PROPOSAL_WHY_BYTES 160

struct proposal_pattern {
    uint64_t pattern; /* a signature or a family */
    enum level level;
    uint64_t seen;            /* rows that it is known from: of a sample, those in it */
    double records_per_hour;  /* true ones: before any sampling */
    double bytes;             /* stored now, in any time */
    double rate_now;          /* 0 to 1 */
    const char *protected_by; /* "errors are always kept"; NULL: nothing protects it */
};

struct proposal {
    double rate;
    double bytes;                 /* stored then, in the same time */
    char why[PROPOSAL_WHY_BYTES]; /* one sentence without a full stop */
};

void proposal_of(struct proposal *out, const struct proposal_pattern *p);

/* What part of its records a rate leaves, the first `first` of each window besides: records come
 * by chance, `per_window` of them as a mean. */
double proposal_share(double rate, uint32_t first, double per_window);
