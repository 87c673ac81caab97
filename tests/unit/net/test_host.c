#include "unit/test.h"

#include "net/host.h"

static void names_of_ours(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool strict, undotted;
    } rows[] = {
        {"", true, true},
        {"localhost", true, true},
        {"LocalHost:8888", true, true},
        {"localhost.", true, true},
        {"app.localhost:1", true, true},
        {"127.0.0.1", true, true},
        {"10.1.2.3:1", true, true},
        {"[::1]:8888", true, true},
        {"::1:8888", true, true},
        {"[evil.com]", false, false},
        {"[evil]", false, true},
        {"listed.example:4318", true, true},
        {"LISTED.example", true, true},
        {"other", true, true}, /* listed */
        {"lipservice:8888", false, true},
        {"evil7", false, true},
        {"evil.com", false, false},
        {"evil.com:8888", false, false},
        {"localhost.evil.com", false, false},
        {"notlocalhost.example", false, false},
        {"127.0.0.1.evil.com", false, false},
        {"1.2.3.4x", false, false},
        {"listed.example.evil.com", false, false},
        {"listed.exampl", false, false},
        {"sub.listed.example", false, false},
    };
    const char *listed = "listed.example,other";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span host = span_str(rows[i].host);
        assert_row(host_is_ours(host, HOST_LISTED, listed) == rows[i].strict, "'%s'", rows[i].host);
        assert_row(host_is_ours(host, HOST_UNDOTTED, listed) == rows[i].undotted, "'%s'",
                   rows[i].host);
    }
    assert_false(host_is_ours(SPAN("listed.example"), HOST_LISTED, NULL));
    assert_false(host_is_ours(SPAN("listed.example"), HOST_LISTED, ""));
}

static void addresses_on_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *addr;
        bool is;
    } rows[] = {
        {"localhost:4317", true},  {"LOCALHOST:1", true}, {"127.0.0.1:4317", true},
        {"127.1.2.3:1", true},     {"[::1]:4317", true},  {"0.0.0.0:4317", false},
        {":4317", false},          {"[::]:1", false},     {"10.0.0.1:1", false},
        {"1.127.0.1:4317", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(host_is_loopback(rows[i].addr) == rows[i].is, "%s", rows[i].addr);
}

static void sound_ones(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool is;
    } rows[] = {
        {"", true},      {"a", true},     {"a:80", true},    {"a.b-c_d~e:1", true},
        {"%41", true},   {"a,b", true},   {"[::1]", true},   {"[::ffff:1.2.3.4]:80", true},
        {"a:", true},    {":80", false},  {"a:b", false},    {"x:1:2", false},
        {"a b", false},  {"a/b", false},  {"u@a", false},    {"a?b", false},
        {"[::1", false}, {"[]", false},   {"[g::1]", false}, {"[::1]x", false},
        {"\x80", false}, {"a\\b", false}, {"a#b", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(host_is_sound(span_str(rows[i].host)) == rows[i].is, "'%s'", rows[i].host);
    assert_true(host_is_sound((struct span){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_ours),
        cmocka_unit_test(addresses_on_loopback),
        cmocka_unit_test(sound_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
