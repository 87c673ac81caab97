/* The spool's verbs, and what faults, damage and strange directories do to it. */
#include "unit/test.h"

#include <errno.h>
#include <stdlib.h>

#include "export/position.h"
#include "export/segment.h"
#include "export/spool.h"
#include "unit/export/sim_disk.h"
#include "util/crc32c.h"
#include "util/le.h"

#define HOUR_NS 3600000000000ull

struct rig {
    struct sim sim;
    struct spool *spool;
    struct spool_opts opts;
    struct clock_fake clock;
    struct buf payload;
    struct spool_frame frame;
    uint64_t lost_frames, lost_records;
    enum spool_loss lost_why;
    char damaged[SEGMENT_NAME_BYTES]; /* of the last report */
    uint64_t damaged_frames, damaged_records;
};

static void on_lost(void *ctx, const struct spool_frame *frame, uint64_t frames, uint64_t records,
                    enum spool_loss why)
{
    struct rig *r = ctx;
    (void)frame;
    r->lost_frames += frames;
    r->lost_records += records;
    r->lost_why = why;
}

static void on_damaged(void *ctx, const char *segment, uint64_t frames, uint64_t records,
                       uint64_t bytes)
{
    struct rig *r = ctx;
    (void)bytes;
    snprintf(r->damaged, sizeof r->damaged, "%s", segment);
    r->damaged_frames += frames;
    r->damaged_records += records;
}

static int rig_open(struct rig *r)
{
    struct disk disk = sim_disk(&r->sim);
    struct error err = {{0}};
    r->spool = NULL;
    return spool_open(&r->spool, &disk, &r->opts, &err);
}

static void rig_init(struct rig *r)
{
    *r = (struct rig){0};
    sim_init(&r->sim, 1);
    clock_fake_init(&r->clock, 1000, 100 * HOUR_NS);
    r->opts = (struct spool_opts){.segment_bytes = 4096,
                                  .salt = 7,
                                  .clock = &r->clock.clock,
                                  .ctx = r,
                                  .lost = on_lost,
                                  .damaged = on_damaged};
}

static void rig_done(struct rig *r)
{
    spool_close(r->spool);
    sim_done(&r->sim);
    buf_done(&r->payload);
}

static void reopen(struct rig *r)
{
    spool_close(r->spool);
    assert_int_equal(rig_open(r), 0);
}

/* `bytes` bytes that say which number they are; n records. */
static int put(struct rig *r, uint32_t number, size_t bytes, uint64_t *id)
{
    uint8_t payload[9000];
    uint64_t ignored;
    memset(payload, (int)(number % 251), sizeof payload);
    memcpy(payload, &number, sizeof number);
    const struct span s = {payload, bytes};
    return spool_append(r->spool, &s, 1, number, clock_unix_ns(r->opts.clock),
                        id != NULL ? id : &ignored);
}

/* Read the next frame; which number it is, or the error. Its bytes must be right. */
static int64_t get(struct rig *r)
{
    int rc = spool_next(r->spool, &r->frame, &r->payload);
    if (rc < 0)
        return rc;
    uint32_t number = r->frame.records;
    assert_true(r->payload.len >= 4 && memcmp(r->payload.base, &number, 4) == 0);
    if (r->payload.len > 4) { /* all alike, and right */
        assert_int_equal(r->payload.base[4], number % 251);
        assert_memory_equal(r->payload.base + 4, r->payload.base + 5, r->payload.len - 5);
    }
    return number;
}

static struct spool_stats stats(const struct rig *r)
{
    struct spool_stats st;
    spool_stats(r->spool, &st);
    return st;
}

static void frames_come_back_in_order_and_once(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(get(&r), ERR_EMPTY);
    for (uint32_t i = 1; i <= 20; i++)
        assert_int_equal(put(&r, i, 500, NULL), 0);
    assert_true(spool_stored(r.spool) > 1); /* by the rolls */
    assert_int_equal(spool_sync(r.spool), 0);
    assert_int_equal(spool_stored(r.spool), 21);
    assert_int_equal(stats(&r).frames, 20);
    assert_int_equal(stats(&r).records, 210);
    for (uint32_t i = 1; i <= 20; i++) {
        assert_int_equal(get(&r), i);
        assert_int_equal(r.frame.id, i);
    }
    assert_int_equal(get(&r), ERR_EMPTY);
    for (uint64_t i = 20; i > 2; i -= 2)
        spool_settle(r.spool, i);
    spool_settle(r.spool, 1);
    spool_settle(r.spool, 1);  /* twice is once */
    spool_settle(r.spool, 99); /* not in hand */
    assert_int_equal(stats(&r).frames, 10);
    assert_int_equal(stats(&r).in_hand, 10);
    assert_int_equal(stats(&r).settled_id, 2);

    reopen(&r); /* what was in hand comes again, and nothing else */
    assert_int_equal(stats(&r).frames, 10);
    assert_int_equal(get(&r), 2);
    for (uint32_t i = 3; i < 20; i += 2)
        assert_int_equal(get(&r), i);
    assert_int_equal(get(&r), ERR_EMPTY);
    for (uint64_t i = 2; i <= 20; i++)
        spool_settle(r.spool, i);
    assert_int_equal(spool_checkpoint(r.spool), 0);
    assert_int_equal(stats(&r).segments, 0);
    assert_int_equal(stats(&r).bytes, 0);
    reopen(&r);
    assert_int_equal(get(&r), ERR_EMPTY);
    uint64_t id = 0;
    assert_int_equal(put(&r, 5, 100, &id), 0);
    assert_int_equal(id, 21); /* ids go on, though nothing is left */
    assert_int_equal(stats(&r).missing_frames, 0);
    rig_done(&r);
}

