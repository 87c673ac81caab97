/*
 * client: outgoing HTTP on the loop, by libcurl's multi interface.
 *
 * TLS verification, proxies (HTTP(S)_PROXY, NO_PROXY), connection reuse and
 * HTTP/2 are libcurl's. Redirects are never followed: a redirect means a wrong
 * host, and behind it waits a page that answers 200. Of an answer no more is read
 * than the request allows, and nothing of it is decompressed. An answer is its whole
 * head: what breaks off in there is none, what breaks off behind it is one.
 *
 * Units      milliseconds.
 * Ownership  url, headers and body are borrowed until done() or cancel.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "net/route.h"
#include "util/budget.h"
#include "util/err.h"
#include "util/span.h"

#define CLIENT_ANSWER_BYTES 65536 /* of an answer's body, unless the request says otherwise */
#define CLIENT_HEAD_BYTES 65536   /* of all header lines of an answer */

struct client;
struct client_call;

struct client_opts {
    const char *user_agent;
    uint32_t connect_timeout_ms;
    uint32_t max_idle_connections;
};

struct client_result {
    int err;          /* 0: an HTTP answer arrived, or at least its head; else ERR_UNAVAILABLE (no
                       * connection, in time), ERR_UNTRUSTED (TLS), ERR_IO, UV_ETIMEDOUT (no answer) */
    int status;       /* HTTP status when err is 0 */
    struct span body; /* borrowed for the time of the call; what is too long is cut off */
    struct span retry_after;  /* the header's value, or empty */
    struct span content_type; /* likewise */
    struct span location;     /* likewise; cut off behind 255 bytes */
    struct span head;         /* the lines of the answer's head, where they were asked for */
    bool is_whole;            /* all of the body is there: it did not break off, nor was it cut */
    const char *text;         /* what went wrong, in words, when err is not 0 */
    bool was_repeated;        /* the request was sent more than once: a connection that had been
                               * used before was closed under it, perhaps when it had arrived */
};

struct client_request {
    const char *method; /* "POST", "GET", "HEAD", "PUT" and so on */
    const char *url;
    const char *const *headers; /* "Name: value", NULL at the end; may be NULL */
    struct span body;           /* of a GET or a HEAD none */
    uint32_t timeout_ms;        /* the whole exchange; 0: none */
    size_t max_answer_bytes;    /* 0: CLIENT_ANSWER_BYTES */
    size_t upload_bytes;        /* handed to the socket in a turn; 0: as much as the body has, up to
                                 * 1 MiB, which is memory of libcurl's */
    bool keeps_head;            /* for the result */
    bool is_public;            /* only to addresses of the public internet, and by no proxy; else no
                                * connection is made */
    struct budget *budget;     /* of head and answer; NULL: none */
    const struct route *route; /* NULL: the system's CAs, the environment's proxies */
    void *ctx;
    void (*done)(void *ctx, const struct client_result *r);
    /* The body of a 2xx as it arrives, and none of it is kept; may be NULL. */
    void (*piece)(void *ctx, struct span bytes);
};

MUST_CHECK int client_open(struct client **out, uv_loop_t *loop, const struct client_opts *opts);

/* Cancel what is in flight (without calling done) and free; the handles close
 * in the following turns of the loop. Accepts NULL. */
void client_close(struct client *c);

/* Start. done() is called once, never from inside client_send(). */
MUST_CHECK int client_send(struct client *c, const struct client_request *r,
                           struct client_call **out);

/* Use no connection that stands now for another call: certificates may have changed. */
void client_forget_connections(struct client *c);

/* Forget it: done() will not be called. Neither this nor client_close() may be called
 * from inside a done(). */
void client_cancel(struct client_call *call);

/* What libcurl this is, for --version. */
const char *client_library(void);
