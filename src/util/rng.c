/* rng: seeding. */
#include "util/rng.h"

#include <sys/random.h>
#include <time.h>

void rng_init(struct rng *r)
{
    if (getrandom(&r->state, sizeof r->state, 0) != (ssize_t)sizeof r->state)
        r->state = (uint64_t)time(NULL); /* only before the kernel's pool is up */
}