static void what_is_not_synced_is_not_read(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(put(&r, 1, 100, NULL), 0);
    assert_int_equal(get(&r), ERR_EMPTY);
    assert_int_equal(stats(&r).unsynced_frames, 1);
    assert_int_equal(spool_sync(r.spool), 0);
    assert_int_equal(get(&r), 1);
    r.opts.lazy = true;
    reopen(&r);
    assert_int_equal(get(&r), 1);
    assert_int_equal(put(&r, 2, 100, NULL), 0);
    assert_int_equal(spool_stored(r.spool), 3);
    assert_int_equal(get(&r), 2);
    rig_done(&r);
}

static void bounds(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.opts.max_bytes = 40960;
    assert_int_equal(rig_open(&r), 0);
    uint64_t id;
    uint8_t *big = calloc(1, 50000);
    const struct span too_big = {big, 50000};
    assert_int_equal(spool_append(r.spool, &too_big, 1, 1, 1, &id), ERR_TOO_BIG);
    const struct span larger_than_a_segment = {big, 9000};
    assert_int_equal(spool_append(r.spool, &larger_than_a_segment, 1, 1, 1, &id), 0);
    free(big);
    assert_int_equal(spool_sync(r.spool), 0);
    uint32_t n = 0;
    int rc;
    while ((rc = put(&r, n + 1, 2000, NULL)) == 0) {
        n++;
        assert_int_equal(spool_sync(r.spool), 0);
        assert_true(stats(&r).bytes <= 40960);
    }
    assert_int_equal(rc, ERR_FULL);
    assert_int_equal(stats(&r).broken, 0);
    assert_int_equal(stats(&r).frames, n + 1);

    /* Delivering makes room, without a checkpoint of the caller's. */
    assert_int_equal(spool_next(r.spool, &r.frame, &r.payload), 0);
    assert_int_equal(put(&r, n + 1, 2000, NULL), ERR_FULL);
    spool_settle(r.spool, r.frame.id);
    assert_int_equal(put(&r, n + 1, 2000, NULL), 0);
    assert_int_equal(r.lost_frames, 0);

    /* Dropping the oldest: the counter is exactly what is missing. */
    r.opts.drops_oldest = true;
    reopen(&r);
    uint64_t before = stats(&r).frames;
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(put(&r, 100 + i, 2000, NULL), 0);
    assert_int_equal(spool_sync(r.spool), 0);
    assert_true(stats(&r).bytes <= 40960);
    uint64_t got = 0;
    int64_t last = 0, number;
    while ((number = get(&r)) > 0) {
        got++;
        last = number;
    }
    assert_int_equal(last, 149);
    assert_int_equal(r.lost_why, SPOOL_LOST_DROPPED);
    assert_int_equal(got + r.lost_frames, before + 50);
    assert_int_equal(stats(&r).lost_frames[SPOOL_LOST_DROPPED], r.lost_frames);
    assert_int_equal(stats(&r).missing_frames, 0);
    rig_done(&r);
}

static void old_frames_expire(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.opts.max_age_ns = HOUR_NS;
    assert_int_equal(rig_open(&r), 0);
    for (uint32_t i = 1; i <= 6; i++) {
        assert_int_equal(put(&r, i, 1500, NULL), 0);
        clock_fake_advance(&r.clock, 20 * 60 * 1000);
    }
    assert_int_equal(spool_sync(r.spool), 0); /* now 120, 100, ... 20 minutes old */
    assert_int_equal(get(&r), 4);
    assert_int_equal(r.lost_frames, 3);
    assert_int_equal(r.lost_records, 1 + 2 + 3);
    assert_int_equal(r.lost_why, SPOOL_LOST_EXPIRED);
    reopen(&r);
    assert_int_equal(get(&r), 4);
    assert_int_equal(r.lost_frames, 3);
    rig_done(&r);
}

