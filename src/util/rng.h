/* rng: a small fast generator (splitmix64) for jitter and seeds; not for
 * secrets and not for sampling decisions, which are hashes. */
#pragma once

#include <stdint.h>

struct rng {
    uint64_t state;
};

/* Seed from the operating system. */
void rng_init(struct rng *r);

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in 0..bound, both included. */
static inline uint64_t rng_upto(struct rng *r, uint64_t bound)
{
    return bound == UINT64_MAX ? rng_next(r) : rng_next(r) % (bound + 1);
}
