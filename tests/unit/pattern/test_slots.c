#include "unit/test.h"

#include <stdlib.h>

#include "pattern/slots.h"
#include "util/rng.h"
#include "util/span.h"

#define KEYS 4096

struct entry {
    struct slot slot;
    uint64_t value;
};

/* What the table must hold: the value of each key, 0: none. */
struct mirror {
    uint64_t value[KEYS];
    unsigned held;
};

static void on_drop(void *ctx, struct slot *slot)
{
    struct mirror *m = ctx;
    const struct entry *e = container_of(slot, struct entry, slot);
    assert_int_equal(m->value[slot->key], e->value);
    m->value[slot->key] = 0;
    m->held--;
}

/* Against a plain array, at several sizes: whatever is evicted, the rest is found. */
static void finds_what_it_holds(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 255, 256, 257, 1000, KEYS};
    static struct mirror m;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct budget budget;
        struct slots slots;
        struct rng rng = {sizes[s]};
        m = (struct mirror){.held = 0};
        budget_init(&budget, 1 << 20);
        const struct slots_opts opts = {sizeof(struct entry), sizes[s], 7, &budget, on_drop, &m};
        assert_int_equal(slots_init(&slots, &opts), 0);
        for (uint64_t i = 1; i < 30000; i++) {
            uint64_t key = rng_upto(&rng, KEYS - 1);
            struct slot *found = slots_find(&slots, key);
            assert_row((found != NULL) == (m.value[key] != 0), "size %u, step %u", sizes[s],
                       (unsigned)i);
            if (found == NULL) {
                found = slots_take(&slots, key);
                struct entry *e = container_of(found, struct entry, slot);
                assert_int_equal(e->value, 0);
                e->value = m.value[key] = i;
                m.held++;
            }
            found->chances = (uint8_t)rng_upto(&rng, 3);
            assert_true(m.held <= sizes[s]);
        }
        assert_int_equal(m.held, slots.made);
        slots_done(&slots);
        assert_int_equal(m.held, 0);
        assert_int_equal(budget.used, 0);
    }
}

static void chances_are_spent_first(void **state)
{
    (void)state;
    static struct mirror m;
    struct slots slots;
    const struct slots_opts opts = {sizeof(struct entry), 3, 1, NULL, on_drop, &m};
    assert_int_equal(slots_init(&slots, &opts), 0);
    for (uint64_t key = 0; key < 3; key++) {
        slots_take(&slots, key)->chances = key == 1 ? 0 : 2;
        m.held++;
    }
    m.held++;
    assert_non_null(slots_take(&slots, 9));
    assert_non_null(slots_find(&slots, 0));
    assert_null(slots_find(&slots, 1));
    assert_non_null(slots_find(&slots, 2));
    slots_done(&slots);
}

static void no_memory(void **state)
{
    (void)state;
    static struct mirror m;
    struct slots slots;
    struct budget budget;
    struct slots_opts opts = {sizeof(struct entry), 1000, 1, &budget, on_drop, &m};
    budget_init(&budget, 100);
    assert_int_equal(slots_init(&slots, &opts), ERR_NOMEM);
    slots_done(&slots);
    budget_init(&budget, 10000); /* the index, and not one block */
    assert_int_equal(slots_init(&slots, &opts), 0);
    assert_null(slots_take(&slots, 1));
    assert_null(slots_find(&slots, 1));
    slots_done(&slots);
    budget_init(&budget, 15000); /* one block: then the oldest go */
    assert_int_equal(slots_init(&slots, &opts), 0);
    for (uint64_t key = 0; key < 300; key++) {
        assert_non_null(slots_take(&slots, key));
        m.held++;
    }
    assert_int_equal(slots.made, 256);
    assert_int_equal(slots.evicted, 300 - 256);
    slots_done(&slots);
    assert_int_equal(budget.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_it_holds),
        cmocka_unit_test(chances_are_spent_first),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
