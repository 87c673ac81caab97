/*
 * allocation: a budget shared over strata of unequal size.
 *
 *     share_k = min(volume_k, t * weight_k * volume_k^exponent),   sum of shares = budget
 *
 * Power allocation (Bankier 1988; Refinery's dynamic samplers are near it): exponent 0
 * is max-min fair and best for the count of each stratum, because the squared relative
 * error of an estimate is about 1 / share; exponent 1 is one rate for all and best for
 * the total. Strata that ask for less than their part keep everything, and what they
 * leave goes to the others.
 *
 * Units      volumes, shares and budget in one unit, whatever it is (records or bytes
 *            a second).
 * Blocking   never. No state. 16,384 strata take 0.2 to 0.5 ms, most of it pow().
 */
#pragma once

#include <stddef.h>

struct allocation {
    double volume; /* >= 0 */
    double weight; /* > 0; 1 where none is preferred */
    double share;  /* out: 0 to volume */
};

/* Fill the shares in; t, or INFINITY when there is enough for all. The exponent is 0
 * to 1, the budget >= 0. */
double allocation_solve(struct allocation *strata, size_t count, double exponent, double budget);
