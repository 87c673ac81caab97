/* governor_save: what a process leaves to the next: debts, and what it knew of patterns. */
#include <math.h>

#include "pipeline/governor_state.h"
#include "util/saved.h"

bool governor_known(const struct governor *g, uint32_t number, struct governor_known *out)
{
    if (!governor_has_budget(g) || number >= g->made || !g->shares[number].known)
        return false;
    *out = (struct governor_known){g->shares[number].smooth, g->shares[number].level};
    return true;
}

/* In the order of struct debts; what a process had from the one before and never came to use goes
 * on to the next. */
void governor_save(const struct governor *g, struct buf *out)
{
    const struct debts d = !g->is_on && g->has_before
                               ? g->before
                               : (struct debts){.arrivals = g->arrivals,
                                                .level = g->level,
                                                .lull_s = g->lull_s,
                                                .mean_cost = g->mean_cost,
                                                .credit = g->credit,
                                                .certain_rate = g->certain_rate,
                                                .firsts = g->firsts,
                                                .bucket = g->bucket};
    const double all[] = {d.arrivals, d.level,        d.lull_s, d.mean_cost,
                          d.credit,   d.certain_rate, d.firsts, d.bucket};
    saved_put_u8(out, (uint8_t)g->opts.target.unit);
    saved_put_u8(out, governor_has_budget(g) && (g->is_on || g->has_before));
    saved_put_double(out, g->used);
    saved_put_double(out, g->allowed);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        saved_put_double(out, all[i]);
}

int governor_restore(struct governor *g, struct span text, double away_s)
{
    struct saved s = {.left = text};
    struct debts d = {.away_s = fmax(away_s, 0)};
    double *const all[] = {&d.arrivals, &d.level,        &d.lull_s, &d.mean_cost,
                           &d.credit,   &d.certain_rate, &d.firsts, &d.bucket};
    const uint8_t unit = saved_u8(&s), is_on = saved_u8(&s);
    const double used = saved_double(&s), allowed = saved_double(&s);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        *all[i] = saved_double(&s);
        s.is_bad |= !isfinite(*all[i]);
    }
    s.is_bad |= !(used >= 0 && isfinite(used) && allowed >= 0 && isfinite(allowed)) ||
                d.arrivals < 0 || d.lull_s < 0 || d.mean_cost < 0 || d.certain_rate < 0 ||
                d.bucket < 0;
    if (s.is_bad)
        return ERR_MALFORMED;
    if (!governor_has_budget(g) || unit != (uint8_t)g->opts.target.unit)
        return 0;
    g->used = used;
    g->allowed = allowed;
    g->before = d;
    /* Without a record there is no mean, which would say which of them are small. */
    g->has_before = is_on && d.mean_cost > 0;
    return 0;
}

void governor_recall(struct governor *g, uint32_t number, const struct governor_known *known)
{
    struct share *s = g->has_before && known->volume > 0 ? governor_share(g, number) : NULL;
    if (s == NULL)
        return;
    s->smooth = known->volume;
    s->level = known->level;
    s->known = true;
    s->factor = 1;
}
