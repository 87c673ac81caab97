#include "unit/test.h"

#include <stdio.h>

#include "server/senders.h"

struct service {
    int number;
};

static struct budget budget;

static enum sender_verdict ask(struct senders *s, const struct service *of, const char *boot,
                               uint64_t sequence, struct sender **out)
{
    enum sender_verdict verdict;
    assert_int_equal(
        senders_begin(s, of, SPAN("host"), span_str(boot), sequence, 1000, &verdict, out), 0);
    return verdict;
}

static void take(struct senders *s, const struct service *of, const char *boot, uint64_t sequence)
{
    struct sender *sender;
    assert_int_equal(ask(s, of, boot, sequence, &sender), SENDER_NEW);
    senders_commit(s, sender);
}

static void each_number_once(void **state)
{
    (void)state;
    struct senders s;
    struct sender *one, *none = NULL;
    const struct service a = {1}, b = {2};
    budget_init(&budget, 1 << 20);
    senders_init(&s, &budget);
    take(&s, &a, "x", 1);
    take(&s, &a, "x", 2);
    assert_int_equal(ask(&s, &a, "x", 2, &none), SENDER_REPEATED);
    assert_int_equal(ask(&s, &a, "x", 1, &none), SENDER_REPEATED);
    take(&s, &b, "x", 1); /* of another service */
    take(&s, &a, "y", 1); /* of another start */
    assert_int_equal(s.repeats, 2);
    assert_int_equal(s.gaps, 0);
    take(&s, &a, "x", 5); /* 3 and 4 never came */
    assert_int_equal(s.gaps, 2);

    assert_int_equal(ask(&s, &a, "x", 6, &one), SENDER_NEW);
    assert_int_equal(ask(&s, &a, "x", 6, &none), SENDER_BUSY); /* not stored: no promise yet */
    assert_int_equal(ask(&s, &a, "x", 5, &none), SENDER_REPEATED);
    senders_cancel(&s, one);
    take(&s, &a, "x", 6);
    assert_null(none);
    senders_done(&s);
    assert_int_equal(budget.used, 0);
}

static void many_and_forgotten(void **state)
{
    (void)state;
    struct senders s;
    struct sender *one;
    const struct service a = {1};
    budget_init(&budget, 8 << 20);
    senders_init(&s, &budget);
    assert_int_equal(senders_restore(&s, &a, SPAN("host"), SPAN("old"), 41, -SENDERS_KEEP_MS), 0);
    assert_int_equal(ask(&s, &a, "old", 41, &one), SENDER_REPEATED);
    for (int i = 0; i < 3000; i++) {
        char boot[16];
        snprintf(boot, sizeof boot, "b%d", i);
        take(&s, &a, boot, 1);
    }
    assert_int_equal(s.count, 3001);
    assert_int_equal(ask(&s, &a, "b7", 2, &one), SENDER_NEW); /* being stored: stays */
    senders_forget(&s, 999 + SENDERS_KEEP_MS);
    assert_int_equal(s.count, 3001);
    senders_forget(&s, 1000 + SENDERS_KEEP_MS);
    assert_int_equal(s.count, 1);
    senders_commit(&s, one);
    senders_done(&s);
    assert_int_equal(budget.used, 0);

    budget_init(&budget, 100);
    senders_init(&s, &budget);
    enum sender_verdict verdict;
    assert_int_equal(senders_begin(&s, &a, SPAN("h"), SPAN("b"), 1, 0, &verdict, &one), ERR_FULL);
    senders_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number_once),
        cmocka_unit_test(many_and_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
