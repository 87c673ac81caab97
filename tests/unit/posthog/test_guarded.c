#include "unit/test.h"

#include "otlp/json_doc.h"
#include "posthog/guarded_saved.h"

struct read {
    struct guarded g;
};

static void show(struct read *r, enum guard_kind kind, const char *text)
{
    struct json_doc *doc;
    struct json_node root;
    assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
    r->g.at = kind;
    guarded_item(&r->g, root);
    json_doc_free(doc);
}

#define WEB "\"filters\":{\"serviceNames\":[\"web\"]}"
#define SQL(text) \
    "{\"short_id\":\"a\",\"name\":\"n\",\"query\":{\"kind\":\"DataVisualizationNode\"," \
    "\"source\":{\"kind\":\"HogQLQuery\",\"query\":\"" text "\"}}}"

static void each_kind_of_thing(void **state)
{
    (void)state;
    static const struct {
        enum guard_kind kind;
        const char *item;
        bool has_weights;
        const char *result; /* guarded, partly, fine, not, or nothing */
        const char *why;
    } rows[] = {
        {GUARD_ALERT, "{\"id\":\"a\",\"name\":\"n\",\"enabled\":true," WEB "}", false, "guarded",
         ""},
        {GUARD_ALERT, "{\"id\":\"a\",\"name\":\"n\",\"enabled\":false," WEB "}", false, "", ""},
        {GUARD_ALERT, "{\"id\":\"a\",\"name\":\"[lipservice] losses\",\"enabled\":true," WEB "}",
         false, "", ""},
        {GUARD_ALERT,
         "{\"id\":\"a\",\"name\":\"n\",\"enabled\":true,\"filters\":{\"serviceNames\":[\"web\"],"
         "\"searchTerm\":\"!x\"}}",
         false, "partly", "the search term '!x'"},
        {GUARD_ALERT,
         "{\"id\":\"a\",\"name\":\"n\",\"enabled\":true,\"filters\":{\"searchTerm\":\"!x\"}}",
         false, "not", "the search term '!x' cannot be translated, and nothing else is left"},
        {GUARD_METRIC, "{\"id\":1,\"name\":\"n\",\"enabled\":true,\"filter_group\":null}", false,
         "not", "it counts all logs: to guard it would keep everything"},
        {GUARD_VIEW, "{\"short_id\":\"v\",\"name\":\"n\",\"filters\":{}}", false, "not",
         "it counts all logs: to guard it would keep everything"},
        {GUARD_METRIC,
         "{\"id\":1,\"name\":\"n\",\"enabled\":true,\"filter_group\":null,\"value_attribute\":"
         "\"attributes.otel.logs.adjusted_count\"}",
         true, "fine", "it sums adjusted counts"},
        {GUARD_METRIC,
         "{\"id\":1,\"name\":\"n\",\"enabled\":true,\"filter_group\":null,\"value_attribute\":"
         "\"attributes.otel.logs.adjusted_count\"}",
         false, "not", "it counts all logs: to guard it would keep everything"},
        {GUARD_METRIC,
         "{\"id\":1,\"name\":\"n\",\"enabled\":true,\"filter_group\":{\"type\":\"AND\",\"values\":["
         "{\"type\":\"log_attribute\",\"key\":\"a\",\"operator\":\"is_set\"}]},\"value_attribute\":"
         "\"attributes.otel.logs.adjusted_count\"}",
         false, "guarded", ""},
        {GUARD_VIEW, "{\"short_id\":\"v\",\"name\":\"n\"," WEB "}", false, "guarded", ""},
        {GUARD_INSIGHT,
         "{\"short_id\":\"a\",\"name\":\"n\",\"query\":{\"kind\":\"DataTableNode\",\"source\":{"
         "\"kind\":\"LogsQuery\",\"serviceNames\":[\"web\"]}}}",
         false, "guarded", ""},
        {GUARD_INSIGHT, SQL("SELECT 1 FROM events"), false, "", ""},
        {GUARD_INSIGHT, SQL("SELECT 1 from\\nlogs_of_mine"), false, "", ""},
        {GUARD_INSIGHT, SQL("SELECT count() from\\nlogs where service_name = 'web'"), false,
         "partly", "SQL"},
        {GUARD_INSIGHT, SQL("SELECT count() FROM logs"), false, "not",
         "SQL cannot be translated, and nothing else is left"},
        {GUARD_INSIGHT, SQL("SELECT sum(attributes['otel.logs.adjusted_count']) FROM logs"), false,
         "fine", "it reads adjusted counts"},
        {GUARD_INSIGHT,
         "{\"short_id\":\"a\",\"name\":\"n\",\"tags\":[\"lipservice\"],\"query\":{\"kind\":"
         "\"LogsQuery\"}}",
         false, "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct read r = {.g = {.has_weights = rows[i].has_weights}};
        assert_int_equal(guard_new(&r.g.guard, true), 0);
        show(&r, rows[i].kind, rows[i].item);
        const struct guarded_finding *f = &r.g.findings[0];
        const char *result = r.g.found == 0                ? ""
                             : f->is_guarded && f->is_fine ? "guarded"
                             : f->is_guarded               ? "partly"
                             : f->is_fine                  ? "fine"
                                                           : "not";
        const char *why = r.g.found == 0 ? "" : f->why;
        if (strcmp(result, rows[i].result) != 0 || strcmp(why, rows[i].why) != 0)
            fail_msg("row %zu: %s: %s", i, result, why);
        bool is_guarded = strcmp(result, "guarded") == 0 || strcmp(result, "partly") == 0;
        assert_int_equal(guard_count(r.g.guard), is_guarded);
        if (is_guarded)
            assert_int_equal(guard_at(r.g.guard, 0)->is_partial, strcmp(result, "partly") == 0);
        guard_unref(r.g.guard);
    }
}

static void too_many_are_named(void **state)
{
    (void)state;
    struct read r = {.g = {.keeps = true}};
    assert_int_equal(guard_new(&r.g.guard, true), 0);
    for (int i = 0; i < GUARDED_FINDINGS_MAX + 3; i++)
        show(&r, GUARD_VIEW, "{\"short_id\":\"v\",\"name\":\"n\"," WEB "}");
    assert_int_equal(guard_count(r.g.guard), GUARD_MAX);
    assert_int_equal(r.g.found, GUARDED_FINDINGS_MAX);
    assert_int_equal(r.g.more, 3);
    assert_string_equal(r.g.findings[GUARD_MAX].why, "there are too many");
    guard_unref(r.g.guard);
}

/* What is saved makes the same guard; of what is damaged none is made. */
static void what_is_guarded_is_kept_over_a_restart(void **state)
{
    (void)state;
    struct read r = {.g.has_weights = false};
    struct buf saved = {0};
    struct guarded again;
    r.g.saved = &saved;
    assert_int_equal(guard_new(&r.g.guard, true), 0);
    show(&r, GUARD_ALERT,
         "{\"id\":\"a\",\"name\":\"n \\\"1\\\"\",\"enabled\":true,\"threshold_count\":2.5,"
         "\"threshold_operator\":\"below\"," WEB ",\"created_by\":{\"email\":\"x@y\"}}");
    show(&r, GUARD_ALERT, "{\"id\":\"b\",\"name\":\"off\",\"enabled\":false," WEB "}");
    show(&r, GUARD_VIEW, "{\"short_id\":\"v\",\"name\":\"all\",\"filters\":{}}");
    show(&r, GUARD_INSIGHT, SQL("SELECT count() FROM logs WHERE service_name = 'web'"));
    assert_int_equal(guard_count(r.g.guard), 2);
    assert_null(memmem(saved.base, saved.len, "x@y", 3)); /* only what is read */

    assert_int_equal(guarded_restore(&again, buf_span(&saved), true, false, NULL), 0);
    assert_int_equal(guard_count(again.guard), 2);
    for (unsigned i = 0; i < 2; i++) {
        const struct guard_item *a = guard_at(r.g.guard, i), *b = guard_at(again.guard, i);
        assert_int_equal(a->kind, b->kind);
        assert_true(span_eq(a->id, b->id) && span_eq(a->name, b->name));
        assert_true(a->threshold == b->threshold && a->is_below == b->is_below &&
                    a->is_partial == b->is_partial);
    }
    guard_unref(again.guard);
    assert_int_equal(guarded_restore(&again, (struct span){0}, true, false, NULL), 0);
    assert_int_equal(guard_count(again.guard), 0);
    guard_unref(again.guard);
    for (size_t cut = 1; cut < saved.len; cut++) {
        int rc = guarded_restore(&again, span_of(saved.base, cut), true, false, NULL);
        assert_row(rc == 0 || rc == ERR_MALFORMED, "cut at %zu: %d", cut, rc);
        assert_row(rc == 0 ? guard_count(again.guard) == 1 : again.guard == NULL, "cut at %zu",
                   cut);
        guard_unref(again.guard);
    }
    saved.base[0] = GUARD_KIND_COUNT;
    assert_int_equal(guarded_restore(&again, buf_span(&saved), true, false, NULL), ERR_MALFORMED);
    guard_unref(r.g.guard);
    buf_done(&saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_thing),
        cmocka_unit_test(what_is_guarded_is_kept_over_a_restart),
        cmocka_unit_test(too_many_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
