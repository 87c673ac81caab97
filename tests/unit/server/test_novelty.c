/* What is said of new patterns: from the rows of reports to sentences; and how often it is wrong.
 */
#include "unit/test.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/anomalies.h"
#include "server/flush.h"
#include "server/novelty.h"
#include "server/registry.h"
#include "util/diag.h"
#include "util/hash.h"
#include "util/rng.h"

#define MINUTE_MS 60000ll
#define HOUR_MS 3600000ll
#define DAY_MS (24 * HOUR_MS)
#define START_MS 1800000000000ll

/* Above 0, to 1. */
static double rng_unit(struct rng *rng)
{
    return ((double)(rng_next(rng) >> 11) + 1) / 9007199254740992.0;
}

static struct rig {
    char path[64];
    struct store *store;
    struct budget budget;
    struct registry registry;
    struct service *service;
    struct flush flush;
    int64_t now_ms;
    unsigned sequence;
    char found[4096]; /* "type signature message\n" each */
    unsigned count;
} rig;

static int open_all(void **state)
{
    (void)state;
    struct error err = {{0}};
    rig = (struct rig){.now_ms = START_MS, .flush = {.name = "place", .max_patterns = 100000}};
    snprintf(rig.path, sizeof rig.path, "/tmp/test_novelty_%d.db", (int)getpid());
    unlink(rig.path);
    budget_init(&rig.budget, 64 << 20);
    assert_row(store_open_sqlite(&rig.store, rig.path, &err) == 0, "%s", err.text);
    assert_row(store_migrate(rig.store, 1000, &err) == 0, "%s", err.text);
    assert_int_equal(store_run(rig.store,
                               "INSERT INTO teams (id, name, created_ms) VALUES (1, 'one', 0)",
                               NULL, 0, NULL, NULL),
                     0);
    registry_init(&rig.registry, &rig.budget);
    rig.registry.max_services = 10;
    assert_int_equal(registry_add_team(&rig.registry, 1, SPAN("one"), true), 0);
    assert_int_equal(registry_add_service(&rig.registry, registry_team(&rig.registry, 1), SPAN("s"),
                                          0, &rig.service),
                     0);
    rollup_init(&rig.flush.batch, &rig.budget);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    rollup_done(&rig.flush.batch);
    registry_done(&rig.registry);
    store_close(rig.store);
    unlink(rig.path);
    assert_int_equal(rig.budget.used, 0);
    return 0;
}

/* An instance reports one pattern, now. */
static void tell(const char *instance, const char *signature)
{
    struct rollup *r = &rig.flush.batch;
    const struct rollup_line line = {
        .signature = span_str(signature),
        .template_text = span_str(signature),
        .counts = {.received = 3, .first_ms = rig.now_ms, .last_ms = rig.now_ms}};
    assert_int_equal(rollup_reserve(r, 1, 64), 0);
    struct span kept = rollup_note_sender(r, rig.service, span_str(instance), SPAN("boot"),
                                          ++rig.sequence, rig.now_ms, (struct receipt_place){0});
    rollup_add(r, rig.service, rig.now_ms, &line, kept);
}

static void tell_version(const char *version, int64_t first_ms)
{
    assert_int_equal(rollup_reserve(&rig.flush.batch, 1, 64), 0);
    rollup_add_version(&rig.flush.batch, rig.service, span_str(version), first_ms);
}

static void flush(void)
{
    rig.flush.attempt++;
    rig.flush.place++;
    rig.flush.now_ms = rig.now_ms;
    int rc = flush_write(&rig.flush, rig.store);
    assert_row(rc == 0, "%d: %s", rc, rig.store->failure);
    rollup_done(&rig.flush.batch);
}

static int on_anomaly(void *ctx, const struct anomaly *a)
{
    char word[256];
    size_t n = strlen(rig.found);
    (void)ctx;
    anomaly_word(word, sizeof word, a);
    snprintf(rig.found + n, sizeof rig.found - n, "%s %.*s %s\n", a->type, (int)a->signature.len,
             (const char *)a->signature.base, word);
    rig.count++;
    return 0;
}

static const char *look(void)
{
    rig.found[0] = '\0';
    rig.count = 0;
    assert_int_equal(anomalies_each(rig.store, 1, 0, rig.now_ms, on_anomaly, NULL), 0);
    return rig.found;
}

/* All three have the old pattern; so many minutes. */
static void pass(unsigned minutes, const char *instance, const char *signature)
{
    for (unsigned i = 0; i < minutes; i++) {
        tell("host-1", "old");
        tell("host-2", "old");
        tell("host-3", "old");
        if (instance != NULL)
            tell(instance, signature);
        flush();
        rig.now_ms += MINUTE_MS;
    }
}

