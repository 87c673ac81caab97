/*
 * proxy: what is not OTLP goes on to PostHog's ingestion host as it came: events, flags, session
 * recordings, scripts. One `host` setting of an SDK then moves all of them together.
 *
 *     head -> body, in the account -> the same method, path, query, fields and body upstream
 *                          answer  <- status, fields and body, in the account
 *
 * Passed on unread: keys, CORS, codings. Left out are the fields of one connection (RFC
 * 9110 7.6.1); X-Forwarded-For, -Proto and -Host say who asked for what. To the configured host
 * only; redirects are answers like others.
 *
 * Errors     502 and a sentence when there is no answer, 504 when there is none in time. Where no
 *            connection could be had, requests of the next PROXY_DOWN_MS are answered 502 at once.
 * Memory     a body like others; PROXY_CALL_BYTES a call, and its answer, from `budget`.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/client.h"
#include "net/http.h"
#include "util/clock.h"
#include "util/metric.h"

#define PROXY_CALLS_MAX 32 /* at once; what comes beyond is asked to come again */
#define PROXY_CALL_BYTES \
    ((size_t)128 << 10) /* about what libcurl takes of a call: two buffers, TLS */
#define PROXY_ANSWER_BYTES ((size_t)8 << 20) /* the largest script of posthog-js has 1 MiB */
#define PROXY_DOWN_MS 1000

struct proxy;

struct proxy_opts {
    struct client *client;
    const struct clock *clock;
    struct budget *budget;
};

struct proxy_stats {
    struct metric answered, failed, refused;
};

/* ERR_NOMEM. */
MUST_CHECK int proxy_new(struct proxy **out, const struct proxy_opts *opts);

/* The calls under way must have ended: proxy_end(). Accepts NULL. */
void proxy_free(struct proxy *r);

/* From now on to this host, "https://us.i.posthog.com"; copied. */
MUST_CHECK int proxy_point(struct proxy *r, const char *host, const struct route *route,
                           uint32_t timeout_ms);

/* May this request be passed on? Its body may not be there yet. What is said to be protobuf or gRPC
 * was meant for us, as is the root: PostHog's SDKs send neither. */
bool proxy_takes(const struct http_head *head);

struct proxy_call; /* one under way; in the exchange's arena */

/* Pass it on, and answer it later. *out: for proxy_forget(); NULL: it is answered already. */
void proxy_send(struct proxy *r, struct http_exchange *x, struct proxy_call **out);

/* Its peer is gone. */
void proxy_forget(struct proxy_call *call);

/* Answer all that is under way: this process ends. */
void proxy_end(struct proxy *r);

const struct proxy_stats *proxy_stats(const struct proxy *r);
