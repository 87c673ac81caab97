#include "unit/test.h"

#include <math.h>

#include "posthog/days.h"

#define DAY UINT64_C(20760) /* 2026-11-03 */
#define AT(day, s) ((day)*86400 + (s))

static void only_whole_days_count(void **state)
{
    (void)state;
    struct day_totals d = {.count = 0};
    char text[DAY_TEXT_BYTES];
    double sum = 0;
    for (uint64_t day = DAY; day < DAY + 3; day++)
        for (uint64_t s = day == DAY ? 3600 : 0; s < 86400; s += 600)
            days_note(&d, sum += 1e6, AT(day, s));
    assert_int_equal(d.count, 1); /* the first was not seen whole, the last goes on */
    assert_int_equal(d.list[0].day, DAY + 1);
    assert_true(fabs(d.list[0].bytes - 144e6) < 1);
    assert_string_equal(day_text(text, DAY), "2026-11-03");
    /* A leap of the clock makes no whole day. */
    days_note(&d, sum, AT(DAY + 9, 500));
    days_note(&d, sum, AT(DAY + 10, 0));
    assert_int_equal(d.count, 1);
    for (uint64_t day = DAY + 11; day < DAY + 40; day++)
        days_note(&d, sum += 1e6, AT(day, 0));
    assert_int_equal(d.count, DAYS_MAX);
    assert_int_equal(d.list[DAYS_MAX - 1].day, DAY + 38);
    /* Begun at midnight. */
    struct day_totals e = {.count = 0};
    days_note(&e, 0, AT(DAY, 1));
    days_note(&e, 5e6, AT(DAY, 80000));
    days_note(&e, 5e6, AT(DAY + 1, 0));
    assert_int_equal(e.count, 1);
}

static void what_is_billed_is_held_against_it(void **state)
{
    (void)state;
    struct day_totals d = {
        .count = 4,
        .list = {
            {DAY, 512.7e6, -1}, {DAY + 1, 1000e6, -1}, {DAY + 2, 1000e6, -1}, {DAY + 3, 10e6, -1}}};
    struct json_doc *doc;
    struct json_node root;
    static const char answer[] =
        "{\"results\":[{\"dates\":[\"2026-11-03\",\"2026-11-04\",\"2026-11-05\"],"
        "\"data\":[512,1300,900],\"breakdown_value\":\"logs_mb_in_period\"}]}";
    assert_int_equal(json_doc_new(&doc, span_str(answer), NULL, &root), 0);
    days_read_bill(&d, root);
    json_doc_free(doc);
    assert_true(fabs(day_difference_mb(&d.list[0])) < 1e-9); /* whole MB are billed */
    assert_true(fabs(day_difference_mb(&d.list[1]) - 300) < 1e-6);
    assert_true(fabs(day_difference_mb(&d.list[2]) + 100) < 1e-6);
    assert_true(fabs(day_difference_mb(&d.list[3])) < 1e-9); /* not billed yet */
    struct buf out = {0};
    days_write_text(&d, &out);
    buf_append_byte(&out, '\0');
    assert_string_equal(
        (const char *)out.base,
        "2026-11-03: 512.700 MB delivered, 512 MB billed\n"
        "2026-11-04: 1000.000 MB delivered, 1300 MB billed: others send to this "
        "project too, or it was sent twice\n"
        "2026-11-05: 1000.000 MB delivered, 900 MB billed: less than was delivered\n"
        "2026-11-06: 10.000 MB delivered, not billed yet\n");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_whole_days_count),
        cmocka_unit_test(what_is_billed_is_held_against_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
