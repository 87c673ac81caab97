/*
 * report: what was counted, told to a policy server.
 *
 *     POST {server}/api/v1/patterns/stats
 *
 * Every interval, once per service that had records: the fields that older
 * servers require (service_name, team_id, timestamp, patterns[signature, count,
 * sampled_count, first_seen, last_seen], total_logs, unique_patterns) and,
 * besides, template, bytes, severity_distribution, family (where it is not the
 * signature) and the algorithm.
 *
 * Counts are differences since the last report that was accepted. A report that
 * fails is not kept: its counts stay in the pattern table and go with the next
 * one, so what waits is bounded by the table. What is evicted meanwhile is in
 * total_logs and in no pattern.
 *
 * Units: records, bytes, Unix seconds. Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "net/client.h"
#include "pattern/families.h"
#include "pattern/patterns.h"
#include "pipeline/ledger.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/metric.h"

struct report;

struct report_opts {
    const char *server, *api_key; /* copied */
    struct route route;           /* copied */
    uint32_t team_id, interval_ms, timeout_ms;
    const struct clock *clock;
    struct ledger *ledger;
    struct patterns *patterns;
    struct families *families; /* NULL: no merging */
    struct budget *budget;
};

struct report_stats {
    struct metric accepted, failed;
    uint64_t last_success_ms; /* monotonic; 0: never */
};

int report_open(struct report **out, uv_loop_t *loop, struct client *client,
                const struct report_opts *opts);
/* Cancels what is under way. Accepts NULL. */
void report_close(struct report *r);

/* Start a round now (at shutdown). */
void report_now(struct report *r);

/* No round is under way. */
bool report_is_idle(const struct report *r);

const struct report_stats *report_stats(const struct report *r);

/* The body of one service's report, for tests and for report.c. Marks what it
 * tells as pending. Returns the number of patterns, or the buf's failure. */
int report_write(struct buf *out, const struct report_opts *opts, uint32_t service,
                 uint64_t total_logs);
