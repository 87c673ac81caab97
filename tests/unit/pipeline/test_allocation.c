#include "unit/test.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/allocation.h"
#include "util/rng.h"
#include "util/span.h"

enum { MANY = 16384 };

static double unit(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) / 9007199254740992.0;
}

static double share_at(const struct allocation *s, double exponent, double t)
{
    return s->volume <= 0 ? 0 : fmin(s->volume, t * s->weight * pow(s->volume, exponent));
}

static double sum_at(const struct allocation *s, size_t n, double exponent, double t)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += share_at(&s[k], exponent, t);
    return sum;
}

/* The definition, by bisection. */
static double solve_slowly(const struct allocation *s, size_t n, double exponent, double budget)
{
    double low = 0, high = 1;
    while (sum_at(s, n, exponent, high) < budget)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double mid = (low + high) / 2;
        *(sum_at(s, n, exponent, mid) < budget ? &low : &high) = mid;
    }
    return (low + high) / 2;
}

static void as_defined(void **state)
{
    static const double exponents[] = {0, 0.3, 0.7, 1};
    struct allocation strata[200];
    struct rng rng = {7};
    (void)state;
    for (int round = 0; round < 400; round++) {
        size_t n = 1 + rng_upto(&rng, ARRAY_LEN(strata) - 1);
        double exponent = exponents[round % 4], all = 0, sum = 0;
        for (size_t k = 0; k < n; k++) {
            strata[k] = (struct allocation){
                .volume = rng_upto(&rng, 9) == 0 ? 0 : exp(30 * unit(&rng) - 10),
                .weight = rng_upto(&rng, 1) == 0 ? 1 : exp(20 * unit(&rng) - 15),
            };
            all += strata[k].volume;
        }
        double budget = all * pow(unit(&rng), 4) * 0.999;
        double slow = solve_slowly(strata, n, exponent, budget);
        double t = allocation_solve(strata, n, exponent, budget);
        for (size_t k = 0; k < n; k++) {
            double want = share_at(&strata[k], exponent, slow);
            assert_row(fabs(strata[k].share - want) <= 1e-6 * want + 1e-12 * all,
                       "%d/%zu: %g, not %g (t %g, %g)", round, k, strata[k].share, want, t, slow);
            assert_true(strata[k].share <= strata[k].volume);
            sum += strata[k].share;
        }
        assert_row(fabs(sum - budget) <= 1e-9 * all, "%d: %g of %g", round, sum, budget);
    }
}

static void by_hand(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double exponent, budget, volume[3], weight[3], share[3];
    } rows[] = {
        {"enough for all", 0, 20, {1, 5, 9}, {1, 1, 1}, {1, 5, 9}},
        {"exactly enough", 0.3, 15, {1, 5, 9}, {1, 1, 1}, {1, 5, 9}},
        {"fair", 0, 9, {1, 5, 9}, {1, 1, 1}, {1, 4, 4}},
        {"one rate", 1, 3, {1, 5, 9}, {1, 1, 1}, {0.2, 1, 1.8}},
        {"root", 0.5, 10, {4, 16, 64}, {1, 1, 1}, {10 / 7.0, 20 / 7.0, 40 / 7.0}},
        {"weights", 0, 9, {100, 100, 100}, {1, 2, 6}, {1, 2, 6}},
        {"the heavy one is full", 0, 9, {100, 100, 3}, {1, 2, 6}, {2, 4, 3}},
        {"nothing", 0.3, 0, {1, 5, 9}, {1, 1, 1}, {0, 0, 0}},
        {"one that is empty", 0, 4, {0, 5, 9}, {1, 1, 1}, {0, 2, 2}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct allocation s[3];
        for (int k = 0; k < 3; k++)
            s[k] = (struct allocation){rows[i].volume[k], rows[i].weight[k], 0};
        double t = allocation_solve(s, 3, rows[i].exponent, rows[i].budget);
        assert_row((t == INFINITY) == (i < 2), "%s: %g", rows[i].name, t);
        for (int k = 0; k < 3; k++)
            assert_row(fabs(s[k].share - rows[i].share[k]) < 1e-9, "%s: %d: %g", rows[i].name, k,
                       s[k].share);
    }
    assert_true(allocation_solve(NULL, 0, 0.3, 1) == INFINITY);
}

/* Volumes that double: the most pieces that a sum can have at each size. */
static void a_table_full_at_once(void **state)
{
    struct allocation *s = calloc(MANY, sizeof *s);
    double all = 0, sum = 0;
    (void)state;
    assert_non_null(s);
    for (size_t k = 0; k < MANY; k++) {
        s[k] = (struct allocation){exp2((double)(k % 600) / 10), 1, 0};
        all += s[k].volume;
    }
    clock_t start = clock();
    allocation_solve(s, MANY, 0.3, all / 1e6);
    double ms = (double)(clock() - start) * 1000 / CLOCKS_PER_SEC;
    for (size_t k = 0; k < MANY; k++)
        sum += s[k].share;
    assert_true(fabs(sum / (all / 1e6) - 1) < 1e-9);
    print_message("%d strata in %.2f ms\n", MANY, ms);
    assert_true(ms < 100); /* with sanitizers on a busy machine; the point is that it is not n^2 */
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_defined),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(a_table_full_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
