/*
 * The promise of the weights, over a million records: whatever rates, windows,
 * budgets, bursts, evictions, restarts and earlier samplers did, the adjusted counts of what comes
 * out add up to what there was before the first sampler, within three sigma.
 *
 * Sigma is computed, not guessed. Both draws are unbiased given what came before
 * them, so their variances add; with p_in the probability of the earlier draw (1:
 * none), w = 1 / p_in, and p of both together, two records of one trace i, j have
 *     cov(earlier) = w - 1,    cov(ours) = w * (1 / max(p_i, p_j) - w),
 * which for i = j are the variances; records that share no randomness have none.
 *
 * Under a budget a twin gets the same records, whose spacings begin elsewhere, so that it keeps
 * others. That it decides by the same p is half of the promise: p depends on what arrives and not
 * on what is kept.
 */
#include "unit/test.h"

#include <math.h>

#include "pipeline/stamp.h"
#include "unit/pipeline/inside.h"
#include "unit/pipeline/requests.h"
#include "util/rng.h"

enum {
    PATTERNS = 12,
    TRACE_MAX = 4,
    RECORDS = 340000, /* for each seed */
    LIFE = 20000,     /* records between restarts */
    FIRST = 3,
    WINDOW_MS = 2000,
    TABLE = 40,         /* entries; there are 12 patterns * 6 levels * 2 services */
    BUDGET = 22,        /* records a second, of 30 that arrive and 17 that are errors or firsts */
    BUDGET_TABLE = 120, /* some are evicted, some become known */
    BURST = 500,        /* records ... */
    BETWEEN_BURSTS = 20000,
};

static const double level_rate[LEVEL_COUNT] = {0.02, 0.05, 0.2, 0.5, 1, 1};
static const double ample_rate[LEVEL_COUNT] = {1,   0.5, 1,
                                               0.8, 1,   1}; /* what a budget then lowers */
static const struct {
    unsigned pattern;
    double rate;
} pattern_rates[] = {{3, 0.01}, {5, 0.7}, {7, 1}};

static const struct {
    const char *hex;
    double p;
} earlier[] = {{"8", 0.5}, {"c", 0.25}, {"4", 0.75}, {"f8", 1.0 / 32}, {"e", 0.125}};

enum kind {
    PLAIN_TRACED,
    PLAIN,
    THRESHOLD_TRACED, /* drawn by the trace id */
    COUNT_TRACED,     /* likewise, but all that it left is otel.logs.adjusted_count */
    THRESHOLD_WITH_R, /* drawn by sampling.randomness */
    THRESHOLD_ALONE,  /* nobody knows by what */
    THRESHOLD_OTHER,  /* drawn by something else than the trace id that is there */
    KINDS,
};

struct stratum {
    double truth, sum, kept, variance;
};

struct item {
    unsigned pattern, level;
    double p; /* of both draws together */
};

struct world {
    struct pipeline *pipeline;
    struct pipeline *twin; /* NULL: no budget */
    bool has_budget;
    double p;        /* of the record in hand, as it was decided by */
    size_t resource; /* of the record in hand */
    uint64_t budgeted;
    struct rules *rules;
    struct clock_fake clock;
    struct arena arena;
    struct rng rng;
    uint64_t made, evicted, firsts, in_life;
    struct stratum total, pattern[PATTERNS], level[LEVEL_COUNT];
    struct requests requests;
    struct buf record, scratch, whole;
    bool emitted; /* the record in hand, and what it came out with */
    size_t stamp_len;
    double count;
};

/* Read as PostHog does: the last of duplicates, 1 where there is none. */
static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct world *w = ctx;
    struct log_record r;
    (void)g;
    (void)service;
    buf_clear(&w->whole);
    buf_append(&w->whole, record);
    buf_append(&w->whole, stamp);
    assert_int_equal(log_record_read(&r, buf_span(&w->whole)), 0);
    const struct log_value *v = log_known(&r, LOG_ADJUSTED_COUNT);
    w->emitted = true;
    w->stamp_len = stamp.len;
    w->count = v == NULL ? 1 : v->real;
    return 0;
}

