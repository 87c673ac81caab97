#include "unit/test.h"

#include "server/report_body.h"

#define NOW_MS 1800000000000

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: it is none */
    } rows[] = {
        {"1970-01-01T00:00:00", 0},
        {"1970-01-01T00:00:01.5Z", 1500},
        {"2026-11-30T21:00:00+02:00", 1796065200000},
        {"2026-11-30T21:00:00-00:30", 1796074200000},
        {"2026-11-30T21:00:00.123456", 1796072400123},
        {"1960-01-01T00:00:00", -1},
        {"2026-11-30", -1},
        {"2026-11-30T21:00", -1},
        {"2026-11-30T21:00:00 later", -1},
        {"2026-11-30T21:00:99", -1},
        {"", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ms = -1;
        bool is_one = report_parse_time(span_str(rows[i].text), &ms);
        assert_row(is_one == (rows[i].ms >= 0) && (!is_one || ms == rows[i].ms), "%s: %lld",
                   rows[i].text, (long long)ms);
    }
}

static void read(const char *text, struct report_body *body, struct rollup_line *line)
{
    struct json_doc *doc;
    struct json_node root;
    struct error err = {{0}};
    assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
    assert_row(report_body_read(body, root, &err) == 0, "%s", err.text);
    struct json_each each = json_each(body->patterns);
    if (json_next(&each))
        report_body_line(line, each.value, NOW_MS);
    json_doc_free(doc);
}

static void counts_and_what_is_not_given(void **state)
{
    (void)state;
    struct report_body body;
    struct rollup_line line;
    read(
        "{\"service_name\":\"a\",\"total_logs\":12,\"patterns\":[{\"signature\":\"x\",\"count\":10,"
        "\"sampled_count\":4,\"bytes\":1000,\"sampled_bytes\":500,\"last_seen\":99999999999,"
        "\"first_seen\":1.5,\"severity_distribution\":{\"info\":3,\"WARNING\":2,\"odd\":5}}]}",
        &body, &line);
    assert_int_equal(body.rest, 2);
    assert_int_equal(body.sequence, 0);
    assert_int_equal(line.counts.received, 10);
    assert_int_equal(line.counts.kept, 4);
    assert_int_equal(line.counts.kept_bytes, 500);
    assert_int_equal(line.counts.level[LEVEL_INFO], 8);
    assert_int_equal(line.counts.level[LEVEL_WARN], 2);
    assert_int_equal(line.counts.first_ms, 1500);
    assert_int_equal(line.counts.last_ms, NOW_MS + REPORT_AHEAD_MS); /* no later than that */

    read("{\"service_name\":\"a\",\"instance\":\"i\",\"boot\":\"b\",\"sequence\":7,\"patterns\":["
         "{\"signature\":\"x\",\"count\":10,\"sampled_count\":4,\"bytes\":1000}]}",
         &body, &line);
    assert_int_equal(body.sequence, 7);
    assert_int_equal(body.rest, 0);
    assert_int_equal(line.counts.kept_bytes, 400); /* by the share of the records */
    read("{\"service_name\":\"a\",\"patterns\":[{\"signature\":\"x\",\"count\":10,\"bytes\":50}]}",
         &body, &line);
    assert_int_equal(line.counts.kept, 10); /* nothing is claimed */
    assert_int_equal(line.counts.kept_bytes, 50);
}

static void a_long_template_is_cut_between_characters(void **state)
{
    (void)state;
    static char text[4096];
    struct report_body body;
    struct rollup_line line;
    int n = snprintf(text, sizeof text,
                     "{\"service_name\":\"a\",\"patterns\":[{\"signature\":\"x\",\"count\":1,"
                     "\"template\":\"");
    for (int i = 0; i < 400; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "\xe2\x82\xac"); /* three bytes each */
    snprintf(text + n, sizeof text - (size_t)n, "\"}]}");
    struct json_doc *doc;
    struct json_node root;
    struct error err;
    assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
    assert_int_equal(report_body_read(&body, root, &err), 0);
    struct json_each each = json_each(body.patterns);
    assert_true(json_next(&each));
    report_body_line(&line, each.value, NOW_MS);
    assert_int_equal(line.template_text.len, 1023);
    json_doc_free(doc);
}

