/* Tero's policies: matchers, keep, the most restrictive one, transforms. */
#include "unit/policy/tero_world.h"

#define ATTR(key, kind, value) "{\"key\":\"" key "\",\"value\":{\"" kind "\":" value "}}"
#define REQUEST(record) \
    "{\"resourceLogs\":[{\"resource\":{\"attributes\":[" ATTR( \
        "service.name", "stringValue", \
        "\"Shop\"") "]}," \
                    "\"schemaUrl\":\"https://r/" \
                    "1\",\"scopeLogs\":[{\"scope\":{\"attributes\":[" ATTR( \
                        "lib", "stringValue", \
                        "\"log4j\"") "]},\"schemaUrl\":\"https://s/2\",\"logRecords\":[" record \
                                     "]}]}]}"

static const char usual[] = REQUEST(
    "{\"severityText\":\"INFO\",\"body\":{\"stringValue\":\"GET /cart took 12 ms\\nÄpfel\"},"
    "\"traceId\":\"0AF7651916CD43DD8448EB211C80319C\",\"spanId\":\"b7ad6b7169203331\","
    "\"eventName\":\"order\",\"attributes\":[" ATTR("n", "intValue", "\"7\"") "," ATTR(
        "d", "doubleValue",
        "2.5") "," ATTR("ok", "boolValue",
                        "true") "," ATTR("empty", "stringValue",
                                         "\"\"") ","
                                                 "{\"key\":\"http\",\"value\":{\"kvlistValue\":{"
                                                 "\"values\":[" ATTR("m", "stringValue",
                                                                     "\"POST\"") "]}}}]}");

/* ---- matchers ---------------------------------------------------------------- */

