#include "unit/test.h"

#include <limits.h>

#include "pattern/signature.h"
#include "pipeline/stamp.h"
#include "unit/otlp/pb.h"
#include "unit/pipeline/inside.h"
#include "unit/pipeline/requests.h"

#define SERVICES 8
#define STAMPS_OF_ALL \
    (1u << STAMP_ADJUSTED_COUNT | 1u << STAMP_PATTERN | 1u << STAMP_FAMILY | 1u << STAMP_REASON)

/* A pipeline whose survivors are counted instead of queued. */
struct rig {
    struct pipeline *pipeline;
    struct rules *rules;
    struct clock_fake clock;
    struct budget budget;
    struct arena arena;
    int admit_rc, emit_rc;
    unsigned emit_before_failure; /* then emit_rc */
    size_t admitted, last_stamp_len;
    uint8_t last_stamp[STAMP_BYTES];
    unsigned stamps;
    unsigned emitted[SERVICES], stamped, families, seen[SERVICES], seen_count;
};

static int on_admit(void *ctx, size_t bytes, size_t largest)
{
    (void)largest;
    struct rig *r = ctx;
    r->admitted = bytes;
    return r->admit_rc;
}

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct rig *r = ctx;
    (void)g;
    assert_true(record.len > 0);
    assert_true(stamp.len <= stamp_bytes(r->stamps));
    if (r->emit_rc < 0 && r->emit_before_failure-- == 0) {
        r->emit_before_failure = 0;
        return r->emit_rc;
    }
    if (stamp.len > 0)
        memcpy(r->last_stamp, stamp.base, stamp.len);
    r->last_stamp_len = stamp.len;
    r->emitted[service]++;
    r->stamped += stamp.len > 0;
    r->families += stamp.len > 0 && memmem(stamp.base, stamp.len, "pattern.family", 14) != NULL;
    return 0;
}

static void on_seen(void *ctx, uint32_t service, struct span name)
{
    struct rig *r = ctx;
    assert_true(span_eq(name, ledger_service_name(pipeline_ledger(r->pipeline), service)));
    r->seen[r->seen_count++] = service;
}

static void rig_open_stamping(struct rig *r, unsigned stamps)
{
    *r = (struct rig){0};
    budget_init(&r->budget, 16 << 20);
    arena_init(&r->arena, 1 << 20, NULL);
    clock_fake_init(&r->clock, 1000, 1700000000000000000u);
    r->stamps = stamps;
    assert_int_equal(rules_new(&r->rules), 0);
    const struct pipeline_opts opts = {
        .max_patterns = 256,
        .max_services = SERVICES,
        .family_weight = 4,
        .seed = 3,
        .stamps = stamps,
        .budget = &r->budget,
        .clock = &r->clock.clock,
        .sink = {r, on_admit, on_emit},
        .service_seen = on_seen,
        .service_ctx = r,
    };
    assert_int_equal(pipeline_new(&r->pipeline, &opts, r->rules), 0);
}

static void rig_open(struct rig *r)
{
    rig_open_stamping(r, STAMPS_OF_ALL);
}

static void rig_close(struct rig *r)
{
    assert_int_equal(ledger_imbalance(pipeline_ledger(r->pipeline)), 0);
    pipeline_free(r->pipeline);
    rules_unref(r->rules);
    arena_done(&r->arena);
    assert_int_equal(r->budget.used, 0);
}

/* n records of a service, a level and a body, as one more ResourceLogs. */
static void add(struct buf *request, const char *service, unsigned n, uint8_t severity,
                const char *body)
{
    struct requests q = {0};
    for (unsigned i = 0; i < n; i++)
        requests_record(
            &q, &(const struct request_record){.body = body, .time_ns = 1, .severity = severity});
    requests_resource(&q, service);
    buf_append(request, buf_span(&q.bytes));
    requests_done(&q);
}

static int push(struct rig *r, struct buf *request, uint32_t *records)
{
    int rc = pipeline_push(r->pipeline, buf_span(request), &r->arena, records);
    arena_reset(&r->arena);
    return rc;
}

