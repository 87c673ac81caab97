/*
 * token_bucket: at most so many a second on average, with one second's worth at
 * once (RFC 2697 calls that the committed burst).
 *
 * Units: tokens, monotonic milliseconds. Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct token_bucket {
    double per_second;
    double tokens;
    uint64_t filled_ms;
};

/* Full at first, whenever that is. */
static inline void token_bucket_init(struct token_bucket *b, double per_second)
{
    *b = (struct token_bucket){per_second, per_second, 0};
}

/* How many whole tokens there are now. */
static inline uint64_t token_bucket_level(struct token_bucket *b, uint64_t now_ms)
{
    b->tokens += b->per_second * (double)(now_ms - b->filled_ms) / 1000;
    if (b->tokens > b->per_second)
        b->tokens = b->per_second;
    b->filled_ms = now_ms;
    return b->tokens > 0 ? (uint64_t)b->tokens : 0; /* taking more than there is leaves a debt */
}

/* Take one; false: there is none. */
static inline bool token_bucket_take(struct token_bucket *b, uint64_t now_ms)
{
    if (token_bucket_level(b, now_ms) == 0)
        return false;
    b->tokens -= 1;
    return true;
}
