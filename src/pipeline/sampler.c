/* sampler: the order of decision. */
#include "pipeline/sampler.h"

#include <math.h>

#include "pipeline/attr_text.h"
#include "pipeline/consistent.h"
#include "util/glob.h"
#include "util/hash.h"

#define RANDOM_MASK (RULES_REJECT_ALL - 1)
#define WINDOWS (UINT32_MAX - 1) /* numbers of windows, 1 and above; beyond it they wrap */

const char *reason_name(enum reason r)
{
    static const char *const names[] = {
#define X(name, text) [REASON_##name] = text,
        REASONS(X)
#undef X
    };
    return names[r];
}

static bool attribute_matches(const struct log_attr *a, struct span pattern)
{
    char room[ATTR_TEXT_BYTES];
    struct span text = attr_text(&a->value, room);
    return text.base != NULL && glob_matches(pattern, text);
}

struct wanted {
    struct span key, pattern;
};

static int resource_attribute_matches(void *ctx, const struct log_attr *a)
{
    const struct wanted *w = ctx;
    return span_eq(a->key, w->key) && attribute_matches(a, w->pattern);
}

/* In the record's attributes, or in its Resource's. */
static bool has_attribute(const struct subject *s, struct span key, struct span pattern)
{
    struct log_attrs attrs;
    struct log_attr a;
    log_attrs_of_record(&attrs, s->bytes);
    while (log_attrs_next(&attrs, &a))
        if (span_eq(a.key, key) && attribute_matches(&a, pattern))
            return true;
    struct wanted wanted = {key, pattern};
    return logs_resource_attrs(s->group, resource_attribute_matches, &wanted) != 0;
}

static bool matches(const struct rules_matcher *m, const struct subject *s)
{
    if (m->levels != 0 && (m->levels >> s->level & 1) == 0)
        return false;
    if (m->has_pattern && m->pattern != s->signature && m->pattern != s->family &&
        m->family != s->family)
        return false;
    if (m->service.base != NULL && !glob_matches(m->service, s->group->service_name))
        return false;
    if (m->body.base != NULL &&
        (s->record->body.kind != LOG_STRING || !glob_matches(m->body, s->record->body.text)))
        return false;
    for (unsigned i = 0; i < m->attributes; i++)
        if (!has_attribute(s, m->attribute[i].key, m->attribute[i].value))
            return false;
    return true;
}

/* Inlined with a constant NULL where records are decided: then nothing of it is left. */
#define FOR_BOTH static inline __attribute__((always_inline))

FOR_BOTH void tell(const struct sampler_trace *trace, struct sampler_step step)
{
    if (trace != NULL)
        trace->step(trace->ctx, &step);
}

FOR_BOTH bool any_matches(const struct rules *rules, bool keep, const struct subject *s,
                          const struct sampler_trace *trace)
{
    unsigned count;
    const struct rules_matcher *m = rules_matchers(rules, keep, &count);
    for (unsigned i = 0; i < count; i++) {
        bool hit = matches(&m[i], s);
        tell(trace, (struct sampler_step){keep ? SAMPLER_KEEP : SAMPLER_DROP, hit, .place = i});
        if (hit)
            return true;
    }
    return false;
}

/* Windows of one entry start at a phase of its own, or the heads of all patterns would
 * fall on the same second. The entry's and not the record's: a family's entry and an
 * overflow's count for many signatures, and each would begin a window that is not theirs. */
static bool is_among_first(const struct rules *rules, const struct subject *s, bool *is_new)
{
    struct pattern *p = s->pattern;
    uint64_t length = rules_window_ms(rules);
    uint32_t window = (uint32_t)((s->now_ms + p->key.signature % length) / length % WINDOWS + 1);
    *is_new = p->window == PATTERN_WINDOW_NEW && rules_first(rules) > 0;
    if (!*is_new && s->governor != NULL && !governor_has_first(s->governor))
        return false;
    if (p->window != window) {
        bool has_none = p->window == PATTERN_WINDOW_KNOWN && p->in_window > 0;
        p->window = window;
        p->in_window = has_none ? UINT32_MAX : 0;
    }
    if (p->in_window >= rules_first(rules))
        return false; /* not counted on: the counter would start anew after 2^32 records */
    p->in_window++;
    return true;
}

bool sampler_is_on_floor(const struct log_record *r, enum level level)
{
    const struct log_value *type = log_known(r, LOG_EXCEPTION_TYPE);
    return level >= LEVEL_ERROR || (type != NULL && type->kind == LOG_STRING && type->text.len > 0);
}

