/*
 * round: where the look at all services stands, which is done in pieces.
 *
 * A look takes ROUND_MS of the database's thread at most, because reports and requests wait behind
 * it; with many patterns a round takes several looks, maybe by several servers. It is in `meta`.
 *
 * Units      Unix milliseconds.
 * Blocking   round_read(), round_write(): the database.
 */
#pragma once

#include <stdbool.h>

#include "server/store.h"

#define ROUND_MS 500
#define ROUND_PAUSE_MS 1000 /* then the next look goes on: a third of the thread */

struct round {
    int64_t team, service; /* the first that is to be looked at */
    int64_t began_ms;
    int64_t whole_ms; /* what the last whole round took */
    bool is_cut;      /* this look ends here */
};

MUST_CHECK int round_read(struct round *r, struct store *s, int64_t now_ms);
/* A round that was not cut is over. */
MUST_CHECK int round_write(struct round *r, struct store *s, int64_t now_ms);

/* The longest time between two looks at one service, as far as is known. */
int64_t round_longest_ms(const struct round *r, int64_t now_ms);
