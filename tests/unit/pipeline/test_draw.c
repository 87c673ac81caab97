/* Which randomness decides a record, and how far the sums of the weights may be from the counts. */
#include "unit/test.h"

#include <math.h>
#include <stdlib.h>

#include "otlp/wire.h"
#include "pipeline/draw.h"
#include "pipeline/rules.h"
#include "util/rng.h"

static struct draws *make(const char *key, struct budget *budget)
{
    const struct draws_opts opts = {key == NULL ? (struct span){0} : span_str(key), 5, budget};
    struct draws *d = NULL;
    assert_int_equal(draws_new(&d, &opts), 0);
    return d;
}

static void add_attr(struct buf *record, const char *key, const char *text)
{
    struct buf value = {0}, pair = {0};
    wire_append_len(&value, 1, span_str(text));
    wire_append_len(&pair, 1, span_str(key));
    wire_append_len(&pair, 2, buf_span(&value));
    wire_append_len(record, 6, buf_span(&pair));
    buf_done(&value);
    buf_done(&pair);
}

static struct draw take(struct draws *d, const struct buf *bytes, uint32_t number)
{
    struct log_record record;
    assert_int_equal(log_record_read(&record, buf_span(bytes)), 0);
    return draws_take(d, &record, buf_span(bytes), number);
}

static struct draw of_trace(struct draws *d, uint64_t trace, uint32_t number)
{
    uint64_t id[2] = {1, __builtin_bswap64(trace)};
    const struct log_record record = {.trace_id = span_of(id, sizeof id)};
    return draws_take(d, &record, (struct span){0}, number);
}

static void where_randomness_comes_from(void **state)
{
    (void)state;
    static const uint8_t id[16] = {1, 2,    3,    4,    5,    6,    7,    8,
                                   9, 0xa0, 0xb1, 0xc2, 0xd3, 0xe4, 0xf5, 0x06};
    static const uint8_t zero[16];
    const struct {
        const char *name, *key, *session, *randomness;
        struct span trace;
        enum draw_source source;
        uint64_t r;
    } rows[] = {
        {"trace", NULL, NULL, NULL, {id, 16}, DRAW_SHARED, 0xa0b1c2d3e4f506},
        {"attribute", NULL, NULL, "00000000000007", {id, 16}, DRAW_SHARED, 7},
        {"attribute alone", NULL, NULL, "00000000000007", {NULL, 0}, DRAW_SHARED, 7},
        {"nothing", NULL, NULL, NULL, {NULL, 0}, DRAW_SPACED, 0},
        {"short id", NULL, NULL, NULL, {id, 15}, DRAW_SPACED, 0},
        {"64 bits", NULL, NULL, NULL, {id, 8}, DRAW_SPACED, 0},
        {"zeros", NULL, NULL, NULL, {zero, 16}, DRAW_SPACED, 0},
        {"no such key", "sessionId", NULL, NULL, {id, 16}, DRAW_SHARED, 0xa0b1c2d3e4f506},
        {"a key nobody asked for", NULL, "s1", NULL, {id, 16}, DRAW_SHARED, 0xa0b1c2d3e4f506},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct draws *d = make(rows[i].key, NULL);
        struct buf bytes = {0};
        if (rows[i].session != NULL)
            add_attr(&bytes, "sessionId", rows[i].session);
        if (rows[i].randomness != NULL)
            add_attr(&bytes, "sampling.randomness", rows[i].randomness);
        if (rows[i].trace.len > 0)
            wire_append_len(&bytes, 9, rows[i].trace);
        struct draw draw = take(d, &bytes, 0);
        assert_row(draw.source == rows[i].source && draw.randomness == rows[i].r, "%s",
                   rows[i].name);
        buf_done(&bytes);
        draws_free(d);
    }
}

