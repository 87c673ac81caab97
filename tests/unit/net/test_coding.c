#include "unit/test.h"

#include <stdlib.h>

#include "net/coding.h"

#define LIMIT ((size_t)1 << 20)

static struct buf sample(size_t bytes)
{
    struct buf b = {0};
    uint64_t n = 1;
    while (b.len < bytes) {
        n = n * 6364136223846793005u + 1442695040888963407u;
        buf_printf(&b, "{\"id\":\"%llx\",\"body\":\"user logged in from 10.0.%llu.1\"},",
                   (unsigned long long)n, (unsigned long long)(n >> 60));
    }
    b.len = bytes;
    return b;
}

static const enum coding real[] = {CODING_GZIP, CODING_DEFLATE, CODING_ZSTD};

static void names(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct {
        struct span value;
        int rc;
        enum coding coding;
    } rows[] = {
        {{0},                    0, CODING_IDENTITY},
        {SPAN(""),               0, CODING_IDENTITY},
        {SPAN("identity"),       0, CODING_IDENTITY},
        {SPAN("gzip"),           0, CODING_GZIP},
        {SPAN(" X-GZIP "),       0, CODING_GZIP},
        {SPAN("Deflate"),        0, CODING_DEFLATE},
        {SPAN("zstd"),           0, CODING_ZSTD},
        {SPAN("br"),             ERR_UNSUPPORTED, 0},
        {SPAN("gzip, gzip"),     ERR_UNSUPPORTED, 0},
        {SPAN("gzip,identity"),  ERR_UNSUPPORTED, 0},
        {SPAN("gzi"),            ERR_UNSUPPORTED, 0},
        {SPAN("snappy"),         ERR_UNSUPPORTED, 0},
    };
    /* clang-format on */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum coding coding = CODING_IDENTITY;
        assert_row(coding_parse(rows[i].value, &coding) == rows[i].rc, "%zu", i);
        if (rows[i].rc == 0)
            assert_int_equal(coding, rows[i].coding);
    }
    for (size_t i = 0; i < ARRAY_LEN(real); i++) {
        enum coding coding = CODING_IDENTITY;
        assert_int_equal(coding_parse(span_str(coding_name(real[i])), &coding), 0);
        assert_int_equal(coding, real[i]);
    }
}

static void what_goes_in_comes_out(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 70000, LIMIT};
    struct coder *c = coder_new();
    for (size_t i = 0; i < ARRAY_LEN(real); i++) {
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
            struct budget budget;
            budget_init(&budget, 16 << 20);
            struct buf plain = sample(sizes[k]), coded = {0}, back = {.budget = &budget};
            buf_append(&back, SPAN("before"));
            assert_int_equal(coding_encode(c, real[i], buf_span(&plain), &coded), 0);
            int rc = coding_decode(c, real[i], buf_span(&coded), &back, LIMIT);
            assert_row(rc == 0, "%s %zu: %d", coding_name(real[i]), sizes[k], rc);
            assert_true(span_eq(span_skip(buf_span(&back), 6), buf_span(&plain)));
            assert_true(span_starts(buf_span(&back), SPAN("before")));

            /* exactly the limit is enough, one less is not */
            if (sizes[k] > 0) {
                back.len = 0;
                assert_int_equal(coding_decode(c, real[i], buf_span(&coded), &back, plain.len), 0);
                back.len = 0;
                rc = coding_decode(c, real[i], buf_span(&coded), &back, plain.len - 1);
                assert_row(rc == ERR_TOO_BIG, "%s %zu: %d", coding_name(real[i]), sizes[k], rc);
                assert_int_equal(back.len, 0);
            }
            buf_done(&plain);
            buf_done(&coded);
            buf_done(&back);
            assert_int_equal(budget.used, 0);
        }
    }
    coder_free(c);
}

static void noise_survives(void **state)
{
    (void)state;
    struct coder *c = coder_new();
    struct buf plain = {0};
    uint64_t n = 1;
    for (int i = 0; i < 200000; i++) {
        n = n * 6364136223846793005u + 1442695040888963407u;
        buf_append_byte(&plain, (uint8_t)(n >> 56));
    }
    for (size_t i = 0; i < ARRAY_LEN(real); i++) {
        struct buf coded = {0}, back = {0};
        assert_int_equal(coding_encode(c, real[i], buf_span(&plain), &coded), 0);
        assert_int_equal(coding_decode(c, real[i], buf_span(&coded), &back, LIMIT), 0);
        assert_true(span_eq(buf_span(&back), buf_span(&plain)));
        buf_done(&coded);
        buf_done(&back);
    }
    buf_done(&plain);
    coder_free(c);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    struct coder *c = coder_new();
    for (size_t i = 0; i < ARRAY_LEN(real); i++) {
        struct buf plain = sample(3000), coded = {0}, back = {0};
        assert_int_equal(coding_encode(c, real[i], buf_span(&plain), &coded), 0);

        for (size_t cut = 0; cut < coded.len; cut++) {
            int rc = coding_decode(c, real[i], span_of(coded.base, cut), &back, LIMIT);
            assert_row(rc == ERR_MALFORMED, "%s cut at %zu: %d", coding_name(real[i]), cut, rc);
        }
        coded.base[coded.len / 2] ^= 0x10; /* found by the checksum, if by nothing else */
        assert_int_equal(coding_decode(c, real[i], buf_span(&coded), &back, LIMIT), ERR_MALFORMED);
        coded.base[coded.len / 2] ^= 0x10;
        buf_append(&coded, SPAN("x"));
        assert_int_equal(coding_decode(c, real[i], buf_span(&coded), &back, LIMIT), ERR_MALFORMED);
        assert_int_equal(coding_decode(c, real[i], buf_span(&plain), &back, LIMIT), ERR_MALFORMED);
        assert_int_equal(back.len, 0);
        buf_done(&plain);
        buf_done(&coded);
        buf_done(&back);
    }
    coder_free(c);
}

