/* Allocations fail, one by one and in bursts, from pipeline to sink: of what was acknowledged
 * nothing is lost. Linked with --wrap, so that the program's own calls come here. */
#include "unit/test.h"

#include <stdlib.h>

#include "export/exporter.h"
#include "pipeline/stamp.h"
#include "unit/otlp/pb.h"
#include "unit/pipeline/inside.h"

#define REQUESTS 40
#define RECORDS 24 /* of a request */
#define SERVICES 4
#define CALLS 64

/* ---- an allocator that says no ----------------------------------------- */

static struct {
    bool is_counting;
    unsigned seen, from, until; /* those from `from` on and before `until` fail */
    unsigned failed;
} heap;

static bool fails(void)
{
    if (!heap.is_counting)
        return false;
    unsigned n = heap.seen++;
    bool fail = n >= heap.from && n < heap.until;
    heap.failed += fail;
    return fail;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *base, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *base, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    return fails() ? NULL : __real_calloc(n, bytes);
}

void *__wrap_realloc(void *base, size_t bytes)
{
    return fails() ? NULL : __real_realloc(base, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
    return fails() ? NULL : __real_aligned_alloc(align, bytes);
}

/* ---- the program between them ------------------------------------------ */

struct rig {
    uv_loop_t loop;
    struct clock_fake clock;
    struct budget budget;
    struct exporter *exporter;
    struct pipeline *pipeline;
    struct rules *rules;
    struct arena arena;
    struct call {
        const struct parcel *parcel;
        sink_done_fn *done;
        void *ctx;
    } calls[CALLS];
    bool acknowledged[REQUESTS], arrived[REQUESTS][RECORDS];
    unsigned refused;
};

static int fake_send(void *self, const struct parcel *p, sink_done_fn *done, void *ctx, void **call)
{
    struct rig *r = self;
    for (int i = 0; i < CALLS; i++) {
        if (r->calls[i].done != NULL)
            continue;
        r->calls[i] = (struct call){p, done, ctx};
        *call = &r->calls[i];
        return 0;
    }
    fail_msg("too many calls");
    return ERR_FULL;
}

static void fake_cancel(void *self, void *call)
{
    (void)self, (void)call;
    fail_msg("everything was answered");
}

static void fake_close(void *self)
{
    (void)self;
}

static int admit(void *ctx, size_t bytes, size_t largest)
{
    return exporter_admit(((struct rig *)ctx)->exporter, bytes, largest);
}

static int emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                uint32_t service)
{
    return exporter_add(((struct rig *)ctx)->exporter, LANE_PLAIN, g, record, stamp, service);
}

static void on_settled(void *ctx, uint32_t service, enum fate fate, uint64_t records)
{
    struct rig *r = ctx;
    ledger_settle(pipeline_ledger(r->pipeline), service, fate, records);
}

static void rig_open(struct rig *r, double rate)
{
    static const struct sink_ops ops = {fake_send, fake_cancel, fake_close};
    *r = (struct rig){0};
    uv_loop_init(&r->loop);
    clock_fake_init(&r->clock, 1000000, 1700000000000000000u);
    budget_init(&r->budget, 32 << 20);
    arena_init(&r->arena, 1 << 20, &r->budget);
    assert_int_equal(rules_new(&r->rules), 0);
    assert_int_equal(rules_set_global(r->rules, rate, NULL), 0);
    struct sink sink = {
        .ops = &ops, .self = r, .takes = {[SIGNAL_LOGS] = true}, .concurrency = 2, .name = "fake"};
    const struct exporter_opts opts = {
        .budget = &r->budget,
        .clock = &r->clock.clock,
        .fates = {r, on_settled},
        .batch_bytes = 16 << 10,
        .batch_records = 1000,
        .batch_age_ms = 1000,
        .queue_bytes = 1 << 20,
    };
    const struct pipeline_opts pipeline = {
        .max_patterns = 256,
        .max_services = SERVICES,
        .family_weight = 4,
        .stamps = STAMPS_DEFAULT,
        .context = {.bytes = 1 << 16,
                    .trigger = LEVEL_ERROR,
                    .window_ms = 60000,
                    .max_records = 8,
                    .max_per_second = 1000},
        .budget = &r->budget,
        .clock = &r->clock.clock,
        .sink = {r, admit, emit},
    };
    assert_int_equal(exporter_open(&r->exporter, &r->loop, &sink, &opts), 0);
    assert_int_equal(pipeline_new(&r->pipeline, &pipeline, r->rules), 0);
}

static int on_arrived(void *ctx, const struct logs_group *g, struct span bytes)
{
    struct rig *r = ctx;
    struct log_record record;
    unsigned request, number;
    (void)g;
    assert_int_equal(log_record_read(&record, bytes), 0);
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)record.body.text.len,
             (const char *)record.body.text.base);
    assert_int_equal(sscanf(text, "%*s %u of %u", &number, &request), 2);
    r->arrived[request][number] = true;
    return 0;
}

