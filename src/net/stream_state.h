/*
 * stream_state: one connection as stream and stream_set share it. Only they include it.
 */
#pragma once

#include "net/sniff.h"
#include "net/stream.h"

enum stream_state { STREAM_SNIFF, STREAM_OPEN, STREAM_LINGER, STREAM_CLOSING };

struct stream {
    uv_tcp_t tcp; /* first: the handle's memory is the stream's */
    struct list node, awake, line;
    struct stream_set *set;
    enum stream_state state;
    const struct http_session_ops *ops;
    void *session;
    struct buf out;     /* the session writes here */
    struct buf sending; /* and this is with libuv */
    struct buf stash;   /* read but not used by the session yet */
    uv_write_t write;
    uv_shutdown_t shutdown;
    bool is_reading, is_eof;
    bool has_turn;   /* it has stood in line, and may begin a request */
    bool in_session; /* a session call is on the stack: wake() has nothing to do */
    bool is_tls;     /* the session is one of net/tls */
    struct sniff sniff;
    char peer[INET6_ADDRSTRLEN]; /* its address; "": not known, or not asked for */
    size_t queued;               /* unsent bytes at the last look */
    size_t linger_bytes;         /* thrown away so far */
    uint64_t since_ms;           /* of the state, or of the last progress in writing */
    uint64_t used_ms;            /* when anything was last read or written */
};

static inline uint64_t stream_now_ms(const struct stream *s)
{
    return clock_now_ms(s->set->service->clock);
}

static inline size_t stream_unsent(const struct stream *s)
{
    return s->out.len + s->sending.len;
}

void stream_close(struct stream *s);

/* Something changed: there is room in `out`, or an answer was made. */
void stream_turn(struct stream *s);

/* Its turn in the line has come. */
void stream_resume(struct stream *s);

/* Once a second. */
void stream_tick(struct stream *s);

/* ---- stream_set.c ---- */

/* Run on_turn() soon. */
void stream_set_want_turn(struct stream_set *set);

/* Some wait to go on, or to begin a request. */
static inline bool stream_set_has_line(const struct stream_set *set)
{
    return !list_is_empty(&set->begun) || !list_is_empty(&set->line);
}
