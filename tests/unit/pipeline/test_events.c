#include "unit/test.h"

#include "pipeline/stamp.h"
#include "unit/otlp/pb.h"
#include "unit/pipeline/inside.h"
#include "unit/pipeline/requests.h"

enum { EVENTS_MAX = 400, SUMMARY_S = 60, LEARNING_S = 120 };

/* One event as a decoder of protobuf-c sees it. */
struct seen {
    pb_request *request;
    const pb_record *record;
};

/* A pipeline whose survivors go nowhere, and whose events are kept decoded. */
struct rig {
    struct pipeline_opts opts;
    struct pipeline *pipeline;
    struct rules *rules;
    struct clock_fake clock;
    struct budget budget;
    struct arena arena;
    struct requests requests;
    int admit_rc, emit_rc;
    struct seen seen[EVENTS_MAX];
    unsigned count;
};

static int on_admit(void *ctx, size_t bytes, size_t largest)
{
    struct rig *r = ctx;
    (void)bytes;
    (void)largest;
    return r->admit_rc;
}

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct rig *r = ctx;
    (void)stamp;
    if (g->scope.len == 0 || memmem(g->scope.base, g->scope.len, "lipservice", 10) == NULL)
        return r->emit_rc;
    struct buf scope = {0}, resource = {0}, whole = {0};
    assert_true(
        span_eq(ledger_service_name(pipeline_ledger(r->pipeline), service), SPAN("lipservice")));
    if (r->emit_rc == 0) {
        buf_append(&scope, g->scope);
        wire_append_len(&scope, 2, record);
        buf_append(&resource, g->resource);
        wire_append_len(&resource, 2, buf_span(&scope));
        wire_append_len(&whole, 1, buf_span(&resource));
        struct logs_count n;
        assert_int_equal(logs_check(buf_span(&whole), &n), 0);
        assert_true(r->count < EVENTS_MAX);
        struct seen *s = &r->seen[r->count++];
        s->request = pb_unpack(buf_span(&whole));
        assert_non_null(s->request);
        s->record = s->request->resource_logs[0]->scope_logs[0]->log_records[0];
    }
    buf_done(&scope);
    buf_done(&resource);
    buf_done(&whole);
    return r->emit_rc;
}

static void rig_init(struct rig *r)
{
    *r = (struct rig){0};
    budget_init(&r->budget, 16 << 20);
    arena_init(&r->arena, 1 << 20, NULL);
    clock_fake_init(&r->clock, 1000, 1700000000000000000u);
    assert_int_equal(rules_new(&r->rules), 0);
    assert_int_equal(rules_set_first(r->rules, 0, 60000, NULL), 0);
    r->opts = (struct pipeline_opts){
        .max_patterns = 256,
        .max_services = 8,
        .seed = 3,
        .stamps = STAMPS_DEFAULT,
        .events = {true, 10000, LEARNING_S * 1000, SUMMARY_S * 1000, 60},
        .budget = &r->budget,
        .clock = &r->clock.clock,
        .sink = {r, on_admit, on_emit, NULL},
    };
}

static void rig_open(struct rig *r)
{
    assert_int_equal(pipeline_new(&r->pipeline, &r->opts, r->rules), 0);
    pipeline_tick(r->pipeline);
}

static void forget_events(struct rig *r)
{
    for (unsigned i = 0; i < r->count; i++)
        pb_free(r->seen[i].request);
    r->count = 0;
}

static void rig_close(struct rig *r)
{
    assert_int_equal(ledger_imbalance(pipeline_ledger(r->pipeline)), 0);
    pipeline_free(r->pipeline);
    rules_unref(r->rules);
    forget_events(r);
    requests_done(&r->requests);
    arena_done(&r->arena);
    assert_int_equal(r->budget.used, 0);
}