static void matchers(void **state)
{
    (void)state;
    static const struct {
        const char *matcher;
        bool matches;
    } rows[] = {
        {"{'log_field':'body','contains':'/cart'}", true},
        {"{'log_field':'body','contains':'/CART'}", false},
        {"{'log_field':'body','contains':'/CART','case_insensitive':true}", true},
        {"{'log_field':'body','contains':'äPFEL','case_insensitive':true}", true},
        {"{'log_field':'body','contains':'took.12','case_insensitive':true}", false},
        {"{'log_field':'body','starts_with':'GET'}", true},
        {"{'log_field':'body','starts_with':'ET'}", false},
        {"{'log_field':'body','starts_with':'get','case_insensitive':true}", true},
        {"{'log_field':'body','starts_with':'et','case_insensitive':true}", false},
        {"{'log_field':'body','ends_with':'Äpfel'}", true},
        {"{'log_field':'body','ends_with':'Äpfe','case_insensitive':true}", false},
        {"{'log_field':'body','exact':'GET /cart'}", false},
        {"{'log_field':'body','regex':'took [0-9]+'}", true},
        {"{'log_field':'body','regex':'^took'}", false},
        {"{'log_field':'body','regex':'ms$'}", false},
        {"{'log_field':'body','regex':'(?m)ms$'}", true},
        {"{'log_field':'body','regex':'TOOK','case_insensitive':true}", true},
        {"{'log_field':'body','regex':'x*'}", true},
        {"{'logField':'LOG_FIELD_SEVERITY_TEXT','exact':'INFO'}", true},
        {"{'log_field':2,'exact':'INFO'}", true},
        {"{'log_field':'severity_text','exact':'INFO','negate':true}", false},
        {"{'log_field':'trace_id','exact':'0af7651916cd43dd8448eb211c80319c'}", true},
        {"{'log_field':'trace_id','equals':{'hex_value':'0af7651916cd43dd8448eb211c80319c'}}",
         true},
        {"{'log_field':'span_id','starts_with':'b7ad'}", true},
        {"{'log_field':'event_name','exact':'order'}", true},
        {"{'log_field':'resource_schema_url','ends_with':'/1'}", true},
        {"{'log_field':'scope_schema_url','ends_with':'/2'}", true},
        {"{'resource_attribute':'service.name','exact':'Shop'}", true},
        {"{'scope_attribute':'lib','exact':'log4j'}", true},
        {"{'log_attribute':['http','m'],'exact':'POST'}", true},
        {"{'logAttribute':{'path':['http','m']},'exact':'POST'}", true},
        {"{'log_attribute':['http','m','x'],'exists':true}", false},
        {"{'log_attribute':'http','exists':true}", true},
        {"{'log_attribute':'http','contains':'POST'}", false},
        {"{'log_attribute':'none','exists':true}", false},
        {"{'log_attribute':'none','exists':false}", true},
        {"{'log_attribute':'none','exists':true,'negate':true}", true},
        {"{'log_attribute':'none','exact':'x','negate':true}", true},
        {"{'log_attribute':'empty','exists':true}", true},
        {"{'log_attribute':'empty','exact':''}", false},
        {"{'log_attribute':'n','exact':'7'}", false},
        {"{'log_attribute':'n','equals':{'int_value':'7'}}", true},
        {"{'log_attribute':'n','equals':7}", true},
        {"{'log_attribute':'n','equals':{'string_value':'7'}}", false},
        {"{'log_attribute':'n','gt':{'int_value':7}}", false},
        {"{'log_attribute':'n','gte':{'int_value':7}}", true},
        {"{'log_attribute':'n','lt':{'double_value':7.5}}", true},
        {"{'log_attribute':'n','gt':-1}", true},
        {"{'log_attribute':'d','lte':{'double_value':2.5}}", true},
        {"{'log_attribute':'ok','equals':{'bool_value':true}}", true},
        {"{'log_attribute':'ok','equals':{'bool_value':false}}", false},
        {"{'log_attribute':'ok','gt':0}", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[512];
        struct world w;
        struct tero_count c;
        snprintf(text, sizeof text, "{'policies':[{'id':'p','log':{'keep':'none','match':[%s]}}]}",
                 rows[i].matcher);
        for (char *q = text; *q != '\0'; q++)
            *q = *q == '\'' ? '"' : *q;
        world_init(&w, text);
        world_offer(&w, usual);
        assert_true(tero_count(w.tero, 0, &c));
        assert_row(c.errors == 0, "%s: %.*s", text, (int)tero_error(w.tero, 0, 0).len,
                   (const char *)tero_error(w.tero, 0, 0).base);
        assert_row((w.dropped == 1) == rows[i].matches, "%s", text);
        assert_row(c.hits == rows[i].matches, "%s", text);
        world_done(&w);
    }
}

/* ---- keep ---------------------------------------------------------------------- */

#define POLICY(id, keep, more) \
    "{\"id\":\"" id "\",\"log\":{\"match\":[{\"log_field\":\"body\",\"exists\":true}]," \
    "\"keep\":\"" keep "\"" more "}}"
#define POLICIES(list) "{\"policies\":[" list "]}"

static void keep_strings(void **state)
{
    (void)state;
    static const char *const good[] = {"all", "none",  "0%",   "12.5%", "100%", "5/s",
                                       "0/m", "3/10s", "1/5m", " all ", ""};
    static const char *const bad[] = {
        "some", "%",    "-1%",  "101%",          "1.2.3%",     "5",
        "5/",   "5/h",  "/s",   "5/0s",          "5/-1s",      "5/s ago",
        "1e1%", "5//s", "nan%", "99999999999/s", "1/99999999m"};
    for (size_t i = 0; i < ARRAY_LEN(good) + ARRAY_LEN(bad); i++) {
        bool is_good = i < ARRAY_LEN(good);
        const char *keep = is_good ? good[i] : bad[i - ARRAY_LEN(good)];
        char text[256], want[128];
        struct world w;
        struct tero_count c;
        snprintf(text, sizeof text, POLICIES(POLICY("p", "%s", "")), keep);
        snprintf(want, sizeof want, "log: keep: invalid value \"%s\"", keep);
        world_init(&w, text);
        assert_true(tero_count(w.tero, 0, &c));
        assert_row(c.errors == !is_good, "%s", keep);
        assert_row(is_good || span_eq(tero_error(w.tero, 0, 0), span_str(want)), "%s", keep);
        world_done(&w);
    }
}

static void expect_counts(const struct world *w, size_t index, uint64_t hits, uint64_t misses)
{
    struct tero_count c;
    assert_true(tero_count(w->tero, index, &c));
    assert_int_equal(c.hits, hits);
    assert_int_equal(c.misses, misses);
}

static void most_restrictive_wins(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, POLICIES(POLICY("c", "none", "") "," POLICY("a", "all", "") "," POLICY(
                       "b", "0%", "") "," POLICY("d", "1/m", "")));
    world_offer(&w, usual);
    assert_int_equal(w.dropped, 1);
    expect_counts(&w, 0, 0, 1);
    expect_counts(&w, 1, 0, 1);
    expect_counts(&w, 2, 1, 0);
    expect_counts(&w, 3, 0, 1);
    world_done(&w);

    world_init(&w, POLICIES(POLICY("a", "100%", "") "," POLICY("b", "0%", "")));
    world_offer(&w, usual);
    assert_int_equal(w.dropped, 1);
    expect_counts(&w, 0, 0, 1);
    expect_counts(&w, 1, 1, 0);
    world_done(&w);
}