/* A session is one R whatever its trace, also beyond a crowd; with another weight another R. */
static void sessions_by_a_key(void **state)
{
    (void)state;
    struct draws *d = make("sessionId", NULL);
    uint64_t first = 0;
    for (unsigned i = 0; i < 3 * DRAW_TOGETHER; i++) {
        struct buf bytes = {0};
        uint64_t id[2] = {i + 1, i * UINT64_C(0x9e3779b97f4a7c15)};
        add_attr(&bytes, "sessionId", "s1");
        wire_append_len(&bytes, 9, span_of(id, sizeof id));
        struct draw draw = take(d, &bytes, 0);
        assert_int_equal(draw.source, DRAW_KEY);
        assert_false(draw_is_crowded(&draw));
        assert_true(draw.randomness < RULES_REJECT_ALL);
        first = i == 0 ? draw.randomness : first;
        assert_true(draw.randomness == first);
        add_attr(&bytes, "sampling.threshold", "8");
        assert_true(take(d, &bytes, 0).randomness != first);
        buf_done(&bytes);
    }
    draws_free(d);
}

/* Of any n records in a row n * p are kept, but for one. */
static void survivors_come_at_even_spacing(void **state)
{
    (void)state;
    static const double rates[] = {0.001, 0.05, 0.2, 0.37, 0.5, 0.93};
    enum { RECORDS = 20000, STARTS = 7 };
    for (size_t k = 0; k < ARRAY_LEN(rates) * STARTS; k++) {
        uint64_t threshold = rules_threshold_of(rates[k / STARTS]);
        struct pattern p = {.phase = (uint32_t)(k * 0x9e3779b9u)};
        double rate = rules_rate_of(threshold), least = 0, most = 0, kept = 0;
        for (unsigned i = 1; i <= RECORDS; i++) {
            kept += draw_spaced(&p, threshold) >= threshold;
            double off = kept - rate * i;
            least = fmin(least, off);
            most = fmax(most, off);
        }
        assert_row(most - least < 1.01, "p %g: off by %g to %g", rate, least, most);
    }
}

/* Of one trace in one pattern 100 stay or go together, and what is beyond is spaced. */
static void no_crowd_decides_alone(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t first, step;
    } rows[] = {
        {"one trace, low", 3, 0},
        {"one trace, high", UINT64_C(0xffffffffffffff), 0},
        {"ids that count up", 1, 1},
        {"ids that count up behind a prefix", UINT64_C(0x12345600000000), 1},
    };
    enum { RECORDS = 3000 };
    const uint64_t threshold = rules_threshold_of(0.2);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct draws *d = make(NULL, NULL);
        struct pattern p = {.phase = 77};
        unsigned kept = 0;
        for (unsigned k = 0; k < RECORDS; k++) {
            struct draw draw = of_trace(d, rows[i].first + k * rows[i].step, 4);
            uint64_t r = draw_is_crowded(&draw) ? draw_spaced(&p, threshold) : draw.randomness;
            kept += r >= threshold;
        }
        assert_row(kept >= 575 && kept <= 585 + DRAW_TOGETHER, "%s: %u", rows[i].name, kept);
        draws_free(d);
    }
}

/* Hundreds of traces of a hundred records, in three patterns each and all at once. */
static void traces_are_whole(void **state)
{
    (void)state;
    enum { TRACES = 400, PATTERNS = 3 };
    struct draws *d = make(NULL, NULL);
    struct rng rng = {9};
    uint64_t trace[TRACES];
    for (size_t t = 0; t < TRACES; t++)
        trace[t] = rng_next(&rng) >> 8;
    unsigned crowded = 0;
    for (unsigned k = 0; k < DRAW_TOGETHER; k++)
        for (unsigned p = 0; p < PATTERNS; p++)
            for (size_t t = 0; t < TRACES; t++) {
                struct draw draw = of_trace(d, trace[t], p);
                crowded += draw_is_crowded(&draw);
            }
    assert_int_equal(crowded, 0);
    draws_free(d);
}

/* ---- what is said of the error ----------------------------------------- */

