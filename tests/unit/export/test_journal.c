/* The journal on a simulated disk, with a real loop, thread pool and exporter: the sink is
 * the test's own. What is told to be stored must be found after a power loss. */
#include "unit/test.h"

#include <errno.h>

#include "export/journal.h"
#include "unit/export/sim_disk.h"

#define SERVICES 3
#define DEADLINE_MS 20000
#define CALLS 8

struct call {
    bool is_open;
    sink_done_fn *done;
    void *ctx;
};

struct rig {
    uv_loop_t loop;
    struct sim sim;
    struct budget budget;
    struct journal *journal;
    struct exporter *exporter;
    struct call calls[CALLS];
    bool is_up; /* the sink answers */
    uint64_t added[SERVICES], found[SERVICES], settled[SERVICES], fates[FATE_COUNT];
    bool is_leaving;
};

struct client {
    struct journal_waiter waiter;
    unsigned told;
    int rc;
};

/* ---- the sink ---------------------------------------------------------- */

static int fake_send(void *self, const struct parcel *p, sink_done_fn *done, void *ctx, void **call)
{
    struct rig *r = self;
    (void)p;
    for (int i = 0; i < CALLS; i++) {
        if (r->calls[i].is_open)
            continue;
        r->calls[i] = (struct call){true, done, ctx};
        *call = &r->calls[i];
        return 0;
    }
    return ERR_FULL;
}

static void fake_cancel(void *self, void *call)
{
    (void)self;
    ((struct call *)call)->is_open = false;
}

static void fake_close(void *self)
{
    (void)self;
}

static void answer_all(struct rig *r)
{
    const struct sink_answer yes = {.status = 200};
    for (int i = 0; i < CALLS; i++) {
        struct call c = r->calls[i];
        r->calls[i].is_open = false;
        if (c.is_open)
            c.done(c.ctx, &yes);
    }
}

/* ---- the rig ----------------------------------------------------------- */

static void on_settled(void *ctx, uint32_t service, enum fate fate, uint64_t records)
{
    struct rig *r = ctx;
    if (r->is_leaving && fate == FATE_LOST_SHUTDOWN)
        return;
    r->fates[fate] += records;
    r->settled[service] += records;
    assert_true(r->settled[service] <= r->added[service] + r->found[service]);
}

static uint32_t service_of(void *ctx, struct span name)
{
    (void)ctx;
    assert_int_equal(name.len, 1);
    return (uint32_t)(name.base[0] - '0');
}

static void on_found(void *ctx, uint32_t service, struct span record, size_t bytes)
{
    (void)record;
    (void)bytes;
    ((struct rig *)ctx)->found[service]++;
}

static void rig_open(struct rig *r, const struct journal_opts *like)
{
    static const struct sink_ops ops = {fake_send, fake_cancel, fake_close};
    struct journal_opts opts = *like;
    struct error err = {{0}};
    uv_loop_init(&r->loop);
    budget_init(&r->budget, 32 << 20);
    opts.budget = &r->budget;
    opts.clock = clock_real();
    opts.fates = (struct fate_sink){r, on_settled};
    opts.commit_bytes = opts.commit_bytes > 0 ? opts.commit_bytes : 65536;
    opts.max_held_bytes = 1 << 20;
    opts.owners_bytes = 1 << 20;
    opts.ctx = r;
    opts.service = service_of;
    opts.found = on_found;
    struct disk disk = sim_disk(&r->sim);
    assert_int_equal(journal_open(&r->journal, &r->loop, &disk, &opts, &err), 0);
    struct sink sink = {.ops = &ops, .self = r, .takes = {true}, .concurrency = 2, .name = "fake"};
    const struct exporter_opts exporter = {
        .budget = &r->budget,
        .clock = clock_real(),
        .fates = {r, on_settled},
        .batch_bytes = 64 << 10,
        .batch_records = 1000,
        .batch_age_ms = 5,
        .queue_bytes = 1 << 20,
    };
    assert_int_equal(exporter_open(&r->exporter, &r->loop, &sink, &exporter), 0);
    assert_int_equal(journal_start(r->journal, r->exporter), 0);
}

