/* anomaly: the same series for patterns, services and the errors of services. */
#include "pipeline/anomaly.h"

#include <math.h>
#include <stdlib.h>

#include "util/blocks.h"
#include "util/err.h"
#include "util/hash.h"

#define FACTOR 4.0         /* of what is usual ... */
#define SIGMAS 4.0         /* ... and so many more, as if records came by chance ... */
#define LEAST 10.0         /* ... and so many: small numbers do not cry */
#define CALM 0.5           /* of that limit: below, a surge is over */
#define OVER_PEAK 1.5      /* of the highest interval lately: what bursts each minute is no news */
#define PEAK_KEEPS 0.9962  /* an interval: half after 180 of them, which is half an hour */
#define WEIGHT 0.1         /* of an interval in what is usual */
#define WEIGHT_SURGE 0.025 /* while it surges: a surge becomes usual in five minutes */
#define PRESENCE_LEAST 0.9
#define QUIET_LEAST 6      /* intervals */
#define QUIET_RECORDS 20.0 /* by chance so many are missing once in 5e8 times */
#define QUIET_MOST 360     /* intervals; then silence is usual */
#define FADED 0.01f
#define GAP_INTERVALS 3
#define MEMORY_FACTOR 4

/* How many came, interval by interval. */
struct series {
    uint32_t count; /* of the interval under way */
    float usual;    /* records an interval */
    float presence; /* share of intervals that had any */
    float peak;     /* the highest interval lately */
    float strength;
    uint16_t age;     /* intervals since the first record; saturates */
    uint16_t quiet;   /* intervals since the last one; saturates */
    uint16_t service; /* of a pattern */
    uint8_t holds;    /* bit per enum anomaly_kind */
    bool seen;
    bool unreported; /* it is new, and that was not reported yet */
};
static_assert(sizeof(struct series) <= 32, "see anomaly.h");

struct service {
    struct series all, errors;
    uint64_t born_ms;
};

struct anomaly {
    struct anomaly_opts opts;
    uint64_t now_ms, started_ms, interval_ms; /* 0: no tick yet; interval_ms: when it began */
    struct anomaly_stats stats;
    struct blocks series;     /* by number of the pattern's entry */
    struct service *services; /* by id */
    uint32_t service_count;   /* ids below it were seen */
    uint16_t *memory;         /* hashes of keys; 0: none */
    uint32_t memory_mask;
};

const char *anomaly_name(enum anomaly_kind kind)
{
    static const char *const names[] = {
#define X(name, text) [ANOMALY_##name] = text,
        ANOMALIES(X)
#undef X
    };
    return names[kind];
}

/* ---- life -------------------------------------------------------------- */

static size_t fixed_bytes(const struct anomaly *a)
{
    return a->opts.max_services * sizeof(struct service) +
           ((size_t)a->memory_mask + 1) * sizeof(uint16_t);
}

int anomaly_new(struct anomaly **out, const struct anomaly_opts *opts)
{
    struct anomaly *a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    a->opts = *opts;
    uint32_t slots = 1;
    while (slots < (uint64_t)opts->max_patterns * MEMORY_FACTOR)
        slots *= 2;
    a->memory_mask = slots - 1;
    if (budget_take(opts->budget, fixed_bytes(a)) < 0) {
        free(a);
        return ERR_FULL;
    }
    int rc = blocks_init(&a->series, opts->max_patterns, opts->budget);
    a->services = calloc(opts->max_services, sizeof *a->services);
    a->memory = calloc(slots, sizeof *a->memory);
    if (rc < 0 || a->services == NULL || a->memory == NULL) {
        anomaly_free(a);
        return ERR_NOMEM;
    }
    *out = a;
    return 0;
}

void anomaly_free(struct anomaly *a)
{
    if (a == NULL)
        return;
    blocks_done(&a->series, sizeof(struct series));
    budget_give(a->opts.budget, fixed_bytes(a));
    free(a->services);
    free(a->memory);
    free(a);
}

/* NULL: no room for it. */
static struct series *series_of(struct anomaly *a, uint32_t number)
{
    return blocks_use(&a->series, number, sizeof(struct series));
}

/* ---- records ----------------------------------------------------------- */

/* Was this key seen before? From now on it was. */
static bool remember(struct anomaly *a, const struct pattern_key *key)
{
    uint64_t rest = (uint64_t)key->service << 16 | (uint64_t)key->level << 8 | key->status_class;
    uint64_t hash = hash_mix(key->signature ^ a->opts.seed, rest);
    uint16_t *slot = &a->memory[hash & a->memory_mask], mark = (uint16_t)(hash >> 48 | 1);
    bool was = *slot == mark;
    *slot = mark;
    return was;
}

static bool is_past_learning(const struct anomaly *a, uint64_t since_ms)
{
    return since_ms != 0 && a->now_ms >= since_ms && a->now_ms - since_ms >= a->opts.learning_ms;
}

