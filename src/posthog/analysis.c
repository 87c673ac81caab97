/* analysis: a watcher on a pipeline; kinds of rows in a table, and families at the end. */
#include "posthog/analysis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "otlp/fields.h"
#include "otlp/wire.h"
#include "pipeline/census.h"
#include "pipeline/metering.h"
#include "util/hash.h"

#define ARENA_BYTES (64u << 20)
#define KIND_SLOTS 131072 /* a power of two: twice the kinds, twice the patterns of the table */
#define KINDS_MAX (KIND_SLOTS / 2)
#define SERVICES_MAX 4096
#define RESOURCES_MAX 4096 /* of one slice: which have been paid for */
#define NS_PER_HOUR 3.6e12

enum protection { FREE, BY_FLOOR, BY_RULE, BY_PRIORITY, BY_GUARD, BY_CONTEXT, DROPPED };

static const char *const reasons[] = {
    [FREE] = NULL,
    [BY_FLOOR] = "errors and exceptions are always kept",
    [BY_RULE] = "a keep rule keeps it",
    [BY_PRIORITY] = "sampling.priority decides",
    [BY_GUARD] = "an alert, metric, view or insight of PostHog counts it",
    [BY_CONTEXT] = "it is the context of an error",
    [DROPPED] = "a drop rule drops it",
};

/* Rows of one signature, service and severity, protected alike. */
struct kind {
    uint64_t signature, family;
    uint32_t service;
    enum level level;
    enum protection protection;
    bool is_used;
    double left; /* of what is stored, when the policy is in force */
};

struct analysis {
    struct pipeline *pipeline;
    struct rules *rules;
    uint32_t first; /* of a window, under the policy */
    struct clock_fake clock;
    struct arena arena;
    struct estimate *estimate;
    struct row_writer writer;
    struct buf request;
    struct kind *kinds;
    struct buf examples; /* a row of each kind, in their order */
    size_t *example_at;
    uint32_t *slots; /* 1 + kind */
    uint32_t kind_count;
    uint64_t resources[RESOURCES_MAX];
    uint32_t resource_count;
    uint64_t seen, weighted;
    int rc; /* of the slice in hand */
    struct census census;
    bool has_census;
    struct analysis_pattern *patterns;
};

/* ---- life -------------------------------------------------------------- */

static void on_decided(void *ctx, const struct subject *s, const struct decision *d);

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    (void)ctx, (void)g, (void)service;
    return (int)metering_framed(record.len + stamp.len);
}

/* All rates 1, no first: what is left to chance is free for a proposal. */
static int free_rules(struct rules **out, const struct rules *from)
{
    int rc = rules_new(out);
    if (rc == 0)
        rc = rules_set_global(*out, 1, NULL);
    if (rc == 0)
        rc = rules_set_boost(*out, 1, NULL);
    if (rc == 0)
        rc = rules_inherit(*out, from);
    return rc < 0 ? rc : rules_set_first(*out, 0, rules_window_ms(from), NULL);
}

int analysis_new(struct analysis **out, const struct analysis_opts *opts)
{
    struct analysis *a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    clock_fake_init(&a->clock, 1000, UINT64_C(1700000000000000000));
    arena_init(&a->arena, ARENA_BYTES, NULL);
    a->first = rules_first(opts->rules);
    a->kinds = calloc(KINDS_MAX, sizeof *a->kinds);
    a->slots = calloc(KIND_SLOTS, sizeof *a->slots);
    a->example_at = calloc(KINDS_MAX, sizeof *a->example_at);
    struct pipeline_opts p = opts->pipeline;
    p.observe = false;
    p.clock = &a->clock.clock;
    p.target = (struct governor_target){.unit = GOVERNOR_NONE};
    p.floor_per_second = 0;
    p.context.bytes = 0;
    p.events.enabled = false;
    p.events.usage_ms = 0;
    p.redact = (struct redact_opts){.mode = REDACT_OFF};
    p.sink = (struct pipeline_sink){.ctx = a, .emit = on_emit};
    int rc = a->kinds == NULL || a->slots == NULL || a->example_at == NULL
                 ? ERR_NOMEM
                 : free_rules(&a->rules, opts->rules);
    if (rc == 0)
        rc = pipeline_new(&a->pipeline, &p, a->rules);
    if (rc < 0) {
        analysis_free(a);
        return rc;
    }
    const struct pipeline_watcher watcher = {a, on_decided};
    pipeline_watch(a->pipeline, &watcher);
    pipeline_set_guard(a->pipeline, opts->guard);
    *out = a;
    return 0;
}

