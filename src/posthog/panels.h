/*
 * panels: what lipservice puts on charts in PostHog: a dashboard, as a template that can be
 * imported by hand as well, and alerts.
 *
 * Counts of what was received, kept and dropped come from records of usage (pipeline/usage.h,
 * events.usage_interval), because rows are survivors; what is summed over rows is weighed by the
 * adjusted count.
 *
 * Pure.
 */
#pragma once

#include <stdbool.h>

#include "policy/money.h"
#include "posthog/sync.h"
#include "util/buf.h"

#define PANELS_DIGEST_BYTES 17

struct panels_opts {
    struct money_terms terms;
    const char *currency;
    bool has_patterns; /* sampling.stamps has pattern */
};

/* {"template": {...}}: the body of dashboards/create_from_template_json/. */
void panels_template(struct buf *out, const struct panels_opts *opts);

/* What tells one template from another; stands in the dashboard's description. */
const char *panels_digest(const struct panels_opts *opts, char room[PANELS_DIGEST_BYTES]);

/* Is it a tile of ours, by its name? */
bool panels_is_tile(struct span name);

/* The alerts, each disabled. */
MUST_CHECK int panels_want_alerts(struct sync *plan);
