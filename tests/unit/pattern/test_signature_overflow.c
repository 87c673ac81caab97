#include "unit/test.h"

#include "pattern/signature.h"
#include "pattern/signature_overflow.h"

static void names_are_the_first_two_words(void **state)
{
    (void)state;
    static const struct {
        const char *line, *text;
    } rows[] = {
        {"connection from 10.0.0.1 refused", "lps1:overflow:connection from"},
        {"[42] <7> connection: from there", "lps1:overflow:connection from"},
        {"10.0.0.1 failed", "lps1:overflow:failed"},
        {"", "lps1:overflow:"},
        {"{\"level\":\"info\",\"msg\":\"disk is full\"}", "lps1:overflow:disk is"},
        {"{\"alpha\":1,\"beta\":2}", "lps1:overflow:alpha beta"},
        {"\xe6\x97\xa5\xe6\x9c\xac ok", "lps1:overflow:\xe6\x97\xa5\xe6\x9c\xac ok"},
    };
    struct signer *s;
    char room[OVERFLOW_TEXT_BYTES];
    assert_int_equal(signer_new(&s), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        signer_sign_text(s, span_str(rows[i].line));
        struct span text = overflow_text(room, signer_identity(s));
        assert_row(span_eq(text, span_str(rows[i].text)), "%zu: %.*s", i, (int)text.len,
                   (const char *)text.base);
        uint64_t id;
        assert_int_equal(signature_parse(text, &id), 0);
        assert_true(id == overflow_id(text));
    }
    signer_free(s);
}

static void long_words_are_cut_between_characters(void **state)
{
    (void)state;
    struct signer *s;
    char room[OVERFLOW_TEXT_BYTES], line[200];
    for (size_t i = 1; i < 99; i += 2)
        memcpy(line + i, "\xc3\xbc", 2);
    line[0] = 'x';
    line[99] = ' ';
    memset(line + 100, 'y', 99);
    line[199] = '\0';
    assert_int_equal(signer_new(&s), 0);
    signer_sign_text(s, span_str(line));
    struct span text = overflow_text(room, signer_identity(s));
    assert_int_equal(text.len, sizeof OVERFLOW_PREFIX - 1 + 1 + 1 + OVERFLOW_WORD_BYTES);
    signer_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_the_first_two_words),
        cmocka_unit_test(long_words_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
