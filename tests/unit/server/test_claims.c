/* Two servers of one database, each with its journal: a report that both have is counted once. */
#include "unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "otlp/json_doc.h"
#include "server/flush.h"
#include "server/registry.h"
#include "server/report_sums.h"
#include "util/diag.h"

#define NOW_MS 1800000030000

struct replica {
    char directory[64];
    struct receipts *receipts;
    struct registry registry;
    struct flush flush;
    struct service *service;
    struct receipt receipt;
    struct receipt_place place; /* of the last report */
    bool is_stored;
};

static struct rig {
    char path[64];
    uv_loop_t loop;
    struct budget budget;
    struct store *store;
    struct replica a, b;
} rig;

static void on_turn(void *ctx)
{
    (void)ctx;
}

static void replica_open(struct replica *r, const char *name)
{
    struct error err = {{0}};
    *r = (struct replica){.flush = {.name = name, .now_ms = NOW_MS, .max_patterns = 10}};
    snprintf(r->directory, sizeof r->directory, "/tmp/test_claims_%s_XXXXXX", name);
    assert_non_null(mkdtemp(r->directory));
    const struct receipts_opts opts = {
        .directory = r->directory, .max_bytes = 100000, .turn = on_turn, .budget = &rig.budget};
    assert_int_equal(receipts_open(&r->receipts, &rig.loop, &opts, &err), 0);
    r->flush.receipts = r->receipts;
    registry_init(&r->registry, &rig.budget);
    r->registry.max_services = 10;
    assert_int_equal(registry_add_team(&r->registry, 1, SPAN("one"), true), 0);
    assert_int_equal(registry_add_service(&r->registry, registry_team(&r->registry, 1), SPAN("s"),
                                          0, &r->service),
                     0);
    rollup_init(&r->flush.batch, &rig.budget);
}

static void replica_close(struct replica *r)
{
    char command[128];
    receipts_close(r->receipts);
    rollup_done(&r->flush.batch);
    registry_done(&r->registry);
    snprintf(command, sizeof command, "rm -r %s", r->directory);
    assert_int_equal(system(command), 0);
}

static int open_all(void **state)
{
    (void)state;
    struct error err = {{0}};
    rig = (struct rig){.store = NULL};
    snprintf(rig.path, sizeof rig.path, "/tmp/test_claims_%d.db", (int)getpid());
    unlink(rig.path);
    budget_init(&rig.budget, 8 << 20);
    uv_loop_init(&rig.loop);
    assert_row(store_open_sqlite(&rig.store, rig.path, &err) == 0, "%s", err.text);
    assert_row(store_migrate(rig.store, 1000, &err) == 0, "%s", err.text);
    assert_int_equal(store_run(rig.store,
                               "INSERT INTO teams (id, name, created_ms) VALUES (1, 'one', 0)",
                               NULL, 0, NULL, NULL),
                     0);
    replica_open(&rig.a, "a");
    replica_open(&rig.b, "b");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    replica_close(&rig.a);
    replica_close(&rig.b);
    store_close(rig.store);
    unlink(rig.path);
    assert_int_equal(uv_loop_close(&rig.loop), 0);
    assert_int_equal(rig.budget.used, 0);
    return 0;
}

static void on_stored(struct receipt *receipt, int rc)
{
    struct replica *r = container_of(receipt, struct replica, receipt);
    assert_int_equal(rc, 0);
    r->is_stored = true;
    r->place = receipt->place;
}

static void add_up(struct replica *r, struct span body, struct receipt_place place)
{
    struct error err = {{0}};
    struct json_doc *doc;
    struct json_node root;
    struct report_body report;
    uint64_t records;
    assert_int_equal(json_doc_new(&doc, body, NULL, &root), 0);
    assert_row(report_body_read(&report, root, &err) == 0, "%s", err.text);
    assert_int_equal(report_sums_add(&r->flush.batch, r->service, &report, NOW_MS, place, &records),
                     0);
    json_doc_free(doc);
}

/* `count` records of each of two patterns, one of none, and losses. */
static void take(struct replica *r, const char *instance, unsigned sequence, unsigned count)
{
    r->is_stored = false;
    r->receipt = (struct receipt){.team = 1, .unix_ms = NOW_MS, .done = on_stored};
    list_init(&r->receipt.link);
    buf_printf(&r->receipt.body,
               "{\"service_name\":\"s\",\"instance\":\"%s\",\"boot\":\"b\",\"sequence\":%u,"
               "\"patterns\":[{\"signature\":\"p\",\"count\":%u,\"sampled_count\":1},"
               "{\"signature\":\"%s\",\"count\":%u,\"sampled_count\":0,"
               "\"severity_distribution\":{\"ERROR\":%u}}],\"total_logs\":%u,"
               "\"lost\":{\"expired\":%u},\"quota_limited\":true}",
               instance, sequence, count, instance, count, count, 2 * count + 1, count);
    assert_int_equal(receipts_add(r->receipts, &r->receipt), 0);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    assert_true(r->is_stored);
    add_up(r, buf_span(&r->receipt.body), r->place);
    buf_done(&r->receipt.body);
}

static int write_batch(struct replica *r)
{
    r->flush.attempt++;
    return flush_write(&r->flush, rig.store);
}

/* As a server does: a new file, the batch is written and empty. */
static void flush(struct replica *r)
{
    r->flush.place = receipts_turn(r->receipts);
    int rc = write_batch(r);
    assert_row(rc == 0, "%d: %s", rc, rig.store->failure);
    rollup_done(&r->flush.batch);
}

