/* The exporter against a sink of the test's own. Time is the test's too: elapse()
 * moves the clock and fires the loop's timers in their order. */
#include "unit/test.h"

#include "export/exporter.h"
#include "util/diag.h"

#define CALLS 64
#define SERVICES 4

struct call {
    bool is_open;
    const struct parcel *parcel;
    sink_done_fn *done;
    void *ctx;
};

struct rig {
    uv_loop_t loop;
    struct clock_fake clock;
    struct budget budget;
    struct coder *coder;
    struct exporter *exporter;
    struct call calls[CALLS];
    unsigned sent, cancelled, closed;
    int send_rc;
    uint64_t added[SERVICES], fates[FATE_COUNT], settled[SERVICES];
};

static int fake_send(void *self, const struct parcel *p, sink_done_fn *done, void *ctx, void **call)
{
    struct rig *r = self;
    if (r->send_rc < 0)
        return r->send_rc;
    for (int i = 0; i < CALLS; i++) {
        if (r->calls[i].is_open)
            continue;
        r->calls[i] = (struct call){true, p, done, ctx};
        r->sent++;
        *call = &r->calls[i];
        return 0;
    }
    fail_msg("too many calls");
    return ERR_FULL;
}

static void fake_cancel(void *self, void *call)
{
    struct rig *r = self;
    struct call *c = call;
    assert_true(c->is_open);
    c->is_open = false;
    r->cancelled++;
}

static void fake_close(void *self)
{
    ((struct rig *)self)->closed++;
}

static void on_settled(void *ctx, uint32_t service, enum fate fate, uint64_t records)
{
    struct rig *r = ctx;
    r->fates[fate] += records;
    r->settled[service] += records;
    assert_true(r->settled[service] <= r->added[service]); /* nothing twice */
}

static void rig_open_aged(struct rig *r, uint32_t concurrency, enum coding compression,
                          uint64_t max_age_ms)
{
    static const struct sink_ops ops = {fake_send, fake_cancel, fake_close};
    *r = (struct rig){.coder = coder_new()};
    uv_loop_init(&r->loop);
    clock_fake_init(&r->clock, 1000000, 1700000000000000000u);
    budget_init(&r->budget, 8 << 20);
    struct sink sink = {
        .ops = &ops,
        .self = r,
        .takes = {[SIGNAL_LOGS] = true, [SIGNAL_TRACES] = true},
        .compresses = true,
        .concurrency = concurrency,
        .address = "https://us.posthog.com/i/v1/logs",
        .name = "fake",
    };
    const struct exporter_opts opts = {
        .budget = &r->budget,
        .clock = &r->clock.clock,
        .fates = {r, on_settled},
        .compression = compression,
        .batch_bytes = 64 << 10,
        .batch_records = 1000,
        .batch_age_ms = 1000,
        .queue_bytes = 1 << 20,
        .max_age_ms = max_age_ms,
    };
    assert_int_equal(exporter_open(&r->exporter, &r->loop, &sink, &opts), 0);
    assert_null(sink.ops); /* taken over */
}

static void rig_open(struct rig *r, uint32_t concurrency, enum coding compression)
{
    rig_open_aged(r, concurrency, compression, 600000);
}

static void rig_close(struct rig *r)
{
    exporter_close(r->exporter);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    for (int i = 0; i < CALLS; i++)
        assert_false(r->calls[i].is_open);
    assert_int_equal(r->closed, 1);
    for (int s = 0; s < SERVICES; s++)
        assert_int_equal(r->settled[s], r->added[s]);
    coder_free(r->coder);
    assert_int_equal(r->budget.used, 0);
}

/* ---- time -------------------------------------------------------------- */

struct step {
    uint64_t ms;
    bool move; /* else: only find the nearest */
};

static void on_walk(uv_handle_t *handle, void *arg)
{
    struct step *s = arg;
    uv_timer_t *t = (uv_timer_t *)handle;
    if (handle->type != UV_TIMER || !uv_is_active(handle))
        return;
    uint64_t due = uv_timer_get_due_in(t);
    if (!s->move)
        s->ms = due < s->ms ? due : s->ms;
    else
        uv_timer_start(t, t->timer_cb, due > s->ms ? due - s->ms : 0, 0);
}

static void elapse(struct rig *r, uint64_t ms)
{
    for (;;) {
        struct step s = {.ms = ms};
        uv_walk(&r->loop, on_walk, &s);
        s.move = true;
        uv_walk(&r->loop, on_walk, &s);
        clock_fake_advance(&r->clock, s.ms);
        ms -= s.ms;
        uv_run(&r->loop, UV_RUN_NOWAIT);
        if (ms == 0)
            return;
    }
}

/* ---- records and answers ----------------------------------------------- */

