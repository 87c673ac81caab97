/*
 * events: what was noticed and what was dropped, sent as log records of our own.
 *
 *     lipservice.pattern.new, .surge, .silent    as pipeline/anomaly.h finds them
 *     lipservice.service.surge, .silent, .errors likewise
 *     lipservice.pattern.summary   once an interval, of each pattern that lost records
 *                                  since its last summary: the loudest max_per_minute
 *                                  one by one, all others together
 *     lipservice.errors_suppressed of each service that lost errors to
 *                                  sampling.floor.max_per_second: when the storm is over,
 *                                  and each interval that it lasts
 *
 * Counts in summaries are exact: over all summaries they add up to what was dropped, those of
 * patterns that were evicted included. What could not be sent (no room in the queue) is sent
 * by the next.
 *
 * New, surge and silent are bounded: beyond max_per_minute they are counted, and the next
 * event says how many were left out. Suppressed errors are always reported.
 *
 * A sample is one body of what was sampled out since the last summary. What `drop` rules
 * dropped is never shown: it may have been dropped for what it says.
 *
 * Units      records, loop milliseconds, unix nanoseconds.
 * Memory     64 bytes a pattern that lost records, samples of up to 1 KiB and 1 MiB in all, drawn
 *            from the budget; without room for them there is no sample, or one sum for several.
 * Blocking   never. Cost: with anomalies about 20 ns a record in all (bench/micro/pipeline.c).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/logs.h"
#include "pattern/patterns.h"
#include "pipeline/anomaly.h"
#include "pipeline/ledger.h"
#include "util/err.h"

/* clang-format off */
#define EVENTS(X) \
    X(NEW,            "lipservice.pattern.new") \
    X(SURGE,          "lipservice.pattern.surge") \
    X(SILENT,         "lipservice.pattern.silent") \
    X(SUMMARY,        "lipservice.pattern.summary") \
    X(SERVICE_SURGE,  "lipservice.service.surge") \
    X(SERVICE_SILENT, "lipservice.service.silent") \
    X(SERVICE_ERRORS, "lipservice.service.errors") \
    X(SUPPRESSED,     "lipservice.errors_suppressed")
/* clang-format on */

#define X(name, text) EVENT_##name,
enum event { EVENTS(X) EVENT_COUNT };
#undef X

const char *event_name(enum event e);

struct events_stats {
    uint64_t sent[EVENT_COUNT];
    uint64_t dropped; /* beyond max_per_minute, or no room for them */
};

struct events;

struct events_opts {
    bool enabled; /* false: suppressed errors only */
    uint64_t summary_ms;
    uint32_t max_per_minute;
    uint32_t floor_per_second; /* reported with what it suppressed */
    uint32_t max_patterns, max_services;
    uint64_t seed; /* of hashes of Resource and Scope, as requests have them */
    struct patterns *patterns;
    const struct ledger *ledger; /* for names of services */
    struct budget *budget;
    /* Take one record. 0; ERR_*: it was not taken. */
    int (*send)(void *ctx, const struct logs_group *g, struct span record);
    void *ctx;
};

MUST_CHECK int events_new(struct events **out, const struct events_opts *opts);
void events_free(struct events *v);

/* Entry `number` of the pattern table begins anew. */
void events_forget(struct events *v, uint32_t number);

/* Is there no sample of entry `number` yet, and room for one? */
bool events_wants_sample(struct events *v, uint32_t number);

/* A record of entry `number` was sampled out: its body may be the sample. */
void events_sample(struct events *v, uint32_t number, const struct log_value *body);

/* An error was dropped by the floor's limit. */
void events_suppressed(struct events *v, uint32_t service, uint64_t now_ms);

/* For struct anomaly_opts. Between two calls of events_tick(). */
void events_anomaly(void *events, const struct anomaly_news *news);

/* Time has passed; call it before anomaly_tick(). */
void events_tick(struct events *v, uint64_t now_ms, uint64_t unix_ns);

/* The end: tell all that there is to tell. */
void events_finish(struct events *v);

const struct events_stats *events_stats(const struct events *v);
