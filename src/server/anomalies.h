/*
 * anomalies: what of the last minutes differs from the hour before, over all instances.
 *
 *     new_pattern   first seen in the last hour, of a service that is known for longer
 *                   (new_since_version instead, where it came with a version; and besides,
 *                   new_on_instance, while one instance of several has it: server/novelty.h)
 *     rate_spike    a pattern's last five minutes against the twelve before: at least
 *                   ANOMALY_RATIO times their median, and beyond what chance gives
 *     error_surge   the same for all errors of a service
 *
 * The median of twelve is blind to one earlier spike, and chance is that of counts (their square
 * root), or of how much the twelve differ from each other, whichever is more. Only whole minutes
 * are looked at.
 *
 * Blocking   the database.
 */
#pragma once

#include "server/store.h"

#define ANOMALY_RATIO 3.0
#define ANOMALY_SIGMAS 6.0 /* 13 looks an hour at 4096 patterns: by chance once in years */
#define ANOMALY_LEAST 30   /* records in five minutes */

struct anomaly {
    struct span service, signature, template_text; /* signature "": of the service */
    const char *type, *severity;
    double current, baseline; /* records in five minutes */
    double confidence;        /* 0 to 1 */
    struct span where;        /* of what is new: the version, or the instance */
    int64_t minutes;          /* since that version; since it is new on that instance */
    uint32_t others;          /* instances that have it not */
    int64_t detected_ms;
};

/* What happened, in one sentence that is cut where it does not fit. */
void anomaly_word(char *out, size_t size, const struct anomaly *a);

typedef int anomaly_fn(void *ctx, const struct anomaly *a);

/* Of a team, or of one service (`service` > 0). The anomaly is borrowed for the call. */
MUST_CHECK int anomalies_each(struct store *s, int64_t team, int64_t service, int64_t now_ms,
                              anomaly_fn *fn, void *ctx);
