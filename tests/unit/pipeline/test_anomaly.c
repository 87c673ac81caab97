#include "unit/test.h"

#include <math.h>

#include "pipeline/anomaly.h"
#include "util/err.h"
#include "util/rng.h"

enum { INTERVAL_S = 10, LEARNING_S = 600 };

struct rig {
    struct anomaly *a;
    struct budget budget;
    uint64_t now_ms;
    unsigned told[2][ANOMALY_KINDS]; /* of patterns, of services */
    struct anomaly_news last;
    float strength; /* of the last record */
};

static void on_news(void *ctx, const struct anomaly_news *news)
{
    struct rig *r = ctx;
    r->told[news->of_service][news->kind]++;
    r->last = *news;
}

static void rig_open(struct rig *r)
{
    *r = (struct rig){.now_ms = 5000};
    budget_init(&r->budget, 1 << 20);
    const struct anomaly_opts opts = {
        .max_patterns = 300,
        .max_services = 4,
        .interval_ms = INTERVAL_S * 1000,
        .learning_ms = LEARNING_S * 1000,
        .seed = 11,
        .budget = &r->budget,
        .tell = on_news,
        .ctx = r,
    };
    assert_int_equal(anomaly_new(&r->a, &opts), 0);
    anomaly_tick(r->a, r->now_ms);
}

static void rig_close(struct rig *r)
{
    anomaly_free(r->a);
    assert_int_equal(r->budget.used, 0);
}

static struct pattern_key key_of(uint64_t signature)
{
    return (struct pattern_key){signature, 1, 2, 0};
}

static void begin(struct rig *r, uint32_t number, uint64_t signature)
{
    struct pattern_key key = key_of(signature);
    anomaly_begin(r->a, number, &key, &key, false);
}

static void arrive(struct rig *r, uint32_t number, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        r->strength = anomaly_arrived(r->a, number, 1, false);
}

static void second(struct rig *r)
{
    r->now_ms += 1000;
    anomaly_tick(r->a, r->now_ms);
}

/* So many records of a pattern in each second. */
static void steady(struct rig *r, uint32_t number, unsigned n, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        arrive(r, number, n);
        second(r);
    }
}

/* The strength that a record of the pattern would find. */
static float strength_of(struct rig *r, uint32_t number)
{
    arrive(r, number, 1);
    return r->strength;
}

static unsigned told_in_all(const struct rig *r)
{
    unsigned sum = 0;
    for (int k = 0; k < ANOMALY_KINDS; k++)
        sum += r->told[0][k] + r->told[1][k];
    return sum;
}

static void new_after_learning_and_not_before(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    begin(&r, 0, 100);
    steady(&r, 0, 1, LEARNING_S - 1);
    begin(&r, 1, 101);
    arrive(&r, 1, 1);
    assert_float_equal(r.strength, 0, 0);
    assert_int_equal(told_in_all(&r), 0);
    steady(&r, 0, 1, 1 + INTERVAL_S); /* the service is a second younger than the process */

    begin(&r, 2, 102);
    arrive(&r, 2, 1);
    assert_float_equal(r.strength, 1, 0); /* from its first record */
    assert_int_equal(told_in_all(&r), 0);
    second(&r);
    assert_int_equal(r.told[0][ANOMALY_NEW], 1);
    assert_int_equal(r.last.number, 2);
    assert_int_equal(anomaly_stats(r.a).patterns, 1);
    steady(&r, 0, 1, INTERVAL_S);
    assert_int_equal(r.told[0][ANOMALY_NEW], 1); /* once */
    assert_int_equal(anomaly_stats(r.a).patterns, 0);

    /* A service that has just come teaches its patterns first. */
    struct pattern_key elsewhere = {103, 2, 2, 0};
    anomaly_begin(r.a, 3, &elsewhere, &elsewhere, false);
    assert_float_equal(anomaly_arrived(r.a, 3, 2, false), 0, 0);
    second(&r);
    assert_int_equal(r.told[0][ANOMALY_NEW], 1);
    rig_close(&r);
}

static void what_was_seen_before_is_not_new(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    begin(&r, 0, 100);
    begin(&r, 1, 101);
    steady(&r, 0, 1, LEARNING_S + INTERVAL_S);
    begin(&r, 1, 100); /* it was evicted, and takes the place of another */
    arrive(&r, 1, 1);
    second(&r);
    struct pattern_key family = key_of(200), own = key_of(101), fresh = key_of(102);
    anomaly_begin(r.a, 2, &family, &own, false); /* a family that is seen now, of a known pattern */
    arrive(&r, 2, 1);
    second(&r);
    family.signature = 201;
    anomaly_begin(r.a, 3, &family, &fresh, true); /* one that has come to be */
    arrive(&r, 3, 1);
    second(&r);
    assert_int_equal(told_in_all(&r), 0);

    struct pattern_key louder = key_of(100);
    louder.level = 4;
    anomaly_begin(r.a, 4, &louder, &louder, false); /* the same words, as an error: that is new */
    arrive(&r, 4, 1);
    second(&r);
    assert_int_equal(r.told[0][ANOMALY_NEW], 1);
    rig_close(&r);
}

