/*
 * The spool against an ideal model, through every crash that its disk allows.
 *
 * Sequences of random operations, faults among them, on the simulated disk. At many
 * points crash states are drawn; in each of them the spool must start, and must give
 *   - every stored frame that is not settled, with its bytes and in order;
 *   - none that was never appended;
 *   - of the settled ones at most those since the last checkpoint, after a kill none;
 *   - none that was refused, once a newer frame was stored.
 * LIPSERVICE_STATES says how many states, LIPSERVICE_SEED where to begin.
 */
#include "unit/test.h"

#include <errno.h>
#include <stdlib.h>

#include "export/spool.h"
#include "unit/export/sim_disk.h"

#define STATES_DEFAULT 100000
#define IDS 4096 /* more than a sequence appends */
#define OPS 60
#define STATES_A_POINT 6

/* ---- the ideal ---------------------------------------------------------- */

enum model_state { NONE, APPENDED, STORED, REFUSED, SETTLED };

struct model_frame {
    enum model_state state;
    bool settled_durably, in_hand;
    bool excused; /* settled, and since then the position could not be written */
    uint32_t bytes, records;
    uint64_t seed, accepted;
};

struct model {
    struct model_frame frames[IDS];
    bool drops;   /* frames in hand may be gone with their segment */
    bool unnamed; /* frames were dropped without their ids */
    uint64_t position_errors;
    uint64_t duplicates, states;
    struct rng rng;
};

static void model_bytes(const struct model_frame *f, uint8_t *out)
{
    struct rng r = {f->seed};
    memset(out, 0, f->bytes);
    for (uint32_t i = 0; i + 8 <= f->bytes; i += 8) {
        uint64_t word = i % 64 == 0 ? rng_next(&r) : 0;
        memcpy(out + i, &word, 8);
    }
    if (f->bytes >= 200)
        memcpy(out + 100, "LSPF\0\0\0\0\1\0\0\0\0\0\0", 16); /* as if a frame began */
}

static void model_became(struct model *m, enum model_state from, enum model_state to)
{
    for (size_t i = 0; i < IDS; i++)
        if (m->frames[i].state == from)
            m->frames[i].state = to;
}

static void model_lost(void *ctx, const struct spool_frame *f, uint64_t frames, uint64_t records,
                       enum spool_loss why)
{
    struct model *m = ctx;
    if (why == SPOOL_LOST_DAMAGED && f != NULL && m->frames[f->id].state == NONE)
        return; /* what a power loss left of a frame that was never stored */
    assert_row(m->drops && why == SPOOL_LOST_DROPPED, "%llu frames lost by %d",
               (unsigned long long)frames, why);
    if (f == NULL) { /* the oldest, by a disk that cannot be read */
        m->unnamed = true;
        return;
    }
    assert_int_equal(records, f->records);
    assert_int_equal(m->frames[f->id].state, STORED);
    m->frames[f->id].state = SETTLED;
    m->frames[f->id].settled_durably = false;
}

/* May this frame be read now? After a crash of that kind. */
static bool model_allows(const struct model *m, uint64_t id, enum sim_crash how)
{
    const struct model_frame *f = &m->frames[id];
    if (f->state == REFUSED)
        for (size_t i = id + 1; i < IDS; i++)
            if (m->frames[i].state == STORED || m->frames[i].state == SETTLED)
                return false;
    if (f->state == SETTLED)
        return f->excused || (!f->settled_durably && how != SIM_KILL);
    return f->state != NONE;
}

static bool model_is_same(const struct model *m, const struct spool_frame *got,
                          const struct buf *payload)
{
    static uint8_t expected[1 << 16];
    const struct model_frame *f = &m->frames[got->id];
    model_bytes(f, expected);
    return got->records == f->records && got->accepted_unix_ns == f->accepted &&
           payload->len == f->bytes && memcmp(payload->base, expected, f->bytes) == 0;
}

/* ---- states ------------------------------------------------------------- */

