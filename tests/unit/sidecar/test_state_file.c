/* The state file is there whole, as it was before, or not at all: whatever fails, whenever the
 * power goes. */
#include "unit/test.h"

#include <errno.h>

#include "sidecar/state_file.h"
#include "unit/export/sim_disk.h"

#define OLD_BYTES 3000
#define NEW_BYTES 9000

static uint8_t old_body[OLD_BYTES], new_body[NEW_BYTES];

static void fill(void)
{
    memset(old_body, 'o', sizeof old_body);
    memset(new_body, 'n', sizeof new_body);
}

static int write_body(struct sim *s, const uint8_t *body, size_t n)
{
    struct disk d = sim_disk(s);
    return state_file_write(&d, span_of(body, n));
}

/* 'o', 'n', or 0: there is none; anything else fails the test. */
static char read_body(struct sim *s)
{
    struct disk d = sim_disk(s);
    struct buf out = {0};
    const char *why;
    int rc = state_file_read(&d, &out, &why);
    char which = 0;
    if (rc == 0) {
        which = (char)out.base[0];
        assert_int_equal(out.len, which == 'o' ? OLD_BYTES : NEW_BYTES);
        assert_memory_equal(out.base, which == 'o' ? old_body : new_body, out.len);
    } else {
        assert_int_equal(rc, ERR_EMPTY);
    }
    buf_done(&out);
    return which;
}

static void a_body_comes_back(void **state)
{
    (void)state;
    struct sim s;
    fill();
    sim_init(&s, 1);
    assert_int_equal(read_body(&s), 0);
    assert_int_equal(write_body(&s, old_body, OLD_BYTES), 0);
    assert_int_equal(read_body(&s), 'o');
    assert_int_equal(write_body(&s, new_body, NEW_BYTES), 0);
    assert_int_equal(read_body(&s), 'n');
    assert_null(sim_find(&s, STATE_NEW));
    assert_int_equal(write_body(&s, new_body, (size_t)STATE_BYTES + 1), ERR_TOO_BIG);
    sim_done(&s);
}

/* Each call fails in turn, once or from there on: the old one stays, and nothing beside it. */
static void any_call_may_fail(void **state)
{
    (void)state;
    static const int codes[] = {-ENOSPC, -EIO, -EROFS, SIM_SHORT};
    fill();
    for (size_t c = 0; c < ARRAY_LEN(codes); c++)
        for (uint64_t at = 1; at < 12; at++) {
            struct sim s;
            sim_init(&s, at);
            assert_int_equal(write_body(&s, old_body, OLD_BYTES), 0);
            s.fail_at = s.calls + at;
            s.fail_code = codes[c];
            int rc = write_body(&s, new_body, NEW_BYTES);
            s.fail_at = 0;
            char found = read_body(&s);
            assert_true(rc == 0 ? found == 'n' : found == 'o' || found == 'n');
            assert_int_equal(write_body(&s, new_body, NEW_BYTES), 0);
            assert_int_equal(read_body(&s), 'n');
            assert_null(sim_find(&s, STATE_NEW));
            sim_done(&s);
        }
}

/* Power fails after any call: one of both is there, whole. */
static void the_power_may_go(void **state)
{
    (void)state;
    static const enum sim_crash how[] = {SIM_KILL, SIM_NOTHING, SIM_DRAWN, SIM_TORN};
    struct rng rng = {.state = 9};
    fill();
    unsigned old = 0, new = 0;
    for (int round = 0; round < 400; round++) {
        struct sim s, after;
        sim_init(&s, (uint64_t)round);
        assert_int_equal(write_body(&s, old_body, OLD_BYTES), 0);
        s.fail_at = s.calls + 1 + (uint64_t)round % 9;
        s.fail_for_ever = true; /* the process is gone */
        s.fail_code = -EIO;
        int rc = write_body(&s, new_body, NEW_BYTES);
        s.fail_at = 0;
        sim_crash(&after, &s, how[round % 4], &rng);
        char found = read_body(&after);
        assert_true(found == 'o' || found == 'n');
        assert_true(rc < 0 || found == 'n');
        old += found == 'o';
        new += found == 'n';
        sim_done(&after);
        sim_done(&s);
    }
    assert_true(old > 50 && new > 20);
}

static void what_is_wrong_is_put_aside(void **state)
{
    (void)state;
    fill();
    struct sim s;
    sim_init(&s, 1);
    assert_int_equal(write_body(&s, old_body, OLD_BYTES), 0);
    struct sim_file *f = sim_find(&s, STATE_NAME);
    uint8_t whole[OLD_BYTES + 24];
    assert_int_equal(f->now_size, sizeof whole);
    memcpy(whole, f->now, sizeof whole);
    for (size_t n = 0; n < sizeof whole; n += n < 30 ? 1 : 97)
        for (int flips = 0; flips < 2; flips++) {
            struct sim one;
            struct buf out = {0};
            const char *why = NULL;
            sim_init(&one, 1);
            struct disk d = sim_disk(&one);
            if (flips == 0) {
                sim_put(&one, STATE_NAME, whole, n); /* cut */
            } else {
                uint8_t spoiled[sizeof whole];
                memcpy(spoiled, whole, sizeof whole);
                spoiled[n] ^= 0x10;
                sim_put(&one, STATE_NAME, spoiled, sizeof spoiled);
            }
            assert_int_equal(state_file_read(&d, &out, &why), ERR_MALFORMED);
            assert_non_null(why);
            assert_null(sim_find(&one, STATE_NAME));
            assert_non_null(sim_find(&one, STATE_ASIDE));
            assert_int_equal(out.cap, 0);
            assert_int_equal(read_body(&one), 0);
            sim_done(&one);
        }
    sim_done(&s);
}

static void a_body_without_room_is_no_damage(void **state)
{
    (void)state;
    fill();
    struct sim s;
    struct budget budget;
    struct buf out = {.budget = &budget};
    const char *why;
    sim_init(&s, 1);
    budget_init(&budget, 1000);
    assert_int_equal(write_body(&s, old_body, OLD_BYTES), 0);
    struct disk d = sim_disk(&s);
    assert_int_equal(state_file_read(&d, &out, &why), ERR_FULL);
    assert_int_equal(budget.used, 0);
    assert_int_equal(read_body(&s), 'o');
    sim_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_comes_back),
        cmocka_unit_test(any_call_may_fail),
        cmocka_unit_test(the_power_may_go),
        cmocka_unit_test(what_is_wrong_is_put_aside),
        cmocka_unit_test(a_body_without_room_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
