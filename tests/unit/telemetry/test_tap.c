#include "unit/test.h"

#include "pattern/signature.h"
#include "telemetry/tap.h"

/* One decision, of which rows say what differs. */
struct rig {
    struct log_record record;
    struct logs_group group;
    struct pattern pattern;
    struct subject s;
    struct decision d;
};

static void rig_set(struct rig *r, const char *body)
{
    *r = (struct rig){.d = {.verdict = VERDICT_SAMPLED_OUT, .reason = REASON_SEVERITY_RATE}};
    r->record.body = (struct log_value){.kind = LOG_STRING, .text = span_str(body)};
    r->group.service_name = SPAN("checkout");
    r->pattern.template_text = (char *)(uintptr_t) "a template";
    r->pattern.template_len = 10;
    r->d.threshold = rules_threshold_of(0.25);
    r->s = (struct subject){.group = &r->group,
                            .record = &r->record,
                            .level = LEVEL_WARN,
                            .signature = 0xa1,
                            .family = 0xf1,
                            .pattern = &r->pattern};
}

static void each_filter_by_itself(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct tap_filter filter;
        bool wants;
    } rows[] = {
        {"none", {0}, true},
        {"dropped", {.verdicts = 1u << VERDICT_SAMPLED_OUT | 1u << VERDICT_DROPPED_BY_RULE}, true},
        {"kept", {.verdicts = 1u << VERDICT_KEPT}, false},
        {"level", {.levels = 1u << LEVEL_WARN}, true},
        {"other level", {.levels = 1u << LEVEL_INFO | 1u << LEVEL_ERROR}, false},
        {"signature", {.has_pattern = true, .pattern = 0xa1}, true},
        {"family", {.has_pattern = true, .pattern = 0xf1}, true},
        {"pattern 0", {.has_pattern = true}, false},
        {"service", {.service = "checkout"}, true},
        {"service glob", {.service = "check*"}, true},
        {"half a service", {.service = "check"}, false},
        {"grep", {.grep = "7 logged"}, true},
        {"grep is exact", {.grep = "User"}, false},
        {"two, one fails", {.service = "checkout", .grep = "nowhere"}, false},
    };
    struct rig r;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rig_set(&r, "user 7 logged in");
        assert_row(tap_wants(&rows[i].filter, &r.s, &r.d) == rows[i].wants, "%s", rows[i].name);
    }
    const struct tap_filter grep = {.grep = "7"};
    r.record.body = (struct log_value){.kind = LOG_NONE};
    assert_false(tap_wants(&grep, &r.s, &r.d));
    r.record.body = (struct log_value){.kind = LOG_KVLIST, .text = SPAN("\x0a\x02k7")};
    assert_true(tap_wants(&grep, &r.s, &r.d));
}

static void severities(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        unsigned levels;
    } rows[] = {
        {"warn", 0, 1u << LEVEL_WARN},
        {"WARNING", 0, 1u << LEVEL_WARN},
        {"trace+", 0, (1u << LEVEL_COUNT) - 1},
        {"warn+", 0, 1u << LEVEL_WARN | 1u << LEVEL_ERROR | 1u << LEVEL_FATAL},
        {"fatal+", 0, 1u << LEVEL_FATAL},
        {"", ERR_MALFORMED, 77},
        {"+", ERR_MALFORMED, 77},
        {"warn++", ERR_MALFORMED, 77},
        {"loud", ERR_MALFORMED, 77},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned levels = 77;
        assert_row(tap_parse_severity(rows[i].text, &levels) == rows[i].rc &&
                       levels == rows[i].levels,
                   "%s: %u", rows[i].text, levels);
    }
}

static unsigned admitted(struct tap *t, unsigned tries, uint64_t now_ms, size_t bytes)
{
    unsigned n = 0;
    for (unsigned i = 0; i < tries; i++) {
        if (!tap_admit(t, now_ms))
            continue;
        tap_shown(t, bytes);
        n++;
    }
    return n;
}

