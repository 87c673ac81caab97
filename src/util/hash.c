/* hash: the one home of xxhash. */
#include "util/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash64(struct span s)
{
    return XXH3_64bits(s.base, s.len);
}

uint64_t hash64_seeded(struct span s, uint64_t seed)
{
    return XXH3_64bits_withSeed(s.base, s.len, seed);
}