/* n records of a service, a severity and a body, each with a randomness of its own. */
static void push(struct rig *r, const char *service, unsigned n, uint8_t severity, const char *body)
{
    uint32_t records;
    requests_begin(&r->requests);
    for (unsigned i = 0; i < n; i++)
        requests_record(&r->requests, &(const struct request_record){
                                          .body = body,
                                          .time_ns = r->clock.unix_ns + i,
                                          .severity = severity,
                                      });
    requests_resource(&r->requests, service);
    ignore_code(pipeline_push(r->pipeline, buf_span(&r->requests.bytes), &r->arena, &records));
    arena_reset(&r->arena);
}

/* Of a service with two patterns, n of each. */
static void push_stock(struct rig *r, unsigned n)
{
    push(r, "stock", n, 9, "shelf was filled");
    push(r, "stock", n, 9, "gate is closed");
}

static void second(struct rig *r)
{
    clock_fake_advance(&r->clock, 1000);
    pipeline_tick(r->pipeline);
}

/* ---- reading ----------------------------------------------------------- */

static const pb_any_value *find(pb_key_value **list, size_t n, const char *key)
{
    const pb_any_value *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i]->key, key) != 0)
            continue;
        assert_null(found); /* once */
        found = list[i]->value;
    }
    return found;
}

static const pb_any_value *attr(const struct seen *s, const char *key)
{
    return find(s->record->attributes, s->record->n_attributes, key);
}

static const char *text(const struct seen *s, const char *key)
{
    const pb_any_value *v = attr(s, key);
    return v == NULL ? "" : v->string_value;
}

static uint64_t number(const struct seen *s, const char *key)
{
    const pb_any_value *v = attr(s, key);
    assert_non_null(v);
    return (uint64_t)v->int_value;
}

static const char *service_of(const struct seen *s)
{
    const pb_resource *r = s->request->resource_logs[0]->resource;
    return find(r->attributes, r->n_attributes, "service.name")->string_value;
}

static unsigned count_of(const struct rig *r, const char *name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->count; i++)
        n += strcmp(r->seen[i].record->event_name, name) == 0;
    return n;
}

static const struct seen *the(const struct rig *r, const char *name)
{
    assert_row(count_of(r, name) == 1, "%s: %u", name, count_of(r, name));
    unsigned i = 0;
    while (strcmp(r->seen[i].record->event_name, name) != 0)
        i++;
    return &r->seen[i];
}

/* ---- tests ------------------------------------------------------------- */

static void what_an_event_says(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_open(&r);
    for (int i = 0; i < 260; i++) { /* past learning, and long enough to be missed */
        push(&r, "cart", 2, 9, "item added to cart");
        push_stock(&r, 2);
        second(&r);
    }
    assert_int_equal(r.count, 0);
    uint32_t patterns = patterns_count(pipeline_patterns(r.pipeline));
    push(&r, "cart", 3, 13, "payment refused by the bank");
    second(&r);
    const struct seen *s = the(&r, "lipservice.pattern.new");
    const pb_scope_logs *scope = s->request->resource_logs[0]->scope_logs[0];
    assert_string_equal(scope->scope->name, "lipservice");
    assert_string_equal(service_of(s), "cart");
    assert_int_equal(s->record->severity_number, 9);
    assert_true(s->record->time_unix_nano == r.clock.unix_ns);
    assert_true(s->record->observed_time_unix_nano == r.clock.unix_ns);
    assert_string_equal(s->record->body->string_value, "New pattern: payment refused by the bank");
    assert_int_equal(strlen(text(s, "pattern.id")), 21);
    assert_string_equal(text(s, "log.record.template"), "payment refused by the bank");
    assert_string_equal(text(s, "lipservice.level"), "WARN");
    assert_string_equal(text(s, "lipservice.first_seen"), "2023-11-14T22:17:40.000Z");
    assert_int_equal(number(s, "lipservice.received"), 3);
    assert_int_equal(number(s, "lipservice.kept"), 3);
    const pb_any_value *weight = attr(s, "otel.logs.adjusted_count");
    assert_int_equal(weight->value_case, PB_ANY(DOUBLE_VALUE));
    assert_float_equal(weight->double_value, 0, 0);

    forget_events(&r);
    push(&r, "cart", 400, 9, "item added to cart");
    second(&r);
    s = the(&r, "lipservice.pattern.surge");
    assert_int_equal(s->record->severity_number, 13);
    assert_string_equal(s->record->severity_text, "WARN");
    assert_float_equal(attr(s, "lipservice.rate.usual")->double_value, 2, 0.1);
    assert_true(attr(s, "lipservice.rate")->double_value > 40);
    assert_string_equal(text(s, "log.record.template"), "item added to cart");
    assert_int_equal(r.count, 1); /* it is all of its service, which is not told as well */

    forget_events(&r);
    push_stock(&r, 400);
    second(&r);
    s = the(&r, "lipservice.service.surge");
    assert_string_equal(service_of(s), "stock");
    assert_null(attr(s, "pattern.id"));
    assert_int_equal(r.count, 1); /* nor are the patterns of one that surges as a whole */

    /* They are ours: kept of a service of their own, and nothing else knows of them. */
    struct ledger *l = pipeline_ledger(r.pipeline);
    const struct ledger_row *row = ledger_row(l, ledger_service(l, SPAN("lipservice")));
    assert_int_equal(row->received, 3);
    assert_int_equal(row->verdict[VERDICT_KEPT], 3);
    assert_int_equal(pipeline_reasons(r.pipeline)->kept[REASON_EVENT], 3);
    assert_int_equal(patterns_count(pipeline_patterns(r.pipeline)), patterns + 1);

    forget_events(&r);
    for (int i = 0; i < 400; i++) {
        push(&r, "cart", 1, 13, "payment refused by the bank");
        push_stock(&r, 2);
        second(&r);
    }
    s = the(&r, "lipservice.pattern.silent");
    assert_string_equal(text(s, "log.record.template"), "item added to cart");
    assert_true(attr(s, "lipservice.silent_seconds")->double_value >= 60);
    rig_close(&r);
}

