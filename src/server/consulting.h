/*
 * consulting: requests to the language model, off the loop's way and off the data path.
 *
 * It is asked CONSULTING_TRIES times at most, with server.model.timeout each; then who waits goes
 * on without it, and the version that comes of it says why.
 *
 * Limits     CONSULTING_AT_ONCE questions, CONSULTING_HOURLY an hour: what it may cost; answers of
 *            CONSULTING_ANSWER_BYTES.
 * Blocking   never.
 */
#pragma once

#include "server/analyst.h"
#include "server/server_state.h"

#define CONSULTING_AT_ONCE 4
#define CONSULTING_HOURLY 60
#define CONSULTING_TRIES 2
#define CONSULTING_ANSWER_BYTES (256u << 10)
#define CONSULTING_WAIT_MS 1000  /* before another try */
#define CONSULTING_PATIENCE_S 10 /* a Retry-After that is longer is not waited for */

MUST_CHECK int consulting_start(struct server *s, struct error *err);
void consulting_stop(struct server *s);
void consulting_release(struct server *s);

/* The server ends: all who wait go on without an answer. */
void consulting_end(struct server *s);

/* Ask about *a, which is the caller's and stays. over() follows, now or later: a->is_over then. */
void consulting_ask(struct server *s, struct analysis *a, void (*over)(void *ctx), void *ctx);

/* Is there a model? Settings: of any thread. */
static inline bool consulting_is_on(const struct server *s)
{
    return s->cfg->server.model.endpoint[0] != '\0';
}
