#include "unit/test.h"

#include <stdlib.h>

#include "export/batch.h"

static struct logs_group group(const char *resource, const char *scope)
{
    static const char *const fields[] = {
        "\x1a\x01"
        "a",
        "\x1a\x01"
        "b",
        "\x1a\x01"
        "c",
        "",
    };
    struct logs_group g = {0};
    g.resource = span_str(resource[0] == '-' ? fields[3] : fields[resource[0] - 'a']);
    g.scope = span_str(scope[0] == '-' ? fields[3] : fields[scope[0] - 'a']);
    g.resource_hash = resource[0] == '-' ? 0 : (uint64_t)resource[0];
    g.scope_hash = scope[0] == '-' ? 0 : (uint64_t)scope[0];
    return g;
}

/* A record that is its number. */
static struct span record(uint8_t *at, unsigned i)
{
    at[0] = 0x10;
    at[1] = (uint8_t)(i & 0x7f);
    return (struct span){at, 2};
}

static void add(struct batch_builder *b, const char *place, unsigned i, uint32_t service)
{
    uint8_t bytes[2];
    struct logs_group g = group(place, place + 1);
    assert_int_equal(batch_add(b, &g, record(bytes, i), (struct span){0}, service), 0);
}

static void contexts_are_sent_once(void **state)
{
    struct batch_builder *b = batch_builder_new(&(struct batch_opts){0});
    struct batch *batch;
    (void)state;
    add(b, "aa", 1, 1);
    add(b, "ba", 2, 2);
    add(b, "ab", 3, 1);
    add(b, "aa", 4, 1);
    add(b, "--", 5, 3);
    size_t bytes = batch_builder_bytes(b);
    assert_int_equal(batch_builder_records(b), 5);
    assert_int_equal(batch_seal(b, &batch), 0);
    assert_int_equal(batch->body.len, bytes);
    assert_true(span_eq(buf_span(&batch->body), SPAN("\x0a\x19\x1a\x01"
                                                     "a"
                                                     "\x12\x0b\x1a\x01"
                                                     "a"
                                                     "\x12\x02\x10\x01"
                                                     "\x12\x02\x10\x04"
                                                     "\x12\x07\x1a\x01"
                                                     "b"
                                                     "\x12\x02\x10\x03"
                                                     "\x0a\x0c\x1a\x01"
                                                     "b"
                                                     "\x12\x07\x1a\x01"
                                                     "a"
                                                     "\x12\x02\x10\x02"
                                                     "\x0a\x06\x12\x04\x12\x02\x10\x05")));
    assert_int_equal(batch->records, 5);
    assert_int_equal(batch->part_count, 3);
    assert_int_equal(batch->parts[0].service, 1);
    assert_int_equal(batch->parts[0].records, 3);
    assert_int_equal(batch->parts[2].service, 3);
    batch_free(batch);
    assert_int_equal(batch_seal(b, &batch), ERR_EMPTY);
    batch_builder_free(b);
}

static void equal_hashes_are_not_equal_contexts(void **state)
{
    struct batch_builder *b = batch_builder_new(&(struct batch_opts){0});
    struct batch *batch;
    uint8_t bytes[2];
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct logs_group g = group(i % 2 == 0 ? "a" : "b", i % 3 == 0 ? "a" : "b");
        g.resource_hash = g.scope_hash = 5;
        assert_int_equal(batch_add(b, &g, record(bytes, i), (struct span){0}, 1), 0);
    }
    assert_int_equal(batch_seal(b, &batch), 0);
    assert_int_equal(batch->part_count, 2);
    assert_int_equal(batch->parts[0].records, 3);
    batch_free(batch);
    batch_builder_free(b);
}

static void one_resource_with_two_services_is_two_parts(void **state)
{
    struct batch_builder *b = batch_builder_new(&(struct batch_opts){0});
    struct batch *batch;
    (void)state;
    add(b, "aa", 1, 1);
    add(b, "aa", 2, 2);
    add(b, "aa", 3, 1);
    assert_int_equal(batch_seal(b, &batch), 0);
    assert_int_equal(batch->part_count, 2);
    assert_int_equal(batch->parts[0].records, 2);
    assert_int_equal(batch->parts[1].service, 2);
    batch_free(batch);
    batch_builder_free(b);
}

