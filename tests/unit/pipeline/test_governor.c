#include "unit/test.h"

#include <math.h>
#include <stdlib.h>

#include "pipeline/governor.h"
#include "pipeline/rules.h"
#include "util/rng.h"
#include "util/span.h"

enum { PATTERNS = 200, BYTES = 100 };

static struct governor *governor(enum governor_unit unit, double amount, struct budget *memory)
{
    struct governor *g = NULL;
    const struct governor_opts opts = {{unit, amount, 0.3}, 1 << 14, 0, memory};
    assert_int_equal(governor_new(&g, &opts), 0);
    return g;
}

/* One record of a pattern, left to chance: what is expected to be kept of it. */
static double draw(struct governor *g, uint32_t number, unsigned level, enum governor_cause *why)
{
    const struct governor_record r = {number, level, BYTES, 1};
    enum governor_cause any = GOVERNOR_FREE;
    governor_arrived(g, BYTES);
    double factor = governor_draw(g, &r, &any);
    assert_true(factor > 0 && factor <= 1);
    assert_true((any == GOVERNOR_FREE) == (factor >= 1));
    if (why != NULL)
        *why = any;
    return factor;
}

static void without_budget_and_pressure_there_is_nothing_to_do(void **state)
{
    (void)state;
    struct budget memory;
    budget_init(&memory, 1 << 20);
    struct governor *g = governor(GOVERNOR_NONE, 0, &memory);
    assert_false(governor_begin(g, 1000, 0));
    assert_false(governor_begin(g, 2000, 0.2));
    assert_true(governor_begin(g, 3000, 0.3)); /* it watches, and sheds nothing */
    for (uint32_t i = 0; i < 1000; i++)
        assert_true(draw(g, i, LEVEL_DEBUG, NULL) >= 1);
    assert_true(memory.used > 0);
    assert_true(governor_begin(g, 4000, 0.8));
    enum governor_cause why;
    assert_true(draw(g, 5, LEVEL_DEBUG, &why) < 1);
    assert_int_equal(why, GOVERNOR_BY_PRESSURE);
    assert_true(governor_pay(g, BYTES, true, false)); /* no budget, no bucket */
    assert_true(governor_begin(g, 5000, 0));          /* falls slowly */
    assert_false(governor_begin(g, 20000, 0));
    assert_int_equal(memory.used, 0);
    governor_free(g);
}

/* Seconds of records of PATTERNS patterns, each `every_ms` a lump; what was expected a second. */
static double lumps(struct governor *g, struct rng *rng, uint64_t *now_ms, unsigned seconds,
                    unsigned every_ms, unsigned each)
{
    double kept = 0;
    for (uint64_t end = *now_ms + seconds * 1000; *now_ms < end; *now_ms += every_ms) {
        for (unsigned i = 0; i < each; i++) {
            assert_true(i % 500 != 0 ||
                        governor_begin(g, *now_ms + i / 500, 0)); /* requests of 500 */
            kept += draw(g, (uint32_t)rng_upto(rng, PATTERNS - 1), LEVEL_INFO, NULL);
        }
    }
    return kept / seconds;
}

/* The governor of the next process, which knows what this one knew. */
static struct governor *succeed(const struct governor *g, enum governor_unit unit, double amount,
                                double away_s, bool *is_bad)
{
    struct governor *next = governor(unit, amount, NULL);
    struct buf text = {.base = NULL};
    governor_save(g, &text);
    *is_bad = governor_restore(next, buf_span(&text), away_s) < 0;
    for (uint32_t i = 0; i < PATTERNS; i++) {
        struct governor_known known;
        if (governor_known(g, i, &known))
            governor_recall(next, i, &known);
    }
    buf_done(&text);
    return next;
}

static double storm(struct governor *g, uint64_t now)
{
    struct rng rng = {7};
    return lumps(g, &rng, &now, 10, 200, 400);
}

/* A restart is no new budget: in the seconds after it as much is kept as without it, and less than
 * by one that knows nothing. */
