#include "unit/test.h"

#include <stdlib.h>

#include "pipeline/rules.h"
#include "pipeline/stamp.h"
#include "unit/otlp/pb.h"

#define ALL ((1u << STAMP_COUNT) - 1)
#define SET(name) (1u << STAMP_##name)

/* What stands behind a record that has an attribute already. */
static pb_record *stamped(unsigned set, const struct stamp_values *v)
{
    uint8_t room[STAMP_BYTES];
    struct span stamp = stamp_write(room, set, v);
    assert_true(stamp.len <= stamp_bytes(set));
    struct buf bytes = {0};
    buf_append(&bytes, SPAN("\x10\x09\x32\x07\x0a\x01k\x12\x02\x10\x01"));
    buf_append(&bytes, stamp);
    pb_record *r = (pb_record *)protobuf_c_message_unpack(
        &opentelemetry__proto__logs__v1__log_record__descriptor, NULL, bytes.len, bytes.base);
    assert_non_null(r);
    buf_done(&bytes);
    return r;
}

static void the_default_is_two_attributes(void **state)
{
    (void)state;
    static const struct {
        uint64_t threshold;
        double count;
        uint64_t signature;
        const char *id;
    } rows[] = {
        {RULES_REJECT_ALL / 20 * 19, 20.0, 0x0123456789abcdef, "lps1:0123456789abcdef"},
        {RULES_REJECT_ALL / 2, 2.0, 0, "lps1:0000000000000000"},
        {RULES_REJECT_ALL - 1, 72057594037927936.0, UINT64_MAX, "lps1:ffffffffffffffff"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stamp_values v = {.threshold = rows[i].threshold,
                                 .signature = rows[i].signature,
                                 .family = rows[i].signature};
        pb_record *r = stamped(SET(ADJUSTED_COUNT) | SET(PATTERN), &v);
        assert_int_equal(r->n_attributes, 3);
        assert_string_equal(r->attributes[1]->key, "otel.logs.adjusted_count");
        assert_int_equal(r->attributes[1]->value->value_case, PB_ANY(DOUBLE_VALUE));
        double off = r->attributes[1]->value->double_value / rows[i].count - 1;
        assert_row(off < 1e-14 && off > -1e-14, "%zu: %g", i, off);
        assert_string_equal(r->attributes[2]->key, "pattern.id");
        assert_string_equal(r->attributes[2]->value->string_value, rows[i].id);
        protobuf_c_message_free_unpacked(&r->base, NULL);
    }
}

static void each_by_itself_and_all_together(void **state)
{
    (void)state;
    char long_text[241];
    memset(long_text, 'x', 240);
    long_text[240] = '\0';
    const struct stamp_values plain = {.threshold = UINT64_C(0xcccd) << 40,
                                       .randomness = 0xd0000000000001,
                                       .own_randomness = true,
                                       .template_text = SPAN("user <*> in"),
                                       .reason = "first"},
                              shared = {.threshold = 1, .reason = "severity_rate"},
                              longest = {.threshold = RULES_REJECT_ALL - 1,
                                         .family = UINT64_MAX,
                                         .own_randomness = true,
                                         .template_text = span_str(long_text),
                                         .reason = "severity_rate__3"};
    const struct {
        unsigned set;
        const struct stamp_values *v;
        const char *key, *text; /* NULL: no attribute */
    } rows[] = {
        {SET(THRESHOLD), &plain, "sampling.threshold", "cccd"},
        {SET(THRESHOLD), &shared, "sampling.threshold", "00000000000001"},
        {SET(FAMILY), &plain, NULL, NULL},
        {SET(FAMILY), &longest, "pattern.family", "lps1:ffffffffffffffff"},
        {SET(RANDOMNESS), &plain, "sampling.randomness", "d0000000000001"},
        {SET(RANDOMNESS), &shared, NULL, NULL},
        {SET(TEMPLATE), &plain, "log.record.template", "user <*> in"},
        {SET(TEMPLATE), &longest, "log.record.template", long_text},
        {SET(TEMPLATE), &shared, NULL, NULL},
        {SET(REASON), &plain, "sampling.reason", "first"},
        {0, &plain, NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        pb_record *r = stamped(rows[i].set, rows[i].v);
        assert_row(r->n_attributes == (rows[i].key == NULL ? 1 : 2), "%zu", i);
        if (rows[i].key != NULL) {
            assert_string_equal(r->attributes[1]->key, rows[i].key);
            assert_string_equal(r->attributes[1]->value->string_value, rows[i].text);
        }
        protobuf_c_message_free_unpacked(&r->base, NULL);
    }

    pb_record *r = stamped(ALL, &longest);
    assert_int_equal(r->n_attributes, STAMP_COUNT); /* two are one */
    protobuf_c_message_free_unpacked(&r->base, NULL);
    assert_true(stamp_bytes(ALL) <= STAMP_BYTES);
    assert_int_equal(stamp_bytes(0), 0);
}

static void a_weight_is_all_that_is_said_of_what_is_certain(void **state)
{
    (void)state;
    const struct stamp_values certain = {.reason = "first", .signature = 7};
    pb_record *r = stamped(ALL, &certain);
    assert_int_equal(r->n_attributes, 2);
    assert_string_equal(r->attributes[1]->key, "otel.logs.adjusted_count");
    assert_true(r->attributes[1]->value->double_value == 1);
    protobuf_c_message_free_unpacked(&r->base, NULL);
    assert_int_equal(stamp_bytes(SET(ADJUSTED_COUNT) | SET(WEIGHT_ALWAYS)),
                     stamp_bytes(SET(WEIGHT_ALWAYS)));
}

static void names(void **state)
{
    (void)state;
    for (int s = 0; s < STAMP_COUNT; s++)
        assert_int_equal(stamp_parse(span_str(stamp_name((enum stamp)s))), s);
    assert_true(stamp_parse(SPAN("")) < 0);
    assert_true(stamp_parse(SPAN("patterns")) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_is_two_attributes),
        cmocka_unit_test(each_by_itself_and_all_together),
        cmocka_unit_test(a_weight_is_all_that_is_said_of_what_is_certain),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