static void several_services_in_one_request(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    uint32_t records = 0;
    rig_open(&r);
    add(&request, "cart", 2, 9, "added to cart");
    add(&request, "pay", 3, 9, "paid");
    add(&request, "cart", 4, 13, "cart is full");
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(records, 9);
    assert_true(r.admitted >= request.len + 9 * stamp_bytes(STAMPS_OF_ALL));

    struct ledger *l = pipeline_ledger(r.pipeline);
    uint32_t cart = ledger_service(l, SPAN("cart")), pay = ledger_service(l, SPAN("pay"));
    assert_int_equal(r.emitted[cart], 6);
    assert_int_equal(r.emitted[pay], 3);
    assert_int_equal(ledger_row(l, cart)->queued, 6);
    assert_int_equal(ledger_row(l, pay)->received, 3);
    assert_int_equal(r.seen_count, 2);
    assert_int_equal(r.seen[0], cart);
    assert_int_equal(r.seen[1], pay);
    assert_int_equal(r.stamped, 0); /* nothing was sampled: no weights */
    assert_int_equal(patterns_count(pipeline_patterns(r.pipeline)), 3);
    assert_int_equal(pipeline_reasons(r.pipeline)->kept[REASON_GLOBAL_RATE], 9);

    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(r.seen_count, 2); /* not for the first time */
    assert_int_equal(patterns_count(pipeline_patterns(r.pipeline)), 3);
    buf_done(&request);
    rig_close(&r);
}

static void nothing_of_damage_enters(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    uint32_t records = 99;
    rig_open(&r);
    add(&request, "cart", 5, 9, "fine");
    size_t sound = request.len;
    static const struct {
        struct span tail;
        int rc;
    } rows[] = {
        {{(const uint8_t *)"\x0a\x7f", 2}, ERR_MORE},
        {{(const uint8_t *)"\x0f", 1}, ERR_MALFORMED},
        {{(const uint8_t *)"\x0a\x07\x12\x05\x12\x03\x1a\x01\xff", 9}, ERR_UTF8},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        request.len = sound;
        buf_append(&request, rows[i].tail);
        assert_row(push(&r, &request, &records) == rows[i].rc, "%zu", i);
        assert_int_equal(records, 99);
    }
    assert_int_equal(ledger_total(pipeline_ledger(r.pipeline))->received, 0);
    assert_int_equal(ledger_services(pipeline_ledger(r.pipeline)), 1);
    assert_int_equal(patterns_count(pipeline_patterns(r.pipeline)), 0);
    assert_int_equal(r.admitted, 0);
    assert_int_equal(r.emitted[0] + r.emitted[1], 0);
    buf_done(&request);
    assert_int_equal(push(&r, &request, &records), 0); /* an empty one is sound */
    assert_int_equal(records, 0);
    rig_close(&r);
}

static void no_room_is_counted_per_service(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    uint32_t records = 0;
    rig_open(&r);
    r.admit_rc = ERR_FULL;
    add(&request, "cart", 5, 9, "a");
    add(&request, "pay", 2, 17, "b");
    assert_int_equal(push(&r, &request, &records), ERR_FULL);
    struct ledger *l = pipeline_ledger(r.pipeline);
    assert_int_equal(ledger_row(l, ledger_service(l, SPAN("cart")))->verdict[VERDICT_REJECTED], 5);
    assert_int_equal(ledger_row(l, ledger_service(l, SPAN("pay")))->verdict[VERDICT_REJECTED], 2);
    assert_int_equal(ledger_total(l)->queued, 0);
    assert_int_equal(patterns_count(pipeline_patterns(r.pipeline)), 0);
    assert_int_equal(r.emitted[1] + r.emitted[2], 0);
    buf_done(&request);
    rig_close(&r);
}

/* A schema_url behind the scope_logs, as protobuf writes it, has to be gathered. */
static void without_room_to_gather_nothing_enters(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0}, inner = {0}, tail = {0};
    uint32_t records = 0;
    rig_open(&r);
    add(&request, "cart", 5, 9, "a");
    add(&inner, "pay", 2, 9, "b");
    struct wire w;
    struct wire_field f;
    wire_init(&w, buf_span(&inner));
    assert_true(wire_next(&w, &f));
    buf_append(&tail, f.bytes);
    char url[20000];
    memset(url, 'u', sizeof url);
    wire_append_len(&tail, 3, span_of(url, sizeof url));
    wire_append_len(&request, 1, buf_span(&tail));

    r.arena.max_bytes = 1000;
    assert_true(push(&r, &request, &records) < 0);
    assert_int_equal(r.emitted[1] + r.emitted[2], 0);
    assert_int_equal(ledger_total(pipeline_ledger(r.pipeline))->verdict[VERDICT_KEPT], 0);
    assert_int_equal(patterns_count(pipeline_patterns(r.pipeline)), 0);
    r.arena.max_bytes = 1 << 20;
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(r.emitted[1] + r.emitted[2], 7);
    buf_done(&request);
    buf_done(&inner);
    buf_done(&tail);
    rig_close(&r);
}