static void on_decided(void *ctx, const struct subject *s, const struct decision *d)
{
    struct world *w = ctx;
    (void)s;
    w->p = rules_rate_of(d->threshold);
}

static void live(struct world *w, unsigned stamps)
{
    struct pipeline_opts opts = {
        .max_patterns = w->has_budget ? BUDGET_TABLE : TABLE,
        .max_services = 4,
        .seed = rng_next(&w->rng),
        .stamps = stamps,
        .clock = &w->clock.clock,
        .sink = {.ctx = w, .emit = on_emit},
    };
    w->in_life = 0;
    if (w->has_budget)
        opts.target = (struct governor_target){GOVERNOR_RECORDS, BUDGET, 0.3};
    assert_int_equal(pipeline_new(&w->pipeline, &opts, w->rules), 0);
    const struct pipeline_watcher watcher = {w, on_decided};
    pipeline_watch(w->pipeline, &watcher);
    opts.seed++;
    if (!w->has_budget)
        return;
    assert_int_equal(pipeline_new(&w->twin, &opts, w->rules), 0);
    pipeline_watch(w->twin, &watcher);
}

static void die(struct world *w)
{
    w->evicted += patterns_evicted(pipeline_patterns(w->pipeline));
    assert_int_equal(ledger_imbalance(pipeline_ledger(w->pipeline)), 0);
    assert_int_equal(ledger_total(pipeline_ledger(w->pipeline))->fate[FATE_LOST_BUDGET], 0);
    w->budgeted += pipeline_reasons(w->pipeline)->dropped[REASON_BUDGET];
    pipeline_free(w->pipeline);
    pipeline_free(w->twin);
    w->twin = NULL;
}

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.rng = {seed}};
    clock_fake_init(&w->clock, 1000, 1700000000000000000u);
    arena_init(&w->arena, 1 << 20, NULL);
    assert_int_equal(rules_new(&w->rules), 0);
}

static void world_done(struct world *w)
{
    requests_done(&w->requests);
    struct buf *bufs[] = {&w->record, &w->scratch, &w->whole};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
    rules_unref(w->rules);
    arena_done(&w->arena);
}

static void add_text(struct world *w, const char *key, const char *text)
{
    requests_attribute(&w->requests, &w->record, LOG_RECORD_ATTRIBUTES, key, text);
}

static void add_real(struct world *w, const char *key, double real)
{
    struct buf *b = &w->scratch;
    buf_clear(b);
    wire_append_len(b, KEY_VALUE_KEY, span_str(key));
    wire_append_len_head(b, KEY_VALUE_VALUE, 9);
    wire_append_double(b, ANY_VALUE_DOUBLE, real);
    wire_append_len(&w->record, LOG_RECORD_ATTRIBUTES, buf_span(b));
}

static void start_record(struct world *w, unsigned pattern, unsigned level)
{
    static const char *const words[PATTERNS] = {
        "cart updated",   "payment authorised", "cache missed",   "user signed in",
        "job scheduled",  "file rotated",       "session closed", "queue drained",
        "mail delivered", "index rebuilt",      "token renewed",  "page rendered",
    };
    char body[64];
    buf_clear(&w->record);
    wire_append_i64(&w->record, 1, w->clock.unix_ns + w->made++); /* no two are alike */
    wire_append_varint(&w->record, 2, 4 * level + 1);
    int n = snprintf(body, sizeof body, "%s in %u ms", words[pattern],
                     (unsigned)rng_upto(&w->rng, 999));
    wire_append_len_head(&w->record, 5, 2 + (size_t)n);
    wire_append_len(&w->record, 1, span_of(body, (size_t)n));
}

static void add_trace(struct world *w, uint64_t trace, uint64_t r)
{
    uint8_t id[16];
    memcpy(id, &trace, 8);
    for (int i = 15; i > 8; i--, r >>= 8)
        id[i] = (uint8_t)r;
    id[8] = 1;
    wire_append_len(&w->record, 9, span_of(id, 16));
}

