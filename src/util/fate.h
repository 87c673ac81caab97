/*
 * fate: what may become of a kept record. The vocabulary that the pipeline's
 * ledger and the exporter share: `kept = delivered + queued + lost{reason}`.
 */
#pragma once

#include <stdint.h>

/* clang-format off */
#define FATES(X) \
    X(DELIVERED,     "delivered")           /* upstream said 2xx, or the file took it */ \
    X(LOST_REFUSED,  "refused_upstream")    /* a permanent 4xx, or a redirect */ \
    X(LOST_AUTH,     "unauthorized")        /* 401, 403 or 407 when there was no time to wait for a new key, or to a client's own key */ \
    X(LOST_TOO_BIG,  "too_large")           /* 413 for a single record */ \
    X(LOST_PARTIAL,  "rejected_downstream") /* the upstream took the batch without them (partial_success) */ \
    X(LOST_POISON,   "undeliverable")       /* 500 for a single record, again and again */ \
    X(LOST_EXPIRED,  "expired")             /* older than queue.max_age */ \
    X(LOST_SHUTDOWN, "shutdown")            /* still queued when the time to stop was over */ \
    X(LOST_BUDGET,   "budget")              /* sampling.budget could not be held otherwise */ \
    X(LOST_IO,       "write_error")         /* the file exporter could not write */ \
    X(LOST_DISK,     "not_stored")          /* the spool could not store it; its client was answered to send it again */ \
    X(LOST_DROPPED,  "spool_full")          /* the oldest in a full spool, with spool.when_full: drop_oldest */ \
    X(LOST_DAMAGED,  "spool_damaged")       /* its bytes in the spool are not what was written */
/* clang-format on */

#define X(name, text) FATE_##name,
enum fate { FATES(X) FATE_COUNT };
#undef X

/* "delivered", or the reason of the loss. Static. */
static inline const char *fate_name(enum fate fate)
{
    static const char *const names[] = {
#define X(name, text) [FATE_##name] = text,
        FATES(X)
#undef X
    };
    return names[fate];
}

/* Report to the ledger what became of n kept records of a service. */
struct fate_sink {
    void *ctx;
    void (*settle)(void *ctx, uint32_t service, enum fate fate, uint64_t records);
};

/* For a walk over the parts of a batch: settle each of them alike. */
struct fate_settlement {
    const struct fate_sink *sink;
    enum fate fate;
};

static inline void fate_settle_part(void *settlement, uint32_t service, uint32_t records)
{
    const struct fate_settlement *s = settlement;
    s->sink->settle(s->sink->ctx, service, s->fate, records);
}
