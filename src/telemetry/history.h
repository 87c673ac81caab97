/*
 * history: what was counted in the last day, for people who ask what has changed.
 *
 * Fed from a census about every 10 s. Totals and the loudest services have steps of 10 s for an
 * hour and of a minute for a day (telemetry/series.h); the other services are one series. Patterns
 * have sparks (telemetry/sparks.h). Marks say what happened when.
 *
 *     received, kept and the like are the differences between two censuses, counted in the step
 *     that the second one ends; kept is what went on: kept, and released as the context of an error
 *
 * Services have a place by their name, so that they keep it over a restart. A service that is
 * louder than the quietest one with a place takes it, and what that one had is counted with the
 * others.
 *
 * Units      seconds since 1970, records, bytes as metered.
 * Memory     61 KB a series that is full, 116 bytes a pattern; all from a budget of history.memory.
 *            What finds no room there is left out, and counted.
 *            2 MiB hold a day and 16,384 patterns beside one service, and about 5,900 patterns
 *            beside 20 services.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/census.h"
#include "telemetry/series.h"
#include "telemetry/sparks.h"
#include "util/budget.h"
#include "util/err.h"
#include "util/json.h"

#define HISTORY_SERVICES 20 /* with a place of their own: more than a page can show */
#define HISTORY_MARKS 128   /* the oldest go: with one in ten minutes, a day */
#define HISTORY_TEXT_BYTES 120
#define HISTORY_FEED_S 10
#define HISTORY_AHEAD_S 120 /* that a saved one may be ahead of the clock */

/* clang-format off */
#define HISTORY_KINDS(X) \
    X(POLICY, "policy") \
    X(SURGE,  "surge") \
    X(SILENT, "silent") \
    X(NEW,    "new") \
    X(OUTAGE, "outage")
/* clang-format on */

#define X(name, text) HISTORY_##name,
enum history_kind { HISTORY_KINDS(X) HISTORY_KIND_COUNT };
#undef X

struct history_mark {
    uint64_t unix_s;
    enum history_kind kind;
    char text[HISTORY_TEXT_BYTES];
};

struct history;

MUST_CHECK int history_new(struct history **out, struct budget *budget, uint64_t unix_ns);
void history_free(struct history *h); /* accepts NULL */

/* A census with services, of the same pipeline each time; with patterns where it has them. */
void history_feed(struct history *h, const struct census *c, uint64_t unix_ns);

void history_mark(struct history *h, enum history_kind kind, uint64_t unix_ns, struct span text);

struct sparks *history_sparks(const struct history *h);

/* When the first census came, of an earlier process perhaps. */
uint64_t history_since_s(const struct history *h);
uint64_t history_left_out(const struct history *h); /* steps for which there was no room */

/* Of the whole span, up to the last census. */
struct history_sum {
    double seconds; /* of it in which there was a process, to the minute */
    double received, kept, received_bytes, kept_bytes, would_keep, would_keep_bytes;
};
struct history_sum history_sum(const struct history *h, enum series_span span);

/* The present month (UTC), which is what bills are of. */
struct history_month {
    uint32_t month;   /* year * 12 + month, from 0 */
    uint64_t since_s; /* when counting began in it */
    uint64_t received, kept, received_bytes, kept_bytes;
    uint64_t would_keep_bytes; /* had it been enforced, while observing */
};
struct history_month history_month(const struct history *h);

/* For the process after this one; the census has services and all patterns. Failures are the
 * buf's. */
void history_save(const struct history *h, const struct census *c, struct buf *out);

/* Into one that was just made; the census is of the patterns that were restored, and sorted
 * (census_sort()). A history from the future is left. ERR_MALFORMED: it is no such text. */
MUST_CHECK int history_restore(struct history *h, const struct census *c, struct span text,
                               uint64_t unix_ns);

/* The members of a page, into an object that is open: the last so many seconds of a span, all
 * services or the one of that name (base NULL: all). */
struct history_view {
    enum series_span span;
    uint64_t seconds;
    struct span service;
    bool is_observing;
};
void history_write(const struct history *h, const struct history_view *view, struct json *j);
