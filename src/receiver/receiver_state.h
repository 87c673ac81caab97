/*
 * receiver_state: what the files of the receiver share. Only they include it.
 */
#pragma once

#include "receiver/decode_pool.h"
#include "receiver/health.h"
#include "receiver/receiver.h"
#include "receiver/reply.h"

#define ARENA_EXTRA_BYTES 65536 /* of a request, beside what its size asks for */

struct endpoint {
    const char *path;
    enum signal signal;
    bool grpc;
    bool any_type; /* the content type is not asked for, as PostHog does */
    enum { NO_HEALTH, HEALTH_CHECK, HEALTH_WATCH } health;
};

struct receiver {
    struct receiver_opts opts;
    const struct clock *clock;
    struct decoder *decoder;
    struct decode_pool *pool;
    uint64_t turn_ms;   /* of the loop's clock */
    size_t turn_bytes;  /* decoded since then */
    struct arena arena; /* of the request in hand */
    struct buf joined;  /* scratch: with the lines of traces in one record */
    struct buf owned;   /* scratch: with the service of a key */
    struct receiver_stats stats;
    uint64_t last_request_ms;
    struct door door;
    struct port {
        struct receiver *receiver;
        bool on_loopback;
    } ports[2]; /* by on_loopback: what the callbacks of a service are given */
    struct health health;
    bool has_ended;
};

/* What head() found out, for request(); in the exchange's arena. */
struct call {
    const struct endpoint *endpoint; /* NULL: the request is passed on */
    struct proxy_call *proxied;
    enum reply_form form;
    enum coding coding;
    struct door_pass pass;
    bool looks;          /* at the body for what it is: its type says nothing */
    const char *warning; /* for the client, of a request that was taken; in the exchange's arena */
    uint64_t rejected;   /* records of it that were not */

    struct health_watch watch;
    struct decode_task task;
    struct pipeline_part part; /* of its records, where they enter in several turns */
    bool is_parted;
    int entered; /* what came of that */

    /* While its records are on their way to the disk. */
    bool waits;
    struct hold_waiter waiter;

    /* For who answers later. */
    struct receiver *receiver;
    struct http_exchange *exchange;
    size_t sent_bytes;
};

/* ---- receiver.c ---- */

/* The path without trailing slashes and queries. */
struct span receiver_plain_path(struct span path);

/* `detail` says more than the table can; NULL: nothing. */
void receiver_refuse(struct receiver *r, struct http_exchange *x, enum refusal why,
                     const char *detail);

/* rc: of all that was done with the request, or 1: somebody else will answer. */
void receiver_answer(struct receiver *r, struct http_exchange *x, int rc, const struct error *err);

/* Is the answer to wait until it is stored? 1: it is given then; 0 and failures: now. */
MUST_CHECK int receiver_wait_for_hold(struct receiver *r, struct http_exchange *x);

/* ---- receiver_logs.c ---- */

/* Decode and hand on. 0, 1: it will be answered later, or the reason as an error code. */
MUST_CHECK int receiver_take_logs(struct receiver *r, struct http_exchange *x, struct span payload,
                                  enum coding coding, struct error *err);