static void several_members(void **state)
{
    (void)state;
    struct coder *c = coder_new();
    static const enum coding many[] = {CODING_GZIP, CODING_ZSTD};
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        struct buf coded = {0}, back = {0};
        for (int n = 0; n < 3; n++)
            assert_int_equal(coding_encode(c, many[i], SPAN("abcdefgh"), &coded), 0);
        assert_int_equal(coding_decode(c, many[i], buf_span(&coded), &back, 24), 0);
        assert_true(span_eq(buf_span(&back), SPAN("abcdefghabcdefghabcdefgh")));
        back.len = 0;
        assert_int_equal(coding_decode(c, many[i], buf_span(&coded), &back, 23), ERR_TOO_BIG);
        buf_done(&coded);
        buf_done(&back);
    }
    struct buf flood = {0}, back = {0};
    for (int n = 0; n < 1001; n++)
        assert_int_equal(coding_encode(c, CODING_GZIP, SPAN(""), &flood), 0);
    assert_int_equal(coding_decode(c, CODING_GZIP, buf_span(&flood), &back, LIMIT), ERR_MALFORMED);
    buf_done(&flood);
    buf_done(&back);
    coder_free(c);
}

static void a_bomb_costs_its_limit(void **state)
{
    (void)state;
    struct coder *c = coder_new();
    struct buf zeros = {0};
    assert_int_equal(buf_reserve(&zeros, 32 << 20), 0);
    memset(zeros.base, 0, 32 << 20);
    zeros.len = 32 << 20;
    for (size_t i = 0; i < ARRAY_LEN(real); i++) {
        struct budget budget;
        budget_init(&budget, 64 << 20);
        struct buf coded = {0}, back = {.budget = &budget};
        assert_int_equal(coding_encode(c, real[i], buf_span(&zeros), &coded), 0);
        assert_true(coded.len < 200000);
        assert_int_equal(coding_decode(c, real[i], buf_span(&coded), &back, LIMIT), ERR_TOO_BIG);
        assert_true(budget.peak <= LIMIT);
        buf_done(&back);

        budget_init(&budget, LIMIT / 2); /* the budget's no is told as such */
        assert_int_equal(coding_decode(c, real[i], buf_span(&coded), &back, LIMIT), ERR_FULL);
        buf_done(&back);
        buf_done(&coded);
    }
    buf_done(&zeros);
    coder_free(c);
}

static void deflate_without_its_wrapper(void **state)
{
    (void)state;
    struct coder *c = coder_new();
    struct buf plain = sample(5000), coded = {0}, back = {0};
    assert_int_equal(coding_encode(c, CODING_DEFLATE, buf_span(&plain), &coded), 0);
    struct span bare = {coded.base + 2, coded.len - 6}; /* without zlib's header and sum */
    assert_int_equal(coding_decode(c, CODING_DEFLATE, bare, &back, LIMIT), 0);
    assert_true(span_eq(buf_span(&back), buf_span(&plain)));
    buf_done(&plain);
    buf_done(&coded);
    buf_done(&back);
    coder_free(c);
}

static void a_large_window_is_refused(void **state)
{
    (void)state;
    /* Frame header with a window of 2^27 (RFC 8878 3.1.1.1.2), then an empty last block. */
    struct span frame = SPAN("\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00");
    struct coder *c = coder_new();
    struct buf back = {0};
    assert_int_equal(coding_decode(c, CODING_ZSTD, frame, &back, LIMIT), ERR_MALFORMED);
    struct span small = SPAN("\x28\xb5\x2f\xfd\x00\x68\x01\x00\x00"); /* 2^23 */
    assert_int_equal(coding_decode(c, CODING_ZSTD, small, &back, LIMIT), 0);
    assert_int_equal(back.len, 0);
    buf_done(&back);
    coder_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(noise_survives),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(several_members),
        cmocka_unit_test(a_bomb_costs_its_limit),
        cmocka_unit_test(deflate_without_its_wrapper),
        cmocka_unit_test(a_large_window_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
