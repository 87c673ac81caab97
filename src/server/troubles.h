/*
 * troubles: what sidecars report of themselves, by service and minute.
 *
 *     losses   records that they had decided to keep and could not deliver, by reason
 *     quota    PostHog takes no more logs: its quota is reached
 *
 * A minute is the one in which the report came. Rows are kept as long as the minutes of counts.
 *
 * Blocking   the database.
 */
#pragma once

#include "server/rollup.h"
#include "server/store.h"

#define TROUBLE_LOSSES "losses"
#define TROUBLE_QUOTA "quota"
#define TROUBLES_MINUTES 5 /* what is looked at: five reports of a sidecar */

struct trouble {
    struct span service, message;
    const char *kind, *severity;
};

typedef int trouble_fn(void *ctx, const struct trouble *t);

/* Add one to the minute of a service. */
MUST_CHECK int troubles_write(struct store *s, int64_t service, const struct rollup_trouble *t);

/* Of a team in those minutes and the present one: one for each service and kind. The trouble is
 * borrowed for the call. */
MUST_CHECK int troubles_each(struct store *s, int64_t team, int64_t now_ms, int64_t minutes,
                             trouble_fn *fn, void *ctx);

/* Remove what is older. */
MUST_CHECK int troubles_forget(struct store *s, int64_t before_s);
