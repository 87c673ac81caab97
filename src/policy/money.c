/* money: a walk through tiers. */
#include "policy/money.h"

#include <math.h>
#include <stdio.h>

#include "pipeline/governor.h"

#define GB_MB 1000.0

struct money_terms money_assumed(double free_gb, double per_gb, double kept_months,
                                 double kept_per_gb)
{
    struct money_terms t = {.is_assumed = true,
                            .limit = INFINITY,
                            .kept_months = kept_months,
                            .kept_per_mb = kept_per_gb / GB_MB};
    if (free_gb > 0)
        t.tiers[t.tier_count++] = (struct money_tier){.up_to_mb = free_gb * GB_MB};
    t.tiers[t.tier_count++] = (struct money_tier){.up_to_mb = INFINITY, .per_mb = per_gb / GB_MB};
    return t;
}

static double tiers_price(const struct money_terms *t, double mb)
{
    double sum = 0, from = 0;
    for (uint32_t i = 0; i < t->tier_count && mb > from; i++) {
        const struct money_tier *tier = &t->tiers[i];
        sum += tier->flat + (fmin(mb, tier->up_to_mb) - from) * tier->per_mb;
        from = tier->up_to_mb;
    }
    return sum;
}

double money_price(const struct money_terms *t, double bytes)
{
    double mb = bytes / MONEY_MB;
    double gross = tiers_price(t, mb) + mb * t->kept_months * t->kept_per_mb;
    return fmin(gross * (1 - t->discount), t->limit);
}

double money_saving(const struct money_terms *t, double without, double with)
{
    return money_price(t, without) - money_price(t, with);
}

double money_free_bytes(const struct money_terms *t)
{
    double mb = 0;
    if (t->kept_months * t->kept_per_mb > 0)
        return 0;
    for (uint32_t i = 0; i < t->tier_count; i++) {
        if (t->tiers[i].per_mb > 0 || t->tiers[i].flat > 0)
            return mb * MONEY_MB;
        mb = t->tiers[i].up_to_mb;
    }
    return INFINITY;
}

struct money_month money_month(const struct money_terms *t, double others_bytes, double seconds,
                               double without_bytes, double with_bytes)
{
    struct money_month m = {.is_free = true};
    if (seconds <= 0)
        return m;
    m.without_bytes = without_bytes / seconds * GOVERNOR_MONTH_S;
    m.with_bytes = with_bytes / seconds * GOVERNOR_MONTH_S;
    m.without = money_price(t, others_bytes + m.without_bytes);
    m.with = money_price(t, others_bytes + m.with_bytes);
    m.saving = money_saving(t, others_bytes + m.without_bytes, others_bytes + m.with_bytes);
    m.is_free = m.without <= 0;
    return m;
}

const char *money_say(char out[MONEY_TEXT_BYTES], const struct money_terms *t,
                      const struct money_month *m, const char *currency)
{
    const double gb = GB_MB * MONEY_MB;
    const char *assumed = t->is_assumed ? ", assumed" : "";
    if (m->is_free && isfinite(money_free_bytes(t)))
        snprintf(out, MONEY_TEXT_BYTES, "saves no money: %.3g of %.3g GB a month that are free%s",
                 m->without_bytes / gb, money_free_bytes(t) / gb, assumed);
    else if (m->is_free)
        snprintf(out, MONEY_TEXT_BYTES, "saves no money: logs cost nothing%s", assumed);
    else
        snprintf(out, MONEY_TEXT_BYTES, "saves %.2f of %.2f %.16s a month%s", m->saving, m->without,
                 currency, assumed);
    return out;
}
