/*
 * analysis: what the rows of a project cost, and what they would cost under a policy that is
 * proposed for them.
 *
 * Rows go through the program's own pipeline, which signs them and says what protects them: the
 * floor, keep rules, and what PostHog counts. Their sums are estimated (policy/estimate.h), and for
 * each pattern a rate is proposed (policy/proposal.h).
 *
 * Memory: the pipeline's tables, and 48 bytes for each row. Blocking: never.
 */
#pragma once

#include "pipeline/pipeline.h"
#include "policy/estimate.h"
#include "policy/proposal.h"
#include "posthog/row.h"
#include "posthog/slices.h"

struct analysis;

struct analysis_opts {
    struct pipeline_opts pipeline; /* the program's; sink, clock and observe are set here */
    const struct rules *rules;     /* keep and drop rules and the first of a window are taken */
    const struct guard *guard;     /* may be NULL */
};

MUST_CHECK int analysis_new(struct analysis **out, const struct analysis_opts *opts);
void analysis_free(struct analysis *a); /* accepts NULL */

/* Before the first rows: the strata, and how many rows each service has. */
MUST_CHECK int analysis_begin(struct analysis *a, const double *sizes, uint32_t strata);
MUST_CHECK int analysis_service(struct analysis *a, struct span name, double rows);
/* The rows are all that there are. */
void analysis_is_complete(struct analysis *a);

/* The rows of a slice: an array of the API. Returns how many. */
MUST_CHECK int analysis_slice(struct analysis *a, uint32_t stratum, struct json_node rows);

#define ANALYSIS_SHOWN 100 /* patterns with their text: the costliest */

struct analysis_pattern {
    uint64_t id; /* a signature, or the family that it has become */
    struct span service, template_text;
    enum level level;
    double rows, records, bytes; /* rows as stored; records: true ones; of the whole time */
    struct proposal proposal;
    double rate_now;
};

struct analysis_result {
    struct estimate_sum bytes, records, saved; /* of the whole time */
    double rows;
    uint64_t seen;                     /* rows that were read */
    struct analysis_pattern *patterns; /* costliest first */
    uint32_t pattern_count;
    double weighted_share; /* of the rows: those that stand for more than one */
};

/* Of the time that `when` counts rows by. Borrowed until analysis_free(). */
MUST_CHECK int analysis_finish(struct analysis *a, const struct slices *when,
                               struct analysis_result *out);

/* One row of each pattern, as OTLP requests one after the other: calls fn with each, which is no
 * longer than max_bytes unless it is of one row, until it returns non-zero, which is returned. */
MUST_CHECK int analysis_examples(const struct analysis *a, size_t max_bytes,
                                 int (*fn)(void *ctx, struct span request, uint32_t rows),
                                 void *ctx);