static void a_restart_forgives_no_debts(void **state)
{
    (void)state;
    static const struct {
        enum governor_unit unit;
        double amount;
    } rows[] = {{GOVERNOR_RECORDS, 100}, {GOVERNOR_BYTES, 100 * BYTES}, {GOVERNOR_REDUCTION, 0.05}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct governor *g = governor(rows[i].unit, rows[i].amount, NULL);
        struct rng rng = {i + 3};
        uint64_t now = 1000;
        bool is_bad;
        lumps(g, &rng, &now, 20, 200, 400);
        for (int n = 0; n < 4000; n++) /* all of it must stay: twice what 20 s have */
            governor_certain(g, BYTES, false);
        lumps(g, &rng, &now, 6, 200, 400);
        const double used = governor_stats(g).used, allowed = governor_stats(g).allowed;
        struct governor *next = succeed(g, rows[i].unit, rows[i].amount, 0, &is_bad);
        struct governor *rested = succeed(g, rows[i].unit, rows[i].amount, 3600, &is_bad);
        struct governor *fresh = governor(rows[i].unit, rows[i].amount, NULL);
        assert_false(is_bad);
        assert_true(governor_stats(next).used == used && governor_stats(next).allowed == allowed);
        const double goes_on = storm(g, now), then = storm(next, now), anew = storm(fresh, now),
                     paid = storm(rested, now);
        /* To a tenth of the budget, which is 100 records a second in each row. */
        assert_row(fabs(then - goes_on) < 10, "row %zu: %g and %g", i, then, goes_on);
        assert_row(then < 0.5 * anew, "row %zu: %g and %g anew", i, then, anew);
        assert_row(rows[i].unit == GOVERNOR_REDUCTION || paid > 1.2 * then,
                   "row %zu: %g and %g after an hour", i, then, paid);
        governor_free(g);
        governor_free(next);
        governor_free(rested);
        governor_free(fresh);
    }
}

static void debts_that_do_not_fit_are_left(void **state)
{
    (void)state;
    struct governor *g = governor(GOVERNOR_RECORDS, 100, NULL);
    struct rng rng = {3};
    uint64_t now = 1000;
    bool is_bad;
    lumps(g, &rng, &now, 20, 200, 400);
    struct governor *other = succeed(g, GOVERNOR_BYTES, 100, 0, &is_bad);
    assert_false(is_bad);
    assert_true(governor_stats(other).used == 0);
    struct governor *twice = succeed(g, GOVERNOR_RECORDS, 100, 0, &is_bad);
    struct governor *again = succeed(twice, GOVERNOR_RECORDS, 100, 0, &is_bad); /* never on */
    assert_true(storm(again, now) == storm(twice, now));

    struct buf text = {.base = NULL};
    governor_save(g, &text);
    for (size_t n = 0; n < text.len; n++) { /* cut anywhere, and with anything in it */
        struct governor *next = governor(GOVERNOR_RECORDS, 100, NULL);
        assert_int_equal(governor_restore(next, span_of(text.base, n), 0), ERR_MALFORMED);
        text.base[n] ^= 0xff;
        ignore_code(governor_restore(next, buf_span(&text), 0));
        text.base[n] ^= 0xff;
        double kept = storm(next, now);
        assert_true(isfinite(kept) && kept >= 0);
        governor_free(next);
    }
    buf_done(&text);
    governor_free(g);
    governor_free(other);
    governor_free(twice);
    governor_free(again);
}

/* Exporters send every second or five: what they send together is no burst. */
static void lumps_are_no_bursts(void **state)
{
    (void)state;
    static const struct {
        unsigned every_ms, each;
    } rows[] = {{10, 20}, {200, 400}, {1000, 2000}, {5000, 10000}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct governor *g = governor(GOVERNOR_RECORDS, 100, NULL);
        struct rng rng = {i + 3};
        uint64_t now = 1000;
        lumps(g, &rng, &now, 60, rows[i].every_ms, rows[i].each);
        double kept = lumps(g, &rng, &now, 600, rows[i].every_ms, rows[i].each);
        assert_row(fabs(kept / 100 - 1) < 0.05, "every %u ms: %g of 100", rows[i].every_ms, kept);
        governor_free(g);
    }
}

static void each_unit_is_held(void **state)
{
    (void)state;
    static const struct {
        enum governor_unit unit;
        double amount, records; /* of 2,000 a second, each of 100 bytes */
    } rows[] = {
        {GOVERNOR_RECORDS, 300, 300},   {GOVERNOR_BYTES, 30000, 300},
        {GOVERNOR_REDUCTION, 0.1, 200}, {GOVERNOR_RECORDS, 3, 3},
        {GOVERNOR_RECORDS, 5000, 2000}, /* more than there is */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct governor *g = governor(rows[i].unit, rows[i].amount, NULL);
        struct rng rng = {i};
        uint64_t now = 1000;
        double begun = lumps(g, &rng, &now, 300, 10, 20); /* what was too much is paid back */
        double kept = lumps(g, &rng, &now, 600, 10, 20);
        assert_row(fabs(kept / rows[i].records - 1) < 0.05, "%zu: %g of %g", i, kept,
                   rows[i].records);
        double all = (begun * 300 + kept * 600) / 900;
        assert_row(fabs(all / rows[i].records - 1) < 0.07, "%zu: %g of %g, with the start", i, all,
                   rows[i].records);
        assert_true(governor_stats(g).rate > 0);
        governor_free(g);
    }
}

