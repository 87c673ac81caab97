#include "unit/test.h"

#include <stdlib.h>

#include "cli/term.h"
#include "cli/top_view.h"
#include "util/err.h"
#include "util/unicode.h"

#define TOTALS(uptime, received) \
    "{\"version\":\"0.1.0\",\"uptime_ms\":" #uptime ",\"received\":" #received \
    ",\"kept\":500,\"rejected\":0," \
    "\"delivered\":400,\"queued\":100,\"lost\":0,\"received_bytes\":200000,\"kept_bytes\":50000," \
    "\"queue_bytes\":1234," \
    "\"queue_capacity\":33554432,\"policy\":\"server\",\"policy_version\":7,\"patterns_held\":3," \
    "\"services\":2,\"money\":\"saves 1.00 of 4.00 USD a month\",\"redaction\":\"detect: 7 " \
    "email, 1 card\"}\n"
#define ROW(id, severity, received, kept, in, out, text) \
    "{\"pattern\":\"lps1:" id "\",\"service\":\"checkout\",\"severity\":\"" severity \
    "\",\"template\":\"" text "\",\"received\":" #received ",\"kept\":" #kept \
    ",\"received_bytes\":" #in ",\"kept_bytes\":" #out ",\"standard_error\":12}\n"

static const char first[] = TOTALS(60000, 1000) ROW("a", "INFO", 600, 60, 90000, 9000, "loud <*>")
    ROW("b", "WARN", 300, 300, 30000, 30000, "kept whole")
        ROW("c", "DEBUG", 100, 1, 80000, 800, "wide 日本語 text");
static const char second[] = TOTALS(62000, 1500) ROW("a", "INFO", 610, 61, 91500, 9150, "loud <*>")
    ROW("b", "WARN", 300, 300, 30000, 30000, "kept whole")
        ROW("c", "DEBUG", 590, 6, 472000, 4800, "wide 日本語 text");

static void rig_open(struct top_view *v)
{
    assert_int_equal(top_view_init(v), 0);
    assert_int_equal(top_view_take(v, span_str(first), 10000), 0);
}

/* The frame as a string; the last one is freed. */
static const char *draw(struct top_view *v, struct buf *out, unsigned width, unsigned height)
{
    buf_clear(out);
    top_view_draw(v, out, width, height);
    buf_append_byte(out, '\0');
    return (const char *)out->base;
}

/* The order of the rows, by a letter of their templates. */
static const char *order_of(const char *frame, char out[4])
{
    const char *at[] = {strstr(frame, "loud"), strstr(frame, "kept whole"), strstr(frame, "wide")};
    static const char letters[] = "abc";
    for (int place = 0; place < 3; place++) {
        int best = -1;
        for (int i = 0; i < 3; i++)
            if (at[i] != NULL && (best < 0 || at[i] < at[best]))
                best = i;
        out[place] = best < 0 ? '\0' : letters[best];
        if (best >= 0)
            at[best] = NULL;
    }
    out[3] = '\0';
    return out;
}

static void each_order_and_its_reverse(void **state)
{
    (void)state;
    static const struct {
        const char *name, *rows, *reversed;
    } rows[] = {
        {"volume", "acb", "bca"}, {"now", "cab", "bac"},      {"kept", "bac", "cab"},
        {"saved", "cab", "bac"},  {"severity", "bac", "cab"},
    };
    struct top_view v;
    struct buf out = {0};
    char text[4];
    rig_open(&v);
    assert_int_equal(top_view_take(&v, span_str(second), 12000), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int order = top_order_of_name(rows[i].name);
        assert_row(order >= 0, "%s", rows[i].name);
        v.order = (enum top_order)order;
        v.reverse = false;
        assert_row(strcmp(order_of(draw(&v, &out, 120, 0), text), rows[i].rows) == 0, "%s: %s",
                   rows[i].name, text);
        v.reverse = true;
        assert_row(strcmp(order_of(draw(&v, &out, 120, 0), text), rows[i].reversed) == 0, "%s: %s",
                   rows[i].name, text);
    }
    assert_int_equal(top_order_of_key('k'), TOP_BY_KEPT);
    assert_true(top_order_of_key('x') < 0);
    assert_true(top_order_of_name("x") < 0);
    buf_done(&out);
    top_view_done(&v);
}

