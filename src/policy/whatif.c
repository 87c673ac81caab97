/* whatif: shares by rules, then what a budget leaves of them. */
#include "policy/whatif.h"

#include <math.h>

#include "pipeline/allocation.h"
#include "policy/proposal.h"

#define LEAST_PART \
    0.01 /* of a budget, for what is sampled, if all else is kept: as the governor \
          */

struct side {
    double share, first; /* first: the part that is kept with certainty */
};

/* What of a pattern goes on by rules alone. */
static struct side side_of(const struct whatif_pattern *p, const struct rules *rules,
                           bool *is_certain, unsigned *unasked)
{
    struct standing_facts facts = *p->facts;
    facts.strength = 0;
    facts.factor = 1;
    facts.is_all_first = false;
    const struct standing s = standing_of(rules, &facts);
    struct side side = {.share = s.rate, .first = s.rate};
    *unasked |= s.unasked;
    *is_certain = s.origin <= STANDING_GUARD;
    if (*is_certain)
        return side;
    double windows = fmax(p->busy_s * 1000 / (double)rules_window_ms(rules), 1);
    double per_window = p->records / windows;
    side.share = s.rate >= 1 ? 1 : proposal_share(s.rate, rules_first(rules), per_window);
    side.first = proposal_share(0, rules_first(rules), per_window);
    return side;
}

/* What a budget allows in all that time, in its unit; INFINITY: there is none. */
static double allowed(const struct governor_target *t, double seconds, double received_bytes)
{
    switch (t->unit) {
    case GOVERNOR_BYTES:
    case GOVERNOR_RECORDS:
        return t->amount * seconds;
    case GOVERNOR_REDUCTION:
        return t->amount * received_bytes;
    default:
        return INFINITY;
    }
}

/* Room for one side, of each pattern. */
struct scratch {
    struct allocation *strata;
    struct side *sides;
};

/* Shares by rules, and what is certain of all; the strata are what is left to chance. */
static double take_rules(struct whatif *w, struct whatif_pattern *patterns, size_t count,
                         bool is_then, const struct scratch *s, bool by_records)
{
    double certain = 0;
    for (size_t i = 0; i < count; i++) {
        struct whatif_pattern *p = &patterns[i];
        bool *is_certain = is_then ? &p->is_certain_then : &p->is_certain_now;
        unsigned unasked = 0;
        s->sides[i] = side_of(p, is_then ? p->then : p->now, is_certain, &unasked);
        w->unasked += !is_then && unasked > 0;
        double cost = by_records ? p->records : p->bytes;
        certain += cost * (*is_certain ? s->sides[i].share : s->sides[i].first);
        s->strata[i].weight = 1;
        s->strata[i].volume = *is_certain ? 0 : cost * (s->sides[i].share - s->sides[i].first);
    }
    return certain;
}

/* One side for all patterns: what rules leave, and a budget of that. */
static void take_side(struct whatif *w, struct whatif_pattern *patterns, size_t count, bool is_then,
                      const struct scratch *s, double seconds, const struct governor_target *target)
{
    struct whatif_sum *sum = is_then ? &w->then : &w->now;
    double certain = take_rules(w, patterns, count, is_then, s, target->unit == GOVERNOR_RECORDS);
    double all = allowed(target, seconds, w->received.bytes);
    double left = fmax(all - certain, LEAST_PART * all);
    allocation_solve(s->strata, count, target->exponent, isfinite(all) ? left : HUGE_VAL);
    for (size_t i = 0; i < count; i++) {
        struct whatif_pattern *p = &patterns[i];
        const struct side *side = &s->sides[i];
        double factor = s->strata[i].volume > 0 ? s->strata[i].share / s->strata[i].volume : 1;
        double share = side->first + (side->share - side->first) * factor;
        *(is_then ? &p->share_then : &p->share_now) = share;
        sum->records += p->records * share;
        sum->bytes += p->bytes * share;
    }
}

int whatif_of(struct whatif *out, struct whatif_pattern *patterns, size_t count,
              struct arena *scratch, double seconds, const struct governor_target *now,
              const struct governor_target *then)
{
    struct whatif w = {0};
    const struct scratch room = {arena_alloc(scratch, (count + 1) * sizeof *room.strata),
                                 arena_alloc(scratch, (count + 1) * sizeof *room.sides)};
    if (room.strata == NULL || room.sides == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        w.received.records += patterns[i].records;
        w.received.bytes += patterns[i].bytes;
    }
    take_side(&w, patterns, count, false, &room, seconds, now);
    take_side(&w, patterns, count, true, &room, seconds, then);
    *out = w;
    return 0;
}

/* Where nothing was kept by the model, as the model has it of what came. */
static double scaled(double model_received, double model_now, double model_then, double received,
                     double kept)
{
    if (model_now > 0 && kept > 0)
        return fmin(kept * (model_then / model_now), fmax(received, kept));
    return model_received > 0 ? received * model_then / model_received : 0;
}

struct whatif_sum whatif_scaled(const struct whatif *w, const struct whatif_sum *received,
                                const struct whatif_sum *kept)
{
    return (struct whatif_sum){
        scaled(w->received.records, w->now.records, w->then.records, received->records,
               kept->records),
        scaled(w->received.bytes, w->now.bytes, w->then.bytes, received->bytes, kept->bytes),
    };
}
