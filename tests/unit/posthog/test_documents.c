#include "unit/test.h"

#include <math.h>

#include "posthog/documents.h"

static struct json_doc *doc;

static struct json_node read(const char *json)
{
    struct json_node root;
    json_doc_free(doc);
    doc = NULL;
    assert_row(json_doc_new(&doc, span_str(json), NULL, &root) == 0, "%s", json);
    return root;
}

static void unknown_is_never_0(void **state)
{
    (void)state;
    struct quota q;
    quota_read(&q, read("{\"limited\":{\"logs_mb_ingested\":{\"limited\":true,\"usage\":5120.5,"
                        "\"limit\":50000}}}"));
    assert_true(q.is_known && q.is_limited && q.has_usage && q.has_limit);
    assert_true(q.usage_mb > 5120.4 && q.usage_mb < 5120.6 && q.limit_mb > 49999);
    quota_read(&q, read("{\"limited\":{\"logs_mb_ingested\":{\"limited\":false,\"usage\":null,"
                        "\"limit\":null}}}"));
    assert_true(q.is_known && !q.is_limited && !q.has_usage && !q.has_limit);
    quota_read(&q, read("{\"limited\":{\"events\":{\"usage\":1}}}"));
    assert_false(q.is_known || q.has_usage);
    quota_read(&q, read("{\"limited\":{\"logs_mb_ingested\":{\"usage\":-1,\"limit\":\"x\"}}}"));
    assert_false(q.has_usage || q.has_limit);
    quota_read(&q, read("[]"));
    assert_false(q.is_known);
}

static void names_that_link_are_read(void **state)
{
    (void)state;
    struct link_keys k;
    link_keys_read(&k, read("{\"logs_distinct_id_attribute_keys\":[\"user.id\",\"\",7,\"a,b\","
                            "\"uid\"],\"logs_session_id_attribute_keys\":[]}"));
    assert_string_equal(k.persons, "user.id,uid");
    assert_string_equal(k.sessions, "");
}

#define RULE(more) "{\"name\":\"r\",\"enabled\":true,\"rule_type\":\"path_drop\"," more "}"
#define GROUP(type, ...) \
    RULE("\"config\":{\"filter_group\":{\"type\":\"" type "\",\"values\":[" __VA_ARGS__ "]}}")
#define LEAF(op, value) "{\"key\":\"service.name\",\"operator\":\"" op "\",\"value\":" value "}"
#define OTHER "{\"key\":\"message\",\"operator\":\"regex\",\"value\":\"x\"}"

static void rules_touch_the_services_that_they_can_match(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        bool api, any;
    } rows[] = {
        {"{\"enabled\":false,\"rule_type\":\"path_drop\"}", false, false},
        {RULE("\"config\":{\"patterns\":[\"^/x\"]}"), true, true},
        {RULE("\"scope_service\":\"api\""), true, true},
        {RULE("\"scope_service\":\"API\""), false, true},
        {RULE("\"scope_service\":\"web\""), false, true},
        {GROUP("AND", LEAF("exact", "\"API\"")), true, true},
        {GROUP("AND", LEAF("exact", "[\"web\",\"api\"]")), true, true},
        {GROUP("AND", LEAF("exact", "\"web\"")), false, true},
        {GROUP("AND", LEAF("exact", "\"web\"") "," OTHER), false, true},
        {GROUP("OR", LEAF("exact", "\"web\"") "," OTHER), true, true},
        {GROUP("OR", LEAF("exact", "\"web\"") "," LEAF("in", "[\"x\"]")), false, true},
        {GROUP("AND", LEAF("is_not", "\"api\"")), false, true},
        {GROUP("AND", LEAF("is_not", "\"web\"")), true, true},
        {GROUP("AND", LEAF("icontains", "\"web\"")), true, true},
        {"{\"enabled\":true,\"rule_type\":\"severity_sampling\",\"config\":{\"actions\":"
         "{\"DEBUG\":{\"type\":\"keep\"}}}}",
         false, false},
        {"{\"enabled\":true,\"rule_type\":\"severity_sampling\",\"config\":{\"actions\":"
         "{\"DEBUG\":{\"type\":\"keep\"},\"INFO\":{\"type\":\"drop\"}}}}",
         true, true},
        {"{\"enabled\":true,\"rule_type\":\"rate_limit\",\"config\":{\"logs_per_second\":5}}", true,
         true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_node rule = read(rows[i].rule);
        assert_row(drop_rule_touches(rule, SPAN("api")) == rows[i].api, "%s", rows[i].rule);
        assert_row(drop_rule_touches(rule, (struct span){0}) == rows[i].any, "%s", rows[i].rule);
    }
}