static int add(struct rig *r, uint8_t number, uint32_t service)
{
    struct logs_group g = {0};
    uint8_t bytes[] = {0x10, number, 0x1a, 4, 't', 'e', 'x', 't'};
    int rc = exporter_add(r->exporter, LANE_PLAIN, &g, span_of(bytes, sizeof bytes),
                          (struct span){0}, service);
    r->added[service] += rc > 0; /* what it makes longer is checked in the batch's own test */
    return rc < 0 ? rc : 0;
}

static void add_batch(struct rig *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(add(r, (uint8_t)(i % 100), i % 2), 0);
    exporter_flush(r->exporter);
}

static unsigned open_calls(const struct rig *r)
{
    unsigned n = 0;
    for (int i = 0; i < CALLS; i++)
        n += r->calls[i].is_open;
    return n;
}

static struct call *any_call(struct rig *r)
{
    for (int i = 0; i < CALLS; i++)
        if (r->calls[i].is_open)
            return &r->calls[i];
    fail_msg("nothing was sent");
    return NULL;
}

static void answer_call(struct call *c, const struct sink_answer *a)
{
    struct call was = *c;
    c->is_open = false;
    was.done(was.ctx, a);
}

static void answer(struct rig *r, int status)
{
    answer_call(any_call(r), &(struct sink_answer){.status = status});
}

/* Is there a record of this number in what was sent? */
static int is_number(void *ctx, const struct logs_group *g, struct span record)
{
    (void)g;
    return record.base[1] == *(uint8_t *)ctx;
}

static bool holds(struct rig *r, const struct parcel *p, uint8_t number)
{
    struct buf plain = {0};
    struct arena arena;
    arena_init(&arena, 4096, NULL);
    assert_int_equal(coding_decode(r->coder, p->coding, buf_span(&p->body), &plain, 1 << 20), 0);
    bool yes = logs_each(buf_span(&plain), 0, &arena, is_number, &number) != 0;
    arena_done(&arena);
    buf_done(&plain);
    return yes;
}

/* ---- the good day ------------------------------------------------------ */

static void age_size_and_count_seal_a_batch(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, CODING_ZSTD);
    assert_true(exporter_is_idle(r.exporter));
    assert_int_equal(add(&r, 1, 0), 0);
    assert_false(exporter_is_idle(r.exporter));
    elapse(&r, 900);
    assert_int_equal(r.sent, 0);
    elapse(&r, 100);
    assert_int_equal(r.sent, 1);
    assert_int_equal(any_call(&r)->parcel->coding, CODING_ZSTD);
    assert_int_equal(any_call(&r)->parcel->records, 1);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 1);
    assert_true(exporter_is_idle(r.exporter));

    for (int i = 0; i < 1001; i++)
        assert_int_equal(add(&r, 1, 0), 0);
    assert_int_equal(r.sent, 2);
    assert_int_equal(any_call(&r)->parcel->records, 1000);
    answer(&r, 204);
    elapse(&r, 1000); /* the one that began the next batch */
    assert_int_equal(r.sent, 3);
    answer(&r, 200);
    struct exporter_stats stats;
    exporter_stats(r.exporter, &stats);
    assert_int_equal(stats.answers[ANSWER_ACCEPT].value, 3);
    assert_true(stats.sent_wire_bytes.value > 0);
    assert_true(stats.sent_decoded_bytes.value > stats.sent_wire_bytes.value);
    assert_int_equal(stats.last_status, 200);
    assert_int_equal(stats.oldest_ms, 0);
    rig_close(&r);
}

static void as_many_at_once_as_there_are_senders(void **state)
{
    (void)state;
    struct rig r;
    struct exporter_stats stats;
    rig_open(&r, 3, CODING_GZIP);
    for (int i = 0; i < 5; i++)
        add_batch(&r, 10);
    assert_int_equal(open_calls(&r), 3);
    exporter_stats(r.exporter, &stats);
    assert_int_equal(stats.in_flight, 3);
    assert_int_equal(stats.queued_parcels, 2);
    assert_true(stats.queue_bytes > 0);
    answer(&r, 200);
    assert_int_equal(open_calls(&r), 3);
    while (open_calls(&r) > 0)
        answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 50);
    rig_close(&r);
}

/* ---- what an answer does ----------------------------------------------- */

static void too_large_is_halved_down_to_one(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, CODING_ZSTD);
    add_batch(&r, 64);
    while (open_calls(&r) > 0) { /* record 42 alone is over the upstream's limit */
        struct call *c = any_call(&r);
        int status = c->parcel->records > 8 || holds(&r, c->parcel, 42) ? 413 : 200;
        answer_call(c, &(struct sink_answer){.status = status});
    }
    assert_int_equal(r.fates[FATE_DELIVERED], 63);
    assert_int_equal(r.fates[FATE_LOST_TOO_BIG], 1);
    assert_true(exporter_is_idle(r.exporter));
    rig_close(&r);
}

