/* anomaly: the same series for patterns, services and the errors of services. */
#include "pipeline/anomaly.h"

#include <math.h>
#include <stdlib.h>

#include "util/blocks.h"
#include "util/err.h"
#include "util/hash.h"

#define FACTOR 3.0     /* of what is usual ... */
#define SIGMAS 4.0     /* ... and so many more, as if records came by chance ... */
#define LEAST 5.0      /* ... and so many: small numbers do not cry */
#define CALM 0.5       /* of that limit: below, a surge is over */
#define OVER_PEAK 1.5  /* of the highest interval lately: what bursts each hour is no news */
#define PEAK_MS 300000 /* of which one maximum is kept ... */
#define PEAKS 13       /* ... and as many of these as reach back for an hour at any time */
#define WEIGHT 0.1     /* of an interval in what is usual */
/* An interval teaches no more than that: the one in which a surge begins is not whole, so it may
 * be below the limit, and would hide the rest of it. */
#define TEACHES_FACTOR 2.0
#define TEACHES_SIGMAS 2.0
#define TEACHES_LEAST 3.0
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
    float last;     /* of the one before, which is not learnt yet; 0: none */
    float usual;    /* records an interval */
    float presence; /* share of intervals that had any */
    float strength;
    uint16_t age;     /* intervals since the first record; saturates */
    uint16_t quiet;   /* intervals since the last one; saturates */
    uint16_t service; /* of a pattern */
    uint8_t holds;    /* bit per enum anomaly_kind */
    bool seen : 1;
    bool unreported : 1;   /* it is new, and that was not reported yet */
    bool was_new : 1;      /* ... and was */
    bool crosses : 1;      /* it surges since this tick: who tells it, it or its service? */
    uint16_t peaks[PEAKS]; /* the highest interval of each PEAK_MS, packed */
};
static_assert(sizeof(struct series) <= 56, "see anomaly.h");

struct service {
    struct series all, errors;
    uint64_t born_ms;
    uint64_t explained; /* of its records, by patterns that were told of */
    uint32_t crossing;  /* patterns that surge since this tick */
    bool is_told;       /* its surge; then those of its patterns are part of it */
};

struct anomaly {
    struct anomaly_opts opts;
    uint64_t now_ms, started_ms, interval_ms; /* 0: no tick yet; interval_ms: when it began */
    uint64_t slot;                            /* of peaks, in which the last whole interval was */
    struct anomaly_stats stats;
    struct blocks series;     /* by number of the pattern's entry */
    struct service *services; /* by id */
    uint32_t service_count;   /* ids below it were seen */
    uint16_t *memory;         /* hashes of keys; 0: none */
    uint32_t memory_mask;
};

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