void anomaly_begin(struct anomaly *a, uint32_t number, const struct pattern_key *key,
                   const struct pattern_key *own, bool has_merged)
{
    bool is_known = remember(a, own);
    if (key->signature != own->signature)
        is_known |= remember(a, key);
    struct series *s = series_of(a, number);
    if (s == NULL)
        return;
    *s = (struct series){0};
    if (is_known || has_merged || !is_past_learning(a, a->started_ms) ||
        !is_past_learning(a, a->services[key->service].born_ms))
        return;
    s->strength = 1;
    s->holds = 1u << ANOMALY_NEW;
    s->unreported = true;
}

float anomaly_arrived(struct anomaly *a, uint32_t number, uint32_t service, bool is_error)
{
    struct service *v = &a->services[service];
    if (v->born_ms == 0) {
        v->born_ms = a->now_ms;
        a->service_count = service >= a->service_count ? service + 1 : a->service_count;
    }
    v->all.count++;
    v->errors.count += is_error;
    float strength = v->all.strength > v->errors.strength ? v->all.strength : v->errors.strength;
    struct series *s = series_of(a, number);
    if (s == NULL)
        return strength;
    s->count++;
    s->service = (uint16_t)service;
    return s->strength > strength ? s->strength : strength;
}

/* ---- judging ----------------------------------------------------------- */

struct judging {
    struct anomaly *a;
    bool of_service;
    uint32_t number;
    double seconds;         /* that the counts are of */
    bool is_whole;          /* the interval is over */
    double scale;           /* from counts to an interval's */
    float fades;            /* factor on strengths */
    uint16_t service_quiet; /* a pattern's: for how long its service is quiet */
};

static void tell(const struct judging *j, const struct series *s, enum anomaly_kind kind,
                 double count)
{
    const struct anomaly_opts *o = &j->a->opts;
    double interval_s = (double)o->interval_ms / 1000;
    struct anomaly_news news = {
        .kind = kind,
        .of_service = j->of_service,
        .number = j->number,
        .rate = kind == ANOMALY_SILENT ? 0 : count / j->seconds,
        .usual_rate = s->usual / interval_s,
        .for_ms = s->quiet * o->interval_ms,
    };
    if (o->tell != NULL)
        o->tell(o->ctx, &news);
}

static bool holds(const struct series *s, enum anomaly_kind kind)
{
    return (s->holds >> kind & 1) != 0;
}

static void hold(struct series *s, enum anomaly_kind kind)
{
    s->holds |= (uint8_t)(1u << kind);
}

static void release(struct series *s, enum anomaly_kind kind)
{
    s->holds &= (uint8_t) ~(1u << kind);
}

static double limit_of(double usual)
{
    return FACTOR * usual + SIGMAS * sqrt(usual) + LEAST;
}

/* Already more than a whole interval may have. */
static void judge_surge(const struct judging *j, struct series *s, enum anomaly_kind kind,
                        double usual)
{
    if (s->count <= LEAST || holds(s, kind) || s->age < ANOMALY_YOUNG)
        return;
    double count = s->count * (j->scale < 1 ? j->scale : 1);
    if (count <= limit_of(usual) || count <= OVER_PEAK * s->peak)
        return;
    hold(s, kind);
    tell(j, s, kind, s->count);
}

/* Evicted, or counted in a family now. */
static bool is_elsewhere(const struct judging *j)
{
    const struct anomaly_opts *o = &j->a->opts;
    if (j->of_service || o->patterns == NULL)
        return false;
    const struct pattern *e = patterns_at(o->patterns, j->number);
    return !e->in_use || (o->families != NULL &&
                          families_resolve(o->families, e->key.signature) != e->key.signature);
}

static void judge_silence(const struct judging *j, struct series *s)
{
    bool is_steady = s->age >= s->quiet + 2 * ANOMALY_YOUNG && s->presence >= PRESENCE_LEAST;
    if (s->quiet >= QUIET_MOST) {
        release(s, ANOMALY_SILENT);
        s->presence = 0;
    } else if (is_steady && !holds(s, ANOMALY_SILENT) && s->quiet >= QUIET_LEAST &&
               s->quiet * s->usual >= QUIET_RECORDS) {
        if (is_elsewhere(j)) {
            *s = (struct series){0};
            return;
        }
        hold(s, ANOMALY_SILENT);
        /* When all of its service is quiet, that is the news. */
        if (j->of_service || j->service_quiet < s->quiet)
            tell(j, s, ANOMALY_SILENT, 0);
    }
}

/* Quiet intervals are not learnt before it is clear that they are over: what was usual
 * before them is what silence is measured by. */
