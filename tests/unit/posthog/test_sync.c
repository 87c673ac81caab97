#include "unit/test.h"

#include "posthog/sync.h"

static const char *const members[] = {"config", NULL};

static void want(struct sync *s, const char *name, const char *config)
{
    struct buf body = {0}, change = {0};
    buf_printf(&body, "{\"name\":\"%s\",\"config\":%s}", name, config);
    buf_printf(&change, "{\"config\":%s}", config);
    assert_int_equal(sync_want(s, name, &body, &change), 0);
}

static void show(struct sync *s, const char *text)
{
    struct json_doc *doc;
    struct json_node root;
    assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
    sync_item(s, root);
    json_doc_free(doc);
}

static void a_plan(void **state)
{
    (void)state;
    struct sync s = {.members = members};
    want(&s, "[lipservice] a", "{\"x\":1,\"y\":[2]}");
    want(&s, "[lipservice] b", "{\"x\":2}");
    want(&s, "[lipservice] c", "{\"x\":3}");
    assert_int_equal(sync_begin(&s), 0);
    show(&s, "{\"id\":7,\"name\":\"a\",\"config\":{\"x\":1}}");
    show(&s,
         "{\"id\":\"u\",\"name\":\"[lipservice] a\",\"config\":{\"y\":[2],\"x\":1.0,\"z\":null}}");
    show(&s, "{\"id\":9,\"name\":\"[lipservice] b\",\"config\":{\"x\":5}}");
    show(&s, "{\"id\":10,\"name\":\"[lipservice] b\",\"config\":{\"x\":2}}");
    show(&s, "{\"id\":11,\"name\":\"anything\",\"tags\":[\"mine\",\"lipservice\"]}");
    show(&s, "{\"id\":12,\"name\":\"[lipservice] d\",\"deleted\":true}");
    assert_int_equal(s.rc, 0);
    static const struct {
        enum sync_what what;
        const char *id, *name;
    } steps[] = {
        {SYNC_KEEP, "u", "[lipservice] a"},  {SYNC_CHANGE, "9", "[lipservice] b"},
        {SYNC_CREATE, "", "[lipservice] c"}, {SYNC_REMOVE, "10", "[lipservice] b"},
        {SYNC_REMOVE, "11", "anything"},
    };
    assert_int_equal(s.step_count, ARRAY_LEN(steps));
    assert_int_equal(s.ours, 4);
    assert_int_equal(s.others, 2);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        assert_int_equal(s.steps[i].what, steps[i].what);
        assert_string_equal(s.steps[i].id, steps[i].id);
        assert_string_equal(s.steps[i].name, steps[i].name);
        assert_true((s.steps[i].wanted == NULL) == (steps[i].what == SYNC_REMOVE));
    }
    sync_done(&s);
    assert_string_equal(sync_word(SYNC_CREATE), "create");
}

static void what_is_no_json_is_refused(void **state)
{
    (void)state;
    struct sync s = {.members = members};
    struct buf body = {0}, change = {0};
    buf_append_str(&body, "{");
    assert_true(sync_want(&s, "[lipservice] a", &body, &change) < 0);
    assert_int_equal(s.wanted_count, 0);
    sync_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan),
        cmocka_unit_test(what_is_no_json_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
