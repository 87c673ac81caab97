#include "unit/test.h"

#include "receiver/cors.h"

static void origins(void **state)
{
    (void)state;
    static const struct {
        const char *list, *origin;
        bool is;
    } rows[] = {
        {"", "http://a", false},
        {"http://a", "http://a", true},
        {"http://a", "HTTP://A", true},
        {"http://A", "http://a", true},
        {"http://a", "http://a:80", false},
        {"http://a", "https://a", false},
        {"http://a", "http://a.evil", false},
        {"http://b,http://a", "http://a", true},
        {"*", "http://a", true},
        {"*", "null", true},
        {"http://a", "null", false},
        {"https://*.example.com", "https://app.example.com", true},
        {"https://*.example.com", "https://example.com", false},
        {"https://*.example.com", "https://app.example.com.evil.net", false},
        {"http://localhost:*", "http://localhost:3000", true},
        {"*", "", false}, /* there is none */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct cors c = {.origins = rows[i].list, .headers = ""};
        assert_row(cors_allows(&c, span_str(rows[i].origin)) == rows[i].is, "%s in %s",
                   rows[i].origin, rows[i].list);
    }
}

static void origins_are_bounded(void **state)
{
    (void)state;
    uint8_t text[513];
    const struct cors any = {.origins = "*", .headers = ""};
    memset(text, 'a', sizeof text);
    assert_true(cors_allows(&any, span_of(text, 512)));
    assert_false(cors_allows(&any, span_of(text, 513)));
}

static void questions(void **state)
{
    (void)state;
    static const struct {
        const char *allowed, *method, *headers;
        bool is;
    } rows[] = {
        {"", "POST", "", true},
        {"", "POST", "content-type", true},
        {"", "POST", "Content-Type, X-Requested-With", true},
        {"", "POST", "authorization", false},
        {"authorization,x-api-key", "POST", "Authorization, content-type", true},
        {"authorization", "POST", "content-type,x-other", false},
        {"*", "POST", "anything, at-all", true},
        {"*", "PUT", "", false},
        {"*", "post", "", false}, /* methods have case */
        {"", "POST", ", ,content-type", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct cors c = {.origins = "*", .headers = rows[i].allowed};
        const struct http_head head = {.wanted_method = span_str(rows[i].method),
                                       .wanted_headers = span_str(rows[i].headers)};
        assert_row(cors_allows_request(&c, &head) == rows[i].is, "%zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins),
        cmocka_unit_test(origins_are_bounded),
        cmocka_unit_test(questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