static void push_to(struct world *w, struct pipeline *p)
{
    static const char *const services[] = {"ab", "cd"};
    struct requests *q = &w->requests;
    uint32_t records;
    requests_begin(q);
    wire_append_len(&q->scope, SCOPE_LOGS_LOG_RECORDS, buf_span(&w->record));
    requests_resource(q, services[w->resource]);
    w->emitted = false;
    assert_int_equal(pipeline_push(p, buf_span(&q->bytes), &w->arena, &records), 0);
    assert_int_equal(records, 1);
    arena_reset(&w->arena);
}

/* Push the record in hand; the reason of its verdict. */
static enum reason push(struct world *w)
{
    w->resource = rng_upto(&w->rng, 1);
    struct census_reasons before = *pipeline_reasons(w->pipeline);
    push_to(w, w->pipeline);
    const struct census_reasons *after = pipeline_reasons(w->pipeline);
    enum reason r = 0;
    while (before.kept[r] == after->kept[r] && before.dropped[r] == after->dropped[r])
        assert_true(++r < REASON_COUNT);
    return r;
}

/* The policy. The ids of patterns are learnt from a pipeline that sees each of them. */
static void make_policy(struct world *w)
{
    for (size_t i = 0; i < ARRAY_LEN(pattern_rates); i++) {
        live(w, STAMPS_DEFAULT);
        start_record(w, pattern_rates[i].pattern, LEVEL_INFO);
        push(w);
        uint64_t signature = patterns_at(pipeline_patterns(w->pipeline), 0)->key.signature;
        die(w);
        assert_int_equal(rules_set_pattern(w->rules, signature, pattern_rates[i].rate, NULL), 0);
    }
    for (int l = 0; l < LEVEL_COUNT; l++)
        assert_int_equal(rules_set_level(w->rules, (enum level)l,
                                         w->has_budget ? ample_rate[l] : level_rate[l], NULL),
                         0);
    /* Firsts come before the budget's part: few of them, or nothing were left to chance. */
    uint64_t window = w->has_budget ? 20 * WINDOW_MS : WINDOW_MS;
    assert_int_equal(rules_set_first(w->rules, FIRST, window, NULL), 0);
}

static double rate_of(const struct item *it, enum reason reason)
{
    if (reason == REASON_SEVERITY_RATE)
        return level_rate[it->level];
    if (reason != REASON_PATTERN_RATE)
        return 1;
    size_t i = 0;
    while (pattern_rates[i].pattern != it->pattern)
        assert_true(++i < ARRAY_LEN(pattern_rates));
    return pattern_rates[i].rate;
}

/* The record in hand once more. */
static void check_twin(struct world *w)
{
    bool emitted = w->emitted;
    size_t stamp_len = w->stamp_len;
    double count = w->count, p = w->p;
    push_to(w, w->twin);
    assert_true(w->p == p);
    w->emitted = emitted;
    w->stamp_len = stamp_len;
    w->count = count;
}

static void add_covariance(struct world *w, const struct item *a, const struct item *b, double c)
{
    w->total.variance += c;
    if (a->pattern == b->pattern)
        w->pattern[a->pattern].variance += c;
    if (a->level == b->level)
        w->level[a->level].variance += c;
}

/* One record that has come through the earlier draw. */
static void offer(struct world *w, struct item *it, double p_in, bool shared)
{
    enum reason reason = push(w);
    bool by_rate = reason == REASON_SEVERITY_RATE || reason == REASON_PATTERN_RATE;
    if (w->has_budget) {
        it->p = w->p;
        check_twin(w);
        by_rate |= reason == REASON_BUDGET;
    } else {
        double ours = rate_of(it, reason);
        it->p = shared ? fmin(p_in, ours) : p_in * ours;
    }
    w->firsts += reason == REASON_FIRST;
    assert_true(by_rate || w->emitted);
    if (!w->emitted)
        return;
    assert_row(fabs(w->count * it->p - 1) < 1.0 / 4096, "%s: %g", reason_name(reason), w->count);
    assert_true((w->stamp_len == 0) == (it->p == 1)); /* firsts weigh 1 and are as they came */
    struct stratum *in[] = {&w->total, &w->pattern[it->pattern], &w->level[it->level]};
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        in[i]->sum += w->count;
        in[i]->kept++;
    }
}

