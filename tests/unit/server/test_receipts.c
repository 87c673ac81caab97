#include "unit/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/receipts.h"
#include "util/diag.h"

struct rig {
    char directory[64];
    uv_loop_t loop;
    struct budget budget;
    struct receipts *receipts;
    unsigned turns, stored, failed;
    uint64_t number;
    struct receipt many[64];
    char seen[4096]; /* by replay: "team:body " each, "| " behind a file */
};

static void on_turn(void *ctx)
{
    struct rig *r = ctx;
    r->turns++;
    r->number = receipts_turn(r->receipts);
}

static void open_again(struct rig *r)
{
    struct error err = {{0}};
    const struct receipts_opts opts = {.directory = r->directory,
                                       .max_bytes = 4000,
                                       .turn = on_turn,
                                       .ctx = r,
                                       .budget = &r->budget};
    assert_int_equal(receipts_open(&r->receipts, &r->loop, &opts, &err), 0);
}

static void rig_open(struct rig *r)
{
    *r = (struct rig){.turns = 0};
    snprintf(r->directory, sizeof r->directory, "/tmp/test_receipts_XXXXXX");
    assert_non_null(mkdtemp(r->directory));
    uv_loop_init(&r->loop);
    budget_init(&r->budget, 1 << 20);
    open_again(r);
}

static void spin(struct rig *r)
{
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_true(receipts_is_idle(r->receipts));
}

static void rig_close(struct rig *r)
{
    char command[128];
    spin(r);
    receipts_close(r->receipts);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    for (size_t i = 0; i < ARRAY_LEN(r->many); i++)
        buf_done(&r->many[i].body);
    assert_int_equal(r->budget.used, 0);
    snprintf(command, sizeof command, "rm -r %s", r->directory);
    assert_int_equal(system(command), 0);
}

/* What stands at a place is that. */
static void expect_at(struct rig *r, struct receipt_place place, struct span body)
{
    struct buf again = {0};
    assert_int_equal(receipts_read(r->receipts, place, &again), 0);
    assert_true(span_eq(buf_span(&again), body));
    place.at++;
    assert_true(receipts_read(r->receipts, place, &again) < 0);
    buf_done(&again);
}

static struct rig *current;

static void on_done(struct receipt *receipt, int rc)
{
    current->stored += rc == 0;
    current->failed += rc < 0;
    if (rc == 0)
        expect_at(current, receipt->place, buf_span(&receipt->body));
    buf_done(&receipt->body);
}

static int add(struct rig *r, unsigned i, const char *text)
{
    struct receipt *one = &r->many[i];
    current = r;
    *one = (struct receipt){.team = i, .unix_ms = 1000 + i, .done = on_done};
    list_init(&one->link);
    buf_append_str(&one->body, text);
    int rc = receipts_add(r->receipts, one);
    if (rc < 0)
        buf_done(&one->body);
    return rc;
}

static int on_body(void *ctx, uint64_t team, uint64_t unix_ms, struct span body,
                   struct receipt_place place)
{
    struct rig *r = ctx;
    expect_at(r, place, body);
    size_t n = strlen(r->seen);
    assert_int_equal(unix_ms, 1000 + team);
    snprintf(r->seen + n, sizeof r->seen - n, "%u:%.*s ", (unsigned)team, (int)body.len,
             (const char *)body.base);
    return 0;
}

static int on_file(void *ctx, uint64_t next)
{
    struct rig *r = ctx;
    r->number = next;
    strcat(r->seen, "| ");
    return 0;
}

static const char *replay(struct rig *r, uint64_t from)
{
    receipts_close(r->receipts);
    open_again(r);
    r->seen[0] = '\0';
    assert_int_equal(receipts_replay(r->receipts, from, on_body, on_file, r), 0);
    return r->seen;
}

static void those_that_come_together_are_synced_together(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(add(&r, i, "abc"), 0);
    assert_int_equal(r.stored, 0); /* not before it is on disk */
    spin(&r);
    assert_int_equal(r.stored, 10);
    assert_int_equal(receipts_stats(r.receipts).written, 10);
    assert_int_equal(receipts_stats(r.receipts).syncs, 2); /* the first, and the rest */
    assert_string_equal(replay(&r, 0),
                        "0:abc 1:abc 2:abc 3:abc 4:abc 5:abc 6:abc 7:abc 8:abc 9:abc | ");
    rig_close(&r);
}

