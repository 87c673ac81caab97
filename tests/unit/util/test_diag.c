/* Standard error is a pipe here, and read back. */
#include "unit/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "otlp/json_object.h"
#include "util/diag.h"

static int saved, ends[2];
static char text[1 << 16];

static void capture(bool json)
{
    assert_int_equal(pipe(ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    diag_setup(&(struct diag_opts){.level = DIAG_INFO, .json = json});
}

static const char *captured(void)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(ends[0], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    close(ends[0]);
    text[len] = '\0';
    return text;
}

static void quoted(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span in;
        const char *out;
    } rows[] = {
        {"empty", {(const uint8_t *)"", 0}, "\"\""},
        {"plain", {(const uint8_t *)"a b=c", 5}, "\"a b=c\""},
        {"quotes", {(const uint8_t *)"a\"b\\c", 5}, "\"a\\\"b\\\\c\""},
        {"lines", {(const uint8_t *)"a\nb\r\x1b[31m", 9}, "\"a\\u000ab\\u000d\\u001b[31m\""},
        {"nul", {(const uint8_t *)"a\0b", 3}, "\"a\\u0000b\""},
        {"no ASCII", {(const uint8_t *)"\xff\x7f", 2}, "\"\\u00ff\\u007f\""},
    };
    char out[DIAG_QUOTE_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(strcmp(diag_quote(out, rows[i].in), rows[i].out) == 0, "%s: %s", rows[i].name,
                   out);
    uint8_t worst[1000];
    memset(worst, 1, sizeof worst);
    assert_int_equal(strlen(diag_quote(out, span_of(worst, sizeof worst))), 256 * 6 + 2);
}

static void as_text(void **state)
{
    (void)state;
    char q[DIAG_QUOTE_BYTES];
    capture(false);
    diag(DIAG_WARN, "an_event", "a \"message\"", "n=%d host=%s", 5, diag_quote(q, SPAN("a b")));
    diag(DIAG_INFO, "bare", "nothing to add", "%s", "");
    diag(DIAG_DEBUG, "hidden", "not at this level", "%s", "");
    const char *got = captured();
    assert_int_equal(strncmp(got, "time=20", 7), 0);
    assert_non_null(
        strstr(got, "Z level=warn event=an_event msg=\"a \\\"message\\\"\" n=5 host=\"a b\"\n"));
    assert_non_null(strstr(got, " level=info event=bare msg=\"nothing to add\"\n"));
    assert_null(strstr(got, "hidden"));
}

static bool count_member(void *arg, const struct json_member *m)
{
    (void)m;
    ++*(unsigned *)arg;
    return true;
}

/* Every line is JSON, with so many members. */
static void assert_json(const char *lines, unsigned members)
{
    struct json_object *j;
    unsigned n = 0;
    assert_int_equal(json_object_new(&j, sizeof text), 0);
    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n");
        n = 0;
        assert_row(json_object_visit(j, span_of(lines, len), count_member, &n) == 0, "%s", lines);
        assert_row(n == members, "%u: %s", n, lines);
        lines += len + 1;
    }
    assert_int_equal(n, members);
    json_object_free(j);
}

static void as_json(void **state)
{
    (void)state;
    char q[DIAG_QUOTE_BYTES];
    capture(true);
    diag(DIAG_ERROR, "j1", "msg \x01", "n=-5 z=007 big=12345678901234567890 s=%s w=word e= last=1",
         diag_quote(q, SPAN("a \"b\\ = c\n")));
    const char *got = captured();
    assert_non_null(
        strstr(got, "\"level\":\"error\",\"event\":\"j1\",\"msg\":\"msg \\u0001\",\"n\":-5,"
                    "\"z\":\"007\",\"big\":\"12345678901234567890\","
                    "\"s\":\"a \\\"b\\\\ = c\\u000a\",\"w\":\"word\",\"e\":\"\",\"last\":1}\n"));
    assert_json(got, 11);
}

static void the_longest_line_is_whole(void **state)
{
    (void)state;
    char a[DIAG_QUOTE_BYTES], b[DIAG_QUOTE_BYTES], c[DIAG_QUOTE_BYTES];
    uint8_t worst[300];
    memset(worst, 1, sizeof worst);
    capture(true);
    diag(DIAG_INFO, "long2", "m", "a=%s b=%s", diag_quote(a, span_of(worst, 300)),
         diag_quote(b, span_of(worst, 300)));
    assert_json(captured(), 6);
    capture(true); /* even one that is too long */
    diag(DIAG_INFO, "long3", "m", "a=%s b=%s c=%s", diag_quote(a, span_of(worst, 300)),
         diag_quote(b, span_of(worst, 300)), diag_quote(c, span_of(worst, 300)));
    assert_json(captured(), 6);
}

static void wait_for_next_second(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    usleep((useconds_t)((1000000000 - now.tv_nsec) / 1000 + 2000));
}

static void a_flood_is_cut_and_told(void **state)
{
    (void)state;
    unsigned lines = 0, other = 0;
    wait_for_next_second();
    capture(false);
    for (int i = 0; i < 35; i++)
        diag(DIAG_INFO, "flood", "again", "i=%d", i);
    diag(DIAG_INFO, "calm", "not held back by the other", "%s", "");
    wait_for_next_second();
    diag(DIAG_INFO, "flood", "again", "i=last");
    diag(DIAG_INFO, "flood", "again", "i=after");
    const char *got = captured();
    for (const char *at = got; (at = strstr(at, "event=flood")) != NULL; at++)
        lines++;
    for (const char *at = got; (at = strstr(at, "event=calm")) != NULL; at++)
        other++;
    assert_int_equal(lines, 12);
    assert_int_equal(other, 1);
    assert_non_null(strstr(got, "i=last suppressed=25\n"));
    assert_non_null(strstr(got, "i=after\n"));
}

/* Nobody reads: diag() comes back, whether the pipe is full to the last byte or a piece of a line
 * fits. */
static void a_full_pipe_is_not_waited_for(void **state)
{
    (void)state;
    static char fill[4096];
    for (size_t spare = 0; spare <= sizeof fill; spare += sizeof fill) {
        char a[DIAG_QUOTE_BYTES];
        uint8_t worst[300];
        memset(worst, 1, sizeof worst);
        memset(fill, '.', sizeof fill);
        capture(true);
        assert_true(fcntl(ends[1], F_SETPIPE_SZ, 65536) == 65536);
        for (size_t n = 0; n < 65536 - spare; n += sizeof fill)
            assert_int_equal(write(ends[1], fill, sizeof fill), sizeof fill);
        alarm(20); /* the test fails by a signal */
        diag_quote(a, span_of(worst, sizeof worst));
        diag(DIAG_INFO, "full1", "m", "a=%s b=%s", a, a); /* 3 KiB and more */
        diag(DIAG_INFO, "full2", "m", "a=%s b=%s", a, a);
        diag(DIAG_INFO, "full3", "m", "a=%s b=%s", a, a);
        alarm(0);
        size_t got = 0;
        while (got < 65536 - spare)
            got += (size_t)read(ends[0], text + got, sizeof text - got);
        diag(DIAG_INFO, "full4", "m", "n=1");
        const char *rest = captured();
        assert_non_null(strstr(rest, "\"event\":\"full4\""));
        assert_non_null(strstr(rest, spare == 0 ? "\"suppressed\":3}\n" : "\"suppressed\":2}\n"));
        assert_json(rest, 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoted),
        cmocka_unit_test(as_text),
        cmocka_unit_test(as_json),
        cmocka_unit_test(the_longest_line_is_whole),
        cmocka_unit_test(a_flood_is_cut_and_told),
        cmocka_unit_test(a_full_pipe_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