struct rig {
    struct sim sim;
    struct spool *spool;
    struct model model;
    struct clock_fake clock;
    struct spool_opts opts;
    struct buf payload;
    uint64_t seed;
};

static void rig_open(struct rig *r, struct spool **out, struct sim *sim,
                     const struct spool_opts *opts)
{
    struct disk disk = sim_disk(sim);
    struct error err = {{0}};
    int rc = spool_open(out, &disk, opts, &err);
    assert_row(rc == 0, "seed %llu: open: %d %s", (unsigned long long)r->seed, rc, err.text);
}

/* Start on a crashed disk, read it out, compare. seen[id]: it was read. */
static void check_state(struct rig *r, struct sim *sim, enum sim_crash how, bool seen[IDS])
{
    struct model *m = &r->model;
    struct spool_opts opts = r->opts;
    struct spool *s;
    struct spool_frame f;
    uint64_t last = 0;
    int rc;
    opts.lost = NULL;
    memset(seen, 0, IDS);
    rig_open(r, &s, sim, &opts);
    while ((rc = spool_next(s, &f, &r->payload)) == 0) {
        assert_row(f.id > last && f.id < IDS, "seed %llu: id %llu after %llu",
                   (unsigned long long)r->seed, (unsigned long long)f.id, (unsigned long long)last);
        assert_row(model_allows(m, f.id, how), "seed %llu: crash %d, id %llu in state %d was read",
                   (unsigned long long)r->seed, how, (unsigned long long)f.id,
                   m->frames[f.id].state);
        assert_row(model_is_same(m, &f, &r->payload), "seed %llu: id %llu has other bytes",
                   (unsigned long long)r->seed, (unsigned long long)f.id);
        m->duplicates += m->frames[f.id].state == SETTLED;
        last = f.id;
        seen[f.id] = true;
        spool_settle(s, f.id);
    }
    assert_int_equal(rc, ERR_EMPTY);
    for (size_t i = 0; i < IDS; i++)
        assert_row(m->frames[i].state != STORED || seen[i] || (m->drops && m->frames[i].in_hand),
                   "seed %llu: crash %d: stored frame %zu is gone", (unsigned long long)r->seed,
                   how, i);
    struct spool_stats st;
    spool_stats(s, &st);
    assert_true(st.next_id > last);
    assert_int_equal(st.frames, 0);
    assert_int_equal(st.records, 0);
    assert_int_equal(st.lost_frames[SPOOL_LOST_DROPPED], 0);
    spool_close(s);
    m->states++;
}

static void check_states(struct rig *r, int n)
{
    bool seen[IDS];
    for (int i = 0; i < n; i++) {
        struct sim crashed;
        enum sim_crash how = (enum sim_crash)rng_upto(&r->model.rng, SIM_CRASHES - 1);
        sim_crash(&crashed, &r->sim, how, &r->model.rng);
        check_state(r, &crashed, how, seen);
        sim_done(&crashed);
    }
}

/* Crash, and go on with what is found. */
static void crash(struct rig *r)
{
    bool seen[IDS];
    struct sim crashed, twin;
    struct rng same;
    enum sim_crash how = (enum sim_crash)rng_upto(&r->model.rng, SIM_CRASHES - 1);
    same = r->model.rng;
    sim_crash(&crashed, &r->sim, how, &r->model.rng);
    sim_crash(&twin, &r->sim, how, &same);
    check_state(r, &twin, how, seen);
    sim_done(&twin);
    if (how == SIM_KILL) { /* the machine did not stop: what was not durable still is not */
        sim_done(&crashed);
        sim_clone(&crashed, &r->sim);
    }
    spool_close(r->spool); /* of the disk that is no more */
    sim_done(&r->sim);
    r->sim = crashed;
    for (size_t i = 0; i < IDS; i++) {
        struct model_frame *f = &r->model.frames[i];
        f->in_hand = f->excused = false;
        if (seen[i])
            f->state = STORED;
        else if (f->state == SETTLED || f->state == STORED)
            f->settled_durably = how != SIM_KILL || f->settled_durably, f->state = SETTLED;
        else
            f->state = NONE;
    }
    r->model.position_errors = 0;
    rig_open(r, &r->spool, &r->sim, &r->opts);
}

