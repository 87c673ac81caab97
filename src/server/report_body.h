/*
 * report_body: a report of pattern counts, read from its JSON, in any of the shapes that are sent.
 *
 *     sidecars         all fields: counts, kept, bytes of both, template, family, severities;
 * instance, boot and sequence older servers    signature, count, sampled_count, first_seen and
 * last_seen (Unix seconds) SDKs             signature, message_sample, count,
 * severity_distribution, first_seen and last_seen (ISO 8601)
 *
 * `lost` says how many records of the service were lost since the last report, by reason;
 * `quota_limited`, that PostHog takes no more logs; `versions`, which versions of the service there
 * were, each with the time of its first record. Each may be missing.
 *
 * Records that the total counts and no pattern does become a line without a signature. Times are
 * moved into the past REPORT_AHEAD_MS at most ahead of ours.
 *
 * Ownership  spans are of the document's.
 */
#pragma once

#include "otlp/json_doc.h"
#include "server/rollup.h"

#define REPORT_AHEAD_MS (5 * 60 * 1000)
#define REPORT_NAME_BYTES 255  /* of a service */
#define REPORT_VERSIONS_MAX 16 /* of one report: a sidecar knows 4 */
#define REPORT_REASONS_MAX 32  /* of losses, of one report: a sidecar knows 12 */

struct report_body {
    struct span service;
    struct span instance, boot; /* empty: its reports are not numbered */
    uint64_t sequence, team;    /* 0: not given */
    struct json_node patterns;
    uint32_t pattern_count;
    size_t text_bytes; /* of all lines */
    uint64_t rest;     /* records of no pattern */
    struct json_node versions;
    uint32_t version_count;
    struct json_node lost;
    uint32_t reason_count;
    bool is_quota_limited;
};

/* Check all of it. ERR_MALFORMED with a sentence: it cannot be a report (422). */
MUST_CHECK int report_body_read(struct report_body *out, struct json_node root, struct error *err);

/* After that: the line of one of its patterns. */
void report_body_line(struct rollup_line *out, struct json_node pattern, int64_t now_ms);

/* Of one of its versions. */
void report_body_version(struct span *text, int64_t *first_ms, struct json_node version,
                         int64_t now_ms);

/* "2026-11-30T21:00:00.5Z", with an offset or without. False: it is none. */
bool report_parse_time(struct span text, int64_t *unix_ms);
