/* hash: XXH3, 64 bits. Content-addressed ids use hash64(); index tables whose
 * keys a log writer may choose use hash64_seeded() with a per-process seed. */
#pragma once

#include <stdint.h>

#include "util/span.h"

uint64_t hash64(struct span s);
uint64_t hash64_seeded(struct span s, uint64_t seed);

/* Mix one more word into a hash (splitmix64's finaliser over both). */
static inline uint64_t hash_mix(uint64_t h, uint64_t word)
{
    h ^= word + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}