static void lines_and_bytes_are_bounded(void **state)
{
    (void)state;
    const struct tap_filter all = {0};
    struct tap t;
    tap_init(&t, &all, 0);
    assert_int_equal(admitted(&t, 500, 1000, 10), TAP_LINES_PER_S);
    assert_int_equal(admitted(&t, 500, 1000, 10), 0);
    assert_int_equal(admitted(&t, 500, 1100, 10), TAP_LINES_PER_S / 10);
    assert_int_equal(admitted(&t, 500, 99000, 10),
                     TAP_LINES_PER_S); /* never more than a second's */
    assert_int_equal(t.shown, 2 * TAP_LINES_PER_S + TAP_LINES_PER_S / 10);

    tap_init(&t, &all, 5);
    assert_int_equal(admitted(&t, 50, 0, 10), 5);
    assert_int_equal(admitted(&t, 50, 199, 10), 0);
    assert_int_equal(admitted(&t, 50, 200, 10), 1);

    /* Long lines: the bytes end first, and what was too much is owed. */
    tap_init(&t, &all, 0);
    assert_int_equal(admitted(&t, 100, 0, TAP_BYTES_PER_S / 4), 4);
    tap_shown(&t, TAP_BYTES_PER_S);
    assert_int_equal(admitted(&t, 100, 900, 1), 0);
    assert_int_equal(admitted(&t, 1, 1500, 1), 1);
    tap_init(&t, &all, 10 * TAP_LINES_PER_S);
    assert_int_equal(t.bytes.per_second, 10 * TAP_BYTES_PER_S);
}

static void a_line_says_what_and_why(void **state)
{
    (void)state;
    struct rig r;
    struct buf out = {0};
    rig_set(&r, "a \"quote\"\n");
    tap_line(&out, &r.s, &r.d, 1700000000123000000u);
    buf_append_byte(&out, '\0');
    assert_string_equal((const char *)out.base,
                        "{\"time\":1700000000.123,\"service\":\"checkout\",\"severity\":\"WARN\","
                        "\"verdict\":\"sampled_out\",\"reason\":\"severity_rate\",\"rate\":0.25,"
                        "\"threshold\":\"0xc0000000000000\",\"pattern\":\"lps1:00000000000000a1\","
                        "\"family\":\"lps1:00000000000000f1\",\"body\":\"a \\\"quote\\\"\\n\"}\n");
    /* Cut between characters; what is no text is told by its template. */
    char body[TAP_BODY_BYTES + 8];
    memset(body, 'x', sizeof body);
    memcpy(body + TAP_BODY_BYTES - 1, "\xc3\xa9", 3);
    rig_set(&r, body);
    buf_clear(&out);
    tap_line(&out, &r.s, &r.d, 0);
    assert_null(memchr(out.base, 0xc3, out.len));
    assert_non_null(memmem(out.base, out.len, "xx\"}\n", 5));
    r.record.body = (struct log_value){.kind = LOG_KVLIST};
    buf_clear(&out);
    tap_line(&out, &r.s, &r.d, 0);
    assert_non_null(memmem(out.base, out.len, "\"body\":\"a template\"}", 20));
    r.record.body = (struct log_value){.kind = LOG_INT, .integer = -3};
    r.d = (struct decision){.verdict = VERDICT_DROPPED_BY_RULE, .reason = REASON_DROP_RULE};
    buf_clear(&out);
    tap_line(&out, &r.s, &r.d, 0);
    assert_non_null(memmem(out.base, out.len, "\"body\":\"-3\"}", 12));
    assert_non_null(memmem(out.base, out.len, "\"rate\":0,", 9));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_filter_by_itself),
        cmocka_unit_test(severities),
        cmocka_unit_test(lines_and_bytes_are_bounded),
        cmocka_unit_test(a_line_says_what_and_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
