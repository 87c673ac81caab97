/*
 * http: one exchange, whichever version of HTTP carries it.
 *
 * A session (net/http1, net/http2) turns bytes into exchanges and calls the
 * handler; the handler answers with http_reply(). Sessions do no I/O: they are
 * fed spans and write into a struct buf (net/stream moves both).
 *
 *     head arrives    -> handler->head(x)     may answer at once (wrong path, no room)
 *     first bytes     -> handler->prefix(x)   once x->prefix_bytes of body are there
 *     whole body      -> handler->request(x)  x->body is complete; answer now or later
 *     peer gone first -> handler->gone(x)     no answer is possible; forget x
 *
 * Exactly one of "http_reply() was called" and "gone() was called" ends an
 * exchange; x is dead after either. head, prefix and request may call
 * http_reply() from inside.
 *
 * A body that is handed on as it comes is piped: head() sets x->is_piped, piece(x) says that more
 * of it is in x->body, http_take() makes room there, and request(x) says that all of it has come.
 * While HTTP_PIPE_BYTES wait, nothing more of it is read.
 *
 * An answer that grows is begun with http_stream(), before the request is whole if need be, grows
 * by http_stream_write() and ends with http_stream_end(), http_stream_abort() or gone(). One that
 * was full says drained(x) when there is room again.
 *
 * Memory: the body is charged to the handler's budget as it arrives, so that what is
 * announced and not sent costs nothing; when the budget says no the session answers
 * through handler->refuse(x, ERR_FULL) (503), over max_body_bytes through refuse(x,
 * ERR_TOO_BIG) (413), before more is read. All else that a peer makes us hold (heads, answers,
 * the connection) is charged to the service's `overhead`. Head spans live as long as the exchange.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/arena.h"
#include "util/budget.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/metric.h"
#include "util/span.h"

enum http_version { HTTP_1_0, HTTP_1_1, HTTP_2 };

enum http_method {
    METHOD_OTHER,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_OPTIONS
};

/* The headers that anybody here reads. Absent: an empty span with base NULL;
 * present and empty: len 0 with a base. */
struct http_head {
    enum http_version version;
    enum http_method method;
    struct span path;  /* without query, as sent (percent-encoding untouched) */
    struct span query; /* without '?', may be empty */
    struct span host;
    struct span content_type;
    struct span content_encoding;
    struct span authorization;
    struct span user_agent;
    struct span api_key;        /* x-api-key */
    struct span origin;         /* of the web page whose script asks */
    struct span fetch_site;     /* Sec-Fetch-Site: what that page is to us */
    struct span if_none_match;  /* tags of what the peer has */
    struct span wanted_method;  /* of a preflight: Access-Control-Request-Method */
    struct span wanted_headers; /* and -Headers */
    struct span prefer;         /* RFC 7240 */
    struct span grpc_encoding;
    struct span grpc_timeout;
    int64_t content_length; /* -1: not given */
    bool has_body;          /* one comes, though it may be empty */
    bool is_encrypted;      /* it came over TLS */
    struct span peer;       /* its address as text; empty: not known */
    struct span lines;      /* other fields, where the service passes them on: see net/head.h */
};

struct http_exchange {
    struct http_head head;
    struct buf body;      /* grows until request(); charged to the budget */
    struct arena arena;   /* the handler's small things; takes nothing until used */
    uint64_t deadline_ms; /* head() may set one for the body; 0: none */
    size_t prefix_bytes;  /* head() may ask for prefix() at this many body bytes */
    bool is_piped;        /* head() may ask for the body in pieces; it may be of any length */
    bool ends_with_peer; /* the answer comes late: a client that half-closes does not wait for it */
    void *user;          /* the handler's own */
    const struct http_exchange_ops *ops; /* the session's; see http_reply() */
};

struct http_header {
    struct span name, value; /* name in lower case */
};

struct http_response {
    int status;
    const struct http_header *headers; /* content-type among them; no content-length */
    size_t header_count;
    struct span body;                   /* copied before http_reply() returns */
    struct buf *owned;                  /* NULL, or the body instead: moved, and left empty */
    const struct http_header *trailers; /* HTTP/2 only; a "trailers only" answer of gRPC
                                           puts them into headers and has no body */
    size_t trailer_count;
    const uint64_t *length; /* of http_stream(): of the whole body; NULL: not known */
    bool close;             /* HTTP/1: end the connection after this answer; HTTP/2: ignored */
};

