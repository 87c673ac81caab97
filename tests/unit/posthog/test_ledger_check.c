#include "unit/test.h"

#include <stdlib.h>

#include "posthog/ledger_check.h"
#include "util/span.h"

#define NOW_S UINT64_C(1793491230)
#define MINUTE (NOW_S / 60 - 10)
#define SETTLED (NOW_S - 60)

/* One minute of one service, and what is known. */
struct row {
    uint32_t sent, stored, twice;
    uint64_t lost, quota_sent, doubtful;
    bool wrong_project, in_quota, has_rule, is_late, is_before_start;
    uint64_t want[CAUSE_COUNT];
};

static struct ledger_check *make(const struct row *r)
{
    struct ledger_check *c = calloc(1, sizeof *c);
    ledger_check_init(c, NULL, NOW_S, 1);
    struct check_service *s = ledger_check_add(c, SPAN("api"));
    assert_non_null(s);
    s->lost = r->lost;
    s->quota_sent = r->quota_sent;
    c->doubtful = r->doubtful;
    c->wrong_project = r->wrong_project;
    c->has_canary = true;
    c->shown_until_s = r->is_late ? 0 : NOW_S;
    c->start_s = r->is_before_start ? NOW_S : 0;
    if (r->has_rule) {
        c->rule_count = 1;
        snprintf(c->rules[0].name, sizeof c->rules[0].name, "quiet");
    }
    if (r->in_quota) {
        c->quota_count = 1;
        c->quotas[0].from_s = (MINUTE - 1) * 60;
        c->quotas[0].to_s = NOW_S;
    }
    ledger_check_sent(c, s, MINUTE, r->sent, (uint32_t)(MINUTE * 60 + 30), SETTLED);
    ledger_check_stored(c, s, MINUTE, r->stored);
    ledger_check_twice(c, s, MINUTE, r->twice);
    return c;
}

static void each_difference_has_its_cause(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {.sent = 100, .stored = 100},
        {.sent = 100, .stored = 90, .want = {[CAUSE_UNEXPLAINED] = 10}},
        {.sent = 100, .stored = 90, .lost = 4, .want = {[CAUSE_LOST] = 4, [CAUSE_UNEXPLAINED] = 6}},
        {.sent = 100, .stored = 90, .lost = 50, .want = {[CAUSE_LOST] = 10}},
        {.sent = 100,
         .stored = 0,
         .wrong_project = true,
         .lost = 5,
         .has_rule = true,
         .want = {[CAUSE_PROJECT] = 100}},
        {.sent = 100,
         .stored = 60,
         .in_quota = true,
         .quota_sent = 30,
         .want = {[CAUSE_QUOTA] = 30, [CAUSE_UNEXPLAINED] = 10}},
        {.sent = 100, .stored = 60, .quota_sent = 30, .want = {[CAUSE_UNEXPLAINED] = 40}},
        {.sent = 100,
         .stored = 60,
         .in_quota = true,
         .quota_sent = 30,
         .has_rule = true,
         .want = {[CAUSE_QUOTA] = 30, [CAUSE_RULE] = 10}},
        {.sent = 100, .stored = 60, .is_late = true, .want = {[CAUSE_LATE] = 40}},
        {.sent = 100, .stored = 130, .want = {[CAUSE_OTHERS] = 30}},
        {.sent = 100, .stored = 130, .is_before_start = true, .want = {[CAUSE_EARLIER] = 30}},
        {.sent = 100,
         .stored = 130,
         .twice = 20,
         .doubtful = 20,
         .want = {[CAUSE_DUPLICATE] = 20, [CAUSE_OTHERS] = 10}},
        /* A resend that nobody here knows of. */
        {.sent = 100, .stored = 130, .twice = 40, .want = {[CAUSE_DUPLICATE] = 30}},
        /* An application that repeats itself is no resend, and hides nothing. */
        {.sent = 100, .stored = 100, .twice = 40},
        {.sent = 100, .stored = 100, .twice = 40, .has_rule = true},
        /* Rows that are there twice hide as many that a rule has dropped. */
        {.sent = 100,
         .stored = 100,
         .twice = 40,
         .doubtful = 40,
         .has_rule = true,
         .want = {[CAUSE_DUPLICATE] = 40, [CAUSE_RULE] = 40}},
        {.sent = 100, .stored = 100, .twice = 40, .doubtful = 40},
        {.sent = 100,
         .stored = 110,
         .twice = 40,
         .doubtful = 40,
         .in_quota = true,
         .quota_sent = 30,
         .want = {[CAUSE_DUPLICATE] = 40, [CAUSE_QUOTA] = 30}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ledger_check *c = make(&rows[i]);
        ledger_check_compare(c, SETTLED);
        assert_int_equal(c->sent, rows[i].sent);
        assert_int_equal(c->stored, rows[i].stored);
        int64_t sum = 0;
        for (int cause = 0; cause < CAUSE_COUNT; cause++) {
            assert_row(c->by_cause[cause] == rows[i].want[cause], "%zu: %s %llu, not %llu", i,
                       cause_word((enum cause)cause), (unsigned long long)c->by_cause[cause],
                       (unsigned long long)rows[i].want[cause]);
            bool is_more =
                cause == CAUSE_DUPLICATE || cause == CAUSE_EARLIER || cause == CAUSE_OTHERS;
            sum += is_more ? (int64_t)c->by_cause[cause] : -(int64_t)c->by_cause[cause];
        }
        assert_int_equal(sum, (int64_t)rows[i].stored - rows[i].sent); /* it adds up */
        ledger_check_done(c);
        free(c);
    }
}

static void what_is_open_is_not_compared(void **state)
{
    (void)state;
    struct ledger_check *c = calloc(1, sizeof *c);
    ledger_check_init(c, NULL, NOW_S, 1);
    struct check_service *s = ledger_check_add(c, SPAN("api"));
    ledger_check_sent(c, s, MINUTE, 5, (uint32_t)SETTLED + 1, SETTLED); /* not delivered by then */
    ledger_check_sent(c, s, NOW_S / 60 - 1, 5, (uint32_t)SETTLED - 9,
                      SETTLED);                              /* not over by then */
    ledger_check_sent(c, s, NOW_S / 60 - 61, 5, 0, SETTLED); /* outside */
    ledger_check_sent(c, s, NOW_S / 60, 5, 0, SETTLED);
    ledger_check_compare(c, SETTLED);
    assert_int_equal(c->sent, 0);
    assert_int_equal(c->minutes_compared, 0);
    ledger_check_done(c);
    free(c);
}

static void there_is_a_bound(void **state)
{
    (void)state;
    struct budget budget;
    struct ledger_check *c = calloc(1, sizeof *c);
    budget_init(&budget, 10 * 60 * sizeof(struct check_minute));
    ledger_check_init(c, &budget, NOW_S, 1);
    for (int i = 0; i < 20; i++)
        assert_true((ledger_check_add(c, SPAN("s")) != NULL) == (i < 10));
    assert_int_equal(c->left_out, 10);
    ledger_check_done(c);
    assert_int_equal(budget.used, 0);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_difference_has_its_cause),
        cmocka_unit_test(what_is_open_is_not_compared),
        cmocka_unit_test(there_is_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
