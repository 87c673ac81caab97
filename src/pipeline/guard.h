/*
 * guard: what is kept whole because PostHog counts it: the records that an alert, a metric, a saved
 * view or an insight selects. Those count rows, and a row that sampling has left out is one that
 * they do not see.
 *
 * A value, as the rules are: immutable once built, counted references, made by posthog/guard and
 * handed over whole. It holds for all services and all policies. What it cannot tell it keeps.
 *
 * Ownership  texts are copied, filters are taken.
 * Blocking   never. Without a guard a record costs one comparison.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/filter.h"
#include "util/err.h"

#define GUARD_MAX 64 /* each is asked for each record; PostHog has at most 20 alerts a project */
#define GUARD_NODES_MAX 1024 /* conditions and groups of all: for the same reason */
#define GUARD_NAME_BYTES 120

/* clang-format off */
#define GUARD_KINDS(X) \
    X(ALERT,   "alert") \
    X(METRIC,  "metric") \
    X(VIEW,    "view") \
    X(INSIGHT, "insight")
/* clang-format on */

#define X(name, text) GUARD_##name,
enum guard_kind { GUARD_KINDS(X) GUARD_KIND_COUNT };
#undef X

const char *guard_kind_name(enum guard_kind kind);

/* One that counts. */
struct guard_item {
    enum guard_kind kind;
    struct span id, name; /* the name is cut at GUARD_NAME_BYTES */
    bool is_partial;      /* not all of its filter could be translated: it keeps more */
    bool is_below;        /* of an alert: it fires below its threshold */
    double threshold;     /* of an alert: rows; negative: none */
};

/* Records that an item selects, and those of them that are kept for no other reason. */
struct guard_counts {
    uint64_t received, kept, guarded, guarded_bytes;
};

struct guard;

/* `keeps`: what it selects is kept; else that is counted, and nothing more. */
MUST_CHECK int guard_new(struct guard **out, bool keeps);
struct guard *guard_ref(const struct guard *g);
void guard_unref(struct guard *g); /* accepts NULL */

/* Takes the filter, also when it fails: ERR_FULL (there are too many), ERR_NOMEM. A filter
 * that selects all records is for the caller to leave out. */
MUST_CHECK int guard_add(struct guard *g, const struct guard_item *item, struct filter *filter);

unsigned guard_count(const struct guard *g); /* accepts NULL */
bool guard_keeps(const struct guard *g);
const struct guard_item *guard_at(const struct guard *g, unsigned i);

/* The place of the same item (kind and id) in another; negative: it is not in there. */
int guard_find(const struct guard *g, const struct guard_item *item);

/* Which items may select a record of that service; bit per item. */
uint64_t guard_possible(const struct guard *g, const struct logs_group *group);

/* Does it select the record, as far as we can know? */
bool guard_selects(const struct guard *g, unsigned i, const struct filter_row *row);
