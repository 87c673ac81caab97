/*
 * policy_hold: a policy that would drop much at once is kept as a draft, and a second request puts
 * it in force.
 *
 * What it would do is reckoned from the counts of the last hour, with which a trial as a shadow
 * would end as well: the rate of each pattern times what came of it. Held is a policy that drops
 * more of all bytes (or of all records, where senders do not say bytes) than was dropped in that
 * hour, by more than server.max_drop_change. With `force=true` nothing is held, and nothing is of a
 * service with no more than POLICY_HOLD_LEAST records in that hour. Errors are not looked at:
 * sidecars keep them, whatever a policy says.
 *
 * Blocking   policy_hold_look(): the database.
 */
#pragma once

#include "server/api.h"

#define POLICY_HOLD_LEAST 1000

struct policy_hold {
    bool is_held;
    double share;   /* of what came, that is dropped in addition */
    double records; /* in the last hour */
    double kept_now, kept_then;
};

MUST_CHECK int policy_hold_look(struct policy_hold *out, struct call *c, struct store *s,
                                int64_t service, const struct rules *rules);
/* The same of a document. */
MUST_CHECK int policy_hold_look_text(struct policy_hold *out, struct call *c, struct store *s,
                                     int64_t service, struct span document);

/* Where it is held: why, as a member. */
void policy_hold_write(struct json *j, const struct policy_hold *h, const struct call *c);