static void a_surge_and_its_end(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    steady(&r, 0, 2, 300);
    assert_float_equal(strength_of(&r, 0), 0, 0);
    /* Three times as much is not a surge. */
    steady(&r, 0, 6, 10);
    assert_int_equal(told_in_all(&r), 0);
    steady(&r, 0, 2, 300);

    unsigned seconds = 0;
    while (r.told[0][ANOMALY_SURGE] == 0) {
        steady(&r, 0, 40, 1);
        assert_true(++seconds <= INTERVAL_S); /* not after the interval: as soon as it is sure */
    }
    assert_true(seconds <= 4);
    assert_int_equal(r.told[1][ANOMALY_SURGE], 0);    /* it is all of its service, and told once */
    assert_int_equal(anomaly_stats(r.a).services, 1); /* which is boosted as well */
    assert_float_equal(r.last.usual_rate, 2, 0.3);
    assert_true(r.last.rate > 8);
    assert_float_equal(strength_of(&r, 0), 1, 0);
    steady(&r, 0, 40, 60);
    assert_float_equal(strength_of(&r, 0), 1, 0); /* while it holds */
    assert_int_equal(r.told[0][ANOMALY_SURGE], 1);

    /* Over; then it halves each minute, and is nothing after seven. */
    steady(&r, 0, 2, INTERVAL_S);
    while (anomaly_stats(r.a).patterns > 0)
        steady(&r, 0, 2, 1);
    float then = strength_of(&r, 0);
    assert_true(then > 0.9f && then < 1);
    steady(&r, 0, 2, 60);
    assert_float_equal(strength_of(&r, 0) / then, 0.5, 0.01);
    steady(&r, 0, 2, 360);
    assert_float_equal(strength_of(&r, 0), 0, 0);

    /* The same burst again is what this pattern does. */
    steady(&r, 0, 40, 10);
    assert_int_equal(r.told[0][ANOMALY_SURGE], 1);
    rig_close(&r);
}

static void a_surge_that_stays_becomes_usual(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    steady(&r, 0, 1, 300);
    unsigned seconds = 0;
    do
        steady(&r, 0, 100, 1);
    while ((r.told[0][ANOMALY_SURGE] == 0 || anomaly_stats(r.a).patterns > 0) && ++seconds < 900);
    assert_row(seconds > 120 && seconds < 400, "%u s", seconds);
    rig_close(&r);
}

static void silence_and_return(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    for (int i = 0; i < 600; i++) { /* 1: one in 4 s; 2: seven in 4 s */
        arrive(&r, 1, i % 4 == 0);
        arrive(&r, 2, i % 4 == 0 ? 7 : 0);
        arrive(&r, 3, i % 100 == 0); /* not steady */
        second(&r);
    }
    assert_int_equal(told_in_all(&r), 0);
    unsigned since = 0;
    while (r.told[0][ANOMALY_SILENT] == 0) {
        arrive(&r, 2, 2);
        second(&r);
        since++;
    }
    assert_int_equal(r.last.number, 1);
    assert_row(since >= 80 && since <= 120, "%u s", since); /* twenty records' time */
    assert_true(r.last.for_ms >= 60000);
    assert_float_equal(r.last.usual_rate, 0.25, 0.1);
    steady(&r, 2, 2, 200);
    assert_int_equal(r.told[0][ANOMALY_SILENT],
                     1); /* once; and never of the one that is not steady */
    assert_int_equal(anomaly_stats(r.a).patterns, 1);
    assert_float_equal(strength_of(&r, 1), 1, 0); /* its return counts more */
    steady(&r, 2, 2, INTERVAL_S);
    assert_int_equal(anomaly_stats(r.a).patterns, 0);

    /* When all of a service is quiet, that is told, and not each of its patterns. */
    for (int i = 0; i < 120; i++)
        second(&r);
    assert_int_equal(r.told[0][ANOMALY_SILENT], 1);
    assert_int_equal(r.told[1][ANOMALY_SILENT], 1);
    for (int i = 0; i < 3700; i++)
        second(&r);
    assert_int_equal(anomaly_stats(r.a).services, 0); /* an hour of silence is usual */
    rig_close(&r);
}

