#include "unit/test.h"

#include "server/rollup.h"

struct service {
    int number;
};

static struct rollup_line line_of(const char *signature, const char *text, uint64_t n)
{
    return (struct rollup_line){.signature = span_str(signature),
                                .template_text = span_str(text),
                                .counts = {.received = n,
                                           .kept = n / 2,
                                           .bytes = n * 10,
                                           .kept_bytes = n * 5,
                                           .level = {[LEVEL_INFO] = n},
                                           .first_ms = (int64_t)(1000 - n),
                                           .last_ms = (int64_t)(1000 + n)}};
}

static void add(struct rollup *r, struct service *s, int64_t now_ms, const char *signature,
                const char *text, uint64_t n)
{
    struct rollup_line line = line_of(signature, text, n);
    assert_int_equal(rollup_reserve(r, 1, line.signature.len + line.template_text.len), 0);
    rollup_add(r, s, now_ms, &line, SPAN(""));
}

struct found {
    uint64_t received, entries, minutes;
    const struct rollup_entry *last;
};

static int on_entry(void *ctx, const struct rollup_entry *e)
{
    struct found *f = ctx;
    f->received += e->line.counts.received;
    f->minutes |= (uint64_t)1 << e->minute;
    f->entries++;
    f->last = e;
    return 0;
}

static void alike_is_one_and_minutes_are_apart(void **state)
{
    (void)state;
    struct budget budget;
    struct rollup r;
    struct service a = {1}, b = {2};
    budget_init(&budget, 1 << 20);
    rollup_init(&r, &budget);
    assert_true(rollup_is_empty(&r));
    add(&r, &a, 60000, "x", "", 3);
    add(&r, &a, 119999, "x", "template", 4);
    struct found f = {0};
    assert_int_equal(rollup_each(&r, on_entry, &f), 0);
    assert_int_equal(f.entries, 1);
    const struct rollup_counts *c = &f.last->line.counts;
    assert_int_equal(c->received, 7);
    assert_int_equal(c->kept, 3);
    assert_int_equal(c->bytes, 70);
    assert_int_equal(c->kept_bytes, 35);
    assert_int_equal(c->level[LEVEL_INFO], 7);
    assert_int_equal(c->first_ms, 996);
    assert_int_equal(c->last_ms, 1004);
    assert_true(
        span_eq(f.last->line.template_text, SPAN("template"))); /* the first that says one */

    add(&r, &a, 120000, "x", "", 1);
    add(&r, &b, 60000, "x", "", 1);
    add(&r, &a, 60000, "", "", 1); /* without a signature is one of its own */
    f = (struct found){0};
    assert_int_equal(rollup_each(&r, on_entry, &f), 0);
    assert_int_equal(f.entries, 4);
    assert_int_equal(f.received, 10);
    assert_int_equal(f.minutes, 1 << 1 | 1 << 2);
    rollup_done(&r);
    assert_int_equal(budget.used, 0);
}

static void thousands_are_taken_as_a_value(void **state)
{
    (void)state;
    struct budget budget;
    struct rollup r, batch;
    struct service a = {1};
    budget_init(&budget, 64 << 20);
    rollup_init(&r, &budget);
    rollup_init(&batch, &budget);
    for (int i = 0; i < 5000; i++) {
        char signature[16];
        snprintf(signature, sizeof signature, "s%d", i);
        add(&r, &a, 0, signature, "text", 1);
    }
    rollup_note_sender(&r, &a, SPAN("host"), SPAN("boot"), 7, 1, (struct receipt_place){1, 2});
    rollup_take(&batch, &r);
    assert_true(rollup_is_empty(&r));
    struct found f = {0};
    assert_int_equal(rollup_each(&batch, on_entry, &f), 0);
    assert_int_equal(f.entries, 5000);
    assert_int_equal(batch.senders->sequence, 7);
    assert_true(span_eq(batch.senders->instance, SPAN("host")));
    add(&r, &a, 0, "s1", "", 1); /* goes on beside it */
    f = (struct found){0};
    assert_int_equal(rollup_each(&r, on_entry, &f), 0);
    assert_int_equal(f.received, 1);
    rollup_done(&r);
    rollup_done(&batch);
    assert_int_equal(budget.used, 0);
}