/* Over all summaries, whatever happens meanwhile. */
static void summaries_add_up(void **state)
{
    (void)state;
    static const char *const words[] = {"red",  "green", "blue", "white",  "black",  "brown",
                                        "pink", "grey",  "gold", "silver", "violet", "orange"};
    struct rig r;
    rig_init(&r);
    r.opts.max_patterns = 24; /* many are evicted */
    r.opts.events.max_per_minute = 5;
    assert_int_equal(rules_set_global(r.rules, 0.3, NULL), 0);
    struct rules_matcher m = {.body = SPAN("*dropped*"), .name = SPAN("drop[0]")};
    assert_int_equal(rules_add_matcher(r.rules, false, &m, NULL), 0);
    rig_open(&r);
    uint64_t told_out = 0, told_by_rule = 0, told_received = 0;
    unsigned samples = 0, rests = 0;
    for (int i = 0; i <= 20 * SUMMARY_S; i++) {
        char body[80];
        snprintf(body, sizeof body, "%s%s %s %s", i % 7 == 0 ? "dropped " : "", words[i % 12],
                 words[i / 12 % 12], i % 5 == 0 ? words[i / 60 % 12] : "paint");
        push(&r, i % 3 == 0 ? "a" : "b", 1 + (unsigned)i % 40, 9, body);
        r.admit_rc = i / SUMMARY_S % 4 == 2 ? ERR_FULL : 0; /* the next one tells */
        r.emit_rc = i / SUMMARY_S % 5 == 3 ? ERR_NOMEM : 0;
        if (r.admit_rc == 0 && r.emit_rc == 0 && i % 200 == 0)
            pipeline_finish(r.pipeline);
        second(&r);
    }
    r.admit_rc = r.emit_rc = 0;
    pipeline_finish(r.pipeline);
    for (unsigned i = 0; i < r.count; i++) {
        const struct seen *s = &r.seen[i];
        if (strcmp(s->record->event_name, "lipservice.pattern.summary") != 0)
            continue;
        told_out += number(s, "lipservice.sampled_out");
        told_by_rule += number(s, "lipservice.dropped_by_rule");
        told_received += number(s, "lipservice.received");
        bool is_rest = attr(s, "pattern.id") == NULL;
        rests += is_rest;
        assert_int_equal(strcmp(service_of(s), "lipservice") == 0, is_rest);
        samples += attr(s, "lipservice.sample") != NULL;
        /* What a rule dropped is not shown. */
        if (attr(s, "lipservice.sample") != NULL)
            assert_null(strstr(text(s, "lipservice.sample"), "dropped"));
        assert_true(is_rest || strlen(text(s, "lipservice.since")) == 24);
    }
    const struct ledger_row *total = ledger_total(pipeline_ledger(r.pipeline));
    assert_true(patterns_evicted(pipeline_patterns(r.pipeline)) > 100 && rests > 3 && samples > 10);
    assert_true(total->verdict[VERDICT_DROPPED_BY_RULE] > 1000);
    assert_int_equal(told_out, total->verdict[VERDICT_SAMPLED_OUT]);
    assert_int_equal(told_by_rule, total->verdict[VERDICT_DROPPED_BY_RULE]);
    assert_true(told_received <= total->received && told_received > told_out + told_by_rule);
    assert_true(events_stats(r.pipeline->events)->dropped > 0);
    rig_close(&r);
}