static void the_stamp_follows_the_record(void **state)
{
    struct batch_builder *b = batch_builder_new(&(struct batch_opts){0});
    struct batch *batch;
    struct logs_group g = group("-", "-");
    (void)state;
    assert_int_equal(batch_add(b, &g, SPAN("\x10\x01"), SPAN("\x10\x09"), 0), 0);
    assert_int_equal(batch_add(b, &g, SPAN(""), SPAN("\x10\x09"), 0), 0);
    assert_int_equal(batch_add(b, &g, SPAN(""), SPAN(""), 0), 0);
    assert_int_equal(batch_seal(b, &batch), 0);
    assert_true(span_eq(buf_span(&batch->body),
                        SPAN("\x0a\x0e\x12\x0c\x12\x04\x10\x01\x10\x09\x12\x02\x10\x09\x12\x00")));
    batch_free(batch);
    batch_builder_free(b);
}

static void limits_say_seal_first(void **state)
{
    struct batch_builder *b = batch_builder_new(&(struct batch_opts){.max_bytes = 300});
    struct logs_group g = group("a", "a");
    uint8_t big[1000] = {0};
    struct batch *batch;
    (void)state;
    /* one that is too large goes alone, and nothing goes with it */
    assert_int_equal(batch_add(b, &g, (struct span){big, sizeof big}, (struct span){0}, 1), 0);
    assert_int_equal(batch_add(b, &g, (struct span){big, 1}, (struct span){0}, 1), ERR_TOO_BIG);
    assert_int_equal(batch_seal(b, &batch), 0);
    assert_int_equal(batch->records, 1);
    batch_free(batch);

    /* filled to the last byte: the limit is of the encoded request */
    unsigned n = 0;
    while (batch_add(b, &g, (struct span){big, 7}, (struct span){0}, 1) == 0)
        n++;
    size_t bytes = batch_builder_bytes(b);
    assert_true(bytes <= 300 && bytes > 300 - 9);
    assert_int_equal(batch_builder_records(b), n);
    size_t left = 300 - bytes; /* a record of 2 bytes of head and the rest */
    if (left >= 2)
        assert_int_equal(batch_add(b, &g, (struct span){big, left - 2}, (struct span){0}, 1), 0);
    assert_int_equal(batch_add(b, &g, SPAN(""), SPAN(""), 1), ERR_TOO_BIG);
    bytes = batch_builder_bytes(b);
    assert_int_equal(batch_seal(b, &batch), 0);
    assert_int_equal(batch->body.len, bytes);
    batch_free(batch);
    batch_builder_free(b);

    b = batch_builder_new(&(struct batch_opts){.max_records = 2});
    add(b, "aa", 1, 1);
    add(b, "aa", 2, 1);
    assert_int_equal(batch_add(b, &g, SPAN(""), SPAN(""), 1), ERR_TOO_BIG);
    batch_builder_clear(b);
    assert_int_equal(batch_builder_bytes(b), 0);
    add(b, "aa", 1, 1);
    batch_builder_free(b);
}

static void a_refused_record_changes_nothing(void **state)
{
    struct budget budget;
    uint8_t bytes[600] = {0};
    (void)state;
    for (uint64_t limit = 100; limit < 20000; limit += 97) {
        budget_init(&budget, limit);
        struct batch_builder *b = batch_builder_new(&(struct batch_opts){.budget = &budget});
        struct batch *batch = NULL;
        unsigned taken = 0;
        for (unsigned i = 0; i < 40; i++) {
            struct logs_group g = group("abc" + i % 3, "abc" + i / 3 % 3);
            size_t before = batch_builder_bytes(b);
            int rc = batch_add(b, &g, (struct span){bytes, i * 15}, (struct span){0}, i % 3);
            assert_true(rc == 0 || rc == ERR_FULL);
            taken += rc == 0;
            assert_int_equal(batch_builder_records(b), taken);
            if (rc < 0)
                assert_int_equal(batch_builder_bytes(b), before);
        }
        int rc = batch_seal(b, &batch);
        if (rc == 0) {
            struct logs_count count;
            assert_int_equal(batch->records, taken);
            /* zeros are no sound records, so only the framing can be looked at */
            assert_true(logs_check(buf_span(&batch->body), &count) != ERR_MORE);
        } else {
            assert_true(rc == ERR_FULL || (rc == ERR_EMPTY && taken == 0));
            assert_int_equal(batch_builder_records(b), taken);
        }
        batch_free(batch);
        batch_builder_free(b);
        assert_int_equal(budget.used, 0);
    }
}

