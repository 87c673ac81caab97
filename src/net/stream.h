/*
 * stream: one accepted TCP connection, and the set of those of a listener.
 *
 * It looks at the first bytes to choose a session (net/http1, net/http2), moves
 * bytes between the socket and the session, and ends the connection so that the
 * last answer arrives (lingering close, RFC 9112 9.6). What the bytes mean is
 * the session's business, and so are the deadlines for requests; the deadlines
 * of the socket (first bytes, stalled writes, lingering) are here.
 *
 *     SNIFF -> OPEN -> LINGER -> CLOSING
 *
 * What is read in a turn of the loop is bounded, or a thousand connections that send as fast
 * as they can would fill the queue before its senders have a turn. Streams beyond that wait
 * in line: those with a request under way first, so that few bodies are in memory at once. A
 * handshake of TLS waits there too, behind all others: a flood of them costs each turn a few
 * milliseconds. And so does who has had as many answers as a turn gives and wants more.
 *
 * Ownership: a stream frees itself in its close callback; the set outlives its
 * streams. Blocking: never.
 */
#pragma once

#include <uv.h>

#include "net/http.h"
#include "util/err.h"
#include "util/list.h"

#define STREAM_READ_BYTES 65536
#define STREAM_TURN_BYTES (4u << 20) /* about as much as four senders take away in a turn */
#define STREAM_TURN_HANDSHAKES 4     /* a signature by RSA-2048 is most of a millisecond */
#define STREAM_TURN_RESUMED 16       /* streams that leave the line in a turn */
#define STREAM_TURN_MORE 4           /* and of those with more answers: some 100 short ones each */

/* A closed connection is read to its end, so that our last answer is not lost
 * to a reset, but not for ever. */
#define STREAM_LINGER_MS 2000
#define STREAM_LINGER_BYTES ((size_t)1024 * 1024)

struct stream_set {
    uv_loop_t *loop;
    struct http_service *service;
    struct list all;   /* struct stream.node */
    struct list awake; /* struct stream.awake: a session made output outside of a read */
    struct list begun; /* struct stream.line: has more of a request to read, and waits for a turn */
    struct list line;  /* the same, with a request to begin */
    struct list more;  /* whose answers filled `out`, and who may have further ones */
    struct list hellos;  /* with a handshake to go on with: after all others */
    uint32_t handshakes; /* flights of them since streams last left the line */
    size_t taken;        /* bytes read since streams last left the line */
    uint32_t count;      /* streams not yet freed */
    uint32_t closing; /* of these, the ones that close: their memory comes back in the next turn */
    uv_idle_t turn;   /* runs while one of these lists has members */
    bool is_turning;
    void (*on_freed)(struct stream_set *set); /* a stream is gone, maybe the last */
    uint8_t read_bytes[STREAM_READ_BYTES];    /* for bytes that go to no body directly */
};

/* 0 or a negative code. The handle `turn` must be closed by stream_set_done(). */
MUST_CHECK int stream_set_init(struct stream_set *set, uv_loop_t *loop,
                               struct http_service *service);

/* Close `turn`; on_closed as uv_close(). All streams must be gone. */
void stream_set_done(struct stream_set *set, uv_close_cb on_closed);

/* Accept the connection that waits on `server`. ERR_NOMEM: it stays pending, and libuv
 * reports none of those behind it until it is accepted: try again. Another code: the connection is
 * gone. `refuse`: accept it only to close it. */
MUST_CHECK int stream_accept(struct stream_set *set, uv_stream_t *server, bool refuse);

/* Once a second: all deadlines. */
void stream_set_tick(struct stream_set *set);

/* End the connection that has done nothing for longest, with no request under way: there is room
 * for another one then. False: all are at work. */
bool stream_set_end_idle(struct stream_set *set);

/* How much a set's worst connection holds without progress. */
struct stream_victim {
    struct stream *stream;   /* NULL: there is none */
    struct http_exchange *x; /* of a body; NULL: the connection itself */
    double worth;            /* the more, the sooner it has to go */
};

/* The body that comes slowest, and the connection whose answers wait longest to be read or that is
 * idle: what to let go when there is no room for others. Takes the worse of it and *out. */
void stream_set_slowest(struct stream_set *set, struct stream_victim *out);
/* The connection whose requests do not come to their end, or whose window keeps answers shut: by
 * what it holds, times the age. Its memory comes back at once. */
void stream_set_held(struct stream_set *set, struct stream_victim *out);
void stream_set_stalled(struct stream_set *set, struct stream_victim *out);
void stream_evict(const struct stream_victim *v);

/* End every connection now; on_freed follows. */
void stream_set_close(struct stream_set *set);

/* No exchange is open and no answer is unsent on any connection. */
bool stream_set_is_quiet(const struct stream_set *set);
