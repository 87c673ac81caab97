/* patterns_page: the table of patterns, and one of them opened. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pattern/signature.h"
#include "sidecar/sidecar_state.h"
#include "util/json.h"

#define PATTERNS_LIMIT_DEFAULT 100
#define PATTERNS_LIMIT_MAX 16384

/* ---- orders and members ------------------------------------------------ */

/* clang-format off */
#define ORDERS(X) \
    X(VOLUME,   "volume",   x->counts.received, y->counts.received) \
    X(KEPT,     "kept",     kept_share(x), kept_share(y)) \
    X(SAVED,    "saved",    saved(x), saved(y)) \
    X(SEVERITY, "severity", x->key.level, y->key.level)
/* clang-format on */

static double kept_share(const struct census_pattern *p)
{
    return p->counts.received == 0 ? 0 : (double)p->kept / (double)p->counts.received;
}

static uint64_t saved(const struct census_pattern *p)
{
    const struct pattern_counts *n = &p->counts; /* what is stamped may be longer than it came */
    return n->received_bytes > p->kept_bytes ? n->received_bytes - p->kept_bytes : 0;
}

/* Equal ones by volume, then by signature, then by entry: always the same order. */
static int by_volume_too(const struct census_pattern *x, const struct census_pattern *y)
{
    if (x->counts.received != y->counts.received)
        return x->counts.received < y->counts.received ? 1 : -1;
    return x->key.signature < y->key.signature ? -1 : x->key.signature > y->key.signature;
}

static int by_number(const struct census_pattern *x, const struct census_pattern *y)
{
    return x->number < y->number ? -1 : x->number > y->number;
}

#define X(name, text, of_x, of_y) \
    static int compare_##name(const struct census_pattern *x, const struct census_pattern *y) \
    { \
        return (of_x) < (of_y) ? 1 : (of_x) > (of_y) ? -1 : by_volume_too(x, y); \
    } \
    static int by_##name(const void *a, const void *b) \
    { \
        int c = compare_##name(a, b); \
        return c != 0 ? c : by_number(a, b); \
    } \
    static int by_##name##_reversed(const void *a, const void *b) \
    { \
        int c = compare_##name(b, a); \
        return c != 0 ? c : by_number(a, b); \
    }
ORDERS(X)
#undef X

static const struct {
    const char *name;
    int (*compare)(const void *, const void *);
    int (*reversed)(const void *, const void *);
} orders[] = {
#define X(name, text, of_x, of_y) {text, by_##name, by_##name##_reversed},
    ORDERS(X)
#undef X
};

void sidecar_write_pattern_name(struct json *j, const struct census *c,
                                const struct census_pattern *p)
{
    char id[SIGNATURE_TEXT_BYTES];
    json_str(j, "pattern", signature_format(id, p->key.signature));
    json_text(j, "service", sidecar_service_name(c, p->key.service));
    json_str(j, "severity", level_name((enum level)p->key.level));
    if (p->key.status_class > 0)
        json_printf(j, "status_class", "\"%dxx\"", p->key.status_class);
    if (p->family != p->key.signature)
        json_str(j, "family", signature_format(id, p->family));
    json_text(j, "template", census_template(p));
}

static void write_verdicts(struct json *j, const struct pattern_counts *n)
{
    json_u64(j, "received", n->received);
    json_u64(j, "kept", n->kept);
    json_u64(j, "sampled_out", n->sampled_out);
    json_u64(j, "dropped_by_rule", n->dropped_by_rule);
}

void sidecar_write_pattern_members(struct json *j, const struct census *c,
                                   const struct census_pattern *p)
{
    sidecar_write_pattern_name(j, c, p);
    write_verdicts(j, &p->counts);
    json_u64(j, "received_bytes", p->counts.received_bytes);
    json_u64(j, "kept_bytes", p->counts.kept_bytes);
    json_u64(j, "standard_error", (uint64_t)ceil(sqrt(p->variance)));
    json_printf(j, "first_seen", "%.3f", (double)p->first_seen_ns / 1e9);
    json_printf(j, "last_seen", "%.3f", (double)p->last_seen_ns / 1e9);
}

/* "limit=N" of a query, at most PATTERNS_LIMIT_MAX; `fallback` where it is no number. */
static uint32_t read_count(struct span query, const char *name, uint32_t fallback)
{
    struct span text = page_query(query, name);
    uint64_t n = 0;
    for (size_t i = 0; i < text.len && i < 9; i++) {
        if (text.base[i] < '0' || text.base[i] > '9')
            return fallback;
        n = n * 10 + (uint64_t)(text.base[i] - '0');
    }
    if (text.len == 0)
        return fallback;
    return n > PATTERNS_LIMIT_MAX ? PATTERNS_LIMIT_MAX : (uint32_t)n;
}

