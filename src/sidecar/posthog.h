/*
 * posthog: what the sidecar asks PostHog's app, from time to time, where a personal API key is
 * configured. Without one there is nothing here, and nobody is warned.
 *
 * Never on the path of records: answers only change settings of it, at most once in an interval.
 *
 * Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "posthog/check.h"
#include "pipeline/governor.h"
#include "policy/money.h"
#include "posthog/verify.h"

struct posthog_part;

/* What of it others show. */
struct posthog_figures {
    uint64_t requests[APP_FAULT_COUNT];
    bool found[FINDING_COUNT];
    double quota_used_bytes, quota_limit_bytes; /* -1: unknown, or none */
    double others_per_s;                        /* bytes that others send */
    bool is_limited;
    uint64_t checked_ms; /* monotonic; 0: never */
    /* Of the last look at what is stored, which the leader alone takes. */
    uint64_t verified_ms, by_cause[CAUSE_COUNT], sent, stored;
    uint32_t canaries_missing;
    double canary_late_s; /* of the last one that was found; -1: none was */
};

struct sidecar;
MUST_CHECK int posthog_start(struct sidecar *sc, struct error *err);
void posthog_stop(struct sidecar *sc);
void posthog_release(struct sidecar *sc);

/* To ask PostHog by, within the limits that all share; NULL without a key. */
struct app *posthog_app(const struct sidecar *sc);

/* False: there is none. */
bool posthog_figures(const struct sidecar *sc, struct posthog_figures *out);

/* What a month costs: as the bill says, where it could be read, else as configured. */
struct money_terms posthog_terms(const struct sidecar *sc);

/* About each second. Without a key nothing is done. */
void posthog_tick(struct sidecar *sc);
/* Bytes of whole days. */
const struct day_totals *posthog_days(const struct sidecar *sc);

/* Times at which PostHog threw logs away, into c->quotas; canaries that were sent. */
void posthog_quota_times(const struct sidecar *sc, struct ledger_check *c);
/* Records of a service that were delivered at such times, or next to them. */
uint64_t posthog_quota_sent(const struct sidecar *sc, uint32_t service);
void posthog_canaries(const struct sidecar *sc, struct canary out[CANARIES_MAX]);

/* The budget in force: PostHog's quota where it is the source and known, else that of the
 * settings. */
struct governor_target sidecar_target(const struct sidecar *sc);

/* A month at the rate since the start, when so many bytes came and so many are sent. */
struct money_month sidecar_month(const struct sidecar *sc, double without_bytes, double with_bytes);

/* The same at the rate of so many seconds. */
struct money_month sidecar_month_of(const struct sidecar *sc, double seconds, double without_bytes,
                                    double with_bytes);