/* Wall clocks step, boot in 1970 and are set later: nothing becomes older by that. */
static void a_step_of_the_clock_expires_nothing(void **state)
{
    static const struct {
        uint64_t
            boot[2]; /* of the process that stores and of the one that reads; equal: one process */
        uint64_t begin_ns;
        int64_t step_ns; /* of the wall clock, after one minute */
        uint64_t wait_ms;
        bool expires;
    } rows[] = {
        {{1, 1}, 500000 * HOUR_NS, 25 * (int64_t)HOUR_NS, 0, false},
        {{1, 1}, 0, 500000 * (int64_t)HOUR_NS, 0, false}, /* 1970, and then it was set */
        {{1, 1}, 500000 * HOUR_NS, -25 * (int64_t)HOUR_NS, 25 * 3600 * 1000, true},
        {{1, 1}, 500000 * HOUR_NS, 0, 25 * 3600 * 1000, true},
        {{1, 2}, 0, 500000 * (int64_t)HOUR_NS, 0, false}, /* stored in 1970, read after a start */
        {{1, 2}, 0, 500000 * (int64_t)HOUR_NS, 25 * 3600 * 1000, true},
        {{1, 2}, 500000 * HOUR_NS, 25 * (int64_t)HOUR_NS, 0, true}, /* the machine was away */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int reopens = rows[i].boot[0] != rows[i].boot[1]; reopens < 2; reopens++) {
            struct rig r;
            rig_init(&r);
            r.clock.unix_ns = rows[i].begin_ns;
            r.opts.max_age_ns = 24 * HOUR_NS;
            r.opts.boot = rows[i].boot[0];
            assert_int_equal(rig_open(&r), 0);
            assert_int_equal(put(&r, 1, 1500, NULL), 0);
            assert_int_equal(spool_sync(r.spool), 0);
            clock_fake_advance(&r.clock, 60 * 1000);
            r.clock.unix_ns += (uint64_t)rows[i].step_ns;
            if (rows[i].boot[0] != rows[i].boot[1])
                r.clock.now_ms = 5000; /* that clock began anew */
            r.opts.boot = rows[i].boot[1];
            if (reopens)
                reopen(&r);
            clock_fake_advance(&r.clock, rows[i].wait_ms);
            assert_row(get(&r) == (rows[i].expires ? ERR_EMPTY : 1), "row %zu, reopened: %d", i,
                       reopens);
            assert_int_equal(r.lost_frames, rows[i].expires);
            rig_done(&r);
        }
}

static void a_reader_without_room_waits(void **state)
{
    (void)state;
    struct rig r;
    struct budget budget;
    rig_init(&r);
    budget_init(&budget, 1000);
    assert_int_equal(rig_open(&r), 0);
    for (uint32_t i = 1; i <= SPOOL_WINDOW + 1; i++)
        assert_int_equal(put(&r, i, 1200, NULL), 0);
    assert_int_equal(spool_sync(r.spool), 0);
    r.payload.budget = &budget;
    assert_int_equal(get(&r), ERR_FULL);
    budget.limit = 2000;
    for (uint32_t i = 1; i <= SPOOL_WINDOW; i++)
        assert_int_equal(get(&r), i);
    assert_int_equal(get(&r), ERR_FULL); /* the window */
    spool_settle(r.spool, 7);
    assert_int_equal(get(&r), ERR_FULL); /* it is the oldest that counts */
    spool_settle(r.spool, 1);
    assert_int_equal(get(&r), SPOOL_WINDOW + 1);
    rig_done(&r);
    assert_int_equal(budget.used, 0);
}

/* ---- faults ------------------------------------------------------------- */

struct script {
    bool stored[40]; /* by number */
    bool pending[40], settled[40];
};

static void script_outcome(struct script *s, bool stored)
{
    for (size_t i = 0; i < ARRAY_LEN(s->pending); i++) {
        s->stored[i] |= stored && s->pending[i];
        s->pending[i] = false;
    }
}

/* Append, sync, read, settle, roll, checkpoint; whatever fails, it goes on. */
static void run_script(struct rig *r, struct script *s)
{
    for (uint32_t i = 1; i < 30; i++) {
        uint64_t before = spool_stored(r->spool), id = 0;
        int rc = put(r, i, 900, &id);
        assert_true(rc == 0 || rc == ERR_IO || rc == ERR_DISK_FULL);
        if (spool_stored(r->spool) > before) /* rolled */
            script_outcome(s, true);
        if (rc < 0)
            script_outcome(s, false);
        s->pending[i] = rc == 0;
        if (i % 2 == 0)
            script_outcome(s, spool_sync(r->spool) == 0);
        if (i % 3 == 0) {
            int64_t number = get(r);
            if (number > 0) {
                assert_true(s->stored[number] && !s->settled[number]);
                spool_settle(r->spool, r->frame.id);
                s->settled[number] = true;
            }
        }
        if (i % 7 == 0)
            ignore_code(spool_checkpoint(r->spool));
    }
    script_outcome(s, spool_sync(r->spool) == 0);
}

