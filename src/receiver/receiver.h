/*
 * receiver: OTLP's endpoints. Every path, protocol and coding of OTLP/gRPC and
 * OTLP/HTTP, from an exchange to the pipeline and back to an answer.
 *
 *     head      route, method, content type, coding: refused before the body
 *     request   inflate -> transcode JSON -> pipeline -> answer; large ones by way of the thread
 *               pool (decode_pool)
 *
 * Traces and metrics are relayed as they came, or discarded, or refused.
 *
 * Blocking: never. In memory mode a request is held when the pipeline has taken it, and
 * is answered before request() returns; on disk, when its kept records are stored.
 */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "export/exporter.h"
#include "export/hold.h"
#include "net/coding.h"
#include "net/http.h"
#include "otlp/mend.h"
#include "pipeline/pipeline.h"
#include "receiver/door.h"
#include "receiver/proxy.h"
#include "receiver/refusal.h"
#include "util/err.h"
#include "util/metric.h"

/* What a client spoke. */
enum receiver_protocol {
    RECEIVED_GRPC,
    RECEIVED_HTTP_PROTOBUF,
    RECEIVED_HTTP_JSON,
    RECEIVED_COUNT
};

const char *receiver_protocol_name(enum receiver_protocol p);

enum relay_mode { RELAY_SEND, RELAY_DISCARD, RELAY_REFUSE };

struct receiver_opts {
    size_t max_request_bytes; /* decoded */
    bool is_strict;           /* one bad record refuses its request */
    struct door_opts door;
    bool (*is_ready)(const void *ctx); /* for grpc.health.v1; NULL: always */
    const void *ready_ctx;
    bool joins;                          /* lines of a stack trace into one record */
    enum relay_mode relay[SIGNAL_COUNT]; /* of SIGNAL_LOGS: not read */
    struct proxy *proxy; /* of requests that are not OTLP, to PostHog; NULL: they are refused */
    uv_loop_t *loop;
    struct budget *budget;
    struct pipeline *pipeline;
    struct exporter *exporter;
    struct hold *hold; /* what the pipeline gives its survivors to */
};

struct receiver_stats {
    struct metric accepted[SIGNAL_COUNT][RECEIVED_COUNT]; /* requests */
    struct metric refused[REFUSAL_COUNT];                 /* requests */
    struct metric preflights[2];                          /* of browsers: allowed, refused */
    struct metric not_otlp;                               /* requests of JSON without OTLP in it */
    struct metric repairs[REPAIR_COUNT];                  /* of accepted requests */
    struct metric received_bytes;                         /* bodies as sent, of accepted requests */
    struct metric decoded_bytes;                          /* the same, inflated */
};

struct receiver;

MUST_CHECK int receiver_new(struct receiver **out, const struct receiver_opts *opts);

/* Close what the loop knows of, before it runs out and all sessions with it; then free. Both accept
 * NULL. */
void receiver_close(struct receiver *r);
void receiver_free(struct receiver *r);

/* Point a service's callbacks at this receiver. On loopback requests are refused whose Host is
 * another's name. */
void receiver_serve(struct receiver *r, struct http_service *service, bool on_loopback);

struct receiver_stats receiver_stats(const struct receiver *r);

/* The keys that may send, which the receiver owns from now on; NULL: none are asked for. */
void receiver_set_auth(struct receiver *r, struct auth_keys *keys);

/* The key that is configured, which is copied: a client that brings another is told of once, where
 * its own does not go on. */
void receiver_set_key(struct receiver *r, const char *key);

/* From now on nothing is taken: what is still read is answered to be sent again. */
void receiver_end(struct receiver *r);

/* Once a second or so: whoever watches our health is told when it has changed. */
void receiver_tell_health(struct receiver *r);

/* Those who watch are told a last time, and their calls end. */
void receiver_end_watches(struct receiver *r);

/* When logs last arrived, by the service's clock: for a drain that waits for the
 * application's last flush. 0: never. */
uint64_t receiver_last_request_ms(const struct receiver *r);