static void errors_by_their_share(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    for (int i = 0; i < 300; i++) {
        for (int k = 0; k < 20; k++)
            anomaly_arrived(r.a, 0, 1, k == 0);
        second(&r);
    }
    for (int i = 0; i < 30; i++) { /* three times the traffic with three times the errors */
        for (int k = 0; k < 60; k++)
            anomaly_arrived(r.a, 0, 1, k < 3);
        second(&r);
    }
    assert_int_equal(told_in_all(&r), 0);
    for (int i = 0; i < 10; i++) {
        for (int k = 0; k < 20; k++)
            r.strength = anomaly_arrived(r.a, 0, 1, k < 12);
        second(&r);
    }
    assert_int_equal(r.told[1][ANOMALY_ERRORS], 1);
    assert_int_equal(told_in_all(&r), 1);
    assert_float_equal(r.strength, 1, 0); /* for all of the service's patterns */
    assert_int_equal(anomaly_stats(r.a).services, 1);

    /* Errors where there were none at all. */
    struct rig clean;
    rig_open(&clean);
    steady(&clean, 0, 20, 300);
    for (int i = 0; i < 20; i++)
        anomaly_arrived(clean.a, 0, 1, true);
    second(&clean);
    assert_int_equal(clean.told[1][ANOMALY_ERRORS], 1);
    rig_close(&clean);
    rig_close(&r);
}

static unsigned poisson(struct rng *rng, double mean)
{
    unsigned n = 0;
    for (; mean > 10; mean -= 10)
        n += poisson(rng, 10);
    double left = exp(-mean), p = 1;
    while ((p *= (double)(rng_next(rng) >> 11) * 0x1p-53) > left)
        n++;
    return n;
}

/* Whatever the rate: 10^4 intervals of chance, a tick a second. */
static void chance_is_no_anomaly(void **state)
{
    (void)state;
    static const double rates[] = {0.02, 0.1, 0.5, 2, 5, 20, 100, 1000}; /* an interval */
    enum { INTERVALS = 10000, BURST = 20 };
    struct rng rng = {0x452821e638d01377};
    for (size_t k = 0; k < ARRAY_LEN(rates); k++) {
        struct rig plain, lumps;
        rig_open(&plain);
        rig_open(&lumps);
        for (int i = 0; i < INTERVALS * INTERVAL_S; i++) {
            arrive(&plain, 0, poisson(&rng, rates[k] / INTERVAL_S));
            second(&plain);
            /* As an SDK sends them: twenty at once. */
            arrive(&lumps, 0, BURST * poisson(&rng, rates[k] / INTERVAL_S / BURST));
            second(&lumps);
        }
        unsigned lumpy = lumps.told[0][ANOMALY_SURGE] + lumps.told[0][ANOMALY_SILENT];
        print_message("%g an interval: %u false alarms in %d intervals; in lumps of %d: %u\n",
                      rates[k], told_in_all(&plain), INTERVALS, BURST, lumpy);
        assert_int_equal(told_in_all(&plain), 0);
        assert_row(lumpy <= INTERVALS / 200, "%g: %u", rates[k], lumpy);
        rig_close(&plain);
        rig_close(&lumps);
    }
}

/* ---- many seeds at once ------------------------------------------------ */

/* A stream for each seed: pattern i alone in service i. */
enum { SEEDS = 250 };

struct crowd {
    struct anomaly *a;
    struct rng rng;
    uint64_t now_ms;
    unsigned told[SEEDS]; /* events, of pattern or service */
    unsigned of_services;
    uint64_t told_ms[SEEDS];
    unsigned in_all;
};

static void on_crowd(void *ctx, const struct anomaly_news *news)
{
    struct crowd *c = ctx;
    c->told[news->number]++;
    c->told_ms[news->number] = c->now_ms;
    c->of_services += news->of_service;
    c->in_all++;
}

static void crowd_open(struct crowd *c, uint64_t seed)
{
    *c = (struct crowd){.rng = {seed}, .now_ms = 5000};
    const struct anomaly_opts opts = {
        .max_patterns = SEEDS,
        .max_services = SEEDS,
        .interval_ms = INTERVAL_S * 1000,
        .learning_ms = LEARNING_S * 1000,
        .seed = 11,
        .tell = on_crowd,
        .ctx = c,
    };
    assert_int_equal(anomaly_new(&c->a, &opts), 0);
    anomaly_tick(c->a, c->now_ms);
}