#define expect_found(text) assert_string_equal(look(), text)

static void on_one_instance(void **state)
{
    (void)state;
    pass(70, NULL, NULL);
    expect_found("");
    pass(9, "host-2", "odd");
    expect_found("new_pattern odd new: odd\n");
    pass(1, "host-2", "odd");
    expect_found("new_pattern odd new: odd\n"
                 "new_on_instance odd new on one of 3 instances, host-2, for 10 minutes: odd\n");
    pass(5, NULL, NULL); /* nothing more of it: it stays so */
    expect_found("new_pattern odd new: odd\n"
                 "new_on_instance odd new on one of 3 instances, host-2, for 15 minutes: odd\n");
    pass(1, "host-3", "odd"); /* another one has it */
    expect_found("new_pattern odd new: odd\n");
    pass(20, "host-2", "odd");
    expect_found("new_pattern odd new: odd\n");
}

/* An instance that starts with it, as a canary does; others that have gone, or came later, do not
 * count. */
static void a_canary_and_who_is_there(void **state)
{
    (void)state;
    pass(70, NULL, NULL);
    pass(12, "canary", "odd");
    expect_found("new_pattern odd new: odd\n"
                 "new_on_instance odd new on one of 4 instances, canary, for 12 minutes: odd\n");
    for (unsigned i = 0; i < 12; i++) { /* two are left, and two that came after it */
        tell("host-1", "old");
        tell("host-4", "old");
        tell("host-5", "old");
        tell("canary", "odd");
        flush();
        rig.now_ms += MINUTE_MS;
    }
    expect_found("new_pattern odd new: odd\n");
}

static void since_a_version(void **state)
{
    (void)state;
    tell_version("1.0", rig.now_ms);
    pass(5 * 60, NULL, NULL);
    tell_version("2.0", rig.now_ms);
    tell("host-1", "a");
    flush(); /* one by one, so that their rows are in that order */
    tell("host-1", "b");
    flush();
    pass(1, "host-1", "c");
    rig.now_ms += 9 * MINUTE_MS;
    pass(1, "host-2", "d");
    expect_found("new_since_version a new since version 2.0, 0 minutes after its first record: a\n"
                 "new_since_version b new since version 2.0, 0 minutes after its first record: b\n"
                 "new_since_version c new since version 2.0, 0 minutes after its first record: c\n"
                 "new_since_version d new since version 2.0, 10 minutes after its first record: "
                 "d\n");
    tell_version("2.0", rig.now_ms); /* said again, by another start: it is as old as it is */
    rig.now_ms += 52 * MINUTE_MS;
    pass(1, "host-2", "late");
    expect_found("new_since_version d new since version 2.0, 10 minutes after its first record: d\n"
                 "new_pattern late new: late\n");
}

static void the_first_version_and_a_noisy_service(void **state)
{
    (void)state;
    char name[16];
    pass(3 * 60, NULL, NULL);
    tell_version("1.0", rig.now_ms); /* sidecars that begin to say it */
    pass(1, "host-1", "a");
    expect_found("new_pattern a new: a\n");
    for (int i = 0; i < 20; i++) { /* six an hour, by themselves */
        snprintf(name, sizeof name, "noise-%d", i);
        pass(10, NULL, NULL);
        tell("host-1", name);
        flush();
    }
    rig.now_ms += MINUTE_MS;
    tell_version("2.0", rig.now_ms);
    rig.now_ms += 10 * MINUTE_MS;
    pass(1, "host-1", "b");
    assert_non_null(strstr(look(), "new_pattern b "));
    assert_null(strstr(look(), "new_since_version"));
}

/* Only so many are kept, the newest. */
static void versions_are_bounded(void **state)
{
    (void)state;
    int64_t n;
    char name[16];
    for (int i = 0; i < 3 * NOVELTY_VERSIONS; i++) {
        snprintf(name, sizeof name, "1.%d", i);
        tell_version(name, START_MS + i * MINUTE_MS);
        flush();
    }
    assert_int_equal(store_number(rig.store, "SELECT COUNT(*) FROM service_versions", NULL, 0, &n),
                     0);
    assert_int_equal(n, NOVELTY_VERSIONS);
    assert_int_equal(
        store_number(rig.store, "SELECT MIN(first_ms) FROM service_versions", NULL, 0, &n), 0);
    assert_int_equal(n, START_MS + 2 * NOVELTY_VERSIONS * MINUTE_MS);
}

/* ---- how often it is wrong ---------------------------------------------- */

/* A new pattern that any instance may have: how much it comes a minute, whether its records come in
 * bursts on one of them, and how uneven the instances are. Looked at each minute of its hour. */
