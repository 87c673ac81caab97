#include "unit/test.h"

#include "pipeline/ledger.h"
#include "util/rng.h"

static struct ledger *ledger_of(uint32_t max_services, struct budget *budget)
{
    struct ledger *l = NULL;
    const struct ledger_opts opts = {.max_services = max_services, .seed = 7, .budget = budget};
    assert_int_equal(ledger_new(&l, &opts), 0);
    return l;
}

static void it_balances_after_every_step(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1 << 20);
    struct ledger *l = ledger_of(8, &budget);
    struct rng rng = {.state = 42};
    uint64_t received = 0, kept = 0, settled = 0;
    for (int i = 0; i < 20000; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "s%u", (unsigned)rng_upto(&rng, 20));
        uint32_t service = ledger_service(l, span_of(name, (size_t)n));
        assert_true(service < 8);
        uint64_t records = rng_upto(&rng, 50);
        if (rng_upto(&rng, 1) == 0) {
            enum verdict v = (enum verdict)rng_upto(&rng, VERDICT_COUNT - 1);
            ledger_decide(l, service, v, records, records * 10);
            received += records;
            kept += v == VERDICT_KEPT ? records : 0;
            if (v == VERDICT_KEPT)
                ledger_meter(l, service, records * 7); /* it goes on with less than it came with */
        } else {
            uint64_t queued = ledger_row(l, service)->queued;
            records = records < queued ? records : queued;
            ledger_settle(l, service, (enum fate)rng_upto(&rng, FATE_COUNT - 1), records);
            settled += records;
        }
        assert_int_equal(ledger_imbalance(l), 0);
    }
    assert_int_equal(ledger_services(l), 8);
    assert_int_equal(ledger_total(l)->received, received);
    assert_int_equal(ledger_total(l)->received_bytes, received * 10);
    assert_int_equal(ledger_total(l)->kept_bytes, kept * 7);
    assert_int_equal(ledger_total(l)->verdict[VERDICT_KEPT], kept);
    assert_int_equal(ledger_total(l)->queued, kept - settled);
    ledger_free(l);
    assert_int_equal(budget.used, 0);
}

static void past_the_bound_is_other(void **state)
{
    (void)state;
    struct ledger *l = ledger_of(3, NULL);
    assert_true(span_eq(ledger_service_name(l, LEDGER_OTHER), SPAN("other")));
    uint32_t a = ledger_service(l, SPAN("a"));
    uint32_t other = ledger_service(l, SPAN("other")); /* a client's own, and not ours */
    assert_int_equal(a, 1);
    assert_int_equal(other, 2);
    assert_int_equal(ledger_service(l, SPAN("c")), LEDGER_OTHER);
    assert_int_equal(ledger_service(l, SPAN("")), LEDGER_OTHER);
    assert_int_equal(ledger_service(l, SPAN("a")), a);
    assert_int_equal(ledger_services(l), 3);
    ledger_decide(l, ledger_service(l, SPAN("c")), VERDICT_REJECTED, 5, 50);
    assert_int_equal(ledger_row(l, LEDGER_OTHER)->verdict[VERDICT_REJECTED], 5);
    assert_int_equal(ledger_row(l, a)->received, 0);
    assert_int_equal(ledger_imbalance(l), 0);
    ledger_free(l);
}

static void no_memory_is_other_too(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1000);
    struct ledger *l = ledger_of(16, &budget);
    for (char c = 'a'; c < 'h'; c++)
        (void)ledger_service(l, span_of(&c, 1));
    assert_int_equal(ledger_service(l, SPAN("z")), LEDGER_OTHER);
    assert_true(ledger_services(l) < 8);
    ledger_free(l);
    assert_int_equal(budget.used, 0);
}

static void names_are_cut_between_characters(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t plain, kept; /* bytes before the euro signs, bytes that stay */
    } rows[] = {
        {"ends on a character", 252, 255},
        {"one byte over", 253, 253},
        {"two bytes over", 254, 254},
        {"plain text", 400, 255},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ledger *l = ledger_of(4, NULL);
        char name[420];
        memset(name, 'x', sizeof name);
        for (size_t at = rows[i].plain; at + 3 <= sizeof name; at += 3)
            memcpy(name + at, "\xe2\x82\xac", 3);
        uint32_t id = ledger_service(l, span_of(name, rows[i].plain + 15));
        struct span got = ledger_service_name(l, id);
        assert_row(got.len == rows[i].kept, "%s: %zu bytes", rows[i].name, got.len);
        assert_row(ledger_service(l, span_of(name, rows[i].plain + 12)) == id, "%s", rows[i].name);
        ledger_free(l);
    }
}

static void the_texts_are_there(void **state)
{
    (void)state;
    assert_string_equal(verdict_name(VERDICT_DROPPED_BY_RULE), "dropped_by_rule");
    assert_string_equal(fate_name(FATE_LOST_AUTH), "unauthorized");
    ledger_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_balances_after_every_step),
        cmocka_unit_test(past_the_bound_is_other),
        cmocka_unit_test(no_memory_is_other_too),
        cmocka_unit_test(names_are_cut_between_characters),
        cmocka_unit_test(the_texts_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
