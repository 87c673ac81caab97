#include "unit/test.h"

#include "config/own_address.h"
#include "util/span.h"

static void what_leads_back(void **state)
{
    (void)state;
    static const struct {
        const char *url, *listener;
        bool ours;
    } rows[] = {
        {"http://localhost:4318", "localhost:4318", true},
        {"http://localhost.:4318/v1/logs", "localhost:4318", true},
        {"http://127.0.0.1:4318?x", "localhost:4318", true},
        {"http://127.1.2.3:4318", "0.0.0.0:4318", true},
        {"http://127.1:4318", "localhost:4318", true},
        {"http://2130706433:4318", "localhost:4318", true},
        {"http://0x7f000001:4318", "localhost:4318", true},
        {"http://0177.0.0.1:4318", "localhost:4318", true},
        {"http://0:4318", "localhost:4318", true},
        {"http://2147483648:4318", "localhost:4318", false}, /* 128.0.0.0 */
        {"http://1270:4318", "localhost:4318", false},       /* 0.0.4.246 */
        {"http://[0:0:0:0:0:0:0:1]:4318", "localhost:4318", true},
        {"http://[::ffff:127.0.0.1]:4318", "localhost:4318", true},
        {"http://[::ffff:10.0.0.1]:4318", "localhost:4318", false},
        {"http://api.localhost:4318", "localhost:4318", true},
        {"http://notlocalhost:4318", "localhost:4318", false},
        {"http://[::1]:4318#x", "[::1]:4318", true},
        {"http://[::]:4318", ":4318", true},
        {"http://a:b@localhost:4318", ":4318", true},
        {"http://localhost:4318@example.com", ":4318", false},
        {"http://10.0.0.5:4318", "10.0.0.5:4318", true},
        {"http://10.0.0.5:4318", "10.0.0.6:4318", false},
        {"http://localhost:4318", "10.0.0.5:4318", false},
        {"http://localhost:4319", "localhost:4318", false},
        {"http://localhost", ":80", true},
        {"https://localhost", ":443", true},
        {"https://localhost", ":80", false},
        {"http://[::1]", ":1", false},
        {"http://127.example.com:4318", ":4318", false},
        {"http://localhost.example.com:4318", ":4318", false},
        {"http://localhost:4318", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(own_address_leads_here(rows[i].url, &rows[i].listener, 1) == rows[i].ours,
                   "%s at %s", rows[i].url, rows[i].listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_leads_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