static void on_alarm(uv_timer_t *timer)
{
    (void)timer;
}

/* Turn the loop until the condition holds. */
#define RUN_UNTIL(r, condition) \
    do { \
        uint64_t end = clock_now_ms(clock_real()) + DEADLINE_MS; \
        uv_timer_t alarm; /* the loop never sleeps for long */ \
        uv_timer_init(&(r)->loop, &alarm); \
        uv_timer_start(&alarm, on_alarm, 1, 1); \
        while (!(condition)) { \
            assert_row(clock_now_ms(clock_real()) < end, "%s", #condition); \
            if ((r)->is_up) \
                answer_all(r); \
            uv_run(&(r)->loop, UV_RUN_ONCE); \
        } \
        uv_close((uv_handle_t *)&alarm, NULL); \
        uv_run(&(r)->loop, UV_RUN_NOWAIT); \
    } while (0)

static struct journal_stats stats(const struct rig *r)
{
    struct journal_stats s;
    journal_stats(r->journal, &s);
    return s;
}

/* Whatever is not delivered stays. */
static int broken(const struct rig *r)
{
    struct journal_stats s;
    journal_stats(r->journal, &s);
    return s.spool.broken;
}

static void rig_close(struct rig *r)
{
    journal_close(r->journal);
    RUN_UNTIL(r, stats(r).is_closed);
    r->is_leaving = true;
    journal_leave(r->journal);
    exporter_close(r->exporter);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    journal_free(r->journal);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    assert_int_equal(r->budget.used, 0);
}

static void on_done(struct journal_waiter *w, int rc)
{
    struct client *c = container_of(w, struct client, waiter);
    c->told++;
    c->rc = rc;
}

/* A request of n records that are counted under `service`, with a Resource that names
 * service `named`. What journal_wait() says. */
static int request_as(struct rig *r, struct client *c, uint32_t service, uint32_t named, unsigned n,
                      size_t bytes)
{
    static const uint8_t names[SERVICES] = {'0', '1', '2'};
    /* Field 1 of a ResourceLogs: a Resource with service.name. */
    uint8_t resource[] = {10,  21,  10,  19,  10,  12,  's', 'e', 'r', 'v', 'i',         'c',
                          'e', '.', 'n', 'a', 'm', 'e', 18,  3,   10,  1,   names[named]};
    static uint8_t record[8192];
    assert_true(bytes <= 8000);
    record[0] = 0x2a; /* a body: AnyValue with a string */
    record[1] = (uint8_t)((bytes + 3) & 0x7f) | 0x80;
    record[2] = (uint8_t)((bytes + 3) >> 7);
    record[3] = 0x0a;
    record[4] = (uint8_t)(bytes & 0x7f) | 0x80;
    record[5] = (uint8_t)(bytes >> 7);
    memset(record + 6, 'x', bytes);
    struct logs_group g = {
        .resource = span_of(resource, sizeof resource),
        .resource_hash = named,
        .scope_hash = named,
    };
    *c = (struct client){.waiter.done = on_done};
    journal_begin(r->journal);
    for (unsigned i = 0; i < n; i++) {
        int rc = journal_add(r->journal, &g, span_of(record, bytes + 6), (struct span){0}, service);
        assert_true(rc >= (int)bytes + 6);
        r->added[service]++;
    }
    return journal_wait(r->journal, &c->waiter);
}

static int request(struct rig *r, struct client *c, uint32_t service, unsigned n, size_t bytes)
{
    return request_as(r, c, service, service, n, bytes);
}

static uint64_t sum(const uint64_t *counts)
{
    uint64_t n = 0;
    for (int s = 0; s < SERVICES; s++)
        n += counts[s];
    return n;
}

/* Records that a machine which loses power now will find. */
static uint64_t durable_records(struct rig *r)
{
    struct sim after;
    struct rng rng;
    struct spool *spool;
    struct spool_stats s;
    rng_init(&rng);
    sim_crash(&after, &r->sim, SIM_NOTHING, &rng);
    struct disk disk = sim_disk(&after);
    const struct spool_opts opts = {.clock = clock_real()};
    assert_int_equal(spool_open(&spool, &disk, &opts, NULL), 0);
    spool_stats(spool, &s);
    spool_close(spool);
    sim_done(&after);
    return s.records;
}

/* ---- tests ------------------------------------------------------------- */

static void told_when_durable_and_delivered(void **state)
{
    struct rig r = {0};
    struct client one, two, none;
    (void)state;
    sim_init(&r.sim, 1);
    rig_open(&r, &(struct journal_opts){.commit_delay_ms = 2});
    assert_int_equal(request(&r, &none, 0, 0, 10), 0); /* nothing of it was kept */
    assert_int_equal(request(&r, &one, 0, 3, 10), 1);
    assert_int_equal(request(&r, &two, 1, 4, 10), 1);
    assert_int_equal(one.told, 0);
    assert_int_equal(stats(&r).unsynced_records, 7);
    RUN_UNTIL(&r, two.told > 0);
    assert_int_equal(one.told, 1);
    assert_int_equal(one.rc, 0);
    assert_int_equal(stats(&r).commits, 1); /* together */
    assert_int_equal(durable_records(&r), 7);
    assert_int_equal(stats(&r).unsynced_records, 0);
    r.is_up = true;
    RUN_UNTIL(&r, journal_is_idle(r.journal) && exporter_is_idle(r.exporter));
    assert_int_equal(r.fates[FATE_DELIVERED], 7);
    assert_int_equal(r.settled[1], 4);
    rig_close(&r);
    assert_int_equal(durable_records(&r), 0);
    sim_done(&r.sim);
}

static void a_client_that_goes_is_forgotten(void **state)
{
    struct rig r = {0};
    struct client one, two;
    (void)state;
    sim_init(&r.sim, 2);
    rig_open(&r, &(struct journal_opts){.commit_delay_ms = 1});
    request(&r, &one, 0, 1, 10);
    request(&r, &two, 0, 1, 10);
    journal_forget(&one.waiter);
    RUN_UNTIL(&r, two.told > 0);
    assert_int_equal(one.told, 0);
    rig_close(&r);
    sim_done(&r.sim);
}

/* A request that is larger than a commit waits for all of them. */
static void several_groups(void **state)
{
    struct rig r = {0};
    struct client big;
    (void)state;
    sim_init(&r.sim, 3);
    rig_open(&r, &(struct journal_opts){.commit_delay_ms = 1, .commit_bytes = 4096});
    assert_int_equal(request(&r, &big, 2, 100, 500), 1);
    RUN_UNTIL(&r, big.told > 0);
    assert_int_equal(big.rc, 0);
    assert_true(stats(&r).commits > 10);
    assert_int_equal(durable_records(&r), 100);
    r.is_up = true;
    RUN_UNTIL(&r, journal_is_idle(r.journal));
    assert_int_equal(r.fates[FATE_DELIVERED], 100);
    rig_close(&r);
    sim_done(&r.sim);
}

/* Events name the service that they are about, and are counted under another. Several counts
 * share a Resource, and each is settled where it was counted; also what is left at the end. */
static void settled_where_it_was_counted(void **state)
{
    struct rig r = {0};
    struct client c;
    (void)state;
    sim_init(&r.sim, 4);
    rig_open(&r, &(struct journal_opts){.commit_delay_ms = 0});
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(request_as(&r, &c, i % SERVICES, i % 7 == 0, 1 + i % 4, 300), 1);
        RUN_UNTIL(&r, c.told > 0);
        r.is_up = i % 16 < 4;
    }
    r.is_up = true;
    RUN_UNTIL(&r, journal_is_idle(r.journal) && exporter_is_idle(r.exporter));
    for (int s = 0; s < SERVICES; s++)
        assert_int_equal(r.settled[s], r.added[s]);
    assert_int_equal(r.fates[FATE_DELIVERED], sum(r.added));
    rig_close(&r);
    sim_done(&r.sim);
}