/* Header fields of an answer, beside those that a session writes itself. */
#define HTTP_ANSWER_FIELDS_MAX 64

/* What a session can do with its exchange; one table per version of HTTP. */
struct http_exchange_ops {
    void (*reply)(struct http_exchange *x, const struct http_response *r);
    /* Reserve room for a body of `total` bytes in all; 0, ERR_FULL or ERR_TOO_BIG. */
    int (*expect)(struct http_exchange *x, size_t total);
    void (*take)(struct http_exchange *x, size_t n);
    int (*stream)(struct http_exchange *x, const struct http_response *r);
    int (*stream_write)(struct http_exchange *x, struct span piece);
    void (*stream_end)(struct http_exchange *x, bool is_whole);
};

/* Answer. x may not be used afterwards. What of the request has not arrived is
 * read and thrown away within bounds, or the connection is closed (HTTP/1) or
 * the stream reset with NO_ERROR (HTTP/2, RFC 9113 8.1). */
static inline void http_reply(struct http_exchange *x, const struct http_response *r)
{
    x->ops->reply(x, r);
}

static inline int http_expect(struct http_exchange *x, size_t total)
{
    return x->ops->expect(x, total);
}

/* What may wait in an open answer for a peer that does not read; twice that with what
 * the socket did not take. */
#define HTTP_STREAM_BYTES ((size_t)64 * 1024)

/* Begin an answer that stays open, from request() or later, or from piece(); the body of r is its
 * first piece. ERR_UNSUPPORTED (HEAD): nothing was sent, http_reply() instead. When the peer ends
 * its side of one without a known length, that is gone(). In HTTP/1.0 such a one ends with the
 * connection. */
static inline int http_stream(struct http_exchange *x, const struct http_response *r)
{
    return x->ops->stream(x, r);
}

/* Send a piece, whole or not at all: ERR_FULL when HTTP_STREAM_BYTES would wait. */
static inline int http_stream_write(struct http_exchange *x, struct span piece)
{
    return x->ops->stream_write(x, piece);
}

/* The end. x may not be used afterwards. */
static inline void http_stream_end(struct http_exchange *x)
{
    x->ops->stream_end(x, true);
}

/* The same, and the peer can see that something is missing: the connection ends without the last
 * chunk or before the length is reached (HTTP/1.1), the stream is reset (HTTP/2). */
static inline void http_stream_abort(struct http_exchange *x)
{
    x->ops->stream_end(x, false);
}

/* What may wait of a piped body. As much as the default window of HTTP/2, so that a client which
 * has not seen our settings yet cannot send more either. */
#define HTTP_PIPE_BYTES ((size_t)65535)

/* The first n bytes of a piped body are done with. */
static inline void http_take(struct http_exchange *x, size_t n)
{
    x->ops->take(x, n);
}

/* Why requests and connections were ended by us rather than answered in
 * order; one counter each (shown as a metric with this reason). */
/* clang-format off */
#define HTTP_FAULTS(X) \
    X(BAD_REQUEST,    "bad_request")    /* the bytes are not HTTP */ \
    X(TOO_LARGE,      "head_too_large") /* headers over the limit */ \
    X(TIMEOUT,        "timeout")        /* header, body or write deadline passed */ \
    X(ABORTED,        "aborted")        /* peer went away inside a request */ \
    X(FLOOD,          "flood")          /* a frame budget of HTTP/2 ran out */ \
    X(TLS,            "tls_on_clear")   /* a TLS ClientHello on a clear-text port */ \
    X(CLEAR,          "clear_on_tls")   /* clear text on a port that requires TLS */ \
    X(HANDSHAKE,      "tls_handshake")  /* one that failed */ \
    X(CONNECTIONS,    "too_many_connections")
/* clang-format on */

#define X(name, text) HTTP_FAULT_##name,
enum http_fault { HTTP_FAULTS(X) HTTP_FAULT_COUNT };
#undef X