/* A limit that another one overrules is not used up. */
static void rate_limits_have_windows_of_their_own(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, POLICIES(POLICY("a", "1/s", "") "," POLICY("b", "2/10s", "")));
    w.now_ms = 5000;
    world_offer(&w, usual);
    world_offer(&w, usual); /* a */
    assert_int_equal(w.kept, 1);
    w.now_ms += 999;
    world_offer(&w, usual); /* a */
    assert_int_equal(w.kept, 1);
    w.now_ms += 1;
    world_offer(&w, usual);
    assert_int_equal(w.kept, 2);
    w.now_ms += 1000;
    world_offer(&w, usual); /* b: a has room, and keeps it */
    assert_int_equal(w.kept, 2);
    expect_counts(&w, 0, 4, 1);
    expect_counts(&w, 1, 3, 2);
    w.now_ms += 8000;
    world_offer(&w, usual);
    assert_int_equal(w.kept, 3);
    world_done(&w);
}

static unsigned kept_of(struct world *w, const char *field, unsigned records)
{
    for (unsigned i = 0; i < records; i++) {
        char request[512];
        snprintf(request, sizeof request,
                 REQUEST("{\"body\":{\"stringValue\":\"x\"},\"traceId\":\"%032x\",\"attributes\":["
                         "{\"key\":\"%s\",\"value\":{\"stringValue\":\"%u\"}}]}"),
                 i + 1, field, i);
        world_offer(w, request);
    }
    return w->kept;
}

static void percentages(void **state)
{
    (void)state;
    struct world w, again;
    world_init(&w, POLICIES(POLICY("p", "25%", "")));
    assert_in_range(kept_of(&w, "k", 4000), 890, 1110); /* 1000 +- 4 sigma */
    world_done(&w);
    world_init(&w, POLICIES(POLICY("p", "25%", ",\"sample_key\":{\"log_attribute\":\"k\"}")));
    world_init(&again, POLICIES(POLICY("p", "25%", ",\"sample_key\":{\"log_attribute\":\"k\"}")));
    assert_in_range(kept_of(&w, "k", 4000), 890, 1110);
    assert_int_equal(kept_of(&again, "k", 4000), w.kept);
    assert_int_equal(kept_of(&again, "other", 10), w.kept + 10); /* without the key: kept */
    world_done(&w);
    world_done(&again);
}

/* The last 56 bits of the trace id, as traces are sampled. */
static void trace_ids_decide_as_for_traces(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        bool kept;
    } rows[] = {
        {"00000000000000000000000000000000", true}, /* no trace id: kept */
        {"0000000000000000ffe6666666666666", true},
        {"0000000000000000ffe6666666666665", false},
        {"ffffffffffffffffff80000000000000", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char request[512];
        struct world w;
        world_init(&w,
                   POLICIES(POLICY("p", "10%", ",\"sample_key\":{\"log_field\":\"trace_id\"}")));
        snprintf(request, sizeof request,
                 REQUEST("{\"body\":{\"stringValue\":\"x\"},\"traceId\":\"%s\"}"),
                 i == 0 ? "" : rows[i].id);
        world_offer(&w, request);
        assert_row((w.kept == 1) == rows[i].kept, "%s", rows[i].id);
        world_done(&w);
    }
}

