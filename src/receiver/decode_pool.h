/*
 * decode_pool: bodies whose decoding would hold up the loop are decoded on libuv's thread pool.
 *
 *     add -> (wait in line) -> job: inflate, transcode, mend -> part(), once a turn -> done()
 *
 * A body of 1.9 kB can be 20 MiB inflated, and 33 ms of work. There is one job at a time: what it
 * has made of a body goes through the pipeline on the loop, in parts, and two of them in one turn
 * would be one too many.
 *
 * Memory: the account belongs to the loop. A job that needs more of it asks, and waits for the
 * answer. What would need more than three quarters of the whole account is too big.
 *
 * Ownership: a task is the caller's memory until done() was called, or decode_pool_forget().
 * Blocking: never the loop.
 */
#pragma once

#include <uv.h>

#include "receiver/decode.h"
#include "util/list.h"

/* So much is decoded on the loop: about a millisecond, signing included. What is more when it is
 * inflated, and JSON that is longer, goes to the thread pool, and so does all when the turn's share
 * is used up: hundreds of small bodies that are large inflated. */
#define DECODE_HERE_BYTES ((size_t)1 << 20)
#define DECODE_TURN_BYTES ((size_t)8 << 20)

#define DECODE_WAITING_MAX 1024 /* tasks; their bodies are in the account */

struct decode_pool;

struct decode_task {
    struct list node;
    bool is_running;
    struct decode_request request; /* its body is taken when the job begins */
    bool is_json, looks, may_mend;
    /* A part of what came of it, lent until done() is over. True: again in the next turn. */
    bool (*part)(struct decode_task *t, struct decode_logs *logs);
    /* The last call, or the only one: on failure `logs` is of no use. */
    void (*done)(struct decode_task *t, int rc, struct decode_logs *logs, size_t inflated_bytes,
                 const struct error *err);
};

MUST_CHECK int decode_pool_open(struct decode_pool **out, uv_loop_t *loop, struct budget *account);

/* The handle, and a job at work, end with the loop; its task is to be forgotten. Accepts NULL.
 */
void decode_pool_close(struct decode_pool *p);

/* ERR_FULL: too many wait. Neither is called from inside. */
MUST_CHECK int decode_pool_add(struct decode_pool *p, struct decode_task *t);

/* Neither will be called again. A zeroed task is none, and may be forgotten. */
void decode_pool_forget(struct decode_pool *p, struct decode_task *t);