static bool is_on_floor(const struct subject *s)
{
    return sampler_is_on_floor(s->record, s->level);
}

enum wish { WISH_NONE, WISH_KEEP, WISH_DROP };

/* sampling.priority: 0 is "do not export", any other number "export regardless". */
static enum wish priority_of(const struct log_record *r)
{
    const struct log_value *v = log_known(r, LOG_SAMPLING_PRIORITY);
    if (v != NULL && v->kind == LOG_INT)
        return v->integer != 0 ? WISH_KEEP : WISH_DROP;
    if (v != NULL && v->kind == LOG_DOUBLE && !isnan(v->real))
        return v->real < 0 || v->real > 0 ? WISH_KEEP : WISH_DROP;
    return WISH_NONE;
}

/* Another sampler has released it as the context of an error: survivors of its pattern
 * stand for it, and a weight of ours would count it again. */
static bool is_context(const struct log_record *r)
{
    const struct log_value *v = log_known(r, LOG_ADJUSTED_COUNT);
    return v != NULL &&
           ((v->kind == LOG_DOUBLE && v->real == 0) || (v->kind == LOG_INT && v->integer == 0));
}

/* The R of a record that no earlier sampler shares with us, and the step that it takes. */
static uint64_t own_randomness(const struct subject *s, uint64_t ours)
{
    if (s->draw.source == DRAW_KEY)
        return s->draw.randomness;
    return s->pattern != NULL ? draw_spaced(s->pattern, ours) : hash64(s->bytes) & RANDOM_MASK;
}

/* Was the earlier draw made with the R that we would draw by? Then the two are one. */
static bool is_joint(const struct subject *s, uint64_t before)
{
    return s->draw.source == DRAW_SHARED && s->draw.randomness >= before;
}

/* What the survivors of the rate `before` are to be thinned to, so that `ours` is left. */
static uint64_t rest_of(uint64_t ours, uint64_t before)
{
    double rest = rules_rate_of(ours) / rules_rate_of(before);
    return rest >= 1 ? 0 : RULES_REJECT_ALL - (uint64_t)llround(rest * (double)RULES_REJECT_ALL);
}

/* An R above the threshold that a record was kept by, for samplers behind us. That of a spacing
 * would be the same again and again, and they would keep all of a pattern or none. */
static uint64_t fresh_randomness(const struct subject *s, uint64_t threshold)
{
    const struct pattern *p = s->pattern;
    uint64_t any =
        p == NULL ? hash64(s->bytes) : hash_mix(p->key.signature ^ p->phase, p->counts.received);
    return consistent_carried(any & RANDOM_MASK, 0, threshold);
}

/* Kept with certainty by us: what is on the record from before stays as it is. */
static struct decision keep(const struct subject *s, enum reason reason)
{
    uint64_t before = consistent_threshold(s->record);
    struct decision d = {.verdict = VERDICT_KEPT, .reason = reason, .threshold = before};
    if (before == 0)
        return d;
    d.own_randomness = !is_joint(s, before);
    d.randomness = d.own_randomness ? fresh_randomness(s, before) : s->draw.randomness;
    return d;
}

/* Draw by our rate. A record of a crowd is spaced: when it has come through a draw with the R
 * that it shares, so much is left to draw as takes it from that rate to ours. */
static struct decision draw(const struct subject *s, enum reason reason, uint64_t ours)
{
    uint64_t before = consistent_threshold(s->record), all = ours, r = s->draw.randomness;
    bool joint = is_joint(s, before), crowded = draw_is_crowded(&s->draw);
    if (joint && crowded && before > 0)
        ours = rest_of(ours, before);
    if (ours == 0)
        return keep(s, reason);
    bool own = !joint || crowded;
    if (own)
        r = own_randomness(s, ours);
    bool kept = r >= ours;
    if (before > 0)
        all = own ? consistent_product(ours, before) : ours > before ? ours : before;
    if (own && kept && s->draw.source != DRAW_KEY)
        r = fresh_randomness(s, all);
    else if (own && kept && before > 0)
        r = consistent_carried(r, ours, before);
    if (s->pattern != NULL && all < RULES_REJECT_ALL)
        draw_note(s->pattern, &s->draw, 1 / rules_rate_of(all));
    return (struct decision){kept ? VERDICT_KEPT : VERDICT_SAMPLED_OUT, reason, all, r, own, false};
}

