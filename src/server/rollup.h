/*
 * rollup: counts of reports, added up in memory until they are written to the database.
 *
 * One entry for each minute, service and pattern that had records; and one for each report
 * that has a number: what the database must know to count none of them twice. A flush takes the
 * whole table as a value (rollup_take) and a new one begins; the next flush may wait for that one
 * as long as it likes.
 *
 * Units      records, bytes, Unix milliseconds; minutes since 1970.
 * Memory     drawn from the budget, all given back by rollup_done(). ERR_FULL, ERR_NOMEM: nothing
 *            of that report was added.
 * Blocking   never.
 */
#pragma once

#include <stdint.h>

#include "pipeline/rules.h"
#include "server/receipt_place.h"
#include "util/arena.h"
#include "util/budget.h"
#include "util/err.h"

struct service;

#define ROLLUP_SIGNATURE_BYTES 64 /* "lps1:" and 16 digits, MD5, "lps1:overflow:two words" */
#define ROLLUP_TEMPLATE_BYTES 1024
#define ROLLUP_ID_BYTES 128    /* of an instance, of a boot */
#define ROLLUP_REASON_BYTES 64 /* of a loss */
#define ROLLUP_VERSION_BYTES 64

struct rollup_counts {
    uint64_t received, kept, bytes, kept_bytes;
    uint64_t level[LEVEL_COUNT];
    int64_t first_ms, last_ms;
};

/* One pattern of a report, or what its total says beyond them (no signature). */
struct rollup_line {
    struct span signature, template_text, family;
    struct rollup_counts counts;
};

struct rollup_entry {
    struct rollup_entry *next; /* in its bucket, then in the order of rollup.entries */
    struct service *service;
    uint64_t hash, minute;
    uint32_t lines;          /* that were added, and not taken out */
    struct span instance;    /* whose they are; empty: of several, or not known */
    struct rollup_line line; /* its texts are the rollup's */
};

struct rollup_sender {
    struct rollup_sender *next;
    struct service *service;
    struct span instance, boot;
    uint64_t sequence;
    int64_t seen_ms;
    struct receipt_place place; /* of the report */
    bool is_out;                /* its numbers were taken out: they are counted already */
};

/* Of one report: records that were lost, by reason, or that PostHog's quota is reached. */
struct rollup_trouble {
    struct rollup_trouble *next;
    struct service *service;
    const char *kind; /* static */
    struct span reason;
    uint64_t minute, records;
};

/* Of one report: a version of its service, and when its first record came. */
struct rollup_version {
    struct rollup_version *next;
    struct service *service;
    struct span text;
    int64_t first_ms;
};

struct rollup {
    struct arena arena;
    size_t reserved_bytes; /* at least so much of it is there */
    struct budget *budget;
    struct rollup_entry **buckets;
    uint32_t bucket_count, entry_count;
    struct rollup_sender *senders; /* newest first, one a report */
    struct rollup_trouble *troubles;
    struct rollup_version *versions;
};

void rollup_init(struct rollup *r, struct budget *budget);
void rollup_done(struct rollup *r);

/* Make sure that so many lines can be added, whose texts are so long in all. */
MUST_CHECK int rollup_reserve(struct rollup *r, uint32_t lines, size_t text_bytes);

/* After rollup_reserve(): cannot fail. A trouble or a version takes no more than a line. The
 * instance is the rollup's: rollup_note_sender() returns it. */
void rollup_add(struct rollup *r, struct service *service, int64_t now_ms,
                const struct rollup_line *line, struct span instance);
struct span rollup_note_sender(struct rollup *r, struct service *service, struct span instance,
                               struct span boot, uint64_t sequence, int64_t now_ms,
                               struct receipt_place place);
void rollup_add_trouble(struct rollup *r, struct service *service, int64_t now_ms, const char *kind,
                        struct span reason, uint64_t records);

void rollup_add_version(struct rollup *r, struct service *service, struct span text,
                        int64_t first_ms);

/* The opposite of rollup_add() and rollup_add_trouble(), of what was added so. */
void rollup_take_out(struct rollup *r, struct service *service, int64_t now_ms,
                     const struct rollup_line *line);
void rollup_take_out_trouble(struct rollup *r, struct service *service, int64_t now_ms,
                             const char *kind, struct span reason, uint64_t records);

static inline bool rollup_is_empty(const struct rollup *r)
{
    return r->entry_count == 0 && r->senders == NULL && r->troubles == NULL && r->versions == NULL;
}

/* Move all of it to *out, which must be empty. */
void rollup_take(struct rollup *out, struct rollup *from);

/* Call fn with each entry until it fails. */
MUST_CHECK int rollup_each(const struct rollup *r,
                           int (*fn)(void *ctx, const struct rollup_entry *e), void *ctx);