static bool is_falsely_on_one(struct rng *rng, const struct novelty *n, double rate, double burst,
                              double skew)
{
    uint32_t minutes = 0, others, owner = UINT32_MAX;
    for (int minute = 0; minute < 60; minute++) {
        bool came = false;
        for (double left = rate / burst; left > 0; left -= 1) {
            if (left < 1 && rng_unit(rng) > left)
                break;
            uint32_t at = rng_unit(rng) < skew ? 0 : (uint32_t)rng_upto(rng, n->instance_count - 1);
            if (owner != UINT32_MAX && at != owner)
                return false; /* two have it: it is never said again */
            owner = at;
            came = true;
        }
        minutes += came;
        char name[16];
        snprintf(name, sizeof name, "host-%u", owner);
        if (came && novelty_is_on_one(n, span_str(name), START_MS, minutes, &others))
            return true;
    }
    return false;
}

static void false_alarms_of_instances(void **state)
{
    (void)state;
    static const uint32_t fleets[] = {3, 5, 10, 50};
    static const double rates[] = {0.05, 0.2, 0.5, 1, 5, 50}, bursts[] = {1, 20};
    struct rng rng;
    unsigned looked = 0, wrong = 0, skewed = 0, skewed_wrong = 0;
    static struct novelty n;
    rng.state = 7;
    for (size_t f = 0; f < ARRAY_LEN(fleets); f++) {
        n.instance_count = fleets[f];
        for (uint32_t i = 0; i < fleets[f]; i++) {
            char name[16];
            snprintf(name, sizeof name, "host-%u", i);
            n.instances[i].hash = hash64(span_str(name));
            n.instances[i].first_ms = START_MS - DAY_MS;
        }
        for (size_t k = 0; k < ARRAY_LEN(rates) * ARRAY_LEN(bursts); k++) {
            double rate = rates[k / 2], burst = bursts[k % 2];
            for (int i = 0; i < 2000; i++, looked++, skewed++) {
                wrong += is_falsely_on_one(&rng, &n, rate, burst, 0);
                skewed_wrong += is_falsely_on_one(&rng, &n, rate, burst, 0.5);
            }
        }
    }
    print_message("on one instance: %u of %u patterns of all; %u of %u with half on one\n", wrong,
                  looked, skewed_wrong, skewed);
    assert_true(looked == 96000 && wrong * 1000 < looked);
    assert_true(skewed_wrong * 20 < skewed);
}

/* Versions every so many hours that bring so many patterns within some minutes, among patterns that
 * come by themselves: of what is named, how much came by itself? And how much is found? */
static void false_alarms_of_versions(void **state)
{
    (void)state;
    static const double rates[] = {0, 0.02, 0.1, 0.5, 2}; /* an hour */
    static const unsigned brings[] = {0, 1, 4, 20};
    struct rng rng;
    unsigned named = 0, wrong = 0, brought = 0, found = 0;
    rng.state = 7;
    for (size_t k = 0; k < ARRAY_LEN(rates) * ARRAY_LEN(brings) * 500; k++) {
        double rate = rates[k % ARRAY_LEN(rates)];
        unsigned count = brings[k / ARRAY_LEN(rates) % ARRAY_LEN(brings)], before = 0, own = 0;
        struct novelty n = {.version = "2", .version_ms = START_MS};
        int64_t at[64];
        for (double hour = -log(rng_unit(&rng)) / rate - 24; rate > 0 && hour < 1;
             hour += -log(rng_unit(&rng)) / rate) {
            if (hour < 0)
                before++;
            else if (own < 40)
                at[own++] = START_MS + (int64_t)(hour * HOUR_MS);
        }
        unsigned all = own;
        for (unsigned i = 0; i < count; i++)
            at[all++] = START_MS + (int64_t)(rng_unit(&rng) * 15 * MINUTE_MS);
        n.before_per_hour = (before + 0.5) / 24;
        n.since = all;
        for (unsigned i = 0; i < all; i++) {
            bool is_named = novelty_is_of_version(&n, at[i]);
            named += is_named;
            wrong += is_named && i < own;
            found += is_named && i >= own;
        }
        brought += count;
    }
    print_message("since a version: %u of %u named came by themselves; %u of %u found\n", wrong,
                  named, found, brought);
    assert_true(named > 1000 && wrong * 20 < named);
    assert_true(found * 2 > brought);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(on_one_instance, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_canary_and_who_is_there, open_all, close_all),
        cmocka_unit_test_setup_teardown(since_a_version, open_all, close_all),
        cmocka_unit_test_setup_teardown(the_first_version_and_a_noisy_service, open_all, close_all),
        cmocka_unit_test_setup_teardown(versions_are_bounded, open_all, close_all),
        cmocka_unit_test(false_alarms_of_instances),
        cmocka_unit_test(false_alarms_of_versions),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
