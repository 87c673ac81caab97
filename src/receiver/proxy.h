/*
 * proxy: what is not OTLP goes on to PostHog's ingestion host as it came: events, flags, session
 * recordings, scripts. One `host` setting of an SDK then moves all of them together.
 *
 *     head -> the same method, path, query and fields     body, piece by piece ->
 *                    status and fields <-                 <- body, piece by piece
 *
 * Passed on unread: keys, CORS, codings. Left out are the fields of one connection (RFC
 * 9110 7.6.1); X-Forwarded-For, -Proto and -Host say who asked for what. To the configured host
 * only; redirects are answers like others.
 *
 * Bodies of any length go through, and answers without an end (server-sent events). Who is slow
 * holds up the other side: HTTP_PIPE_BYTES of a request wait, HTTP_STREAM_BYTES of an answer, and
 * as much with the sockets. A client that leaves ends the call, and PostHog the answer: one that
 * breaks off is seen to be broken off. A request whose body has begun is never sent twice.
 *
 * Errors     502 and a sentence when there is no answer, 504 when there is none in time. Where no
 *            connection could be had, requests of the next PROXY_DOWN_MS are answered 502 at once.
 * Deadlines  the timeout of proxy_point() without a byte, until the answer begins; then
 *            PROXY_SILENT_MS. Waiting for the client does not count: its own deadlines do.
 * Memory     PROXY_CALL_BYTES a call and its head, from `budget`; the windows from the session's.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/client.h"
#include "net/http.h"
#include "util/clock.h"
#include "util/metric.h"

/* At once; what comes beyond is asked to come again. With full windows each holds 128 KiB here and
 * up to 192 KiB of the session's: 20 MiB in all. */
#define PROXY_CALLS_MAX 64
#define PROXY_CALL_BYTES \
    ((size_t)128 << 10)        /* about what libcurl takes of a call: two buffers, TLS */
#define PROXY_SILENT_MS 300000 /* a stream of events shows a sign of life each minute or so */
#define PROXY_DOWN_MS 1000

struct proxy;

struct proxy_opts {
    struct client *client;
    const struct clock *clock;
    struct budget *budget;
};

struct proxy_stats {
    struct metric answered, failed, refused;
    struct metric cut; /* of those answered: it broke off */
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

struct proxy_call; /* one under way; it ends with its exchange */

/* Pass it on, from head(); its body is piped. *out: for the calls below, which accept NULL; NULL
 * when it is answered, which may be at once. It lives as long as the exchange. */
void proxy_begin(struct proxy *r, struct http_exchange *x, struct proxy_call **out);

/* More of the request is there, or there is room for more of the answer. */
void proxy_go_on(struct proxy_call *call);

/* All of the request is there. */
void proxy_request_ends(struct proxy_call *call);

/* Its peer is gone, or the session refuses the rest of it. */
void proxy_forget(struct proxy_call *call);

/* End what has no end of its own: this process will end. */
void proxy_end_endless(struct proxy *r);

/* End all that is under way: this process ends. */
void proxy_end(struct proxy *r);

const struct proxy_stats *proxy_stats(const struct proxy *r);
