/* sampler: the order of decision. */
#include "pipeline/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "pipeline/consistent.h"
#include "util/glob.h"
#include "util/hash.h"

#define RANDOM_MASK (RULES_REJECT_ALL - 1)
#define NUMBER_TEXT_BYTES 32 /* any int64 or double as text */

const char *reason_name(enum reason r)
{
    static const char *const names[] = {
#define X(name, text) [REASON_##name] = text,
        REASONS(X)
#undef X
    };
    return names[r];
}

uint64_t sampler_randomness(const struct log_record *record, struct span bytes)
{
    uint64_t r;
    return consistent_randomness(record, &r) ? r : hash64(bytes) & RANDOM_MASK;
}

/* The fewest digits that read back as the same number: 0.1 and not 0.10000000000000001. */
static int shortest_double(char room[NUMBER_TEXT_BYTES], double real)
{
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(room, NUMBER_TEXT_BYTES, "%.*g", digits, real);
        if (strtod(room, NULL) == real)
            break;
    }
    return n;
}

/* The text that a glob is held against: numbers and booleans as JSON writes them. */
static struct span value_text(const struct log_value *v, char room[NUMBER_TEXT_BYTES])
{
    int n = 0;
    switch (v->kind) {
    case LOG_STRING:
        return v->text;
    case LOG_BOOL:
        return v->integer != 0 ? SPAN("true") : SPAN("false");
    case LOG_INT:
        n = snprintf(room, NUMBER_TEXT_BYTES, "%lld", (long long)v->integer);
        break;
    case LOG_DOUBLE:
        n = shortest_double(room, v->real);
        break;
    default: /* lists, maps and bytes have no text to match */
        return (struct span){0};
    }
    return span_of(room, (size_t)n);
}

static bool attribute_matches(const struct log_attr *a, struct span pattern)
{
    char room[NUMBER_TEXT_BYTES];
    struct span text = value_text(&a->value, room);
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
static bool is_among_first(const struct rules *rules, const struct subject *s)
{
    struct pattern *p = s->pattern;
    uint64_t length = rules_window_ms(rules);
    uint32_t window = (uint32_t)((s->now_ms + p->key.signature % length) / length + 1);
    if (p->window != window) {
        p->window = window;
        p->in_window = 0;
    }
    if (p->in_window >= rules_first(rules))
        return false; /* not counted on: the counter would start anew after 2^32 records */
    p->in_window++;
    return true;
}

static bool is_on_floor(const struct subject *s)
{
    const struct log_value *type = log_known(s->record, LOG_EXCEPTION_TYPE);
    return s->level >= LEVEL_ERROR ||
           (type != NULL && type->kind == LOG_STRING && type->text.len > 0);
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

/* A threshold of 0 keeps: what is on the record from before stays as it is. */
static struct decision draw(const struct subject *s, enum reason reason, uint64_t ours)
{
    uint64_t before = consistent_threshold(s->record), all = ours, r = 0;
    if (ours == 0 && before == 0)
        return (struct decision){.verdict = VERDICT_KEPT, .reason = reason};
    bool own = !consistent_randomness(s->record, &r) || r < before;
    if (own)
        r = hash64(s->bytes) & RANDOM_MASK;
    bool kept = r >= ours;
    if (before > 0)
        all = own ? consistent_product(ours, before) : ours > before ? ours : before;
    if (before > 0 && own && kept)
        r = consistent_carried(r, ours, before);
    return (struct decision){kept ? VERDICT_KEPT : VERDICT_SAMPLED_OUT, reason, all, r, own};
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
    uint64_t before = consistent_threshold(s->record), r = 0;
    bool shared = before > 0 && consistent_randomness(s->record, &r) && r >= before;
    double came = shared ? rules_rate_of(before) : 1;
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
        return draw(s, REASON_FLOOR, 0);
    enum wish wish = priority_of(s->record);
    tell(trace, (struct sampler_step){SAMPLER_PRIORITY, wish != WISH_NONE});
    if (wish == WISH_KEEP)
        return draw(s, REASON_PRIORITY, 0);
    if (wish == WISH_DROP)
        return (struct decision){.verdict = VERDICT_DROPPED_BY_RULE, .reason = REASON_PRIORITY};
    if (any_matches(rules, true, s, trace))
        return draw(s, REASON_KEEP_RULE, 0);
    if (any_matches(rules, false, s, trace))
        return (struct decision){.verdict = VERDICT_DROPPED_BY_RULE, .reason = REASON_DROP_RULE};
    bool context = is_context(s->record);
    tell(trace, (struct sampler_step){SAMPLER_CONTEXT, context});
    if (context)
        return draw(s, REASON_ERROR_CONTEXT, 0);
    tell(trace, (struct sampler_step){SAMPLER_FIRST, false});
    if (trace == NULL && (s->governor == NULL || governor_has_first(s->governor)) &&
        is_among_first(rules, s))
        return draw(s, REASON_FIRST, 0);

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
    return decide(rules, s, trace);
}