static void many_contexts_make_the_index_grow(void **state)
{
    struct batch_builder *b = batch_builder_new(&(struct batch_opts){0});
    struct batch *batch;
    char fields[5000][8];
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 5000; i++) {
            snprintf(fields[i], sizeof fields[i], "\x1a\x04%04u", i);
            struct logs_group g = {
                .resource = {(const uint8_t *)fields[i], 6},
                .resource_hash = i / 8, /* some that collide */
            };
            assert_int_equal(batch_add(b, &g, SPAN("\x10\x01"), SPAN(""), i), 0);
        }
    }
    assert_int_equal(batch_seal(b, &batch), 0);
    assert_int_equal(batch->part_count, 5000);
    for (unsigned i = 0; i < 5000; i++) {
        assert_int_equal(batch->parts[i].service, i);
        assert_int_equal(batch->parts[i].records, 3);
    }
    struct logs_count count;
    assert_int_equal(logs_check(buf_span(&batch->body), &count), 0);
    assert_int_equal(count.resources, 5000);
    assert_int_equal(count.records, 15000);
    batch_free(batch);
    batch_builder_free(b);
}

static void sum(void *ctx, uint32_t service, uint32_t records)
{
    uint32_t *of = ctx;
    of[service] += records;
}

static void halves_add_up(void **state)
{
    struct budget budget;
    struct batch *whole, *a, *b;
    (void)state;
    budget_init(&budget, 1 << 20);
    struct batch_builder *builder = batch_builder_new(&(struct batch_opts){.budget = &budget});
    for (unsigned i = 0; i < 11; i++)
        add(builder, i % 4 == 0 ? "aa" : i % 4 == 1 ? "ab" : "ba", i, i % 4 < 2 ? 1 : 2);
    assert_int_equal(batch_seal(builder, &whole), 0);
    whole->first_added_ms = 42;
    whole->attempts = 3;
    uint32_t before[3] = {0}, after[3] = {0};
    batch_each_service(whole, sum, before);

    uint64_t full = budget.limit;
    budget.limit = budget.used + 10; /* no room for halves: nothing happens */
    assert_int_equal(batch_split(&whole, &a, &b), ERR_FULL);
    assert_non_null(whole);
    budget.limit = full;

    assert_int_equal(batch_split(&whole, &a, &b), 0);
    assert_null(whole);
    assert_int_equal(a->records, 6);
    assert_int_equal(b->records, 5);
    assert_int_equal(a->first_added_ms, 42);
    assert_int_equal(b->attempts, 3);
    batch_each_service(a, sum, after);
    batch_each_service(b, sum, after);
    assert_int_equal(before[1], after[1]);
    assert_int_equal(before[2], after[2]);
    batch_free(a);
    while (b->records > 1) { /* down to one that cannot be split */
        struct batch *rest;
        assert_int_equal(batch_split(&b, &a, &rest), 0);
        batch_free(rest);
        b = a;
    }
    assert_int_equal(batch_split(&b, &a, &whole), ERR_EMPTY);
    batch_free(b);
    batch_builder_free(builder);
    assert_int_equal(budget.used, 0);
}

/* Holders of the numbers 5 and 6. */
static void hold(void *ctx, uint64_t first, uint64_t last)
{
    for (uint64_t n = first; n <= last; n++)
        ((int *)ctx)[n - 5]++;
}

static void drop(void *ctx, uint64_t first, uint64_t last)
{
    for (uint64_t n = first; n <= last; n++)
        ((int *)ctx)[n - 5]--;
}