#define BILL(product) \
    "{\"billing_period\":{\"current_period_start\":\"2026-11-01T00:00:00Z\"," \
    "\"current_period_end\":\"2026-12-01T00:00:00+00:00\"},\"discount_percent\":20," \
    "\"custom_limits_usd\":{\"logs\":0},\"products\":[{\"type\":\"events\",\"tiers\":[]}," product \
    "]}"
#define TIERS \
    "[{\"unit_amount_usd\":\"0\",\"up_to\":10000},{\"unit_amount_usd\":\"0.00025\"," \
    "\"flat_amount_usd\":\"1.5\",\"up_to\":null}]"

static void a_bill_is_read_whole_or_not(void **state)
{
    (void)state;
    struct bill b;
    bill_read(&b, read(BILL("{\"type\":\"logs\",\"subscribed\":true,\"tiers\":" TIERS
                            ",\"addons\":[{\"type\":\"logs_retention_30d\",\"subscribed\":true,"
                            "\"tiers\":[{\"unit_amount_usd\":\"0.00005\",\"up_to\":null}]}]}")));
    assert_true(b.is_known && !b.terms.is_assumed);
    assert_int_equal(b.terms.tier_count, 2);
    assert_true(b.terms.tiers[0].up_to_mb > 9999 && isinf(b.terms.tiers[1].up_to_mb));
    assert_true(b.terms.tiers[1].per_mb > 0.00024 && b.terms.tiers[1].flat > 1.4);
    assert_true(b.terms.discount > 0.19 && b.terms.discount < 0.21);
    assert_true(b.terms.limit <= 0); /* 0 is a limit */
    assert_true(b.terms.kept_months > 0.9 && b.terms.kept_per_mb > 0.00004);
    assert_int_equal(b.period_start_s, 1793491200);
    assert_int_equal(b.period_end_s - b.period_start_s, 30 * 86400);
    /* Without a subscription all is free. */
    bill_read(&b, read(BILL("{\"type\":\"logs\",\"subscribed\":false,\"tiers\":null,"
                            "\"free_allocation\":10000}")));
    assert_true(b.is_known && money_price(&b.terms, 1e12) <= 0);
    static const char *const broken[] = {
        BILL("{\"type\":\"logs\",\"subscribed\":true,\"tiers\":[]}"),
        BILL("{\"type\":\"logs\",\"subscribed\":true,\"tiers\":[{\"unit_amount_usd\":\"x\"}]}"),
        BILL("{\"type\":\"logs\",\"subscribed\":true,\"tiers\":[{\"unit_amount_usd\":\"-1\"}]}"),
        BILL(
            "{\"type\":\"logs\",\"subscribed\":true,\"tiers\":[{\"unit_amount_usd\":1,\"up_to\":5},"
            "{\"unit_amount_usd\":1,\"up_to\":4}]}"),
        BILL("{\"type\":\"logs\",\"subscribed\":true,\"tiers\":[{\"unit_amount_usd\":1,"
             "\"up_to\":null},{\"unit_amount_usd\":1,\"up_to\":null}]}"),
        "{\"products\":[]}",
        "{}",
        "[]",
    };
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        bill_read(&b, read(broken[i]));
        assert_row(!b.is_known, "%s", broken[i]);
    }
    json_doc_free(doc);
    doc = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_is_never_0),
        cmocka_unit_test(names_that_link_are_read),
        cmocka_unit_test(rules_touch_the_services_that_they_can_match),
        cmocka_unit_test(a_bill_is_read_whole_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
