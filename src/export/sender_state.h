/*
 * sender_state: what the files of the senders share. Only export/sender*.c includes it.
 *
 *     sender.c         the states, sending, the queue
 *     sender_answer.c  what an answer does to the parcel in hand
 *     sender_health.c  what it means to all senders: the circuit
 */
#pragma once

#include <uv.h>

#include "export/answer.h"
#include "export/circuit.h"
#include "export/queue.h"
#include "export/sender.h"
#include "net/url.h"
#include "util/rng.h"

/* What may be spent on finding refused records by halving: a refusal costs one, an
 * accepted request gives two back. One bad record among 2^20 takes 21; an upstream
 * that refuses everything gets at most 128 requests more (each halving makes two of
 * one), and whole batches from then on, until it accepts one. */
#define ISOLATE_CREDIT 64

#define CAUSE_BYTES 128
#define HOST_BYTES 320 /* a name of DNS has 253 */

/* clang-format off */
#define SENDER_STATES(X) \
    /* name      may be followed by */ \
    X(IDLE,      TO(IDLE) | TO(SENDING) | TO(BACKOFF))     /* holds no parcel */ \
    X(SENDING,   TO(IDLE) | TO(BACKOFF) | TO(PARKED))      /* waits for an answer */ \
    X(BACKOFF,   TO(IDLE) | TO(PARKED))                    /* waits for its own next try */ \
    X(PARKED,    TO(IDLE) | TO(SENDING) | TO(BACKOFF))     /* waits for the circuit */
/* clang-format on */

#define X(name, next) SENDER_##name,
enum sender_state { SENDER_STATES(X) SENDER_STATE_COUNT };
#undef X

struct sender {
    uv_timer_t timer; /* in BACKOFF */
    enum sender_state state;
    struct senders *senders;
    struct parcel *parcel; /* owned; NULL in IDLE */
    void *call;            /* the sink's, in SENDING */
    bool is_probe;         /* in SENDING: of the circuit */
};

enum {
    QUEUE_URGENT, /* goes before the others */
    QUEUE_PLAIN,
    QUEUE_SLOW, /* parcels that had no answer in time: one sender at most has one */
    QUEUE_COUNT
};

struct senders {
    struct sink sink;
    struct senders_opts opts;
    struct exporter_stats *stats; /* the caller's */
    struct queue queues[QUEUE_COUNT];
    bool slow_was_last; /* the last one taken from a queue was slow */
    struct sender list[SENDERS_MAX];
    uint32_t count;
    struct rng rng;
    struct circuit circuit;
    uv_timer_t circuit_timer; /* until its next try, while it is open */
    uint32_t turn;            /* who is asked first for the next probe */
    uint32_t isolate_credit;
    enum answer hold;      /* the last answer, if it was HOLD or ASTRAY; else ACCEPT */
    char host[HOST_BYTES]; /* of the sink, once an answer was ASTRAY or a page */
    char right_host[HOST_BYTES];
    uint64_t page_logged_ms; /* when the last 2xx with a page was logged; 0: never */
    struct {
        int err, status;
        char text[CAUSE_BYTES];
    } cause; /* why the circuit is open, as it was logged last */
    uint64_t last_success_ms;
    int last_status;
    bool closing;
    uint32_t open_handles;
};

static inline uint64_t senders_now_ms(const struct senders *x)
{
    return clock_now_ms(x->opts.clock);
}

/* ---- sender.c ---- */

/* The queue that a parcel waits in. */
struct queue *senders_queue_of(struct senders *x, const struct parcel *p);
/* Parcels that wait in any of them. */
uint32_t senders_queued(const struct senders *x);

/* The only writer of s->state. */
void sender_go(struct sender *s, enum sender_state to);

/* The parcel in hand, which is the caller's now. */
struct parcel *sender_release(struct sender *s);
/* The end of the parcel in hand, or of one that no sender holds. */
void sender_settle(struct sender *s, enum fate fate);
void senders_settle(struct senders *x, struct parcel *p, enum fate fate);

/* The parcel in hand is kept for another try: after a time of its own, or when the circuit
 * allows one. */
void sender_retry(struct sender *s);

/* What had no answer in time goes behind all others, whole, and its sender is free. */
void sender_put_slow(struct sender *s);

/* Every sender that has something to send, and may, sends it. */
void senders_dispatch(struct senders *x);

/* ---- sender_answer.c ---- */

/* The sink's answer to the parcel of `sender`. */
void sender_on_answer(void *sender, const struct sink_answer *a);

/* ---- sender_health.c ---- */

bool senders_is_expired(const struct senders *x, const struct parcel *p);
void senders_arm_circuit(struct senders *x);
bool senders_is_failure(const struct sink_answer *a, enum answer answer);
/* Find out x->host and x->right_host. */
void senders_note_address(struct senders *x, const struct sink_answer *a);
void senders_note_health(struct senders *x, const struct sink_answer *a, enum answer answer,
                         bool was_probe, const struct parcel *p);