static void a_turn_parts_files_and_they_are_forgotten(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    assert_int_equal(add(&r, 1, "one"), 0);
    receipts_ask_turn(r.receipts);
    assert_int_equal(r.turns, 0); /* it is being written */
    spin(&r);
    assert_int_equal(r.turns, 1);
    uint64_t second = r.number;
    assert_int_equal(add(&r, 2, "two"), 0);
    spin(&r);
    assert_string_equal(replay(&r, 0), "1:one | 2:two | ");
    assert_string_equal(replay(&r, second), "2:two | "); /* the database has the first */
    receipts_forget(r.receipts, second);
    spin(&r);
    assert_string_equal(replay(&r, 0), "2:two | ");
    receipts_forget(r.receipts, r.number);
    spin(&r);
    assert_int_equal(receipts_stats(r.receipts).bytes, 0);
    assert_string_equal(replay(&r, 0), "");

    /* All files are gone, and the database remembers them: numbers go on from there. */
    assert_string_equal(replay(&r, 77), "");
    assert_int_equal(add(&r, 3, "three"), 0);
    spin(&r);
    assert_string_equal(replay(&r, 77), "3:three | ");
    rig_close(&r);
}

/* Every length that a crash can leave of the last write. */
static void a_torn_end_is_left_and_the_next_file_is_read(void **state)
{
    (void)state;
    struct rig r;
    char name[128];
    rig_open(&r);
    assert_int_equal(add(&r, 1, "whole"), 0);
    spin(&r);
    uint64_t whole = receipts_stats(r.receipts).bytes;
    assert_int_equal(add(&r, 2, "torn, perhaps"), 0);
    spin(&r);
    uint64_t all = receipts_stats(r.receipts).bytes;
    snprintf(name, sizeof name, "%s/receipts-%016x", r.directory, 1);
    for (uint64_t n = all - 1; n >= whole; n--) {
        assert_int_equal(truncate(name, (off_t)n), 0);
        assert_row(strcmp(replay(&r, 0), "1:whole | ") == 0, "cut to %u: %s", (unsigned)n, r.seen);
    }
    assert_int_equal(add(&r, 3, "later"), 0); /* never behind a torn end */
    spin(&r);
    assert_string_equal(replay(&r, 0), "1:whole | 3:later | ");
    int fd = open(name, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, 26), 1); /* a byte of the body */
    close(fd);
    assert_string_equal(replay(&r, 0), "| 3:later | ");
    rig_close(&r);
}

static void full_and_broken(void **state)
{
    (void)state;
    struct rig r;
    char long_text[3000];
    rig_open(&r);
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    assert_int_equal(add(&r, 1, long_text), 0);
    spin(&r);
    assert_int_equal(add(&r, 2, long_text), ERR_FULL);
    receipts_ask_turn(r.receipts);
    receipts_forget(r.receipts, r.number);
    spin(&r);
    assert_int_equal(add(&r, 3, long_text), 0); /* there is room again */
    spin(&r);
    assert_int_equal(r.stored, 2);

    receipts_ask_turn(r.receipts);
    receipts_forget(r.receipts, r.number);
    spin(&r);
    receipts_close(r.receipts);
    open_again(&r);
    r.budget.limit = 0;
    assert_int_equal(add(&r, 4, "no memory to write it"), 0);
    spin(&r);
    assert_int_equal(r.failed, 1);
    r.budget.limit = 1 << 20;
    assert_int_equal(add(&r, 5, "ok"), 0);
    spin(&r);
    assert_int_equal(r.stored, 3);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_come_together_are_synced_together),
        cmocka_unit_test(a_turn_parts_files_and_they_are_forgotten),
        cmocka_unit_test(a_torn_end_is_left_and_the_next_file_is_read),
        cmocka_unit_test(full_and_broken),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
