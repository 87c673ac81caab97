/*
 * exporter: from kept records to settled fates.
 *
 *     exporter_add() -> batch -> parcel -> queue -> senders -> sink
 *
 * Records are collected into a batch until it is large, many or old enough,
 * sealed and packed, and wait in the queue until one of a few senders takes
 * them. Each record that was added is settled exactly once.
 *
 * Units      milliseconds, bytes, records.
 * Blocking   never; compression of one batch (about a millisecond per MiB) is
 *            done on the loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "export/sink.h"
#include "export/stats.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/fate.h"

struct exporter;

/* Each has a batch of its own. What is urgent is sent before all that waits; a sender that has a
 * parcel in hand finishes that first. */
enum exporter_lane { LANE_PLAIN, LANE_URGENT, LANE_COUNT };

struct exporter_opts {
    struct budget *budget;
    const struct clock *clock;
    struct fate_sink fates;
    enum coding compression; /* falls back to gzip for good when the upstream says 415 */
    size_t batch_bytes;      /* decoded size of a request */
    uint32_t batch_records;
    uint32_t batch_age_ms;
    size_t queue_bytes;                /* what may wait */
    uint64_t max_age_ms;               /* older parcels are given up; 0: never */
    struct refused_file *refused_file; /* for what is refused; outlives the exporter; NULL: none */
};

/* Takes over *sink. */
MUST_CHECK int exporter_open(struct exporter **out, uv_loop_t *loop, struct sink *sink,
                             const struct exporter_opts *opts);

/* May `bytes` more of records enter, the longest of them `largest`? 0, ERR_FULL, or
 * ERR_TOO_BIG: not even into an empty queue. Nothing is reserved: the promise
 * holds until the loop turns. */
MUST_CHECK int exporter_admit(const struct exporter *x, size_t bytes, size_t largest);

/* The same where the records go to disk first: only the account of memory counts, not what
 * waits here (traces, perhaps, in an outage). */
MUST_CHECK int exporter_admit_memory(const struct exporter *x, size_t bytes, size_t largest);
double exporter_memory_fullness(const struct exporter *x);

/* How near is exporter_admit() to saying no: 0 when nothing waits, 1 when full. */
double exporter_fullness(const struct exporter *x);

/* The records added from now on belong to number origin->first of the one that keeps them until
 * they are settled; they wait for `age_ms` already. The number is held once for each batch
 * with records of it. `bytes` is about what comes: a batch without room for it is sealed. */
void exporter_begin(struct exporter *x, enum exporter_lane lane, const struct batch_origin *origin,
                    uint64_t age_ms, size_t bytes);

/* Is there something to do for idle senders, or room to read ahead for them? */
bool exporter_is_hungry(const struct exporter *x, enum exporter_lane lane);

/* Take one survivor; record and stamp are copied. Returns by how many bytes the batch has grown,
 * which is what it adds to the requests that are sent. ERR_NOMEM: the allocator said no, and the
 * record was not taken. What was taken before waits until there is memory for its batch;
 * until then exporter_admit() is ERR_FULL. */
MUST_CHECK int exporter_add(struct exporter *x, enum exporter_lane lane, const struct logs_group *g,
                            struct span record, struct span stamp, uint32_t service);

/* Take a request of another signal as it came, to go on with a key of its client's (empty: ours).
 * 0, ERR_FULL, ERR_NOMEM. */
MUST_CHECK int exporter_relay(struct exporter *x, enum signal signal, struct span body,
                              enum coding coding, struct span content_type, struct span key);

/* Seal what is collected, whatever its size. */
void exporter_flush(struct exporter *x);

/* Another address or key of the same kind of sink, from the next request on; what waits for
 * a key or a retry tries at once. Empties *sink when it has taken it over; else it is still
 * the caller's. ERR_UNSUPPORTED: it is another kind of sink. */
MUST_CHECK int exporter_renew(struct exporter *x, struct sink *sink);

/* Nothing is collected, queued or in flight. */
bool exporter_is_idle(const struct exporter *x);

/* How long a refused client should wait before it tries again. */
uint32_t exporter_retry_after_s(const struct exporter *x);

void exporter_stats(const struct exporter *x, struct exporter_stats *out);

/* "posthog https://...": for the start line. */
const char *exporter_sink_name(const struct exporter *x);

/* Give up what is left (FATE_LOST_SHUTDOWN, or LOST_AUTH for what waited for a
 * key), cancel what is in flight, free. The handles close with the next turns of
 * the loop. Accepts NULL. */
void exporter_close(struct exporter *x);
