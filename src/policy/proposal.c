/* proposal: a wanted number of records, and a step towards it. */
#include "policy/proposal.h"

#include <math.h>
#include <stdio.h>

/* Upwards to two digits, so that it can be read and said. */
static double round_rate(double rate)
{
    if (rate >= 1)
        return 1;
    double unit = pow(10, floor(log10(rate)) - 1);
    return fmin(ceil(rate / unit - 1e-9) * unit, 1);
}

/* So much less that enough is left, or so much more that there is something; else as it is. */
static double wanted_of(const struct proposal_pattern *p)
{
    double times = p->level == LEVEL_WARN ? PROPOSAL_WARN_TIMES : 1;
    double kept = p->records_per_hour * p->rate_now;
    if (kept > PROPOSAL_PER_HOUR * times)
        return fmax(PROPOSAL_PER_HOUR * times / p->records_per_hour, PROPOSAL_RATE_MIN);
    if (kept < PROPOSAL_LEAST * times && p->rate_now < 1)
        return fmin(PROPOSAL_LEAST * times / p->records_per_hour, 1);
    return p->rate_now;
}

static void stay(struct proposal *out, const struct proposal_pattern *p)
{
    out->rate = p->rate_now;
    out->bytes = p->bytes;
}

#define COUNT_BYTES 32

/* Three digits of it, as people say it: "105", "25000", "14.4 million". Returns out. */
static const char *say_count(char out[COUNT_BYTES], double n)
{
    double digits = n < 1000 ? 1 : n < 1e4 ? 10 : n < 1e5 ? 100 : 1000; /* that are left out */
    if (n >= 1e9)
        snprintf(out, COUNT_BYTES, "%.3g billion", n / 1e9);
    else if (n >= 999500)
        snprintf(out, COUNT_BYTES, "%.3g million", n / 1e6);
    else if (n >= 1000)
        snprintf(out, COUNT_BYTES, "%.0f", round(n / digits) * digits);
    else
        snprintf(out, COUNT_BYTES, "%.3g", n);
    return out;
}

void proposal_of(struct proposal *out, const struct proposal_pattern *p)
{
    char all[COUNT_BYTES], left[COUNT_BYTES];
    double wanted = wanted_of(p);
    stay(out, p);
    if (p->protected_by != NULL) {
        snprintf(out->why, sizeof out->why, "%s", p->protected_by);
        return;
    }
    if (p->seen < PROPOSAL_SEEN_MIN) {
        snprintf(out->why, sizeof out->why, "seen too seldom to judge");
        return;
    }
    double least = p->rate_now / PROPOSAL_STEP, most = fmin(p->rate_now * PROPOSAL_STEP, 1);
    double rate = fmin(round_rate(fmax(wanted, least)), most);
    double change = fabs(rate / p->rate_now - 1);
    if (p->rate_now <= 0 || change < PROPOSAL_GAIN_MIN) {
        snprintf(out->why, sizeof out->why, "%s an hour: there is nothing to gain",
                 say_count(all, p->records_per_hour));
        return;
    }
    out->rate = rate;
    out->bytes = p->bytes * rate / p->rate_now;
    snprintf(out->why, sizeof out->why, "%s an hour: %s of them are enough to count it%s",
             say_count(all, p->records_per_hour),
             say_count(left, p->records_per_hour * fmax(rate, wanted)),
             rate < p->rate_now && wanted < least ? "; a step goes to a quarter at most" : "");
}

/* The mean of min(X, first), X from Poisson's distribution. */
static double mean_of_first(uint32_t first, double mean)
{
    double p = exp(-mean), sum = 0, below = 0;
    if (mean > first + 10 * sqrt(mean) + 30)
        return first;
    for (uint32_t k = 0; k < first; k++) {
        sum += k * p;
        below += p;
        p *= mean / (k + 1);
    }
    return sum + first * (1 - below);
}

double proposal_share(double rate, uint32_t first, double per_window)
{
    if (rate >= 1 || first == 0 || per_window <= 0)
        return fmin(rate, 1);
    double firsts = mean_of_first(first, per_window) / per_window;
    return fmin(firsts + (1 - firsts) * rate, 1);
}
