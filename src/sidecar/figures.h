/*
 * figures: everything that /metrics says, copied at one moment.
 *
 * Counters and gauges as their owners have them, and beside them what is computed for the page
 * alone. The table of metrics (metrics.c) names a field of this for each.
 *
 * Blocking: reads /proc/self/statm. No allocation.
 */
#pragma once

#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"

/* clang-format off */
/* What is not there is left out of the page, and not shown as 0. */
#define FIGURE_PARTS(X) \
    /* name        where it is there, for the reference */ \
    X(ALWAYS,      "") \
    X(BUDGET,      "with `sampling.budget`") \
    X(SHADOW,      "observing, or with `shadow.policy_file`") \
    X(ANOMALY,     "with `events.enabled` or an `anomaly_boost`") \
    X(EVENTS,      "with `events.enabled` or `sampling.floor.max_per_second`") \
    X(REDACTION,   "unless `redaction.mode` is off") \
    X(SPOOL,       "with `durability: disk`") \
    X(POLICY_FILE, "with `sampling.policy_file`") \
    X(KEYS,        "with `receivers.otlp.auth`") \
    X(ADMIN_KEY,   "with `telemetry.admin.api_key`") \
    X(TLS,         "with `tls.cert_file` of a port") \
    X(STATE,       "with `state.directory`") \
    X(HISTORY,     "unless `history.memory` is 0") \
    X(SERVER,      "with `policy.server`") \
    X(PROVIDER,    "with `policy.sync.server`") \
    X(POSTHOG,     "with `posthog.personal_api_key`") \
    X(LEADER,      "with `posthog.role: leader`") \
    X(PROXY,       "with `passthrough.posthog: relay`")
/* clang-format on */

#define X(name, text) FIGURES_##name,
enum figure_part { FIGURE_PARTS(X) FIGURE_PART_COUNT };
#undef X

struct figures {
    bool has[FIGURE_PART_COUNT];
    struct census census;
    struct exporter_stats exporter;
    struct journal_stats journal;
    struct receiver_stats receiver;
    struct proxy_stats proxy;
    struct live_stats live;
    struct state_stats state;
    uint32_t readers; /* of /api/events */
    struct policy_file_stats policy_file;
    struct remote_stats remote;
    struct provider_stats provider;
    struct report_stats report;
    struct posthog_figures posthog;
    double posthog_age_s, verified_age_s; /* -1: never */
    struct money_month month;             /* at the rate since the start */
    bool is_price_assumed;
    struct budget memory;
    struct metric http_requests[3], http_faults[HTTP_FAULT_COUNT];
    struct metric reloads_accepted, reloads_refused, keys_installed, keys_refused, admin_refused;
    struct metric tls_installed, tls_refused, tls_handshakes;
    bool has_reload_failed, is_observing;
    const char *budget_unit;

    uint64_t accepted_records, queued_records, unsynced_records, services;
    uint64_t connections, queue_capacity, spool_capacity;
    bool circuit[CIRCUIT_STATE_COUNT]; /* the one that holds */
    bool is_spool_broken, is_spool_unreadable;
    double state_age_s; /* -1: never */
    uint64_t history_bytes, history_left_out, versions, active_version;
    double spool_oldest_s, policy_file_age_s, policy_age_s, report_age_s,
        sync_age_s; /* -1: never */
    double tls_expires_s;
    double cpu_s, resident_bytes, uptime_s;
    double one;
};

/* There must be a receiver and an exporter. */
void figures_take(struct figures *f, const struct sidecar *sc);