void analysis_free(struct analysis *a)
{
    if (a == NULL)
        return;
    if (a->has_census)
        census_done(&a->census);
    pipeline_free(a->pipeline);
    rules_unref(a->rules);
    estimate_free(a->estimate);
    row_writer_done(&a->writer);
    buf_done(&a->request);
    arena_done(&a->arena);
    free(a->kinds);
    free(a->slots);
    free(a->example_at);
    buf_done(&a->examples);
    free(a->patterns);
    free(a);
}

/* Each begins at examples_at[] of its kind. */
static void keep_example(struct analysis *a, const struct subject *s)
{
    struct buf *out = &a->examples;
    size_t record = wire_len_size(SCOPE_LOGS_LOG_RECORDS, s->bytes.len) + s->group->scope.len;
    size_t logs = wire_len_size(RESOURCE_LOGS_SCOPE_LOGS, record) + s->group->resource.len;
    a->example_at[a->kind_count - 1] = out->len;
    wire_append_len_head(out, REQUEST_RESOURCE_LOGS, logs);
    buf_append(out, s->group->resource);
    wire_append_len_head(out, RESOURCE_LOGS_SCOPE_LOGS, record);
    buf_append(out, s->group->scope);
    wire_append_len(out, SCOPE_LOGS_LOG_RECORDS, s->bytes);
    if (out->err != 0)
        a->rc = out->err;
}

