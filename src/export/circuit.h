/*
 * circuit: is the upstream well? What all senders together know of it. Deciding only;
 * the sender waits and sends.
 *
 *     CLOSED     everybody sends; who fails waits by himself
 *     OPEN       nothing is sent until retry_at_ms
 *     HALF_OPEN  one may try (the probe); what comes of it decides for all
 *
 *     CLOSED --failures in a row, or one that speaks for all--> OPEN
 *     OPEN --time--> HALF_OPEN --a probe fails--> OPEN
 *     OPEN, HALF_OPEN --a request passed--> CLOSED, but never before a Retry-After
 *
 * A probe is the next request, in turn: a batch that alone makes the upstream fail holds
 * up the others for no longer than one probe.
 *
 * Units: milliseconds, monotonic. Source: Nygard, "Release It!" (Circuit Breaker); waits
 * with full jitter, answer.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/rng.h"

/* One answer of 500 or one broken connection may be that batch's alone. */
#define CIRCUIT_FAILURES 3

enum circuit_state { CIRCUIT_CLOSED, CIRCUIT_OPEN, CIRCUIT_HALF_OPEN, CIRCUIT_STATE_COUNT };

struct circuit {
    enum circuit_state state;
    uint32_t failures;      /* in a row, of all senders */
    uint32_t probes;        /* that failed since it opened */
    bool probing;           /* in HALF_OPEN: the one is under way */
    uint64_t opened_ms;     /* since when no request has passed */
    uint64_t retry_at_ms;   /* in OPEN */
    uint64_t hold_until_ms; /* what the upstream asked for: not even a success is earlier */
};

/* "closed", "open", "half_open". Static. */
const char *circuit_state_name(enum circuit_state state);

struct circuit_failure {
    bool was_probe;
    bool for_all;     /* no other could have passed: no connection, no trust, no key */
    uint64_t wait_ms; /* at least so long, jitter included; 0: by backoff */
    bool is_asked;    /* wait_ms is the upstream's wish */
};

/* True: it has just opened. */
bool circuit_fail(struct circuit *c, const struct circuit_failure *f, uint64_t now_ms,
                  struct rng *rng);

/* A request got an answer that was no failure. True: the circuit has just closed. */
bool circuit_pass(struct circuit *c, uint64_t now_ms);

/* The time is over: OPEN becomes HALF_OPEN. */
void circuit_half_open(struct circuit *c, uint64_t now_ms);

/* There is something else to try: likewise, and waits begin at their shortest again. */
void circuit_renew(struct circuit *c, uint64_t now_ms);

/* May something be sent now? */
static inline bool circuit_allows(const struct circuit *c)
{
    return c->state == CIRCUIT_CLOSED || (c->state == CIRCUIT_HALF_OPEN && !c->probing);
}

/* Something was sent. True: it is the probe. */
bool circuit_sent(struct circuit *c);
