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

/* A sample of so many seconds as a month (of the length that budgets count), on top of what others
 * send. All 0 where the sample has no length. */
struct money_month {
    double without_bytes, with_bytes; /* a month, without the others */
    double without, with, saving;     /* money */
    bool is_free;                     /* with everything sent nothing would be paid */
};
struct money_month money_month(const struct money_terms *t, double others_bytes, double seconds,
                               double without_bytes, double with_bytes);

/* "saves 3.10 of 4.50 USD a month", "saves no money: 0.2 of 10 GB a month that are free", and that
 * it is assumed. Returns out. */
#define MONEY_TEXT_BYTES 160
const char *money_say(char out[MONEY_TEXT_BYTES], const struct money_terms *t,
                      const struct money_month *m, const char *currency);
