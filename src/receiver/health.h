/*
 * health: grpc.health.v1 (github.com/grpc/grpc, doc/health-checking.md): Check, and Watch.
 *
 * Ownership: watches are the callers', each in the memory of its exchange. Blocking: never.
 */
#pragma once

#include "net/http.h"
#include "otlp/grpc.h"
#include "util/list.h"

#define HEALTH_WATCHERS_MAX 256 /* a stream and its exchange each */

struct health {
    bool (*is_ready)(const void *ctx); /* NULL: always */
    const void *ctx;
    bool has_ended;
    struct list watchers;
    uint32_t count;
};

struct health_watch {
    struct list node;
    struct http_exchange *x;
    enum grpc_health told;
    bool is_open;
};

void health_init(struct health *h, bool (*is_ready)(const void *ctx), const void *ctx);

/* Answer a call with this message; `watch`: as Watch does, else as Check. ERR_MALFORMED: it is no
 * such message; ERR_UNSUPPORTED: no such service is served. x is then still to be answered. */
MUST_CHECK int health_answer(struct health *h, struct http_exchange *x, struct span message,
                             struct health_watch *watch);

/* Its exchange is dead. */
void health_forget(struct health *h, struct health_watch *w);

/* Tell the watchers what has changed. */
void health_tell(struct health *h);

/* The same, and end their calls. */
void health_end(struct health *h);
