/*
 * remote: the rules of each service, fetched from a policy server.
 *
 *     GET {server}/api/v1/policies/{service_name}?team_id=N
 *     If-None-Match: <the version that is in force>
 *     Prefer: wait=N
 *
 * Asked at first sight of a service. A server that says Preference-Applied: wait holds the next
 * request until there is another version, so that a change is in force at once; REMOTE_WAITS
 * services wait so at a time. Others, and with other servers all, are asked for every refresh
 * interval, jittered. Where policies are kept on disk, the last one is in force from the first
 * sight on, until the server answers. Whatever goes wrong, the last good policy stays in force: the
 * server away, an answer that is no policy, a 404 (it does not know the service).
 *
 * Units: milliseconds. Blocking: never.
 */
#pragma once

#include <uv.h>

#include "net/client.h"
#include "pipeline/rules.h"
#include "policy/kept.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/metric.h"

struct remote;

#define REMOTE_WAITS 32   /* a connection each */
#define REMOTE_WAIT_S 240 /* proxies that cut earlier cost a request, and no change */

struct remote_opts {
    const char *server;  /* base URL, without a slash at the end; copied */
    const char *api_key; /* bearer; "" for none; copied */
    struct route route;  /* copied */
    uint32_t team_id, refresh_interval_ms, timeout_ms;
    const struct clock *clock;
    struct kept *kept;        /* NULL: policies are not kept on disk */
    const struct rules *base; /* what a fetched policy does not speak of; kept by reference */
    /* Put a policy in force. The rules are the callee's to keep by reference. */
    void (*install)(void *ctx, uint32_t service, const struct rules *rules);
    void *ctx;
};

struct remote_stats {
    struct metric installed;  /* answers that were a policy */
    struct metric unchanged;  /* 304 */
    struct metric unknown;    /* 404 */
    struct metric invalid;    /* answers that were none */
    struct metric failed;     /* no answer, or another status */
    struct metric from_disk;  /* put in force at first sight, without the server */
    uint32_t waiting;         /* requests that the server holds */
    uint32_t services;        /* with a fetched policy in force */
    uint64_t last_success_ms; /* monotonic, of an answer that was a policy, or that it is still so;
                               0: never */
};

MUST_CHECK int remote_open(struct remote **out, uv_loop_t *loop, struct client *client,
                           const struct remote_opts *opts);
/* Cancels what is under way. Handles close with the loop. Accepts NULL. */
void remote_close(struct remote *r);

/* Another base from now on; all policies are fetched again, to stand on it. */
void remote_set_base(struct remote *r, const struct rules *base);

/* A service was seen for the first time: fetch its policy now. Number 0 and one without a name
 * have none. The name is copied. */
void remote_service_seen(struct remote *r, uint32_t service, struct span name);

const struct remote_stats *remote_stats(const struct remote *r);