/* ---- operations --------------------------------------------------------- */

static void append(struct rig *r)
{
    struct rng *rng = &r->model.rng;
    static const uint32_t sizes[] = {0, 1, 60, 300, 700, 1500, 3000, 9000};
    struct model_frame f = {
        .state = APPENDED,
        .bytes = (uint32_t)(sizes[rng_upto(rng, ARRAY_LEN(sizes) - 1)] + rng_upto(rng, 40)),
        .records = (uint32_t)rng_upto(rng, 50),
        .accepted = rng_next(rng),
        .seed = rng_next(rng),
    };
    static uint8_t bytes[1 << 16];
    struct spool_stats st;
    uint64_t id = 0;
    model_bytes(&f, bytes);
    size_t cut = rng_upto(rng, f.bytes);
    const struct span spans[] = {{bytes, cut}, {bytes, 0}, {bytes + cut, f.bytes - cut}};
    spool_stats(r->spool, &st);
    if (st.next_id + 40 > IDS)
        return;
    /* A failed write may stand in the file: the model must know those bytes. */
    int rc = spool_append(r->spool, spans, ARRAY_LEN(spans), f.records, f.accepted, &id);
    if (rc == 0) {
        assert_true(id >= st.next_id);
        r->model.frames[id] = f;
        for (size_t i = 0; i < IDS; i++) /* rolled: what was before is stored */
            if (r->model.frames[i].state == APPENDED && i < spool_stored(r->spool))
                r->model.frames[i].state = STORED;
    } else if (rc == ERR_FULL || rc == ERR_TOO_BIG) {
        for (size_t i = 0; i < spool_stored(r->spool); i++)
            if (r->model.frames[i].state == APPENDED)
                r->model.frames[i].state = STORED;
    } else {
        assert_true(rc == ERR_IO || rc == ERR_DISK_FULL);
        for (size_t i = 0; i < IDS; i++)
            if (r->model.frames[i].state == APPENDED)
                r->model.frames[i].state = i < spool_stored(r->spool) ? STORED : REFUSED;
        struct spool_stats after;
        spool_stats(r->spool, &after);
        assert_int_not_equal(after.broken, 0);
        if (after.next_id > st.next_id) { /* it was given an id before it failed */
            f.state = REFUSED;
            r->model.frames[after.next_id - 1] = f;
        }
    }
}

static void sync_all(struct rig *r)
{
    int rc = spool_sync(r->spool);
    model_became(&r->model, APPENDED, rc == 0 ? STORED : REFUSED);
    assert_true(rc == 0 || r->sim.fail_at > 0);
}

static void read_one(struct rig *r)
{
    struct spool_frame f;
    int rc = spool_next(r->spool, &f, &r->payload);
    if (rc < 0) {
        assert_true(rc == ERR_EMPTY || rc == ERR_IO);
        return;
    }
    assert_row(r->model.frames[f.id].state == STORED && !r->model.frames[f.id].in_hand,
               "seed %llu: id %llu in state %d was read", (unsigned long long)r->seed,
               (unsigned long long)f.id, r->model.frames[f.id].state);
    assert_true(model_is_same(&r->model, &f, &r->payload));
    r->model.frames[f.id].in_hand = true;
}

static void settle_one(struct rig *r)
{
    size_t from = rng_upto(&r->model.rng, 3); /* the n-th in hand */
    for (size_t i = 0; i < IDS; i++) {
        struct model_frame *f = &r->model.frames[i];
        if (!f->in_hand || f->state != STORED || from-- > 0)
            continue;
        spool_settle(r->spool, i);
        f->in_hand = false;
        f->state = SETTLED;
        f->settled_durably = false;
        return;
    }
}

static void checkpoint(struct rig *r)
{
    if (spool_checkpoint(r->spool) == 0)
        for (size_t i = 0; i < IDS; i++)
            r->model.frames[i].settled_durably |= r->model.frames[i].state == SETTLED;
}

