/*
 * money: what so many bytes of logs a month cost, as PostHog bills them, and what is saved by
 * sending fewer.
 *
 * The price of a month is walked through the tiers, the first of which is mostly free; then the
 * discount is taken off, and a spending limit caps it. So a saving is price(without) - price(with)
 * and never bytes times a rate: below the free part, and beyond the limit, it is nothing.
 *
 * Pure. Units: MB are 10^6 bytes, as on the bill; money is in whatever currency the terms are.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MONEY_TIERS_MAX 16
#define MONEY_MB 1000000.0

struct money_tier {
    double up_to_mb; /* of the month, INFINITY: the last */
    double per_mb;
    double flat; /* added as soon as the tier is reached */
};

struct money_terms {
    bool is_assumed; /* from the configuration, not from the bill */
    uint32_t tier_count;
    struct money_tier tiers[MONEY_TIERS_MAX];
    double discount;    /* 0 to 1 */
    double limit;       /* most that is paid for a month; INFINITY: no limit */
    double kept_months; /* beyond what is included, at kept_per_mb each */
    double kept_per_mb;
};

/* What is assumed: a free part, and one price. */
struct money_terms money_assumed(double free_gb, double per_gb, double kept_months,
                                 double kept_per_gb);

/* Of a month with so many bytes. */
double money_price(const struct money_terms *t, double bytes);

/* What a month costs less with `with` than with `without` bytes. */
double money_saving(const struct money_terms *t, double without, double with);

/* Bytes of a month that cost nothing. */
double money_free_bytes(const struct money_terms *t);

/* What one more GB costs in a month of so many bytes: 0 below the free part and at the limit. */
double money_per_gb_at(const struct money_terms *t, double bytes);

/* A sample of `seconds` as a month, as budgets count one. */
double money_month_of(double bytes, double seconds);