static void learn(struct series *s, double count, double weight)
{
    if (s->quiet > 0) {
        double kept = pow(1 - WEIGHT, s->quiet);
        s->usual = (float)(s->usual * kept);
        s->presence = (float)(s->presence * kept);
        s->quiet = 0;
    }
    double young = 1 / (s->age + 1.0);
    weight = young > weight ? young : weight;
    s->usual += (float)(weight * (count - s->usual));
    s->presence += (float)((young > WEIGHT ? young : WEIGHT) * (1 - s->presence));
}

static void end_interval(const struct judging *j, struct series *s, enum anomaly_kind surge,
                         double usual)
{
    double count = s->count * j->scale;
    release(s, ANOMALY_NEW);
    if (holds(s, surge) && count <= CALM * limit_of(usual))
        release(s, surge);
    if (s->count > 0) {
        release(s, ANOMALY_SILENT);
        learn(s, count, holds(s, surge) ? WEIGHT_SURGE : WEIGHT);
        s->seen = true;
    } else if (s->seen && s->quiet < UINT16_MAX) {
        s->quiet++;
    }
    s->peak = (float)fmax(count, PEAK_KEEPS * s->peak);
    s->age += s->seen && s->age < UINT16_MAX;
    s->count = 0;
    if (surge == ANOMALY_SURGE && s->quiet > 0)
        judge_silence(j, s);
}

/* `usual`: what an interval like this one should have had. */
static void judge(const struct judging *j, struct series *s, enum anomaly_kind surge, double usual)
{
    if (s->unreported) {
        s->unreported = false;
        tell(j, s, ANOMALY_NEW, s->count);
    }
    judge_surge(j, s, surge, usual);
    if (j->is_whole)
        end_interval(j, s, surge, usual);
    if (s->holds != 0)
        s->strength = 1;
    else
        s->strength = s->strength * j->fades < FADED ? 0 : s->strength * j->fades;
}

/* Errors are judged by their share: as many more as there are records more are usual. */
static double usual_errors(const struct service *v, const struct judging *j)
{
    double all = v->all.count * j->scale;
    return v->all.usual <= 0 ? 0 : v->errors.usual * fmax(all / v->all.usual, 1);
}

static void judge_services(struct judging j)
{
    struct anomaly *a = j.a;
    j.of_service = true;
    for (uint32_t i = 0; i < a->service_count; i++) {
        struct service *v = &a->services[i];
        double usual = usual_errors(v, &j);
        v->errors.seen |= v->all.seen; /* none is known as well */
        j.number = i;
        judge(&j, &v->all, ANOMALY_SURGE, v->all.usual);
        judge(&j, &v->errors, ANOMALY_ERRORS, usual);
        a->stats.services += (v->all.holds | v->errors.holds) != 0;
    }
}

static void judge_patterns(struct judging j)
{
    struct anomaly *a = j.a;
    for (uint32_t i = 0; i < blocks_entries(&a->series); i++) {
        struct series *s = blocks_find(&a->series, i, sizeof *s);
        if (s == NULL || (s->count == 0 && !s->seen))
            continue;
        j.number = i;
        j.service_quiet = a->services[s->service].all.quiet;
        judge(&j, s, ANOMALY_SURGE, s->usual);
        a->stats.patterns += s->holds != 0;
    }
}

/* What was counted is of no known time: begin anew with it. */
static void forget_counts(struct anomaly *a)
{
    for (uint32_t i = 0; i < a->service_count; i++)
        a->services[i].all.count = a->services[i].errors.count = 0;
    for (uint32_t i = 0; i < blocks_entries(&a->series); i++) {
        struct series *s = blocks_find(&a->series, i, sizeof *s);
        if (s != NULL)
            s->count = 0;
    }
    a->interval_ms = a->now_ms;
}

void anomaly_tick(struct anomaly *a, uint64_t now_ms)
{
    uint64_t last_ms = a->now_ms;
    bool is_first = a->started_ms == 0;
    a->now_ms = now_ms;
    if (is_first)
        a->started_ms = now_ms;
    if (is_first || now_ms < last_ms || now_ms - last_ms > GAP_INTERVALS * a->opts.interval_ms) {
        forget_counts(a);
        return;
    }
    uint64_t elapsed_ms = now_ms - a->interval_ms;
    if (elapsed_ms == 0)
        return;
    struct judging j = {
        .a = a,
        .seconds = (double)elapsed_ms / 1000,
        .is_whole = elapsed_ms >= a->opts.interval_ms,
        .scale = 1,
        .fades = (float)exp2(-(double)(now_ms - last_ms) / ANOMALY_HALF_LIFE_MS),
    };
    if (j.is_whole)
        j.scale = (double)a->opts.interval_ms / (double)elapsed_ms;
    a->stats = (struct anomaly_stats){0};
    judge_services(j); /* first: patterns ask for how long their service is quiet */
    judge_patterns(j);
    if (j.is_whole)
        a->interval_ms = now_ms;
}

struct anomaly_stats anomaly_stats(const struct anomaly *a)
{
    return a->stats;
}
