/* The vectors of RFC 4231. */
#include "unit/test.h"

#include "util/digest.h"

static void vectors_of_rfc_4231(void **state)
{
    static const struct {
        const char *key, *text;
        uint8_t first[8];
    } rows[] = {
        {"\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b",
         "Hi There",
         {0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53}},
        {"Jefe", "what do ya want for nothing?", {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t digest[DIGEST_SHA256_BYTES];
        assert_int_equal(digest_hmac_sha256(span_str(rows[i].key), span_str(rows[i].text), digest),
                         0);
        assert_memory_equal(digest, rows[i].first, sizeof rows[i].first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_of_rfc_4231)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
