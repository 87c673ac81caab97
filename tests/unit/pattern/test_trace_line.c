#include "unit/test.h"

#include "pattern/trace_line.h"

static void lines_of_traces(void **state)
{
    static const char *const lines[] = {
        "    at com.example.shop.C0.m0(C0.java:0) ~[app.jar:1.0]",
        "\tat com.example.App.main(App.java:5)",
        "java.lang.RuntimeException: Expected: controller used",
        "java.lang.NullPointerException",
        "Caused by: java.lang.IllegalStateException: boom",
        "    ... 20 more",
        "Suppressed: java.io.IOException: closed",
        "Traceback (most recent call last):",
        "  File \"a.py\", line 1, in <module>",
        "    raise ValueError(\"bad\")",
        "ValueError: bad",
        "During handling of the above exception, another exception occurred:",
        "    at Object.<anonymous> (/app/a.js:1:2)",
        "TypeError: x is undefined",
        "goroutine 1 [running]:",
        "main.main()",
        "main.(*Server).handle(0xc000123456, {0x1, 0x2})",
        "net/http.HandlerFunc.ServeHTTP(0x1, 0x2)",
        "\t/app/main.go:12 +0x1d",
        "created by main.main in goroutine 1",
        "\tfrom /app/a.rb:3:in `f'",
        "#3 /app/a.php(12): App\\f()",
        "   0: std::panicking::begin_panic",
        "stack backtrace:",
        "   at System.Linq.Enumerable.First[T](IEnumerable`1 source)",
        "--- End of stack trace from previous location ---",
        "\tat x\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_row(trace_line_continues(span_str(lines[i])), "%s", lines[i]);
}

static void other_lines(void **state)
{
    static const char *const lines[] = {
        "",
        "\n",
        "\t",
        "  ",
        " one blank",
        "at the end of the day",
        "GET /health 200 (3 ms)",
        "user 17 logged in",
        "2026-11-30 09:00:00 ERROR failed",
        "Error while reading (again)",
        "SomeError occurred",
        "NotAnErrorAtAll: x",
        "order: 17",
        "done (ok)",
        "version 1.2 (beta)",
        "#hashtag",
        "caused by: nobody",
        "{\"level\":\"info\"}",
        "http://example.org/a(b)",
        "()",
        ")",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_row(!trace_line_continues(span_str(lines[i])), "%s", lines[i]);
}

/* Every length of every line, in memory of just that size. */
static void no_byte_past_the_end(void **state)
{
    static const char text[] = "main.(*S).f(0x1)\tCaused by: #1 java.lang.E.Exception: x ...";
    (void)state;
    for (size_t from = 0; from < sizeof text - 1; from++)
        for (size_t len = 0; from + len < sizeof text; len++) {
            char exact[sizeof text];
            memcpy(exact + sizeof exact - len, text + from, len);
            (void)trace_line_continues(span_of(exact + sizeof exact - len, len));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_traces),
        cmocka_unit_test(other_lines),
        cmocka_unit_test(no_byte_past_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
