/*
 * patterns: exact counts per pattern, in a bounded table.
 *
 * A pattern's key is (service, severity class, HTTP status class, signature).
 * When the table is full the CLOCK hand evicts an entry not used since its last
 * round; what it counted is folded into "other", so sums over the table and
 * "other" are always what was counted.
 *
 * A service may have max_per_service entries, so that a noisy one cannot make the
 * patterns of others vanish. The caller that adds asks patterns_has_room() first and counts
 * under something coarser when there is none (pattern/pattern_place.h).
 *
 * Units      records, bytes, unix nanoseconds, loop milliseconds.
 * Ownership  templates are copied, cut at PATTERN_TEMPLATE_BYTES.
 * Blocking   never. No allocation for a pattern that is known.
 */
#pragma once

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/span.h"

#define PATTERN_TEMPLATE_BYTES 240 /* what people see; the older server's column is 200 */

struct pattern_key {
    uint64_t signature;
    uint32_t service;
    uint8_t level;        /* enum level */
    uint8_t status_class; /* 1..5 of an HTTP status, 0: none given */
};

struct pattern_counts {
    uint64_t received, kept, sampled_out, dropped_by_rule;
    uint64_t received_bytes, kept_bytes; /* metered: had all been sent, and what was sent, the
                                          * context of errors included */
};

/* Two cache lines, and found by a shift: at 112 bytes a record cost 6 instructions more, at 168
 * 20 ns. Readers keep their marks beside the table, by number. */
struct pattern {
    alignas(64) struct pattern_key key;
    uint32_t number : 22; /* its place, as patterns_at() counts: for tables beside this one */
    uint32_t template_len : 8;
    bool in_use : 1, referenced : 1;
    uint32_t family_generation; /* families_generation() that `family` is of; 0: to be asked */
    char *template_text;        /* PATTERN_TEMPLATE_BYTES or fewer, not terminated; may be NULL */
    uint32_t window;            /* number of the window that `in_window` belongs to.
                                 * Of an entry not in use: the next such, + 1 */
    uint32_t in_window; /* records of this window that were kept for being among its first */
    uint64_t family;    /* what the signature has become; itself at first */
    struct pattern_counts counts;
    uint64_t first_seen_ns;
    uint32_t last_seen_s; /* unix seconds */
    uint32_t phase;       /* sum of p over its spaced records, modulo 1 (pipeline/draw.h) */
    double variance;      /* of the sum of its weights, but for the present stretch: */
    float weight, run;    /* that of its records, and its variance so far */
};

/* `window` of an entry that is used for the first time. */
#define PATTERN_WINDOW_NEW 0            /* a pattern that was never seen */
#define PATTERN_WINDOW_KNOWN UINT32_MAX /* it may have been, or it stands for many */

struct patterns;

#define PATTERN_STALE_S 3600 /* unused for so long, it makes room at a cap */

struct patterns_opts {
    uint32_t max_entries;
    uint32_t max_services;    /* service ids are below it; may be 0 without a cap */
    uint32_t max_per_service; /* 0: no cap */
    uint64_t seed;            /* of the index: a log writer may choose signatures */
    struct budget *budget;
};

int patterns_new(struct patterns **out, const struct patterns_opts *opts);
void patterns_free(struct patterns *p);

/* The entry of a key, which counts as used; NULL: there is none. Valid until the
 * next patterns_add() or patterns_has_room(). */
struct pattern *patterns_find(struct patterns *p, const struct pattern_key *key);

/* An entry for a key that has none. Never NULL: under memory pressure an old entry
 * is evicted early. */
struct pattern *patterns_add(struct patterns *p, const struct pattern_key *key);

/* Is the service below its cap less `reserve`? At the cap a few entries are looked
 * at in turn, and a stale one of the service is evicted. */
bool patterns_has_room(struct patterns *p, uint32_t service, uint32_t reserve, uint64_t unix_ns);

/* Find or add, whatever the cap. */
static inline struct pattern *patterns_get(struct patterns *p, const struct pattern_key *key,
                                           bool *is_new)
{
    struct pattern *e = patterns_find(p, key);
    *is_new = e == NULL;
    return e != NULL ? e : patterns_add(p, key);
}

/* The same, and it does not count as used. */
struct pattern *patterns_peek(const struct patterns *p, const struct pattern_key *key);

/* Give a new entry the text that people will see. */
void pattern_set_template(struct patterns *p, struct pattern *e, struct span text);

uint32_t patterns_count(const struct patterns *p);
uint64_t patterns_evicted(const struct patterns *p);

/* What evicted entries had counted. */
const struct pattern_counts *patterns_other(const struct patterns *p);

/* The i-th slot, 0 <= i < patterns_slots(); look at in_use. */
uint32_t patterns_slots(const struct patterns *p);
struct pattern *patterns_at(struct patterns *p, uint32_t i);

static inline uint64_t pattern_last_seen_ns(const struct pattern *p)
{
    uint64_t ns = (uint64_t)p->last_seen_s * 1000000000;
    return ns > p->first_seen_ns ? ns : p->first_seen_ns; /* seconds are cut */
}

static inline void pattern_counts_add(struct pattern_counts *to, const struct pattern_counts *n)
{
    to->received += n->received;
    to->kept += n->kept;
    to->sampled_out += n->sampled_out;
    to->dropped_by_rule += n->dropped_by_rule;
    to->received_bytes += n->received_bytes;
    to->kept_bytes += n->kept_bytes;
}