static void too_large_without_memory_to_halve_is_kept(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_ZSTD);
    add_batch(&r, 64);
    uint64_t room = r.budget.limit - r.budget.used;
    assert_int_equal(budget_take(&r.budget, room), 0);
    answer(&r, 413);
    assert_int_equal(r.fates[FATE_LOST_TOO_BIG], 0);
    budget_give(&r.budget, room);
    elapse(&r, BACKOFF_BASE_MS);
    answer(&r, 413);
    answer(&r, 200);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 64);
    rig_close(&r);
}

static void ill_upstream_retried_then_halved(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_ZSTD);
    add_batch(&r, 10);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(any_call(&r)->parcel->records, 10);
        answer(&r, 500);
        assert_int_equal(open_calls(&r), 0);
        elapse(&r, BACKOFF_CAP_MS);
    }
    answer(&r, 500);
    assert_int_equal(any_call(&r)->parcel->records, 5);
    answer(&r, 200);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 10);
    rig_close(&r);
}

static void poison_is_given_up_only_when_others_passed(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_ZSTD);
    add_batch(&r, 1);
    for (int i = 0; i < 12; i++) { /* an outage: nothing passes, so nothing is given up */
        answer(&r, 500);
        elapse(&r, BACKOFF_CAP_MS);
    }
    assert_int_equal(r.fates[FATE_LOST_POISON], 0);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 1);

    add_batch(&r, 8);
    for (int i = 0; i < 200 && !exporter_is_idle(r.exporter); i++) {
        if (open_calls(&r) == 0) {
            elapse(&r, BACKOFF_CAP_MS);
            continue;
        }
        struct call *c = any_call(&r);
        bool bad = holds(&r, c->parcel, 5);
        elapse(&r, 1);
        answer_call(c, &(struct sink_answer){.status = bad ? 500 : 200});
    }
    assert_int_equal(r.fates[FATE_DELIVERED], 8);
    assert_int_equal(r.fates[FATE_LOST_POISON], 1);
    rig_close(&r);
}

static void refused_compression_falls_back_for_good(void **state)
{
    (void)state;
    struct rig r;
    struct exporter_stats stats;
    rig_open(&r, 2, CODING_ZSTD);
    add_batch(&r, 10);
    add_batch(&r, 10);
    add_batch(&r, 10); /* packed and waiting while the answer comes */
    answer(&r, 415);
    unsigned gzip = 0;
    for (int i = 0; i < CALLS; i++)
        gzip += r.calls[i].is_open && r.calls[i].parcel->coding == CODING_GZIP;
    assert_int_equal(gzip, 1);
    while (open_calls(&r) > 0) {
        struct call *c = any_call(&r);
        answer_call(c,
                    &(struct sink_answer){.status = c->parcel->coding == CODING_ZSTD ? 415 : 200});
    }
    assert_int_equal(r.fates[FATE_DELIVERED], 30);
    exporter_stats(r.exporter, &stats);
    assert_int_equal(stats.answers[ANSWER_RECODE].value, 2); /* the third went as gzip at once */
    assert_int_equal(stats.coding, CODING_GZIP);
    add_batch(&r, 10);
    assert_int_equal(any_call(&r)->parcel->coding, CODING_GZIP);
    answer(&r, 415); /* not that either: there is nothing left to try */
    assert_int_equal(r.fates[FATE_LOST_REFUSED], 10);
    rig_close(&r);
}

static void no_memory_to_recode_is_no_loss(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_ZSTD);
    add_batch(&r, 64);
    uint64_t room = r.budget.limit - r.budget.used;
    assert_int_equal(budget_take(&r.budget, room), 0);
    answer(&r, 415);
    assert_int_equal(r.fates[FATE_LOST_REFUSED], 0);
    budget_give(&r.budget, room);
    elapse(&r, BACKOFF_BASE_MS);
    assert_int_equal(any_call(&r)->parcel->coding, CODING_GZIP);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 64);
    rig_close(&r);
}

static void a_refused_key_is_waited_for(void **state)
{
    (void)state;
    struct rig r;
    struct exporter_stats stats;
    rig_open(&r, 1, CODING_GZIP);
    add_batch(&r, 10);
    add_batch(&r, 5);
    answer(&r, 401);
    exporter_stats(r.exporter, &stats);
    assert_true(stats.holds_for_key);
    assert_int_equal(stats.last_status, 401);
    elapse(&r, 14000);
    assert_int_equal(open_calls(&r), 0);
    elapse(&r, 16000);
    answer(&r, 200); /* the key was mended */
    exporter_stats(r.exporter, &stats);
    assert_false(stats.holds_for_key);
    answer(&r, 403);
    rig_close(&r);
    assert_int_equal(r.fates[FATE_DELIVERED], 10);
    assert_int_equal(r.fates[FATE_LOST_AUTH], 5);
}