struct census_want sidecar_want_patterns(struct span query)
{
    uint32_t limit = read_count(query, "limit", PATTERNS_LIMIT_DEFAULT);
    return (struct census_want){
        .services = true, .patterns = limit > 0, .templates = true, .limit = limit};
}

struct census_want sidecar_want_ordered(struct span query)
{
    struct span sort = page_query(query, "sort");
    bool reverse = span_eq(page_query(query, "reverse"), SPAN("1"));
    size_t order = 0;
    for (size_t i = 0; i < ARRAY_LEN(orders); i++)
        if (span_eq(sort, span_str(orders[i].name)))
            order = i;
    struct census_want want = sidecar_want_patterns(query);
    want.order = reverse ? orders[order].reversed : orders[order].compare;
    return want;
}

/* ---- rates and sparks -------------------------------------------------- */

static void write_anomalies(struct json *j, unsigned kinds)
{
    static const char *const names[] = {
#define X(name, text) [ANOMALY_##name] = text,
        ANOMALIES(X)
#undef X
    };
    json_begin_list(j, "anomalies");
    for (unsigned k = 0; k < ANOMALY_KINDS; k++)
        if ((kinds >> k & 1) != 0)
            json_str(j, NULL, names[k]);
    json_end_list(j);
}

static struct standing write_rate(struct json *j, struct sidecar *sc,
                                  const struct census_pattern *p)
{
    char why[STANDING_TEXT_BYTES];
    const struct rules *rules = pipeline_bound_rules(sc->pipeline, p->key.service);
    const struct standing s = standing_of(rules, p->facts);
    json_printf(j, "rate", "%.6g", s.rate);
    json_printf(j, "own_rate", "%.6g", s.own);
    json_str(j, "rate_origin", standing_name(s.origin));
    json_str(j, "why", standing_say(why, rules, p->facts, &s));
    write_anomalies(j, p->facts->anomalies);
    return s;
}

/* Minutes since 1970, both included. */
struct interval {
    uint64_t from, to;
};

static double records_within(const struct spark_view *v, const struct interval *when)
{
    double sum = 0;
    for (uint32_t i = 0; i < SPARK_MINUTES; i++) {
        uint64_t minute = v->last_minute + 1 + i - SPARK_MINUTES;
        if (minute >= when->from && minute <= when->to)
            sum += v->minutes[i];
    }
    return sum;
}

static void write_spark(struct json *j, const struct history *h, const struct census_pattern *p,
                        const struct interval *when)
{
    struct spark_view v;
    if (h == NULL || !sparks_of(history_sparks(h), p, &v)) {
        json_null(j, "spark");
        return;
    }
    json_begin_list(j, "spark");
    for (uint32_t i = 0; i < SPARK_MINUTES; i++)
        json_u64(j, NULL, v.minutes[i]);
    json_end_list(j);
    json_u64(j, "spark_until_unix_s", (v.last_minute + 1) * 60);
    json_u64(j, "records", (uint64_t)records_within(&v, when));
}

/* ---- the table --------------------------------------------------------- */

/* Which patterns a query is about. */
struct choice {
    bool has_service, has_interval, is_none;
    uint32_t service;
    struct interval when;
    uint8_t *bits; /* by number of the entry: chosen by records of the interval; NULL: all are */
};

static bool is_chosen(const void *ctx, const struct census_pattern *p)
{
    const struct choice *c = ctx;
    return !c->is_none && (!c->has_service || p->key.service == c->service) &&
           (c->bits == NULL || (c->bits[p->number / 8] >> p->number % 8 & 1) != 0);
}

#define SECOND_MAX \
    1e12 /* since 1970: beyond is no time, and no whole number of 64 bits at last \
          */

static bool read_second(struct span query, const char *name, uint64_t *minute, bool *is_given)
{
    char text[24], *end;
    if (page_query(query, name).len == 0)
        return true;
    if (page_query_text(query, name, text, sizeof text) < 0)
        return false;
    double second = strtod(text, &end);
    if (*end != '\0' || text[0] < '0' || text[0] > '9' || second > SECOND_MAX)
        return false;
    *minute = (uint64_t)second / 60;
    *is_given = true;
    return true;
}

