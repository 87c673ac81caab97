/*
 * sidecar_live: what people ask a running sidecar: why, with counts (POST /api/explain),
 * and what it decides right now (GET /api/tap).
 *
 * Blocking: never. A tap that cannot keep up loses lines, and gets their number; all of
 * them end at once when the sidecar is asked to stop.
 */
#pragma once

#include "net/http.h"
#include "telemetry/tap.h"
#include "util/err.h"

#define LIVE_TAPS_MAX 4 /* each looks at every record */

struct sidecar;
struct live;

MUST_CHECK int live_open(struct sidecar *sc);

/* End the taps; new ones are refused from now on. Accepts NULL. */
void live_stop_taps(struct live *live);

/* Accepts NULL; the memory goes when its handle is closed. */
void live_close(struct live *live);

/* What became of the lines that taps wanted, of all taps there ever were. */
struct live_stats {
    uint32_t taps; /* open now */
    uint64_t shown, over_rate, slow;
};
struct live_stats live_stats(const struct live *live);

/* For the table of pages; ctx is the sc. */
MUST_CHECK int live_explain(void *ctx, struct span query, struct span body, struct buf *out);
MUST_CHECK int live_tap(void *ctx, struct span query, struct http_exchange *x, struct buf *out);
void live_tap_gone(void *ctx, struct http_exchange *x);
