/* standing: the first of an order that applies. */
#include "pipeline/standing.h"

#include <math.h>
#include <stdio.h>

#include "util/glob.h"

const char *standing_name(enum standing_origin o)
{
    static const char *const names[] = {
#define X(name, text) [STANDING_##name] = text,
        STANDINGS(X)
#undef X
    };
    return names[o];
}

static bool may_match(const struct rules_matcher *m, const struct standing_facts *f)
{
    if (m->levels != 0 && (m->levels >> f->level & 1) == 0)
        return false;
    if (m->has_pattern && m->pattern != f->signature && m->pattern != f->family &&
        m->family != f->family)
        return false;
    return m->service.base == NULL || glob_matches(m->service, f->service);
}

/* The first rule that selects all of the pattern; those that may select some are counted. */
static bool has_rule(const struct rules *rules, bool keep, const struct standing_facts *f,
                     struct standing *s)
{
    unsigned count;
    const struct rules_matcher *m = rules_matchers(rules, keep, &count);
    for (unsigned i = 0; i < count; i++) {
        if (!may_match(&m[i], f))
            continue;
        if (m[i].body.base != NULL || m[i].attributes > 0) {
            s->unasked++;
            continue;
        }
        s->place = i;
        return true;
    }
    return false;
}

static struct standing certain(struct standing s, enum standing_origin origin, double rate)
{
    s.origin = origin;
    s.rate = s.own = rate;
    return s;
}

struct standing standing_of(const struct rules *rules, const struct standing_facts *f)
{
    static const enum standing_origin origin_of[] = {
        [RULES_PATTERN] = STANDING_PATTERN,
        [RULES_SEVERITY] = STANDING_SEVERITY,
        [RULES_GLOBAL] = STANDING_GLOBAL,
    };
    struct standing s = {.boost = 1};
    enum rules_source source;
    if (f->level >= LEVEL_ERROR)
        return certain(s, STANDING_FLOOR, 1);
    if (has_rule(rules, true, f, &s))
        return certain(s, STANDING_KEEP, 1);
    if (has_rule(rules, false, f, &s))
        return certain(s, STANDING_DROP, 0);
    if (f->is_guarded)
        return certain(s, STANDING_GUARD, 1);
    s.own = rules_rate_of(rules_threshold(rules, f->signature, f->family, f->level, &source));
    s.boost = 1 + (rules_boost(rules) - 1) * (double)f->strength;
    s.rate = fmin(s.own * s.boost, 1) * (double)f->factor;
    s.origin = origin_of[source];
    if (f->factor < 1)
        s.origin = f->is_pressed ? STANDING_PRESSURE : STANDING_BUDGET;
    else if (s.boost > 1 && s.own < 1)
        s.origin = STANDING_BOOST;
    else if (f->is_all_first && s.own < 1 && rules_first(rules) > 0)
        s.origin = STANDING_FIRST;
    return s;
}

const char *standing_say(char out[STANDING_TEXT_BYTES], const struct rules *rules,
                         const struct standing_facts *f, const struct standing *s)
{
    const char *level = level_name(f->level);
    double own = s->own * 100, rate = s->rate * 100;
    size_t n = STANDING_TEXT_BYTES;
    switch (s->origin) {
    case STANDING_FLOOR:
        snprintf(out, n, "errors are always kept");
        break;
    case STANDING_KEEP:
        snprintf(out, n, "rule keep[%u] keeps it", s->place);
        break;
    case STANDING_DROP:
        snprintf(out, n, "rule drop[%u] drops it", s->place);
        break;
    case STANDING_GUARD:
        snprintf(out, n, "an alert, metric, view or insight of PostHog counts it");
        break;
    case STANDING_FIRST:
        snprintf(out, n, "the first %u of each %.3gs are kept, and no more came",
                 rules_first(rules), (double)rules_window_ms(rules) / 1000);
        break;
    case STANDING_PATTERN:
        snprintf(out, n, "pattern_rates keeps %.3g%% of it", own);
        break;
    case STANDING_SEVERITY:
        snprintf(out, n, "severity_rates.%s keeps %.3g%% of it", level, own);
        break;
    case STANDING_GLOBAL:
        snprintf(out, n, "global_rate keeps %.3g%% of it", own);
        break;
    case STANDING_BUDGET:
    case STANDING_PRESSURE:
        snprintf(out, n, "%s leaves %.3g%% of it; its own rate is %.3g%%",
                 s->origin == STANDING_BUDGET ? "the budget" : "the full queue", rate, own);
        break;
    default:
        snprintf(out, n, "%.3g times its rate of %.3g%% while it is anomalous", s->boost, own);
    }
    return out;
}
