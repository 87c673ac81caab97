#include "unit/test.h"

#include <math.h>
#include <stdlib.h>

#include "policy/estimate.h"
#include "policy/proposal.h"
#include "util/rng.h"

#define ROWS 600000
#define HOURS 24
#define SLICE_ROWS 500
#define STRATA 60
#define PER_STRATUM 2
#define SEEDS 100
#define PATTERNS 5000
#define SERVICES 8

static double uniform(struct rng *r)
{
    return (double)(rng_next(r) >> 11) / (double)(UINT64_C(1) << 53);
}

/* A day of rows, in their order. */
struct history {
    const char *name;
    struct {
        uint16_t pattern;
        uint8_t service;
        float weight;
    } * rows;
    double bytes_of[PATTERNS];
    double true_rows[PATTERNS], true_weight[PATTERNS], of_service[SERVICES];
};

/* Zipf-like, by a table of cumulative shares. */
static double cumulative[PATTERNS];

static void make_cumulative(double exponent)
{
    double sum = 0;
    for (int k = 0; k < PATTERNS; k++)
        cumulative[k] = sum += pow(k + 1, -exponent);
    for (int k = 0; k < PATTERNS; k++)
        cumulative[k] /= sum;
}

static int draw_pattern(struct rng *r)
{
    double u = uniform(r);
    int low = 0, high = PATTERNS - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (cumulative[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum kind { DIURNAL, BURST, MANY, STAMPED };

static int pattern_at(enum kind kind, struct rng *r, int i, int last)
{
    double day = (double)i / ROWS;
    int pattern = draw_pattern(r);
    switch (kind) {
    case DIURNAL: /* by night other patterns than by day */
        return uniform(r) < 0.5 + 0.5 * cos(6.283185307 * day) ? (pattern + 7) % PATTERNS : pattern;
    case BURST: /* a twentieth of all rows is nearly one pattern */
        return day > 0.62 && day < 0.67 && uniform(r) < 0.9 ? 3 : pattern;
    case MANY: /* runs of the same */
        return uniform(r) < 0.8 ? last : pattern;
    default:
        return pattern;
    }
}

static void history_init(struct history *h, enum kind kind, const char *name)
{
    struct rng r = {.state = 40 + (uint64_t)kind};
    *h = (struct history){.name = name};
    make_cumulative(kind == MANY ? 0.6 : 1.1);
    h->rows = calloc(ROWS, sizeof *h->rows);
    for (int k = 0; k < PATTERNS; k++)
        h->bytes_of[k] = 100 + 900 * uniform(&r);
    for (int i = 0, pattern = 0; i < ROWS; i++) {
        pattern = pattern_at(kind, &r, i, pattern);
        /* 40 % of the patterns came through a sampler that kept a fifth. */
        double weight = kind == STAMPED && pattern % 5 < 2 ? 5 : 1;
        h->rows[i].pattern = (uint16_t)pattern;
        h->rows[i].service = (uint8_t)(pattern % SERVICES);
        h->rows[i].weight = (float)weight;
        h->true_rows[pattern]++;
        h->true_weight[pattern] += weight;
        h->of_service[pattern % SERVICES]++;
    }
}

/* As `lipservice posthog analyze` draws them. */
static struct estimate *sample(const struct history *h, uint64_t seed, bool by_service)
{
    struct estimate *e;
    struct rng r = {.state = seed * 1000003};
    double sizes[STRATA];
    for (int s = 0; s < STRATA; s++)
        sizes[s] = (double)ROWS / STRATA;
    assert_int_equal(estimate_new(&e, sizes, STRATA), 0);
    for (int s = 0; s < SERVICES && by_service; s++)
        assert_int_equal(estimate_service(e, (uint32_t)s, h->of_service[s]), 0);
    for (int s = 0; s < STRATA; s++) {
        for (int n = 0; n < PER_STRATUM; n++) {
            int first = (int)((s + uniform(&r)) * ROWS / STRATA);
            assert_int_equal(estimate_begin(e, (uint32_t)s), 0);
            for (int i = first; i < first + SLICE_ROWS && i < ROWS; i++)
                assert_int_equal(estimate_row(e, h->rows[i].service, h->rows[i].pattern,
                                              (double)h->rows[i].weight,
                                              h->bytes_of[h->rows[i].pattern]),
                                 0);
        }
    }
    assert_int_equal(estimate_finish(e, PATTERNS), 0);
    return e;
}

/* What the policy that follows from a sample leaves of each pattern. */
struct policy {
    double left[PATTERNS];
};

static void propose(struct policy *policy, const struct estimate *e)
{
    const struct estimate_kind *kinds = estimate_kinds(e);
    for (int k = 0; k < PATTERNS; k++) {
        policy->left[k] = 1;
        if (kinds[k].seen == 0)
            continue;
        struct proposal out;
        const struct proposal_pattern p = {
            .level = LEVEL_INFO,
            .records_per_hour = kinds[k].weight / HOURS,
            .bytes = kinds[k].bytes,
            .seen = kinds[k].seen,
            .rate_now = kinds[k].rows / kinds[k].weight,
            .protected_by = k % 11 == 0 ? "errors are always kept" : NULL,
        };
        proposal_of(&out, &p);
        policy->left[k] = out.rate / p.rate_now;
    }
}

static double saved(void *ctx, const struct estimate_entry *x)
{
    return x->bytes * (1 - ((const struct policy *)ctx)->left[x->kind]);
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

/* But for the rounding where services say it all. */
static bool holds(const struct estimate_sum *s, double truth)
{
    return s->low <= truth * (1 + 1e-9) && truth * (1 - 1e-9) <= s->high;
}

static void the_truth_lies_inside(void **state)
{
    (void)state;
    static const char *const names[] = {"diurnal", "burst", "5,000 patterns", "40 % stamped"};
    for (enum kind kind = DIURNAL; kind <= STAMPED; kind++) {
        struct history h;
        int inside = 0, inside_bytes = 0, inside_records = 0;
        double width = 0;
        history_init(&h, kind, names[kind]);
        double bytes = 0, records = 0;
        for (int k = 0; k < PATTERNS; k++) {
            bytes += h.true_rows[k] * h.bytes_of[k];
            records += h.true_weight[k];
        }
        for (int seed = 1; seed <= SEEDS; seed++) {
            struct policy policy;
            struct estimate_sum s, b, n;
            struct estimate *e = sample(&h, (uint64_t)seed, true);
            propose(&policy, e);
            double truth = 0;
            for (int k = 0; k < PATTERNS; k++)
                truth += h.true_rows[k] * h.bytes_of[k] * (1 - policy.left[k]);
            assert_int_equal(estimate_total(e, &s, saved, &policy), 0);
            assert_int_equal(estimate_total(e, &b, all_bytes, NULL), 0);
            assert_int_equal(estimate_total(e, &n, all_records, NULL), 0);
            inside += holds(&s, truth);
            inside_bytes += holds(&b, bytes);
            inside_records += holds(&n, records);
            width += (s.high - s.low) / truth / SEEDS;
            estimate_free(e);
        }
        print_message("%s: saving %d, bytes %d, records %d of %d; +-%.1f %%\n", names[kind], inside,
                      inside_bytes, inside_records, SEEDS, 50 * width);
        assert_true(inside >= 95 && inside_bytes >= 95 && inside_records >= 95);
        assert_true(width < 0.5);
        free(h.rows);
    }
}

static void services_make_it_narrower(void **state)
{
    (void)state;
    struct history h;
    struct estimate_sum with, without;
    history_init(&h, MANY, "");
    double a = 0, b = 0;
    for (int seed = 1; seed <= 20; seed++) {
        struct estimate *e = sample(&h, (uint64_t)seed, true);
        assert_int_equal(estimate_total(e, &with, all_bytes, NULL), 0);
        estimate_free(e);
        e = sample(&h, (uint64_t)seed, false);
        assert_int_equal(estimate_total(e, &without, all_bytes, NULL), 0);
        estimate_free(e);
        a += with.high - with.low;
        b += without.high - without.low;
    }
    assert_true(a < b);
    free(h.rows);
}

static void all_rows_are_exact(void **state)
{
    (void)state;
    struct estimate *e;
    struct estimate_sum s;
    const double size = 3;
    assert_int_equal(estimate_new(&e, &size, 1), 0);
    estimate_is_complete(e);
    assert_int_equal(estimate_begin(e, 0), 0);
    assert_int_equal(estimate_row(e, 0, 0, 1, 10), 0);
    assert_int_equal(estimate_row(e, 1, 1, 5, 20), 0);
    assert_int_equal(estimate_begin(e, 0), 0);
    assert_int_equal(estimate_row(e, 0, 0, 1, 30), 0);
    assert_int_equal(estimate_finish(e, 2), 0);
    assert_int_equal(estimate_total(e, &s, all_bytes, NULL), 0);
    assert_true(s.value == 60 && s.low == 60 && s.high == 60);
    assert_true(estimate_kinds(e)[0].rows == 2 && estimate_kinds(e)[1].weight == 5);
    assert_int_equal(estimate_slices(e), 2);
    estimate_free(e);
}

static void strata_that_were_not_reached(void **state)
{
    (void)state;
    struct estimate *e;
    struct estimate_sum s;
    const double sizes[] = {100, 100, 200, 0};
    assert_int_equal(estimate_new(&e, sizes, 4), 0);
    for (uint32_t h = 0; h < 2; h++) {
        assert_int_equal(estimate_begin(e, h), 0);
        for (int i = 0; i < 10; i++)
            assert_int_equal(estimate_row(e, 0, 0, 1, 1 + h), 0);
    }
    assert_int_equal(estimate_finish(e, 1), 0);
    assert_int_equal(estimate_total(e, &s, all_bytes, NULL), 0);
    assert_true(fabs(s.value - 600) < 1e-9 && s.low < s.value && s.high > s.value);
    estimate_free(e);
    /* Nothing was read at all. */
    assert_int_equal(estimate_new(&e, sizes, 4), 0);
    assert_int_equal(estimate_finish(e, 0), 0);
    assert_int_equal(estimate_total(e, &s, all_bytes, NULL), 0);
    assert_true(s.value == 0 && s.low == 0);
    estimate_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_truth_lies_inside),
        cmocka_unit_test(services_make_it_narrower),
        cmocka_unit_test(all_rows_are_exact),
        cmocka_unit_test(strata_that_were_not_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
