#include "unit/test.h"

#include <stdlib.h>

#include "net/url.h"

static void encoding(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"aZ09-._~", "aZ09-._~"},
        {"a b/c?d&e=f+g%", "a%20b%2Fc%3Fd%26e%3Df%2Bg%25"},
        {"\xc3\xa4\x01", "%C3%A4%01"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        url_append_encoded(&b, span_str(rows[i].in));
        assert_row(span_eq(buf_span(&b), span_str(rows[i].out)), "'%s'", rows[i].in);
        buf_done(&b);
    }
}

static void bases(void **state)
{
    (void)state;
    assert_true(span_eq(url_base("http://h:1/"), SPAN("http://h:1")));
    assert_true(span_eq(url_base("http://h/a//"), SPAN("http://h/a")));
    assert_true(span_eq(url_base("http://h"), SPAN("http://h")));
    assert_int_equal(url_base("").len, 0);
}

static void bearers(void **state)
{
    (void)state;
    char *header = url_bearer("phc_x");
    assert_string_equal(header, "Authorization: Bearer phc_x");
    free(header);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding),
        cmocka_unit_test(bases),
        cmocka_unit_test(bearers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
