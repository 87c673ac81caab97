/*
 * tero: Tero's policies for logs (tero.policy.v1), read from JSON and held against records.
 *
 *     record -> which policies match? -> keep or drop -> transform
 *               tero_match.c             tero_keep.c     tero_transform.c
 *
 * A policy that is invalid has no effect and is reported with all its errors; the others work. The
 * order in which the policies stand has no meaning: they are taken in the order of their ids.
 *
 * Units      now_ms is monotonic time, for the windows of rate limits.
 * Errors     0, or a negative code (util/err.h).
 * Ownership  tero_new() keeps nothing of the text.
 * Blocking   never. Not for two threads at once. A record costs a walk over all policies.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/json_doc.h"
#include "util/budget.h"
#include "util/err.h"
#include "util/json.h"
#include "util/span.h"

#define TERO_TEXT_BYTES (16u << 20) /* of the JSON */
#define TERO_POLICIES 10000         /* of one text; a record is held against each */
#define TERO_LIST 64                /* matchers, or operations of one kind, of a policy */
#define TERO_PATH 16                /* names in the path of an attribute */
#define TERO_EXPRESSIONS 2000       /* in all: each has machine code and a stack of its own */
#define TERO_ERRORS 16              /* that are reported of one policy */

struct tero;

/* Read {"policies": [...]}. The seed is for percentages without a key; the budget may be NULL.
 * ERR_CONFIG or ERR_MALFORMED with *err: the text as a whole is refused. ERR_TOO_BIG, ERR_FULL,
 * ERR_NOMEM. */
MUST_CHECK int tero_new(struct tero **out, struct span text, uint64_t seed, struct budget *budget,
                        struct error *err);
/* The same of a SyncResponse, whose other members mean nothing here. */
MUST_CHECK int tero_new_of(struct tero **out, struct json_node response, uint64_t seed,
                           struct budget *budget, struct error *err);
void tero_free(struct tero *t); /* accepts NULL */

/* A record and what is around it, encoded as struct logs_group has it (otlp/logs.h). */
struct tero_record {
    struct span resource, scope, record;
    bool is_protected; /* no policy may drop it; the one that would has a miss, and says so */
};

enum tero_verdict { TERO_SAME, TERO_CHANGED, TERO_DROPPED };

/* What becomes of a sound record? enum tero_verdict, or ERR_*. TERO_CHANGED: the spans of *r are
 * new, and borrowed until the next call. The Resource and the scope are changed for this record
 * alone. */
MUST_CHECK int tero_apply(struct tero *t, struct tero_record *r, uint64_t now_ms);

/* What one policy has done since it was read. */
struct tero_count {
    struct span id;        /* borrowed */
    uint64_t hits, misses; /* records; a miss: another policy dropped a record that it matched */
    unsigned errors;
};

/* Policies in the order of their ids; false: there is no such one. */
bool tero_count(const struct tero *t, size_t index, struct tero_count *out);
struct span tero_error(const struct tero *t, size_t index, unsigned error);

/* Of a list of PolicySyncStatus: those with hits, misses or errors, which are counted anew from
 * here on. Errors are there each time. */
void tero_take_statuses(struct tero *t, struct json *j);

size_t tero_policies(const struct tero *t);
size_t tero_invalid(const struct tero *t); /* of those */

/* {"policies": [...]}: those with hits, misses or errors. */
void tero_write_stats(const struct tero *t, struct json *j);
