/*
 * drop_rules: the part of our policy that PostHog's own drop rules can say, for records that do not
 * pass through us (browsers, mobile applications, other agents).
 *
 * What such a rule drops is a part of what ours drop, never more, but for the differences that are
 * listed as warnings: PostHog's rules ignore case; they read what is stored, in which a map or
 * bytes are text and a severity text that PostHog does not know is info. So each rule says, beside
 * its own conditions, what is never dropped here: errors, exceptions, sampling.priority, and what a
 * keep rule keeps. What cannot be said is listed with its reason.
 *
 * Pure.
 */
#pragma once

#include <stdbool.h>

#include "pipeline/rules.h"
#include "util/buf.h"
#include "util/err.h"

#define DROP_RULE_NODES_MAX 256 /* of one filter_group, as PostHog allows */
#define DROP_RULE_NAME_BYTES 64

struct drop_rule {
    char name[DROP_RULE_NAME_BYTES]; /* begins with POSTHOG_PREFIX */
    struct buf config;               /* {"filter_group": ...} */
};

struct drop_note {
    bool is_warning; /* of a rule that is exported; else it is not */
    char what[DROP_RULE_NAME_BYTES];
    const char *why;
};

struct drop_rules {
    struct drop_rule *rules;
    unsigned count;
    struct drop_note *notes;
    unsigned note_count;
};

struct drop_rules_opts {
    bool severity_from_text; /* sampling.severity_from: what looks like an error is left alone */
    bool has_budget, has_context;
};

/* ERR_NOMEM: then there is nothing to be freed. */
MUST_CHECK int drop_rules_of(struct drop_rules *out, const struct rules *rules,
                             const struct drop_rules_opts *opts);
void drop_rules_done(struct drop_rules *d);