static void a_wrong_address_is_no_verdict(void **state)
{
    (void)state;
    static const int statuses[] = {301, 302, 308, 404, 405};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct rig r;
        struct exporter_stats stats;
        rig_open(&r, 2, CODING_GZIP);
        add_batch(&r, 10);
        answer(&r, statuses[i]);
        exporter_stats(r.exporter, &stats);
        assert_true(stats.holds_for_address);
        assert_false(stats.holds_for_key);
        assert_string_equal(stats.host, "us.posthog.com");
        assert_string_equal(stats.right_host, "us.i.posthog.com");
        add_batch(&r, 5);
        elapse(&r, 14000);
        assert_int_equal(open_calls(&r), 0);
        elapse(&r, 17000);
        assert_int_equal(open_calls(&r), 1); /* one asks for all */
        answer(&r, 200);
        exporter_stats(r.exporter, &stats);
        assert_false(stats.holds_for_address);
        answer(&r, 200);
        assert_int_equal(r.fates[FATE_DELIVERED], 15);
        add_batch(&r, 3);
        answer(&r, 404);
        rig_close(&r);
        assert_int_equal(r.fates[FATE_LOST_REFUSED], 0);
        assert_int_equal(r.fates[FATE_LOST_SHUTDOWN], 3);
    }
}

/* An upstream without a path for traces is one for logs nevertheless. */
static void a_missing_path_for_traces_holds_no_logs(void **state)
{
    (void)state;
    struct rig r;
    struct exporter_stats stats;
    rig_open(&r, 1, CODING_GZIP);
    for (int i = 0; i < 3; i++)
        assert_int_equal(exporter_relay(r.exporter, SIGNAL_TRACES, SPAN("x"), CODING_IDENTITY,
                                        SPAN("application/x-protobuf"), (struct span){0}),
                         0);
    add_batch(&r, 10);
    answer(&r, 404);
    exporter_stats(r.exporter, &stats);
    assert_false(stats.holds_for_address);
    assert_int_equal(stats.relay[SIGNAL_TRACES].lost.value, 1);
    answer(&r, 200);
    answer(&r, 200);
    answer(&r, 404); /* the logs: the address is wrong */
    assert_int_equal(exporter_relay(r.exporter, SIGNAL_TRACES, SPAN("x"), CODING_IDENTITY,
                                    SPAN("application/x-protobuf"), (struct span){0}),
                     0);
    elapse(&r, 31000);
    answer(&r, 200);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 10);
    rig_close(&r);
}

static void late(struct rig *r, unsigned records)
{
    for (int i = 0; i < CALLS; i++) {
        if (r->calls[i].is_open && r->calls[i].parcel->records == records) {
            answer_call(&r->calls[i], &(struct sink_answer){.err = UV_ETIMEDOUT, .text = "late"});
            return;
        }
    }
    fail_msg("no request of %u records is under way", records);
}

static void what_is_late_is_halved_and_holds_nobody_up(void **state)
{
    (void)state;
    for (uint32_t senders = 1; senders <= 4; senders += 3) {
        struct rig r;
        struct exporter_stats stats;
        rig_open(&r, senders, CODING_GZIP);
        add_batch(&r, 64);
        late(&r, 64); /* once more, whole */
        late(&r, 64);
        late(&r, 32);
        exporter_stats(r.exporter, &stats);
        assert_int_equal(stats.circuit, CIRCUIT_CLOSED);
        assert_int_equal(open_calls(&r), 1); /* one half at a time */
        assert_int_equal(stats.slow_parcels, 2);
        assert_true(exporter_is_hungry(r.exporter, LANE_PLAIN)); /* nor behind them on disk */
        for (int i = 0; i < 3; i++)
            add_batch(&r, 1);
        assert_int_equal(open_calls(&r), senders); /* the others are not behind them */
        late(&r, 16);
        while (r.fates[FATE_DELIVERED] < 3 + 16 + 32) {
            struct call *c = any_call(&r);
            if (c->parcel->records > 8)
                answer_call(c, &(struct sink_answer){.err = UV_ETIMEDOUT, .text = "late"});
            else
                answer_call(c, &(struct sink_answer){.status = 200});
            elapse(&r, 1);
        }
        while (open_calls(&r) > 0)
            answer(&r, 200);
        assert_int_equal(r.fates[FATE_DELIVERED], 67);
        rig_close(&r);
    }
}

