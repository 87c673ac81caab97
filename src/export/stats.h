/*
 * stats: what the exporter counts and what it holds, for metrics and health.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "export/answer.h"
#include "export/circuit.h"
#include "export/parcel.h"
#include "export/refused_file.h"
#include "util/metric.h"

/* Counters that grow, and gauges of this moment. */
struct exporter_stats {
    struct metric answers[ANSWER_COUNT]; /* requests by what their answer asked for */
    struct metric failures;              /* requests without an HTTP answer */
    struct metric page_answers;          /* 2xx whose body is a web page */
    struct metric memory_failures;       /* tries to take a record or seal a batch without memory */
    struct metric doubtful_records;      /* sent, and perhaps stored, though they are sent again */
    struct metric sent_wire_bytes;       /* bodies of accepted requests, as sent */
    struct metric sent_decoded_bytes;    /* the same, as PostHog meters them */
    struct metric sent_logs_bytes;       /* of these, logs */
    struct {
        struct metric received, delivered, lost, discarded, received_bytes;
    } relay[SIGNAL_COUNT]; /* requests; logs stay 0 */
    size_t queue_bytes, batch_bytes;
    uint32_t queued_parcels, in_flight, waiting_to_retry;
    uint32_t slow_parcels;         /* of the queued ones: those that had no answer in time */
    uint64_t oldest_ms;            /* age of the oldest record that is not settled, 0: none */
    int last_status;               /* of the last answer; 0: none, or no connection */
    enum coding coding;            /* in use now */
    bool holds_for_key;            /* the upstream refuses the key */
    bool holds_for_address;        /* the address is not one that takes logs */
    const char *host, *right_host; /* then: which it is, and the likely right one ("": not known);
                                    * borrowed until the loop turns */
    enum circuit_state circuit;
    uint64_t retry_in_ms;                   /* until the next try, while it is open; else 0 */
    uint64_t outage_ms;                     /* since a request has passed; 0: it is closed */
    struct refused_file_stats refused_file; /* zero where there is none */
};
