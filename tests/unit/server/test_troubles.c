/* From the table of a rollup to the sentences of alerts. */
#include "unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "server/flush.h"
#include "server/registry.h"
#include "server/troubles.h"
#include "util/diag.h"

#define NOW_MS 1800000030000 /* in the middle of a minute */
#define MINUTE_MS 60000

struct rig {
    struct store *store;
    struct registry registry;
    struct flush flush;
    struct budget budget;
    struct team *team, *other;
};

static char path[64];

static void add_team(struct rig *r, int64_t id, const char *name, struct team **out)
{
    const struct store_value v[] = {store_int(id), store_str(name)};
    assert_int_equal(store_run(r->store,
                               "INSERT INTO teams (id, name, created_ms) VALUES ($1, $2, 0)", v, 2,
                               NULL, NULL),
                     0);
    assert_int_equal(registry_add_team(&r->registry, id, span_str(name), false), 0);
    *out = registry_team(&r->registry, id);
}

static void rig_open(struct rig *r)
{
    struct error err = {{0}};
    *r = (struct rig){.flush = {.name = "place", .now_ms = NOW_MS, .max_patterns = 10}};
    budget_init(&r->budget, 8 << 20);
    registry_init(&r->registry, &r->budget);
    r->registry.max_services = 10;
    rollup_init(&r->flush.batch, &r->budget);
    unlink(path);
    assert_row(store_open_sqlite(&r->store, path, &err) == 0, "%s", err.text);
    assert_row(store_migrate(r->store, 1000, &err) == 0, "%s", err.text);
    add_team(r, 1, "one", &r->team);
    add_team(r, 2, "two", &r->other);
}

static void rig_close(struct rig *r)
{
    rollup_done(&r->flush.batch);
    registry_done(&r->registry);
    store_close(r->store);
    unlink(path);
    assert_int_equal(r->budget.used, 0);
}

static struct service *service(struct rig *r, struct team *team, const char *name)
{
    struct service *s = registry_find_service(&r->registry, team, span_str(name));
    if (s == NULL)
        assert_int_equal(registry_add_service(&r->registry, team, span_str(name), 0, &s), 0);
    return s;
}

static void add(struct rig *r, struct service *s, int64_t ago_ms, const char *kind,
                const char *reason, uint64_t records)
{
    assert_int_equal(rollup_reserve(&r->flush.batch, 1, strlen(reason)), 0);
    rollup_add_trouble(&r->flush.batch, s, NOW_MS - ago_ms, kind, span_str(reason), records);
}

static void flush(struct rig *r)
{
    assert_false(rollup_is_empty(&r->flush.batch));
    r->flush.attempt++;
    r->flush.place++;
    assert_int_equal(flush_write(&r->flush, r->store), 0);
    flush_settle(&r->flush);
    rollup_done(&r->flush.batch);
}

struct found {
    char text[1024];
    int stop_at, count;
};

static int on_trouble(void *ctx, const struct trouble *t)
{
    struct found *f = ctx;
    size_t n = strlen(f->text);
    snprintf(f->text + n, sizeof f->text - n, "%.*s %s %s: %.*s\n", (int)t->service.len,
             (const char *)t->service.base, t->kind, t->severity, (int)t->message.len,
             (const char *)t->message.base);
    return ++f->count == f->stop_at;
}

static void one_sentence_a_service_and_kind(void **state)
{
    (void)state;
    struct rig r;
    struct found f = {.stop_at = -1};
    rig_open(&r);
    struct service *a = service(&r, r.team, "a"), *b = service(&r, r.team, "b");
    add(&r, b, 0, TROUBLE_LOSSES, "expired", 3);
    add(&r, a, 0, TROUBLE_QUOTA, "", 0);
    add(&r, a, MINUTE_MS, TROUBLE_QUOTA, "", 0);
    add(&r, b, 2 * MINUTE_MS, TROUBLE_LOSSES, "too_large", 40);
    add(&r, b, 2 * MINUTE_MS, TROUBLE_LOSSES, "too_large", 5);
    add(&r, b, 60 * MINUTE_MS, TROUBLE_LOSSES, "shutdown", 1000); /* too old */
    add(&r, service(&r, r.other, "b"), 0, TROUBLE_LOSSES, "budget", 9);
    flush(&r);
    assert_true(a->id > 0);
    add(&r, b, 0, TROUBLE_LOSSES, "expired", 4); /* the same minute, with the next flush */
    flush(&r);
    assert_int_equal(troubles_each(r.store, 1, NOW_MS, TROUBLES_MINUTES, on_trouble, &f), 0);
    assert_string_equal(f.text,
                        "a quota high: PostHog's quota is reached and it takes no more logs: "
                        "2 reports say so in 5 minutes\n"
                        "b losses high: 52 records were lost in 5 minutes: too_large 45, "
                        "expired 7\n");
    f = (struct found){.stop_at = -1};
    assert_int_equal(troubles_each(r.store, 2, NOW_MS, TROUBLES_MINUTES, on_trouble, &f), 0);
    assert_string_equal(f.text, "b losses high: 9 records were lost in 5 minutes: budget 9\n");
    f = (struct found){.stop_at = 1};
    assert_int_equal(troubles_each(r.store, 1, NOW_MS, TROUBLES_MINUTES, on_trouble, &f), 1);
    assert_int_equal(f.count, 1);
    rig_close(&r);
}

static void more_reasons_than_fit(void **state)
{
    (void)state;
    struct rig r;
    struct found f = {.stop_at = -1};
    rig_open(&r);
    for (uint64_t i = 1; i <= 32; i++) {
        char reason[ROLLUP_REASON_BYTES + 1];
        snprintf(reason, sizeof reason, "a_reason_with_a_long_name_so_that_few_have_room_%02d",
                 (int)i);
        add(&r, service(&r, r.team, "a"), 0, TROUBLE_LOSSES, reason, i);
    }
    flush(&r);
    assert_int_equal(troubles_each(r.store, 1, NOW_MS, TROUBLES_MINUTES, on_trouble, &f), 0);
    assert_non_null(strstr(f.text, "528 records were lost"));
    assert_non_null(strstr(f.text, "room_32 32, ")); /* those with most */
    assert_null(strstr(f.text, "room_01"));
    rig_close(&r);
}

static void old_ones_are_removed(void **state)
{
    (void)state;
    struct rig r;
    int64_t left = -1;
    rig_open(&r);
    add(&r, service(&r, r.team, "a"), 0, TROUBLE_LOSSES, "expired", 1);
    add(&r, service(&r, r.team, "a"), 60 * MINUTE_MS, TROUBLE_LOSSES, "expired", 1);
    flush(&r);
    bool is_done = false;
    const struct flush_retention kept = {NOW_MS, 30 * MINUTE_MS, 3600000, 86400000};
    assert_int_equal(flush_forget(&kept, r.store, &is_done), 0);
    assert_true(is_done);
    assert_int_equal(store_number(r.store, "SELECT COUNT(*) FROM troubles", NULL, 0, &left), 0);
    assert_int_equal(left, 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sentence_a_service_and_kind),
        cmocka_unit_test(more_reasons_than_fit),
        cmocka_unit_test(old_ones_are_removed),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    snprintf(path, sizeof path, "/tmp/test_troubles_%d.db", (int)getpid());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