/* ---- transforms ------------------------------------------------------------------ */

#define PLAIN(resource, scope, record) \
    "{\"resourceLogs\":[{\"resource\":{\"attributes\":[" resource "]},\"scopeLogs\":[{\"scope\":{" \
    "\"attributes\":[" scope "]},\"logRecords\":[{" record "}]}]}]}"
#define R ATTR("r", "stringValue", "\"1\"")
#define S ATTR("s", "stringValue", "\"2\"")
#define STR(key, value) ATTR(key, "stringValue", "\"" value "\"")
#define BODY "\"body\":{\"stringValue\":\"a1b22\"}"
#define ATTRS(list) ",\"attributes\":[" list "]"
#define MAP(list) "{\"key\":\"m\",\"value\":{\"kvlistValue\":{\"values\":[" list "]}}}"

static void transforms(void **state)
{
    (void)state;
    static const struct {
        const char *transform, *before, *after; /* NULL: unchanged */
    } rows[] = {
        {"\"remove\":[{\"log_attribute\":\"x\"}]", PLAIN(R, S, BODY ATTRS(STR("x", "1"))),
         PLAIN(R, S, BODY)},
        {"\"remove\":[{\"log_attribute\":[\"m\",\"x\"]}]",
         PLAIN(R, S, BODY ATTRS(MAP(STR("x", "1") "," STR("y", "2")))),
         PLAIN(R, S, BODY ATTRS(MAP(STR("y", "2"))))},
        {"\"remove\":[{\"log_attribute\":\"z\"}]", PLAIN(R, S, BODY ATTRS(STR("x", "1"))), NULL},
        {"\"redact\":[{\"log_field\":\"body\",\"regex\":\"[0-9]\",\"replacement\":\"#\"}]",
         PLAIN(R, S, BODY), PLAIN(R, S, "\"body\":{\"stringValue\":\"a#b##\"}")},
        {"\"redact\":[{\"log_field\":\"body\",\"regex\":\"[0-9]*\",\"replacement\":\"-\"}]",
         PLAIN(R, S, BODY), PLAIN(R, S, "\"body\":{\"stringValue\":\"-a-b-\"}")},
        {"\"redact\":[{\"log_field\":\"body\",\"regex\":\"(?P<x>[a-z])([0-9])\",\"replacement\":"
         "\"${2}${x}$3$1a$$$\"}]",
         PLAIN(R, S, BODY), PLAIN(R, S, "\"body\":{\"stringValue\":\"1a$$2b$$2\"}")},
        {"\"redact\":[{\"log_field\":\"body\"}]", PLAIN(R, S, BODY),
         PLAIN(R, S, "\"body\":{\"stringValue\":\"[REDACTED]\"}")},
        {"\"redact\":[{\"log_attribute\":\"n\",\"replacement\":\"\"}]",
         PLAIN(R, S, BODY ATTRS(ATTR("n", "intValue", "\"7\""))),
         PLAIN(R, S, BODY ATTRS(STR("n", "")))},
        {"\"redact\":[{\"log_attribute\":\"n\",\"regex\":\".\"}]",
         PLAIN(R, S, BODY ATTRS(ATTR("n", "intValue", "\"7\""))), NULL},
        {"\"redact\":[{\"resource_attribute\":\"r\",\"replacement\":\"x\"},"
         "{\"scope_attribute\":\"s\",\"replacement\":\"y\"}]",
         PLAIN(R, S, BODY), PLAIN(STR("r", "x"), STR("s", "y"), BODY)},
        {"\"redact\":[{\"log_attribute\":\"x\",\"replacement\":\"h\"}]",
         PLAIN(R, S, BODY ATTRS(STR("x", "1") "," STR("x", "2"))),
         PLAIN(R, S, BODY ATTRS(STR("x", "h") "," STR("x", "h")))},
        {"\"rename\":[{\"from_log_attribute\":\"x\",\"to\":\"y\"}]",
         PLAIN(R, S, BODY ATTRS(STR("x", "1"))), PLAIN(R, S, BODY ATTRS(STR("y", "1")))},
        {"\"rename\":[{\"from_log_attribute\":\"x\",\"to\":\"y\"}]",
         PLAIN(R, S, BODY ATTRS(STR("x", "1") "," STR("y", "2"))), NULL},
        {"\"rename\":[{\"from_log_attribute\":\"x\",\"to\":\"y\",\"upsert\":true}]",
         PLAIN(R, S, BODY ATTRS(STR("x", "1") "," STR("y", "2"))),
         PLAIN(R, S, BODY ATTRS(STR("y", "1")))},
        {"\"rename\":[{\"from_log_attribute\":\"x\",\"to\":\"x\",\"upsert\":true}]",
         PLAIN(R, S, BODY ATTRS(STR("x", "1"))), NULL},
        {"\"rename\":[{\"from_log_attribute\":[\"m\",\"x\"],\"to\":\"y\"}]",
         PLAIN(R, S, BODY ATTRS(MAP(STR("x", "1") "," STR("z", "2")))),
         PLAIN(R, S, BODY ATTRS(MAP(STR("z", "2")) "," STR("y", "1")))},
        {"\"add\":[{\"log_attribute\":[\"m\",\"x\"],\"value\":\"1\"}]", PLAIN(R, S, BODY),
         PLAIN(R, S, BODY ATTRS(MAP(STR("x", "1"))))},
        {"\"add\":[{\"log_attribute\":[\"m\",\"x\"],\"value\":\"1\"}]",
         PLAIN(R, S, BODY ATTRS(STR("m", "text"))), NULL},
        {"\"add\":[{\"log_field\":\"event_name\",\"value\":\"e\"}]", PLAIN(R, S, BODY),
         PLAIN(R, S, BODY ",\"eventName\":\"e\"")},
        {"\"add\":[{\"log_field\":\"body\",\"value\":\"e\"}]", PLAIN(R, S, BODY), NULL},
        /* whatever stands first: remove, redact, rename, add */
        {"\"add\":[{\"log_attribute\":\"x\",\"value\":\"new\"}],"
         "\"rename\":[{\"from_log_attribute\":\"x\",\"to\":\"y\"}],"
         "\"redact\":[{\"log_attribute\":\"x\",\"replacement\":\"old\"}],"
         "\"remove\":[{\"log_attribute\":\"y\"}]",
         PLAIN(R, S, BODY ATTRS(STR("x", "1") "," STR("y", "2"))),
         PLAIN(R, S, BODY ATTRS(STR("y", "old") "," STR("x", "new")))},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1024];
        struct world w, want;
        snprintf(text, sizeof text, POLICIES(POLICY("p", "all", ",\"transform\":{%s}")),
                 rows[i].transform);
        world_init(&w, text);
        world_init(&want, POLICIES(""));
        world_offer(&w, rows[i].before);
        world_offer(&want, rows[i].after != NULL ? rows[i].after : rows[i].before);
        assert_int_equal(w.kept, 1);
        assert_row(w.changed == (rows[i].after != NULL), "%s", rows[i].transform);
        assert_row(strcmp((char *)w.out.base, (char *)want.out.base) == 0, "%s\n%s%s",
                   rows[i].transform, w.out.base, want.out.base);
        world_done(&w);
        world_done(&want);
    }
}