void anomaly_know(struct anomaly *a, const struct pattern_key *key)
{
    (void)remember(a, key);
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

float anomaly_strength(const struct anomaly *a, uint32_t number, uint32_t service, unsigned *kinds)
{
    const struct service *v = &a->services[service];
    const struct series *s = blocks_find(&a->series, number, sizeof *s);
    float strength = v->all.strength > v->errors.strength ? v->all.strength : v->errors.strength;
    *kinds = s == NULL ? 0 : s->holds;
    return s != NULL && s->strength > strength ? s->strength : strength;
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
    uint64_t slot;          /* of peaks, now */
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

/* ---- the highest intervals --------------------------------------------- */

#define MANTISSA_BITS 11

/* Rounded up by less than a thousandth: mantissa, and how often it is doubled. */
static uint16_t pack(double count)
{
    uint32_t n = (uint32_t)fmin(ceil(count), UINT32_MAX), doubled = 0;
    for (; n >> MANTISSA_BITS != 0; doubled++)
        n = n / 2 + n % 2;
    return (uint16_t)(doubled << MANTISSA_BITS | n);
}

static double unpack(uint16_t packed)
{
    return ldexp(packed & ((1u << MANTISSA_BITS) - 1), packed >> MANTISSA_BITS);
}

static double highest(const struct series *s)
{
    double most = 0;
    for (size_t i = 0; i < PEAKS; i++)
        most = fmax(most, unpack(s->peaks[i]));
    return most;
}

static void note_peak(const struct judging *j, struct series *s, double count)
{
    uint64_t from = j->slot - j->a->slot < PEAKS ? j->a->slot : j->slot - PEAKS;
    for (uint64_t slot = from + 1; slot <= j->slot; slot++)
        s->peaks[slot % PEAKS] = 0;
    uint16_t *here = &s->peaks[j->slot % PEAKS];
    *here = (uint16_t)pack(fmax(count, unpack(*here)));
}

/* ---- surges ------------------------------------------------------------ */

/* Already more than a whole interval may have? */
static bool is_over(const struct judging *j, double count, double usual)
{
    return count * (j->scale < 1 ? j->scale : 1) > limit_of(usual);
}

static bool begins_to_surge(const struct judging *j, struct series *s, enum anomaly_kind kind,
                            double usual)
{
    if (s->count <= LEAST || holds(s, kind) || s->age < ANOMALY_YOUNG)
        return false;
    double count = s->count * (j->scale < 1 ? j->scale : 1);
    if (!is_over(j, s->count, usual) || count <= OVER_PEAK * highest(s))
        return false;
    hold(s, kind);
    return true;
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
static void learn_quiet(struct series *s)
{
    if (s->quiet == 0)
        return;
    double kept = pow(1 - WEIGHT, s->quiet);
    s->usual = (float)(s->usual * kept);
    s->presence = (float)(s->presence * kept);
    s->quiet = 0;
}

/* An interval is learnt when the next one has ended: a surge may have begun in it, too late to
 * show, and would raise what the next is judged by. */
static void learn_last(struct series *s, enum anomaly_kind surge)
{
    if (s->last <= 0)
        return;
    double young = 1 / fmax(s->age, 1), weight = holds(s, surge) ? WEIGHT_SURGE : WEIGHT;
    double most = TEACHES_FACTOR * s->usual + TEACHES_SIGMAS * sqrt(s->usual) + TEACHES_LEAST;
    double count = s->last;
    if (s->age > ANOMALY_YOUNG && !holds(s, surge))
        count = fmin(count, most);
    s->usual += (float)(fmax(young, weight) * (count - s->usual));
    s->presence += (float)(fmax(young, WEIGHT) * (1 - s->presence));
    s->last = 0;
}

static void end_interval(const struct judging *j, struct series *s, enum anomaly_kind surge,
                         double usual)
{
    double count = s->count * j->scale;
    release(s, ANOMALY_NEW);
    if (holds(s, surge) && count <= CALM * limit_of(usual))
        release(s, surge);
    learn_last(s, surge);
    if (s->count > 0) {
        release(s, ANOMALY_SILENT);
        learn_quiet(s);
        s->last = (float)count;
        s->seen = true;
    } else if (s->seen && s->quiet < UINT16_MAX) {
        s->quiet++;
    }
    note_peak(j, s, count);
    s->age += s->seen && s->age < UINT16_MAX;
    s->count = 0;
    if (surge == ANOMALY_SURGE && s->quiet > 0)
        judge_silence(j, s);
}

/* `usual`: what an interval like this one should have had. */
static void end(const struct judging *j, struct series *s, enum anomaly_kind surge, double usual)
{
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

static struct series *series_at(struct anomaly *a, uint32_t i)
{
    struct series *s = blocks_find(&a->series, i, sizeof *s);
    return s == NULL || (s->count == 0 && !s->seen) ? NULL : s;
}

/* Who begins to surge? A spike of one pattern is one of its service too. */
static void judge_services(struct judging j)
{
    struct anomaly *a = j.a;
    j.of_service = true;
    for (uint32_t i = 0; i < a->service_count; i++) {
        struct service *v = &a->services[i];
        v->crossing = 0;
        v->explained = 0;
        v->errors.seen |= v->all.seen; /* none is known as well */
        j.number = i;
        (void)begins_to_surge(&j, &v->all, ANOMALY_SURGE, v->all.usual); /* told below */
        if (begins_to_surge(&j, &v->errors, ANOMALY_ERRORS, usual_errors(v, &j)))
            tell(&j, &v->errors, ANOMALY_ERRORS, v->errors.count);
    }
}

/* Returns whether any begins to. */
static bool judge_patterns(struct judging j)
{
    struct anomaly *a = j.a;
    bool any = false;
    for (uint32_t i = 0; i < blocks_entries(&a->series); i++) {
        struct series *s = series_at(a, i);
        if (s == NULL)
            continue;
        struct service *v = &a->services[s->service];
        j.number = i;
        if (s->unreported)
            tell(&j, s, ANOMALY_NEW, s->count);
        s->was_new |= s->unreported;
        s->unreported = false;
        s->crosses = begins_to_surge(&j, s, ANOMALY_SURGE, s->usual);
        v->crossing += s->crosses;
        any |= s->crosses;
        if (holds(s, ANOMALY_SURGE) || (s->was_new && s->age < ANOMALY_YOUNG))
            v->explained += s->count;
    }
    return any;
}

/* A spike is told once: as the pattern's, where it is one pattern's; as the service's, where it
 * is of several, or of more than those who were told of. */
static void tell_services(struct judging j)
{
    struct anomaly *a = j.a;
    j.of_service = true;
    for (uint32_t i = 0; i < a->service_count; i++) {
        struct service *v = &a->services[i];
        double rest = (double)v->all.count - (double)v->explained;
        if (!holds(&v->all, ANOMALY_SURGE) || v->is_told ||
            (v->crossing <= 1 && !is_over(&j, rest, v->all.usual)))
            continue;
        j.number = i;
        v->is_told = true;
        tell(&j, &v->all, ANOMALY_SURGE, v->all.count);
    }
}

static void tell_patterns(struct judging j)
{
    struct anomaly *a = j.a;
    for (uint32_t i = 0; i < blocks_entries(&a->series); i++) {
        const struct series *s = series_at(a, i);
        if (s == NULL || !s->crosses || a->services[s->service].is_told)
            continue;
        j.number = i;
        tell(&j, s, ANOMALY_SURGE, s->count);
    }
}

static void end_services(struct judging j)
{
    struct anomaly *a = j.a;
    j.of_service = true;
    for (uint32_t i = 0; i < a->service_count; i++) {
        struct service *v = &a->services[i];
        double usual = usual_errors(v, &j);
        j.number = i;
        end(&j, &v->all, ANOMALY_SURGE, v->all.usual);
        end(&j, &v->errors, ANOMALY_ERRORS, usual);
        v->is_told &= holds(&v->all, ANOMALY_SURGE);
        a->stats.services += (v->all.holds | v->errors.holds) != 0;
    }
}

static void end_patterns(struct judging j)
{
    struct anomaly *a = j.a;
    for (uint32_t i = 0; i < blocks_entries(&a->series); i++) {
        struct series *s = series_at(a, i);
        if (s == NULL)
            continue;
        j.number = i;
        j.service_quiet = a->services[s->service].all.quiet;
        end(&j, s, ANOMALY_SURGE, s->usual);
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
        .slot = now_ms / PEAK_MS,
    };
    if (j.is_whole)
        j.scale = (double)a->opts.interval_ms / (double)elapsed_ms;
    a->stats = (struct anomaly_stats){0};
    judge_services(j);
    bool any = judge_patterns(j);
    tell_services(j);
    if (any)
        tell_patterns(j);
    end_services(j); /* first: patterns ask for how long their service is quiet */
    end_patterns(j);
    if (!j.is_whole)
        return;
    a->interval_ms = now_ms;
    a->slot = j.slot;
}

struct anomaly_stats anomaly_stats(const struct anomaly *a)
{
    return a->stats;
}
