/* rules: building and reading a policy. */
#include "pipeline/rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pattern_rate {
    uint64_t signature, threshold;
    uint64_t family; /* what the signature has become, as far as is known */
    bool used;
    bool derived; /* not set: it is that of a pattern which became this family */
};

struct matchers {
    struct rules_matcher *list;
    unsigned count;
};

struct rules {
    unsigned refs;
    uint64_t level[LEVEL_COUNT];
    bool has_level[LEVEL_COUNT];
    uint64_t global;
    bool has_global;
    uint32_t first;
    uint64_t window_ms;
    double boost;
    bool has_boost;
    struct pattern_rate *patterns; /* open addressing by signature, which is a hash */
    uint32_t pattern_count, pattern_slots;
    struct matchers keep, drop;
    char origin[16];
    int64_t version;
};

static const char *const names[] = {
#define X(name, text) [LEVEL_##name] = text,
    LEVELS(X)
#undef X
};

const char *level_name(enum level l)
{
    return names[l];
}

int level_parse(struct span name)
{
    static const struct {
        const char *text;
        enum level level;
    } spellings[] = {
        /* clang-format off */
        {"TRACE", LEVEL_TRACE}, {"DEBUG", LEVEL_DEBUG}, {"INFO", LEVEL_INFO},
        {"INFORMATION", LEVEL_INFO}, {"NOTICE", LEVEL_INFO}, {"WARN", LEVEL_WARN},
        {"WARNING", LEVEL_WARN}, {"ERROR", LEVEL_ERROR}, {"ERR", LEVEL_ERROR},
        {"CRITICAL", LEVEL_FATAL}, {"FATAL", LEVEL_FATAL}, {"EMERGENCY", LEVEL_FATAL},
        {"ALERT", LEVEL_FATAL},
        /* clang-format on */
    };
    for (size_t i = 0; i < ARRAY_LEN(spellings); i++)
        if (span_ieq(name, span_str(spellings[i].text)))
            return (int)spellings[i].level;
    return ERR_MALFORMED;
}

/* To RULES_HEX_DIGITS hex digits behind leading 0 or f digits, to the nearest. Those
 * are free, so that rates near 0 and 1 keep their relative precision. */
static uint64_t shorten(uint64_t t)
{
    uint64_t kept = RULES_REJECT_ALL - t, smaller = t < kept ? t : kept;
    if (smaller == 0)
        return t;
    int leading = (__builtin_clzll(smaller) - (64 - RULES_RANDOM_BITS)) / 4;
    int cut = RULES_RANDOM_BITS - 4 * (RULES_HEX_DIGITS + leading);
    if (cut <= 0)
        return t;
    return (t + (UINT64_C(1) << (cut - 1))) >> cut << cut;
}

uint64_t rules_threshold_of(double rate)
{
    /* From the kept side: 1 - rate would lose what is left of the smallest rates. */
    return shorten(RULES_REJECT_ALL - (uint64_t)llround(rate * (double)RULES_REJECT_ALL));
}

double rules_rate_of(uint64_t threshold)
{
    return (double)(RULES_REJECT_ALL - threshold) / (double)RULES_REJECT_ALL;
}

int rules_new(struct rules **out)
{
    struct rules *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->refs = 1;
    r->boost = 1.0;
    r->window_ms = 60000;
    memcpy(r->origin, "none", 5);
    *out = r;
    return 0;
}

struct rules *rules_ref(const struct rules *r)
{
    struct rules *shared = (struct rules *)r; /* the count is not part of the value */
    shared->refs++;
    return shared;
}

static void free_matcher(struct rules_matcher *m)
{
    free((void *)m->service.base);
    free((void *)m->body.base);
    free((void *)m->name.base);
    for (unsigned i = 0; i < m->attributes; i++) {
        free((void *)m->attribute[i].key.base);
        free((void *)m->attribute[i].value.base);
    }
}

