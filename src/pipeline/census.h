/*
 * census: a copy of what a pipeline has counted, for its readers: pages, metrics,
 * reports, replay.
 *
 * Readers get no pointer into a live table. What is copied is the plain counters, and of the
 * tables as much as the reader wants: services, patterns (the first so many in an order of its
 * own, with templates or not), aliases. Several pipelines, one for each loop, are one census by
 * census_add(): services by name, patterns by key.
 *
 * Units      records, bytes, unix nanoseconds.
 * Memory     136 bytes a pattern and its template, 600 a service and its name, drawn from the
 * budget, all given back by census_done(); the tables bound how many there are. Errors ERR_FULL,
 * ERR_NOMEM: no memory for it now, nothing to be freed. Blocking   never. Of 2,049 patterns with
 * their templates, all by volume take 0.4 ms, the first hundred 0.1 ms (bench/micro/pipeline.c).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pattern/families.h"
#include "pattern/patterns.h"
#include "pipeline/anomaly.h"
#include "pipeline/events.h"
#include "pipeline/governor.h"
#include "pipeline/guard.h"
#include "pipeline/ledger.h"
#include "pipeline/recorder.h"
#include "pipeline/redact.h"
#include "pipeline/sampler.h"
#include "pipeline/shadow.h"
#include "pipeline/standing.h"
#include "pipeline/timestamp.h"
#include "util/arena.h"
#include "util/err.h"

struct pipeline;

struct census_service {
    struct span name;
    struct ledger_row row;
    struct service_versions versions;
};

struct census_pattern {
    struct pattern_key key; /* its service: an index of census.services */
    struct pattern_counts counts;
    uint64_t first_seen_ns, last_seen_ns;
    uint64_t kept, kept_bytes;    /* as counted; observing, with `shadow`: what would be */
    double variance;              /* of the sum of the weights of its survivors (pipeline/draw.h) */
    uint64_t family;              /* what the signature has become by now */
    const char *template_text;    /* not terminated; NULL: none, or not wanted */
    struct shadow_counts *shadow; /* by lane; NULL: none, or not wanted */
    struct standing_facts *facts; /* NULL: not wanted */
    uint32_t template_len;
    uint32_t number; /* of its entry, for marks beside the table of one pipeline */
};

/* Records by reason of their verdict. */
struct census_reasons {
    uint64_t kept[REASON_COUNT], dropped[REASON_COUNT];
};

/* What a reader wants besides the counters. */
struct census_want {
    bool services, patterns, templates, shadow, aliases, guard;
    bool facts; /* of patterns, with services: what rates and their reasons are made of */
    /* Which patterns; NULL: all. */
    bool (*is_wanted)(const void *ctx, const struct census_pattern *p);
    const void *ctx;
    /* A total order of struct census_pattern, by key, counts, times and number, as qsort() wants
     * it; NULL: as they come. */
    int (*order)(const void *a, const void *b);
    uint32_t limit;        /* with an order, the first so many; 0: all. A sum needs all of each. */
    struct budget *budget; /* may be NULL */
};

struct census {
    struct ledger_row total;
    uint64_t imbalance; /* ledger_imbalance() */
    struct census_reasons reasons;
    struct timestamp_counts timestamps;
    uint64_t severities[SEVERITY_SOURCES]; /* records by where their severity came from */
    struct redact_stats redaction;         /* zeros where it is off */
    struct recorder_stats context;
    struct families_stats families;
    struct governor_stats governor;
    struct guard *guard;                      /* NULL: nothing is guarded, or not wanted */
    struct guard_counts selected[GUARD_MAX];  /* by its items */
    bool has_shadow, has_anomaly, has_events; /* else the next three are zeros */
    struct shadow_counts shadow[SHADOW_LANE_COUNT];
    struct anomaly_stats anomalous;
    struct events_stats events;
    struct pattern_counts other; /* what evicted patterns had counted */
    uint64_t patterns_held, patterns_evicted;
    uint64_t overflowed;    /* records counted as overflow: their service has too many patterns */
    uint32_t services_held; /* "other" included, which is number 0 */

    struct census_service *services; /* NULL: not wanted; else services_held of them */
    struct census_pattern *patterns;
    struct family_alias *aliases;
    uint32_t pattern_count, alias_count;
    struct arena arena; /* all that is pointed to */
};

/* *out is written on success only. Without services, patterns and aliases it cannot fail. */
MUST_CHECK int census_take(struct pipeline *p, const struct census_want *want, struct census *out);

/* Add a census to another, both with services and all patterns. The patterns of both are in the
 * order of their keys then; numbers mean nothing any more. On failure *sum is as it was. */
MUST_CHECK int census_add(struct census *sum, const struct census *one);

/* Accepts a zeroed one. */
void census_done(struct census *c);

/* The pattern of a key, after census_sort(); NULL: none. */
void census_sort(struct census *c);
const struct census_pattern *census_find(const struct census *c, const struct pattern_key *key);

static inline struct span census_template(const struct census_pattern *p)
{
    return span_of(p->template_text, p->template_len);
}
