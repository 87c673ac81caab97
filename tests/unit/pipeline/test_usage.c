#include "unit/pipeline/rig.h"

/* What came out as records of usage. */
struct said {
    struct rig r; /* first: the sink gets it */
    uint64_t records, received, kept, sampled_out, dropped, received_bytes, sent_bytes;
    char service[32], since[32];
    bool refuses;
};

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    static const struct {
        const char *key;
        size_t at;
    } counts[] = {
        {"lipservice.received", offsetof(struct said, received)},
        {"lipservice.kept", offsetof(struct said, kept)},
        {"lipservice.sampled_out", offsetof(struct said, sampled_out)},
        {"lipservice.dropped_by_rule", offsetof(struct said, dropped)},
        {"lipservice.received_bytes", offsetof(struct said, received_bytes)},
        {"lipservice.sent_bytes", offsetof(struct said, sent_bytes)},
    };
    struct said *s = ctx;
    struct log_record read;
    assert_int_equal(log_record_read(&read, record), 0);
    if (!span_eq(read.event_name, SPAN("lipservice.usage")))
        return rig_on_emit(&s->r, g, record, stamp, service);
    if (s->refuses)
        return ERR_NOMEM;
    struct log_attrs attrs;
    struct log_attr a;
    s->records++;
    log_attrs_of_record(&attrs, record);
    while (log_attrs_next(&attrs, &a)) {
        for (size_t i = 0; i < ARRAY_LEN(counts); i++)
            if (span_eq(a.key, span_str(counts[i].key)))
                *(uint64_t *)((char *)s + counts[i].at) += (uint64_t)a.value.integer;
        if (span_eq(a.key, SPAN("lipservice.since")))
            snprintf(s->since, sizeof s->since, "%.*s", (int)a.value.text.len, a.value.text.base);
        if (span_eq(a.key, SPAN("lipservice.event")))
            assert_true(span_eq(a.value.text, SPAN("usage")));
    }
    assert_true(log_known(&read, LOG_ADJUSTED_COUNT)->real == 0);
    int n = 0; /* service.name is the resource's only attribute, its value last */
    memcpy(s->service, g->resource.base + g->resource.len - 3, 3);
    s->service[3] = '\0';
    return (int)record.len + n;
}

static void tick_to(struct said *s, uint64_t unix_s)
{
    s->r.clock.unix_ns = unix_s * 1000000000;
    pipeline_tick(s->r.pipeline);
}

#define HOUR_S 3600
#define START_S (RIG_START_NS / 1000000000)

static void exact_for_each_service_and_hour(void **state)
{
    (void)state;
    struct said s = {.records = 0};
    rig_init(&s.r);
    s.r.opts.sink = (struct pipeline_sink){.ctx = &s, .emit = on_emit};
    s.r.opts.events.usage_ms = HOUR_S * 1000;
    const struct rules_matcher drop = {.body = SPAN("drop")};
    assert_int_equal(rules_set_global(s.r.rules, 0.25, NULL), 0);
    assert_int_equal(rules_add_matcher(s.r.rules, false, &drop, NULL), 0);
    rig_open(&s.r);
    pipeline_tick(s.r.pipeline);
    for (int i = 0; i < 400; i++)
        rig_push(&s.r,
                 &(struct rig_record){.body = i % 4 == 0 ? "drop" : "tick", .service = "app"});
    uint64_t next = (START_S / HOUR_S + 1) * HOUR_S;
    tick_to(&s, next - 1);
    assert_int_equal(s.records, 0);
    tick_to(&s, next);
    const struct ledger_row *row = ledger_total(pipeline_ledger(s.r.pipeline));
    assert_int_equal(s.records, 1);
    assert_int_equal(s.received, 400);
    assert_int_equal(s.dropped, 100);
    assert_int_equal(s.kept, s.r.emitted);
    assert_int_equal(s.kept + s.sampled_out, 300);
    assert_int_equal(s.received_bytes + 0, row->received_bytes - (row->kept_bytes - s.sent_bytes));
    assert_string_equal(s.service, "app");
    assert_string_equal(s.since, "2023-11-14T22:13:20.000Z");

    /* Nothing happened: nothing is said. Another service: each for itself. */
    tick_to(&s, next + HOUR_S);
    assert_int_equal(s.records, 1);
    rig_push(&s.r, &(struct rig_record){.body = "tick", .service = "web"});
    rig_push(&s.r, &(struct rig_record){.body = "tick", .service = "app"});
    s.refuses = true;
    tick_to(&s, next + 2 * HOUR_S);
    assert_int_equal(s.records, 1);
    s.refuses = false;
    rig_push(&s.r, &(struct rig_record){.body = "drop", .service = "app"});
    tick_to(&s, next + 2 * HOUR_S + 1);
    assert_int_equal(s.records, 1);
    tick_to(&s, next + 3 * HOUR_S);
    assert_int_equal(s.records, 3);
    assert_int_equal(s.received, 403);
    rig_push(&s.r, &(struct rig_record){.body = "drop", .service = "app"});
    pipeline_finish(s.r.pipeline);
    assert_int_equal(s.records, 4);
    assert_int_equal(s.received, 404);
    assert_int_equal(s.kept, s.r.emitted);
    rig_close(&s.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_for_each_service_and_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
