#include "unit/test.h"

#include "export/posthog.h"

static void urls(void **state)
{
    (void)state;
    static const struct {
        const char *host, *url; /* NULL: refused */
    } rows[] = {
        {"https://us.i.posthog.com", "https://us.i.posthog.com/i/v1/logs"},
        {"us.i.posthog.com", "https://us.i.posthog.com/i/v1/logs"},
        {"https://eu.i.posthog.com/", "https://eu.i.posthog.com/i/v1/logs"},
        {"https://eu.i.posthog.com//", "https://eu.i.posthog.com/i/v1/logs"},
        {"http://localhost:8000", "http://localhost:8000/i/v1/logs"},
        {"http://[::1]:8000", "http://[::1]:8000/i/v1/logs"},
        {"https://us.posthog.com", "https://us.i.posthog.com/i/v1/logs"},
        {"eu.posthog.com/", "https://eu.i.posthog.com/i/v1/logs"},
        {"https://app.posthog.com", "https://us.i.posthog.com/i/v1/logs"},
        {"https://US.PostHog.com", "https://us.i.posthog.com/i/v1/logs"},
        {"HTTPS://logs.example.com", "https://logs.example.com/i/v1/logs"},
        {"us.posthog.com.example.com", "https://us.posthog.com.example.com/i/v1/logs"},
        {"", NULL},
        {"https://", NULL},
        {"https:///i/v1", NULL},
        {"https://us.i.posthog.com/i/v1/logs", NULL},
        {"https://us.i.posthog.com?a=b", NULL},
        {"https://user:secret@us.i.posthog.com", NULL},
        {"us.i.posthog.com#x", NULL},
        {"us i posthog com", NULL},
        {"ftp://us.i.posthog.com", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char url[UPSTREAM_URL_BYTES] = "";
        struct error err = {{0}};
        int rc = posthog_url(url, rows[i].host, SIGNAL_LOGS, &err);
        assert_row((rc == 0) == (rows[i].url != NULL), "'%s': %s", rows[i].host, err.text);
        if (rc == 0)
            assert_row(strcmp(url, rows[i].url) == 0, "'%s': %s", rows[i].host, url);
        else
            assert_row(rc == ERR_CONFIG && err.text[0] != '\0', "'%s'", rows[i].host);
    }
    char url[UPSTREAM_URL_BYTES], host[UPSTREAM_URL_BYTES];
    struct error err;
    assert_int_equal(posthog_url(url, "eu.i.posthog.com", SIGNAL_METRICS, &err), 0);
    assert_string_equal(url, "https://eu.i.posthog.com/i/v1/metrics");
    memset(host, 'a', sizeof host);
    host[sizeof host - 1] = '\0';
    assert_int_equal(posthog_url(url, host, SIGNAL_LOGS, &err), ERR_CONFIG);
}

static void what_is_likely_meant(void **state)
{
    (void)state;
    static const struct {
        const char *url, *location, *right;
    } rows[] = {
        {"https://us.posthog.com/i/v1/logs", "/login", "us.i.posthog.com"},
        {"https://EU.posthog.com:443/v1/logs", "", "eu.i.posthog.com"},
        {"https://x:y@app.posthog.com/v1/logs", "", "us.i.posthog.com"},
        {"https://us.i.posthog.com/v1/logs", "", "https://us.i.posthog.com/i"},
        {"https://us.i.posthog.com/i/v1/logs", "", ""},
        {"https://logs.posthog.com/i/v1/logs", "", "us.i.posthog.com or eu.i.posthog.com"},
        {"http://a.example/v1/logs", "https://a.example/v1/logs", "https://a.example/v1/logs"},
        {"http://a.example/v1/logs", "https://a.example/login", ""},
        {"http://a.example/v1/logs", "https://x:y@a.example/v1/logs", ""},
        {"http://a.example/v1/logs", "/v1/logs", ""},
        {"http://a.example/v1/logs", "", ""},
        {"http://a.example", "https://a.example", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char right[256] = "x";
        posthog_right_host(right, sizeof right, rows[i].url, span_str(rows[i].location));
        assert_row(strcmp(right, rows[i].right) == 0, "%s: %s", rows[i].url, right);
    }
}

static void keys(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        bool good;
    } rows[] = {
        {"phc_abcdefghijklmnopqrstuvwxyz0123456789ABCDEF", true},
        {"anything-else", true},
        {"phx_s3cr3t", false},
        {"phc_with space", false},
        {"$POSTHOG_API_KEY", false},
        {"${POSTHOG_API_KEY}", false},
        {"{{ .Values.key }}", false},
        {"phc_tab\t", false},
        {"phc_\xc3\xa9", false},
        {"phc_\x7f", false},
        {"1234567890123456789012345678901234567890123456789012345678901234", true},
        {"12345678901234567890123456789012345678901234567890123456789012345", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {{0}};
        assert_row((posthog_check_key(rows[i].key, &err) == 0) == rows[i].good, "%s", rows[i].key);
        assert_row(rows[i].good || err.text[0] != '\0', "%s", rows[i].key);
        assert_row(strstr(err.text, rows[i].key + 4) == NULL, "%s", err.text); /* it is a secret */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls), cmocka_unit_test(what_is_likely_meant), cmocka_unit_test(keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
