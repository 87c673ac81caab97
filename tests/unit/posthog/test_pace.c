#include "unit/test.h"

#include <math.h>

#include "posthog/pace.h"
#include "util/span.h"

#define GB 1e9
#define HOUR 3600.0
#define DAY 86400.0
#define MONTH (30 * DAY)
#define START 1793491200.0 /* 2026-11-01 */
#define STEP 600.0

/* A month of two senders, of which one is paced. */
struct month {
    double limit, demand, errors; /* bytes; bytes a month; share of demand that is never cut */
    double others;                /* bytes a month, until they double on day `doubles` */
    double doubles;
    double away_from, away_to; /* days without an API */
    double lag_s, granule;     /* of the use that PostHog tells */
    uint32_t senders;          /* that are paced alike */
    double restart;            /* day at which our counter begins anew; 0: never */
};

struct outcome {
    double used;      /* of the limit, at the end */
    double limited_s; /* how long it was reached */
    double mine;
};

/* By day and night, around 1. */
static double tide(double s)
{
    return 1 - 0.8 * cos(2 * acos(-1) * s / DAY);
}

static struct outcome run(const struct month *m)
{
    enum { LAG_STEPS = 144 };
    struct outcome o = {0};
    struct pace pace;
    double used = 0, delivered = 0, before[LAG_STEPS] = {0}, base = 0;
    uint32_t senders = m->senders == 0 ? 1 : m->senders;
    pace_init(&pace, 1.0 / senders);
    for (uint32_t i = 0; i * STEP < MONTH; i++) {
        double t = i * STEP, now = START + t, day = t / DAY;
        double told = before[(i + LAG_STEPS - (uint32_t)(m->lag_s / STEP)) % LAG_STEPS];
        if (i == 0 || m->lag_s <= 0)
            told = used;
        if (m->granule > 0)
            told = floor(told / m->granule) * m->granule;
        if (m->restart > 0 && fabs(day - m->restart) < 1e-9) {
            base = delivered;
            pace_init(&pace, 1.0 / senders);
        }
        const struct pace_reading r = {now, told, delivered - base};
        if (day < m->away_from || day >= m->away_to)
            pace_read(&pace, &r, m->limit, START, START + MONTH);
        double wish = m->demand / MONTH * tide(t) / senders;
        double rate = pace.is_known ? pace_rate(&pace, now, delivered - base) : wish;
        double mine = fmax(fmin(wish, rate), wish * m->errors) * STEP;
        double theirs = m->others / MONTH * tide(t + 5 * HOUR) * (day >= m->doubles ? 2 : 1) * STEP;
        delivered += mine;
        used += mine * senders + theirs;
        o.mine += mine * senders;
        o.limited_s += used >= m->limit ? STEP : 0;
        before[i % LAG_STEPS] = used;
    }
    o.used = used / m->limit;
    return o;
}

static void a_month_lasts(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct month m;
        double least; /* of the limit */
    } rows[] = {
        {"alone", {.limit = 100 * GB, .demand = 300 * GB, .doubles = 99}, 0.97},
        {"others double in week two",
         {.limit = 100 * GB, .demand = 300 * GB, .others = 25 * GB, .doubles = 8},
         0.97},
        {"and there are errors",
         {.limit = 100 * GB, .demand = 300 * GB, .errors = 0.05, .others = 25 * GB, .doubles = 8},
         0.97},
        {"others are most of it",
         {.limit = 100 * GB, .demand = 100 * GB, .others = 45 * GB, .doubles = 8},
         0.97},
        {"told late and in MB",
         {.limit = 100 * GB,
          .demand = 300 * GB,
          .others = 25 * GB,
          .doubles = 8,
          .lag_s = 6 * HOUR,
          .granule = 1e6},
         0.97},
        {"restarted",
         {.limit = 100 * GB, .demand = 300 * GB, .others = 25 * GB, .doubles = 8, .restart = 15},
         0.97},
        {"five alike",
         {.limit = 100 * GB, .demand = 300 * GB, .others = 25 * GB, .doubles = 8, .senders = 5},
         0.97},
        {"no wish for so much",
         {.limit = 100 * GB, .demand = 20 * GB, .others = 25 * GB, .doubles = 8},
         0.5},
        {"away three days before they double",
         {.limit = 100 * GB,
          .demand = 300 * GB,
          .others = 25 * GB,
          .doubles = 8,
          .away_from = 3,
          .away_to = 6},
         0.9},
        {"away three days while they do",
         {.limit = 100 * GB,
          .demand = 300 * GB,
          .others = 25 * GB,
          .doubles = 8,
          .away_from = 7,
          .away_to = 10},
         0.9},
        {"away the last three days",
         {.limit = 100 * GB,
          .demand = 300 * GB,
          .others = 25 * GB,
          .doubles = 8,
          .away_from = 27,
          .away_to = 31},
         0.9},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o = run(&rows[i].m);
        print_message("%-36s %.2f %% of the limit, ours %.1f GB\n", rows[i].what, 100 * o.used,
                      o.mine / GB);
        assert_row(o.used >= rows[i].least && o.used < 1 && o.limited_s <= 0, "%s: %.4f, %g s",
                   rows[i].what, o.used, o.limited_s);
    }
}