/* What comes all at once, to a budget of 8 records a second: each five minutes 3,000 records of 200
 * patterns, within a second, and all else a single pattern, 50 a second. No part of the burst may
 * weigh so much that most of its patterns are not seen at all, and what is too much is paid back
 * before the next one. */
static void a_burst_to_a_small_budget(void **state)
{
    (void)state;
    enum { ROUNDS = 6, ROUND_S = 300, BURST = 3000, EACH = 50 };
    const double budget = 8;
    struct governor *g = governor(GOVERNOR_RECORDS, budget, NULL);
    struct rng rng = {5};
    uint64_t now = 1000;
    double kept = 0, least = 1, burst = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < BURST; i++) {
            assert_true(governor_begin(g, now + i / 3, 0));
            double p = draw(g, 1 + (uint32_t)rng_upto(&rng, PATTERNS - 1), LEVEL_INFO, NULL);
            burst += p;
            least = fmin(least, p);
        }
        for (now += 1000; now % (ROUND_S * 1000) != 1000; now += 20) {
            assert_true(governor_begin(g, now, 0));
            kept += draw(g, 0, LEVEL_INFO, NULL);
        }
    }
    kept += burst;
    print_message("a burst: %.0f of %d are kept at least 1 of %.0f, in all %.3f of the budget\n",
                  burst / ROUNDS, BURST, 1 / least, kept / (budget * ROUNDS * ROUND_S));
    assert_true(1 / least < 60); /* the mean of such a second stands for 375 */
    assert_true(kept < 1.05 * budget * ROUNDS * ROUND_S);
    governor_free(g);
}

/* A reduction follows what comes: a tenth of ten times as much. */
static void a_reduction_follows(void **state)
{
    (void)state;
    struct governor *g = governor(GOVERNOR_REDUCTION, 0.1, NULL);
    struct rng rng = {1};
    uint64_t now = 1000;
    double kept = 0, sum = 0;
    for (int i = 0; i < 20; i++) {
        unsigned each = i % 2 == 0 ? 10 : 100;
        kept += lumps(g, &rng, &now, 60, 10, each) * 60;
        sum += each * 100.0 * 60;
    }
    assert_row(fabs(kept / (0.1 * sum) - 1) < 0.05, "%g of %g", kept, 0.1 * sum);
    governor_free(g);
}

/* A pattern that nobody has seen bursts within one second of a stream in balance. */
static void a_burst_is_bounded_before_it_is_known(void **state)
{
    (void)state;
    struct governor *g = governor(GOVERNOR_RECORDS, 100, NULL);
    struct rng rng = {4};
    uint64_t now = 1000;
    lumps(g, &rng, &now, 60, 1, 2);
    double kept = 0, burst = 0;
    for (unsigned ms = 0; ms < 1000; ms++) {
        assert_true(governor_begin(g, now + ms, 0));
        for (int i = 0; i < 20; i++)
            burst += draw(g, PATTERNS, LEVEL_INFO, NULL);
        for (int i = 0; i < 2; i++)
            kept += draw(g, (uint32_t)rng_upto(&rng, PATTERNS - 1), LEVEL_INFO, NULL);
    }
    assert_row(burst + kept < 200 && burst > 4, "%g and %g", burst, kept);
    assert_row(kept > 20, "%g of the others", kept);
    governor_free(g);
}

static void firsts_take_a_tenth(void **state)
{
    (void)state;
    struct governor *g = governor(GOVERNOR_RECORDS, 100, NULL);
    double kept = 0;
    for (unsigned ms = 0; ms < 60000; ms++) { /* a new pattern each time, 1,000 a second */
        assert_true(governor_begin(g, 1000 + ms, 0));
        governor_forget(g, ms % 1000);
        if (governor_has_first(g)) {
            governor_certain(g, BYTES, true);
            kept++;
        } else {
            draw(g, ms % 1000, LEVEL_INFO, NULL);
        }
    }
    assert_in_range((int)kept, 100 + 9 * 60, 101 + 11 * 60);
    governor_free(g);
}

