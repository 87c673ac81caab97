/* metric: a counter that belongs to one loop. Exposition reads it by address. */
#pragma once

#include <stdint.h>

struct metric {
    uint64_t value;
};

static inline void metric_inc(struct metric *m)
{
    m->value++;
}

static inline void metric_add(struct metric *m, uint64_t n)
{
    m->value += n;
}