/* A report is reserved for as if all of its patterns were new; hundreds that bring none share that.
 */
static void what_is_reserved_and_not_used_is_used_later(void **state)
{
    (void)state;
    struct budget budget;
    struct rollup r;
    struct service a = {1};
    budget_init(&budget, 8 << 20);
    rollup_init(&r, &budget);
    for (int report = 0; report < 500; report++) {
        assert_int_equal(rollup_reserve(&r, 500, 50000), 0);
        for (int i = 0; i < 10; i++) {
            char signature[16];
            snprintf(signature, sizeof signature, "s%d", i);
            struct rollup_line line = line_of(signature, "text", 1);
            rollup_add(&r, &a, 0, &line, SPAN(""));
        }
        rollup_note_sender(&r, &a, SPAN("host"), SPAN("boot"), (uint64_t)report + 1, 1,
                           (struct receipt_place){0});
    }
    assert_true(budget.peak < 1 << 20);
    rollup_done(&r);
    assert_int_equal(budget.used, 0);
}

static void without_room_nothing_is_added(void **state)
{
    (void)state;
    struct budget budget;
    struct rollup r;
    struct service a = {1};
    budget_init(&budget, 128 << 10);
    rollup_init(&r, &budget);
    unsigned added = 0;
    while (rollup_reserve(&r, 1, 100) == 0) {
        char signature[16];
        snprintf(signature, sizeof signature, "s%u", added++);
        struct rollup_line line = line_of(signature, "text", 1);
        rollup_add(&r, &a, 0, &line, SPAN(""));
    }
    assert_true(added > 5);
    struct found f = {0};
    assert_int_equal(rollup_each(&r, on_entry, &f), 0);
    assert_int_equal(f.entries, added);
    rollup_done(&r);
    assert_int_equal(budget.used, 0);
}

static void what_was_added_is_taken_out(void **state)
{
    (void)state;
    struct budget budget;
    struct rollup r;
    struct service a = {1};
    struct found f = {0};
    budget_init(&budget, 1 << 20);
    rollup_init(&r, &budget);
    add(&r, &a, 60000, "x", "text", 3);
    add(&r, &a, 60000, "x", "", 4);
    struct rollup_line line = line_of("x", "text", 3);
    rollup_take_out(&r, &a, 60000, &line);
    assert_int_equal(rollup_each(&r, on_entry, &f), 0);
    const struct rollup_counts *c = &f.last->line.counts;
    assert_int_equal(f.last->lines, 1);
    assert_int_equal(c->received, 4);
    assert_int_equal(c->kept, 2);
    assert_int_equal(c->bytes, 40);
    assert_int_equal(c->kept_bytes, 20);
    assert_int_equal(c->level[LEVEL_INFO], 4);
    line = line_of("x", "", 4);
    rollup_take_out(&r, &a, 60000, &line);
    assert_int_equal(f.last->lines, 0);
    assert_int_equal(c->received, 0);

    for (uint64_t n = 1; n <= 3; n++) {
        assert_int_equal(rollup_reserve(&r, 1, 1), 0);
        rollup_add_trouble(&r, &a, 60000, "losses", SPAN("x"), n);
    }
    rollup_take_out_trouble(&r, &a, 60000, "losses", SPAN("x"), 2);
    assert_int_equal(r.troubles->records, 3);
    assert_int_equal(r.troubles->next->records, 1);
    assert_null(r.troubles->next->next);
    rollup_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alike_is_one_and_minutes_are_apart),
        cmocka_unit_test(thousands_are_taken_as_a_value),
        cmocka_unit_test(what_is_reserved_and_not_used_is_used_later),
        cmocka_unit_test(without_room_nothing_is_added),
        cmocka_unit_test(what_was_added_is_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
