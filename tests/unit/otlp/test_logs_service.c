#include "unit/test.h"

#include "otlp/logs.h"
#include "otlp/logs_service.h"

/* ResourceLogs{Resource{service.name: "a", x: "y"}, ScopeLogs{LogRecord{}}} and others, by hand. */
#define NAME(n) "\x0a\x13\x0a\x0cservice.name\x12\x03\x0a\x01" n
#define OTHER "\x0a\x08\x0a\x01x\x12\x03\x0a\x01y"
#define RECORDS "\x12\x02\x12\x00"

static void one_name_for_all(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span in, want;
    } rows[] = {
        {"empty", {0}, {0}},
        {"replaced", SPAN("\x0a\x25\x0a\x1f" NAME("a") OTHER RECORDS),
         SPAN("\x0a\x25\x0a\x1f" NAME("Z") OTHER RECORDS)},
        {"added", SPAN("\x0a\x10\x0a\x0a" OTHER RECORDS),
         SPAN("\x0a\x25\x0a\x1f" NAME("Z") OTHER RECORDS)},
        {"no resource", SPAN("\x0a\x04" RECORDS), SPAN("\x0a\x1b\x0a\x15" NAME("Z") RECORDS)},
        {"empty ResourceLogs", SPAN("\x0a\x00"), SPAN("\x0a\x17\x0a\x15" NAME("Z"))},
        {"twice there", SPAN("\x0a\x30\x0a\x2a" NAME("a") NAME("b") RECORDS),
         SPAN("\x0a\x1b\x0a\x15" NAME("Z") RECORDS)},
        {"resource in pieces", SPAN("\x0a\x27\x0a\x15" NAME("a") RECORDS "\x0a\x0a" OTHER),
         SPAN("\x0a\x25\x0a\x1f" NAME("Z") OTHER RECORDS)},
        {"unknown fields stay",
         SPAN("\x0a\x06" RECORDS "\x38\x01"
              "\x38\x01"),
         SPAN("\x0a\x1d\x0a\x15" NAME("Z") RECORDS "\x38\x01"
                                                   "\x38\x01")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        struct logs_count before, after;
        assert_row(logs_check(rows[i].in, &before) == 0, "%s: in", rows[i].name);
        assert_row(logs_set_service(rows[i].in, SPAN("Z"), &out) == 0, "%s", rows[i].name);
        assert_row(span_eq(buf_span(&out), rows[i].want), "%s: bytes", rows[i].name);
        assert_row(logs_check(buf_span(&out), &after) == 0, "%s: out", rows[i].name);
        assert_row(before.records == after.records && before.resources == after.resources,
                   "%s: counts", rows[i].name);
        buf_done(&out);
    }
}

static void without_memory(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 16);
    struct buf out = {.budget = &budget};
    assert_true(logs_set_service(SPAN("\x0a\x10\x0a\x0a" OTHER RECORDS), SPAN("Z"), &out) < 0);
    buf_done(&out);
    assert_int_equal(budget.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_name_for_all),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