/* What all sessions of a listener share. Filled by the owner, read by net. */
struct http_service {
    void *ctx; /* for the callbacks */
    void (*head)(void *ctx, struct http_exchange *x);
    void (*prefix)(void *ctx, struct http_exchange *x);
    void (*request)(void *ctx, struct http_exchange *x);
    void (*gone)(void *ctx, struct http_exchange *x);
    /* More of a piped body is there; http_take() may be called from inside. NULL: none is piped. */
    void (*piece)(void *ctx, struct http_exchange *x);
    /* An open answer to which http_stream_write() said ERR_FULL has room again. It is written to
     * later, not from inside. NULL: it is not asked for. */
    void (*drained)(void *ctx, struct http_exchange *x);
    /* The session must refuse before the body is read: write the protocol's own
     * answer for `err` (ERR_FULL, ERR_TOO_BIG, ERR_MALFORMED, UV_ETIMEDOUT). Must call
     * http_reply(). */
    void (*refuse)(void *ctx, struct http_exchange *x, int err);
    /* What arrived is no request, or its head cannot be read to the end: word the answer, of which
     * the status is given. Of x only what was read of its head is there, and head() did not see
     * it. Must call http_reply(). NULL: the status alone. */
    void (*bare)(void *ctx, struct http_exchange *x, int status);
    /* Are the fields wanted that have no place in struct http_head, of a request with this target?
     * NULL: no. */
    bool (*passes_on)(struct span target);

    struct budget *budget;           /* of bodies */
    struct budget *overhead;         /* of connections, heads and answers; may be the same */
    struct budget *handshake_memory; /* a part of `overhead`, for those of TLS; NULL: all of it */
    const struct clock *clock;
    size_t max_body_bytes;      /* of one request body as sent */
    size_t max_head_bytes;      /* request line and headers; 431 beyond */
    uint32_t max_streams;       /* HTTP/2 streams at once per connection */
    uint32_t silent_timeout_ms; /* of a connection that has sent nothing yet */
    uint32_t head_timeout_ms, body_timeout_ms, idle_timeout_ms, write_timeout_ms;
    const struct tls_port *tls; /* NULL: clear text only */
    bool draining;              /* answers carry Connection: close, sessions say GOAWAY */

    struct metric faults[HTTP_FAULT_COUNT];
    struct metric requests[3]; /* by enum http_version */
    struct metric handshakes;  /* of TLS, that succeeded */
};

/* A body that is on its way. */
struct http_slow {
    struct http_exchange *x;
    double bytes_per_s;
};

/* A session: the protocol of one connection, without its socket. No call may be
 * made on it from inside the service's callbacks, except http_reply() and http_expect(). */
struct http_session_ops {
    /* Use bytes. Returns how many were used: all, unless it waits for an answer or for
     * room in `out`; the caller keeps the rest and offers it again. An empty span says
     * "there is room in `out` again". Errors of the peer are answered inside. */
    size_t (*feed)(void *session, struct span in);
    /* Where the next bytes should be read to, so that a large body is not copied:
     * writable memory of *len bytes, or NULL for "anywhere". What was read there goes
     * to feed() at once, like other bytes. May be NULL. */
    uint8_t *(*lend)(void *session, size_t *len);
    /* The peer will send no more, but may still read: answer what is whole. */
    void (*eof)(void *session);
    /* Once a second, and when service->draining is set: look at the deadlines. */
    void (*tick)(void *session);
    /* The connection is ending: gone() for each open exchange. */
    void (*free)(void *session);
    /* The body that comes slowest; false: none that has had its time. */
    bool (*slowest)(const void *session, uint64_t now_ms, struct http_slow *out);
    /* Refuse that one for want of room, and let its memory go. */
    void (*evict)(void *session, struct http_exchange *x);
    /* What the peer makes it hold (heads that are not whole, requests whose body is not, answers
     * that are not read), each in KiB and times its age. */
    uint64_t (*held_kib_ms)(const void *session, uint64_t now_ms);
    /* An exchange is open, so the handler may answer at any time. */
    bool (*is_waiting)(const void *session);
    /* No exchange is open and nothing has to be written any more. */
    bool (*is_idle)(const void *session);
    /* The session will not read again; close when `out` is written. */
    bool (*is_over)(const void *session);
};

/* A session stops reading, and making output, when this much waits in `out`: a
 * peer that does not read costs one such buffer and not more. Answers are short, and
 * what the socket takes is many times that. */
