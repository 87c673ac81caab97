/* clock: the real one and the one for tests. */
#include "util/clock.h"

#include <time.h>

#include "util/span.h"

static uint64_t read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t real_now_ms(const struct clock *c)
{
    (void)c;
    return read_ns(CLOCK_MONOTONIC) / 1000000u;
}

static uint64_t real_unix_ns(const struct clock *c)
{
    (void)c;
    return read_ns(CLOCK_REALTIME);
}

static uint64_t fake_now_ms(const struct clock *c)
{
    return container_of(c, const struct clock_fake, clock)->now_ms;
}

static uint64_t fake_unix_ns(const struct clock *c)
{
    return container_of(c, const struct clock_fake, clock)->unix_ns;
}

const struct clock *clock_real(void)
{
    static const struct clock real = {real_now_ms, real_unix_ns};
    return &real;
}

void clock_fake_init(struct clock_fake *f, uint64_t now_ms, uint64_t unix_ns)
{
    *f = (struct clock_fake){{fake_now_ms, fake_unix_ns}, now_ms, unix_ns};
}

void clock_fake_advance(struct clock_fake *f, uint64_t ms)
{
    f->now_ms += ms;
    f->unix_ns += ms * 1000000u;
}