/* The whole request is refused: what went on before may come twice, the rest is in no loss. */
static void a_failed_emit_refuses_the_request(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    uint32_t records = 0;
    rig_open(&r);
    r.emit_before_failure = 3;
    r.emit_rc = ERR_NOMEM;
    add(&request, "cart", 5, 9, "a");
    add(&request, "pay", 4, 17, "b");
    assert_int_equal(push(&r, &request, &records), ERR_NOMEM);
    const struct ledger_row *total = ledger_total(pipeline_ledger(r.pipeline));
    assert_int_equal(total->verdict[VERDICT_KEPT], 3);
    assert_int_equal(total->verdict[VERDICT_REJECTED], 6);
    assert_int_equal(total->queued, 3);
    for (int fate = 0; fate < FATE_COUNT; fate++)
        assert_int_equal(total->fate[fate], 0);

    r.emit_before_failure = UINT_MAX;
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(total->verdict[VERDICT_KEPT], 12);
    assert_int_equal(total->verdict[VERDICT_REJECTED], 6);
    buf_done(&request);
    rig_close(&r);
}

/* What was among the first of its window, and was refused, is so again. */
static void a_refused_first_is_first_again(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    uint32_t records = 0;
    rig_open(&r);
    assert_int_equal(rules_set_first(r.rules, 2, 60000, NULL), 0);
    assert_int_equal(rules_set_global(r.rules, 0, NULL), 0);
    r.emit_before_failure = 0;
    r.emit_rc = ERR_NOMEM;
    add(&request, "cart", 1, 9, "a");
    for (int i = 0; i < 5; i++)
        assert_int_equal(push(&r, &request, &records), ERR_NOMEM);
    r.emit_before_failure = UINT_MAX;
    for (int i = 0; i < 5; i++)
        assert_int_equal(push(&r, &request, &records), 0);
    const struct ledger_row *total = ledger_total(pipeline_ledger(r.pipeline));
    assert_int_equal(total->verdict[VERDICT_KEPT], 2);
    assert_int_equal(total->verdict[VERDICT_SAMPLED_OUT], 3);
    assert_int_equal(pipeline_reasons(r.pipeline)->kept[REASON_FIRST], 2);
    buf_done(&request);
    rig_close(&r);
}

static void each_service_has_its_rules(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    struct rules *none;
    uint32_t records = 0;
    rig_open(&r);
    struct ledger *l = pipeline_ledger(r.pipeline);
    uint32_t cart = ledger_service(l, SPAN("cart")), pay = ledger_service(l, SPAN("pay"));
    assert_int_equal(rules_new(&none), 0);
    assert_int_equal(rules_set_global(none, 0, NULL), 0);
    assert_int_equal(pipeline_set_rules(r.pipeline, cart, none), 0);
    assert_int_equal(pipeline_set_rules(r.pipeline, cart, none), 0); /* the same again */
    rules_unref(none);
    assert_ptr_equal(pipeline_rules(r.pipeline, cart), none);
    assert_ptr_equal(pipeline_rules(r.pipeline, pay), r.rules);
    add(&request, "pay", 3, 9, "a");
    add(&request, "cart", 4, 9, "a");
    add(&request, "cart", 1, 17, "a");
    add(&request, "pay", 2, 9, "a");
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(r.emitted[cart], 1); /* the error */
    assert_int_equal(r.emitted[pay], 5);
    assert_int_equal(ledger_row(l, cart)->verdict[VERDICT_SAMPLED_OUT], 4);
    assert_int_equal(pipeline_reasons(r.pipeline)->dropped[REASON_GLOBAL_RATE], 4);

    assert_int_equal(pipeline_set_rules(r.pipeline, cart, NULL), 0);
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(r.emitted[cart], 6);
    buf_done(&request);
    rig_close(&r);
}