static int64_t number(const char *sql)
{
    int64_t n = -1;
    assert_int_equal(store_number(rig.store, sql, NULL, 0, &n), 0);
    return n;
}

#define expect(sql, n) assert_row(number(sql) == (n), "%s: %lld", sql, (long long)number(sql))

static void expect_counted(int64_t count, int64_t reports)
{
    expect("SELECT SUM(received) FROM patterns WHERE signature <> ''", 2 * count);
    expect("SELECT SUM(received) FROM patterns WHERE signature = ''", reports);
    expect("SELECT SUM(received) FROM counts WHERE grain_s = 60", 2 * count + reports);
    expect("SELECT SUM(received) FROM counts WHERE grain_s = 86400", 2 * count + reports);
    expect("SELECT SUM(errors) FROM patterns", count);
    expect("SELECT SUM(kept) FROM patterns WHERE signature = 'p'", reports);
    expect("SELECT SUM(records) FROM troubles WHERE kind = 'losses'", count);
    expect("SELECT SUM(reports) FROM troubles WHERE kind = 'quota'", reports);
}

static void the_same_report_at_both(void **state)
{
    (void)state;
    take(&rig.a, "x", 1, 10);
    take(&rig.b, "x", 1, 10);
    take(&rig.a, "y", 1, 100); /* of others, at each */
    take(&rig.b, "z", 1, 1000);
    flush(&rig.b);
    flush(&rig.a);
    expect_counted(1110, 3);
    assert_int_equal(rig.a.flush.elsewhere, 1);
    assert_int_equal(rig.b.flush.elsewhere, 0);

    take(&rig.b, "x", 2, 20); /* no answer: to the other, and on there */
    take(&rig.a, "x", 2, 20);
    take(&rig.a, "x", 3, 30);
    flush(&rig.b);
    flush(&rig.a);
    expect_counted(1160, 5);
    assert_int_equal(rig.a.flush.elsewhere, 2);

    take(&rig.b, "x", 4, 1); /* all of the batch was counted */
    take(&rig.a, "x", 4, 1);
    flush(&rig.a);
    flush(&rig.b);
    expect_counted(1161, 6);
    expect("SELECT sequence FROM senders WHERE instance = 'x'", 4);
    assert_int_equal(rig.a.flush.unread + rig.b.flush.unread, 0);
}

/* The first server is away with a report that it has answered; its sender has gone on elsewhere. */
static void a_journal_that_comes_late(void **state)
{
    (void)state;
    take(&rig.a, "x", 1, 10);
    flush(&rig.a);
    take(&rig.a, "x", 2, 20); /* answered */
    take(&rig.a, "x", 3, 30); /* not answered: sent to the other as well */
    for (unsigned i = 3; i < 30; i++) {
        take(&rig.b, "x", i, i == 3 ? 30 : 1);
        if (i % 7 == 0)
            flush(&rig.b);
    }
    flush(&rig.b);
    expect("SELECT SUM(received) FROM patterns WHERE signature = 'p'", 10 + 30 + 26);
    expect("SELECT COUNT(*) FROM senders WHERE missing = '2'", 1);
    flush(&rig.a);
    expect_counted(86, 29);
    assert_int_equal(rig.a.flush.elsewhere, 1);
    expect("SELECT COUNT(*) FROM senders WHERE missing = '' AND sequence = 29", 1);
}

/* A failure behind the claims, or a commit whose answer is lost: the batch is written again. */
static void a_batch_is_written_again(void **state)
{
    (void)state;
    take(&rig.b, "x", 1, 10);
    flush(&rig.b);
    take(&rig.a, "x", 1, 10);
    take(&rig.a, "x", 2, 20);
    rig.a.flush.place = receipts_turn(rig.a.receipts);
    assert_int_equal(store_run(rig.store,
                               "CREATE TRIGGER broken BEFORE UPDATE ON troubles "
                               "BEGIN SELECT RAISE(ABORT, 'no'); END",
                               NULL, 0, NULL, NULL),
                     0);
    for (int i = 0; i < 3; i++)
        assert_true(write_batch(&rig.a) < 0);
    expect_counted(10, 1);
    assert_int_equal(store_run(rig.store, "DROP TRIGGER broken", NULL, 0, NULL, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(write_batch(&rig.a), 0);
        expect_counted(30, 2);
    }
    rollup_done(&rig.a.flush.batch);
}

/* A damaged group of the journal may leave a report in it twice. */
static void twice_in_one_batch(void **state)
{
    (void)state;
    take(&rig.a, "x", 1, 10);
    take(&rig.a, "x", 1, 10);
    take(&rig.a, "x", 2, 20);
    flush(&rig.a);
    expect_counted(30, 2);
}

static void a_report_that_cannot_be_read_is_said(void **state)
{
    (void)state;
    take(&rig.b, "x", 1, 10);
    flush(&rig.b);
    take(&rig.a, "x", 1, 10);
    uint64_t next = receipts_turn(rig.a.receipts);
    receipts_forget(rig.a.receipts, next);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    flush(&rig.a);
    expect_counted(20, 2);
    assert_int_equal(rig.a.flush.unread, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_report_at_both, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_journal_that_comes_late, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_batch_is_written_again, open_all, close_all),
        cmocka_unit_test_setup_teardown(twice_in_one_batch, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_report_that_cannot_be_read_is_said, open_all, close_all),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
