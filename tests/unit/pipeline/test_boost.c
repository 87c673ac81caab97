/*
 * Boosted rates keep their promise: adjusted counts add up to what arrived, while
 * patterns surge, fade and come anew, with a budget behind it as well.
 *
 * Sigma comes from what was kept: with independent draws sum over the kept of (1 - p) / p^2
 * is an unbiased estimate of the variance, which is the sum over all of 1/p - 1.
 */
#include "unit/pipeline/rig.h"

#include <math.h>

enum { PATTERNS = 4, SECONDS = 3600, CYCLE_S = 600, SURGE_S = 60 };

#define RATE 0.05
#define BOOST 8.0

static const char *const bodies[PATTERNS] = {"cache was warm", "request took long",
                                             "retry of a job", "the index grew"};

struct stratum {
    double truth, sum, variance;
};

struct world {
    struct rig rig;
    struct rng rng;
    unsigned in_hand; /* pattern */
    struct stratum total, pattern[PATTERNS];
    double most, least; /* weights */
    unsigned fading;    /* survivors of a boost between none and all of it */
    uint64_t kept_in_surge, surge;
    bool surges;
};

static void on_seen(void *ctx, const struct rig_seen *s)
{
    struct world *w = ctx;
    struct stratum *in[] = {&w->total, &w->pattern[w->in_hand]};
    double weight = s->weight;
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        in[i]->sum += weight;
        in[i]->variance += (1 - 1 / weight) * weight * weight;
    }
    w->most = fmax(w->most, weight);
    w->least = fmin(w->least, weight);
    w->fading += weight > 1.2 / (RATE * BOOST) && weight < 0.8 / RATE;
    w->kept_in_surge += w->surges;
}

/* One record of a trace of its own. */
static void push(struct world *w, unsigned pattern)
{
    w->in_hand = pattern;
    w->total.truth++;
    w->pattern[pattern].truth++;
    w->surge += w->surges;
    rig_push(&w->rig, &(struct rig_record){.body = bodies[pattern],
                                           .trace = {rng_next(&w->rng), rng_next(&w->rng)}});
}

static void run(struct world *w, uint64_t seed, bool has_budget)
{
    *w = (struct world){.rng = {seed}, .least = 1e9};
    struct rig *r = &w->rig;
    rig_init(r);
    assert_int_equal(rules_set_global(r->rules, RATE, NULL), 0);
    assert_int_equal(rules_set_first(r->rules, 0, 60000, NULL), 0);
    assert_int_equal(rules_set_boost(r->rules, BOOST, NULL), 0);
    r->seen = on_seen;
    r->seen_ctx = w;
    r->opts.max_patterns = 64;
    r->opts.max_services = 4;
    r->opts.seed = seed;
    r->opts.events.learning_ms = 100000;
    if (has_budget)
        r->opts.target = (struct governor_target){GOVERNOR_RECORDS, 6, 0.3};
    rig_open(r);
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
        clock_fake_advance(&r->clock, 1000);
        pipeline_tick(r->pipeline);
    }
    assert_int_equal(ledger_total(pipeline_ledger(r->pipeline))->fate[FATE_LOST_BUDGET], 0);
    rig_close(r);
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