static void what_others_send_is_growth_less_ours(void **state)
{
    (void)state;
    struct pace p;
    pace_init(&p, 1);
    assert_true(pace_is_stale(&p, START));
    for (int h = 0; h < 40; h++) {
        const struct pace_reading r = {START + h * HOUR, (10 + h * 3.0) * GB, h * GB};
        pace_read(&p, &r, 1000 * GB, START, START + MONTH);
    }
    assert_true(fabs(pace_others(&p) - 2 * GB / HOUR) < 1);
    double left = MONTH - 39 * HOUR;
    double want = (990 * GB - 127 * GB) / left - 2 * GB / HOUR;
    assert_true(fabs(pace_rate(&p, START + 39 * HOUR, 39 * GB) - fmax(1, want)) < 1);
    assert_false(pace_is_stale(&p, START + 40 * HOUR));
    assert_true(pace_is_stale(&p, START + 64 * HOUR));
    /* Another period begins without others of the last one. */
    const struct pace_reading anew = {START + MONTH, 0, 40 * GB};
    pace_read(&p, &anew, 1000 * GB, START + MONTH, START + 2 * MONTH);
    assert_true(pace_others(&p) <= 0);
    assert_true(fabs(pace_rate(&p, START + MONTH, 40 * GB) - 990 * GB / MONTH) < 1);
    /* One that nobody read is begun all the same. */
    assert_true(fabs(pace_rate(&p, START + 2 * MONTH, 900 * GB) - 990 * GB / MONTH) < 1);
}

static void nothing_is_left(void **state)
{
    (void)state;
    struct pace p;
    pace_init(&p, 0.5);
    const struct pace_reading r = {START + DAY, 100 * GB, 0};
    pace_read(&p, &r, 100 * GB, START, START + MONTH);
    assert_true(pace_rate(&p, START + DAY, 0) <= 1);
    pace_read(&p, &r, 0, START, START + MONTH); /* 0 is a limit */
    assert_true(pace_rate(&p, START + DAY, 0) <= 1);
}

static void months_begin_on_a_day(void **state)
{
    (void)state;
    static const struct {
        double now;
        uint32_t day;
        double start, end;
    } rows[] = {
        {START, 1, START, START + MONTH},
        {START - 1, 1, START - 31 * DAY, START},
        {START + 14 * DAY, 15, START + 14 * DAY, START + MONTH + 14 * DAY},
        {START + 14 * DAY - 1, 15, START - 17 * DAY, START + 14 * DAY},
        {START + 5 * DAY, 31, START - DAY, START + 29 * DAY}, /* 31 October to 30 November */
        {START + 100 * DAY, 31, START + 91 * DAY,
         START + 119 * DAY}, /* 31 January to 28 February */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double start, end;
        pace_month(rows[i].now, rows[i].day, &start, &end);
        assert_row(fabs(start - rows[i].start) < 1 && fabs(end - rows[i].end) < 1,
                   "%zu: %.0f %.0f, not %.0f %.0f", i, start, end, rows[i].start, rows[i].end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_month_lasts),
        cmocka_unit_test(what_others_send_is_growth_less_ours),
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(months_begin_on_a_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
