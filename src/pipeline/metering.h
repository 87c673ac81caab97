/*
 * metering: what records cost, in bytes as a backend meters them: those of the uncompressed
 * request, with the framing of each record, its stamps and its share of Resources and Scopes.
 *
 * What is sent is known exactly (pipeline_sink.emit()): whoever is the first to need a Resource
 * or Scope in a request pays for it. What has to be known before a record is sent, or of records
 * that are only counted, is estimated by what was sent last.
 *
 * Units      bytes.
 * Blocking   never.
 */
#pragma once

#include <stddef.h>

#include "otlp/logs.h"
#include "otlp/wire.h"

#define METERING_RECORD 2           /* ScopeLogs.log_records */
#define METERING_HEAD 3             /* tag and length around a Resource or a Scope */
#define METERING_WEIGHT (1.0 / 256) /* of a record in the averages: some batches */

/* All zero at first. */
struct metering {
    double around;   /* what of Resources and Scopes a record brought that was sent, on average */
    double envelope; /* what of them it would bring if it were alone */
    uint64_t sent;   /* records */
};

/* A record of `len` bytes in its request. */
static inline size_t metering_framed(size_t len)
{
    return wire_len_size(METERING_RECORD, len);
}

/* What stands around the records of g. */
static inline size_t metering_scope(const struct logs_group *g)
{
    return METERING_HEAD + g->scope.len;
}

static inline size_t metering_resource(const struct logs_group *g)
{
    return METERING_HEAD + g->resource.len;
}

/* One of `own` bytes, framing and stamps included, has made a request longer by `grown`. */
static inline void metering_sent(struct metering *m, const struct logs_group *g, size_t own,
                                 size_t grown)
{
    double around = grown > own ? (double)(grown - own) : 0;
    double envelope = (double)(metering_scope(g) + metering_resource(g));
    double weight = m->sent++ < 1 / METERING_WEIGHT ? 1 / (double)m->sent : METERING_WEIGHT;
    m->around += weight * (around - m->around);
    m->envelope += weight * (envelope - m->envelope);
}

/* The share of a record, where instead of `sent` records `kept` would have been: they would share
 * the same Resources and Scopes. */
static inline size_t metering_share(const struct metering *m, uint64_t sent, uint64_t kept)
{
    double share = kept > 0 ? m->around * (double)sent / (double)kept : m->envelope;
    return (size_t)(share < m->envelope ? share : m->envelope);
}