static void free_matchers(struct matchers *m)
{
    for (unsigned i = 0; i < m->count; i++)
        free_matcher(&m->list[i]);
    free(m->list);
}

void rules_unref(struct rules *r)
{
    if (r == NULL || --r->refs > 0)
        return;
    free_matchers(&r->keep);
    free_matchers(&r->drop);
    free(r->patterns);
    free(r);
}

static int check_rate(double rate, const char *what, struct error *err)
{
    if (!(rate >= 0.0 && rate <= 1.0)) /* NaN is neither */
        return err_set(err, ERR_CONFIG, "%s: a rate is a number from 0 to 1", what);
    return 0;
}

int rules_set_level(struct rules *r, enum level level, double rate, struct error *err)
{
    if (check_rate(rate, names[level], err) < 0)
        return ERR_CONFIG;
    if (level >= LEVEL_ERROR && rate < 1.0)
        return err_set(err, ERR_CONFIG, "%s: errors are always kept; the rate can only be 1",
                       names[level]);
    r->level[level] = rules_threshold_of(rate);
    r->has_level[level] = true;
    return 0;
}

int rules_set_global(struct rules *r, double rate, struct error *err)
{
    if (check_rate(rate, "global_rate", err) < 0)
        return ERR_CONFIG;
    r->global = rules_threshold_of(rate);
    r->has_global = true;
    return 0;
}

int rules_set_boost(struct rules *r, double boost, struct error *err)
{
    if (!(boost >= 1.0 && boost <= 1000.0))
        return err_set(err, ERR_CONFIG, "anomaly_boost: a factor from 1 to 1000");
    r->boost = boost;
    r->has_boost = true;
    return 0;
}

int rules_set_first(struct rules *r, uint32_t count, uint64_t window_ms, struct error *err)
{
    if (window_ms == 0 || window_ms > 24 * 3600 * 1000u)
        return err_set(err, ERR_CONFIG, "first: the window is a time from 1ms to 24h");
    r->first = count;
    r->window_ms = window_ms;
    return 0;
}

static struct pattern_rate *pattern_slot(struct pattern_rate *table, uint32_t slots,
                                         uint64_t signature)
{
    uint32_t at = (uint32_t)signature & (slots - 1);
    while (table[at].used && table[at].signature != signature)
        at = (at + 1) & (slots - 1);
    return &table[at];
}

static int grow_patterns(struct rules *r)
{
    uint32_t slots = r->pattern_slots == 0 ? 16 : r->pattern_slots * 2;
    struct pattern_rate *table = calloc(slots, sizeof *table);
    if (table == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < r->pattern_slots; i++)
        if (r->patterns[i].used)
            *pattern_slot(table, slots, r->patterns[i].signature) = r->patterns[i];
    free(r->patterns);
    r->patterns = table;
    r->pattern_slots = slots;
    return 0;
}

int rules_set_pattern(struct rules *r, uint64_t signature, double rate, struct error *err)
{
    if (check_rate(rate, "pattern_rates", err) < 0)
        return ERR_CONFIG;
    if (r->pattern_count * 2 >= r->pattern_slots && grow_patterns(r) < 0)
        return ERR_NOMEM;
    struct pattern_rate *p = pattern_slot(r->patterns, r->pattern_slots, signature);
    if (!p->used && r->pattern_count == RULES_PATTERNS_MAX)
        return err_set(err, ERR_CONFIG, "pattern_rates: more than %d patterns", RULES_PATTERNS_MAX);
    r->pattern_count += !p->used;
    *p = (struct pattern_rate){signature, rules_threshold_of(rate), signature, true, false};
    return 0;
}

/* A copy on the heap; false when the heap said no. A NULL base stays NULL. */
static bool copy_span(struct span *out, struct span in)
{
    *out = (struct span){0};
    if (in.base == NULL)
        return true;
    uint8_t *base = malloc(in.len + 1);
    if (base == NULL)
        return false;
    memcpy(base, in.base, in.len);
    base[in.len] = '\0';
    *out = (struct span){base, in.len};
    return true;
}