static void losses_and_the_quota(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        uint32_t reasons;
        bool is_limited;
        const char *wrong; /* a part of the sentence; NULL: it is right */
    } rows[] = {
        {"", 0, false, NULL},
        {",\"lost\":null,\"quota_limited\":null", 0, false, NULL},
        {",\"lost\":{},\"quota_limited\":false", 0, false, NULL},
        {",\"lost\":{\"expired\":3,\"of a later version\":0},\"quota_limited\":true", 2, true,
         NULL},
        {",\"lost\":[1]", 0, false, "lost: an object"},
        {",\"lost\":7", 0, false, "lost: an object"},
        {",\"lost\":{\"\":1}", 0, false, "lost: reasons"},
        {",\"lost\":{\"a\\nb\":1}", 0, false, "lost: reasons"},
        {",\"lost\":{\"expired\":-1}", 0, false, "lost: reasons"},
        {",\"lost\":{\"expired\":1.5}", 0, false, "lost: reasons"},
        {",\"lost\":{\"expired\":9000000000000000}", 0, false, "lost: reasons"},
        {",\"lost\":{\"expired\":\"3\"}", 0, false, "lost: reasons"},
        {",\"quota_limited\":1", 0, false, "quota_limited"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        struct report_body body;
        struct json_doc *doc;
        struct json_node root;
        struct error err = {{0}};
        snprintf(text, sizeof text, "{\"service_name\":\"a\",\"patterns\":[]%s}", rows[i].fields);
        assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
        int rc = report_body_read(&body, root, &err);
        if (rows[i].wrong != NULL)
            assert_row(rc == ERR_MALFORMED && strstr(err.text, rows[i].wrong) != NULL, "%s: %s",
                       text, err.text);
        else
            assert_row(rc == 0 && body.reason_count == rows[i].reasons &&
                           body.is_quota_limited == rows[i].is_limited,
                       "%s: %s", text, err.text);
        json_doc_free(doc);
    }
}

static void versions(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        uint32_t count;
        const char *wrong; /* a part of the sentence; NULL: it is right */
    } rows[] = {
        {"null", 0, NULL},
        {"[]", 0, NULL},
        {"[{\"version\":\"1.0\"},{\"version\":\"2\",\"first_seen\":1.5,\"later\":1}]", 2, NULL},
        {"{}", 0, "an array"},
        {"[\"1.0\"]", 0, "each must have"},
        {"[{}]", 0, "each must have"},
        {"[{\"version\":\"\"}]", 0, "each must have"},
        {"[{\"version\":\"a\\nb\"}]", 0, "each must have"},
        {"[{\"version\":\"1\",\"first_seen\":\"soon\"}]", 0, "each must have"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        struct report_body body = {.service = {NULL, 0}};
        struct json_doc *doc;
        struct json_node root;
        struct error err = {{0}};
        snprintf(text, sizeof text, "{\"service_name\":\"a\",\"patterns\":[],\"versions\":%s}",
                 rows[i].list);
        assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
        int rc = report_body_read(&body, root, &err);
        if (rows[i].wrong != NULL)
            assert_row(rc == ERR_MALFORMED && strstr(err.text, rows[i].wrong) != NULL, "%s: %s",
                       text, err.text);
        else
            assert_row(rc == 0 && body.version_count == rows[i].count, "%s: %s", text, err.text);
        struct json_each each = json_each(body.versions);
        for (int k = 0; rc == 0 && json_next(&each); k++) {
            struct span version;
            int64_t first_ms;
            report_body_version(&version, &first_ms, each.value, NOW_MS);
            assert_true(span_eq(version, k == 0 ? SPAN("1.0") : SPAN("2")));
            assert_int_equal(first_ms, k == 0 ? NOW_MS : 1500);
        }
        json_doc_free(doc);
    }
}

static void reasons_are_bounded(void **state)
{
    (void)state;
    for (int count = REPORT_REASONS_MAX; count <= REPORT_REASONS_MAX + 1; count++) {
        char text[1024];
        struct report_body body;
        struct json_doc *doc;
        struct json_node root;
        struct error err = {{0}};
        int n = snprintf(text, sizeof text, "{\"service_name\":\"a\",\"patterns\":[],\"lost\":{");
        for (int i = 0; i < count; i++)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s\"r%d\":1", i > 0 ? "," : "", i);
        snprintf(text + n, sizeof text - (size_t)n, "}}");
        assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
        assert_int_equal(report_body_read(&body, root, &err),
                         count > REPORT_REASONS_MAX ? ERR_MALFORMED : 0);
        json_doc_free(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(counts_and_what_is_not_given),
        cmocka_unit_test(a_long_template_is_cut_between_characters),
        cmocka_unit_test(losses_and_the_quota),
        cmocka_unit_test(versions),
        cmocka_unit_test(reasons_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
