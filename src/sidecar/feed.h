/*
 * feed: server-sent events (GET /api/events): the summary, each second.
 *
 * It is written once for all readers, and only while there are some. One that does not read gets
 * no backlog: what does not fit is left out, and the next one says all that it said.
 *
 *     event: summary
 *     data: {...}                  sidecar/summary.h
 *
 * Blocking: never.
 */
#pragma once

#include "net/http.h"
#include "util/buf.h"
#include "util/err.h"

#define FEED_READERS_MAX 8 /* pages that are open; each is a connection of PAGE_CONNECTIONS */

struct sidecar;
struct feed;

MUST_CHECK int feed_open(struct sidecar *sc);

/* End all streams; new ones are refused from now on. Accepts NULL. */
void feed_stop(struct feed *feed);

/* Accepts NULL; the memory goes when its handle is closed. */
void feed_close(struct feed *feed);

uint32_t feed_readers(const struct feed *feed); /* open now */

/* For the table of pages; ctx is the sc. */
MUST_CHECK int feed_stream(void *ctx, struct span query, struct http_exchange *x, struct buf *out);
void feed_gone(void *ctx, struct http_exchange *x);