static void each_half_holds_what_the_whole_held(void **state)
{
    struct batch_opts opts = {0};
    struct batch_builder *b = batch_builder_new(&opts);
    struct batch *whole, *first, *second, *quarter, *rest;
    int holders[2] = {0};
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        add(b, "aa", i, 1);
    assert_int_equal(batch_seal(b, &whole), 0);
    assert_null(whole->origin.hold); /* nobody, unless the holder says so */
    whole->origin = (struct batch_origin){holders, hold, drop, 5, 6};
    hold(holders, 5, 6);
    assert_int_equal(batch_split(&whole, &first, &second), 0);
    assert_int_equal(holders[0], 2);
    assert_int_equal(holders[1], 2);
    assert_int_equal(batch_split(&first, &quarter, &rest), 0);
    assert_int_equal(holders[1], 3);
    batch_free(quarter);
    batch_free(second);
    assert_int_equal(holders[0], 1);
    batch_free(rest);
    assert_int_equal(holders[0], 0);
    assert_int_equal(holders[1], 0);
    batch_builder_free(b);
}

static void a_batch_is_of_one_key(void **state)
{
    static const char longest[] =
        "phc_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct budget budget;
    budget_init(&budget, 1 << 20);
    struct batch_builder *b = batch_builder_new(&(struct batch_opts){.budget = &budget});
    struct logs_group ours = group("a", "a"), theirs = ours, others = ours;
    struct batch *batch, *halves[2];
    struct logs_count count;
    uint8_t bytes[2];
    (void)state;
    theirs.key = span_str(longest);
    others.key = SPAN("phc_b");
    assert_int_equal(theirs.key.len, LOGS_KEY_BYTES);
    const struct logs_group *in_turn[] = {&ours, &theirs, &others, &ours};
    for (size_t i = 0; i < ARRAY_LEN(in_turn); i++) {
        for (int n = 0; n < 2; n++)
            assert_int_equal(batch_add(b, in_turn[i], record(bytes, 1), (struct span){0}, 1), 0);
        const struct logs_group *next = in_turn[(i + 1) % ARRAY_LEN(in_turn)];
        if (next != in_turn[i] && !span_eq(next->key, in_turn[i]->key))
            assert_int_equal(batch_add(b, next, record(bytes, 1), (struct span){0}, 1),
                             ERR_TOO_BIG);
        assert_int_equal(batch_seal(b, &batch), 0);
        assert_true(span_eq(span_str(batch->key), in_turn[i]->key));
        assert_int_equal(batch_stored_key(buf_span(&batch->body)).len, 0);
        assert_int_equal(batch_split(&batch, &halves[0], &halves[1]), 0);
        assert_true(span_eq(span_str(halves[0]->key), in_turn[i]->key));
        assert_true(span_eq(span_str(halves[1]->key), in_turn[i]->key));
        batch_free(halves[0]);
        batch_free(halves[1]);

        assert_int_equal(batch_add(b, in_turn[i], record(bytes, 1), (struct span){0}, 1), 0);
        assert_int_equal(batch_seal(b, &batch), 0);
        size_t cap = batch->body.cap;
        batch_store_key(batch);
        assert_int_equal(batch->body.cap, cap); /* it cannot fail */
        assert_true(span_eq(batch_stored_key(buf_span(&batch->body)), in_turn[i]->key));
        assert_int_equal(logs_check(buf_span(&batch->body), &count), 0);
        assert_int_equal(count.records, 1);
        batch_free(batch);
    }
    batch_builder_free(b);
    assert_int_equal(budget.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_of_one_key),
        cmocka_unit_test(contexts_are_sent_once),
        cmocka_unit_test(equal_hashes_are_not_equal_contexts),
        cmocka_unit_test(one_resource_with_two_services_is_two_parts),
        cmocka_unit_test(the_stamp_follows_the_record),
        cmocka_unit_test(limits_say_seal_first),
        cmocka_unit_test(a_refused_record_changes_nothing),
        cmocka_unit_test(many_contexts_make_the_index_grow),
        cmocka_unit_test(halves_add_up),
        cmocka_unit_test(each_half_holds_what_the_whole_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
