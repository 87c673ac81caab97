/*
 * clock: what time it is, from a table of functions so that tests can decide.
 *
 * now_ms   monotonic, for deadlines and windows; never compared to wall time.
 * unix_ns  wall clock, for stamps and reports.
 */
#pragma once

#include <stdint.h>

struct clock {
    uint64_t (*now_ms)(const struct clock *c);
    uint64_t (*unix_ns)(const struct clock *c);
};

/* The operating system's clocks. Static. */
const struct clock *clock_real(void);

/* A clock that stands still until it is moved. */
struct clock_fake {
    struct clock clock; /* first: &fake.clock is a struct clock */
    uint64_t now_ms, unix_ns;
};

void clock_fake_init(struct clock_fake *f, uint64_t now_ms, uint64_t unix_ns);
void clock_fake_advance(struct clock_fake *f, uint64_t ms);

static inline uint64_t clock_now_ms(const struct clock *c)
{
    return c->now_ms(c);
}

static inline uint64_t clock_unix_ns(const struct clock *c)
{
    return c->unix_ns(c);
}
