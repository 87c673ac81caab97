/* pressure: a ramp that falls slowly. */
#include "pipeline/pressure.h"

#include <math.h>

#include "util/span.h"

#define WATCH 0.25
#define BEGIN 0.5
#define FULL 0.9
#define FALL_PER_S 0.2    /* a queue drains in a second; shedding ends over five */
#define LEAST_SHARE 0.002 /* never none: without a chance there is no weight */
#define WEIGHT_STEP 16.0

void pressure_update(struct pressure *p, double fullness, uint64_t now_ms)
{
    double seconds = now_ms > p->at_ms ? (double)(now_ms - p->at_ms) / 1000 : 0;
    double ramp = fmin(fmax((fullness - BEGIN) / (FULL - BEGIN), 0), 1);
    p->level = fmax(ramp, fmax(p->level - seconds * FALL_PER_S, 0));
    p->watching = p->level > 0 || fullness > WATCH;
    p->at_ms = now_ms;
}

double pressure_volume(const struct pressure *p)
{
    return fmax((1 - p->level) * (1 - p->level), LEAST_SHARE);
}

double pressure_share(const struct pressure *p, unsigned level)
{
    static const double powers[] = {6, 6, 3, 1}; /* TRACE, DEBUG, INFO, WARN */
    double power = level < ARRAY_LEN(powers) ? powers[level] : 0;
    return fmax(pow(1 - p->level, power), LEAST_SHARE);
}

double pressure_weight(unsigned level)
{
    return pow(WEIGHT_STEP, level);
}
