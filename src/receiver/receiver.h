/*
 * receiver: OTLP's endpoints. Every path, protocol and coding of OTLP/gRPC and
 * OTLP/HTTP, from an exchange to the pipeline and back to an answer.
 *
 *     head      route, method, content type, coding: refused before the body
 *     request   inflate -> transcode JSON -> pipeline -> answer
 *
 * Traces and metrics are relayed as they came, or discarded, or refused.
 *
 * Blocking: never. In memory mode a request is held when the pipeline has taken it, and
 * is answered before request() returns; on disk, when its kept records are stored.
 */
#pragma once

#include <stdint.h>

#include "export/exporter.h"
#include "export/hold.h"
#include "net/coding.h"
#include "net/http.h"
#include "otlp/mend.h"
#include "pipeline/pipeline.h"
#include "receiver/client_key.h"
#include "util/err.h"
#include "util/metric.h"

/* clang-format off */
/* Why a request was refused. */
#define REFUSALS(X) \
    X(PATH,        "unknown_path") \
    X(METHOD,      "method") \
    X(TYPE,        "content_type") \
    X(CODING,      "content_encoding") \
    X(DISABLED,    "signal_refused") \
    X(MALFORMED,   "malformed") \
    X(UTF8,        "not_utf8") \
    X(DEPTH,       "too_deep") \
    X(FRAMING,     "grpc_framing") \
    X(TOO_BIG,     "too_large") \
    X(FULL,        "full") \
    X(DISK,        "not_stored") \
    X(ENDED,       "ended") \
    X(TIMEOUT,     "timeout") \
    X(KEY,         "key")
/* clang-format on */

#define X(name, text) REFUSED_##name,
enum refusal { REFUSALS(X) REFUSAL_COUNT };
#undef X

/* What a client spoke. */
enum receiver_protocol {
    RECEIVED_GRPC,
    RECEIVED_HTTP_PROTOBUF,
    RECEIVED_HTTP_JSON,
    RECEIVED_COUNT
};

const char *refusal_name(enum refusal r);
const char *receiver_protocol_name(enum receiver_protocol p);

enum relay_mode { RELAY_SEND, RELAY_DISCARD, RELAY_REFUSE };

struct receiver_opts {
    size_t max_request_bytes; /* decoded */
    bool is_strict;           /* one bad record refuses its request */
    enum upstream_key upstream_key;
    bool joins;                          /* lines of a stack trace into one record */
    enum relay_mode relay[SIGNAL_COUNT]; /* of SIGNAL_LOGS: not read */
    struct budget *budget;
    struct pipeline *pipeline;
    struct exporter *exporter;
    struct hold *hold; /* what the pipeline gives its survivors to */
};

struct receiver_stats {
    struct metric accepted[SIGNAL_COUNT][RECEIVED_COUNT]; /* requests */
    struct metric refused[REFUSAL_COUNT];                 /* requests */
    struct metric not_otlp;                               /* requests of JSON without OTLP in it */
    struct metric repairs[REPAIR_COUNT];                  /* of accepted requests */
    struct metric received_bytes;                         /* bodies as sent, of accepted requests */
    struct metric decoded_bytes;                          /* the same, inflated */
};

struct receiver;

MUST_CHECK int receiver_new(struct receiver **out, const struct receiver_opts *opts);
void receiver_free(struct receiver *r);

/* Point a service's callbacks at this receiver. */
void receiver_serve(struct receiver *r, struct http_service *service);

const struct receiver_stats *receiver_stats(const struct receiver *r);

/* The key that is configured, which is copied: a client that brings another is told of once, where
 * its own does not go on. */
void receiver_set_key(struct receiver *r, const char *key);

/* From now on nothing is taken: what is still read is answered to be sent again. */
void receiver_end(struct receiver *r);

/* When logs last arrived, by the service's clock: for a drain that waits for the
 * application's last flush. 0: never. */
uint64_t receiver_last_request_ms(const struct receiver *r);
