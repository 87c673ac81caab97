/*
 * history_state: what the files of the history share. Only src/telemetry/ includes it.
 */
#pragma once

#include "telemetry/history.h"

#define HISTORY_MINUTES 1440

/* A service with a place. */
struct history_place {
    bool is_used;
    uint8_t name_len;
    char name[LEDGER_NAME_BYTES];
    float loudness; /* received bytes a minute, smoothed */
    struct series series;
};

/* What of a service was seen in the last census. */
struct history_seen {
    uint64_t received, kept, errors, received_bytes, kept_bytes;
    uint64_t of_minute; /* received_bytes, when the present minute began */
    float loudness;
    int8_t place; /* < 0: with the others */
    bool is_known;
};

struct history {
    struct budget *budget;
    uint64_t now_s, since_s; /* of the last census, of the first */
    struct series total, would, other;
    struct history_place places[HISTORY_SERVICES];
    struct history_seen *seen; /* by service of the ledger */
    uint32_t seen_count;
    uint64_t received, kept, errors, lost, received_bytes, kept_bytes; /* total, as in `seen` */
    uint64_t would_keep, would_keep_bytes;
    uint64_t left_out;
    struct history_mark marks[HISTORY_MARKS];
    uint32_t mark_count, next_mark;
    struct sparks *sparks;
    struct history_month month;
    uint8_t covered[HISTORY_MINUTES / 8]; /* of the last day: minutes in which a census was fed */
};

/* The i-th mark, oldest first. */
const struct history_mark *history_mark_at(const struct history *h, uint32_t i);