/* 0, or the status of a refusal. */
static int read_choice(const struct sidecar *sc, struct span query, struct choice *c,
                       struct buf *out)
{
    char name[LEDGER_NAME_BYTES + 1];
    *c = (struct choice){.when = {0, UINT64_MAX}};
    if (page_query_text(query, "service", name, sizeof name) < 0)
        return sidecar_refuse(out, 400, "service is not good");
    if (!read_second(query, "from", &c->when.from, &c->has_interval) ||
        !read_second(query, "to", &c->when.to, &c->has_interval))
        return sidecar_refuse(out, 400, "from and to are seconds since 1970");
    c->has_service = page_query(query, "service").base != NULL;
    if (c->has_service)
        c->is_none = !pipeline_find_service(sc->pipeline, span_str(name), &c->service);
    return 0;
}

struct ranked {
    double records;
    uint32_t number;
};

static int by_records(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->records < y->records || x->records > y->records)
        return x->records < y->records ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* The loudest `limit` patterns of the interval, as bits; they live in `scratch`, a census without
 * texts. */
static int choose_of_interval(struct sidecar *sc, const struct history *h, struct choice *c,
                              uint32_t limit, struct buf *out, struct census *scratch)
{
    uint32_t last = 0;
    const struct census_want want = {.patterns = true, .is_wanted = is_chosen, .ctx = c};
    int refused = sidecar_take(sc, want, out, scratch);
    if (refused != 0)
        return refused;
    size_t n = 0, count = scratch->pattern_count;
    for (size_t i = 0; i < count; i++)
        last = scratch->patterns[i].number > last ? scratch->patterns[i].number : last;
    struct ranked *ranked = arena_alloc(&scratch->arena, (count + 1) * sizeof *ranked);
    c->bits = arena_alloc(&scratch->arena, last / 8 + 1);
    if (ranked == NULL || c->bits == NULL) {
        census_done(scratch);
        return sidecar_refuse(out, 503, "no memory for this page now");
    }
    for (size_t i = 0; i < count; i++) {
        const struct census_pattern *p = &scratch->patterns[i];
        struct spark_view v;
        double records = sparks_of(history_sparks(h), p, &v) ? records_within(&v, &c->when) : 0;
        if (records > 0)
            ranked[n++] = (struct ranked){records, p->number};
    }
    qsort(ranked, n, sizeof *ranked, by_records);
    for (size_t i = 0; i < n && i < limit; i++)
        c->bits[ranked[i].number / 8] |= (uint8_t)(1u << ranked[i].number % 8);
    return 0;
}

static void write_pattern_would(struct json *j, const struct sidecar *sc,
                                const struct census_pattern *p)
{
    if (!sc->cfg->observe || p->shadow == NULL)
        return;
    json_u64(j, "would_keep", p->shadow[SHADOW_ENFORCED].kept);
    json_u64(j, "would_keep_bytes", p->shadow[SHADOW_ENFORCED].kept_bytes);
}

/* From the pattern number `first` of them. */
static void write_table(struct sidecar *sc, const struct census *c, const struct history *h,
                        bool has_spark, const struct interval *when, uint32_t first,
                        struct buf *out)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_u64(&j, "patterns_held", c->patterns_held);
    json_u64(&j, "evicted", c->patterns_evicted);
    json_begin(&j, "other");
    write_verdicts(&j, &c->other);
    json_end(&j);
    json_begin_list(&j, "patterns");
    for (uint32_t i = first; i < c->pattern_count; i++) {
        json_begin(&j, NULL);
        sidecar_write_pattern_members(&j, c, &c->patterns[i]);
        write_pattern_would(&j, sc, &c->patterns[i]);
        if (has_spark) {
            write_rate(&j, sc, &c->patterns[i]);
            write_spark(&j, h, &c->patterns[i], when);
        }
        json_end(&j);
    }
    json_end_list(&j);
    json_end(&j);
    json_line(&j);
}

