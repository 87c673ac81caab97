#include "unit/test.h"

#include "config/options.h"

static char *markdown(struct buf *out)
{
    config_reference_markdown(out);
    buf_append_byte(out, '\0');
    assert_int_equal(out->err, 0);
    return (char *)out->base;
}

static void every_shown_setting_has_a_row_in_its_group(void **state)
{
    (void)state;
    struct buf out = {0};
    const char *rest = markdown(&out);
    unsigned rows = 0, groups = 0;
    for (const struct option *o = config_options; o->key != NULL; o++) {
        char row[256], heading[128];
        if (o->help == NULL)
            continue;
        snprintf(row, sizeof row, "\n| `%s` | `%s` | %s | ", o->key,
                 o->fallback[0] == '\0' ? "\"\"" : o->fallback, o->is_live ? "yes" : "restart");
        snprintf(heading, sizeof heading, "\n## %.*s\n", (int)strcspn(o->key, "."), o->key);
        const char *at = strstr(rest, row), *title = strstr(rest, heading);
        assert_row(at != NULL, "%s", row); /* in the order of the table */
        groups += title != NULL;
        assert_row(title == NULL || title < at, "%s", o->key);
        rest = at;
        rows++;
    }
    assert_true(rows > 100 && groups > 10);
    buf_done(&out);
}

static void a_row_has_four_cells(void **state)
{
    (void)state;
    struct buf out = {0};
    for (char *line = strtok(markdown(&out), "\n"); line != NULL; line = strtok(NULL, "\n")) {
        unsigned bars = 0;
        for (const char *c = line; *c != '\0'; c++)
            bars += *c == '|' && (c == line || c[-1] != '\\');
        assert_row(bars == (line[0] == '|' ? 5u : 0u), "%s", line);
    }
    buf_done(&out);
}

static void what_is_markdown_in_a_text_is_escaped(void **state)
{
    (void)state;
    struct buf out = {0};
    const char *text = markdown(&out);
    assert_non_null(strstr(text, "lps1:overflow:\\<first two words>"));
    assert_non_null(strstr(text, "requests in flight at once (from 1 to 32) |\n"));
    assert_non_null(strstr(text, "never printed (file and --set only) |\n"));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shown_setting_has_a_row_in_its_group),
        cmocka_unit_test(a_row_has_four_cells),
        cmocka_unit_test(what_is_markdown_in_a_text_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