/* Patterns that never become known, because the table has no room for all of them. */
static void strangers_are_held_together(void **state)
{
    (void)state;
    for (int has_memory = 0; has_memory < 2; has_memory++) {
        struct budget memory;
        budget_init(&memory, has_memory ? 1 << 20 : 1024);
        struct governor *g = governor(GOVERNOR_RECORDS, 100, &memory);
        double kept = 0;
        for (unsigned ms = 0; ms < 660000; ms++) {
            assert_true(governor_begin(g, 1000 + ms, 0));
            for (int i = 0; i < 2; i++) {
                governor_forget(g, ms % 500);
                double p = draw(g, ms % 500, LEVEL_INFO, NULL);
                kept += ms >= 60000 ? p : 0;
            }
        }
        assert_row(fabs(kept / 60000 - 1) < 0.05, "%d: %g", has_memory, kept);
        assert_int_equal(memory.used > 0, has_memory);
        governor_free(g);
        assert_int_equal(memory.used, 0);
    }
}

static void the_last_resort(void **state)
{
    (void)state;
    struct governor *g = governor(GOVERNOR_RECORDS, 10, NULL);
    unsigned kept = 0, errors = 0;
    for (unsigned ms = 0; ms < 100000;
         ms++) { /* 1,000 a second that are kept with certainty, 500 errors */
        assert_true(governor_begin(g, 1000 + ms, 0));
        governor_certain(g, BYTES, false);
        kept += governor_pay(g, BYTES, false, false);
        if (ms == 50000)
            assert_in_range(kept, 2390, 2410); /* ten seconds at once, and four times the rate */
        if (ms >= 50000 && ms % 2 == 0) {
            governor_certain(g, BYTES, false);
            errors += governor_pay(g, BYTES, false, true);
        }
    }
    assert_int_equal(errors, 25000); /* always, and they leave nothing */
    assert_in_range(kept, 2390, 2420);
    enum governor_cause why;
    assert_true(draw(g, 1, LEVEL_INFO, &why) > 1e-5); /* starved, and still unbiased */
    assert_int_equal(why, GOVERNOR_BY_BUDGET);
    governor_free(g);
}

/* A factor may depend on what arrived and not on which of it was kept. */
static void factors_do_not_look_at_the_dice(void **state)
{
    (void)state;
    struct governor *a = governor(GOVERNOR_BYTES, 5000, NULL),
                    *b = governor(GOVERNOR_BYTES, 5000, NULL);
    struct rng rng = {8};
    for (uint64_t ms = 1000; ms < 30000; ms++) {
        governor_begin(a, ms, 0);
        governor_begin(b, ms, 0);
        for (uint64_t n = rng_upto(&rng, ms / 1000 % 7 == 0 ? 30 : 3); n > 0; n--) {
            uint32_t pattern = (uint32_t)rng_upto(&rng, 20);
            assert_true(draw(a, pattern, LEVEL_INFO, NULL) - draw(b, pattern, LEVEL_INFO, NULL) ==
                        0.0);
            governor_pay(a, BYTES, true, false);
        }
    }
    assert_true(governor_stats(a).used > governor_stats(b).used);
    governor_free(a);
    governor_free(b);
}

static void pressure_takes_the_loud_and_the_unimportant(void **state)
{
    (void)state;
    struct governor *g = governor(GOVERNOR_NONE, 0, NULL);
    double kept[LEVEL_COUNT][2] = {{0}};
    /* Of each severity a quiet pattern and one that is ten times as loud. */
    for (unsigned ms = 0; ms < 20000; ms++) {
        assert_true(governor_begin(g, 1000 + ms, ms < 5000 ? 0.4 : 0.7));
        for (unsigned level = LEVEL_TRACE; level <= LEVEL_WARN; level++)
            for (unsigned i = 0; i < 11; i++)
                kept[level][i > 0] += draw(g, level * 2 + (i > 0), level, NULL) * (ms >= 10000) /
                                      (i > 0 ? 100000 : 10000);
    }
    for (unsigned level = LEVEL_TRACE; level <= LEVEL_WARN; level++) {
        print_message("%s: quiet %.4f, loud %.4f\n", level_name((enum level)level), kept[level][0],
                      kept[level][1]);
        assert_true(kept[level][1] <= kept[level][0]);
        if (level > 0)
            assert_true(kept[level - 1][1] < kept[level][1]);
    }
    assert_true(kept[LEVEL_DEBUG][1] < 0.1 && kept[LEVEL_WARN][0] > 0.99);
    governor_free(g);
}

/* A replay that begins another capture: an hour back, or a year on. */
static void leaps_of_the_clock(void **state)
{
    (void)state;
    struct governor *g = governor(GOVERNOR_RECORDS, 100, NULL);
    struct rng rng = {6};
    uint64_t now = 100000000;
    lumps(g, &rng, &now, 60, 10, 20);
    now -= 7200000;
    lumps(g, &rng, &now, 60, 10, 20);
    now += UINT64_C(366) * 24 * 3600 * 1000;
    lumps(g, &rng, &now, 60, 10, 20);
    double kept = lumps(g, &rng, &now, 600, 10, 20);
    assert_row(fabs(kept / 100 - 1) < 0.05, "%g", kept);
    governor_free(g);
}