/* Counts of the table and weights of the survivors, both against what came. */
static void counts_and_weights(void **state)
{
    (void)state;
    struct rig r;
    struct rules *half;
    uint32_t records = 0;
    unsigned pushed = 0;
    rig_open(&r);
    uint32_t cart = ledger_service(pipeline_ledger(r.pipeline), SPAN("cart"));
    assert_int_equal(rules_new(&half), 0);
    assert_int_equal(rules_set_level(half, LEVEL_INFO, 0.5, NULL), 0);
    assert_int_equal(rules_set_first(half, 3, 60000, NULL), 0);
    assert_int_equal(pipeline_set_rules(r.pipeline, cart, half), 0);
    rules_unref(half);
    for (unsigned i = 0; i < 2000; i++) {
        struct buf request = {0};
        char body[64];
        snprintf(body, sizeof body, "request %u took %u ms", i, i * 7);
        add(&request, "cart", 1, 9, body);
        assert_int_equal(push(&r, &request, &records), 0);
        pushed += records;
        buf_done(&request);
    }
    struct patterns *p = pipeline_patterns(r.pipeline);
    assert_int_equal(patterns_count(p), 1);
    const struct pattern *e = patterns_at(p, 0);
    assert_int_equal(e->counts.received, pushed);
    assert_int_equal(e->counts.kept + e->counts.sampled_out, pushed);
    assert_int_equal(e->counts.kept, r.emitted[cart]);
    assert_true(e->template_len > 0);
    assert_int_equal(e->first_seen_ns, 1700000000000000000u);
    assert_int_equal(pipeline_reasons(r.pipeline)->kept[REASON_FIRST], 3);
    assert_int_equal(r.stamped, r.emitted[cart] - 3);
    assert_in_range(r.stamped * 2, pushed - 3 - 135, pushed - 3 + 135); /* 3 sigma of 2n(1/2) */
    rig_close(&r);
}