static double constant(struct rng *rng, unsigned i)
{
    (void)rng, (void)i;
    return 0.2;
}

static double drifting(struct rng *rng, unsigned i)
{
    (void)rng;
    return 0.2 / (1 + i / 500.0);
}

static double bursts(struct rng *rng, unsigned i)
{
    (void)rng;
    return i % 1000 < 880 + i / 1000 * 37 % 100 ? 0.5 : 0.002;
}

static double jumping(struct rng *rng, unsigned i)
{
    (void)i;
    return 1.0 / (double)(2 + rng_upto(rng, 200));
}

static double stepping(struct rng *rng, unsigned i)
{
    return i % 97 == 0 ? 0.05 + 0.01 * (double)rng_upto(rng, 10) : -1; /* as before */
}

/* Squared errors over the variance that is stated: about 1 on average, and not far above. */
static void the_error_is_stated(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double (*rate)(struct rng *rng, unsigned i);
        unsigned trace; /* records of one; 0: without */
        double least;   /* of the ratio: how careful it may be */
    } rows[] = {
        {"constant", constant, 0, 0.1},      {"drifting", drifting, 0, 0.1},
        {"bursts", bursts, 0, 0.1},          {"jumping", jumping, 0, 0.1},
        {"stepping", stepping, 0, 0.05},     {"traces of 1", constant, 1, 0.7},
        {"traces of 10", constant, 10, 0.7}, {"traces of 40, jumping", jumping, 40, 0.02},
    };
    enum { SEEDS = 300, RECORDS = 10000 };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double ratio = 0;
        unsigned beyond = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct rng rng = {seed}, rates = {7};
            struct draws *d = make(NULL, NULL);
            struct pattern p = {.phase = (uint32_t)rng_next(&rng)};
            double sum = 0, now = 0.1;
            uint64_t trace = 0;
            for (unsigned k = 0; k < RECORDS; k++) {
                double rate = rows[i].rate(&rates, k);
                now = rate > 0 ? rate : now;
                uint64_t threshold = rules_threshold_of(now), r = 0;
                struct draw draw = {.source = DRAW_SPACED};
                if (rows[i].trace > 0) {
                    trace = k % rows[i].trace == 0 ? rng_next(&rng) >> 8 : trace;
                    draw = of_trace(d, trace, 0);
                    r = draw.randomness;
                } else {
                    r = draw_spaced(&p, threshold);
                }
                double weight = 1 / rules_rate_of(threshold);
                draw_note(&p, &draw, weight);
                sum += r >= threshold ? weight : 0;
            }
            double off = sum - RECORDS, variance = draw_variance(&p);
            assert_true(variance > 0);
            ratio += off * off / variance / SEEDS;
            beyond += fabs(off) > 2 * sqrt(variance);
            draws_free(d);
        }
        assert_row(ratio < 1.3 && ratio > rows[i].least, "%s: %.2f", rows[i].name, ratio);
        assert_row(beyond <= SEEDS * 8 / 100, "%s: %u of %d beyond two of it", rows[i].name, beyond,
                   SEEDS);
    }
}

static void what_it_takes_is_in_the_account(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1 << 20);
    struct draws *d = make(NULL, &budget);
    assert_true(budget.used >= 16384);
    draws_free(d);
    assert_int_equal(budget.used, 0);
    budget_init(&budget, 1000);
    const struct draws_opts opts = {.budget = &budget};
    assert_int_equal(draws_new(&d, &opts), ERR_NOMEM);
    assert_int_equal(budget.used, 0);
    draws_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_randomness_comes_from),
        cmocka_unit_test(sessions_by_a_key),
        cmocka_unit_test(survivors_come_at_even_spacing),
        cmocka_unit_test(no_crowd_decides_alone),
        cmocka_unit_test(traces_are_whole),
        cmocka_unit_test(the_error_is_stated),
        cmocka_unit_test(what_it_takes_is_in_the_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
