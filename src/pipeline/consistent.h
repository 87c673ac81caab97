/*
 * consistent: what earlier samplers have left on a record, and how our own
 * sampling joins it. (OpenTelemetry: trace probability sampling, tracestate
 * handling; for logs as the attributes sampling.threshold, sampling.randomness)
 *
 * The rule that everything here serves: the sum of the adjusted counts 1/p of
 * what is kept estimates the number of records before the first sampler.
 *
 *   threshold    T_in: sampling.threshold (1 to 14 hex digits, the leading ones
 *                of 56 bits), else from otel.logs.adjusted_count. What cannot be
 *                read counts as absent.
 *   randomness   R: sampling.randomness (14 hex digits), else the trace id's last
 *                7 bytes. Both are shared: an earlier sampler has seen them too.
 *   R shared     the two draws are one: T = max(T_in, T_ours).
 *   R not shared our draw, by the spacing of its pattern, knows nothing of the earlier one:
 *                the probabilities multiply. So it is also when R < T_in: then
 *                the earlier draw was not made with this R.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/logs.h"

uint64_t consistent_threshold_read(const struct log_record *record);

/* T_in; 0: kept with certainty so far. Most records bring none. */
static inline uint64_t consistent_threshold(const struct log_record *record)
{
    const unsigned weights = 1u << LOG_SAMPLING_THRESHOLD | 1u << LOG_ADJUSTED_COUNT;
    return (record->known_set & weights) == 0 ? 0 : consistent_threshold_read(record);
}

/* R where it is shared: false leaves *r alone. */
bool consistent_randomness(const struct log_record *record, uint64_t *r);

/* The threshold of p_a * p_b, never that of 0 unless one of them is. */
uint64_t consistent_product(uint64_t a, uint64_t b);

/* The randomness that goes with consistent_product(ours, before) on a record that was
 * kept because r >= ours: as far into what the product keeps as r is into what `ours`
 * keeps. Later samplers may use it like any other. */
uint64_t consistent_carried(uint64_t r, uint64_t ours, uint64_t before);