/* The probes of a disk that failed lie between frames that one batch holds. */
static void a_batch_spans_probes(void **state)
{
    struct rig r = {0};
    struct client c;
    (void)state;
    sim_init(&r.sim, 10);
    rig_open(&r, &(struct journal_opts){.commit_delay_ms = 0, .max_bytes = 1 << 20});
    for (uint32_t i = 0; i < 120; i++) {
        assert_int_equal(request(&r, &c, i % SERVICES, 1, 100), 1);
        if (i % 40 == 20) {
            r.sim.fail_at = r.sim.calls + 1;
            r.sim.fail_for_ever = true;
            r.sim.fail_code = -ENOSPC;
        }
        RUN_UNTIL(&r, c.told > 0);
        if (i % 40 == 20) {
            r.sim.fail_at = 0;
            RUN_UNTIL(&r, broken(&r) == 0);
        }
    }
    r.is_up = true;
    RUN_UNTIL(&r, journal_is_idle(r.journal) && exporter_is_idle(r.exporter));
    assert_int_equal(r.fates[FATE_DELIVERED] + r.fates[FATE_LOST_DISK], 120);
    assert_int_equal(stats(&r).spool.in_hand, 0);
    for (int s = 0; s < SERVICES; s++)
        assert_int_equal(r.settled[s], r.added[s]);
    rig_close(&r);
    sim_done(&r.sim);
}