static void crowd_arrive(struct crowd *c, uint32_t pattern, uint32_t service, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        anomaly_arrived(c->a, pattern, service, false);
}

static void crowd_tick(struct crowd *c, unsigned seconds)
{
    c->now_ms += 1000 * (uint64_t)seconds;
    anomaly_tick(c->a, c->now_ms);
}

/* Five times as much for a minute, after an hour as usual: told within two intervals, and once. */
static void a_spike_is_told_soon(void **state)
{
    (void)state;
    static const struct {
        double base, least; /* records an interval; share of seeds */
    } rows[] = {{10, 0.40}, {20, 0.70}, {50, 0.90}, {300, 0.98}};
    enum { BEFORE_S = 3600, SPIKE_S = 60, TIMES = 5 };
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct crowd c;
        unsigned soon = 0;
        crowd_open(&c, 0x13198a2e03707344 + k);
        uint64_t start_ms = c.now_ms + BEFORE_S * 1000;
        for (int t = 0; t < BEFORE_S; t += INTERVAL_S) {
            for (uint32_t i = 0; i < SEEDS; i++)
                crowd_arrive(&c, i, i, poisson(&c.rng, rows[k].base));
            crowd_tick(&c, INTERVAL_S);
        }
        assert_row(c.in_all == 0, "%g: %u false ones", rows[k].base, c.in_all);
        for (unsigned t = 0; t < INTERVAL_S + SPIKE_S; t++) {
            for (uint32_t i = 0; i < SEEDS; i++) {
                unsigned since = t - i % INTERVAL_S; /* each at another place of an interval */
                bool is_spike = t >= i % INTERVAL_S && since < SPIKE_S;
                crowd_arrive(&c, i, i,
                             poisson(&c.rng, rows[k].base / INTERVAL_S * (is_spike ? TIMES : 1)));
            }
            crowd_tick(&c, 1);
        }
        for (unsigned i = 0; i < SEEDS; i++) {
            uint64_t since_ms = c.told_ms[i] - start_ms - i % INTERVAL_S * 1000;
            soon += c.told[i] > 0 && since_ms <= 2 * INTERVAL_S * 1000;
            assert_row(c.told[i] <= 1, "%g: %u events of one spike", rows[k].base, c.told[i]);
        }
        print_message("5 times %g: %.1f %% within two intervals\n", rows[k].base,
                      100.0 * soon / SEEDS);
        assert_row(soon >= rows[k].least * SEEDS, "%g: %u of %d", rows[k].base, soon, SEEDS);
        anomaly_free(c.a);
    }
}

/* What comes each hour or more often is news once; wherever it lies in an interval, whatever else
 * its service does. Ticks are a second, as spikes are told within an interval. */
static void a_cron_job_is_no_news(void **state)
{
    (void)state;
    static const unsigned minutes[] = {1, 5, 15, 30, 60};
    enum { HOURS = 12, JOBS = 4, SPIKE = 400 };
    for (size_t k = 0; k < ARRAY_LEN(minutes); k++) {
        struct crowd c;
        crowd_open(&c, 0xa4093822299f31d0 + k);
        unsigned period_s = 60 * minutes[k];
        for (unsigned t = 0; t < HOURS * 3600; t++) {
            for (uint32_t i = 0; i < JOBS; i++) {
                bool runs = t % period_s == (i * 7 + 3) % period_s;
                crowd_arrive(&c, i, i, runs ? poisson(&c.rng, SPIKE) : 0);
                /* Of every other service it is not all: another pattern comes by chance. */
                crowd_arrive(&c, JOBS + i, i, i % 2 == 0 ? 0 : poisson(&c.rng, 2));
            }
            crowd_tick(&c, 1);
        }
        unsigned most = 0;
        for (uint32_t i = 0; i < 2 * JOBS; i++)
            most = c.told[i] > most ? c.told[i] : most;
        print_message("each %u minutes: %u events of %d jobs in %d hours\n", minutes[k], c.in_all,
                      JOBS, HOURS);
        assert_row(c.in_all <= JOBS, "%u min: %u events", minutes[k], c.in_all);
        assert_row(most <= 1, "%u min: %u of one", minutes[k], most);
        anomaly_free(c.a);
    }
}

