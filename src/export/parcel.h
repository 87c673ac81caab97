/*
 * parcel: one request to the upstream, owned, from the moment it is sealed
 * until its fate is settled.
 *
 * A logs parcel knows whose records it holds; a relay parcel (traces, metrics)
 * is bytes as a client sent them. The queue holds parcels in the form in which
 * they will be sent, which is a quarter of the decoded size and more can wait.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "export/batch.h"
#include "net/coding.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/fate.h"
#include "util/list.h"

/* clang-format off */
#define SIGNALS(X) \
    X(LOGS,    "logs") \
    X(TRACES,  "traces") \
    X(METRICS, "metrics")
/* clang-format on */

#define X(name, text) SIGNAL_##name,
enum signal { SIGNALS(X) SIGNAL_COUNT };
#undef X

/* "logs": also the last part of its OTLP path, /v1/logs. */
const char *signal_name(enum signal s);

#define PARCEL_TYPE_BYTES 64 /* of a relayed content type; a longer one is refused at the door */

struct parcel {
    struct list link;
    enum signal signal;
    struct buf body; /* as it will be sent, in `coding` */
    enum coding coding;
    char content_type[PARCEL_TYPE_BYTES];
    char key[LOGS_KEY_BYTES + 1]; /* of its client; empty: ours */
    size_t decoded_bytes;         /* what PostHog meters; of a relay: the bytes as they came */
    uint32_t records;             /* 0 in a relay */
    struct batch *batch;          /* logs: whose records; its body is empty while packed */
    uint64_t born_ms;             /* when its oldest record came */
    uint32_t attempts;            /* failed ones */
    uint64_t failed_ms;           /* when it first failed; 0: never */
    bool is_urgent;               /* it goes before those that are not */
    bool is_slow;                 /* it, or what it is a half of, had no answer in time */
};

struct parcel_packing {
    struct coder *coder;
    enum coding coding;
    struct budget *budget;
    size_t max_bytes; /* decoded size of any parcel, for unpacking */
};

/* An empty parcel of logs, for parcel_fill(). NULL: no memory. */
struct parcel *parcel_of_logs(void);

/* Put a sealed batch into it, which is taken (NULL afterwards). Cannot fail: where there is
 * no memory to compress into, the batch is left as it is. */
void parcel_fill(struct parcel *p, struct batch **batch, const struct parcel_packing *packing);

/* Make a parcel of a client's bytes, which are copied. */
MUST_CHECK int parcel_of_relay(struct parcel **out, enum signal signal, struct span body,
                               enum coding coding, struct span content_type, struct span key,
                               struct budget *budget);

/* Compress anew with p->coding: after the upstream refused the old coding. */
MUST_CHECK int parcel_recode(struct parcel *p, const struct parcel_packing *packing);

/* Two parcels with half the records each; *whole is taken on success. ERR_EMPTY
 * when it holds one record, or is a relay. */
MUST_CHECK int parcel_split(struct parcel **whole, struct parcel **a, struct parcel **b,
                            const struct parcel_packing *packing);

/* Move the decoded bytes to *out: what is left of the parcel can only be settled. */
MUST_CHECK int parcel_unpack(struct parcel *p, struct buf *out,
                             const struct parcel_packing *packing);

/* Settle `rejected` of the records, or all if it holds fewer, as FATE_LOST_PARTIAL and
 * the rest as delivered. Which they were is not known: the first ones of the batch are
 * taken, so that with several services in it the counts of each are a guess. */
void parcel_settle_partial(struct parcel *p, uint64_t rejected, const struct fate_sink *sink);

/* Tell the sink what became of each record, and free the parcel. */
void parcel_settle(struct parcel *p, enum fate fate, const struct fate_sink *sink);

/* Bytes of memory that it holds. */
size_t parcel_bytes(const struct parcel *p);

void parcel_free(struct parcel *p);
