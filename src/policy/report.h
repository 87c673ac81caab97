/*
 * report: what was counted, sent to a policy server.
 *
 *     POST {server}/api/v1/patterns/stats
 *
 * Every interval, once per service that had records: the fields that older
 * servers require (service_name, team_id, timestamp, patterns[signature, count,
 * sampled_count, first_seen, last_seen], total_logs, unique_patterns) and,
 * besides, template, bytes, sampled_bytes, severity_distribution, family (where it is not the
 * signature), the algorithm, `versions` (those of the service that were seen last, each with the
 * time of its first record here), `lost` (records by the reason of their loss, where there are
 * some) and `quota_limited` (true where PostHog takes no more logs). Older servers ignore what they
 * do not know. With instance and boot each report of a service has a number, by which a server
 * counts it once.
 *
 * A round is of one census, which is held until its last answer. Counts are
 * differences since the last report that was accepted (policy/report_marks.h). The counts of a
 * report that was refused stay in the pattern table and go with the next one, so what waits is
 * bounded by the table; one whose answer did not come is sent again as it was
 * (policy/unsettled.h). What is evicted meanwhile is in total_logs and in no pattern.
 *
 * Units      records, bytes, Unix seconds.
 * Memory     a census of the patterns that have changed, for as long as a round takes.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "net/client.h"
#include "pipeline/census.h"
#include "policy/report_marks.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/metric.h"

struct report;

struct report_opts {
    const char *server, *api_key; /* copied */
    struct route route;           /* copied */
    uint32_t team_id, interval_ms, timeout_ms;
    const struct clock *clock;
    const char *instance,
        *boot;                  /* who reports, and since which start; borrowed. NULL: no numbers */
    struct report_marks *marks; /* outlive the report */
    /* Where the counts are; as census_take(). */
    int (*take)(void *ctx, const struct census_want *want, struct census *out);
    /* Has PostHog's quota been reached, as far as is known? NULL: not known. */
    bool (*is_quota_limited)(void *ctx);
    void *ctx;
    struct budget *budget;
};

struct report_stats {
    struct metric accepted, failed, repeated; /* repeated: of those sent, once more */
    uint64_t last_success_ms;                 /* monotonic; 0: never */
};

MUST_CHECK int report_open(struct report **out, uv_loop_t *loop, struct client *client,
                           const struct report_opts *opts);
/* Cancels what is under way. Accepts NULL. */
void report_close(struct report *r);

/* Start a round now (at shutdown). */
void report_now(struct report *r);

/* No round is under way. */
bool report_is_idle(const struct report *r);

const struct report_stats *report_stats(const struct report *r);

/* The census of a round: all services, and the patterns with something to report, those of one
 * service side by side. */
MUST_CHECK int report_take(struct census *out, const struct report_opts *opts);

/* The body of one service's report, for tests and for report.c. Returns the number of patterns,
 * or the buf's failure. */
MUST_CHECK int report_write(struct buf *out, const struct report_opts *opts, const struct census *c,
                            uint32_t service);
