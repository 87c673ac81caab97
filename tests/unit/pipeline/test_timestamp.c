#include "unit/test.h"

#include "pipeline/timestamp.h"
#include "unit/otlp/pb.h"

static void only_what_posthog_cannot_take(void **state)
{
    (void)state;
    const uint64_t now = 1700000000000000000u, seen = 1600000000123456789u, most = INT64_MAX;
    const struct {
        uint64_t time, observed, becomes; /* 0: it stays */
    } rows[] = {
        {now, seen, 0}, {1, 0, 0},          {most, seen, 0},        {0, seen, seen},
        {0, 0, now},    {0, most + 1, now}, {most + 1, seen, seen}, {UINT64_MAX, 0, now},
    };
    struct timestamp_counts counts = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct log_record r = {.time_unix_ns = rows[i].time,
                                     .observed_unix_ns = rows[i].observed};
        uint8_t bytes[9 + TIMESTAMP_BYTES] = {1 << 3 | 1}; /* a record of a time alone */
        for (int k = 0; k < 8; k++)
            bytes[1 + k] = (uint8_t)(rows[i].time >> 8 * k);
        struct span added = timestamp_mend(bytes + 9, &r, now, &counts);
        assert_row(added.len == (rows[i].becomes > 0 ? TIMESTAMP_BYTES : 0), "%zu", i);
        pb_record *read = (pb_record *)protobuf_c_message_unpack(
            &opentelemetry__proto__logs__v1__log_record__descriptor, NULL, 9 + added.len, bytes);
        assert_non_null(read);
        assert_row(read->time_unix_nano == (rows[i].becomes > 0 ? rows[i].becomes : rows[i].time),
                   "%zu", i);
        protobuf_c_message_free_unpacked(&read->base, NULL);
    }
    assert_int_equal(counts.filled, 3);
    assert_int_equal(counts.repaired, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_what_posthog_cannot_take)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