static void every_call_may_fail(void **state)
{
    (void)state;
    static const int codes[] = {-EIO, -ENOSPC, SIM_SHORT, -EINTR};
    uint64_t runs = 0;
    for (unsigned kind = 0; kind < 16; kind++) {
        bool for_ever = kind & 1, no_room = kind & 2;
        int code = codes[kind / 4];
        if (for_ever && (code == SIM_SHORT || code == -EINTR))
            continue; /* a caller may loop on these for ever, as read(2) users do */
        for (uint64_t n = 1;; n++) {
            struct rig r;
            struct script s = {0};
            rig_init(&r);
            r.sim.cannot_allocate = no_room;
            r.sim.fail_at = n;
            r.sim.fail_code = code;
            r.sim.fail_for_ever = for_ever;
            int rc = rig_open(&r);
            bool done = false;
            if (rc == 0) {
                run_script(&r, &s);
                done = r.sim.calls < n;
            } else {
                assert_true(rc == ERR_IO);
            }
            r.sim.fail_at = 0; /* the disk works again: at once, so does the spool */
            if (rc < 0)
                assert_int_equal(rig_open(&r), 0);
            assert_int_equal(put(&r, 35, 900, NULL), 0);
            assert_int_equal(spool_sync(r.spool), 0);
            assert_int_equal(stats(&r).broken, 0);
            s.stored[35] = true;

            struct sim crashed;
            struct rng rng = {n};
            enum sim_crash how = (enum sim_crash)(n % SIM_CRASHES);
            sim_crash(&crashed, &r.sim, how, &rng);
            spool_close(r.spool);
            sim_done(&r.sim);
            r.sim = crashed;
            assert_int_equal(rig_open(&r), 0);
            bool seen[40] = {0};
            int64_t number;
            while ((number = get(&r)) > 0)
                seen[number] = true;
            assert_int_equal(number, ERR_EMPTY);
            for (size_t i = 0; i < ARRAY_LEN(seen); i++)
                assert_row(!s.stored[i] || s.settled[i] || seen[i] || r.lost_frames > 0,
                           "call %llu fails by %d: %zu is gone", (unsigned long long)n, code, i);
            rig_done(&r);
            runs++;
            if (done)
                break;
        }
    }
    print_message("%llu faults\n", (unsigned long long)runs);
    assert_true(runs > 1000);
}

/* Rights, descriptors, file systems that are away, cables: nothing is given up, however long it
 * takes. */
static void what_cannot_be_read_is_tried_again(void **state)
{
    static const int codes[] = {-EACCES, -EMFILE, -ENFILE, -ESTALE, -EIO, -EPERM};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct rig r;
        rig_init(&r);
        assert_int_equal(rig_open(&r), 0);
        for (uint32_t n = 1; n <= 9; n++)
            assert_int_equal(put(&r, n, 1500, NULL), 0);
        assert_int_equal(spool_sync(r.spool), 0);
        r.sim.open_code = codes[i];
        for (int try = 0; try < 1000; try++) {
            assert_int_equal(get(&r), ERR_IO);
            assert_int_equal(stats(&r).unreadable, codes[i]);
            clock_fake_advance(&r.clock, 5 * 60 * 1000);
        }
        assert_int_equal(stats(&r).records, 45);
        assert_int_equal(stats(&r).unreadable_id, 1);
        r.sim.open_code = 0;
        for (uint32_t n = 1; n <= 9; n++)
            assert_int_equal(get(&r), n);
        assert_int_equal(stats(&r).unreadable, 0);
        assert_int_equal(r.lost_frames, 0);
        rig_done(&r);
    }
}

/* A place that the medium refuses is given up after a minute, alone, and the file is kept. */
static void a_bad_sector_costs_what_lies_on_it(void **state)
{
    static const struct {
        uint64_t from, to;
        uint32_t first_gone, last_gone;
    } rows[] = {
        {SEGMENT_DATA_AT + 3040 + 1000, SEGMENT_DATA_AT + 3040 + 1512, 2, 2}, /* a payload */
        {SEGMENT_DATA_AT + 3040 - 100, SEGMENT_DATA_AT + 3040 + 100, 1, 3},   /* and a head */
        {SEGMENT_DATA_AT + 3040 + 2, SEGMENT_DATA_AT + 3040 + 30, 2, 2},      /* a head */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        uint32_t number = 1;
        int64_t got;
        rig_init(&r);
        r.opts.segment_bytes = 16384;
        assert_int_equal(rig_open(&r), 0);
        for (uint32_t n = 1; n <= 9; n++)
            assert_int_equal(put(&r, n, 3000, NULL), 0);
        assert_int_equal(spool_sync(r.spool), 0);
        r.sim.bad_file = sim_find(&r.sim, "0000000000000001.seg");
        r.sim.bad_from = rows[i].from;
        r.sim.bad_to = rows[i].to;
        for (; number < rows[i].first_gone; number++)
            assert_int_equal(get(&r), number);
        for (int s = 0; s < 60; s++, clock_fake_advance(&r.clock, 1000))
            assert_int_equal(get(&r), ERR_IO);
        assert_int_equal(r.lost_frames, 0);
        while ((got = get(&r)) == ERR_IO)
            continue;
        assert_row(got == rows[i].last_gone + 1, "row %zu: %lld", i, (long long)got);
        for (number = rows[i].last_gone + 2; number <= 9; number++)
            assert_int_equal(get(&r), number);
        assert_int_equal(get(&r), ERR_EMPTY);
        assert_int_equal(r.lost_frames, rows[i].last_gone - rows[i].first_gone + 1);
        assert_int_equal(r.damaged_frames, r.lost_frames);
        assert_string_equal(r.damaged, "0000000000000001.seg");
        for (uint64_t id = 1; id <= 9; id++)
            spool_settle(r.spool, id);
        assert_int_equal(stats(&r).frames, 0);
        assert_int_equal(stats(&r).records, 0);
        assert_int_equal(spool_checkpoint(r.spool), 0);
        r.sim.bad_file = NULL;
        assert_non_null(sim_find(&r.sim, "0000000000000001.seg.corrupt"));
        rig_done(&r);
    }
}