static void a_sample_is_cut_and_is_of_the_interval(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    char body[3000];
    memset(body, 0, sizeof body);
    strcpy(body, "upload failed ");
    while (strlen(body) < 2900)
        strcat(body, "\xe2\x82\xac"); /* three bytes each: 1024 is within one */
    assert_int_equal(rules_set_global(r.rules, 0, NULL), 0);
    rig_open(&r);
    push(&r, "a", 5, 9, body);
    for (int i = 0; i <= SUMMARY_S; i++)
        second(&r);
    const struct seen *s = the(&r, "lipservice.pattern.summary");
    assert_int_equal(strlen(text(s, "lipservice.sample")), 1022);
    assert_int_equal(number(s, "lipservice.sampled_out"), 5);
    assert_int_equal(number(s, "lipservice.kept"), 0);
    assert_non_null(
        strstr(s->record->body->string_value, "5 of 5 records were dropped: upload failed"));
    forget_events(&r);
    for (int i = 0; i <= 3 * SUMMARY_S; i++)
        second(&r);
    assert_int_equal(r.count, 0); /* nothing was dropped, nothing is told */
    push(&r, "a", 2, 9, body);
    for (int i = 0; i <= SUMMARY_S; i++)
        second(&r);
    assert_int_equal(number(the(&r, "lipservice.pattern.summary"), "lipservice.received"), 2);
    rig_close(&r);
}

