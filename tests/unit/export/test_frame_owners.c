/* Against a list that is kept the plain way. */
#include "unit/test.h"

#include "export/frame_owners.h"
#include "util/rng.h"

#define FRAMES 3000
#define PARTS 4

struct told {
    uint64_t records[8];
};

static void on_part(void *ctx, uint32_t service, uint32_t records)
{
    ((struct told *)ctx)->records[service] += records;
}

static void what_is_told_is_what_was_added(void **state)
{
    static struct {
        uint64_t id;
        struct batch_part parts[PARTS];
        size_t count;
    } frames[FRAMES];
    struct budget budget;
    struct frame_owners o;
    struct rng rng;
    size_t added = 0, passed = 0, found = 0;
    uint64_t id = UINT64_C(1) << 40;
    (void)state;
    rng_init(&rng);
    budget_init(&budget, 1 << 20);
    frame_owners_init(&o, 1 << 19, &budget);
    while (passed < FRAMES) {
        if (added < FRAMES && rng_upto(&rng, 3) > 0) {
            id += 1 + rng_upto(&rng, 300);
            frames[added].id = id;
            frames[added].count = rng_upto(&rng, PARTS);
            for (size_t i = 0; i < frames[added].count; i++)
                frames[added].parts[i] = (struct batch_part){(uint32_t)rng_upto(&rng, 7),
                                                             (uint32_t)rng_upto(&rng, 70000)};
            assert_int_equal(frame_owners_reserve(&o, frames[added].count), 0);
            frame_owners_add(&o, id, frames[added].parts, frames[added].count);
            added++;
            continue;
        }
        uint64_t until = added < FRAMES ? id - rng_upto(&rng, 2000) : UINT64_MAX;
        struct told want = {{0}}, got = {{0}};
        for (; passed < added && frames[passed].id < until; passed++)
            for (size_t i = 0; i < frames[passed].count; i++)
                on_part(&want, frames[passed].parts[i].service, frames[passed].parts[i].records);
        frame_owners_until(&o, until, on_part, &got);
        assert_memory_equal(&want, &got, sizeof want);
        for (; found < passed && rng_upto(&rng, 40) > 0; found++) { /* of some it is asked */
            struct frame_owners_part part;
            if (rng_upto(&rng, 3) == 0)
                continue;
            assert_true(frame_owners_find(&o, frames[found].id, &part));
            for (size_t i = 0; i < frames[found].count; i++) {
                assert_true(frame_owners_next(&o, &part));
                assert_int_equal(part.service, frames[found].parts[i].service);
                assert_int_equal(part.records, frames[found].parts[i].records);
            }
            assert_false(frame_owners_next(&o, &part));
            if (rng_upto(&rng, 1) == 0)
                frame_owners_forget(&o, frames[found].id + 1);
        }
    }
    frame_owners_done(&o);
    assert_int_equal(budget.used, 0);
}

static void it_is_full_before_it_fails(void **state)
{
    struct budget budget;
    struct frame_owners o;
    const struct batch_part part = {3, 10};
    uint64_t id = 0;
    (void)state;
    budget_init(&budget, 1 << 20);
    frame_owners_init(&o, 20000, &budget);
    while (!frame_owners_is_full(&o)) {
        assert_int_equal(frame_owners_reserve(&o, 1), 0);
        frame_owners_add(&o, ++id, &part, 1);
    }
    assert_int_equal(id, 5000);                       /* four bytes each */
    assert_int_equal(frame_owners_reserve(&o, 1), 0); /* for those that are on their way */
    frame_owners_until(&o, 100, NULL, NULL);
    assert_true(frame_owners_is_full(&o)); /* they may be asked for */
    frame_owners_forget(&o, 100);
    assert_false(frame_owners_is_full(&o));
    budget.limit = budget.used;
    while (frame_owners_reserve(&o, 1) == 0)
        frame_owners_add(&o, ++id, &part, 1);
    struct told got = {{0}};
    frame_owners_until(&o, UINT64_MAX, on_part, &got);
    assert_int_equal(got.records[3], (id - 99) * 10); /* nothing of it is lost */
    frame_owners_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_told_is_what_was_added),
        cmocka_unit_test(it_is_full_before_it_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
