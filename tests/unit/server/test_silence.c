/* What is silent, of generated streams and of rows. */
#include "unit/test.h"

#include <math.h>
#include <unistd.h>

#include "server/silence.h"
#include "util/diag.h"

#define STREAM_MINUTES 4000

static double stream[STREAM_MINUTES];
static uint64_t seed;

static double uniform(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

/* Knuth's way; rates up to some hundreds. */
static double poisson(double rate)
{
    double limit = exp(-rate), product = uniform();
    int n = 0;
    for (; product > limit; n++)
        product *= uniform();
    return n;
}

/* As a look at the end of that minute has it. */
static bool judge_at(int minute, double *baseline)
{
    double window[SILENCE_MINUTES] = {0};
    for (int i = 0; i < SILENCE_MINUTES && minute - i >= 0; i++)
        window[i] = stream[minute - i];
    return silence_judge(window, baseline);
}

static void a_steady_stream_is_never_silent(void **state)
{
    (void)state;
    static const double rates[] = {1, 3, 6, 8, 12, 30, 100, 500};
    for (size_t r = 0; r < ARRAY_LEN(rates); r++) {
        for (uint64_t s = 0; s < 5; s++) {
            double baseline;
            seed = 7 + s * 1000 + r;
            for (int i = 0; i < STREAM_MINUTES; i++)
                stream[i] = poisson(rates[r]);
            for (int i = 0; i < STREAM_MINUTES; i++)
                assert_row(!judge_at(i, &baseline), "rate %g, stream %d, minute %d", rates[r],
                           (int)s, i);
        }
    }
}

/* At the end of which minute after the last records is it found, and until when? */
static void a_stop_is_found_within_three_intervals(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        double rate;
        int every, wobble; /* minutes between two reports; they may be late, not twice in turn */
        int found, over;   /* minutes after the stop; 0: not at all */
    } rows[] = {
        {"many", 100, 1, 0, 3, 60},
        {"few", 12, 1, 0, 3, 60},
        {"a report each minute that is late at times", 30, 1, 1, 3, 60},
        {"a report each two minutes", 30, 2, 0, 6, 60},
        {"a report each five minutes", 30, 5, 0, 15, 60},
        {"too few to say", 2, 1, 0, 0, 0},
    };
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        for (uint64_t s = 0; s < 50; s++) {
            double baseline = 0, waiting = 0;
            int stop = 400, found = 0, over = 0;
            seed = 99 + s * 100 + r;
            memset(stream, 0, sizeof stream);
            for (int i = 0; i < stop; i++) {
                waiting += poisson(rows[r].rate);
                bool is_late = rows[r].wobble > 0 && i > 0 && i < stop - 1 && stream[i - 1] > 0 &&
                               uniform() < 0.1;
                if ((i + 1) % rows[r].every == 0 && !is_late) {
                    stream[i] = waiting;
                    waiting = 0;
                }
                assert_row(!judge_at(i, &baseline), "%s: minute %d", rows[r].what, i);
            }
            for (int i = 1; i < 200; i++) {
                if (judge_at(stop - 1 + i, &baseline)) {
                    found = found > 0 ? found : i;
                    assert_row(over == 0 || over == i - 1, "%s: anew at %d", rows[r].what, i);
                    over = i;
                    assert_row(fabs(baseline - 5 * rows[r].rate) <
                                   fmax(2 * rows[r].rate, 6 * sqrt(5 * rows[r].rate)),
                               "%s: baseline %g", rows[r].what, baseline);
                }
            }
            assert_row(found == rows[r].found && over == rows[r].over, "%s: from %d to %d",
                       rows[r].what, found, over);
        }
    }
}

/* It does not come and go: after a stop, records, and the next stop. */
static void anew_only_after_a_steady_hour(void **state)
{
    (void)state;
    for (int back = 1; back <= 80; back++) {
        double baseline;
        int at = 0, first_stop, second_stop;
        memset(stream, 0, sizeof stream);
        for (; at < 120; at++)
            stream[at] = 20;
        first_stop = at;
        at += 10;
        for (int i = 0; i < back; i++)
            stream[at++] = 20;
        second_stop = at;
        assert_true(judge_at(first_stop + 9, &baseline));
        for (int i = first_stop + 10; i < second_stop; i++)
            assert_row(!judge_at(i, &baseline), "%d after it came back", i - first_stop - 10);
        bool is_found = judge_at(second_stop + 4, &baseline);
        assert_row(is_found == (back >= 57), "%d minutes between: %d", back, is_found);
    }
}

static void what_is_not_even_is_not_steady(void **state)
{
    (void)state;
    double baseline;
    memset(stream, 0, sizeof stream);
    for (int i = 0; i < 300; i++) /* a job each half hour */
        stream[i] = i % 30 < 5 ? 1000 : 8;
    assert_true(judge_at(304, &baseline)); /* its median is 40 */
    for (int i = 200; i < 205; i++)
        stream[i + 60] = 1; /* a lull in the hour before */
    assert_false(judge_at(304, &baseline));
}

