#include "unit/test.h"

#include "posthog/fault.h"

static const struct app_asked asked = {"https://us.posthog.com", "GET", "/api/projects/", 60000,
                                       1000};

static void judge(struct app_verdict *v, const struct client_result *r, const char *json)
{
    struct json_doc *doc = NULL;
    struct json_node root = {0};
    if (json != NULL)
        assert_int_equal(json_doc_new(&doc, span_str(json), NULL, &root), 0);
    app_judge(v, &asked, r, doc != NULL, root, 30000);
    json_doc_free(doc);
}

static void each_fault_has_its_own_sentence_and_remedy(void **state)
{
    (void)state;
    static const struct {
        struct client_result result;
        const char *json;
        enum app_fault fault;
        const char *text, *remedy; /* pieces */
    } rows[] = {
        {{.status = 200}, "{}", APP_FINE, "", ""},
        {{.status = 204}, NULL, APP_FINE, "", ""},
        {{.err = ERR_UNAVAILABLE, .text = "Could not resolve host"},
         NULL,
         APP_UNREACHABLE,
         "https://us.posthog.com cannot be reached: Could not resolve host",
         "posthog.app_host"},
        {{.err = UV_ETIMEDOUT, .text = "t"},
         NULL,
         APP_SILENT,
         "did not answer /api/projects/ within 60 s",
         "shorter"},
        {{.err = ERR_IO, .text = "Empty reply"}, NULL, APP_SILENT, "broke off", "again"},
        {{.err = ERR_UNTRUSTED, .text = "self-signed"}, NULL, APP_UNTRUSTED, "TLS with", "ca_file"},
        {{.status = 302}, NULL, APP_ELSEWHERE, "redirect (302) to '/login'", "posthog.app_host"},
        {{.status = 401},
         "{\"detail\":\"x\"}",
         APP_BAD_KEY,
         "does not know the personal API key",
         "https://eu.i.posthog.com"},
        {{.status = 403},
         "{\"detail\":\"API key missing required scope 'logs:read'\"}",
         APP_NO_SCOPE,
         "lacks the scope logs:read",
         "add the scope logs:read"},
        {{.status = 403},
         "{\"detail\":\"Not \\u001b[1m yours\"}",
         APP_FORBIDDEN,
         "forbids GET /api/projects/: Not ?[1m yours",
         "owner"},
        {{.status = 404}, "{}", APP_NOT_FOUND, "has no /api/projects/", "posthog.project_id"},
        {{.status = 429}, "{}", APP_THROTTLED, "limit of requests", "in 30 s"},
        {{.status = 400},
         "{\"detail\":\"must be one of\",\"attr\":\"window_minutes\"}",
         APP_REFUSED,
         "(400): window_minutes: must be one of",
         "fault of the request"},
        {{.status = 400},
         "{\"error\":\"No query provided\"}",
         APP_REFUSED,
         "No query provided",
         ""},
        {{.status = 500},
         "{\"detail\":\"A server error\"}",
         APP_BROKEN,
         "(500): A server error",
         "later"},
        {{.status = 502}, NULL, APP_BROKEN, "failed at GET /api/projects/ (502)", "later"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct client_result r = rows[i].result;
        struct app_verdict v;
        r.location = r.status == 302 ? SPAN("/login") : (struct span){0};
        judge(&v, &r, rows[i].json);
        assert_int_equal(v.fault, rows[i].fault);
        if (strstr(v.text, rows[i].text) == NULL || strstr(v.remedy, rows[i].remedy) == NULL)
            fail_msg("%s: \"%s\", \"%s\"", rows[i].text, v.text, v.remedy);
        assert_string_equal(v.scope, v.fault == APP_NO_SCOPE ? "logs:read" : "");
    }
}

static void pages_for_people_and_long_answers_are_no_answers(void **state)
{
    (void)state;
    struct app_verdict v;
    uint8_t bytes[1000] = {'{'};
    struct client_result r = {.status = 200, .body = SPAN("<html>")};
    judge(&v, &r, NULL);
    assert_int_equal(v.fault, APP_NOT_JSON);
    r.body = span_of(bytes, sizeof bytes);
    judge(&v, &r, NULL);
    assert_int_equal(v.fault, APP_TOO_LONG);
}

static void a_self_hosted_key_is_not_sent_to_another_region(void **state)
{
    (void)state;
    struct app_verdict v;
    const struct app_asked own = {"https://posthog.example.com", "GET", "/", 1000, 1000};
    const struct client_result r = {.status = 401};
    app_judge(&v, &own, &r, false, (struct json_node){0}, 0);
    assert_int_equal(v.fault, APP_BAD_KEY);
    assert_null(strstr(v.remedy, "posthog.com to"));
    assert_null(strstr(v.remedy, "i.posthog.com"));
}

static void waits_are_read_and_bounded(void **state)
{
    (void)state;
    assert_int_equal(app_retry_after(SPAN("30"), 1), 30000);
    assert_int_equal(app_retry_after(SPAN("0"), 1), 0);
    assert_int_equal(app_retry_after(SPAN(""), 1234), 1234);
    assert_int_equal(app_retry_after(SPAN("Wed, 21 Oct 2026 07:28:00 GMT"), 1234), 1234);
    assert_int_equal(app_retry_after(SPAN("99999"), 1), APP_PAUSE_MAX_MS);
    assert_int_equal(app_retry_after(SPAN("99999999999999999999999"), 1234), 1234);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_has_its_own_sentence_and_remedy),
        cmocka_unit_test(pages_for_people_and_long_answers_are_no_answers),
        cmocka_unit_test(a_self_hosted_key_is_not_sent_to_another_region),
        cmocka_unit_test(waits_are_read_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
