/*
 * days: bytes that were delivered on each day (UTC), held against what PostHog bills for it.
 *
 * Only days that are over and that this process saw from their beginning can be compared. PostHog
 * bills whole MB of a project and day, and reports them a day later; for today it says 0.
 *
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/json_doc.h"
#include "util/json.h"

#define DAYS_MAX 8

struct day_total {
    uint64_t day;     /* since 1970 */
    double bytes;     /* delivered */
    double billed_mb; /* -1: not said */
};

struct day_totals {
    struct day_total list[DAYS_MAX]; /* whole days, oldest first */
    uint32_t count;
    uint64_t day;  /* the one that goes on; 0: none was noted */
    double base;   /* what was delivered when it began */
    double last;   /* and at the last note */
    bool is_whole; /* it was seen from its beginning */
};

/* So much was delivered since the start; call it about each second. */
void days_note(struct day_totals *d, double delivered, uint64_t now_s);

/* Take the answer of billing/usage/, with a total of each day. */
void days_read_bill(struct day_totals *d, struct json_node answer);

/* "2026-11-29" */
#define DAY_TEXT_BYTES 16
const char *day_text(char out[DAY_TEXT_BYTES], uint64_t day);

/* MB that are billed beyond what was delivered, negative: missing; 0 where rounding explains it or
 * nothing is billed yet. */
double day_difference_mb(const struct day_total *t);

void days_write_json(const struct day_totals *d, struct json *j);
void days_write_text(const struct day_totals *d, struct buf *out);