/* The last frames of a spool are gone and nothing comes behind them: the ledger closes. */
static void damage_at_the_end_is_settled(void **state)
{
    struct rig r = {0};
    struct client c;
    (void)state;
    sim_init(&r.sim, 11);
    rig_open(&r, &(struct journal_opts){
                     .commit_delay_ms = 0, .max_bytes = 4 << 20, .segment_bytes = 1 << 20});
    for (uint32_t i = 0; i < 400; i++) {
        assert_int_equal(request(&r, &c, i % SERVICES, 1, 1000), 1);
        RUN_UNTIL(&r, c.told > 0);
    }
    struct sim_file *f = sim_find(&r.sim, "0000000000000001.seg");
    size_t used = f->now_size;
    while (f->now[used - 1] == 0)
        used--;
    memset(f->now + used - 50000, 0xff, 50000); /* heads and all */
    r.is_up = true;
    RUN_UNTIL(&r, journal_is_idle(r.journal) && exporter_is_idle(r.exporter));
    assert_true(r.fates[FATE_LOST_DAMAGED] > 40);
    assert_int_equal(r.fates[FATE_DELIVERED] + r.fates[FATE_LOST_DAMAGED], 400);
    for (int s = 0; s < SERVICES; s++)
        assert_int_equal(r.settled[s], r.added[s]);
    rig_close(&r);
    sim_done(&r.sim);
}