int sidecar_write_patterns(void *ctx, struct span query, struct buf *out)
{
    struct sidecar *sc = ctx;
    struct census c, scratch = {0};
    struct choice choice;
    struct census_want want = sidecar_want_ordered(query);
    bool has_spark = span_eq(page_query(query, "spark"), SPAN("1"));
    uint32_t first = read_count(query, "offset", 0);
    int refused = read_choice(sc, query, &choice, out);
    if (refused != 0)
        return refused;
    want.limit = want.limit < PATTERNS_LIMIT_MAX - first ? first + want.limit : PATTERNS_LIMIT_MAX;
    want.shadow = sc->cfg->observe;
    struct history *h = has_spark || choice.has_interval ? history_now(sc) : NULL;
    if (choice.has_interval && h != NULL)
        refused = choose_of_interval(sc, h, &choice, want.limit, out, &scratch);
    if (refused != 0)
        return refused;
    want.facts = has_spark;
    if (choice.has_service || choice.bits != NULL) {
        want.is_wanted = is_chosen;
        want.ctx = &choice;
    }
    refused = sidecar_take(sc, want, out, &c);
    if (refused == 0) {
        write_table(sc, &c, h, has_spark, &choice.when, first, out);
        census_done(&c);
    }
    census_done(&scratch);
    return refused != 0 ? refused : 200;
}

/* ---- one of them ------------------------------------------------------- */

struct wanted {
    uint64_t id;
    bool has_service, is_none;
    uint32_t service;
    int level; /* < 0: any */
};

static bool is_it(const void *ctx, const struct census_pattern *p)
{
    const struct wanted *w = ctx;
    return !w->is_none && p->key.signature == w->id &&
           (!w->has_service || p->key.service == w->service) &&
           (w->level < 0 || p->key.level == w->level);
}

static void write_samples(struct json *j, const struct sidecar *sc, const struct census_pattern *p)
{
    static const char *const names[] = {"dropped", "kept"};
    struct sample_text texts[SAMPLES_EACH];
    json_begin(j, "samples");
    for (int kept = 1; kept >= 0; kept--) {
        unsigned n = pipeline_samples(sc->pipeline, p->number, kept == 1, texts);
        json_begin_list(j, names[kept]);
        for (unsigned i = 0; i < n; i++) {
            json_begin(j, NULL);
            json_printf(j, "unix_ns", "\"%" PRIu64 "\"", texts[i].unix_ns);
            json_text(j, "body", texts[i].body);
            json_end(j);
        }
        json_end_list(j);
    }
    json_end(j);
}

static void write_opened(struct sidecar *sc, const struct census *c, const struct census_pattern *p,
                         struct buf *out)
{
    char id[SIGNATURE_TEXT_BYTES], why[STANDING_TEXT_BYTES];
    const struct interval always = {0, UINT64_MAX};
    struct json j = json_on(out);
    json_begin(&j, NULL);
    sidecar_write_pattern_members(&j, c, p);
    if (p->family == p->key.signature)
        json_str(&j, "family", signature_format(id, p->family));
    const struct standing s = write_rate(&j, sc, p);
    if (s.origin <= STANDING_GUARD && s.origin != STANDING_DROP)
        json_str(
            &j, "protected_by",
            standing_say(why, pipeline_bound_rules(sc->pipeline, p->key.service), p->facts, &s));
    else
        json_null(&j, "protected_by");
    write_spark(&j, history_now(sc), p, &always);
    write_samples(&j, sc, p);
    json_end(&j);
    json_line(&j);
}

int sidecar_write_pattern(void *ctx, struct span query, struct buf *out)
{
    struct sidecar *sc = ctx;
    struct wanted w = {.level = -1};
    struct census c;
    char id[64], service[LEDGER_NAME_BYTES + 1], severity[16];
    if (page_query_text(query, "id", id, sizeof id) < 0 || signature_parse(span_str(id), &w.id) < 0)
        return sidecar_refuse(out, 400, "id is a pattern id such as lps1:0123456789abcdef");
    if (page_query_text(query, "service", service, sizeof service) < 0 ||
        page_query_text(query, "severity", severity, sizeof severity) < 0 ||
        (severity[0] != '\0' && (w.level = level_parse(span_str(severity))) < 0))
        return sidecar_refuse(out, 400, "service or severity is not good");
    w.has_service = page_query(query, "service").base != NULL;
    if (w.has_service)
        w.is_none = !pipeline_find_service(sc->pipeline, span_str(service), &w.service);
    const struct census_want want = {.services = true,
                                     .patterns = true,
                                     .templates = true,
                                     .facts = true,
                                     .is_wanted = is_it,
                                     .ctx = &w,
                                     .order = by_VOLUME,
                                     .limit = 1};
    int refused = sidecar_take(sc, want, out, &c);
    if (refused != 0)
        return refused;
    if (c.pattern_count == 0)
        refused = sidecar_refuse(out, 404, "no such pattern is counted here now");
    else
        write_opened(sc, &c, &c.patterns[0], out);
    census_done(&c);
    return refused != 0 ? refused : 200;
}
