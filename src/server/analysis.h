/*
 * analysis: what both routes of the old contract share: a request, and a summary of what a service
 * has reported.
 *
 * Blocking   the database.
 */
#pragma once

#include "server/api.h"
#include "server/pattern_rows.h"
#include "util/json.h"

struct analysis_summary {
    struct json top; /* being written */
    struct buf top_text, anomalies_text;
    struct json anomalies;
    double received, kept, kept_bytes, bytes, errors, level[LEVEL_COUNT];
    int64_t patterns, families, found, high;
    int64_t first_ms;
};

/* Patterns of a service over so many hours, by the minute or by the hour. */
struct pattern_want analysis_want(const struct call *c, int64_t service, int64_t hours);

/* *m must be zeroed; it is released by analysis_summary_done() after a failure as well. */
MUST_CHECK int analysis_summarize(struct analysis_summary *m, struct call *c, struct store *s,
                                  int64_t service, int64_t hours);
void analysis_summary_done(struct analysis_summary *m);
void analysis_write_counts(struct json *j, const struct analysis_summary *m);

/* The fields that both routes share. 0 and the service's id, else the status. */
int analysis_read_request(struct call *c, struct store *s, int64_t *service, int64_t *hours);