/* The budget's part in it: what the record's own rate gives it, times the governor's
 * factor. Of a record that has come through a draw with the same randomness we add only
 * what our rate is lower. */
static struct decision draw_governed(const struct subject *s, enum reason reason, uint64_t ours)
{
    static const enum reason reason_of[] = {
        [GOVERNOR_BY_BUDGET] = REASON_BUDGET,
        [GOVERNOR_BY_PRESSURE] = REASON_PRESSURE,
    };
    uint64_t before = consistent_threshold(s->record);
    double came = before > 0 && is_joint(s, before) ? rules_rate_of(before) : 1;
    struct governor_record record = {s->pattern->number, s->level, s->metered,
                                     fmin(rules_rate_of(ours) / came, 1)};
    enum governor_cause why = GOVERNOR_FREE;
    double factor = record.wish > 0 ? governor_draw(s->governor, &record, &why) : 1;
    if (why == GOVERNOR_FREE)
        return draw(s, reason, ours);
    return draw(s, reason_of[why], rules_threshold_of(record.wish * factor * came));
}

/* The rate while something is anomalous. */
static uint64_t boosted(const struct rules *rules, const struct subject *s, uint64_t t)
{
    double boost = 1 + (rules_boost(rules) - 1) * (double)s->anomaly;
    return rules_threshold_of(fmin(rules_rate_of(t) * boost, 1));
}

FOR_BOTH struct decision decide(const struct rules *rules, const struct subject *s,
                                const struct sampler_trace *trace)
{
    static const enum reason reason_of[] = {
        [RULES_PATTERN] = REASON_PATTERN_RATE,
        [RULES_SEVERITY] = REASON_SEVERITY_RATE,
        [RULES_GLOBAL] = REASON_GLOBAL_RATE,
    };
    bool floor = is_on_floor(s);
    tell(trace, (struct sampler_step){SAMPLER_FLOOR, floor});
    if (floor)
        return keep(s, REASON_FLOOR);
    enum wish wish = priority_of(s->record);
    tell(trace, (struct sampler_step){SAMPLER_PRIORITY, wish != WISH_NONE});
    if (wish == WISH_KEEP)
        return keep(s, REASON_PRIORITY);
    if (wish == WISH_DROP)
        return (struct decision){.verdict = VERDICT_DROPPED_BY_RULE, .reason = REASON_PRIORITY};
    if (any_matches(rules, true, s, trace))
        return keep(s, REASON_KEEP_RULE);
    if (any_matches(rules, false, s, trace))
        return (struct decision){.verdict = VERDICT_DROPPED_BY_RULE, .reason = REASON_DROP_RULE};
    if (s->guarded) {
        unsigned first = (unsigned)__builtin_ctzll(s->selected);
        tell(trace, (struct sampler_step){SAMPLER_GUARD, true, .place = first});
        return keep(s, REASON_GUARDED);
    }
    bool context = is_context(s->record);
    tell(trace, (struct sampler_step){SAMPLER_CONTEXT, context});
    if (context)
        return keep(s, REASON_ERROR_CONTEXT);
    tell(trace, (struct sampler_step){SAMPLER_FIRST, false});
    bool is_new = false;
    if (trace == NULL && is_among_first(rules, s, &is_new)) {
        struct decision d = keep(s, REASON_FIRST);
        d.is_new = is_new;
        return d;
    }

    enum rules_source source;
    uint64_t t = rules_threshold(rules, s->signature, s->family, s->level, &source);
    tell(trace, (struct sampler_step){SAMPLER_RATE, true, .source = source, .threshold = t});
    if (s->anomaly > 0)
        t = boosted(rules, s, t);
    if (trace != NULL && rules_boost(rules) > 1)
        tell(trace, (struct sampler_step){SAMPLER_BOOST, s->anomaly > 0, .threshold = t});
    if (s->governor == NULL)
        return draw(s, reason_of[source], t);
    tell(trace, (struct sampler_step){SAMPLER_BUDGET, false});
    return trace != NULL ? draw(s, reason_of[source], t) : draw_governed(s, reason_of[source], t);
}

struct decision sampler_decide(const struct rules *rules, const struct subject *s)
{
    return decide(rules, s, NULL);
}

struct decision sampler_explain(const struct rules *rules, const struct subject *s,
                                const struct sampler_trace *trace)
{
    struct subject other = *s;
    struct pattern pattern;
    if (s->pattern != NULL) { /* a draw moves it on */
        pattern = *s->pattern;
        other.pattern = &pattern;
    }
    return decide(rules, &other, trace);
}
