/* plan: patterns sorted by id, one proposal for each id, and a bound on all of them. */
#include "policy/plan.h"

#include <math.h>
#include <stdlib.h>

#define ROUND_TO 1000  /* a rate that is cut short has so many steps */
#define FAILED_CLASS 5 /* of an HTTP status */

const char *plan_protection(const struct plan_pattern *p)
{
    const struct standing s = standing_of(p->rules, p->facts);
    switch (s.origin) {
    case STANDING_FLOOR:
        return "errors are always kept";
    case STANDING_KEEP:
        return "a keep rule keeps it";
    case STANDING_DROP:
        return "a drop rule drops it";
    case STANDING_GUARD:
        return "an alert, metric, view or insight of PostHog counts it";
    default:
        return NULL;
    }
}

const char *plan_soft_protection(const struct plan_pattern *p)
{
    if (p->status_class == FAILED_CLASS)
        return "its HTTP answers failed (5xx)";
    return p->facts->anomalies != 0 ? "it is anomalous now" : NULL;
}

/* A pattern that is its own family, or the family: what a policy names. */
static uint64_t id_of(const struct plan_pattern *p)
{
    return p->facts->family != 0 ? p->facts->family : p->facts->signature;
}

struct member {
    uint64_t id;
    uint32_t at;
};

static int by_id(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* What all patterns of an id are together. False: nothing of it may change. */
static bool gather(struct plan_change *c, struct proposal_pattern *sum,
                   const struct plan_pattern *patterns, const struct member *from,
                   const struct member *to)
{
    double most = -1, weighted = 0;
    bool is_open = false;
    *sum = (struct proposal_pattern){.pattern = from->id, .level = LEVEL_TRACE};
    *c = (struct plan_change){.id = from->id};
    for (const struct member *m = from; m < to; m++) {
        const struct plan_pattern *p = &patterns[m->at];
        const struct standing s = standing_of(p->rules, p->facts);
        const char *why = plan_protection(p), *soft = plan_soft_protection(p);
        if (s.origin == STANDING_GUARD || s.origin == STANDING_KEEP)
            return false; /* a rate for the id would be theirs as well */
        if (why != NULL)
            continue; /* an error: its rate is not asked */
        is_open = true;
        c->soft += soft != NULL;
        c->soft_why = c->soft_why == NULL ? soft : c->soft_why;
        sum->records_per_hour += p->records_per_hour;
        sum->bytes += p->kept_bytes;
        sum->seen += p->seen;
        sum->level = p->facts->level > sum->level ? p->facts->level : sum->level;
        weighted += s.own * p->records_per_hour;
        if (p->received_bytes > most) {
            most = p->received_bytes;
            c->loudest = m->at;
        }
    }
    if (sum->records_per_hour > 0)
        sum->rate_now = fmin(weighted / sum->records_per_hour, 1);
    return is_open && sum->records_per_hour > 0;
}

static int by_saving(const void *a, const void *b)
{
    const struct plan_change *x = a, *y = b;
    double s = x->bytes_now - x->bytes, t = y->bytes_now - y->bytes;
    if (s < t || s > t)
        return s < t ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static size_t list_changes(struct plan_change *changes, const struct plan_pattern *patterns,
                           const struct member *members, size_t count)
{
    size_t n = 0;
    for (size_t i = 0, next; i < count; i = next) {
        struct proposal_pattern sum;
        struct proposal p;
        struct plan_change c;
        for (next = i + 1; next < count && members[next].id == members[i].id;)
            next++;
        if (!gather(&c, &sum, patterns, &members[i], &members[next]))
            continue;
        proposal_of(&p, &sum);
        if (p.rate >= sum.rate_now && p.rate <= sum.rate_now)
            continue;
        c.rate_now = sum.rate_now;
        c.rate = p.rate;
        c.bytes_now = sum.bytes;
        c.bytes = p.bytes;
        changes[n++] = c;
    }
    qsort(changes, n, sizeof *changes, by_saving);
    return n;
}

/* A smaller step of the same change, so that it saves no more than `left`. False: too small. */
static bool shorten(struct plan_change *c, double left)
{
    double rate = c->rate_now * (1 - left / c->bytes_now);
    rate = ceil(rate * ROUND_TO) / ROUND_TO;
    if (rate > c->rate_now * (1 - PROPOSAL_GAIN_MIN) || rate <= c->rate)
        return false;
    c->bytes = c->bytes_now * rate / c->rate_now;
    c->rate = rate;
    c->is_cut = true;
    return true;
}

/* The changes that fit the bound; those that raise a rate always do. */
static void bound(struct plan *plan, double max_drop_change)
{
    double left = max_drop_change * plan->received_bytes;
    size_t n = 0;
    for (size_t i = 0; i < plan->count; i++) {
        struct plan_change c = plan->changes[i];
        if (c.bytes_now - c.bytes > left && !shorten(&c, left)) {
            plan->left_out++;
            continue;
        }
        double saved = c.bytes_now - c.bytes;
        left -= fmax(saved, 0);
        plan->kept_then -= saved;
        plan->needs_shadow |= c.soft > 0 && c.rate < c.rate_now;
        plan->changes[n++] = c;
    }
    plan->count = n;
}

static const char *reason_for_none(const struct plan *plan, const struct plan_opts *opts)
{
    double saving = plan->kept_now - plan->kept_then, last = opts->last_share;
    if (plan->received_bytes <= 0)
        return "nothing was counted yet";
    if (plan->count == 0)
        return plan->left_out > 0 ? "each change alone is larger than policy.max_drop_change"
                                  : "no rate needs to change";
    if (fabs(saving) < PLAN_GAIN_MIN * plan->kept_now)
        return "it would save less than 5% of what is kept";
    if (last > 0 && fabs(saving / plan->kept_now - last) < PLAN_GAIN_MIN * last)
        return "it would save as much as the last proposal, which is open";
    return NULL;
}

int plan_make(struct plan *out, const struct plan_pattern *patterns, size_t count,
              const struct plan_opts *opts, struct arena *arena)
{
    struct plan plan = {0};
    struct member *members = arena_alloc(arena, (count + 1) * sizeof *members);
    plan.changes = arena_alloc(arena, (count + 1) * sizeof *plan.changes);
    if (members == NULL || plan.changes == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        members[i] = (struct member){id_of(&patterns[i]), (uint32_t)i};
        plan.received_bytes += patterns[i].received_bytes;
        plan.kept_now += patterns[i].kept_bytes;
    }
    plan.kept_then = plan.kept_now;
    qsort(members, count, sizeof *members, by_id);
    plan.count = list_changes(plan.changes, patterns, members, count);
    bound(&plan, opts->max_drop_change);
    plan.none = reason_for_none(&plan, opts);
    *out = plan;
    return 0;
}
