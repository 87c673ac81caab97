#include "unit/test.h"

#include "pipeline/stamp.h"
#include "unit/otlp/pb.h"

static void it_reads_as_two_attributes(void **state)
{
    (void)state;
    static const struct {
        double count;
        uint64_t signature;
        const char *id;
    } rows[] = {
        {20.0, 0x0123456789abcdef, "lps1:0123456789abcdef"},
        {1.0000001, 0, "lps1:0000000000000000"},
        {72057594037927936.0, UINT64_MAX, "lps1:ffffffffffffffff"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t room[STAMP_BYTES];
        struct span stamp = stamp_write(room, rows[i].count, rows[i].signature, rows[i].signature);
        assert_true(stamp.len <= STAMP_BYTES);
        struct buf bytes = {0}; /* behind a record that has an attribute already */
        buf_append(&bytes, SPAN("\x10\x09\x32\x07\x0a\x01k\x12\x02\x10\x01"));
        buf_append(&bytes, stamp);
        pb_record *r = (pb_record *)protobuf_c_message_unpack(
            &opentelemetry__proto__logs__v1__log_record__descriptor, NULL, bytes.len, bytes.base);
        assert_non_null(r);
        assert_int_equal(r->n_attributes, 3);
        assert_string_equal(r->attributes[1]->key, "otel.logs.adjusted_count");
        assert_int_equal(r->attributes[1]->value->value_case, PB_ANY(DOUBLE_VALUE));
        assert_true(r->attributes[1]->value->double_value == rows[i].count);
        assert_string_equal(r->attributes[2]->key, "pattern.id");
        assert_string_equal(r->attributes[2]->value->string_value, rows[i].id);
        protobuf_c_message_free_unpacked(&r->base, NULL);
        buf_done(&bytes);
    }
}

static void a_family_of_its_own_is_told(void **state)
{
    (void)state;
    uint8_t room[STAMP_BYTES];
    size_t without = stamp_write(room, 2, 7, 7).len;
    struct span stamp = stamp_write(room, 72057594037927936.0, 7, UINT64_MAX);
    assert_true(stamp.len > without && stamp.len <= STAMP_BYTES);
    pb_record *r = (pb_record *)protobuf_c_message_unpack(
        &opentelemetry__proto__logs__v1__log_record__descriptor, NULL, stamp.len, stamp.base);
    assert_non_null(r);
    assert_int_equal(r->n_attributes, 3);
    assert_string_equal(r->attributes[1]->value->string_value, "lps1:0000000000000007");
    assert_string_equal(r->attributes[2]->key, "pattern.family");
    assert_string_equal(r->attributes[2]->value->string_value, "lps1:ffffffffffffffff");
    protobuf_c_message_free_unpacked(&r->base, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_as_two_attributes),
        cmocka_unit_test(a_family_of_its_own_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
