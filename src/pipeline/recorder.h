/*
 * recorder: what was sampled out last, so that an error can have its context.
 *
 * Sampled-out records are copied into a ring of bytes; the oldest give way. When a
 * record that triggers is kept, those that belong to it are found again: of the
 * same trace, or, when it has none, of the same service instance (the same
 * Resource), within the window. Each is given out once.
 *
 * They are sent with an adjusted count of 0, because the survivors of their pattern
 * stand for them already. In a storm of errors the recorder is what keeps context
 * from undoing all sampling: so many for one trigger, so many a second.
 *
 * Units      bytes, monotonic milliseconds.
 * Ownership  everything is copied; what is found is borrowed until the next put.
 * Bounds     opts.bytes, charged to the budget as a whole, and two small indexes.
 * Cost       a copy of the record, and one probe; no allocation.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/logs.h"
#include "util/budget.h"
#include "util/err.h"
#include "util/token_bucket.h"

#define RECORDER_RECORDS_MAX 256 /* for one trigger: more is not context but a log file */
#define RECORDER_BYTES_MIN 65536

struct recorder;

struct recorder_opts {
    size_t bytes; /* at least RECORDER_BYTES_MIN */
    uint64_t window_ms;
    uint32_t max_records;    /* for one trigger: the newest; up to RECORDER_RECORDS_MAX */
    uint32_t max_per_second; /* all triggers together */
    uint64_t seed;           /* of the indexes: clients choose trace ids */
    struct budget *budget;   /* may be NULL */
};

MUST_CHECK int recorder_new(struct recorder **out, const struct recorder_opts *opts);
void recorder_free(struct recorder *r);

/* What a record is remembered by. */
struct recording {
    struct span bytes, tail; /* the tail goes behind the bytes; found, they are one */
    uint64_t signature, family;
    uint32_t service, pattern; /* pattern: the number of its entry */
    uint64_t at;               /* where it is: the recorder's */
};

/* Remember a record that stood in g. Larger ones than an eighth of the ring are not. */
void recorder_put(struct recorder *r, const struct logs_group *g, struct span trace_id,
                  const struct recording *what, uint64_t now_ms);

/* The context of a trigger, oldest first, not given out before. Returns how many. */
uint32_t recorder_find(struct recorder *r, const struct logs_group *g, struct span trace_id,
                       uint64_t now_ms, struct recording found[RECORDER_RECORDS_MAX]);

/* Where it stood; the spans are the recorder's. */
struct logs_group recorder_group(const struct recorder *r, const struct recording *what);

/* It is given out now, and never again. */
void recorder_release(struct recorder *r, const struct recording *what);

/* What was put so far is never given out. */
void recorder_forget(struct recorder *r);

/* Some of what was found was not given out. */
void recorder_limit(struct recorder *r);

struct recorder_stats {
    uint64_t released, limited; /* limited: triggers that got less than was found for them */
    uint64_t span_ms;           /* how far back the ring goes */
    size_t bytes;               /* in use */
};
struct recorder_stats recorder_stats(const struct recorder *r, uint64_t now_ms);