/* Days: a sine of -90 to +90 %, and an office that opens within half an hour to ten times. */
static void a_day_is_no_anomaly(void **state)
{
    (void)state;
    enum { DAYS = 3, DAY = 24 * 360, WIDTH = 26, RAMP = 180 }; /* in intervals */
    static const double means[] = {1, 3, 10, 30};
    for (int office = 0; office < 2; office++) {
        struct crowd c;
        crowd_open(&c, 0x082efa98ec4e6c89 + (uint64_t)office);
        for (unsigned t = 0; t < DAYS * DAY; t++) {
            double day = (double)(t % DAY) / DAY, at = (double)(t % DAY) - 8.0 * 360;
            double opens = fmin(fmax(at / RAMP, 0), 1) - fmin(fmax((at - 9 * 360) / RAMP, 0), 1);
            for (uint32_t i = 0; i < WIDTH; i++) {
                double mean = means[i % ARRAY_LEN(means)] / (office ? 10 : 1);
                double factor = office ? 1 + 9 * opens : 10 * (1 + 0.9 * sin(2 * M_PI * day));
                crowd_arrive(&c, i, i, poisson(&c.rng, mean * factor / (office ? 1 : 10)));
            }
            crowd_tick(&c, INTERVAL_S);
        }
        print_message("%s: %u events in %d intervals\n", office ? "office hours" : "daily sine",
                      c.in_all, DAYS * DAY * WIDTH);
        assert_int_equal(c.in_all, 0);
        anomaly_free(c.a);
    }
}

/* Of a service with twenty patterns: one that surges is told, and no service; when all do, it is
 * the service. */
static void a_spike_is_one_event(void **state)
{
    (void)state;
    enum { SERVICES = 12, WIDTH = 20, WARM_S = 1800, SPIKE_S = 60 };
    for (int of_all = 0; of_all < 2; of_all++) {
        struct crowd c;
        crowd_open(&c, 0x452821e638d01377);
        for (unsigned t = 0; t < WARM_S + SPIKE_S; t++) {
            for (uint32_t i = 0; i < SERVICES * WIDTH; i++) {
                bool is_spike = t >= WARM_S && (of_all || i % WIDTH == 3);
                double base = i % WIDTH == 3 || of_all ? 1 : 0.2; /* a second */
                crowd_arrive(&c, i, i / WIDTH, poisson(&c.rng, base * (is_spike ? 12 : 1)));
            }
            crowd_tick(&c, 1);
        }
        unsigned of_patterns = c.in_all - c.of_services;
        print_message("%s: %u events of patterns and %u of services, of %d spikes\n",
                      of_all ? "all patterns" : "one pattern", of_patterns, c.of_services,
                      SERVICES);
        assert_int_equal(c.of_services, of_all ? SERVICES : 0);
        if (of_all) /* by chance one pattern may be faster than its service */
            assert_true(of_patterns <= SERVICES / 4);
        for (uint32_t i = 0; i < SERVICES * WIDTH && !of_all; i++)
            assert_int_equal(c.told[i], i % WIDTH == 3);
        anomaly_free(c.a);
    }
}

static void a_gap_and_a_leap_say_nothing(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    steady(&r, 0, 5, 400);
    r.now_ms += 3600 * 1000; /* the process was stopped */
    arrive(&r, 0, 500);      /* and sockets were full */
    second(&r);
    steady(&r, 0, 5, 60);
    assert_int_equal(told_in_all(&r), 0);
    r.now_ms -= 1800 * 1000; /* a replay of another capture */
    arrive(&r, 0, 500);
    second(&r);
    steady(&r, 0, 5, 60);
    assert_int_equal(told_in_all(&r), 0);
    rig_close(&r);
}

static void without_memory_nothing_is_anomalous(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.budget.limit = r.budget.used; /* full from now on */
    begin(&r, 299, 1);
    steady(&r, 299, 5, 700);
    begin(&r, 299, 2);
    assert_float_equal(strength_of(&r, 299), 0, 0);
    r.budget.limit = 1 << 20;
    rig_close(&r);
    struct budget small;
    budget_init(&small, 100);
    const struct anomaly_opts opts = {.max_patterns = 300, .max_services = 4, .budget = &small};
    assert_int_equal(anomaly_new(&r.a, &opts), ERR_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_after_learning_and_not_before),
        cmocka_unit_test(what_was_seen_before_is_not_new),
        cmocka_unit_test(a_surge_and_its_end),
        cmocka_unit_test(a_surge_that_stays_becomes_usual),
        cmocka_unit_test(silence_and_return),
        cmocka_unit_test(errors_by_their_share),
        cmocka_unit_test(chance_is_no_anomaly),
        cmocka_unit_test(a_spike_is_told_soon),
        cmocka_unit_test(a_cron_job_is_no_news),
        cmocka_unit_test(a_day_is_no_anomaly),
        cmocka_unit_test(a_spike_is_one_event),
        cmocka_unit_test(a_gap_and_a_leap_say_nothing),
        cmocka_unit_test(without_memory_nothing_is_anomalous),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
