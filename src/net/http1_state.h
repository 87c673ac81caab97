/*
 * http1_state: one HTTP/1.1 connection, as the two files about it share it: http1 reads requests,
 * http1_answer writes answers. Only they include it. The parser stands beside it, in http1.c.
 */
#pragma once

#include "net/head.h"
#include "net/http.h"
#include "net/http1_framing.h"

/*
 *     HEAD -> BODY -> WAIT -> HEAD        the handler answers a whole request
 *               |
 *               +---> SKIP -> HEAD        it answered early: throw the rest away
 *
 * Any state may go to OVER, and nothing leaves OVER.
 */
enum http1_state {
    HTTP1_HEAD, /* between requests, or inside a head */
    HTTP1_BODY, /* exchange open, body arriving */
    HTTP1_WAIT, /* exchange open, body complete: the handler's turn */
    HTTP1_SKIP, /* exchange answered, the rest of its body is thrown away */
    HTTP1_OVER,
};

struct http1 {
    struct http_service *service;
    struct http_output output;
    enum http1_state state;
    bool is_open;      /* x has been shown to the handler and has no answer yet */
    bool is_streaming; /* or its answer has begun and not ended */
    bool is_chunked;   /* that answer */
    bool has_length;   /* it does, of which `length_left` is missing */
    bool ends_after;   /* the connection ends with it */
    bool wants_room;   /* it was full */
    bool is_writing;   /* an answer, for which room may be made: not here */
    uint64_t length_left;
    bool is_feeding;              /* inside feed(): no need to wake anybody */
    bool is_eof;                  /* the peer has sent all it will */
    bool keep_alive;              /* what the request said */
    bool head_done, message_done; /* what the parser just paused for */
    bool prefix_told;
    uint8_t last_byte;             /* of the head so far, to see folds and bare CR or LF */
    int bad_status;                /* the status that a parser callback wants */
    int body_err;                  /* why on_body() gave up */
    size_t head_bytes;             /* raw, of the head in hand */
    size_t raw_bytes;              /* of the body in hand with its framing */
    size_t body_bytes;             /* of the body in hand without it */
    size_t skip_from;              /* raw_bytes when SKIP began */
    uint64_t since_ms;             /* when the present wait for the peer began */
    struct http_progress progress; /* of the body */
    struct buf tail;               /* the body of an answer that did not fit `out` */
    size_t tail_sent;
    bool in_fields; /* of the head in hand: behind its first line */
    struct request_line line;
    struct chunked chunked;
    struct http_date_cache date;
    struct head head;
    struct http_exchange x;
};

static inline uint64_t http1_now_ms(const struct http1 *s)
{
    return clock_now_ms(s->service->clock);
}

static inline void http1_fault(struct http1 *s, enum http_fault f)
{
    metric_inc(&s->service->faults[f]);
}

/* So much of a piped body may be taken in now; of others, all. */
static inline size_t http1_room(const struct http1 *s)
{
    bool is_piped = s->state == HTTP1_BODY && s->is_open && s->x.is_piped;
    size_t len = s->x.body.len;
    return !is_piped ? SIZE_MAX : len < HTTP_PIPE_BYTES ? HTTP_PIPE_BYTES - len : 0;
}

/* The only writer of s->state. */
void http1_go(struct http1 *s, enum http1_state to);

/* ---- http1_answer.c ---- */

extern const struct http_exchange_ops http1_exchange_ops;

/* More of a long body into `out`. False: some is still left. */
bool http1_pump_tail(struct http1 *s);

/* An answer to what is no request, of whose head some may have been read; the connection ends with
 * it. */
void http1_answer_bare(struct http1 *s, enum http_method method, int status);

/* The service words the refusal; the connection ends with it. */
void http1_refuse_and_close(struct http1 *s, int err);