/* While the upstream is away for all, what is new is tried before what was late. */
static void what_was_late_is_behind_the_new(void **state)
{
    (void)state;
    struct rig r;
    struct exporter_stats stats;
    rig_open(&r, 4, CODING_GZIP);
    for (unsigned i = 0; i < 4; i++)
        add_batch(&r, 10 + i);
    for (unsigned i = 0; i < 4; i++)
        late(&r, 10 + i);
    late(&r, 10); /* it was tried again before the circuit opened */
    exporter_stats(r.exporter, &stats);
    assert_int_not_equal(stats.circuit, CIRCUIT_CLOSED);
    add_batch(&r, 2);
    while (open_calls(&r) == 0)
        elapse(&r, 1000);
    assert_int_equal(any_call(&r)->parcel->records, 2);
    answer(&r, 200);
    while (open_calls(&r) > 0)
        answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 10 + 11 + 12 + 13 + 2);
    rig_close(&r);
}

/* One record that is always late, a relay: never halved, never lost, never alone. */
static void one_that_is_always_late_stays(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, CODING_GZIP);
    add_batch(&r, 1);
    for (int i = 0; i < 50; i++) {
        late(&r, 1);
        add_batch(&r, 2);
        while (open_calls(&r) > 1)
            for (int c = 0; c < CALLS; c++)
                if (r.calls[c].is_open && r.calls[c].parcel->records == 2)
                    answer_call(&r.calls[c], &(struct sink_answer){.status = 200});
    }
    assert_int_equal(r.fates[FATE_DELIVERED], 100);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 101);
    rig_close(&r);
}

static void all_that_waited_for_the_key_is_unauthorized(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_GZIP);
    add_batch(&r, 10);
    add_batch(&r, 5);
    answer(&r, 401);
    rig_close(&r);
    assert_int_equal(r.fates[FATE_LOST_AUTH], 15);
}

static void everybody_waits_when_asked_to(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, CODING_GZIP);
    add_batch(&r, 10);
    assert_int_equal(exporter_retry_after_s(r.exporter), 1);
    answer_call(any_call(&r), &(struct sink_answer){.status = 429, .retry_after = SPAN("60")});
    assert_int_equal(exporter_retry_after_s(r.exporter), 5);
    add_batch(&r, 10); /* for the other sender */
    elapse(&r, 59999);
    assert_int_equal(open_calls(&r), 0);
    elapse(&r, 1 + BACKOFF_BASE_MS);
    assert_int_equal(open_calls(&r), 1); /* one tries, and what comes of it decides for all */
    answer(&r, 200);
    answer(&r, 200);
    rig_close(&r);
    assert_int_equal(r.fates[FATE_DELIVERED], 20);
}

static void no_answer_is_retried_and_drop_is_not(void **state)
{
    (void)state;
    struct rig r;
    struct exporter_stats stats;
    rig_open(&r, 1, CODING_GZIP);
    add_batch(&r, 10);
    answer_call(any_call(&r), &(struct sink_answer){.err = ERR_UNAVAILABLE, .text = "refused"});
    exporter_stats(r.exporter, &stats);
    assert_int_equal(stats.failures.value, 1);
    assert_int_equal(stats.waiting_to_retry, 1);
    assert_int_equal(stats.last_status, 0);
    elapse(&r, BACKOFF_BASE_MS);
    answer(&r, 410);
    assert_int_equal(r.fates[FATE_LOST_REFUSED], 10);

    r.send_rc = ERR_NOMEM; /* not even started */
    add_batch(&r, 3);
    assert_int_equal(open_calls(&r), 0);
    r.send_rc = 0;
    elapse(&r, BACKOFF_BASE_MS);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 3);
    rig_close(&r);
}

static void the_old_is_given_up(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_GZIP);
    add_batch(&r, 10);
    add_batch(&r, 4);
    for (int i = 0; i < 60 && !exporter_is_idle(r.exporter); i++) {
        while (open_calls(&r) > 0)
            answer(&r, 503);
        elapse(&r, BACKOFF_CAP_MS);
    }
    assert_int_equal(r.fates[FATE_LOST_EXPIRED], 14);
    rig_close(&r);
}

/* ---- refused records --------------------------------------------------- */

static void one_refused_record_is_found(void **state)
{
    (void)state;
    for (uint8_t bad = 0; bad < 64; bad += 9) {
        struct rig r;
        rig_open(&r, 2, CODING_ZSTD);
        add_batch(&r, 64);
        while (open_calls(&r) > 0) {
            struct call *c = any_call(&r);
            answer_call(c, &(struct sink_answer){.status = holds(&r, c->parcel, bad) ? 400 : 200});
        }
        assert_int_equal(r.fates[FATE_DELIVERED], 63);
        assert_int_equal(r.fates[FATE_LOST_REFUSED], 1);
        assert_int_equal(r.sent, 13); /* 7 that hold it, 6 that do not */
        rig_close(&r);
    }
}

