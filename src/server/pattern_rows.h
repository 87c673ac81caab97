/*
 * pattern_rows: the patterns of a service with their counts since some time, from the database.
 *
 * Blocking   the database.
 */
#pragma once

#include "pipeline/rules.h"
#include "server/store.h"

#define PATTERN_GRAIN_MINUTE 60
#define PATTERN_GRAIN_HOUR 3600
#define PATTERN_GRAIN_DAY 86400

struct pattern_row {
    int64_t id;
    struct span service, signature, template_text, family; /* signature "": all without a row */
    int64_t received, kept, bytes, kept_bytes;             /* in that time; bytes: of received */
    int64_t recent;                                        /* of received, since recent_s */
    int64_t level[LEVEL_COUNT];                            /* ever */
    int64_t first_ms, last_ms;
};

typedef int pattern_row_fn(void *ctx, const struct pattern_row *row);

/* Of one service (`service` > 0), or of all of a team; those with most records first, `limit` of
 * them from `offset` on. The row is borrowed for the call. */
struct pattern_want {
    int64_t team, service;
    int64_t grain_s, since_s, until_s; /* [since, until) */
    int64_t recent_s;
    int64_t limit, offset;
};
MUST_CHECK int pattern_rows_each(struct store *s, const struct pattern_want *want,
                                 pattern_row_fn *fn, void *ctx);

/* The share of its records that rules keep, by its id, its family and the mix of its severities;
 * the first records of each window are not counted. */
double pattern_row_share(const struct pattern_row *row, const struct rules *rules);

/* What most of its records are. */
enum level pattern_row_level(const struct pattern_row *row);
