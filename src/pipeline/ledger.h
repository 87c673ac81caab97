/*
 * ledger: what happened to every record, in total and per service.
 *
 *     received        = kept + sampled_out + dropped_by_rule + rejected + joined
 *     kept + released = delivered + queued + lost{reason}
 *
 * Released are those of sampled_out that are sent after all, as the context of an
 * error: they stay counted as sampled out, because survivors stand for them.
 *
 * Joined are lines that became a part of another record (pipeline/join.h), which is decided.
 *
 * Both lines hold after every call. Services are a bounded table: beyond
 * max_services new names are counted under "other", so counts are never lost.
 *
 * Units: records. Blocking: never. Ownership: names are copied.
 */
#pragma once

#include <stdint.h>

#include "pipeline/service_versions.h"
#include "util/budget.h"
#include "util/err.h"
#include "util/fate.h"
#include "util/span.h"

#define LEDGER_OTHER 0u       /* the service id of everything past the bound */
#define LEDGER_NAME_BYTES 255 /* longer service names are cut: the older server's column */

/* clang-format off */
#define VERDICTS(X) \
    X(KEPT,            "kept") \
    X(SAMPLED_OUT,     "sampled_out") \
    X(DROPPED_BY_RULE, "dropped_by_rule") \
    X(REJECTED,        "rejected") \
    X(JOINED,          "joined")
/* clang-format on */

#define X(name, text) VERDICT_##name,
enum verdict { VERDICTS(X) VERDICT_COUNT };
#undef X

const char *verdict_name(enum verdict v);

struct ledger_row {
    uint64_t received;
    uint64_t verdict[VERDICT_COUNT];
    uint64_t queued;
    uint64_t fate[FATE_COUNT];
    uint64_t released;
    /* As a backend meters them (pipeline/metering.h): had all been sent as it came, and what was
     * sent, with stamps. */
    uint64_t received_bytes, kept_bytes, released_bytes;
    uint64_t errors; /* of received: ERROR and above, whatever became of them */
};

struct ledger;

struct ledger_opts {
    uint32_t max_services; /* including "other" */
    uint64_t seed;         /* of the name index: names are chosen by clients */
    struct budget *budget;
};

MUST_CHECK int ledger_new(struct ledger **out, const struct ledger_opts *opts);
void ledger_free(struct ledger *l);

/* The id of a service, made on first sight; LEDGER_OTHER when the table is
 * full. Ids are 0..ledger_services()-1 and never change. */
uint32_t ledger_service(struct ledger *l, struct span name);
/* The same without making one; LEDGER_OTHER when it is not known. */
uint32_t ledger_find(const struct ledger *l, struct span name);
uint32_t ledger_services(const struct ledger *l);
struct span ledger_service_name(const struct ledger *l, uint32_t service);

/* The versions of a service that were seen. */
struct service_versions *ledger_versions(struct ledger *l, uint32_t service);

/* One or more records were received, and decided. KEPT ones are queued from now on, or lost:
 * those that are sent are metered as well. */
void ledger_decide(struct ledger *l, uint32_t service, enum verdict v, uint64_t records,
                   uint64_t bytes);

/* One of the decided was an error. */
void ledger_error(struct ledger *l, uint32_t service);

/* Kept records make what is sent so much longer. */
void ledger_meter(struct ledger *l, uint32_t service, uint64_t bytes);

/* Records that were sampled out are queued nevertheless; bytes as ledger_meter() has them. */
void ledger_release(struct ledger *l, uint32_t service, uint64_t records, uint64_t bytes);

/* Queued records reached their end. */
void ledger_settle(struct ledger *l, uint32_t service, enum fate fate, uint64_t records);

const struct ledger_row *ledger_total(const struct ledger *l);
const struct ledger_row *ledger_row(const struct ledger *l, uint32_t service);

/* How far the two lines above are from holding, summed over rows: always 0. */
uint64_t ledger_imbalance(const struct ledger *l);