static void an_upstream_that_refuses_all_costs_little(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_ZSTD);
    add_batch(&r, 1000);
    while (open_calls(&r) > 0)
        answer(&r, 400);
    assert_int_equal(r.fates[FATE_LOST_REFUSED], 1000);
    assert_in_range(r.sent, 64, 64 + 16);
    unsigned before = r.sent;
    for (int i = 0; i < 10; i++) { /* and from then on, a request a batch */
        add_batch(&r, 100);
        answer(&r, 422);
        assert_int_equal(open_calls(&r), 0);
    }
    assert_int_equal(r.sent, before + 10);
    add_batch(&r, 1);
    for (int i = 0; i < 32; i++) {
        answer(&r, 200);
        add_batch(&r, 1);
    }
    answer(&r, 200);
    add_batch(&r, 64); /* when others have been accepted it is looked for again */
    while (open_calls(&r) > 0) {
        struct call *c = any_call(&r);
        answer_call(c, &(struct sink_answer){.status = holds(&r, c->parcel, 42) ? 422 : 200});
    }
    assert_int_equal(r.fates[FATE_DELIVERED], 33 + 63);
    assert_int_equal(r.fates[FATE_LOST_REFUSED], 2001);
    rig_close(&r);
}

static void refused_without_memory_to_halve_is_kept(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_ZSTD);
    add_batch(&r, 64);
    uint64_t room = r.budget.limit - r.budget.used;
    assert_int_equal(budget_take(&r.budget, room), 0);
    answer(&r, 400);
    assert_int_equal(r.fates[FATE_LOST_REFUSED], 0);
    budget_give(&r.budget, room);
    elapse(&r, BACKOFF_BASE_MS);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 64);
    rig_close(&r);
}

static void some_rejected_of_an_accepted_batch(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        unsigned rejected; /* of 10 */
    } rows[] = {
        {"{}", 0},
        {"{\"partialSuccess\":{\"rejectedLogRecords\":\"3\"}}", 3},
        {"{\"partialSuccess\":{\"rejectedLogRecords\":\"7\"}}", 7},
        {"{\"partialSuccess\":{\"rejectedLogRecords\":\"700\"}}", 10},
        {"{\"partialSuccess\":{\"rejectedLogRecords\":\"-1\"}}", 0},
        {"<html>", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        rig_open(&r, 1, CODING_GZIP);
        add_batch(&r, 10); /* five of each of two services */
        answer_call(any_call(&r), &(struct sink_answer){.status = 200,
                                                        .content_type = SPAN("application/json"),
                                                        .body = span_str(rows[i].body)});
        assert_int_equal(r.fates[FATE_LOST_PARTIAL], rows[i].rejected);
        assert_int_equal(r.fates[FATE_DELIVERED], 10 - rows[i].rejected);
        assert_true(exporter_is_idle(r.exporter));
        rig_close(&r);
    }
}

/* ---- the circuit ------------------------------------------------------- */

static void one_tries_for_all(void **state)
{
    (void)state;
    struct rig r;
    struct exporter_stats stats;
    rig_open(&r, 4, CODING_GZIP);
    for (int i = 0; i < 8; i++)
        add_batch(&r, 10);
    assert_int_equal(open_calls(&r), 4);
    for (int i = 0; i < 4; i++)
        answer(&r, 503);
    exporter_stats(r.exporter, &stats);
    assert_int_equal(stats.circuit, CIRCUIT_OPEN);
    assert_int_equal(stats.waiting_to_retry, 4);
    assert_int_equal(stats.queued_parcels, 4);
    const struct parcel *tried[4];
    for (int i = 0; i < 4; i++) {
        elapse(&r, BACKOFF_CAP_MS);
        exporter_stats(r.exporter, &stats);
        assert_int_equal(stats.circuit, CIRCUIT_HALF_OPEN);
        assert_int_equal(open_calls(&r), 1);
        tried[i] = any_call(&r)->parcel;
        for (int k = 0; k < i; k++)
            assert_ptr_not_equal(tried[k], tried[i]); /* each in its turn */
        answer(&r, 503);
        assert_int_equal(open_calls(&r), 0);
    }
    exporter_stats(r.exporter, &stats);
    assert_in_range(stats.outage_ms, 4 * BACKOFF_CAP_MS - 4000, 5 * BACKOFF_CAP_MS);
    assert_true(stats.retry_in_ms <= BACKOFF_CAP_MS);
    elapse(&r, BACKOFF_CAP_MS);
    answer(&r, 200);
    assert_int_equal(open_calls(&r), 4); /* everybody at once, when one has passed */
    exporter_stats(r.exporter, &stats);
    assert_int_equal(stats.circuit, CIRCUIT_CLOSED);
    assert_int_equal(stats.outage_ms, 0);
    while (open_calls(&r) > 0)
        answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 80);
    rig_close(&r);
}