int rules_add_matcher(struct rules *r, bool keep, const struct rules_matcher *m, struct error *err)
{
    struct matchers *to = keep ? &r->keep : &r->drop;
    if (to->count == RULES_MATCHERS_MAX)
        return err_set(err, ERR_CONFIG, "more than %d %s rules", RULES_MATCHERS_MAX,
                       keep ? "keep" : "drop");
    struct rules_matcher *list = realloc(to->list, (to->count + 1) * sizeof *list);
    if (list == NULL)
        return ERR_NOMEM;
    to->list = list;

    struct rules_matcher *copy = &list[to->count];
    *copy = *m;
    copy->attributes = 0;
    if (copy->family == 0)
        copy->family = copy->pattern;
    bool ok = copy_span(&copy->service, m->service);
    ok &= copy_span(&copy->body, m->body);
    ok &= copy_span(&copy->name, m->name);
    for (unsigned i = 0; i < m->attributes; i++) {
        ok &= copy_span(&copy->attribute[i].key, m->attribute[i].key);
        ok &= copy_span(&copy->attribute[i].value, m->attribute[i].value);
        copy->attributes++;
    }
    if (!ok) {
        free_matcher(copy);
        return ERR_NOMEM;
    }
    to->count++;
    return 0;
}

int rules_inherit(struct rules *r, const struct rules *from)
{
    r->first = from->first;
    r->window_ms = from->window_ms;
    if (!r->has_global)
        r->global = from->global;
    if (!r->has_boost)
        r->boost = from->boost;
    for (unsigned i = 0; i < from->keep.count; i++)
        if (rules_add_matcher(r, true, &from->keep.list[i], NULL) < 0)
            return ERR_NOMEM;
    for (unsigned i = 0; i < from->drop.count; i++)
        if (rules_add_matcher(r, false, &from->drop.list[i], NULL) < 0)
            return ERR_NOMEM;
    return 0;
}

void rules_set_origin(struct rules *r, const char *origin, int64_t version)
{
    strncpy(r->origin, origin, sizeof r->origin - 1);
    r->version = version;
}

/* What a pattern is now; what is forgotten about it was true all the same. */
static uint64_t follow(uint64_t (*resolve)(void *ctx, uint64_t signature), void *ctx,
                       uint64_t signature, uint64_t family)
{
    uint64_t now = resolve(ctx, signature);
    return now != signature ? now : resolve(ctx, family);
}

static struct pattern_rate *add_rate(struct rules *r, uint64_t signature)
{
    if (r->pattern_count * 2 >= r->pattern_slots && grow_patterns(r) < 0)
        return NULL;
    struct pattern_rate *p = pattern_slot(r->patterns, r->pattern_slots, signature);
    r->pattern_count += !p->used;
    return p;
}

/* The rates that were set, then what follows from them: no more than twice as many. */
static int bind_rates(struct rules *r, const struct rules *from,
                      uint64_t (*resolve)(void *ctx, uint64_t signature), void *ctx)
{
    for (uint32_t i = 0; i < from->pattern_slots; i++) {
        const struct pattern_rate *old = &from->patterns[i];
        if (!old->used || old->derived)
            continue;
        struct pattern_rate *p = add_rate(r, old->signature);
        if (p == NULL)
            return ERR_NOMEM;
        *p = *old;
        p->family = follow(resolve, ctx, old->signature, old->family);
    }
    for (uint32_t i = 0; i < from->pattern_slots; i++) {
        if (!from->patterns[i].used || from->patterns[i].derived)
            continue;
        struct pattern_rate set =
            *pattern_slot(r->patterns, r->pattern_slots, from->patterns[i].signature);
        struct pattern_rate *p = add_rate(r, set.family);
        if (p == NULL)
            return ERR_NOMEM;
        if (!p->used)
            *p = (struct pattern_rate){set.family, set.threshold, set.family, true, true};
        else if (p->derived && set.threshold < p->threshold)
            p->threshold = set.threshold;
    }
    return 0;
}