/* A start that cannot read to the end of the last segment cuts nothing off it. */
static void a_start_that_cannot_read_cuts_nothing(void **state)
{
    struct rig r;
    (void)state;
    rig_init(&r);
    r.opts.segment_bytes = 65536;
    assert_int_equal(rig_open(&r), 0);
    for (uint32_t n = 1; n <= 9; n++)
        assert_int_equal(put(&r, n, 3000, NULL), 0);
    assert_int_equal(spool_sync(r.spool), 0);
    spool_close(r.spool);
    r.sim.bad_file = sim_find(&r.sim, "0000000000000001.seg");
    r.sim.bad_from = SEGMENT_DATA_AT + 4 * 3040 + 100;
    r.sim.bad_to = r.sim.bad_from + 4096;
    assert_int_equal(rig_open(&r), 0);
    for (uint32_t n = 1; n <= 4; n++)
        assert_int_equal(get(&r), n);
    assert_int_equal(get(&r), ERR_IO);
    uint64_t id;
    assert_int_equal(put(&r, 100, 3000, &id), 0); /* not one of the ids that may stand there */
    assert_true(id > 9);
    assert_int_equal(spool_sync(r.spool), 0);
    r.sim.bad_file = NULL;
    for (uint32_t n = 5; n <= 9; n++)
        assert_int_equal(get(&r), n);
    assert_int_equal(get(&r), 100);
    assert_int_equal(r.lost_frames, 0);
    spool_close(r.spool);
    r.sim.open_code = -EACCES; /* may not be read: it must not go on as if nothing were there */
    assert_int_equal(rig_open(&r), ERR_IO);
    r.sim.open_code = 0;
    assert_int_equal(rig_open(&r), 0);
    rig_done(&r);
}

/* A disk without room for a segment is known before anybody is answered. */
static void a_start_without_room_is_broken(void **state)
{
    struct rig r;
    (void)state;
    rig_init(&r);
    r.sim.free_bytes = 4000;
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(stats(&r).broken, ERR_DISK_FULL);
    assert_int_equal(stats(&r).needed_bytes, 4096);
    assert_int_equal(stats(&r).free_bytes, 4000);
    assert_int_equal(put(&r, 1, 100, NULL), 0);
    assert_int_equal(spool_sync(r.spool), 0);
    assert_int_equal(stats(&r).broken, 0);
    rig_done(&r);
}

/* ---- damage ------------------------------------------------------------- */

/* About 64 KiB in segments of 16 KiB, with a position that tells where it ends. Returns frames. */
static uint32_t fill(struct rig *r)
{
    uint32_t n = 0;
    r->opts.segment_bytes = 16384;
    assert_int_equal(rig_open(r), 0);
    while (n < 20) {
        assert_int_equal(put(r, ++n, 3000, NULL), 0);
        assert_int_equal(spool_sync(r->spool), 0);
    }
    assert_int_equal(get(r), 1);
    spool_settle(r->spool, 1);
    spool_close(r->spool);
    r->spool = NULL;
    return n;
}

/* What is left of frames 2 to n. Those that are gone are counted, and next to each other. */
static uint32_t read_rest(struct rig *r, uint32_t n, uint64_t *first_gone)
{
    uint32_t gone = 0;
    int64_t last = 1, number;
    r->lost_frames = 0;
    assert_int_equal(rig_open(r), 0);
    while ((number = get(r)) > 0) {
        assert_true(number > last && number <= n);
        if (number > last + 1)
            *first_gone = (uint64_t)last + 1;
        gone += (uint32_t)(number - last - 1);
        last = number;
    }
    assert_int_equal(number, ERR_EMPTY);
    if (last < n)
        *first_gone = (uint64_t)last + 1;
    gone += n - (uint32_t)last;
    assert_int_equal(stats(r).lost_frames[SPOOL_LOST_DAMAGED], gone);
    return gone;
}

