/*
 * batch: the kept records of many requests as one ExportLogsServiceRequest.
 *
 * A batch_builder takes records one by one and files them under their Resource
 * and Scope, each of which is stored, and sent, once, however many requests
 * bring it: PostHog meters the decoded bytes. Sealing makes a struct batch, the
 * owned bytes that queue, spool and sender hand on.
 *
 *     batch_add() ... batch_add() -> batch_seal() -> struct batch
 *                                                    batch_split() when too big
 *
 * Units      bytes for sizes, records for counts.
 * Errors     int results: 0, or a negative code (util/err.h). Nothing is
 *            changed by a call that fails.
 * Ownership  the builder copies what it is given. A batch belongs to the one that
 *            holds the pointer; the verbs that move it set the giver's to NULL.
 * Blocking   never.
 */
#pragma once

#include <stdint.h>

#include "otlp/logs.h"
#include "util/budget.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

/* PostHog refuses requests of more than 2 MB; half of that retries cheaply. */
#define BATCH_MAX_BYTES (1u << 20)

/* The records of one ResourceLogs of a batch, in the order of its bytes. */
struct batch_part {
    uint32_t service; /* the number that the caller gave to batch_add() */
    uint32_t records;
};

/* Where the records of a batch came from, for the owner that must know when the last batch with
 * records of it is gone: a range of numbers, each held once by each batch. Zero: no owner. */
struct batch_origin {
    void *ctx;
    void (*hold)(void *ctx, uint64_t first, uint64_t last);
    void (*drop)(void *ctx, uint64_t first, uint64_t last);
    uint64_t first, last;
};

struct batch {
    struct buf body; /* the encoded request; charged to the builder's budget */
    uint32_t records;

    /* For the holder; 0 in a new batch, inherited by the halves of a split. */
    uint32_t attempts;
    uint64_t first_added_ms;      /* monotonic: when its oldest record came */
    char key[LOGS_KEY_BYTES + 1]; /* of the client of all its records; empty: ours */
    struct batch_origin origin;   /* dropped by batch_free(), held once more by a half */

    uint32_t part_count;
    struct batch_part parts[]; /* charged to the budget with this struct */
};

struct batch_opts {
    size_t max_bytes;      /* of the encoded request; 0: BATCH_MAX_BYTES */
    uint32_t max_records;  /* 0: no limit but max_bytes */
    struct budget *budget; /* charged for builder and batches; may be NULL */
};

struct batch_builder;

/* NULL when there is no memory. */
struct batch_builder *batch_builder_new(const struct batch_opts *opts);
void batch_builder_free(struct batch_builder *b);

/* A batch that waits on disk carries its key in its body, as a field that OTLP does not have:
 * whoever reads the body as a request passes it over, an earlier version of this program too. */
#define BATCH_KEY_FIELD 4919u
void batch_store_key(struct batch *b); /* there is room for it in a batch that was sealed */
struct span batch_stored_key(struct span body);

/* Copy a record, as it came, with `stamp` behind it: encoded LogRecord fields
 * (attributes to add, scalars to override), or empty. `service` says whom the
 * record is settled with; records with one Resource but several service
 * numbers are sent as several ResourceLogs.
 * All records of a batch are of one key: another one is ERR_TOO_BIG.
 *   ERR_TOO_BIG        it would pass a limit: seal, then add again. Never from
 *                      an empty builder: a record beyond max_bytes goes alone.
 *   ERR_FULL, ERR_NOMEM  no memory */
MUST_CHECK int batch_add(struct batch_builder *b, const struct logs_group *g, struct span record,
                         struct span stamp, uint32_t service);

/* The exact size of the request that batch_seal() would make now. */
size_t batch_builder_bytes(const struct batch_builder *b);
uint32_t batch_builder_records(const struct batch_builder *b);

/* Call fn once per part that a batch sealed now would have (see batch_each_service). */
void batch_builder_each_service(const struct batch_builder *b,
                                void (*fn)(void *ctx, uint32_t service, uint32_t records),
                                void *ctx);

/* Make *out of what was added and leave the builder empty, with its memory up
 * to a bound kept for the next batch. ERR_EMPTY when nothing was added;
 * ERR_FULL or ERR_NOMEM leave the builder as it was. */
MUST_CHECK int batch_seal(struct batch_builder *b, struct batch **out);

/* Forget everything added since the last seal. */
void batch_builder_clear(struct batch_builder *b);

/* Two batches with half the records each, in order, for one (HTTP 413). On
 * success *whole is freed and NULL. ERR_EMPTY when it has but one record. */
MUST_CHECK int batch_split(struct batch **whole, struct batch **a, struct batch **b);

/* Settle: calls fn once per part, not once per service: numbers may repeat. */
void batch_each_service(const struct batch *b,
                        void (*fn)(void *ctx, uint32_t service, uint32_t records), void *ctx);

/* An empty batch with room for so much: for batch_seal(). */
MUST_CHECK int batch_alloc(struct batch **out, size_t body_bytes, uint32_t part_count,
                           struct budget *budget);

/* Accepts NULL. */
void batch_free(struct batch *b);