/* Kind by kind over all policies, in the order of their ids; the neighbour keeps its Resource. */
static void policies_transform_in_the_order_of_ids(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, POLICIES("{\"id\":\"b\",\"log\":{\"match\":[{\"log_field\":\"body\",\"exact\":"
                            "\"a1b22\"}],\"transform\":{\"redact\":[{\"resource_attribute\":\"r\","
                            "\"regex\":\"1\",\"replacement\":\"2\"}]}}},"
                            "{\"id\":\"a\",\"log\":{\"match\":[{\"log_field\":\"body\",\"exact\":"
                            "\"a1b22\"}],\"transform\":{\"redact\":[{\"resource_attribute\":\"r\","
                            "\"regex\":\"2\",\"replacement\":\"3\"}],\"add\":[{\"log_attribute\":"
                            "\"x\",\"value\":\"1\"}]}}}"));
    world_offer(&w, PLAIN(R, S, BODY "},{\"body\":{\"stringValue\":\"other\"}"));
    assert_int_equal(w.kept, 2);
    assert_int_equal(w.changed, 1);
    const char *out = (const char *)w.out.base, *second = strchr(out, '\n');
    assert_non_null(second);
    assert_non_null(strstr(out, "{\"stringValue\":\"2\"}"));
    assert_true(strstr(out, "{\"stringValue\":\"2\"}") < second);
    assert_null(strstr(out, "{\"stringValue\":\"3\"}"));
    assert_non_null(strstr(second, "{\"stringValue\":\"1\"}"));
    world_done(&w);
}

