/*
 * Boosted rates keep their promise: adjusted counts add up to what arrived, while
 * patterns surge, fade and come anew, with a budget behind it as well.
 *
 * Sigma comes from what was kept: with independent draws sum over the kept of (1 - p) / p^2
 * is an unbiased estimate of the variance, which is the sum over all of 1/p - 1.
 */
#include "unit/test.h"

#include <math.h>

#include "pipeline/stamp.h"
#include "unit/otlp/pb.h"
#include "unit/pipeline/inside.h"
#include "util/rng.h"

enum { PATTERNS = 4, SECONDS = 3600, CYCLE_S = 600, SURGE_S = 60 };

#define RATE 0.05
#define BOOST 8.0

static const char *const bodies[PATTERNS] = {"cache was warm", "request took long",
                                             "retry of a job", "the index grew"};

struct stratum {
    double truth, sum, variance;
};

struct world {
    struct pipeline *pipeline;
    struct rules *rules;
    struct clock_fake clock;
    struct arena arena;
    struct rng rng;
    struct buf record, request, scratch;
    unsigned in_hand; /* pattern */
    struct stratum total, pattern[PATTERNS];
    double most, least; /* weights */
    unsigned fading;    /* survivors of a boost between none and all of it */
    uint64_t kept_in_surge, surge;
    bool surges;
};

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct world *w = ctx;
    struct log_record r;
    (void)g;
    (void)service;
    buf_clear(&w->scratch);
    buf_append(&w->scratch, record);
    buf_append(&w->scratch, stamp);
    assert_int_equal(log_record_read(&r, buf_span(&w->scratch)), 0);
    const struct log_value *v = log_known(&r, LOG_ADJUSTED_COUNT);
    double weight = v == NULL ? 1 : v->real;
    struct stratum *in[] = {&w->total, &w->pattern[w->in_hand]};
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        in[i]->sum += weight;
        in[i]->variance += (1 - 1 / weight) * weight * weight;
    }
    w->most = fmax(w->most, weight);
    w->least = fmin(w->least, weight);
    w->fading += weight > 1.2 / (RATE * BOOST) && weight < 0.8 / RATE;
    w->kept_in_surge += w->surges;
    return 0;
}

/* One record of a trace of its own. */
static void push(struct world *w, unsigned pattern)
{
    uint64_t id[2] = {rng_next(&w->rng), rng_next(&w->rng)};
    struct buf scope = {0}, resource = {0};
    uint32_t records;
    w->in_hand = pattern;
    w->total.truth++;
    w->pattern[pattern].truth++;
    w->surge += w->surges;
    buf_clear(&w->scratch);
    wire_append_len(&w->scratch, 1, span_str(bodies[pattern]));
    buf_clear(&w->record);
    wire_append_i64(&w->record, 1, w->clock.unix_ns);
    wire_append_varint(&w->record, 2, 9);
    wire_append_len(&w->record, 5, buf_span(&w->scratch));
    wire_append_len(&w->record, 9, span_of(id, sizeof id));
    wire_append_len(&scope, 2, buf_span(&w->record));
    wire_append_len(&resource, 2, buf_span(&scope));
    buf_clear(&w->request);
    wire_append_len(&w->request, 1, buf_span(&resource));
    assert_int_equal(pipeline_push(w->pipeline, buf_span(&w->request), &w->arena, &records), 0);
    arena_reset(&w->arena);
    buf_done(&scope);
    buf_done(&resource);
}

static void run(struct world *w, uint64_t seed, bool has_budget)
{
    *w = (struct world){.rng = {seed}, .least = 1e9};
    clock_fake_init(&w->clock, 1000, 1700000000000000000u);
    arena_init(&w->arena, 1 << 20, NULL);
    assert_int_equal(rules_new(&w->rules), 0);
    assert_int_equal(rules_set_global(w->rules, RATE, NULL), 0);
    assert_int_equal(rules_set_first(w->rules, 0, 60000, NULL), 0);
    assert_int_equal(rules_set_boost(w->rules, BOOST, NULL), 0);
    struct pipeline_opts opts = {
        .max_patterns = 64,
        .max_services = 4,
        .seed = seed,
        .stamps = STAMPS_DEFAULT,
        .events = {.learning_ms = 100000},
        .clock = &w->clock.clock,
        .sink = {.ctx = w, .emit = on_emit},
    };
    if (has_budget)
        opts.target = (struct governor_target){GOVERNOR_RECORDS, 6, 0.3};
    assert_int_equal(pipeline_new(&w->pipeline, &opts, w->rules), 0);
    for (int i = 0; i < SECONDS; i++) {
        w->surges = i % CYCLE_S >= CYCLE_S - SURGE_S;
        unsigned loud = (unsigned)i / CYCLE_S % PATTERNS;
        for (unsigned p = 0; p < PATTERNS; p++) {
            if (p == PATTERNS - 1 && i < SECONDS / 2)
                continue; /* it comes anew */
            unsigned n = (unsigned)rng_upto(&w->rng, 12) + (w->surges && p == loud ? 250 : 0);
            for (unsigned k = 0; k < n; k++)
                push(w, p);
        }
        clock_fake_advance(&w->clock, 1000);
        pipeline_tick(w->pipeline);
    }
    assert_int_equal(ledger_imbalance(pipeline_ledger(w->pipeline)), 0);
    assert_int_equal(ledger_total(pipeline_ledger(w->pipeline))->fate[FATE_LOST_BUDGET], 0);
    pipeline_free(w->pipeline);
    rules_unref(w->rules);
    arena_done(&w->arena);
    buf_done(&w->record);
    buf_done(&w->request);
    buf_done(&w->scratch);
}

static double off(const struct stratum *s)
{
    return (s->sum - s->truth) / sqrt(s->variance);
}

static void adds_up(bool has_budget)
{
    static const uint64_t seeds[] = {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0};
    for (size_t k = 0; k < ARRAY_LEN(seeds); k++) {
        struct world w;
        run(&w, seeds[k], has_budget);
        print_message(
            "%.0f records, estimated %.0f, off by %.2f sigma; weights %.2f to %.2f; of surges "
            "%.3f kept\n",
            w.total.truth, w.total.sum, off(&w.total), w.least, w.most,
            (double)w.kept_in_surge / (double)w.surge);
        assert_true(w.total.truth > 100000);
        assert_row(fabs(off(&w.total)) < 3, "%zu: %g", k, off(&w.total));
        for (unsigned p = 0; p < PATTERNS; p++)
            assert_row(fabs(off(&w.pattern[p])) < 3, "%zu: pattern %u: %g", k, p,
                       off(&w.pattern[p]));
        assert_true(w.fading > 100);
        if (has_budget)
            continue;
        /* The boost was there, as a rule says it, and never more than that. */
        assert_float_equal(w.least, 1 / (RATE * BOOST), 0.01);
        assert_float_equal(w.most, 1 / RATE, 0.01);
        assert_true((double)w.kept_in_surge / (double)w.surge > 4 * RATE);
    }
}

static void boosted_counts_add_up(void **state)
{
    (void)state;
    adds_up(false);
}

static void under_a_budget_as_well(void **state)
{
    (void)state;
    adds_up(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boosted_counts_add_up),
        cmocka_unit_test(under_a_budget_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