/* Each call of the disk fails once, and the world goes on. */
static void every_call_may_fail_once(void **state)
{
    unsigned refused = 0;
    (void)state;
    for (uint64_t n = 1; n <= 24; n++) {
        struct rig r = {0};
        struct client clients[4];
        uint64_t promised = 0;
        sim_init(&r.sim, n);
        rig_open(&r, &(struct journal_opts){.commit_delay_ms = 0});
        r.sim.fail_at = r.sim.calls + n;
        r.sim.fail_code = n % 2 == 0 ? -EIO : -ENOSPC;
        for (uint32_t i = 0; i < ARRAY_LEN(clients); i++) {
            assert_int_equal(request(&r, &clients[i], i % SERVICES, 5, 100), 1);
            RUN_UNTIL(&r, clients[i].told > 0);
            promised += clients[i].rc == 0 ? 5 : 0;
            refused += clients[i].rc != 0;
            assert_true(durable_records(&r) >= promised - r.fates[FATE_DELIVERED]);
        }
        assert_int_equal(r.fates[FATE_LOST_DISK], sum(r.added) - promised);
        r.is_up = true;
        RUN_UNTIL(&r, journal_is_idle(r.journal) && exporter_is_idle(r.exporter));
        RUN_UNTIL(&r, broken(&r) == 0); /* a probe, when the last one failed */
        assert_int_equal(r.fates[FATE_DELIVERED], promised);
        for (int s = 0; s < SERVICES; s++)
            assert_int_equal(r.settled[s], r.added[s]);
        rig_close(&r);
        sim_done(&r.sim);
    }
    assert_true(refused > 2); /* the write, the sync, and what begins a segment */
}

static void a_disk_that_fails_is_found_out_and_back(void **state)
{
    struct rig r = {0};
    struct client one, two;
    (void)state;
    sim_init(&r.sim, 5);
    rig_open(&r, &(struct journal_opts){.commit_delay_ms = 0, .max_bytes = 1 << 20});
    assert_int_equal(journal_admit(r.journal, 1000), 0);
    r.sim.fail_at = r.sim.calls + 1;
    r.sim.fail_for_ever = true;
    r.sim.fail_code = -ENOSPC;
    request(&r, &one, 0, 1, 10);
    RUN_UNTIL(&r, one.told > 0);
    assert_int_equal(one.rc, ERR_DISK_FULL);
    assert_int_equal(broken(&r), ERR_DISK_FULL);
    assert_int_equal(journal_admit(r.journal, 1000), ERR_DISK_FULL); /* nothing is decided */
    uint64_t errors = stats(&r).spool.write_errors;
    RUN_UNTIL(&r, stats(&r).spool.write_errors > errors); /* it is probed, and says no */
    uint64_t began = clock_now_ms(clock_real());
    r.sim.fail_at = 0;
    RUN_UNTIL(&r, broken(&r) == 0);
    assert_true(clock_now_ms(clock_real()) - began < 1000);
    assert_int_equal(journal_admit(r.journal, 1000), 0);
    request(&r, &two, 0, 1, 10);
    r.is_up = true;
    RUN_UNTIL(&r, two.told > 0 && journal_is_idle(r.journal) && exporter_is_idle(r.exporter));
    assert_int_equal(two.rc, 0);
    assert_int_equal(r.fates[FATE_DELIVERED], 1); /* the probe holds no records */
    assert_int_equal(r.fates[FATE_LOST_DISK], 1);
    rig_close(&r);
    sim_done(&r.sim);
}

/* Services are told apart also of what was never read again. */
static void the_oldest_goes(void **state)
{
    struct rig r = {0};
    struct client c;
    (void)state;
    sim_init(&r.sim, 6);
    rig_open(&r, &(struct journal_opts){.commit_delay_ms = 0,
                                        .max_bytes = 256 << 10,
                                        .segment_bytes = 16 << 10,
                                        .drops_oldest = true});
    for (uint32_t i = 0; i < 300; i++) {
        assert_int_equal(request(&r, &c, i % SERVICES, 4, 1000), 1);
        RUN_UNTIL(&r, c.told > 0);
        assert_int_equal(c.rc, 0);
    }
    assert_true(r.fates[FATE_LOST_DROPPED] > 100);
    assert_true(stats(&r).spool.bytes <= 256 << 10);
    r.is_up = true;
    RUN_UNTIL(&r, journal_is_idle(r.journal) && exporter_is_idle(r.exporter));
    assert_int_equal(r.fates[FATE_DELIVERED] + r.fates[FATE_LOST_DROPPED], 1200);
    for (int s = 0; s < SERVICES; s++)
        assert_int_equal(r.settled[s], 400);
    rig_close(&r);
    sim_done(&r.sim);
}