int analysis_examples(const struct analysis *a, size_t max_bytes,
                      int (*fn)(void *ctx, struct span request, uint32_t rows), void *ctx)
{
    for (uint32_t i = 0, n; i < a->kind_count; i += n) {
        size_t from = a->example_at[i], to = from;
        for (n = 0; i + n < a->kind_count; n++) {
            size_t end = i + n + 1 < a->kind_count ? a->example_at[i + n + 1] : a->examples.len;
            if (n > 0 && end - from > max_bytes)
                break;
            to = end;
        }
        int rc = fn(ctx, span_of(a->examples.base + from, to - from), n);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int analysis_begin(struct analysis *a, const double *sizes, uint32_t strata)
{
    return estimate_new(&a->estimate, sizes, strata);
}

int analysis_service(struct analysis *a, struct span name, double rows)
{
    return estimate_service(a->estimate, pipeline_service(a->pipeline, name), rows);
}

void analysis_is_complete(struct analysis *a)
{
    estimate_is_complete(a->estimate);
}

/* ---- rows -------------------------------------------------------------- */

static enum protection protection_of(const struct decision *d)
{
    static const struct {
        enum reason reason;
        enum protection protection;
    } of[] = {
        {REASON_FLOOR, BY_FLOOR},           {REASON_KEEP_RULE, BY_RULE},
        {REASON_PRIORITY, BY_PRIORITY},     {REASON_GUARDED, BY_GUARD},
        {REASON_ERROR_CONTEXT, BY_CONTEXT}, {REASON_DROP_RULE, DROPPED},
    };
    for (size_t i = 0; i < ARRAY_LEN(of); i++)
        if (of[i].reason == d->reason)
            return of[i].protection;
    return FREE;
}

/* Its number; the last one stands for all that have no room. */
static uint32_t kind_of(struct analysis *a, const struct kind *like)
{
    uint64_t h = hash_mix(hash_mix(like->signature, like->service),
                          (uint64_t)like->level << 8 | (uint64_t)like->protection);
    for (uint32_t at = (uint32_t)h & (KIND_SLOTS - 1);; at = (at + 1) & (KIND_SLOTS - 1)) {
        if (a->slots[at] == 0) {
            if (a->kind_count == KINDS_MAX)
                return KINDS_MAX - 1;
            a->kinds[a->kind_count] = *like;
            return (a->slots[at] = ++a->kind_count) - 1;
        }
        const struct kind *k = &a->kinds[a->slots[at] - 1];
        if (k->signature == like->signature && k->service == like->service &&
            k->level == like->level && k->protection == like->protection)
            return a->slots[at] - 1;
    }
}

/* The first record that needs a Resource in a request pays for it. */
static size_t around(struct analysis *a, const struct logs_group *g)
{
    for (uint32_t i = 0; i < a->resource_count; i++)
        if (a->resources[i] == g->resource_hash)
            return 0;
    if (a->resource_count < RESOURCES_MAX)
        a->resources[a->resource_count++] = g->resource_hash;
    return metering_resource(g) + metering_scope(g);
}

static void on_decided(void *ctx, const struct subject *s, const struct decision *d)
{
    struct analysis *a = ctx;
    const struct kind like = {.signature = s->signature,
                              .service = pipeline_service(a->pipeline, s->group->service_name),
                              .level = s->level,
                              .protection = protection_of(d)};
    double weight = like.protection == BY_CONTEXT ? 0
                    : d->threshold > 0            ? 1 / rules_rate_of(d->threshold)
                                                  : 1;
    size_t bytes = metering_framed(s->bytes.len) + around(a, s->group);
    a->weighted += weight > 1;
    uint32_t kinds = a->kind_count, kind = kind_of(a, &like);
    if (a->kind_count > kinds)
        keep_example(a, s);
    int rc = estimate_row(a->estimate, like.service, kind, weight, (double)bytes);
    a->rc = rc < 0 ? rc : a->rc;
}

int analysis_slice(struct analysis *a, uint32_t stratum, struct json_node rows)
{
    uint32_t records = 0;
    struct json_each each = json_each(rows);
    buf_clear(&a->request);
    while (json_next(&each))
        row_write(&a->writer, &a->request, each.value);
    a->resource_count = 0;
    a->rc = a->request.err < 0 ? a->request.err : estimate_begin(a->estimate, stratum);
    if (a->rc == 0)
        a->rc = pipeline_push(a->pipeline, buf_span(&a->request), &a->arena, &records);
    arena_reset(&a->arena);
    a->seen += records;
    return a->rc < 0 ? a->rc : (int)records;
}

/* ---- the result -------------------------------------------------------- */

static uint64_t resolve(const struct census *c, uint64_t signature)
{
    for (uint32_t i = 0; i < c->alias_count; i++)
        if (c->aliases[i].from == signature)
            return c->aliases[i].to;
    return signature;
}

static double hours_of(const struct slices *when)
{
    return (double)(when->to_ns - when->from_ns) / NS_PER_HOUR;
}

static double all_bytes(void *ctx, const struct estimate_entry *x)
{
    (void)ctx;
    return x->bytes;
}

static double all_records(void *ctx, const struct estimate_entry *x)
{
    (void)ctx;
    return x->weight;
}

static double saved_bytes(void *ctx, const struct estimate_entry *x)
{
    return x->bytes * (1 - ((const struct analysis *)ctx)->kinds[x->kind].left);
}

/* A rate is of a family, whatever its service is: what of it may be sampled is one. */
static int by_family(const void *a, const void *b)
{
    const struct kind *x = *(const struct kind *const *)a, *y = *(const struct kind *const *)b;
    if (x->family != y->family)
        return x->family < y->family ? -1 : 1;
    return (x > y) - (x < y);
}

static void add_kind(struct analysis *a, struct analysis_pattern *p, const struct kind *k,
                     double *most)
{
    const struct estimate_kind *n = &estimate_kinds(a->estimate)[k - a->kinds];
    p->rows += n->rows;
    p->records += n->weight;
    p->bytes += n->bytes;
    if (n->bytes > *most) {
        *most = n->bytes;
        p->level = k->level;
        p->service = a->census.services[k->service].name;
    }
}

/* What a rate leaves of `records`, that come and go as all rows do: by day more fall behind the
 * first of a window than by night. */
static double share_left(const struct analysis *a, const struct slices *when, double rate,
                         double records)
{
    double kept = 0, window_ns = (double)rules_window_ms(a->rules) * 1e6;
    if (rate >= 1 || a->first == 0)
        return rate;
    for (uint32_t i = 0; i < when->bucket_count; i++) {
        const struct slices_bucket *b = &when->buckets[i];
        double windows = (double)(b->to_ns - b->from_ns) / window_ns;
        kept += b->rows * proposal_share(rate, a->first, records * b->rows / when->rows / windows);
    }
    return kept / when->rows;
}

/* What follows for the kinds of one family, of which some may be protected. */
static void propose(struct analysis *a, struct kind **of, uint32_t count, const struct slices *when,
                    struct analysis_pattern *p)
{
    double rows = 0, records = 0, bytes = 0, most = 0;
    uint64_t seen = 0;
    const char *protected_by = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct estimate_kind *n = &estimate_kinds(a->estimate)[of[i] - a->kinds];
        add_kind(a, p, of[i], &most);
        if (of[i]->protection != FREE) {
            protected_by = reasons[of[i]->protection];
            continue;
        }
        rows += n->rows;
        records += n->weight;
        bytes += n->bytes;
        seen += n->seen;
    }
    p->rate_now = records > 0 ? fmin(rows / records, 1) : 1;
    const struct proposal_pattern in = {
        .pattern = p->id,
        .level = p->level,
        .seen = seen,
        .records_per_hour = records / hours_of(when),
        .bytes = bytes,
        .rate_now = p->rate_now,
        .protected_by = rows > 0 ? NULL : protected_by,
    };
    proposal_of(&p->proposal, &in);
    double left = 1;
    if (p->proposal.rate != p->rate_now)
        left = share_left(a, when, p->proposal.rate, records) / p->rate_now;
    for (uint32_t i = 0; i < count; i++)
        of[i]->left = of[i]->protection == DROPPED ? 0 : of[i]->protection == FREE ? left : 1;
}

static int by_bytes(const void *a, const void *b)
{
    const struct analysis_pattern *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static struct span template_of(const struct census *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->pattern_count; i++)
        if ((c->patterns[i].key.signature == id || c->patterns[i].family == id) &&
            c->patterns[i].template_len > 0)
            return census_template(&c->patterns[i]);
    return (struct span){0};
}

static int take_patterns(struct analysis *a, const struct slices *when, struct analysis_result *out)
{
    struct kind **order = calloc(a->kind_count + 1u, sizeof *order);
    a->patterns = calloc(a->kind_count + 1u, sizeof *a->patterns);
    if (order == NULL || a->patterns == NULL) {
        free(order);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < a->kind_count; i++) {
        a->kinds[i].family = resolve(&a->census, a->kinds[i].signature);
        order[i] = &a->kinds[i];
    }
    qsort(order, a->kind_count, sizeof *order, by_family);
    for (uint32_t i = 0, n; i < a->kind_count; i += n) {
        for (n = 1; i + n < a->kind_count && order[i + n]->family == order[i]->family;)
            n++;
        struct analysis_pattern *p = &a->patterns[out->pattern_count++];
        p->id = order[i]->family;
        propose(a, order + i, n, when, p);
    }
    free(order);
    qsort(a->patterns, out->pattern_count, sizeof *a->patterns, by_bytes);
    out->patterns = a->patterns;
    return 0;
}

int analysis_finish(struct analysis *a, const struct slices *when, struct analysis_result *out)
{
    const struct census_want want = {
        .services = true, .patterns = true, .templates = true, .aliases = true};
    *out = (struct analysis_result){.seen = a->seen};
    int rc = estimate_finish(a->estimate, KINDS_MAX);
    if (rc == 0)
        rc = census_take(a->pipeline, &want, &a->census);
    a->has_census = rc == 0;
    if (rc == 0)
        rc = take_patterns(a, when, out);
    if (rc == 0)
        rc = estimate_total(a->estimate, &out->bytes, all_bytes, NULL);
    if (rc == 0)
        rc = estimate_total(a->estimate, &out->records, all_records, NULL);
    if (rc == 0)
        rc = estimate_total(a->estimate, &out->saved, saved_bytes, a);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < out->pattern_count; i++) {
        out->rows += out->patterns[i].rows;
        if (i < ANALYSIS_SHOWN)
            out->patterns[i].template_text = template_of(&a->census, out->patterns[i].id);
    }
    out->weighted_share = a->seen > 0 ? (double)a->weighted / (double)a->seen : 0;
    return 0;
}