static void any_byte_may_be_flipped(void **state)
{
    (void)state;
    struct rig r;
    struct rng rng = {1};
    rig_init(&r);
    uint32_t n = fill(&r);
    uint64_t flips = 0, lost = 0;
    for (uint64_t id = 1; id < n; id++) {
        char name[SEGMENT_NAME_BYTES];
        segment_name(name, id);
        struct sim_file *file = sim_find(&r.sim, name);
        for (size_t at = 0; file != NULL && at < file->now_size; at++) {
            struct rig one = r;
            uint64_t first = 0;
            one.opts.ctx = &one;
            one.payload = (struct buf){0};
            sim_crash(&one.sim, &r.sim, SIM_KILL, &rng);
            sim_find(&one.sim, name)->now[at] ^= (uint8_t)(1 + rng_upto(&rng, 254));
            uint32_t gone = read_rest(&one, n, &first);
            assert_row(gone <= 1, "byte %zu of %s: %u frames are gone", at, name, gone);
            lost += gone;
            assert_row(at >= SEGMENT_DATA_AT || gone == 0, "byte %zu of %s", at, name);
            flips++;
            rig_done(&one);
        }
    }
    assert_true(flips > 60000);
    assert_true(lost > 50000); /* nearly every byte belongs to a frame that waits */
    rig_done(&r);
    print_message("%llu bytes flipped\n", (unsigned long long)flips);
}

static void any_length_may_be_cut(void **state)
{
    (void)state;
    struct rig r;
    struct rng rng = {1};
    rig_init(&r);
    uint32_t n = fill(&r);
    for (uint64_t id = 1; id < n; id++) {
        char name[SEGMENT_NAME_BYTES];
        segment_name(name, id);
        struct sim_file *file = sim_find(&r.sim, name);
        for (size_t length = 0; file != NULL && length < file->now_size; length++) {
            struct rig one = r;
            uint64_t first = 0;
            one.opts.ctx = &one;
            one.payload = (struct buf){0};
            sim_crash(&one.sim, &r.sim, SIM_KILL, &rng);
            sim_find(&one.sim, name)->now_size = length;
            /* Whole frames before the cut stay. */
            size_t whole = length < SEGMENT_DATA_AT ? 0 : (length - SEGMENT_DATA_AT) / 3040;
            size_t all = (file->now_size - SEGMENT_DATA_AT) / 3040;
            uint32_t gone = read_rest(&one, n, &first);
            if (length >= SEGMENT_DATA_AT || length == 0)
                assert_row(gone <= all - whole && gone + 1 >= all - whole, "%s cut at %zu: %u gone",
                           name, length, gone);
            rig_done(&one);
        }
    }
    rig_done(&r);
}

static void damage_is_kept_aside(void **state)
{
    (void)state;
    struct rig r;
    uint64_t first = 0;
    rig_init(&r);
    uint32_t n = fill(&r);
    sim_find(&r.sim, "0000000000000001.seg")->now[SEGMENT_DATA_AT + 2 * 3040 + 5] ^=
        1; /* frame 3's head */
    sim_find(&r.sim, "0000000000000006.seg")->now[SEGMENT_DATA_AT + 3040 + 500] ^=
        1; /* 7's payload */
    assert_int_equal(read_rest(&r, n, &first), 2);
    assert_int_equal(stats(&r).missing_frames, 1);
    assert_int_equal(r.lost_frames, 1);    /* the other one was missed at the start */
    assert_int_equal(r.damaged_frames, 2); /* and both are reported, with their records */
    assert_int_equal(r.damaged_records, 3 + 7);
    assert_string_equal(r.damaged, "0000000000000006.seg");
    assert_int_equal(stats(&r).damaged_segments, 2);
    assert_int_equal(stats(&r).damaged_bytes, 3040 + 3000);
    for (uint64_t i = 1; i <= n; i++)
        spool_settle(r.spool, i);
    assert_int_equal(spool_checkpoint(r.spool), 0);
    assert_int_equal(stats(&r).segments, 0);
    assert_int_equal(stats(&r).aside_files, 2);
    assert_non_null(sim_find(&r.sim, "0000000000000001.seg.corrupt"));
    assert_non_null(sim_find(&r.sim, "0000000000000006.seg.corrupt"));
    reopen(&r);
    assert_int_equal(stats(&r).aside_files, 2);
    assert_int_equal(stats(&r).bytes, stats(&r).aside_bytes);
    assert_int_equal(get(&r), ERR_EMPTY);
    rig_done(&r);
}

/* ---- strange directories ------------------------------------------------ */

static void copy_file(struct sim *s, const char *from, const char *to)
{
    struct sim_file *f = sim_find(s, from);
    uint8_t *bytes = malloc(f->now_size + 1);
    size_t n = f->now_size;
    memcpy(bytes, f->now, n);
    sim_put(s, to, bytes, n);
    free(bytes);
}

static void forget(struct sim *s, const char *name)
{
    struct disk d = sim_disk(s);
    assert_int_equal(d.ops->unlink(s, name), 0);
}

