/*
 * http2_state: one HTTP/2 connection and its streams, as the two files about them share them: http2
 * reads requests, http2_answer writes answers. Only they include it.
 */
#pragma once

#include "net/head.h"
#include "net/http.h"
#include "net/http2_flood.h"
#include "util/list.h"

struct nghttp2_session;

/* Of an answer: grpc-status, grpc-message, grpc-status-details-bin and some air. */
#define TRAILERS_MAX 8

struct http2 {
    struct http_service *service;
    struct http_output output;
    struct nghttp2_session *session;
    struct list streams;
    uint32_t stream_count;
    uint32_t endless_count; /* of them, those whose answer grows for as long as the peer likes */
    uint32_t full_count;    /* and those whose open answer was full */
    bool is_feeding;  /* inside nghttp2 or our own entry points: output is made at their end */
    bool is_eof;      /* the peer will send no more */
    bool is_broken;   /* the session is of no use but for its last words */
    bool is_flooded;  /* ends with GOAWAY after the callback that noticed */
    bool is_violated; /* the same, with PROTOCOL_ERROR */
    bool has_preface; /* the client's first SETTINGS came */
    uint8_t goaways;  /* while draining: 1 the warning, 2 the real one */
    int32_t last_id;  /* of the streams that the peer has begun */
    size_t stray_list_bytes; /* of header lists of no stream of ours */
    uint64_t since_ms;       /* when the last stream ended, or the connection began */
    struct http_date_cache date;
    struct flood flood;
    struct frame_walk walk;
};

struct stream2 {
    struct list node; /* in http2.streams */
    struct http2 *owner;
    int32_t id;
    bool is_open;  /* shown to the handler, not answered yet */
    bool is_whole; /* the request has ended */
    bool is_answered;
    bool is_streaming; /* its answer grows until is_ended; is_open as long */
    bool is_ended, is_aborted;
    bool has_length; /* an open answer of a known length, of which `length_left` is missing */
    bool wants_room; /* it was full */
    bool is_wide;    /* it has the large window, for a body that is not piped */
    uint64_t length_left;
    int refusal; /* the status with which the header list is answered at its end; 0: none */
    bool prefix_told;
    uint32_t list_bytes;           /* of the header list, as RFC 9113 6.5.2 counts */
    uint64_t since_ms;             /* when the head, the body or the answer began */
    struct http_progress progress; /* of the body */
    uint64_t body_bytes;
    struct head head;
    struct http_exchange x;
    /* The answer: its body from 0, then names and values of the trailers. */
    struct buf answer;
    struct buf end; /* of an answer that grows: its trailers instead */
    size_t body_len, body_sent;
    size_t trailer_count;
    struct {
        uint16_t name_len;
        size_t value_len;
    } trailers[TRAILERS_MAX];
};

static inline uint64_t http2_now_ms(const struct http2 *s)
{
    return clock_now_ms(s->service->clock);
}

/* Its answer has no known end. */
static inline bool http2_is_endless(const struct stream2 *st)
{
    return st->is_streaming && !st->is_ended && !st->has_length;
}

/* Outside of feed() and tick(): make the output now and wake the socket. */
void http2_pump_late(struct http2 *s);

/* ---- http2_answer.c ---- */

extern const struct http_exchange_ops http2_exchange_ops;

void http2_end_exchange(struct stream2 *st);

/* Open answers that were full and have room again. */
void http2_tell_drained(struct http2 *s);

/* An answer to what is no request. */
void http2_answer_bare(struct http2 *s, struct stream2 *st, int status);