static void bind_matchers(struct matchers *m, uint64_t (*resolve)(void *ctx, uint64_t signature),
                          void *ctx)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->list[i].has_pattern)
            m->list[i].family = follow(resolve, ctx, m->list[i].pattern, m->list[i].family);
}

int rules_bind(struct rules **out, const struct rules *from,
               uint64_t (*resolve)(void *ctx, uint64_t signature), void *ctx)
{
    struct rules *r;
    int rc = rules_new(&r);
    if (rc < 0)
        return rc;
    memcpy(r->level, from->level, sizeof r->level);
    memcpy(r->has_level, from->has_level, sizeof r->has_level);
    r->global = from->global;
    r->boost = from->boost;
    memcpy(r->origin, from->origin, sizeof r->origin);
    r->version = from->version;
    rc = rules_inherit(r, from);
    if (rc == 0)
        rc = bind_rates(r, from, resolve, ctx);
    if (rc < 0) {
        rules_unref(r);
        return rc;
    }
    bind_matchers(&r->keep, resolve, ctx);
    bind_matchers(&r->drop, resolve, ctx);
    *out = r;
    return 0;
}

static bool any_has_pattern(const struct matchers *m)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->list[i].has_pattern)
            return true;
    return false;
}

bool rules_name_patterns(const struct rules *r)
{
    return r->pattern_count > 0 || any_has_pattern(&r->keep) || any_has_pattern(&r->drop);
}

uint64_t rules_level_threshold(const struct rules *r, enum level level, enum rules_source *source)
{
    *source = r->has_level[level] ? RULES_SEVERITY : RULES_GLOBAL;
    return r->has_level[level] ? r->level[level] : r->global;
}

uint64_t rules_threshold(const struct rules *r, uint64_t signature, uint64_t family,
                         enum level level, enum rules_source *source)
{
    if (r->pattern_count > 0) {
        const struct pattern_rate *p = pattern_slot(r->patterns, r->pattern_slots, signature);
        if (!p->used || p->derived) /* a signature may be another's family too */
            p = pattern_slot(r->patterns, r->pattern_slots, family);
        if (p->used) {
            *source = RULES_PATTERN;
            return p->threshold;
        }
    }
    return rules_level_threshold(r, level, source);
}

uint32_t rules_pattern_count(const struct rules *r)
{
    return r->pattern_count;
}

const struct rules_matcher *rules_matchers(const struct rules *r, bool keep, unsigned *count)
{
    const struct matchers *m = keep ? &r->keep : &r->drop;
    *count = m->count;
    return m->list;
}

uint32_t rules_first(const struct rules *r)
{
    return r->first;
}

uint64_t rules_window_ms(const struct rules *r)
{
    return r->window_ms;
}

const char *rules_origin(const struct rules *r)
{
    return r->origin;
}

int64_t rules_version(const struct rules *r)
{
    return r->version;
}

double rules_boost(const struct rules *r)
{
    return r->boost;
}

uint64_t rules_global_threshold(const struct rules *r)
{
    return r->global;
}

static int by_signature(const void *a, const void *b)
{
    const struct rules_pattern *x = a, *y = b;
    return x->signature < y->signature ? -1 : x->signature > y->signature;
}

uint32_t rules_patterns(const struct rules *r, struct rules_pattern *into)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->pattern_slots; i++)
        if (r->patterns[i].used && !r->patterns[i].derived)
            into[n++] = (struct rules_pattern){r->patterns[i].signature, r->patterns[i].threshold};
    qsort(into, n, sizeof *into, by_signature);
    return n;
}