/* For a hundred days: it is tried again, and kept. */
static void retries_never_end_by_time(void **state)
{
    (void)state;
    struct rig r;
    rig_open_aged(&r, 1, CODING_GZIP, 0);
    add_batch(&r, 10);
    unsigned tries = 0;
    for (int day = 0; day < 100; day++) {
        for (int i = 0; i < 10; i++) {
            while (open_calls(&r) > 0) {
                static const int ill[] = {503, 500, 429, 408, 502};
                answer(&r, ill[tries++ % ARRAY_LEN(ill)]);
            }
            elapse(&r, BACKOFF_CAP_MS);
        }
        clock_fake_advance(&r.clock, 86400000);
    }
    assert_true(tries >= 500);
    for (int i = 0; i < 20 && !exporter_is_idle(r.exporter); i++) {
        while (open_calls(&r) > 0)
            answer(&r, 200);
        elapse(&r, BACKOFF_CAP_MS);
    }
    assert_int_equal(r.fates[FATE_DELIVERED], 10);
    rig_close(&r);
}

/* ---- bounds ------------------------------------------------------------ */

static void the_queue_is_bounded(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_IDENTITY);
    /* Tables that take most of the account are no queue that fills. */
    uint64_t tables = r.budget.limit - r.budget.used - (1 << 20);
    assert_int_equal(budget_take(&r.budget, tables), 0);
    assert_true(exporter_fullness(r.exporter) == 0);
    budget_give(&r.budget, tables);
    assert_int_equal(exporter_admit(r.exporter, 1 << 20, 0), 0);
    assert_int_equal(exporter_admit(r.exporter, (1 << 20) + 1, 0), ERR_TOO_BIG); /* never */
    assert_int_equal(exporter_admit(r.exporter, 1000, r.budget.limit), ERR_TOO_BIG);
    unsigned batches = 0;
    while (exporter_admit(r.exporter, 10000, 0) == 0 && batches < 1000) {
        add_batch(&r, 1000);
        batches++;
    }
    struct exporter_stats stats;
    exporter_stats(r.exporter, &stats);
    assert_in_range(stats.queue_bytes, (1 << 20) - 20000, (1 << 20) + 20000);
    answer(&r, 200);
    assert_int_equal(exporter_admit(r.exporter, 10000, 0), 0);
    uint64_t room = r.budget.limit - r.budget.used - 4 * (64 << 10) - 1000;
    assert_int_equal(budget_take(&r.budget, room), 0);
    assert_int_equal(exporter_admit(r.exporter, 10000, 0), ERR_FULL); /* the common account */
    budget_give(&r.budget, room);
    rig_close(&r);
    assert_int_equal(r.fates[FATE_LOST_SHUTDOWN], (batches - 1) * 1000);
}

static void no_memory_to_seal_is_tried_again(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_GZIP);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(add(&r, 1, 0), 0);
    uint64_t room = r.budget.limit - r.budget.used;
    assert_int_equal(budget_take(&r.budget, room), 0);
    assert_int_equal(
        add(&r, 1, 0),
        ERR_NOMEM); /* full, and cannot be sealed: not ERR_TOO_BIG, which is for ever */
    assert_int_equal(open_calls(&r), 0);
    budget_give(&r.budget, room);
    assert_int_equal(exporter_admit(r.exporter, 100, 100), ERR_FULL); /* until it was tried again */
    struct exporter_stats stats;
    exporter_stats(r.exporter, &stats);
    assert_int_equal(stats.memory_failures.value, 1);
    elapse(&r, 100); /* nobody comes any more: time alone must do it */
    assert_int_equal(open_calls(&r), 1);
    assert_int_equal(exporter_admit(r.exporter, 100, 100), 0);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 1000);
    rig_close(&r);
}

/* Nothing is collected: the next try finds nothing to do, and requests enter again. */
static void no_memory_for_the_first_record(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_GZIP);
    uint64_t room = r.budget.limit - r.budget.used;
    assert_int_equal(budget_take(&r.budget, room), 0);
    assert_int_equal(add(&r, 1, 0), ERR_NOMEM);
    elapse(&r, 1000);
    budget_give(&r.budget, room);
    assert_int_equal(exporter_admit(r.exporter, 100, 100), 0);
    add_batch(&r, 3);
    answer(&r, 200);
    assert_int_equal(r.fates[FATE_DELIVERED], 3);
    rig_close(&r);
}