#define HTTP_OUT_HIGH_BYTES ((size_t)16 * 1024)

/* So much of a body is charged when it begins; then twice what is there, as it arrives. */
#define HTTP_BODY_ADVANCE_BYTES ((size_t)64 * 1024)

/* Room behind a body whose length is known, for a reader that looks beyond its end: it would have
 * to copy the whole body else. */
#define HTTP_BODY_TAIL_BYTES 64

/* A body younger than this is not evicted, however little of it has come. */
#define HTTP_BODY_YOUNG_MS 2000

/* 8,000 bytes of request line must work (RFC 9112 3); beyond 8 KiB a target is 414. */
#define HTTP_TARGET_BYTES 8192

/* What all framing of a chunked body may cost: chunks of one byte have five
 * bytes of frame each, so 8 for 1 lets every honest client through. */
#define HTTP_FRAMING_RATIO 8

/* A header list beyond max_head_bytes gets 431; this many times that is an
 * HPACK bomb (one table entry named again and again) and ends the connection. */
#define HTTP_HEAD_BOMB_RATIO 8

/* After an early answer this much of the body is thrown away to keep the
 * connection; beyond, closing is cheaper than reading. */
#define HTTP_SKIP_BYTES ((size_t)256 * 1024)

/* A body that brings less in any body_timeout_ms is a slow-loris, not a log batch. */
#define HTTP_BODY_MIN_BYTES_PER_S 500

/* Small things of one exchange: options, parsed credentials, an answer. */
#define HTTP_ARENA_BYTES ((size_t)1024 * 1024)

/* The socket's side, which a session may call. */
struct http_output {
    struct buf *out; /* bytes to send, in order */
    void *ctx;
    /* There are bytes in `out`, or the session's state (idle, over) changed outside of
     * feed(), as when a late http_reply() is made. Never calls back into the session. */
    void (*wake)(void *ctx);
    bool is_encrypted; /* on its way to the peer */
    struct span peer;  /* its address as text, which outlives the session; empty: not known */
};

/* All limits and deadlines at their defaults; the owner fills callbacks, budget, clock. */
void http_service_init(struct http_service *s);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7) and a NUL. */
#define HTTP_DATE_BYTES 30

/* The Date of answers, made once a second. */
struct http_date_cache {
    uint64_t second;
    char text[HTTP_DATE_BYTES];
};
const char *http_date_at(struct http_date_cache *d, uint64_t unix_ns);

/* service->bare(), or the status alone. */
void http_answer_bare(const struct http_service *s, struct http_exchange *x, int status);

/* Seconds, where there was no room even for the head of a request. */
#define HTTP_BARE_RETRY_AFTER "1"

/* The reason phrase of a status; never NULL. */
const char *http_reason(int status);

enum http_method http_method_of(struct span name);

/* The token of "Authorization: Bearer"; base NULL: there is no such header. */
struct span http_bearer(const struct http_head *head);

/* Origin-form and absolute-form targets (RFC 9112 3.2) into path and query. */
void http_split_target(struct span target, struct span *path, struct span *query);

/* Is `etag` one of the tags of If-None-Match (RFC 9110 13.1.2)? A weak one is as good; tags of ours
 * have no comma in them. */
bool http_has_tag(struct span list, struct span etag);

/* The progress of a body, looked at in windows: what came fast at first is no credit for silence.
 */
struct http_progress {
    uint64_t since_ms; /* when the present window began; 0: with the first look */
    uint64_t bytes;    /* that had come by then */
};

/* A Content-Length: 1*DIGIT (RFC 9110 8.6), at most 18 of them: no overflow, and far above any
 * limit. ERR_MALFORMED: another text. */
MUST_CHECK int http_length(struct span digits, int64_t *out);

/* The authority of an absolute-form target, base NULL of others. ERR_MALFORMED: a target of
 * neither form, another scheme than HTTP's, no host or one with a user before it. */
MUST_CHECK int http_target_authority(struct span target, struct span *authority);

/* Is a body that has `bytes` by now too slow? */
bool http_body_is_slow(const struct http_service *s, struct http_progress *p, uint64_t now_ms,
                       uint64_t bytes);

/* Room for more of a body of `total` bytes in all (0: not known): twice what is there. 0 or
 * ERR_*. */
int http_body_grow(struct buf *body, size_t total);