static void rates_are_between_two_answers(void **state)
{
    (void)state;
    struct top_view v;
    struct buf out = {0};
    rig_open(&v);
    assert_non_null(strstr(draw(&v, &out, 100, 0),
                           "      -     600  60.0%  10.0%   2.0%   81.0k       - INFO"));
    assert_int_equal(top_view_take(&v, span_str(second), 12000), 0); /* 2 s later */
    const char *frame = draw(&v, &out, 100, 0);
    assert_non_null(
        strstr(frame, "    245     590  39.3%   1.0%   2.0%    467k    194k DEBUG checkout"));
    assert_non_null(strstr(frame, "      5     610"));
    assert_non_null(strstr(
        frame, "records 1.50k (250/s)  kept 33.3%  lost 0  rejected 0  delivered 400  queued 100"));
    assert_non_null(strstr(frame, "up 0:01:02  policy server v7  services 2  patterns 3"));
    assert_non_null(strstr(frame, "queue 1.23k of 33.6M"));
    /* Another process: its counts began anew. */
    assert_int_equal(top_view_take(&v, span_str(first), 14000), 0);
    assert_non_null(strstr(draw(&v, &out, 100, 0), "      -     600"));
    buf_done(&out);
    top_view_done(&v);
}

static unsigned columns_of(struct span line)
{
    struct buf shown = {0};
    unsigned n = term_add(&shown, line, 10000);
    buf_done(&shown);
    return n;
}

static void no_line_is_wider_and_no_frame_higher(void **state)
{
    (void)state;
    struct top_view v;
    struct buf out = {0};
    rig_open(&v);
    for (unsigned width = 1; width < 130; width++) {
        for (unsigned height = 1; height < 12; height++) {
            buf_clear(&out);
            top_view_draw(&v, &out, width, height);
            struct span rest = buf_span(&out);
            unsigned lines = 0;
            while (rest.len > 0) {
                size_t n = (size_t)((const uint8_t *)memchr(rest.base, '\n', rest.len) - rest.base);
                assert_row(columns_of(span_of(rest.base, n)) <= width, "%u: '%.*s'", width, (int)n,
                           (const char *)rest.base);
                rest = span_skip(rest, n + 1);
                lines++;
            }
            assert_row(lines <= height && lines >= (height < 8 ? height : 8), "%u lines of %u",
                       lines, height);
        }
    }
    buf_done(&out);
    top_view_done(&v);
}

static void scrolling_stays_inside(void **state)
{
    (void)state;
    struct top_view v;
    struct buf out = {0};
    char text[4];
    rig_open(&v);
    v.scroll = 1;
    assert_string_equal(order_of(draw(&v, &out, 80, TOP_TITLE_LINE + 1 + 2), text), "bc");
    v.scroll = 100;
    assert_string_equal(order_of(draw(&v, &out, 80, TOP_TITLE_LINE + 1 + 1), text), "c");
    assert_int_equal(v.scroll, 2);
    assert_string_equal(order_of(draw(&v, &out, 80, 24), text), "abc");
    v.paused = true;
    v.notice = "no answer";
    assert_non_null(strstr(draw(&v, &out, 120, 24),
                           "by volume  PAUSED  saves 1.00 of 4.00 USD a month  "
                           "redaction detect: 7 email, 1 card  no answer\n"));
    strcpy(v.now.guarded, "7 kept because of alert \"a\": 0.01 MB");
    assert_non_null(strstr(draw(&v, &out, 80, 24), "\nguarded  7 kept because of alert"));
    assert_string_equal(order_of(draw(&v, &out, 80, top_title_line(&v) + 1 + 2), text), "ab");
    buf_done(&out);
    top_view_done(&v);
}

static void nonsense_changes_nothing(void **state)
{
    (void)state;
    static const char *const rows[] = {"",       "\n",     "{}", "{\"error\":\"no memory\"}\n",
                                       "<html>", "[1,2]\n"};
    struct top_view v;
    struct buf out = {0};
    rig_open(&v);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(top_view_take(&v, span_str(rows[i]), 20000) == ERR_MALFORMED && v.count == 3,
                   "%s", rows[i]);
    /* A line that is none is left out; a row's text cannot move the cursor. */
    assert_int_equal(
        top_view_take(
            &v, SPAN(TOTALS(70000, 1) "garbage\n" ROW("z", "INFO", 1, 1, 1, 1, "\\u001b[2Jx")),
            30000),
        0);
    assert_int_equal(v.count, 1);
    const char *frame = draw(&v, &out, 80, 0);
    assert_non_null(strstr(frame, "?[2Jx"));
    assert_null(strchr(frame, '\033'));
    buf_done(&out);
    top_view_done(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_order_and_its_reverse),
        cmocka_unit_test(rates_are_between_two_answers),
        cmocka_unit_test(no_line_is_wider_and_no_frame_higher),
        cmocka_unit_test(scrolling_stays_inside),
        cmocka_unit_test(nonsense_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