static void a_close_without_memory_settles_all(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, CODING_GZIP);
    for (uint32_t i = 0; i < 90; i++)
        assert_int_equal(add(&r, 1, i % 3), 0);
    r.budget.limit = r.budget.used;
    rig_close(&r);
    assert_int_equal(r.fates[FATE_LOST_SHUTDOWN], 90);
}

static void a_close_cancels_what_is_in_flight(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, CODING_GZIP);
    add_batch(&r, 10); /* will wait for its retry */
    answer(&r, 503);
    add_batch(&r, 20); /* in flight */
    add_batch(&r, 30); /* queued */
    for (int i = 0; i < 40; i++)
        assert_int_equal(add(&r, 1, 3), 0); /* not even sealed */
    rig_close(&r);
    assert_int_equal(r.cancelled, 1);
    assert_int_equal(r.fates[FATE_LOST_SHUTDOWN], 100);
    exporter_close(NULL);
}

/* ---- relays ------------------------------------------------------------ */

static void relays_are_counted_and_not_touched(void **state)
{
    (void)state;
    struct rig r;
    struct exporter_stats stats;
    rig_open(&r, 4, CODING_ZSTD);
    assert_string_equal(exporter_sink_name(r.exporter), "fake");
    static const int statuses[] = {200, 413, 415, 400};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        assert_int_equal(exporter_relay(r.exporter, SIGNAL_TRACES, SPAN("spans"), CODING_ZSTD,
                                        SPAN("a/b"), (struct span){0}),
                         0);
        const struct parcel *p = any_call(&r)->parcel;
        assert_true(span_eq(buf_span(&p->body), SPAN("spans")));
        assert_string_equal(p->content_type, "a/b");
        answer(&r, statuses[i]);
    }
    assert_int_equal(exporter_relay(r.exporter, SIGNAL_METRICS, SPAN("points"), CODING_ZSTD,
                                    SPAN("a/b"), (struct span){0}),
                     0);
    assert_int_equal(open_calls(&r), 0);
    assert_int_equal(exporter_relay(r.exporter, SIGNAL_TRACES, span_of("", 2 << 20), CODING_GZIP,
                                    SPAN("a/b"), (struct span){0}),
                     ERR_TOO_BIG);
    exporter_stats(r.exporter, &stats);
    assert_int_equal(stats.relay[SIGNAL_TRACES].received.value, 5);
    assert_int_equal(stats.relay[SIGNAL_TRACES].delivered.value, 1);
    assert_int_equal(stats.relay[SIGNAL_TRACES].lost.value, 4);
    assert_int_equal(stats.relay[SIGNAL_METRICS].discarded.value, 1);
    /* A client's zstd that was refused says nothing about ours. */
    assert_int_equal(stats.coding, CODING_ZSTD);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(age_size_and_count_seal_a_batch),
        cmocka_unit_test(as_many_at_once_as_there_are_senders),
        cmocka_unit_test(too_large_is_halved_down_to_one),
        cmocka_unit_test(too_large_without_memory_to_halve_is_kept),
        cmocka_unit_test(ill_upstream_retried_then_halved),
        cmocka_unit_test(poison_is_given_up_only_when_others_passed),
        cmocka_unit_test(refused_compression_falls_back_for_good),
        cmocka_unit_test(no_memory_to_recode_is_no_loss),
        cmocka_unit_test(a_refused_key_is_waited_for),
        cmocka_unit_test(a_wrong_address_is_no_verdict),
        cmocka_unit_test(what_is_late_is_halved_and_holds_nobody_up),
        cmocka_unit_test(what_was_late_is_behind_the_new),
        cmocka_unit_test(one_that_is_always_late_stays),
        cmocka_unit_test(a_missing_path_for_traces_holds_no_logs),
        cmocka_unit_test(all_that_waited_for_the_key_is_unauthorized),
        cmocka_unit_test(everybody_waits_when_asked_to),
        cmocka_unit_test(no_answer_is_retried_and_drop_is_not),
        cmocka_unit_test(the_old_is_given_up),
        cmocka_unit_test(one_refused_record_is_found),
        cmocka_unit_test(an_upstream_that_refuses_all_costs_little),
        cmocka_unit_test(refused_without_memory_to_halve_is_kept),
        cmocka_unit_test(some_rejected_of_an_accepted_batch),
        cmocka_unit_test(one_tries_for_all),
        cmocka_unit_test(retries_never_end_by_time),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(no_memory_to_seal_is_tried_again),
        cmocka_unit_test(no_memory_for_the_first_record),
        cmocka_unit_test(a_close_without_memory_settles_all),
        cmocka_unit_test(a_close_cancels_what_is_in_flight),
        cmocka_unit_test(relays_are_counted_and_not_touched),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
