/* A look that takes too long ends, and the next goes on there. */
#include "unit/test.h"

#include <unistd.h>

#include "server/alerting.h"
#include "server/round.h"
#include "util/diag.h"

#define NOW_MS 1800000000000ll
#define MINUTE_MS 60000ll
#define SERVICES 10

static char path[64];

/* Each question takes some time. */
struct slow_clock {
    struct clock clock;
    uint64_t now_ms, step_ms;
};

static uint64_t slow_now(const struct clock *c)
{
    struct slow_clock *slow = (struct slow_clock *)(uintptr_t)c;
    return slow->now_ms += slow->step_ms;
}

static void run(struct store *s, const char *sql, const struct store_value *v, unsigned n)
{
    int rc = store_run(s, sql, v, n, NULL, NULL);
    assert_row(rc == 0, "%s: %s", sql, s->failure);
}

/* Services 1 to 10, the odd ones of team 1, the others of team 2; each with a new pattern. */
static struct store *open_store(void)
{
    struct store *s;
    struct error err = {{0}};
    unlink(path);
    assert_row(store_open_sqlite(&s, path, &err) == 0, "%s", err.text);
    assert_row(store_migrate(s, 1000, &err) == 0, "%s", err.text);
    run(s, "INSERT INTO teams (id, name, created_ms) VALUES (1, 'one', 0), (2, 'two', 0)", NULL, 0);
    for (int64_t id = 1; id <= SERVICES; id++) {
        const struct store_value v[] = {store_int(id), store_int(2 - id % 2), store_int(NOW_MS),
                                        store_int(NOW_MS - 2 * MINUTE_MS)};
        run(s,
            "INSERT INTO services (id, team_id, name, created_ms, seen_ms) VALUES ($1, $2, 's' || "
            "$1, 0, $3)",
            v, 3);
        run(s,
            "INSERT INTO patterns (id, service_id, signature, template, family, received, kept, "
            "bytes, kept_bytes, traces, debugs, infos, warns, errors, fatals, first_seen_ms, "
            "last_seen_ms) VALUES ($1, $1, 'p', 'p', '', 5, 5, 0, 0, 0, 0, 5, 0, 0, 0, $2, $2)",
            (const struct store_value[]){v[0], v[3]}, 2);
        run(s,
            "INSERT INTO counts (grain_s, pattern_id, start_s, received, kept, bytes, kept_bytes) "
            "VALUES (60, $1, $2 / 60000 * 60, 5, 5, 0, 0)",
            (const struct store_value[]){v[0], v[3]}, 2);
    }
    return s;
}

static int64_t number(struct store *s, const char *sql)
{
    int64_t n = -1;
    int rc = store_number(s, sql, NULL, 0, &n);
    assert_row(rc == 0, "%s: %s", sql, s->failure);
    return n;
}

/* Were services left? */
static bool look(struct store *s, struct slow_clock *clock, int64_t now_ms)
{
    struct alerting_look found;
    const struct alerting_opts opts = {.now_ms = now_ms,
                                       .interval_ms = MINUTE_MS,
                                       .cooldown_ms = 60 * MINUTE_MS,
                                       .clock = &clock->clock};
    int rc = alerting_look(&opts, s, &found);
    assert_row(rc == 0, "%d: %s", rc, s->failure);
    return found.is_cut;
}

static void a_round_in_one_look_or_in_many(void **state)
{
    (void)state;
    static const struct {
        uint64_t step_ms;
        int64_t services; /* in one look */
    } rows[] = {{0, 10}, {1, 10}, {ROUND_MS / 4, 4}, {ROUND_MS / 2, 2}, {ROUND_MS * 10, 1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slow_clock clock = {.clock = {.now_ms = slow_now}, .step_ms = rows[i].step_ms};
        struct store *s = open_store();
        int64_t found = 0, now_ms = NOW_MS;
        for (int looks = 0; found < SERVICES; looks++, now_ms += MINUTE_MS) {
            look(s, &clock, now_ms);
            int64_t before = found;
            found = number(s, "SELECT COUNT(*) FROM alerts");
            int64_t want = before + rows[i].services;
            assert_row(found == (want > SERVICES ? SERVICES : want), "%zu: look %d found %lld", i,
                       looks, (long long)(found - before));
        }
        for (int looks = 0; looks < SERVICES + 2; looks++, now_ms += MINUTE_MS)
            look(s, &clock, now_ms);
        assert_true(number(s, "SELECT MIN(seen) FROM alerts") >= 2); /* the next round began */
        store_close(s);
    }
    unlink(path);
}

/* Whichever server is first goes on after the pause, and not before; a round that is over is
 * followed by the next one after the interval. */
static void a_round_goes_on_after_a_pause(void **state)
{
    (void)state;
    struct slow_clock clock = {.clock = {.now_ms = slow_now}, .step_ms = ROUND_MS * 10};
    struct store *s = open_store();
    int64_t now_ms = NOW_MS;
    for (int64_t found = 1; found <= SERVICES; found++) {
        assert_int_equal(look(s, &clock, now_ms), true);
        assert_int_equal(number(s, "SELECT COUNT(*) FROM alerts"), found);
        assert_false(look(s, &clock, now_ms + ROUND_PAUSE_MS / 2));
        assert_int_equal(number(s, "SELECT COUNT(*) FROM alerts"), found);
        now_ms += ROUND_PAUSE_MS;
    }
    assert_false(look(s, &clock, now_ms)); /* none is left */
    int64_t seen = number(s, "SELECT SUM(seen) FROM alerts");
    assert_false(look(s, &clock, now_ms + ROUND_PAUSE_MS));
    assert_int_equal(number(s, "SELECT SUM(seen) FROM alerts"), seen);
    assert_true(look(s, &clock, now_ms + MINUTE_MS));
    assert_int_equal(number(s, "SELECT SUM(seen) FROM alerts"), seen + 1);
    store_close(s);
    unlink(path);
}

/* What goes on is not taken for over because it is looked at seldom; what is over, is. */
static void a_long_round_resolves_nothing_that_goes_on(void **state)
{
    (void)state;
    struct slow_clock clock = {.clock = {.now_ms = slow_now}, .step_ms = ROUND_MS};
    struct store *s = open_store();
    int64_t now_ms = NOW_MS;
    for (int looks = 0; looks < 55; looks++, now_ms += MINUTE_MS) {
        const struct store_value v = store_int(now_ms);
        run(s, "UPDATE services SET seen_ms = $1", &v, 1);
        look(s, &clock, now_ms);
    }
    /* Two looks at each service are ten minutes apart: twice that is more than a quarter of an
     * hour. */
    assert_int_equal(number(s, "SELECT COUNT(*) FROM alerts WHERE state = 'resolved'"), 0);
    assert_int_equal(number(s, "SELECT COUNT(*) FROM alerts"), SERVICES);
    assert_int_equal(number(s, "SELECT value FROM meta WHERE name = 'alerting.round.whole'"),
                     SERVICES * MINUTE_MS);
    for (int looks = 0; looks < 60; looks++, now_ms += MINUTE_MS)
        look(s, &clock, now_ms);
    assert_int_equal(number(s, "SELECT COUNT(*) FROM alerts WHERE state = 'resolved'"), SERVICES);
    store_close(s);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_in_one_look_or_in_many),
        cmocka_unit_test(a_round_goes_on_after_a_pause),
        cmocka_unit_test(a_long_round_resolves_nothing_that_goes_on),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    snprintf(path, sizeof path, "/tmp/test_alerting_%d.db", (int)getpid());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
