#include "unit/test.h"

#include <math.h>

#include "util/expose.h"

static void lines(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        double value;
        const char *line;
    } rows[] = {
        {NULL, 0, "m 0\n"},
        {NULL, -3, "m -3\n"},
        {NULL, 12345678901234.0, "m 12345678901234\n"},
        {NULL, 0.25, "m 0.25\n"},
        {NULL, 1e18, "m 1e+18\n"},
        {NULL, INFINITY, "m +Inf\n"},
        {NULL, -INFINITY, "m -Inf\n"},
        {NULL, NAN, "m NaN\n"},
        {"plain", 1, "m{l=\"plain\"} 1\n"},
        {"", 1, "m{l=\"\"} 1\n"},
        {"a\"b\\c\nd", 1, "m{l=\"a\\\"b\\\\c\\nd\"} 1\n"},
        {"\x01\t", 1, "m{l=\"\xef\xbf\xbd\xef\xbf\xbd\"} 1\n"},
        {"\xc3\xa9", 1, "m{l=\"\xc3\xa9\"} 1\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        const char *value = rows[i].label;
        const struct expose_label label = {"l", value == NULL ? SPAN("") : span_str(value)};
        expose_sample(&out, "m", &label, value != NULL, rows[i].value);
        assert_row(span_eq(buf_span(&out), span_str(rows[i].line)), "%zu: %.*s", i, (int)out.len,
                   (char *)out.base);
        buf_done(&out);
    }
    struct buf out = {0};
    const struct expose_label labels[] = {{"a", SPAN("1")}, {"b", SPAN("2")}};
    expose_family(&out, "m_total", EXPOSE_COUNTER, "What it counts.");
    expose_sample(&out, "m_total", labels, 2, 5);
    assert_true(
        span_eq(buf_span(&out), SPAN("# HELP m_total What it counts.\n# TYPE m_total counter\n"
                                     "m_total{a=\"1\",b=\"2\"} 5\n")));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
