/*
 * timestamp: the two times that PostHog cannot take, mended before a record waits.
 *
 *   0             "unknown": it would become the time of arrival there, which is
 *                 wrong for what has waited. It becomes the observed time, or now.
 *   above 2^63-1  no time in nanoseconds, and one of them makes PostHog refuse the
 *                 whole request (400). Likewise.
 *
 * The new value is a second time_unix_nano behind the record, of which the last
 * counts (Protocol Buffers, encoding: "Last One Wins"); nothing of the record itself
 * is changed.
 *
 * Units: nanoseconds since 1970. Blocking: never.
 */
#pragma once

#include <stdint.h>

#include "otlp/logs.h"
#include "util/span.h"

#define TIMESTAMP_BYTES 9 /* of the encoded field */

struct timestamp_counts {
    uint64_t filled, repaired; /* 0; above 2^63-1 */
};

/* What goes behind the record: empty, or the field, in room. */
struct span timestamp_mend(uint8_t room[TIMESTAMP_BYTES], const struct log_record *r,
                           uint64_t now_ns, struct timestamp_counts *counts);
