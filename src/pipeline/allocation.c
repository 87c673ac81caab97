/*
 * allocation: Newton's method from below on the sum of the shares as a function of t.
 *
 * The sum is concave and made of straight pieces, so no step goes past the solution,
 * and each step takes a factor of four from the product of what is missing and of the
 * slope (McCormick, Ervolina 1994): it ends after a few steps, at most a hundred.
 */
#include "pipeline/allocation.h"

#include <math.h>

double allocation_solve(struct allocation *strata, size_t count, double exponent, double budget)
{
    double all = 0;
    for (size_t k = 0; k < count; k++) {
        struct allocation *s = &strata[k];
        all += s->volume;
        s->share = s->volume <= 0 ? 0 : s->weight * (exponent > 0 ? pow(s->volume, exponent) : 1);
    }
    double t = 0, last = -1, given = 0;
    while (t > last && all > budget) {
        double slope = 0; /* of the strata that could take more */
        given = 0;
        for (size_t k = 0; k < count; k++) {
            const struct allocation *s = &strata[k];
            if (t * s->share >= s->volume)
                given += s->volume;
            else
                slope += s->share;
        }
        last = t;
        if (slope > 0 && budget > given)
            t = (budget - given) / slope;
    }
    if (all <= budget)
        t = INFINITY;
    for (size_t k = 0; k < count; k++) {
        struct allocation *s = &strata[k];
        s->share = s->volume <= 0 || t * s->share >= s->volume ? fmax(s->volume, 0) : t * s->share;
    }
    return t;
}