/* Stamps come from the pattern, but for a template that the record has itself. */
static void stamps_of_a_survivor(void **state)
{
    (void)state;
    static const struct {
        const char *attribute; /* of the record, or NULL */
        unsigned attributes;   /* of the stamp */
        bool has_template;
    } rows[] = {
        {NULL, 5, true}, /* all but sampling.randomness: there is a trace id */
        {"log.record.template", 4, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        struct requests q = {0};
        uint32_t records;
        rig_open_stamping(&r, (1u << STAMP_COUNT) - 1);
        assert_int_equal(rules_set_level(r.rules, LEVEL_INFO, 0.5, NULL), 0);
        requests_record(&q, &(const struct request_record){
                                .body = "cart 17",
                                .trace = {1, UINT64_MAX}, /* the last 56 bits: r is the most */
                                .key = rows[i].attribute,
                                .value = rows[i].attribute != NULL ? "x" : NULL,
                            });
        requests_resource(&q, NULL);
        assert_int_equal(push(&r, &q.bytes, &records), 0);
        assert_int_equal(r.stamped, 1);
        assert_int_equal(r.admitted,
                         q.bytes.len + TIMESTAMP_BYTES + stamp_bytes((1u << STAMP_COUNT) - 1));

        struct log_attrs attrs;
        struct log_attr a;
        unsigned n = 0;
        bool has_template = false;
        log_attrs_of_record(&attrs, span_of(r.last_stamp, r.last_stamp_len));
        while (log_attrs_next(&attrs, &a)) {
            n++;
            assert_false(span_eq(a.key, SPAN("sampling.randomness")));
            has_template |= span_eq(a.key, SPAN("log.record.template"));
            if (span_eq(a.key, SPAN("sampling.reason")))
                assert_true(span_eq(a.value.text, SPAN("severity_rate")));
            if (span_eq(a.key, SPAN("sampling.threshold")))
                assert_true(span_eq(a.value.text, SPAN("8")));
        }
        assert_row(n == rows[i].attributes, "%zu: %u", i, n);
        assert_row(has_template == rows[i].has_template, "%zu", i);
        requests_done(&q);
        rig_close(&r);
    }
}

static void status_classes_are_patterns_of_their_own(void **state)
{
    (void)state;
    static const struct {
        const char *name, *key, *text;
        uint64_t number; /* where text is NULL */
        unsigned status_class;
    } rows[] = {
        {"none", NULL, NULL, 0, 0},
        {"int", "http.response.status_code", NULL, 100, 1},
        {"old name, text", "http.status_code", "503", 0, 5},
        {"text, not a status", "http.status_code", "abc", 0, 0},
        {"text, too high", "http.status_code", "600", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        struct requests q = {0};
        uint32_t records = 0;
        rig_open(&r);
        requests_record(&q, &(const struct request_record){
                                .body = "x",
                                .key = rows[i].key,
                                .value = rows[i].text,
                                .number = rows[i].number,
                            });
        requests_resource(&q, NULL);
        assert_row(push(&r, &q.bytes, &records) == 0, "%s", rows[i].name);
        const struct pattern *e = patterns_at(pipeline_patterns(r.pipeline), 0);
        assert_row(e->key.status_class == rows[i].status_class, "%s: %u", rows[i].name,
                   e->key.status_class);
        requests_done(&q);
        rig_close(&r);
    }
}

/* One record of the service `cart` for each name. */
static void log_in(struct rig *r, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct buf request = {0};
        char body[64];
        uint32_t records;
        snprintf(body, sizeof body, "user %s logged in", names[i]);
        add(&request, "cart", 1, 9, body);
        assert_int_equal(push(r, &request, &records), 0);
        buf_done(&request);
    }
}

static uint64_t id_of_line(const char *line)
{
    struct signer *s;
    assert_int_equal(signer_new(&s), 0);
    uint64_t id = signer_sign_text(s, span_str(line));
    signer_free(s);
    return id;
}

static void survivors_carry_their_family(void **state)
{
    (void)state;
    static const char *const names[] = {"alice", "bob", "carol", "dave", "erin", "42"};
    struct rig r;
    rig_open(&r);
    /* below 1, and yet nothing is lost */
    assert_int_equal(rules_set_global(r.rules, 1 - 1e-15, NULL), 0);
    log_in(&r, names, 3);
    assert_int_equal(r.stamped, 3);
    assert_int_equal(r.families, 0);
    log_in(&r, names, ARRAY_LEN(names));
    assert_int_equal(r.stamped, 9);
    assert_int_equal(r.families, 2); /* dave, who made it one, and erin; 42 is the family itself */
    log_in(&r, names, ARRAY_LEN(names));
    assert_int_equal(r.families, 7);
    const struct pattern *alice = patterns_at(pipeline_patterns(r.pipeline), 0);
    assert_int_equal(alice->key.signature, id_of_line("user alice logged in"));
    assert_int_equal(alice->family, id_of_line("user 42 logged in"));
    assert_int_equal(alice->counts.received, 2); /* until it was a family's; then it counts there */
    const struct pattern_key key = {id_of_line("user 42 logged in"), alice->key.service, LEVEL_INFO,
                                    0};
    const struct pattern *family = patterns_find(pipeline_patterns(r.pipeline), &key);
    assert_non_null(family);
    /* dave, erin and 42, and then all six */
    assert_int_equal(family->counts.received, 9);
    assert_true(
        span_eq(span_of(family->template_text, family->template_len), SPAN("user <*> logged in")));
    rig_close(&r);
}

/* Rates and rules that name a pattern hold for its family, a second after it has one. */
static void policies_bind_families(void **state)
{
    (void)state;
    static const char *const names[] = {"alice", "bob", "carol", "dave"}, *const others[] = {"erin",
                                                                                             "42"};
    enum { BY_RATE, BY_DROP_RULE, BY_RATE_OF_FAMILY, WAYS };
    for (int way = 0; way < WAYS; way++) {
        struct rig r;
        rig_open(&r);
        uint64_t alice = id_of_line("user alice logged in"),
                 family = id_of_line("user 42 logged in");
        struct rules_matcher drop = {.has_pattern = true, .pattern = alice};
        if (way == BY_DROP_RULE)
            assert_int_equal(rules_add_matcher(r.rules, false, &drop, NULL), 0);
        else
            assert_int_equal(rules_set_pattern(r.rules, way == BY_RATE ? alice : family, 0, NULL),
                             0);
        const struct ledger_row *total = ledger_total(pipeline_ledger(r.pipeline));
        log_in(&r, names, 4);
        uint64_t kept = total->verdict[VERDICT_KEPT];
        /* By its own name alice is dropped at once, the family's when dave has made it one. */
        assert_row(kept == 3, "way %d: %u", way, (unsigned)kept);
        log_in(&r, others, 2); /* bound at most a second ago: to nothing yet */
        assert_row(total->verdict[VERDICT_KEPT] == kept + (way == BY_RATE_OF_FAMILY ? 0 : 2),
                   "way %d", way);
        kept = total->verdict[VERDICT_KEPT];
        clock_fake_advance(&r.clock, 1000);
        log_in(&r, others, 2);
        log_in(&r, names, 4);
        assert_row(total->verdict[VERDICT_KEPT] == kept, "way %d", way);
        rig_close(&r);
    }
}

static void merging_can_be_off(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    pipeline_free(r.pipeline);
    const struct pipeline_opts opts = {
        .max_patterns = 256,
        .max_services = SERVICES,
        .budget = &r.budget,
        .clock = &r.clock.clock,
        .sink = {&r, on_admit, on_emit},
    };
    assert_int_equal(pipeline_new(&r.pipeline, &opts, r.rules), 0);
    static const char *const names[] = {"alice", "bob", "carol", "dave", "erin", "frank"};
    log_in(&r, names, ARRAY_LEN(names));
    assert_null(pipeline_families(r.pipeline));
    const struct pattern *e = patterns_at(pipeline_patterns(r.pipeline), 0);
    assert_int_equal(e->family, e->key.signature);
    rig_close(&r);
}

/* A pipeline in which all below ERROR is sampled out, with context for errors. */
static void rig_reopen_with_context(struct rig *r, uint32_t floor_per_second)
{
    pipeline_free(r->pipeline);
    assert_int_equal(rules_set_global(r->rules, 0, NULL), 0);
    const struct pipeline_opts opts = {
        .max_patterns = 256,
        .max_services = SERVICES,
        .stamps = STAMPS_OF_ALL,
        .context = {.bytes = 1 << 20,
                    .trigger = LEVEL_ERROR,
                    .window_ms = 5000,
                    .max_records = 3,
                    .max_per_second = 100},
        .floor_per_second = floor_per_second,
        .budget = &r->budget,
        .clock = &r->clock.clock,
        .sink = {r, on_admit, on_emit},
    };
    assert_int_equal(pipeline_new(&r->pipeline, &opts, r->rules), 0);
}

static void errors_bring_what_led_to_them(void **state)
{
    (void)state;
    struct rig r;
    struct buf calm = {0}, error = {0};
    uint32_t records;
    rig_open(&r);
    rig_reopen_with_context(&r, 0);
    const struct ledger_row *total = ledger_total(pipeline_ledger(r.pipeline));
    add(&calm, "cart", 5, 9, "step");
    add(&calm, "pay", 1, 9, "step");
    add(&error, "cart", 1, 17, "failed");
    assert_int_equal(push(&r, &calm, &records), 0);
    assert_int_equal(total->queued, 0);
    r.admit_rc = ERR_FULL; /* for the context; the error itself is not even asked for */
    assert_int_equal(push(&r, &error, &records), ERR_FULL);
    assert_int_equal(total->released, 0);
    r.admit_rc = 0;
    assert_int_equal(push(&r, &error, &records), 0);
    assert_int_equal(total->released, 3); /* the last three of cart's */
    assert_int_equal(total->queued, 4);
    assert_int_equal(total->verdict[VERDICT_SAMPLED_OUT], 6); /* and stay counted so */
    assert_int_equal(r.emitted[1], 4);
    assert_int_equal(r.stamped,
                     3); /* the error, kept with certainty, came last and carries nothing */
    assert_int_equal(r.last_stamp_len, 0);
    assert_int_equal(push(&r, &error, &records), 0);
    assert_int_equal(total->released, 3);
    ledger_settle(pipeline_ledger(r.pipeline), 1, FATE_DELIVERED, 5);
    assert_int_equal(total->queued, 0);
    buf_done(&calm);
    buf_done(&error);
    rig_close(&r);
}

/* Observed, it is only said; and what was sent then is not sent once more. */
static void what_was_observed_is_no_context(void **state)
{
    (void)state;
    struct rig r;
    struct buf calm = {0}, error = {0};
    uint32_t records;
    rig_open(&r);
    rig_reopen_with_context(&r, 0);
    const struct ledger_row *total = ledger_total(pipeline_ledger(r.pipeline));
    add(&calm, "cart", 5, 9, "step");
    add(&error, "cart", 1, 17, "failed");
    assert_int_equal(pipeline_set_observe(r.pipeline, true), 0);
    assert_int_equal(push(&r, &calm, &records), 0);
    assert_int_equal(push(&r, &error, &records), 0);
    struct shadow_counts would = *shadow_total(r.pipeline->shadow, SHADOW_ENFORCED);
    assert_int_equal(would.released, 3);
    assert_int_equal(would.sampled_out, 5);
    assert_int_equal(total->released, 0);
    assert_int_equal(total->queued, 6);
    assert_int_equal(push(&r, &calm, &records), 0);
    assert_int_equal(pipeline_set_observe(r.pipeline, false), 0);
    assert_int_equal(push(&r, &error, &records), 0);
    assert_int_equal(total->released, 0); /* these five went out as they came */
    assert_int_equal(push(&r, &calm, &records), 0);
    assert_int_equal(push(&r, &error, &records), 0);
    assert_int_equal(total->released, 3);
    buf_done(&calm);
    buf_done(&error);
    rig_close(&r);
}

static void a_storm_of_errors_may_be_limited(void **state)
{
    (void)state;
    struct rig r;
    struct buf storm = {0};
    uint32_t records;
    rig_open(&r);
    add(&storm, "cart", 100, 17, "failed");
    const struct ledger_row *total = ledger_total(pipeline_ledger(r.pipeline));
    assert_int_equal(push(&r, &storm, &records), 0);
    assert_int_equal(total->verdict[VERDICT_KEPT], 100); /* the promise, unless it is set */
    rig_reopen_with_context(&r, 30);
    total = ledger_total(pipeline_ledger(r.pipeline));
    assert_int_equal(push(&r, &storm, &records), 0);
    assert_int_equal(total->verdict[VERDICT_KEPT], 30);
    assert_int_equal(total->verdict[VERDICT_DROPPED_BY_RULE], 70);
    assert_int_equal(pipeline_reasons(r.pipeline)->dropped[REASON_FLOOR_LIMIT], 70);
    clock_fake_advance(&r.clock, 500);
    assert_int_equal(push(&r, &storm, &records), 0);
    assert_int_equal(total->verdict[VERDICT_KEPT], 45);
    buf_done(&storm);
    rig_close(&r);
}

struct told {
    unsigned begun, steps, ended;
    char template_text[64];
    struct decision last;
    const struct rules *rules;
    bool knows_pattern;
    uint64_t received;
};

static void on_begin(void *ctx, const struct subject *s, struct span template_text,
                     const struct rules *rules, const struct redact_set *kinds)
{
    struct told *t = ctx;
    assert_int_equal(kinds->bits, 0); /* nothing is looked for */
    t->rules = rules;
    assert_true((s->pattern != NULL) == t->knows_pattern);
    t->received = s->pattern == NULL ? 0 : s->pattern->counts.received;
    t->begun++;
    snprintf(t->template_text, sizeof t->template_text, "%.*s", (int)template_text.len,
             (const char *)template_text.base);
}

static void on_step(void *ctx, const struct sampler_step *step)
{
    (void)step;
    ((struct told *)ctx)->steps++;
}

static void on_end(void *ctx, const struct subject *s, const struct decision *d)
{
    struct told *t = ctx;
    (void)s;
    t->ended++;
    t->last = *d;
}

static void explaining_counts_nothing(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    struct told told = {0};
    const struct pipeline_explainer to = {on_begin, on_end, {&told, on_step}};
    rig_open(&r);
    assert_int_equal(rules_set_global(r.rules, 0, NULL), 0);
    assert_int_equal(rules_set_first(r.rules, 5, 1000, NULL), 0);
    add(&request, "cart", 2, 17, "payment 12 failed");
    add(&request, "cart", 1, 9, "added 12 to cart");
    assert_int_equal(pipeline_explain(r.pipeline, buf_span(&request), &r.arena, &to), 0);
    assert_int_equal(told.begun, 3);
    assert_int_equal(told.ended, 3);
    assert_int_equal(told.steps,
                     1 + 1 + 5); /* floor twice; floor, priority, context, first, rate */
    assert_string_equal(told.template_text, "added <*> to cart");
    assert_int_equal(told.last.reason, REASON_GLOBAL_RATE);
    assert_int_equal(told.last.verdict, VERDICT_SAMPLED_OUT);
    assert_int_equal(ledger_total(pipeline_ledger(r.pipeline))->received, 0);
    assert_int_equal(ledger_services(pipeline_ledger(r.pipeline)), 1); /* "other" */
    assert_int_equal(patterns_count(pipeline_patterns(r.pipeline)), 0);
    request.len--;
    assert_true(pipeline_explain(r.pipeline, buf_span(&request), &r.arena, &to) < 0);
    assert_int_equal(told.begun, 3);
    rig_close(&r);
    buf_done(&request);
}

static void explaining_uses_what_is_in_force(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    struct told told = {0};
    struct rules *none;
    uint32_t records;
    const struct pipeline_explainer to = {on_begin, on_end, {&told, on_step}};
    rig_open(&r);
    assert_int_equal(rules_new(&none), 0);
    assert_int_equal(rules_set_global(none, 0, NULL), 0);
    add(&request, "own", 2, 9, "added 12 to cart");
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(pipeline_set_rules(r.pipeline, 1, none), 0);
    told.knows_pattern = true; /* it has been counted */
    assert_int_equal(pipeline_explain(r.pipeline, buf_span(&request), &r.arena, &to), 0);
    assert_ptr_equal(told.rules, none);
    assert_int_equal(told.received, 2);
    assert_int_equal(told.last.verdict, VERDICT_SAMPLED_OUT);
    buf_clear(&request);
    add(&request, "nobody yet", 1, 9, "added 12 to cart");
    told.knows_pattern = false;
    assert_int_equal(pipeline_explain(r.pipeline, buf_span(&request), &r.arena, &to), 0);
    assert_ptr_equal(told.rules, r.rules);
    assert_int_equal(told.last.verdict, VERDICT_KEPT);
    assert_int_equal(ledger_services(pipeline_ledger(r.pipeline)), 2);
    assert_int_equal(ledger_total(pipeline_ledger(r.pipeline))->received, 2);
    rules_unref(none);
    rig_close(&r);
    buf_done(&request);
}

struct watched {
    unsigned kept, dropped;
    uint64_t received;
};

static void on_decided(void *ctx, const struct subject *s, const struct decision *d)
{
    struct watched *w = ctx;
    w->kept += d->verdict == VERDICT_KEPT;
    w->dropped += d->verdict != VERDICT_KEPT;
    w->received = s->pattern->counts.received;
}

static void a_watcher_hears_of_each_decision(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    struct watched w = {0};
    uint32_t records;
    rig_open(&r);
    assert_int_equal(rules_set_global(r.rules, 0, NULL), 0);
    add(&request, "cart", 2, 17, "payment 12 failed");
    add(&request, "cart", 3, 9, "added 12 to cart");
    assert_int_equal(push(&r, &request, &records), 0);
    pipeline_watch(r.pipeline, &(struct pipeline_watcher){&w, on_decided});
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(w.kept, 2);
    assert_int_equal(w.dropped, 3);
    assert_int_equal(w.received, 6); /* counted before */
    r.admit_rc = ERR_FULL;           /* nothing is decided */
    assert_int_equal(push(&r, &request, &records), ERR_FULL);
    r.admit_rc = 0;
    pipeline_watch(r.pipeline, &(struct pipeline_watcher){0});
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(w.kept + w.dropped, 5);
    rig_close(&r);
    buf_done(&request);
}

static void common_rules_are_of_services_without_their_own(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    struct rules *none, *all;
    uint32_t records;
    rig_open(&r);
    assert_int_equal(rules_new(&none) | rules_new(&all), 0);
    assert_int_equal(rules_set_global(none, 0, NULL), 0);
    add(&request, "own", 1, 9, "x");
    add(&request, "common", 1, 9, "x");
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(r.emitted[1] + r.emitted[2], 2);
    assert_int_equal(pipeline_set_rules(r.pipeline, 1, all), 0);
    pipeline_set_common_rules(r.pipeline, none);
    pipeline_set_common_rules(r.pipeline, none); /* the same again */
    rules_unref(none);
    rules_unref(all);
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(r.emitted[1], 2);
    assert_int_equal(r.emitted[2], 1);
    assert_int_equal(pipeline_set_rules(r.pipeline, 1, NULL),
                     0); /* the common ones, as they are now */
    assert_int_equal(push(&r, &request, &records), 0);
    assert_int_equal(r.emitted[1], 2);
    rig_close(&r);
    buf_done(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_services_in_one_request),
        cmocka_unit_test(explaining_counts_nothing),
        cmocka_unit_test(explaining_uses_what_is_in_force),
        cmocka_unit_test(a_watcher_hears_of_each_decision),
        cmocka_unit_test(common_rules_are_of_services_without_their_own),
        cmocka_unit_test(nothing_of_damage_enters),
        cmocka_unit_test(no_room_is_counted_per_service),
        cmocka_unit_test(without_room_to_gather_nothing_enters),
        cmocka_unit_test(a_failed_emit_refuses_the_request),
        cmocka_unit_test(a_refused_first_is_first_again),
        cmocka_unit_test(each_service_has_its_rules),
        cmocka_unit_test(counts_and_weights),
        cmocka_unit_test(stamps_of_a_survivor),
        cmocka_unit_test(status_classes_are_patterns_of_their_own),
        cmocka_unit_test(survivors_carry_their_family),
        cmocka_unit_test(policies_bind_families),
        cmocka_unit_test(merging_can_be_off),
        cmocka_unit_test(errors_bring_what_led_to_them),
        cmocka_unit_test(what_was_observed_is_no_context),
        cmocka_unit_test(a_storm_of_errors_may_be_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