/* ---- statuses ------------------------------------------------------------------ */

static void statuses(struct tero *t, const char *want)
{
    struct buf out = {0};
    struct json j = json_on(&out);
    json_begin_list(&j, NULL);
    tero_take_statuses(t, &j);
    json_end_list(&j);
    buf_append_byte(&out, '\0');
    assert_string_equal(out.base, want);
    buf_done(&out);
}

/* What is protected stays, whoever says otherwise, and is counted against that policy alone. */
static void protected_records_stay(void **state)
{
    (void)state;
    static const char set[] =
        "{\"policies\":[{\"id\":\"a\",\"log\":{\"match\":[{\"log_field\":\"body\",\"exists\":true}]"
        ","
        "\"keep\":\"none\"}},{\"id\":\"b\",\"log\":{\"match\":[{\"log_field\":\"body\",\"exists\":"
        "true}],\"transform\":{\"redact\":[{\"log_field\":\"body\"}]}}},{\"id\":\"c\",\"log\":{"
        "\"match\":[{\"log_field\":\"body\",\"regex\":\"(\"}]}}],\"hash\":\"h\"}";
    const struct span body = SPAN("\x2a\x03\x0a\x01x");
    struct json_doc *doc;
    struct json_node root;
    struct tero *t;
    struct error err;
    assert_int_equal(tero_new(&t, span_str(set), 1, NULL, &err), ERR_CONFIG); /* it is no file */
    assert_int_equal(json_doc_new(&doc, span_str(set), NULL, &root), 0);
    assert_int_equal(tero_new_of(&t, root, 1, NULL, &err), 0);
    json_doc_free(doc);
    assert_int_equal(tero_policies(t), 3);
    assert_int_equal(tero_invalid(t), 1);
    struct tero_record r = {.record = body};
    assert_int_equal(tero_apply(t, &r, 1), TERO_DROPPED);
    r = (struct tero_record){.record = body, .is_protected = true};
    assert_int_equal(tero_apply(t, &r, 1), TERO_CHANGED);
    statuses(t,
             "[{\"id\":\"a\",\"match_hits\":1,\"match_misses\":1,\"errors\":[\"errors are always "
             "kept: it would have dropped 1 of them\"]},{\"id\":\"b\",\"match_hits\":1,"
             "\"match_misses\":1,\"errors\":[]},{\"id\":\"c\",\"match_hits\":0,"
             "\"match_misses\":0,\"errors\":[\"log: match[0]: invalid regex \\\"(\\\"\"]}]");
    statuses(t, "[{\"id\":\"c\",\"match_hits\":0,\"match_misses\":0,\"errors\":[\"log: match[0]: "
                "invalid regex \\\"(\\\"\"]}]");
    tero_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matchers),
        cmocka_unit_test(keep_strings),
        cmocka_unit_test(most_restrictive_wins),
        cmocka_unit_test(rate_limits_have_windows_of_their_own),
        cmocka_unit_test(percentages),
        cmocka_unit_test(trace_ids_decide_as_for_traces),
        cmocka_unit_test(transforms),
        cmocka_unit_test(policies_transform_in_the_order_of_ids),
        cmocka_unit_test(protected_records_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