/* One trace, or one record without: drawn by the earlier sampler, then offered. */
static void one_trace(struct world *w)
{
    enum kind kind = (enum kind)rng_upto(&w->rng, KINDS - 1);
    bool traced = kind == PLAIN_TRACED || kind == THRESHOLD_TRACED || kind == COUNT_TRACED;
    size_t n = traced ? 1 + rng_upto(&w->rng, TRACE_MAX - 1) : 1;
    size_t e = rng_upto(&w->rng, ARRAY_LEN(earlier) - 1);
    double p_in = kind <= PLAIN ? 1 : earlier[e].p;
    uint64_t t_in = (uint64_t)((1 - p_in) * (double)RULES_REJECT_ALL);
    uint64_t trace = rng_next(&w->rng), r = rng_next(&w->rng) >> 8, other = rng_next(&w->rng) >> 8;
    bool by_r = kind != THRESHOLD_ALONE && kind != THRESHOLD_OTHER;
    bool arrives = (by_r ? r : other) >= t_in;
    bool shared = kind != PLAIN && kind != THRESHOLD_ALONE && r >= t_in;
    struct item items[TRACE_MAX];

    for (size_t i = 0; i < n; i++) {
        uint64_t skew = rng_upto(&w->rng, PATTERNS * PATTERNS - 1);
        struct item *it = &items[i];
        *it = (struct item){(unsigned)sqrt((double)skew),
                            (unsigned)rng_upto(&w->rng, LEVEL_COUNT - 1), 1};
        w->total.truth++;
        w->pattern[it->pattern].truth++;
        w->level[it->level].truth++;
        start_record(w, it->pattern, it->level);
        if (kind != PLAIN && kind != THRESHOLD_ALONE && kind != THRESHOLD_WITH_R)
            add_trace(w, trace, r);
        if (kind >= THRESHOLD_TRACED && kind != COUNT_TRACED)
            add_text(w, "sampling.threshold", earlier[e].hex);
        if (kind == COUNT_TRACED)
            add_real(w, "otel.logs.adjusted_count", 1 / p_in);
        if (kind == THRESHOLD_WITH_R) {
            char hex[15];
            snprintf(hex, sizeof hex, "%014llx", (unsigned long long)r);
            add_text(w, "sampling.randomness", hex);
        }
        if (rng_upto(&w->rng, 99) == 0)
            add_real(w, "sampling.priority", 1);
        if (arrives)
            offer(w, it, p_in, shared);
        bool bursts = w->has_budget && w->made % BETWEEN_BURSTS < BURST;
        clock_fake_advance(&w->clock, rng_upto(&w->rng, bursts ? 8 : 40));
    }
    double weight = 1 / p_in;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double c = weight - 1;
            if (arrives)
                c += weight * (1 / fmax(items[i].p, items[j].p) - weight);
            add_covariance(w, &items[i], &items[j], c);
        }
    }
    w->in_life += n;
}

/* How many sigma the estimate is off. */
static double off(const struct stratum *s)
{
    return (s->sum - s->truth) / sqrt(s->variance);
}

