#include "unit/test.h"

#include "pipeline/service_versions.h"

static void the_last_four_each_once(void **state)
{
    (void)state;
    struct service_versions v = {.count = 0};
    assert_false(service_versions_has(&v, 0));
    for (uint64_t i = 1; i <= 6; i++) {
        char text[8];
        snprintf(text, sizeof text, "1.%u", (unsigned)i);
        service_versions_add(&v, i, span_str(text), i * 10);
        assert_true(service_versions_has(&v, i));
    }
    assert_int_equal(v.count, SERVICE_VERSIONS);
    assert_false(service_versions_has(&v, 2));
    for (uint64_t i = 3; i <= 6; i++)
        assert_true(service_versions_has(&v, i));
    assert_true(span_eq(service_version_text(&v.of[0]), SPAN("1.5")));
    assert_int_equal(v.of[0].first_ns, 50);
}

static void a_long_one_is_cut_between_characters(void **state)
{
    (void)state;
    static const struct {
        size_t before;
        const char *end;
        uint8_t len;
    } rows[] = {{64, "", 64},
                {64, "x", 64},
                {63, "\xc3\xa4", 63},
                {62, "\xc3\xa4", 64},
                {61, "\xf0\x9f\x98\x80", 61},
                {0, "", 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct service_versions v = {.count = 0};
        char text[80];
        memset(text, 'v', sizeof text);
        strcpy(text + rows[i].before, rows[i].end);
        service_versions_add(&v, 1, span_str(text), 1);
        assert_row(v.of[0].len == rows[i].len, "%zu: %u", i, v.of[0].len);
    }
}

static void two_tables(void **state)
{
    (void)state;
    struct service_versions a = {.count = 0}, b = {.count = 0};
    for (uint64_t i = 1; i <= 3; i++)
        service_versions_add(&a, i, SPAN("a"), i);
    for (uint64_t i = 3; i <= 6; i++)
        service_versions_add(&b, i, SPAN("b"), i);
    service_versions_merge(&a, &b);
    assert_int_equal(a.count, 4);
    for (uint64_t i = 1; i <= 4; i++)
        assert_true(service_versions_has(&a, i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_four_each_once),
        cmocka_unit_test(a_long_one_is_cut_between_characters),
        cmocka_unit_test(two_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
