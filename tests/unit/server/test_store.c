/* The same tests for each home of the store. */
#include "unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "server/store.h"
#include "util/diag.h"

struct home {
    const char *name;
    int (*open)(struct store **out, struct error *err);
};

static char path[64];

static int open_sqlite(struct store **out, struct error *err)
{
    return store_open_sqlite(out, path, err);
}

/* A database of its own, where there is a server for tests. */
static int open_postgres(struct store **out, struct error *err)
{
    return store_open_postgres(out, getenv("LIPSERVICE_TEST_POSTGRES"), err);
}

static struct home homes[2] = {{"sqlite", open_sqlite}};
static size_t home_count = 1;

static void open_home(const struct home *h, struct store **s)
{
    struct error err = {{0}};
    unlink(path);
    assert_row(h->open(s, &err) == 0, "%s: %s", h->name, err.text);
    if ((*s)->ops->is_shared)
        assert_int_equal((*s)->ops->script(*s, SPAN("DROP SCHEMA public CASCADE; "
                                                    "CREATE SCHEMA public")),
                         0);
    assert_row(store_migrate(*s, 1000, &err) == 0, "%s: %s", h->name, err.text);
}

static int count_rows(void *ctx, const struct store_value *row)
{
    (void)row;
    ++*(int *)ctx;
    return 0;
}

static int insert_team(struct store *s, const char *name)
{
    const struct store_value v[] = {store_str(name), store_int(5)};
    return store_run(s, "INSERT INTO teams (name, created_ms) VALUES ($1, $2)", v, 2, NULL, NULL);
}

static int64_t teams(struct store *s)
{
    int64_t n = -1;
    assert_int_equal(store_number(s, "SELECT COUNT(*) FROM teams", NULL, 0, &n), 0);
    return n;
}

static void migrations_are_applied_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < home_count; i++) {
        struct store *s;
        struct error err = {{0}};
        int64_t n = 0;
        open_home(&homes[i], &s);
        assert_int_equal(insert_team(s, "a"), 0);
        assert_int_equal(store_migrate(s, 2000, &err), 0);
        assert_int_equal(teams(s), 1);
        assert_int_equal(store_number(s, "SELECT MAX(applied_ms) FROM migrations", NULL, 0, &n), 0);
        assert_int_equal(n, 1000);
        store_close(s);

        assert_int_equal(homes[i].open(&s, &err), 0); /* and what was written is there */
        assert_int_equal(teams(s), 1);
        const struct store_value later = store_int(9999);
        assert_int_equal(store_run(s, "INSERT INTO migrations (number, applied_ms) VALUES ($1, $1)",
                                   &later, 1, NULL, NULL),
                         0);
        assert_int_equal(store_migrate(s, 3000, &err), ERR_CONFIG);
        assert_non_null(strstr(err.text, "later version"));
        store_close(s);
    }
}

static void all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < home_count; i++) {
        struct store *s;
        open_home(&homes[i], &s);
        assert_int_equal(store_begin(s), 0);
        assert_int_equal(insert_team(s, "a"), 0);
        assert_int_equal(store_end(s, 0), 0);
        assert_int_equal(store_begin(s), 0);
        assert_int_equal(insert_team(s, "b"), 0);
        assert_int_equal(store_end(s, ERR_FULL), ERR_FULL);
        assert_int_equal(teams(s), 1);
        assert_int_equal(store_begin(s), 0);
        assert_int_equal(store_end(s, insert_team(s, "a")), ERR_EMPTY); /* the name is taken */
        assert_int_equal(teams(s), 1);
        assert_int_equal(store_begin(s), 0);
        assert_int_equal(store_end(s, insert_team(s, "c")), 0);
        assert_int_equal(teams(s), 2);
        store_close(s);
    }
}

static int take_row(void *ctx, const struct store_value *row)
{
    const struct store_value *want = ctx;
    assert_int_equal(row[0].number, want[0].number);
    assert_true(store_as_real(&row[1]) > 2.4 && store_as_real(&row[1]) < 2.6);
    assert_true(row[2].kind == STORE_TEXT && span_eq(row[2].text, want[2].text));
    assert_int_equal(row[3].kind, STORE_NULL);
    assert_true(row[4].kind == STORE_TEXT && row[4].text.len == 0);
    return 7;
}

static void values_come_back_as_they_went(void **state)
{
    (void)state;
    static const uint8_t odd[] = "quote ' \xf0\x9f\x98\x80 $1 \\";
    const struct store_value v[] = {store_int(INT64_MIN + 1),
                                    store_real(2.5),
                                    store_text(span_of(odd, sizeof odd - 1)),
                                    {.kind = STORE_NULL},
                                    store_str("")};
    for (size_t i = 0; i < home_count; i++) {
        struct store *s;
        int rows = 0;
        open_home(&homes[i], &s);
        for (int again = 0; again < 2; again++) /* prepared once */
            assert_int_equal(store_run(s,
                                       "SELECT CAST($1 AS BIGINT), CAST($2 AS DOUBLE PRECISION), "
                                       "CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT)",
                                       v, 5, take_row, (void *)(uintptr_t)v),
                             7);
        for (char name[2] = "a"; name[0] < 'k'; name[0]++)
            assert_int_equal(insert_team(s, name), 0);
        assert_int_equal(store_run(s, "SELECT id FROM teams", NULL, 0, count_rows, &rows), 0);
        assert_int_equal(rows, 10);
        assert_int_equal(store_run(s, "DELETE FROM teams WHERE name > 'd'", NULL, 0, NULL, NULL),
                         0);
        assert_int_equal(s->changed, 6);
        int64_t n = 42;
        assert_int_equal(store_number(s, "SELECT id FROM teams WHERE name = 'x'", NULL, 0, &n),
                         ERR_EMPTY);
        assert_int_equal(n, 42);
        assert_int_equal(store_run(s, "SELECT nothing FROM nowhere", NULL, 0, NULL, NULL), ERR_IO);
        store_close(s);
    }
}

static void the_audit_log_is_only_added_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < home_count; i++) {
        struct store *s;
        int64_t n = 0;
        open_home(&homes[i], &s);
        assert_int_equal(store_run(s,
                                   "INSERT INTO audit (at_ms, team_id, key_id, action, subject, "
                                   "detail) VALUES (1, 1, 1, 'a', 'b', 'c')",
                                   NULL, 0, NULL, NULL),
                         0);
        assert_true(store_run(s, "UPDATE audit SET action = 'x'", NULL, 0, NULL, NULL) < 0);
        assert_true(store_run(s, "DELETE FROM audit", NULL, 0, NULL, NULL) < 0);
        assert_int_equal(
            store_number(s, "SELECT COUNT(*) FROM audit WHERE action = 'a'", NULL, 0, &n), 0);
        assert_int_equal(n, 1);
        store_close(s);
    }
}

static void a_place_that_is_none(void **state)
{
    (void)state;
    struct store *s = NULL;
    struct error err = {{0}};
    assert_int_equal(store_open_sqlite(&s, "/nowhere/at/all.db", &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "/nowhere/at/all.db"));
    assert_null(s);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(migrations_are_applied_once),
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(values_come_back_as_they_went),
        cmocka_unit_test(the_audit_log_is_only_added_to),
        cmocka_unit_test(a_place_that_is_none),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    if (getenv("LIPSERVICE_TEST_POSTGRES") != NULL)
        homes[home_count++] = (struct home){"postgres", open_postgres};
    snprintf(path, sizeof path, "/tmp/test_store_%d.db", (int)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
