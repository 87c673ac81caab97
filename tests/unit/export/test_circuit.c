#include "unit/test.h"

#include "export/answer.h"
#include "export/circuit.h"

static const struct circuit_failure ONE = {0}, PROBE = {.was_probe = true}, ALL = {.for_all = true};

static void three_in_a_row_open_it(void **state)
{
    (void)state;
    struct circuit c = {0};
    struct rng rng = {.state = 1};
    assert_string_equal(circuit_state_name(c.state), "closed");
    for (int i = 0; i < 20; i++) { /* never three in a row */
        assert_false(circuit_fail(&c, &ONE, 100, &rng));
        assert_false(circuit_fail(&c, &ONE, 110, &rng));
        assert_true(circuit_allows(&c));
        assert_false(circuit_pass(&c, 120));
    }
    assert_false(circuit_fail(&c, &ONE, 200, &rng));
    assert_false(circuit_fail(&c, &ONE, 300, &rng));
    assert_true(circuit_fail(&c, &ONE, 400, &rng));
    assert_false(circuit_allows(&c));
    assert_string_equal(circuit_state_name(c.state), "open");
    assert_int_equal(c.opened_ms, 200);
    assert_in_range(c.retry_at_ms, 400, 400 + BACKOFF_BASE_MS);
    assert_true(circuit_pass(&c, 500)); /* what was under way may end it */
    assert_true(circuit_allows(&c));
}

static void one_probe_decides(void **state)
{
    (void)state;
    struct circuit c = {0};
    struct rng rng = {.state = 2};
    uint64_t now = 1000, longest = 0;
    assert_true(circuit_fail(&c, &ALL, now, &rng));
    for (uint32_t i = 1; i <= 200; i++) {
        assert_int_equal(c.probes, i);
        assert_true(c.retry_at_ms - now <= BACKOFF_CAP_MS);
        longest = c.retry_at_ms - now > longest ? c.retry_at_ms - now : longest;
        now = c.retry_at_ms;
        circuit_half_open(&c, now);
        assert_string_equal(circuit_state_name(c.state), "half_open");
        assert_true(circuit_allows(&c));
        assert_true(circuit_sent(&c));
        assert_false(circuit_allows(&c));                /* only one */
        assert_false(circuit_fail(&c, &ONE, now, &rng)); /* a late answer of before: no news */
        assert_string_equal(circuit_state_name(c.state), "half_open");
        assert_false(circuit_fail(&c, &PROBE, now, &rng));
        assert_string_equal(circuit_state_name(c.state), "open");
    }
    assert_true(longest > BACKOFF_CAP_MS * 9 / 10);
    circuit_renew(&c, now);
    assert_true(circuit_sent(&c));
    assert_false(circuit_fail(&c, &PROBE, now, &rng));
    assert_true(c.retry_at_ms - now <= BACKOFF_BASE_MS); /* from the beginning again */
    circuit_half_open(&c, now);
    assert_true(circuit_sent(&c));
    assert_true(circuit_pass(&c, now));
    assert_false(circuit_sent(&c)); /* no probe any more */
    assert_int_equal(c.failures, 0);
}

static void nobody_before_retry_after(void **state)
{
    (void)state;
    struct circuit c = {0};
    struct rng rng = {.state = 3};
    const struct circuit_failure asked = {.for_all = true, .wait_ms = 60000, .is_asked = true};
    assert_true(circuit_fail(&c, &asked, 1000, &rng));
    assert_int_equal(c.retry_at_ms, 61000);
    assert_false(circuit_pass(&c, 2000)); /* another request of before succeeded: still no */
    assert_false(circuit_allows(&c));
    circuit_half_open(&c, 60999);
    assert_false(circuit_allows(&c));
    assert_false(circuit_fail(&c, &ONE, 3000, &rng));
    assert_int_equal(c.retry_at_ms, 61000);
    const struct circuit_failure later = {.for_all = true, .wait_ms = 60000, .is_asked = true};
    assert_false(circuit_fail(&c, &later, 5000, &rng)); /* and a third asks for more */
    circuit_half_open(&c, 61000);
    assert_false(circuit_allows(&c));
    circuit_half_open(&c, 65000);
    assert_true(circuit_sent(&c));
    assert_false(circuit_fail(&c, &later, 66000, &rng));
    assert_int_equal(c.retry_at_ms, 126000);
    circuit_half_open(&c, 126000);
    assert_true(circuit_sent(&c));
    assert_true(circuit_pass(&c, 126000));
    assert_true(circuit_allows(&c));
}

/* A random life: never two probes at once, never anything before its time. */
static void a_random_life(void **state)
{
    (void)state;
    struct rng rng = {.state = 4};
    struct circuit c = {0};
    uint64_t now = 0;
    int probes = 0;
    for (int i = 0; i < 200000; i++) {
        now += rng_upto(&rng, 500);
        if (c.state == CIRCUIT_OPEN && now >= c.retry_at_ms)
            circuit_half_open(&c, now);
        if (circuit_allows(&c)) {
            if (c.state != CIRCUIT_CLOSED)
                assert_true(now >= c.hold_until_ms);
            probes += circuit_sent(&c);
            assert_in_range(probes, 0, 1);
        }
        struct circuit_failure f = {
            .was_probe = probes > 0 && rng_upto(&rng, 1) == 0,
            .for_all = rng_upto(&rng, 3) == 0,
            .is_asked = rng_upto(&rng, 9) == 0,
        };
        f.wait_ms = f.is_asked ? 1 + rng_upto(&rng, 5000) : 0;
        if (rng_upto(&rng, 2) > 0) {
            (void)circuit_fail(&c, &f, now, &rng);
            probes -= f.was_probe;
        } else if (f.was_probe || probes == 0) {
            (void)circuit_pass(&c, now);
            probes = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_in_a_row_open_it),
        cmocka_unit_test(one_probe_decides),
        cmocka_unit_test(nobody_before_retry_after),
        cmocka_unit_test(a_random_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