static void a_full_spool_says_so_before(void **state)
{
    struct rig r = {0};
    struct client c;
    unsigned taken = 0;
    (void)state;
    sim_init(&r.sim, 7);
    rig_open(&r, &(struct journal_opts){.commit_delay_ms = 0, .max_bytes = 128 << 10});
    assert_int_equal(journal_admit(r.journal, 100 << 10), ERR_TOO_BIG);
    for (; journal_admit(r.journal, 4200) == 0; taken++) {
        request(&r, &c, 0, 4, 1000);
        RUN_UNTIL(&r, c.told > 0);
        assert_int_equal(c.rc, 0);
    }
    assert_int_equal(journal_admit(r.journal, 4200), ERR_FULL);
    assert_true(journal_fullness(r.journal) > 0.9);
    assert_true(taken > 15);
    r.is_up = true;
    RUN_UNTIL(&r, journal_is_idle(r.journal) && exporter_is_idle(r.exporter));
    RUN_UNTIL(&r, journal_admit(r.journal, 4200) == 0);
    assert_int_equal(r.fates[FATE_DELIVERED], 4 * taken);
    rig_close(&r);
    sim_done(&r.sim);
}

/* The next process finds what this one left, and counts it as its own. */
static void what_is_left_is_found(void **state)
{
    struct rig r = {0};
    struct client c;
    (void)state;
    sim_init(&r.sim, 8);
    rig_open(&r, &(struct journal_opts){.commit_delay_ms = 0});
    for (uint32_t i = 0; i < 30; i++) {
        request(&r, &c, i % SERVICES, 2, 100);
        RUN_UNTIL(&r, c.told > 0);
    }
    rig_close(&r);
    assert_int_equal(sum(r.settled), 0);

    struct rig next = {.sim = r.sim, .is_up = true};
    rig_open(&next, &(struct journal_opts){.commit_delay_ms = 0});
    RUN_UNTIL(&next, journal_is_idle(next.journal) && exporter_is_idle(next.exporter));
    assert_int_equal(next.fates[FATE_DELIVERED], 60);
    for (int s = 0; s < SERVICES; s++)
        assert_int_equal(next.found[s], 20);
    assert_int_equal(stats(&next).found_records, 60);
    rig_close(&next);
    sim_done(&next.sim);
}

static void lazy_is_written_and_not_synced(void **state)
{
    struct rig r = {0};
    struct client c;
    (void)state;
    sim_init(&r.sim, 9);
    rig_open(&r, &(struct journal_opts){
                     .commit_delay_ms = 0, .fsync = FSYNC_INTERVAL, .fsync_interval_ms = 300});
    request(&r, &c, 0, 5, 100);
    RUN_UNTIL(&r, c.told > 0);
    assert_int_equal(stats(&r).syncs, 0);
    assert_int_equal(stats(&r).unsynced_records, 5);
    assert_int_equal(stats(&r).unstored_records, 0);
    assert_int_equal(durable_records(&r), 0);
    RUN_UNTIL(&r, stats(&r).syncs > 0);
    assert_int_equal(stats(&r).unsynced_records, 0);
    assert_int_equal(durable_records(&r), 5);
    rig_close(&r);
    sim_done(&r.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_when_durable_and_delivered),
        cmocka_unit_test(a_client_that_goes_is_forgotten),
        cmocka_unit_test(several_groups),
        cmocka_unit_test(settled_where_it_was_counted),
        cmocka_unit_test(a_batch_spans_probes),
        cmocka_unit_test(damage_at_the_end_is_settled),
        cmocka_unit_test(every_call_may_fail_once),
        cmocka_unit_test(a_disk_that_fails_is_found_out_and_back),
        cmocka_unit_test(the_oldest_goes),
        cmocka_unit_test(a_full_spool_says_so_before),
        cmocka_unit_test(what_is_left_is_found),
        cmocka_unit_test(lazy_is_written_and_not_synced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
