/*
 * silence: a pattern, or all of a service, that came steadily over the fleet for an hour and has
 * stopped.
 *
 * Time is that of minutes in which any report of the team brought records: while the server, the
 * network or all sidecars stand still nothing is silent, and what comes back after that is in its
 * place. So a team without any report is not found here.
 *
 *     steady    each of the twelve five minutes before the last record had records, no fewer than
 *               SILENCE_EVEN of their median, which is at least SILENCE_LEAST
 *     interval  a minute; of counts that come less often, the usual time between two
 *     silent    for SILENCE_INTERVALS of them, and no longer than SILENCE_MOST minutes: after that
 *               it is how things are
 *
 * It is over with the first record, and found anew only after another steady hour.
 *
 * Only patterns without a record in the last minutes are read, and in whole only services without
 * any. Heard minutes are noted with the counts (`heard`).
 *
 * Blocking   silence_each(): the database.
 */
#pragma once

#include "server/anomalies.h"

#define SILENCE_INTERVALS 3
#define SILENCE_LEAST 30.0 /* in five minutes: three of none by chance are one in 10^8 looks */
#define SILENCE_EVEN 0.25
#define SILENCE_HOUR 60                 /* minutes */
#define SILENCE_MOST 60                 /* minutes */
#define SILENCE_WINDOW_MS (240 * 60000) /* of the clock, in which that many were heard */
#define SILENCE_MINUTES (SILENCE_HOUR + SILENCE_MOST) /* that are looked at */

/* Records by minute, the last one first. Is it silent? *baseline: records in five minutes before.
 */
bool silence_judge(const double minutes[SILENCE_MINUTES], double *baseline);

/* As anomalies_each(): of a team, or of one service. Of a service that is silent as a whole, no
 * pattern is named. */
MUST_CHECK int silence_each(struct store *s, int64_t team, int64_t service, int64_t now_ms,
                            anomaly_fn *fn, void *ctx);