static void zero_tail(struct sim *s)
{
    uint8_t more[30000] = {0};
    struct sim_file *f = sim_find(s, "0000000000000010.seg");
    memcpy(more, f->now, f->now_size);
    sim_put(s, "0000000000000010.seg", more, sizeof more);
}

static void twin(struct sim *s)
{
    copy_file(s, "0000000000000006.seg", "0000000000000099.seg");
}

static void renamed(struct sim *s)
{
    copy_file(s, "0000000000000006.seg", "00000000000000ff.seg");
    forget(s, "0000000000000006.seg");
}

static void no_middle(struct sim *s)
{
    forget(s, "0000000000000006.seg");
}

static void no_position(struct sim *s)
{
    forget(s, POSITION_NAME);
}

static void foreign_position(struct sim *s)
{
    sim_put(s, POSITION_NAME, "not ours", 8);
}

static void set_position(struct sim *s, uint64_t settled, uint64_t stored)
{
    struct disk d = sim_disk(s);
    struct position_file f;
    const struct position p = {.settled = settled, .stored = stored};
    d.ops->unlink(s, POSITION_NAME);
    assert_int_equal(position_create(&f, &d), 0);
    assert_int_equal(position_write(&f, &p), 0);
    assert_int_equal(position_sync(&f), 0);
    position_close(&f);
}

static void old_position(struct sim *s)
{
    set_position(s, 1, 1);
}

static void later_position(struct sim *s)
{
    set_position(s, 500, 600);
}

static void newer_position(struct sim *s)
{
    struct sim_file *f = sim_find(s, POSITION_NAME);
    for (size_t i = 0; i < f->now_size; i++)
        f->now[i] ^= 0x55;
}

static void strangers(struct sim *s)
{
    sim_put(s, "notes.txt", "mine", 4);
    sim_put(s, "000000000000000G.seg", "mine", 4);
    sim_put(s, "1.seg", "mine", 4);
    sim_put(s, "0000000000000001.seg.bak", "mine", 4);
}

static void empty_segment(struct sim *s)
{
    uint8_t zeros[5000] = {0};
    sim_put(s, "0000000000000015.seg", zeros, sizeof zeros);
    sim_put(s, "0000000000000016.seg", "", 0);
}

static void rubbish(struct sim *s)
{
    uint8_t bytes[5000];
    memset(bytes, 0xa5, sizeof bytes);
    sim_put(s, "0000000000000015.seg", bytes, sizeof bytes);
}

static void strange_directories(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*make)(struct sim *s);
        uint32_t first, frames; /* read; 20 were stored, the first one settled */
        uint64_t missing, duplicates, position_errors, torn, damaged;
    } rows[] = {
        {"as it was", NULL, 2, 19, 0, 0, 0, 0, 0},
        {"a tail of zeros", zero_tail, 2, 19, 0, 0, 0, 0, 0},
        {"a segment twice", twin, 2, 19, 0, 5, 0, 0, 0},
        {"a segment renamed", renamed, 2, 19, 0, 0, 0, 0, 0},
        {"no middle segment", no_middle, 2, 14, 5, 0, 0, 0, 0},
        {"no position", no_position, 1, 20, 0, 0, 0, 0, 0},
        {"a position that is none", foreign_position, 1, 20, 0, 0, 1, 0, 0},
        {"an old position", old_position, 1, 20, 0, 0, 0, 0, 0},
        {"a position behind the data", later_position, 0, 0, 100, 0, 0, 0, 0},
        {"a damaged position", newer_position, 1, 20, 0, 0, 1, 0, 0},
        {"files of others", strangers, 2, 19, 0, 0, 0, 0, 0},
        {"segments never begun", empty_segment, 2, 19, 0, 0, 0, 0, 0},
        {"rubbish in a segment's place", rubbish, 2, 19, 0, 0, 0, 0, 5000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        rig_init(&r);
        fill(&r);
        if (rows[i].make != NULL)
            rows[i].make(&r.sim);
        assert_row(rig_open(&r) == 0, "%s: open", rows[i].name);
        struct spool_stats st = stats(&r);
        assert_row(st.missing_frames == rows[i].missing &&
                       st.duplicate_frames == rows[i].duplicates &&
                       st.position_errors == rows[i].position_errors &&
                       st.torn_bytes == rows[i].torn && st.damaged_bytes == rows[i].damaged,
                   "%s: missing %llu, twice %llu, position %llu, torn %llu, damaged %llu",
                   rows[i].name, (unsigned long long)st.missing_frames,
                   (unsigned long long)st.duplicate_frames, (unsigned long long)st.position_errors,
                   (unsigned long long)st.torn_bytes, (unsigned long long)st.damaged_bytes);
        uint32_t frames = 0;
        int64_t number, first = 0, last = 0;
        while ((number = get(&r)) > 0) {
            assert_true(number > last);
            last = number;
            first = first == 0 ? number : first;
            frames++;
        }
        assert_row(first == rows[i].first && frames == rows[i].frames, "%s: %u frames from %lld",
                   rows[i].name, frames, (long long)first);
        uint64_t id = 0;
        assert_int_equal(put(&r, 99, 100, &id), 0);
        assert_true(id > 20);
        assert_int_equal(spool_sync(r.spool), 0);
        if (rows[i].make == strangers) {
            const char *names[] = {"notes.txt", "000000000000000G.seg", "1.seg",
                                   "0000000000000001.seg.bak"};
            for (size_t j = 0; j < ARRAY_LEN(names); j++)
                assert_true(sim_find(&r.sim, names[j]) != NULL &&
                            sim_find(&r.sim, names[j])->now_size == 4);
        }
        rig_done(&r);
    }
}

