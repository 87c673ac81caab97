#include "unit/test.h"

#include "otlp/json_doc.h"
#include "posthog/selection.h"
#include "unit/pipeline/row.h"

enum kind { FILTERS, GROUP, SQL };

static void read(struct selection *s, enum kind kind, const char *text)
{
    struct json_doc *doc;
    struct json_node root;
    if (kind == SQL) {
        assert_int_equal(selection_of_sql(s, span_str(text)), 0);
        return;
    }
    assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
    int rc = kind == FILTERS ? selection_of_filters(s, root) : selection_of_group(s, root);
    assert_int_equal(rc, 0);
    json_doc_free(doc);
}

#define LEAF(type, key, op, value) \
    "{\"type\":\"" type "\",\"key\":\"" key "\",\"operator\":\"" op "\",\"value\":" value "}"
#define MESSAGE(op, value) LEAF("log", "message", op, value)
#define METHOD(op, value) LEAF("log_attribute", "http.method", op, value)

/* The record: checkout in eu-west-1, WARN, "Payment of 5 EUR failed", http.method GET, status 503.
 */
static void rows_of_the_table(void **state)
{
    (void)state;
    static const struct {
        enum kind kind;
        const char *text;
        enum filter_answer answer;
        unsigned unsaid;
        bool tells_apart;
        const char *why;
    } rows[] = {
        /* clang-format off */
        {FILTERS, "{}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"severityLevels\":[],\"serviceNames\":null,\"searchTerm\":\"\",\"filterGroup\":[]}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"severityLevels\":[\"warn\"]}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"severityLevels\":[\"info\",\"error\"]}", FILTER_NO, 0, true, ""},
        {FILTERS, "{\"severityLevels\":[\"warn\"],\"serviceNames\":[\"web\"]}", FILTER_NO, 0, true, ""},
        {FILTERS, "{\"severityLevels\":[\"warn\"],\"serviceNames\":[\"checkout\"]}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"searchTerm\":\"eur FAILED\"}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"searchTerm\":\"-failed\"}", FILTER_UNSURE, 1, false, "the search term '-failed'"},
        {FILTERS, "{\"filterGroup\":[" MESSAGE("icontains", "\"payment\"") "," METHOD("exact", "[\"GET\",\"PUT\"]") "]}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"filterGroup\":[" MESSAGE("icontains", "\"payment\"") "," METHOD("is_not", "[\"GET\",\"PUT\"]") "]}", FILTER_NO, 0, true, ""},
        {FILTERS, "{\"filterGroup\":{\"type\":\"AND\",\"values\":[{\"type\":\"OR\",\"values\":[" METHOD("exact", "\"PUT\"") "," LEAF("log_resource_attribute", "region", "exact", "\"eu-west-1\"") "]}]}}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"filterGroup\":" LEAF("log_attribute", "status", "gt", "\"499\"") "}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"filterGroup\":" LEAF("log_attribute", "status", "gt", "[499]") "}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"filterGroup\":" LEAF("log_attribute", "status", "exact", "503") "}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"filterGroup\":" LEAF("log_attribute", "status", "gt", "\"many\"") "}", FILTER_UNSURE, 1, false, "the value for 'status'"},
        {FILTERS, "{\"filterGroup\":" LEAF("log_attribute", "x", "is_not_set", "null") "}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"filterGroup\":" LEAF("log_resource_attribute", "service.name", "exact", "\"checkout\"") "}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"serviceNames\":[\"web\"],\"filterGroup\":[" MESSAGE("is_date_before", "\"1\"") "]}", FILTER_NO, 1, true, "the operator 'is_date_before'"},
        {FILTERS, "{\"serviceNames\":[\"checkout\"],\"filterGroup\":[" MESSAGE("is_date_before", "\"1\"") "]}", FILTER_UNSURE, 1, true, "the operator 'is_date_before'"},
        {FILTERS, "{\"filterGroup\":[" LEAF("log", "trace_id", "exact", "\"1\"") "," LEAF("person", "email", "exact", "\"1\"") "]}", FILTER_UNSURE, 2, false, "a condition on 'trace_id'"},
        {FILTERS, "{\"serviceNames\":[[]]}", FILTER_UNSURE, 1, false, "a list of services or severities"},
        {FILTERS, "{\"filterGroup\":[" MESSAGE("regex", "\"^Payment of [0-9]+ EUR\"") "]}", FILTER_YES, 0, true, ""},
        {FILTERS, "{\"filterGroup\":[" MESSAGE("not_regex", "\"^Payment of [0-9]+ EUR\"") "]}", FILTER_NO, 0, true, ""},
        {FILTERS, "{\"filterGroup\":[" MESSAGE("regex", "\"(?!x)y\"") "]}", FILTER_UNSURE, 1, false, "the expression '(?!x)y'"},
        {GROUP, "null", FILTER_YES, 0, true, ""},
        {GROUP, "{\"type\":\"AND\",\"values\":[]}", FILTER_YES, 0, true, ""},
        {GROUP, "{\"type\":\"AND\",\"values\":[" METHOD("exact", "\"GET\"") "]}", FILTER_YES, 0, true, ""},
        {GROUP, "{\"type\":\"OR\",\"values\":[" METHOD("exact", "\"PUT\"") "]}", FILTER_NO, 0, true, ""},
        {SQL, "SELECT count() FROM logs", FILTER_UNSURE, 1, false, "SQL"},
        {SQL, "SELECT count() FROM logs WHERE service_name = 'web'", FILTER_NO, 1, true, "SQL"},
        {SQL, "SELECT count() FROM logs WHERE service_name IN ('web', 'checkout') AND 1", FILTER_UNSURE, 1, true, "SQL"},
        {SQL, "SELECT service_name, 'checkout' FROM logs WHERE service_name in('api')", FILTER_NO, 1, true, "SQL"},
        {SQL, "service_name", FILTER_UNSURE, 1, false, "SQL"},
        {SQL, "service_name in", FILTER_UNSURE, 1, false, "SQL"},
        {SQL, "service_name = 'x", FILTER_UNSURE, 1, false, "SQL"},
        /* clang-format on */
    };
    struct row_rig r;
    row_init(&r, 13, NULL, "Payment of 5 EUR failed");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct selection s;
        read(&s, rows[i].kind, rows[i].text);
        if (row_ask(s.filter, &r) != rows[i].answer || s.unsaid != rows[i].unsaid ||
            strcmp(s.why, rows[i].why) != 0 ||
            (s.unsaid > 0 && filter_tells_apart(s.filter) != rows[i].tells_apart))
            fail_msg("row %zu: %s: %d, %u, %s", i, rows[i].text, (int)row_ask(s.filter, &r),
                     s.unsaid, s.why);
        filter_free(s.filter);
    }
    row_done(&r);
}

static void what_nests_for_ever_ends(void **state)
{
    (void)state;
    struct buf text = {0};
    for (int i = 0; i < 500; i++)
        buf_append_str(&text, "{\"type\":\"AND\",\"values\":[");
    buf_append_str(&text, METHOD("exact", "\"GET\""));
    for (int i = 0; i < 500; i++)
        buf_append_str(&text, "]}");
    buf_append_byte(&text, '\0');
    struct selection s;
    read(&s, GROUP, (char *)text.base);
    assert_int_equal(s.unsaid, 1);
    filter_free(s.filter);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_the_table),
        cmocka_unit_test(what_nests_for_ever_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
