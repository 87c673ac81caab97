/* What a language model is asked, and what of its answer is taken. */
#include "unit/test.h"

#include "server/analyst.h"
#include "server/llm.h"
#include "util/json.h"

static struct analyst_item item(const char *signature, double bytes, double now, double proposed)
{
    struct analyst_item i = {.level = "INFO", .bytes = bytes, .now = now, .proposed = proposed};
    i.chosen = proposed;
    snprintf(i.signature, sizeof i.signature, "%s", signature);
    return i;
}

static void those_that_save_most_are_asked_about(void **state)
{
    (void)state;
    static struct analysis a;
    char name[16];
    a = (struct analysis){.count = 0};
    for (int i = 0; i < 3 * ANALYST_ITEMS; i++) {
        snprintf(name, sizeof name, "p%d", i);
        struct analyst_item one = item(name, 100 + i, 1, 0.25);
        analysis_add(&a, &one);
    }
    assert_int_equal(a.count, ANALYST_ITEMS);
    for (unsigned i = 0; i < a.count; i++)
        assert_true(a.items[i].bytes >= 100 + 2 * ANALYST_ITEMS);
}

static void templates_are_redacted_and_bounded(void **state)
{
    (void)state;
    struct redactor *r;
    struct analyst_item one = item("a", 1, 1, 0.5);
    char text[1000];
    const struct redact_opts opts = {.mode = REDACT_ENFORCE, .kinds = UINT64_MAX};
    assert_int_equal(redactor_new(&r, &opts), 0);
    analysis_set_template(&one, SPAN("mail of jane.doe@example.com\n\x01 came"), r);
    assert_null(strstr(one.template_text, "jane.doe"));
    assert_null(strpbrk(one.template_text, "\n\x01"));
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xb6", 2); /* ö */
    analysis_set_template(&one, span_of(text, sizeof text), r);
    assert_int_equal(strlen(one.template_text), ANALYST_TEMPLATE_BYTES);
    redactor_free(r);
}

/* An answer is taken whole or not at all; a rate is never outside of the two. */
static void answers(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why; /* why: NULL: it is taken */
        double a, b;
    } rows[] = {
        {"{\"rates\":[{\"pattern\":1,\"rate\":0.5},{\"pattern\":2,\"rate\":0.1}]}", NULL, 0.5, 0.1},
        {"```json\n{\"rates\":[{\"pattern\":2,\"rate\":0.2}]}\n```", NULL, 0.25, 0.2},
        {"x {\"rates\":[{\"pattern\":1,\"rate\":1}]} y", NULL, 1, 0.4},
        {"{\"rates\":[{\"pattern\":1,\"rate\":0.2499999}]}", NULL, 0.25, 0.4},
        {"{\"rates\":[{\"pattern\":1,\"rate\":0.24}]}", "not between", 0.25, 0.4},
        {"{\"rates\":[{\"pattern\":2,\"rate\":0.41}]}", "not between", 0.25, 0.4},
        {"{\"rates\":[{\"pattern\":1,\"rate\":0.5},{\"pattern\":2,\"rate\":0}]}", "not between",
         0.25, 0.4},
        {"{\"rates\":[{\"pattern\":1,\"rate\":\"10%\"}]}", "no number", 0.25, 0.4},
        {"{\"rates\":[{\"pattern\":0,\"rate\":1}]}", "not asked about", 0.25, 0.4},
        {"{\"rates\":[{\"pattern\":3,\"rate\":1}]}", "not asked about", 0.25, 0.4},
        {"{\"rates\":[{\"pattern\":1,\"rate\":1},{\"pattern\":1,\"rate\":1}]}", "twice", 0.25, 0.4},
        {"{\"rates\":{\"1\":1}}", "not asked about", 0.25, 0.4},
        {"{\"rates\":[]}", "no rates", 0.25, 0.4},
        {"{}", "no rates", 0.25, 0.4},
        {"", "no JSON", 0.25, 0.4},
        {"} {", "no JSON", 0.25, 0.4},
        {"{\"rates\":[{]}", "no JSON", 0.25, 0.4},
    };
    static struct analysis a;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct analyst_item one = item("a", 1, 1, 0.25), two = item("b", 1, 0.1, 0.4);
        const char *why = NULL;
        a = (struct analysis){.count = 0};
        analysis_add(&a, &one);
        analysis_add(&a, &two);
        int rc = analysis_take(&a, span_str(rows[i].text), &why);
        assert_row((rc == 0) == (rows[i].why == NULL), "%s: %d %s", rows[i].text, rc, why);
        assert_row(rc == 0 || strstr(why, rows[i].why) != NULL, "%s: %s", rows[i].text, why);
        double x = analysis_rate(&a, SPAN("a"), 1, 0.25),
               y = analysis_rate(&a, SPAN("b"), 0.1, 0.4);
        assert_row(x == rows[i].a && y == rows[i].b, "%s: %g %g", rows[i].text, x, y);
    }
    /* What is proposed now may be another thing. */
    const char *why;
    assert_int_equal(analysis_take(&a, span_str(rows[0].text), &why), 0);
    assert_true(analysis_rate(&a, SPAN("a"), 0.4, 0.3) == 0.4);
    assert_true(analysis_rate(&a, SPAN("other"), 1, 0.3) == 0.3);
}

static void both_forms(void **state)
{
    (void)state;
    static const struct {
        bool as_anthropic;
        const char *body, *text; /* NULL: none */
    } rows[] = {
        {false, "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}",
         "x"},
        {false, "{\"choices\":[{\"message\":{\"content\":\"x\"}}]}", "x"},
        {false, "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"length\"}]}",
         NULL},
        {false, "{\"choices\":[{\"message\":{\"content\":\"x\",\"refusal\":\"no\"}}]}", NULL},
        {false, "{\"choices\":[]}", NULL},
        {false, "{\"choices\":[{\"message\":{\"content\":null}}]}", NULL},
        {false, "x", NULL},
        {true,
         "{\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"text\",\"text\":\"y\"}]}",
         "xy"},
        {true, "{\"content\":[{\"type\":\"thinking\",\"text\":\"x\"}]}", NULL},
        {true, "{\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\"stop_reason\":\"refusal\"}",
         NULL},
        {true, "{\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\"stop_reason\":\"max_tokens\"}",
         NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text = {0};
        const char *why = NULL;
        int rc = llm_read(&text, rows[i].as_anthropic, span_str(rows[i].body), &why);
        assert_row((rc == 0) == (rows[i].text != NULL), "%s: %d", rows[i].body, rc);
        assert_row(rc < 0 || span_eq(buf_span(&text), span_str(rows[i].text)), "%s", rows[i].body);
        assert_row(rc == 0 || why != NULL, "%s: no reason", rows[i].body);
        buf_done(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_save_most_are_asked_about),
        cmocka_unit_test(templates_are_redacted_and_bounded),
        cmocka_unit_test(answers),
        cmocka_unit_test(both_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
