/*
 * top_view: what `lipservice top` shows: the last answer of /api/top, the rates
 * since the one before, and the frame of text they make. Knows no terminal.
 *
 * Units      columns and lines; milliseconds.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/json_object.h"
#include "util/buf.h"

#define TOP_ROWS_MAX 200     /* more than is scrolled through; 512 bytes each */
#define TOP_LINE_BYTES 16384 /* of one line of the answer */

/* clang-format off */
#define TOP_ORDERS(X) \
    X(VOLUME,   'v', "volume",   "volume") \
    X(NOW,      'n', "now",      "volume") /* records a second; the sidecar knows only sums */ \
    X(KEPT,     'k', "kept",     "kept") \
    X(SAVED,    's', "saved",    "saved") \
    X(SEVERITY, 'e', "severity", "severity")
/* clang-format on */

#define X(name, key, text, asked) TOP_BY_##name,
enum top_order { TOP_ORDERS(X) TOP_ORDER_COUNT };
#undef X

struct top_row {
    char pattern[32], service[64], severity[8], status_class[4], template_text[256];
    uint64_t received, kept, received_bytes, kept_bytes, standard_error;
    uint64_t would_keep, would_keep_bytes; /* observing: what enforcing would do */
    double per_s, saved_per_s;             /* since the answer before; 0 when it is the first */
};

struct top_totals {
    char version[16], policy[16];
    char guarded[320]; /* what is kept for PostHog's alerts; empty: nothing */
    char money[160];   /* "saves 3.10 of 4.50 USD a month, assumed" */
    char would_money[160];
    char redaction[96]; /* what was found: "detect: 12 email, 3 card"; empty: nothing */
    int64_t policy_version;
    uint64_t uptime_ms, received, kept, rejected, delivered, queued, lost;
    uint64_t received_bytes, kept_bytes, queue_bytes, queue_capacity, patterns_held, services;
    uint64_t observing, would_keep, would_keep_bytes; /* then kept is what would be */
};

struct top_view {
    struct json_object *json;
    enum top_order order;
    bool reverse, paused;
    bool has_rates;     /* two answers of the same process have come */
    uint32_t scroll;    /* rows above the first that is shown */
    bool has_cursor;    /* one row is chosen, and scroll follows it */
    uint32_t cursor;    /* which of those that the filter lets through */
    char filter[48];    /* rows that hold it, in any case; "": all */
    const char *notice; /* why there is no newer answer; NULL: there is */
    struct top_totals now, before;
    uint64_t taken_ms;
    double per_s, saved_per_s;
    uint32_t count, count_before;
    struct top_row open;                /* as it was when it was opened */
    const struct top_row *chosen;       /* as drawn last; NULL: none */
    unsigned chosen_line;               /* of the frame */
    struct top_row *rows, *rows_before; /* TOP_ROWS_MAX each */
};

int top_view_init(struct top_view *v);
void top_view_done(struct top_view *v);

/* An order by the key that chooses it, by its name; negative: none. */
int top_order_of_key(char key);
int top_order_of_name(const char *name);

/* The value of `sort` to ask for, so that the rows that count are among those sent. */
const char *top_order_asked(enum top_order order);

/* Take an answer. ERR_MALFORMED: it is none, and all stays as it was. */
int top_view_take(struct top_view *v, struct span answer, uint64_t now_ms);

/* Append the frame: lines no wider than `width`, each with a newline, at most `height`
 * of them (0: as many as there are). Clamps v->scroll. */
void top_view_draw(struct top_view *v, struct buf *out, unsigned width, unsigned height);

/* The row that is chosen is the one to show whole from now on. False: there is none. */
bool top_view_open(struct top_view *v);

/* Append all that is known of it; lines as above. */
void top_view_draw_open(const struct top_view *v, struct buf *out, unsigned width);

#define TOP_TITLE_LINE 4

/* The line, from 0, that names the columns. */
static inline unsigned top_title_line(const struct top_view *v)
{
    return TOP_TITLE_LINE + (v->now.guarded[0] != '\0');
}
