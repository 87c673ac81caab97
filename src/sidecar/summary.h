/*
 * summary: how it stands, in one object: counts, errors, money, budget, the upstream, and the
 * loudest services. What a page shows at the top, and what /api/events says each second.
 *
 * Units      records, bytes as a backend meters them, money of a month at the rate since the start.
 * Blocking   never. O(services).
 */
#pragma once

#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

/* By bytes; the others are one row. With the longest names it is 33 KiB, in HTTP_STREAM_BYTES. */
#define SUMMARY_SERVICES 20

struct sidecar;

/* The object, without a line end. 0, or ERR_* with nothing appended. */
MUST_CHECK int summary_append(const struct sidecar *sc, struct buf *out);

/* The page /api/summary; ctx is the sc. */
MUST_CHECK int summary_write(void *ctx, struct span query, struct buf *out);
