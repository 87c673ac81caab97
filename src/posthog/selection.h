/*
 * selection: which records something in PostHog selects, as a filter of ours.
 *
 * Alerts, saved views and insights give severityLevels, serviceNames, searchTerm and a
 * filterGroup, flat or nested; metric rules a filter_group. What of it cannot be said is a
 * condition that is always unsure (pipeline/filter.h), and the first one is named.
 *
 * Pure.
 */
#pragma once

#include <stdbool.h>

#include "otlp/json_doc.h"
#include "pipeline/filter.h"
#include "util/err.h"

#define SELECTION_WHY_BYTES 160

struct selection {
    struct filter *filter; /* the caller's */
    bool is_all;           /* it has no condition */
    unsigned unsaid;       /* conditions that could not be translated */
    char why[SELECTION_WHY_BYTES];
};

/* {severityLevels, serviceNames, searchTerm, filterGroup}. ERR_NOMEM, ERR_TOO_BIG: then *out
 * holds nothing. */
MUST_CHECK int selection_of_filters(struct selection *out, struct json_node filters);

/* A group alone; nothing or null: all records. */
MUST_CHECK int selection_of_group(struct selection *out, struct json_node group);

/* SQL is not translated; but service names that stand in it behind `service_name =` or `IN (` are
 * its services. */
MUST_CHECK int selection_of_sql(struct selection *out, struct span sql);
