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

/* A call whose bodies are handed on as they come. It has a connection of its own, by HTTP/1.1: one
 * that several calls share would be held up by the slowest reader. A request whose body has begun
 * is never sent again. */
struct client_flow {
    int64_t length; /* of the request's body; -1: not known, 0: it has none */
    /* Put up to *n of its next bytes to `to`: 0, and *n of them, 0 at the end of the body;
     * ERR_MORE: there are none now, client_resume() says when; others end the call. */
    int (*upload)(void *ctx, uint8_t *to, size_t *n);
    /* The head of the final answer: status, head. Not 0: the call ends. */
    int (*head)(void *ctx, const struct client_result *r);
    /* Some of its body. 0: taken; ERR_FULL: the same bytes again after client_resume(); others end
     * the call. */
    int (*piece)(void *ctx, struct span bytes);
    uint32_t silent_timeout_ms; /* behind the head: without a byte either way; 0: none */
};

struct client_request {
    const char *method; /* "POST", "GET", "HEAD", "PUT" and so on */
    const char *url;
    const char *const *headers; /* "Name: value", NULL at the end; may be NULL */
    struct span body;           /* of a GET or a HEAD none */
    uint32_t timeout_ms;        /* the whole exchange; of a flow, without a byte either way, until
                                 * its answer begins; time that the owner takes does not count; 0: none */
    const struct client_flow
        *flow;                 /* copied; NULL: none. With it `body` and `piece` are not used */
    size_t max_answer_bytes;   /* 0: CLIENT_ANSWER_BYTES */
    size_t upload_bytes;       /* handed to the socket in a turn; 0: as much as the body has, up to
                                * 1 MiB, which is memory of libcurl's */
    bool keeps_head;           /* for the result */
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

/* Go on with a flow that waits. It does so in another turn of the loop. */
void client_resume(struct client_call *call);

/* Forget it: nothing of it will be called any more. This may be called from inside any callback,
 * client_close() from none. */
void client_cancel(struct client_call *call);

/* What libcurl this is, for --version. */
const char *client_library(void);