/* A reload: the budget is another one, and nothing of the old one's is held against it. */
static void another_target_holds_at_once(void **state)
{
    (void)state;
    static const struct governor_target rows[][3] = {
        /* before, after, and records of 10,000 */
        {{GOVERNOR_BYTES, 1e6, 0.3}, {GOVERNOR_REDUCTION, 0.5, 0.3}, {.amount = 5000}},
        {{GOVERNOR_REDUCTION, 0.1, 0.3}, {GOVERNOR_REDUCTION, 0.5, 0.3}, {.amount = 5000}},
        {{GOVERNOR_BYTES, 1e5, 0.3}, {GOVERNOR_RECORDS, 1000, 0.3}, {.amount = 10000}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct governor *g = governor(rows[i][0].unit, rows[i][0].amount, NULL);
        unsigned paid = 0;
        double kept = 0;
        for (unsigned ms = 0; ms < 60000; ms++) { /* more than there is: a debt */
            assert_true(governor_begin(g, 1000 + ms, 0));
            governor_certain(g, BYTES, false);
            draw(g, 1, LEVEL_INFO, NULL);
        }
        governor_set_target(g, &rows[i][1]);
        for (unsigned ms = 60000; ms < 70000; ms++) {
            assert_true(governor_begin(g, 1000 + ms, 0));
            kept += draw(g, 1, LEVEL_INFO, NULL);
            paid += governor_pay(g, BYTES, true, false);
        }
        assert_row(paid == 10000, "%zu: %u of 10000 were paid", i, paid);
        assert_row(kept > 0.8 * rows[i][2].amount, "%zu: %g of 10000", i, kept);
        governor_free(g);
    }
}

/* Of a share the rate is known when something has come, and the first records are no loss. */
static void a_reduction_begins(void **state)
{
    (void)state;
    struct governor *g = governor(GOVERNOR_REDUCTION, 0.1, NULL);
    for (int i = 0; i < 3; i++) {
        assert_true(governor_begin(g, 1000, 0));
        governor_arrived(g, BYTES);
        assert_int_equal(governor_has_first(g), i == 0);
        governor_certain(g, BYTES, true);
        assert_true(governor_pay(g, BYTES, false, false));
    }
    governor_free(g);
}

/* A budget that moves keeps what it has learned: no interval begins with everything kept. */
static void an_amount_moves(void **state)
{
    (void)state;
    struct governor *g = governor(GOVERNOR_BYTES, 10 * BYTES, NULL);
    double kept[2] = {0};
    for (unsigned ms = 0; ms < 120000; ms += 10) {
        if (ms == 60000)
            governor_set_amount(g, 20 * BYTES);
        assert_true(governor_begin(g, 1000 + ms, 0));
        double share = draw(g, 1, LEVEL_INFO, NULL);
        kept[ms >= 60000] += ms % 60000 >= 20000 ? share : 0; /* when it has settled */
        if (ms == 60000)
            assert_row(share < 0.5, "%g of the first record", share);
    }
    assert_row(kept[0] > 300 && kept[0] < 500, "%g of 4000 at 10 a second", kept[0]);
    assert_row(kept[1] > 650 && kept[1] < 950, "%g of 4000 at 20 a second", kept[1]);
    assert_true(governor_stats(g).rate > 19 * BYTES);
    governor_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_budget_and_pressure_there_is_nothing_to_do),
        cmocka_unit_test(lumps_are_no_bursts),
        cmocka_unit_test(a_restart_forgives_no_debts),
        cmocka_unit_test(debts_that_do_not_fit_are_left),
        cmocka_unit_test(each_unit_is_held),
        cmocka_unit_test(a_burst_to_a_small_budget),
        cmocka_unit_test(a_reduction_follows),
        cmocka_unit_test(a_burst_is_bounded_before_it_is_known),
        cmocka_unit_test(firsts_take_a_tenth),
        cmocka_unit_test(strangers_are_held_together),
        cmocka_unit_test(the_last_resort),
        cmocka_unit_test(factors_do_not_look_at_the_dice),
        cmocka_unit_test(pressure_takes_the_loud_and_the_unimportant),
        cmocka_unit_test(leaps_of_the_clock),
        cmocka_unit_test(another_target_holds_at_once),
        cmocka_unit_test(a_reduction_begins),
        cmocka_unit_test(an_amount_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
