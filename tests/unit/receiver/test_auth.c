#include "unit/test.h"

#include "config/config.h"
#include "receiver/auth.h"

#define KEY_A "key-a-0123456789"
#define KEY_B "key-b-0123456789"

static int read_keys(struct auth_keys **out, const char *text, struct error *err)
{
    *err = (struct error){{0}};
    return auth_read(out, config_visit_yaml, "keys.yaml", span_str(text), err);
}

static void what_a_file_may_say(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says; /* NULL: it is good */
    } rows[] = {
        {"a: " KEY_A "\n", NULL},
        {"{\"a\": \"" KEY_A "\"}", NULL},
        {"a: " KEY_A "\nb: {key: " KEY_B ", service: s, upstream_key: phc_x}\n", NULL},
        {"a: fifteen-letter\n", "from 16 to 255"},
        {"a: \"0123456789 abcdef\"\n", "without blanks"},
        {"a: 1234567890123456\n", "in quotes"},
        {"a: \"1234567890123456\"\n", NULL},
        {"a: " KEY_A "\nb: " KEY_A "\n", "under another name"},
        {"a: " KEY_A "\na: " KEY_B "\n", "twice"},
        {"a: {service: s}\n", "without a key"},
        {"a: {key: " KEY_A ", keys: x}\n", "no such member"},
        {"a: {key: " KEY_A ", upstream_key: \"a b\"}\n", "project key"},
        {"a: {key: " KEY_A ", service: \"\"}\n", "from 1 to 255"},
        {"a: [" KEY_A "]\n", "in quotes"},
        {"{}", "no keys"},
        {"", "a map"},
        {"- " KEY_A "\n", "a map"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct auth_keys *a = NULL;
        struct error err;
        int rc = read_keys(&a, rows[i].text, &err);
        assert_row((rc == 0) == (rows[i].says == NULL), "%s: %s", rows[i].text, err.text);
        if (rows[i].says != NULL) {
            assert_int_equal(rc, ERR_CONFIG);
            assert_null(a);
            assert_row(strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].text, err.text);
            assert_row(strstr(err.text, "0123456789") == NULL, "a key is told: %s", err.text);
        }
        auth_free(a);
    }
}

static void longest_and_most(void **state)
{
    (void)state;
    struct buf text = {0};
    struct auth_keys *a = NULL;
    struct error err;
    char key[257];
    memset(key, 'k', sizeof key);
    for (size_t len = 254; len <= 256; len++) { /* 255 is the limit */
        buf_clear(&text);
        buf_printf(&text, "a: %.*s\n", (int)len, key);
        buf_append_byte(&text, 0);
        int rc = read_keys(&a, (const char *)text.base, &err);
        assert_int_equal(rc, len <= 255 ? 0 : ERR_CONFIG);
        if (rc == 0) {
            const struct auth_key *who = NULL;
            struct http_head head = {.api_key = span_of(key, len)};
            assert_int_equal(auth_check(a, &head, &who), AUTH_YES);
            head.api_key.len++;
            assert_int_equal(auth_check(a, &head, &who), AUTH_WRONG_KEY);
            auth_free(a);
        }
    }
    for (unsigned n = AUTH_KEYS_MAX - 1; n <= AUTH_KEYS_MAX + 1; n++) {
        buf_clear(&text);
        for (unsigned i = 0; i < n; i++)
            buf_printf(&text, "k%u: the-key-number-%06u\n", i, i);
        buf_append_byte(&text, 0);
        int rc = read_keys(&a, (const char *)text.base, &err);
        assert_int_equal(rc, n <= AUTH_KEYS_MAX ? 0 : ERR_CONFIG);
        if (rc == 0)
            auth_free(a);
    }
    buf_done(&text);
}

static void who_may(void **state)
{
    (void)state;
    struct auth_keys *a = NULL;
    struct error err;
    assert_int_equal(
        read_keys(&a, "a: " KEY_A "\nb: {key: " KEY_B ", service: shop, upstream_key: phc_b}\n",
                  &err),
        0);
    static const struct {
        const char *authorization, *api_key;
        enum auth_verdict verdict;
        const char *name;
    } rows[] = {
        {"", "", AUTH_NO_KEY, NULL},
        {"Bearer " KEY_A, "", AUTH_YES, "a"},
        {"bearer   " KEY_B "  ", "", AUTH_YES, "b"},
        {"", KEY_B, AUTH_YES, "b"},
        {"Bearer phc_project", KEY_A, AUTH_YES, "a"}, /* the bearer is a project's */
        {"Bearer " KEY_A, "wrong-0123456789", AUTH_WRONG_KEY, NULL},
        {"Basic " KEY_A, "", AUTH_NO_KEY, NULL},
        {"Bearer", "", AUTH_NO_KEY, NULL},
        {"Bearer ", "", AUTH_NO_KEY, NULL},
        {"Bearer key-a-012345678", "", AUTH_WRONG_KEY, NULL},
        {"Bearer " KEY_A "0", "", AUTH_WRONG_KEY, NULL},
        {"Bearer KEY-A-0123456789", "", AUTH_WRONG_KEY, NULL},
        {"", "key-a-0123456780", AUTH_WRONG_KEY, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct auth_key *who = NULL;
        const struct http_head head = {.authorization = span_str(rows[i].authorization),
                                       .api_key = span_str(rows[i].api_key)};
        assert_row(auth_check(a, &head, &who) == rows[i].verdict, "%zu", i);
        assert_row((who != NULL) == (rows[i].name != NULL), "%zu", i);
        if (who != NULL)
            assert_string_equal(who->name, rows[i].name);
    }
    /* A NUL behind a key is no padding. */
    const struct auth_key *who = NULL;
    const struct http_head head = {.api_key = SPAN(KEY_A "\0")};
    assert_int_equal(auth_check(a, &head, &who), AUTH_WRONG_KEY);
    auth_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_file_may_say),
        cmocka_unit_test(longest_and_most),
        cmocka_unit_test(who_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
