/*
 * sparks: how many records of each pattern came, minute by minute for an hour and hour by hour for
 * a day.
 *
 * Beside the pattern table and not in it, from copies (a census), as policy/report_marks does: a
 * record costs nothing for them. A step is a byte: exact below 16, then eight codes a power of two,
 * rounded down by less than a ninth. What that leaves over is counted in the next step that has
 * records: the sum of an hour or a day is off by at most what one step left over, and exact as long
 * as nothing has left it. Where there is no room for all patterns the loudest have one: a pattern
 * without takes the place of a quieter one.
 *
 * Units      records, unix nanoseconds.
 * Memory     SPARK_BYTES a pattern and 8 bytes an entry of the table, drawn from the budget: 1.81
 * MiB for 16,384 patterns. Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/census.h"
#include "util/budget.h"
#include "util/err.h"

#define SPARK_MINUTES 60
#define SPARK_HOURS 24
#define SPARK_BYTES 108

struct sparks;

MUST_CHECK int sparks_new(struct sparks **out, struct budget *budget);
void sparks_free(struct sparks *s); /* accepts NULL */

/* All patterns, about each minute or more often. */
void sparks_feed(struct sparks *s, const struct census *c, uint64_t unix_ns);

struct spark_view {
    uint32_t minutes[SPARK_MINUTES]; /* oldest first; the last is the present one */
    uint64_t last_minute;            /* since 1970, that of the last of them */
    double hour, day;                /* records of the last 60 minutes, and of the last 24 hours */
    uint32_t busy_minutes;           /* of the 60: with records */
    double mean_bytes;               /* of a record, as metered; 0: not known */
};

/* False: there is none, and *out is zeros. */
bool sparks_of(const struct sparks *s, const struct census_pattern *p, struct spark_view *out);

/* Let the spark of a quiet pattern go. False: there is none left. */
bool sparks_give_way(struct sparks *s);

/* What an earlier process knew, of a pattern that stands in the table again. */
struct spark_saved {
    uint8_t minutes[SPARK_MINUTES], hours[SPARK_HOURS]; /* as they are held, by their place */
    uint32_t minute;                                    /* of the last one */
    uint32_t in_minute, in_hour; /* exact: the last ones, and what older ones left over */
    float mean_bytes;
};
bool sparks_save(const struct sparks *s, const struct census_pattern *p, struct spark_saved *out);
void sparks_restore(struct sparks *s, const struct census_pattern *p,
                    const struct spark_saved *saved, uint64_t unix_ns);
