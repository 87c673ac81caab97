#include "unit/test.h"

#include "util/crc32c.h"

/* RFC 3720, appendix B.4, and the check value of the CRC catalogue. */
static void vectors(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
    static const uint8_t read10[48] = {
        0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
    };
    memset(ones, 0xff, sizeof ones);
    for (uint8_t i = 0; i < 32; i++) {
        up[i] = i;
        down[i] = (uint8_t)(31 - i);
    }
    const struct {
        const char *name;
        struct span bytes;
        uint32_t crc;
    } rows[] = {
        {"nothing", {NULL, 0}, 0},
        {"zeros", {zeros, 32}, 0x8a9136aa},
        {"ones", {ones, 32}, 0x62a8ab43},
        {"rising", {up, 32}, 0x46dd794e},
        {"falling", {down, 32}, 0x113fdb5c},
        {"an iSCSI read(10)", {read10, 48}, 0xd9963a56},
        {"123456789", SPAN("123456789"), 0xe3069283},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(crc32c(0, rows[i].bytes) == rows[i].crc, "%s: %08x", rows[i].name,
                   crc32c(0, rows[i].bytes));
        assert_row(crc32c_portable(0, rows[i].bytes) == rows[i].crc, "%s, portable", rows[i].name);
    }
}

static void pieces_make_the_whole(void **state)
{
    (void)state;
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    uint32_t whole = crc32c(0, span_of(bytes, sizeof bytes));
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t crc = crc32c(0, span_of(bytes, cut));
        crc = crc32c_portable(crc, span_of(bytes + cut, sizeof bytes - cut));
        assert_int_equal(crc, whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(pieces_make_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