static void adds_up(bool has_budget)
{
    static const uint64_t seeds[] = {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0};
    double squares = 0;
    unsigned strata = 0;
    for (size_t k = 0; k < ARRAY_LEN(seeds); k++) {
        struct world w;
        world_init(&w, seeds[k]);
        w.has_budget = has_budget;
        make_policy(&w);
        live(&w, STAMPS_DEFAULT);
        while (w.total.truth < RECORDS) {
            one_trace(&w);
            if (w.in_life >= LIFE) {
                die(&w);
                live(&w, STAMPS_DEFAULT);
            }
        }
        die(&w);
        print_message("seed %llx: %.0f records, %.0f kept for %.0f, off by %.2f sigma of %.0f; "
                      "%llu first, %llu dropped for the budget, %llu evicted\n",
                      (unsigned long long)seeds[k], w.total.truth, w.total.kept, w.total.sum,
                      off(&w.total), sqrt(w.total.variance), (unsigned long long)w.firsts,
                      (unsigned long long)w.budgeted, (unsigned long long)w.evicted);
        assert_true(w.evicted > 1000 && w.firsts > 1000);
        assert_true(has_budget ? w.budgeted > 10000 : w.budgeted == 0);
        assert_row(fabs(off(&w.total)) < 3, "total: %g", off(&w.total));
        for (unsigned i = 0; i < PATTERNS; i++) {
            double z = off(&w.pattern[i]);
            assert_row(fabs(z) < 3, "pattern %u: %g", i, z);
            /* A sum that forgot the weights would be seen. */
            assert_true(w.pattern[i].truth - w.pattern[i].kept > 3 * sqrt(w.pattern[i].variance));
            squares += z * z;
            strata++;
        }
        for (int l = 0; l < LEVEL_COUNT; l++)
            assert_row(fabs(off(&w.level[l])) < 3, "%s: %g", level_name((enum level)l),
                       off(&w.level[l]));
        world_done(&w);
    }
    /* The sigmas are what they should be: neither too small nor generous. */
    print_message("mean square of %u deviations: %.2f\n", strata, squares / strata);
    assert_true(squares / strata > 0.5 && squares / strata < 1.6);
}

static void what_comes_out_adds_up_to_what_was_there(void **state)
{
    (void)state;
    adds_up(false);
}

static void under_a_budget_as_well(void **state)
{
    (void)state;
    adds_up(true);
}

/* Two of us in a row, at one half and then at one fifth. */
static void one_behind_the_other(void **state)
{
    (void)state;
    static const unsigned sets[] = {
        STAMPS_DEFAULT,
        1u << STAMP_ADJUSTED_COUNT | 1u << STAMP_THRESHOLD | 1u << STAMP_RANDOMNESS,
    };
    enum { N = 20000 };
    for (size_t k = 0; k < ARRAY_LEN(sets); k++) {
        for (int traced = 0; traced < 2; traced++) {
            struct world w[2];
            double rates[2] = {0.5, 0.2}, sum = 0, kept = 0;
            for (int i = 0; i < 2; i++) {
                world_init(&w[i], 77 + (uint64_t)i);
                assert_int_equal(rules_set_global(w[i].rules, rates[i], NULL), 0);
                live(&w[i], sets[k]);
            }
            for (int i = 0; i < N; i++) {
                start_record(&w[0], 0, LEVEL_INFO);
                if (traced)
                    add_trace(&w[0], rng_next(&w[0].rng), rng_next(&w[0].rng) >> 8);
                push(&w[0]);
                if (!w[0].emitted)
                    continue;
                buf_clear(&w[1].record);
                buf_append(&w[1].record, buf_span(&w[0].whole));
                push(&w[1]);
                if (w[1].emitted) {
                    sum += w[1].count;
                    kept++;
                }
            }
            /* With shared randomness the lower rate counts, else both. */
            double p = traced || k == 1 ? 0.2 : 0.1;
            assert_row(fabs(kept - N * p) < 3 * sqrt(N * p * (1 - p)), "%zu %d: %g kept", k, traced,
                       kept);
            assert_row(fabs(sum - N) < 3 * sqrt(N * (1 - p) / p), "%zu %d: %g", k, traced, sum);
            for (int i = 0; i < 2; i++) {
                die(&w[i]);
                world_done(&w[i]);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_out_adds_up_to_what_was_there),
        cmocka_unit_test(under_a_budget_as_well),
        cmocka_unit_test(one_behind_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