static void more_than_may_be_told(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.opts.events.max_per_minute = 3;
    rig_open(&r);
    for (int i = 0; i < LEARNING_S + 10; i++) {
        push(&r, "cart", 1, 9, "steady");
        second(&r);
    }
    static const char *const bodies[] = {"alpha came", "beta went", "gamma stood", "delta fell",
                                         "epsilon sat"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        push(&r, "cart", 1, 9, bodies[i]);
    second(&r);
    assert_int_equal(count_of(&r, "lipservice.pattern.new"), 3);
    assert_int_equal(events_stats(r.pipeline->events)->dropped, 2);
    forget_events(&r);
    for (int i = 0; i < 60; i++) {
        push(&r, "cart", 1, 9, "steady");
        second(&r);
    }
    push(&r, "cart", 1, 9, "zeta slept");
    second(&r);
    assert_int_equal(number(the(&r, "lipservice.pattern.new"), "lipservice.events.omitted"), 2);
    assert_int_equal(events_stats(r.pipeline->events)->sent[EVENT_NEW], 4);
    rig_close(&r);
}

static void a_family_is_not_new_and_its_members_not_silent(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.opts.family_weight = 4;
    rig_open(&r);
    static const char *const names[] = {"alice", "bob", "carol", "dave", "erin", "frank"};
    for (int i = 0; i < 400; i++) {
        push(&r, "cart", 1, 9, "session of alice began");
        push(&r, "cart", 1, 9, "all is well");
        second(&r);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char body[60];
        snprintf(body, sizeof body, "session of %s began", names[i]);
        push(&r, "cart", 1, 9, body);
        second(&r);
    }
    assert_true(families_stats(pipeline_families(r.pipeline)).aliases > 0);
    for (unsigned i = 0; i < r.count; i++)
        assert_null(strstr(text(&r.seen[i], "log.record.template"), "<*>"));
    assert_true(r.count > 0 && r.count < ARRAY_LEN(names)); /* lines until they are one */
    forget_events(&r);
    for (int i = 0; i < 400; i++) {
        push(&r, "cart", 1, 9, "session of alice began");
        push(&r, "cart", 1, 9, "all is well");
        second(&r);
    }
    assert_int_equal(r.count, 0);
    for (int i = 0; i < 400; i++) {
        push(&r, "cart", 1, 9, "all is well");
        second(&r);
    }
    assert_string_equal(text(the(&r, "lipservice.pattern.silent"), "log.record.template"),
                        "session of <*> began");
    rig_close(&r);
}

static void suppressed_errors_are_told_whatever_is_set(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.opts.events.enabled = false;
    r.opts.floor_per_second = 10;
    rig_open(&r);
    assert_null(r.pipeline->anomaly);
    for (int i = 0; i < 2 * SUMMARY_S + 30; i++) { /* a storm of two and a half intervals */
        push(&r, "a", 20, 17, "it failed");
        push(&r, "b", 30, 17, "that failed, too");
        push(&r, "b", 5, 9, "all is well");
        second(&r);
    }
    assert_int_equal(count_of(&r, "lipservice.errors_suppressed"), 4);
    for (int i = 0; i < 20; i++)
        second(&r);
    assert_int_equal(count_of(&r, "lipservice.errors_suppressed"), 6);
    assert_int_equal(r.count, 6);
    uint64_t told = 0;
    for (unsigned i = 0; i < r.count; i++) {
        assert_int_equal(r.seen[i].record->severity_number, 13);
        assert_int_equal(number(&r.seen[i], "lipservice.limit"), 10);
        told += number(&r.seen[i], "lipservice.errors.suppressed");
    }
    assert_int_equal(told, pipeline_reasons(r.pipeline)->dropped[REASON_FLOOR_LIMIT]);
    assert_true(told > 5000);

    push(&r, "a", 50, 17, "it failed");
    r.admit_rc = ERR_FULL;
    pipeline_finish(r.pipeline);
    assert_int_equal(r.count, 6);
    r.admit_rc = 0;
    pipeline_finish(r.pipeline); /* not forgotten */
    assert_int_equal(r.count, 7);
    rig_close(&r);

    rig_init(&r);
    r.opts.events.enabled = false;
    r.opts.floor_per_second = 10;
    r.opts.observe = true;
    rig_open(&r);
    push(&r, "a", 50, 17, "it failed");
    pipeline_finish(r.pipeline);
    assert_int_equal(r.count, 0); /* observing, nothing was dropped */
    rig_close(&r);
}

static void nothing_asked_nothing_there(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.opts.events.enabled = false;
    rig_open(&r);
    assert_null(r.pipeline->anomaly);
    assert_null(r.pipeline->events);
    struct rules *boosting;
    assert_int_equal(rules_new(&boosting), 0);
    assert_int_equal(rules_set_boost(boosting, 2, NULL), 0);
    assert_int_equal(pipeline_set_rules(r.pipeline, 1, boosting), 0);
    assert_non_null(r.pipeline->anomaly); /* from when it matters */
    assert_null(r.pipeline->events);
    push(&r, "a", 5, 9, "hello");
    second(&r);
    assert_int_equal(r.count, 0);
    rules_unref(boosting);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_event_says),
        cmocka_unit_test(summaries_add_up),
        cmocka_unit_test(a_sample_is_cut_and_is_of_the_interval),
        cmocka_unit_test(more_than_may_be_told),
        cmocka_unit_test(a_family_is_not_new_and_its_members_not_silent),
        cmocka_unit_test(suppressed_errors_are_told_whatever_is_set),
        cmocka_unit_test(nothing_asked_nothing_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
