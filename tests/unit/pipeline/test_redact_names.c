/* Which names are secret, and which are exempt. */
#include "unit/test.h"

#include "pipeline/redact_names.h"

static void endings_of_the_last_segment_are_secret(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        bool is_secret;
    } rows[] = {
        {"password", true},
        {"db.user.password", true},
        {"X-Api-Key", true},
        {"accessToken", true},
        {"http.request.header.set-cookie", true},
        {"http/authorization", true},
        {"aws_private_key", true},
        {"client-secret", true},
        {"credentials", true},
        {"", false},
        {"d", false},
        {"token_count", false},
        {"input_tokens", false},
        {"password.length", false},
        {"secretary", false},
        {"email_sent", false},
        {"key", false},
        {"session_id", false},
    };
    struct redact_names n;
    assert_int_equal(redact_names_init(&n, SPAN(""), SPAN("")), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(redact_name_is_secret(&n, span_str(rows[i].key)) == rows[i].is_secret, "'%s'",
                   rows[i].key);
}

static void a_user_adds_names(void **state)
{
    struct redact_names n;
    (void)state;
    assert_int_equal(
        redact_names_init(&n, SPAN(" tax-id,, user.Phone "), SPAN("sessionId, otel.logs.*")), 0);
    assert_true(redact_name_is_secret(&n, SPAN("tax_id")));
    assert_true(redact_name_is_secret(&n, SPAN("person.TAX-ID")));
    assert_true(redact_name_is_secret(&n, SPAN("user.phone")));
    assert_false(redact_name_is_secret(&n, SPAN("phone")));
    assert_true(redact_name_is_exempt(&n, SPAN("sessionId")));
    assert_true(redact_name_is_exempt(&n, SPAN("otel.logs.adjusted_count")));
    assert_false(redact_name_is_exempt(&n, SPAN("otel.log")));
    assert_false(redact_name_is_exempt(&n, SPAN("x.sessionId")));
    assert_false(redact_name_is_exempt(&n, SPAN("")));
}

static void a_list_has_a_limit(void **state)
{
    struct redact_names n;
    char list[3 * REDACT_NAMES_MAX + 8] = "";
    (void)state;
    for (int i = 0; i < REDACT_NAMES_MAX; i++)
        strcat(list, "a,");
    assert_int_equal(redact_names_init(&n, span_str(list), SPAN("")), 0);
    strcat(list, "b");
    assert_int_equal(redact_names_init(&n, span_str(list), SPAN("")), ERR_FULL);
    assert_int_equal(redact_names_init(&n, SPAN(""), span_str(list)), ERR_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endings_of_the_last_segment_are_secret),
        cmocka_unit_test(a_user_adds_names),
        cmocka_unit_test(a_list_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