/* The upstream takes all that is on its way. */
static void answer_all(struct rig *r)
{
    bool counting = heap.is_counting;
    for (int i = 0; i < CALLS; i++) {
        struct call c = r->calls[i];
        if (c.done == NULL)
            continue;
        struct arena arena;
        heap.is_counting = false;
        arena_init(&arena, 1 << 20, NULL);
        assert_int_equal(c.parcel->coding, CODING_IDENTITY);
        assert_int_equal(logs_each(buf_span(&c.parcel->body), 0, &arena, on_arrived, r), 0);
        arena_done(&arena);
        heap.is_counting = counting;
        r->calls[i] = (struct call){0};
        c.done(c.ctx, &(struct sink_answer){.status = 200});
        i = -1; /* it may have sent the next one */
    }
}

static void put_record(struct buf *scope, unsigned number, unsigned request)
{
    char text[512];
    struct buf value = {0}, record = {0};
    uint8_t head[11] = {1 << 3 | WIRE_I64, 1, [9] = 0x10, number % 8 == 7 ? 17 : 9};
    snprintf(text, sizeof text, "%s %u of %u: %0*u", number % 3 == 0 ? "line" : "row", number,
             request, 200, 7);
    wire_append_len(&value, 1, span_str(text));
    buf_append(&record, span_of(head, sizeof head));
    wire_append_len(&record, 5, buf_span(&value));
    wire_append_len(scope, 2, buf_span(&record));
    buf_done(&value);
    buf_done(&record);
}

/* Two services in each. */
static void make_request(struct buf *out, unsigned request)
{
    for (unsigned s = 0; s < 2; s++) {
        char name[16];
        struct buf value = {0}, pair = {0}, attr = {0}, scope = {0}, resource = {0};
        snprintf(name, sizeof name, "service-%u", s);
        wire_append_len(&value, 1, span_str(name));
        wire_append_len(&pair, 1, SPAN("service.name"));
        wire_append_len(&pair, 2, buf_span(&value));
        wire_append_len(&attr, 1, buf_span(&pair));
        wire_append_len(&resource, 1, buf_span(&attr));
        for (unsigned i = 0; i < RECORDS / 2; i++)
            put_record(&scope, s * (RECORDS / 2) + i, request);
        wire_append_len(&resource, 2, buf_span(&scope));
        wire_append_len(out, 1, buf_span(&resource));
        struct buf *bufs[] = {&value, &pair, &attr, &scope, &resource};
        for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
            buf_done(bufs[i]);
    }
}

/* The loop's timers have half a second. */
static void elapse(struct rig *r)
{
    clock_fake_advance(&r->clock, 500);
    exporter_flush(r->exporter);
}

static void push_all(struct rig *r, const struct buf requests[REQUESTS])
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        uint32_t records;
        int rc = pipeline_push(r->pipeline, buf_span(&requests[i]), &r->arena, &records);
        arena_reset(&r->arena);
        assert_row(rc == 0 || rc == ERR_NOMEM || rc == ERR_FULL, "%u: %d", i,
                   rc); /* 503, and UNAVAILABLE */
        r->acknowledged[i] = rc == 0;
        r->refused += rc < 0;
        if (rc < 0)
            elapse(r);
        answer_all(r);
    }
}

static void check(struct rig *r, double rate)
{
    const struct ledger_row *total = ledger_total(pipeline_ledger(r->pipeline));
    heap.is_counting = false;
    elapse(r);
    answer_all(r);
    assert_true(exporter_is_idle(r->exporter));
    assert_int_equal(total->queued, 0);
    assert_int_equal(ledger_imbalance(pipeline_ledger(r->pipeline)), 0);
    for (int fate = 0; fate < FATE_COUNT; fate++)
        if (fate != FATE_DELIVERED)
            assert_int_equal(total->fate[fate], 0);
    for (unsigned i = 0; i < REQUESTS; i++)
        for (unsigned k = 0; k < RECORDS && r->acknowledged[i]; k++)
            assert_row(r->arrived[i][k] || (rate < 1 && k % 8 != 7),
                       "request %u, record %u, allocations %u to %u", i, k, heap.from, heap.until);
    exporter_close(r->exporter);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    pipeline_free(r->pipeline);
    rules_unref(r->rules);
    arena_done(&r->arena);
    assert_int_equal(r->budget.used, 0);
}

static void what_was_acknowledged_arrives(void **state)
{
    (void)state;
    static const unsigned bursts[] = {1, 3, 20};
    static const double rates[] = {1, 0.5};
    struct buf requests[REQUESTS] = {0};
    unsigned refused = 0, failed = 0;
    for (unsigned i = 0; i < REQUESTS; i++)
        make_request(&requests[i], i);
    for (size_t b = 0; b < ARRAY_LEN(bursts) * ARRAY_LEN(rates); b++) {
        double rate = rates[b % ARRAY_LEN(rates)];
        unsigned burst = bursts[b / ARRAY_LEN(rates)];
        bool is_past = false;
        for (unsigned from = 0; !is_past; from++) {
            static struct rig r;
            rig_open(&r, rate);
            heap.from = from;
            heap.until = from + burst;
            heap.seen = heap.failed = 0;
            heap.is_counting = true;
            push_all(&r, requests);
            is_past = heap.failed == 0; /* all of them have had their turn */
            check(&r, rate);
            refused += r.refused;
            failed += heap.failed;
            assert_true(r.refused < REQUESTS); /* it came back */
        }
    }
    assert_true(failed > 500 && refused > 100);
    for (unsigned i = 0; i < REQUESTS; i++)
        buf_done(&requests[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_arrives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