/* Operations that changed anything since the last sync. */
static size_t changes(const struct sim *s)
{
    size_t n = s->dir_op_count;
    for (size_t i = 0; i < s->file_count; i++)
        n += s->files[i].op_count;
    return n;
}

static void a_newer_version_is_not_touched(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    fill(&r);
    struct sim_file *f = sim_find(&r.sim, "0000000000000006.seg");
    uint8_t header[SEGMENT_DATA_AT];
    const struct segment_header h = {.first_id = 6, .void_from = 6};
    segment_header_encode(header, &h);
    header[8] = SEGMENT_VERSION + 1;
    le32_put(header + SEGMENT_HEADER_BYTES - 4,
             crc32c(0, span_of(header, SEGMENT_HEADER_BYTES - 4)));
    memcpy(f->now, header, SEGMENT_HEADER_BYTES);
    size_t before = changes(&r.sim);
    assert_int_equal(rig_open(&r), ERR_UNSUPPORTED);
    assert_int_equal(changes(&r.sim), before);
    rig_done(&r);
}

static void ids_at_the_edges(void **state)
{
    (void)state;
    static const uint64_t starts[] = {(1ull << 32) - 10, (1ull << 63) - 10};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct rig r;
        rig_init(&r);
        set_position(&r.sim, starts[i], starts[i]);
        assert_int_equal(rig_open(&r), 0);
        for (uint32_t j = 1; j <= 20; j++) {
            uint64_t id = 0;
            assert_int_equal(put(&r, j, 700, &id), 0);
            assert_int_equal(id, starts[i] + j - 1);
        }
        reopen(&r);
        for (uint32_t j = 1; j <= 20; j++) {
            assert_int_equal(get(&r), j);
            assert_int_equal(r.frame.id, starts[i] + j - 1);
            spool_settle(r.spool, r.frame.id);
        }
        assert_int_equal(spool_checkpoint(r.spool), 0);
        assert_int_equal(stats(&r).frames, 0);
        assert_int_equal(stats(&r).missing_frames, 0);
        rig_done(&r);
    }
    struct rig r; /* they do not wrap */
    rig_init(&r);
    set_position(&r.sim, UINT64_MAX - 3, UINT64_MAX - 3);
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(put(&r, 1, 10, NULL), ERR_TOO_BIG);
    rig_done(&r);
}

static void ten_thousand_segments(void **state)
{
    (void)state;
    enum { N = 10000 };
    struct rig r;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    for (uint32_t i = 1; i <= N; i++)
        assert_int_equal(put(&r, i, 3000, NULL), 0);
    assert_int_equal(spool_sync(r.spool), 0);
    reopen(&r);
    assert_int_equal(stats(&r).segments, N);
    assert_int_equal(stats(&r).frames, N);
    for (uint32_t i = 1; i <= N; i++) {
        assert_int_equal(get(&r), i);
        spool_settle(r.spool, r.frame.id);
        if (i % 1000 == 0)
            assert_int_equal(spool_checkpoint(r.spool), 0);
    }
    assert_int_equal(stats(&r).segments, 0);
    assert_int_equal(stats(&r).missing_frames, 0);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_back_in_order_and_once),
        cmocka_unit_test(what_is_not_synced_is_not_read),
        cmocka_unit_test(bounds),
        cmocka_unit_test(old_frames_expire),
        cmocka_unit_test(a_step_of_the_clock_expires_nothing),
        cmocka_unit_test(a_reader_without_room_waits),
        cmocka_unit_test(what_cannot_be_read_is_tried_again),
        cmocka_unit_test(a_bad_sector_costs_what_lies_on_it),
        cmocka_unit_test(a_start_that_cannot_read_cuts_nothing),
        cmocka_unit_test(a_start_without_room_is_broken),
        cmocka_unit_test(every_call_may_fail),
        cmocka_unit_test(any_byte_may_be_flipped),
        cmocka_unit_test(any_length_may_be_cut),
        cmocka_unit_test(damage_is_kept_aside),
        cmocka_unit_test(strange_directories),
        cmocka_unit_test(a_newer_version_is_not_touched),
        cmocka_unit_test(ids_at_the_edges),
        cmocka_unit_test(ten_thousand_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
