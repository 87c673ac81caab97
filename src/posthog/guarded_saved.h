/*
 * guarded_saved: what is guarded, kept over a restart.
 *
 * The items of PostHog's lists are kept as they came, of each the members that are read, and not
 * the filters made of them: a later version may translate them better.
 *
 * Blocking   never.
 */
#pragma once

#include "posthog/guarded.h"
#include "util/buf.h"

/* Of all items: 64 of them with a filter or a query of a few KiB. What is more is not kept. */
#define GUARDED_SAVED_BYTES (256u << 10)

/* Append an item of that kind. Failures are the buf's. */
void guarded_save(struct buf *out, enum guard_kind kind, struct json_node item);

/* Make a guard of what was saved: g->guard, the caller's. ERR_MALFORMED: damage; ERR_NOMEM,
 * ERR_FULL. */
MUST_CHECK int guarded_restore(struct guarded *g, struct span saved, bool keeps, bool has_weights,
                               struct budget *budget);
