/*
 * history: the part of the sidecar that remembers what was counted (telemetry/history.h), and its
 * pages.
 *
 * Blocking: never. A census each 10 s, and one when a page asks for what is newer: of 16,384
 * patterns it takes about 2 ms.
 */
#pragma once

#include "telemetry/history.h"
#include "util/err.h"

struct sidecar;

MUST_CHECK int history_start(struct sidecar *sc, struct error *err);
void history_stop(struct sidecar *sc);
void history_release(struct sidecar *sc);

/* What it is fed from: services, and all patterns where there is memory for them. */
MUST_CHECK int history_take(struct sidecar *sc, struct census *out);

/* As it was at the last feed; NULL as below. */
struct history *history_of(const struct sidecar *sc);

/* As it is now: fed if the last time is a second ago. NULL: there is none (history.memory: 0). */
struct history *history_now(struct sidecar *sc);

/* A policy is in force from now on, of one service, or of all where that is empty. */
void history_note_policy(struct sidecar *sc, struct span service, const struct rules *rules);

/* The page /api/history. */
MUST_CHECK int history_write_page(void *ctx, struct span query, struct buf *out);

/* "1h" or "24h" of a query or a body; false: neither. */
bool history_parse_span(struct span text, enum series_span *span, uint64_t *seconds);
