/*
 * sender: the queue of parcels, and the few senders that empty it.
 *
 * A sender holds at most one parcel:
 *
 *     IDLE -> SENDING -> IDLE              the good day
 *                |  \--> BACKOFF -> SENDING    it waits for itself
 *                \-----> PARKED  -> SENDING    all wait for the upstream (circuit.h)
 *
 * What an answer does is decided in answer.h. A parcel in a sender's hands
 * stays there until it is settled or split, so that a retry does not wait behind
 * the queue. Every parcel that was taken is settled exactly once.
 *
 * Units: milliseconds, bytes. Blocking: never, but for compressing anew after a
 * 400, 413 or 415 (about a millisecond per MiB), and for what is written to the refused file
 * (refused_file.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "export/parcel.h"
#include "export/refused_file.h"
#include "export/sink.h"
#include "export/stats.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/fate.h"

#define SENDERS_MAX 32

struct senders;

struct senders_opts {
    const struct clock *clock;
    struct fate_sink fates;
    struct parcel_packing packing;     /* its coding falls back to gzip for good after a 415 */
    uint64_t max_age_ms;               /* older parcels are given up; 0: never */
    struct refused_file *refused_file; /* for what is refused; outlives the senders; NULL: none */
};

/* Takes over *sink; as many senders as its concurrency. Counts into *stats, which
 * must live until senders_close(). */
MUST_CHECK int senders_open(struct senders **out, uv_loop_t *loop, struct sink *sink,
                            const struct senders_opts *opts, struct exporter_stats *stats);

/* Queue a parcel, and send it as soon as a sender is idle. */
void senders_take(struct senders *x, struct parcel **parcel);

/* exporter_renew() */
MUST_CHECK int senders_renew(struct senders *x, struct sink *sink);

/* Nothing is queued or in hand. */
bool senders_are_idle(const struct senders *x);
/* One at least waits for its next try, or all do: the upstream is not well. */
bool senders_are_waiting(const struct senders *x);
/* Parcels of logs that wait for a sender, urgent or not, but for those that had no answer in time:
 * they must not keep others from being read. */
uint32_t senders_queued_logs(const struct senders *x, bool urgent);
/* Memory of all parcels, queued and in hand. */
size_t senders_bytes(const struct senders *x);

const struct sink *senders_sink(const struct senders *x);
const struct parcel_packing *senders_packing(const struct senders *x);

/* Write the gauges of *out that are about sending. */
void senders_gauges(const struct senders *x, struct exporter_stats *out);

/* Give up what is left (FATE_LOST_SHUTDOWN, or LOST_AUTH for what waited for a
 * key), cancel what is in flight. The handles close with the next turns of the
 * loop. Accepts NULL. */
void senders_close(struct senders *x);
