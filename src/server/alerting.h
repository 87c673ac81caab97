/*
 * alerting: what stands out becomes an alert, and alerts become requests to webhooks.
 *
 * Every server.alerts.interval one server of a database looks at all teams:
 *
 *     an anomaly that no open alert is about      an alert, which is sent
 *     the same again                              counted; sent again after server.alerts.cooldown,
 *                                                 unless it is acknowledged
 *     none for ALERTING_QUIET_MS                  resolved, which is sent
 *     sidecars lost records, or report that     an alert in the same way (server/troubles.h)
 *     PostHog's quota is reached
 *     a policy was changed (audit log)            sent
 *
 * All that a look finds of a team is one request to each of its webhooks, in the table of
 * deliveries, from where server/delivery.h takes it.
 *
 * Services are looked at one after the other, for half a second at most; the next look goes on
 * there, after a second (server/round.h).
 *
 * Blocking   alerting_look(): the database.
 */
#pragma once

#include "server/store.h"
#include "util/clock.h"

#define ALERTING_QUIET_MS (15 * 60000) /* three times what an anomaly is looked for in */
#define ALERTING_GROUP 50              /* items of one request; the rest is a number */

struct alerting_opts {
    int64_t now_ms, interval_ms, cooldown_ms;
    const struct clock *clock;
};

struct alerting_look {
    unsigned made; /* requests that wait now */
    bool is_cut;   /* services are left: look again after ROUND_PAUSE_MS */
};

/* All zeros also where another server has just looked. */
MUST_CHECK int alerting_look(const struct alerting_opts *opts, struct store *s,
                             struct alerting_look *out);