/* A write of the position that failed has spoilt what was written since the last sync. */
static void look_at_position(struct rig *r)
{
    struct spool_stats st;
    spool_stats(r->spool, &st);
    for (size_t i = 0; r->model.unnamed && i < st.settled_id; i++)
        if (r->model.frames[i].state == STORED) {
            r->model.frames[i].state = SETTLED;
            r->model.frames[i].excused = true;
        }
    r->model.unnamed = false;
    if (st.position_errors > r->model.position_errors)
        for (size_t i = 0; i < IDS; i++)
            r->model.frames[i].excused |=
                r->model.frames[i].state == SETTLED && !r->model.frames[i].settled_durably;
    r->model.position_errors = st.position_errors;
}

static void (*const operations[])(struct rig *r) = {
    append,   append,   append,     append,     sync_all,   sync_all,   read_one,
    read_one, read_one, settle_one, settle_one, settle_one, checkpoint,
};

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* One sequence. Every other one has writes that fail; reads do not, in the model. */
static void run_sequence(struct rig *r, uint64_t seed)
{
    static const int codes[] = {-EIO, -ENOSPC, SIM_SHORT, -EINTR};
    struct rng *rng = &r->model.rng;
    uint64_t states = r->model.states, duplicates = r->model.duplicates;
    memset(&r->model, 0, sizeof r->model);
    r->model.states = states;
    r->model.duplicates = duplicates;
    r->seed = seed;
    rng->state = seed;
    sim_init(&r->sim, seed);
    r->sim.cannot_allocate = rng_upto(rng, 3) == 0;
    clock_fake_init(&r->clock, 1, 1);
    r->opts = (struct spool_opts){
        .segment_bytes = 4096,
        .salt = (uint32_t)rng_next(rng) | 1,
        .clock = &r->clock.clock,
        .ctx = &r->model,
        .lost = model_lost,
    };
    r->model.drops = rng_upto(rng, 3) == 0;
    if (r->model.drops || rng_upto(rng, 3) == 0)
        r->opts.max_bytes = 40000;
    r->opts.drops_oldest = r->model.drops;
    bool faulty = rng_upto(rng, 1) == 0;
    rig_open(r, &r->spool, &r->sim, &r->opts);
    for (int i = 0; i < OPS; i++) {
        size_t which = rng_upto(rng, ARRAY_LEN(operations) - 1);
        bool writes = operations[which] == append || operations[which] == sync_all;
        if (faulty && writes && rng_upto(rng, 4) == 0) {
            r->sim.fail_at = r->sim.calls + 1 + rng_upto(rng, 4);
            r->sim.fail_code = codes[rng_upto(rng, ARRAY_LEN(codes) - 1)];
            r->sim.fail_for_ever = r->sim.fail_code != -EINTR && r->sim.fail_code != SIM_SHORT &&
                                   rng_upto(rng, 1) == 0;
        }
        operations[which](r);
        r->sim.fail_at = 0;
        look_at_position(r);
        if (rng_upto(rng, 1) == 0)
            check_states(r, STATES_A_POINT);
        if (rng_upto(rng, 30) == 0)
            crash(r);
    }
    spool_close(r->spool);
    sim_done(&r->sim);
}

static void every_crash_state_is_sound(void **state)
{
    (void)state;
    struct rig *r = calloc(1, sizeof *r);
    uint64_t seed = number("LIPSERVICE_SEED", 1),
             states = number("LIPSERVICE_STATES", STATES_DEFAULT);
    print_message("seeds from %llu\n", (unsigned long long)seed);
    while (r->model.states < states)
        run_sequence(r, seed++);
    print_message("%llu crash states, %llu frames sent twice, seeds up to %llu\n",
                  (unsigned long long)r->model.states, (unsigned long long)r->model.duplicates,
                  (unsigned long long)seed - 1);
    buf_done(&r->payload);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_crash_state_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
