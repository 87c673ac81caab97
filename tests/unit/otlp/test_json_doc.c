#include "unit/test.h"

#include "otlp/json_doc.h"

struct rig {
    struct json_doc *doc;
    struct json_node root;
    struct budget budget;
};

static void rig_open(struct rig *r, const char *text)
{
    *r = (struct rig){.doc = NULL};
    budget_init(&r->budget, 1 << 20);
    assert_int_equal(json_doc_new(&r->doc, span_str(text), &r->budget, &r->root), 0);
}

static void rig_close(struct rig *r)
{
    json_doc_free(r->doc);
    assert_int_equal(r->budget.used, 0);
}

static void paths_are_asked_without_checks(void **state)
{
    (void)state;
    struct rig r;
    double number = -1;
    uint64_t whole = 7;
    rig_open(&r, "{\"a\": {\"b\": 1.5, \"c\": \"x\\ny\", \"d\": true, \"e\": null, \"f\": -1}}");
    struct json_node a = json_get(r.root, "a");
    assert_true(json_number(json_get(a, "b"), &number));
    assert_true(number > 1.49 && number < 1.51);
    assert_true(span_eq(json_string(json_get(a, "c")), SPAN("x\ny")));
    assert_true(json_is_true(json_get(a, "d")));
    assert_int_equal(json_kind(json_get(a, "e")), JSON_NULL);
    assert_false(json_whole(json_get(a, "b"), &whole));
    assert_false(json_whole(json_get(a, "f"), &whole));
    assert_int_equal(whole, 7);
    /* Nothing has nothing. */
    struct json_node none = json_get(json_get(json_get(r.root, "a"), "nothing"), "b");
    assert_int_equal(json_kind(none), JSON_NULL);
    assert_false(json_number(none, &number));
    assert_null(json_string(none).base);
    assert_false(json_is_true(none));
    struct json_each each = json_each(none);
    assert_false(json_next(&each));
    each = json_each(json_get(a, "c"));
    assert_false(json_next(&each));
    rig_close(&r);
}

static void lists_and_members_are_walked_in_order(void **state)
{
    (void)state;
    static const char *const keys[] = {"one", "two", "three"};
    struct rig r;
    uint64_t sum = 0, n = 0, value;
    rig_open(&r, "[{\"one\": 1, \"two\": [2, 20], \"three\": {\"x\": 3}}, 4, [], {}, 5.0]");
    struct json_each list = json_each(r.root), members, inner;
    while (json_next(&list)) {
        assert_int_equal(list.key.len, 0);
        members = json_each(list.value);
        while (json_kind(list.value) == JSON_OBJECT && json_next(&members)) {
            assert_true(span_eq(members.key, span_str(keys[n++])));
            inner = json_each(members.value);
            while (json_next(&inner))
                sum += json_whole(inner.value, &value) ? value : 0;
        }
        sum += json_whole(list.value, &value) ? value * 100 : 0;
    }
    assert_int_equal(n, 3);
    assert_int_equal(sum, 2 + 20 + 3 + 400 + 500);
    rig_close(&r);
}

static void what_is_no_json_or_too_large_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", " ", "{", "{\"a\":}", "<html>", "[1] 2", "nul"};
    struct json_doc *doc = NULL;
    struct json_node root;
    struct budget small;
    budget_init(&small, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(json_doc_new(&doc, span_str(texts[i]), &small, &root), ERR_MALFORMED);
    assert_int_equal(small.used, 0);
    budget_init(&small, 1000);
    assert_int_equal(json_doc_new(&doc, SPAN("[1]"), &small, &root), ERR_FULL);
    assert_null(doc);
}

static void a_value_alone_is_a_document(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "\"text\"");
    assert_true(span_eq(json_string(r.root), SPAN("text")));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_asked_without_checks),
        cmocka_unit_test(lists_and_members_are_walked_in_order),
        cmocka_unit_test(what_is_no_json_or_too_large_is_refused),
        cmocka_unit_test(a_value_alone_is_a_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