/* ---- rows ---------------------------------------------------------------- */

#define NOW_S 1800000000

static char path[64];

static void run(struct store *s, const char *sql, const struct store_value *v, size_t count)
{
    assert_int_equal(store_run(s, sql, v, count, NULL, NULL), 0);
}

static void add_pattern(struct store *s, int64_t id, int64_t service, const char *name)
{
    const struct store_value v[] = {store_int(id), store_int(service), store_str(name)};
    run(s,
        "INSERT INTO patterns (id, service_id, signature, template, family, received, kept, bytes, "
        "kept_bytes, traces, debugs, infos, warns, errors, fatals, first_seen_ms, last_seen_ms) "
        "VALUES ($1, $2, $3, $3, '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
        v, 3);
}

/* Records in each minute from `from` back to `until` back. */
static void add_minutes(struct store *s, int64_t pattern, int from, int until)
{
    for (int back = from; back > until; back--) {
        const struct store_value v[] = {store_int(pattern), store_int(NOW_S - 60 * back)};
        run(s,
            "INSERT INTO counts (grain_s, pattern_id, start_s, received, kept, bytes, kept_bytes) "
            "VALUES (60, $1, $2, 20, 20, 0, 0)",
            v, 2);
        run(s,
            "INSERT INTO heard (team_id, start_s) SELECT s.team_id, $2 FROM services s "
            "JOIN patterns p ON p.service_id = s.id WHERE p.id = $1 ON CONFLICT DO NOTHING",
            v, 2);
    }
}

static struct store *open_store(void)
{
    struct store *s;
    struct error err = {{0}};
    unlink(path);
    assert_row(store_open_sqlite(&s, path, &err) == 0, "%s", err.text);
    assert_row(store_migrate(s, 1000, &err) == 0, "%s", err.text);
    run(s, "INSERT INTO teams (id, name, created_ms) VALUES (1, 'one', 0), (2, 'two', 0)", NULL, 0);
    run(s,
        "INSERT INTO services (id, team_id, name, created_ms, seen_ms) VALUES (1, 1, 'live', 0, "
        "0), "
        "(2, 1, 'gone', 0, 0), (3, 2, 'other', 0, 0)",
        NULL, 0);
    add_pattern(s, 1, 1, "steady");
    add_pattern(s, 2, 1, "stopped");
    add_pattern(s, 3, 2, "a");
    add_pattern(s, 4, 2, "b");
    add_pattern(s, 5, 3, "c");
    return s;
}

static int on_anomaly(void *ctx, const struct anomaly *a)
{
    char *text = ctx;
    size_t n = strlen(text);
    snprintf(text + n, 500 - n, "%.*s/%.*s %s %s %g; ", (int)a->service.len,
             (const char *)a->service.base, (int)a->signature.len, (const char *)a->signature.base,
             a->type, a->severity, a->baseline);
    return 0;
}

static void check_text(struct store *s, int64_t team, int64_t service, const char *want)
{
    char text[500] = "";
    assert_int_equal(silence_each(s, team, service, NOW_S * 1000ll, on_anomaly, text), 0);
    assert_string_equal(text, want);
}

static void a_pattern_or_all_of_a_service(void **state)
{
    (void)state;
    struct store *s = open_store();
    add_minutes(s, 1, 130, 0);
    add_minutes(s, 2, 130, 4);
    add_minutes(s, 3, 130, 5);
    add_minutes(s, 4, 130, 5);
    add_minutes(s, 5, 130, 5); /* nobody of its team reports */
    check_text(s, 1, 0, "live/stopped silence medium 100; gone/ silence high 200; ");
    check_text(s, 1, 1, "live/stopped silence medium 100; ");
    check_text(s, 2, 0, "");
    store_close(s);
}

/* For twenty minutes nobody was heard; then one was, and the others are about to be. */
static void nobody_is_silent_while_nothing_is_heard(void **state)
{
    (void)state;
    struct store *s = open_store();
    for (int64_t pattern = 1; pattern <= 4; pattern++)
        add_minutes(s, pattern, 130, 22);
    check_text(s, 1, 0, "");
    add_minutes(s, 1, 2, 0);
    check_text(s, 1, 0, "");
    add_minutes(s, 1, 3, 2); /* a third minute: they should have been heard by now */
    check_text(s, 1, 0, "live/stopped silence medium 100; gone/ silence high 200; ");
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_stream_is_never_silent),
        cmocka_unit_test(a_stop_is_found_within_three_intervals),
        cmocka_unit_test(anew_only_after_a_steady_hour),
        cmocka_unit_test(what_is_not_even_is_not_steady),
        cmocka_unit_test(a_pattern_or_all_of_a_service),
        cmocka_unit_test(nobody_is_silent_while_nothing_is_heard),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    snprintf(path, sizeof path, "/tmp/test_silence_%d.db", (int)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
