/* feeder: a ring of frames that are counted by their holders. */
#include "export/feeder.h"

#include <assert.h>
#include <stdlib.h>

#include "util/diag.h"

#define ARENA_FACTOR 17 /* of a frame's size: see the receiver */
#define ARENA_EXTRA_BYTES 65536

struct hand {
    struct spool_frame frame;
    struct buf payload; /* until it is walked */
    uint64_t born_ms;   /* monotonic: when its records were accepted; it may be "before 0" */
    uint32_t holders;
    bool has_records; /* else no batch holds it, though it may lie between two that are held */
};

struct feeder {
    struct feeder_opts opts;
    struct frame_owners owners;
    enum spool_loss open_loss; /* of frames that were not named yet */
    bool leaving;
    struct arena arena;

    /* Numbered as they come; [first, walked) wait for their batches, [walked, end) for us. */
    struct hand ring[SPOOL_WINDOW];
    uint64_t first, walked, end;
    uint32_t done_records; /* of frame `walked`, when the exporter was full in the midst of it */

    uint64_t settled[SPOOL_WINDOW];
    size_t settled_count;
    uint64_t unsound;
};

static struct hand *at(struct feeder *f, uint64_t number)
{
    return &f->ring[number % SPOOL_WINDOW];
}

/* ---- holders ------------------------------------------------------------ */

static void hold(void *ctx, uint64_t first, uint64_t last)
{
    struct feeder *f = ctx;
    for (uint64_t n = first; n <= last; n++)
        if (at(f, n)->has_records)
            at(f, n)->holders++;
}

static void release(struct feeder *f, struct hand *h)
{
    assert(h->holders > 0);
    if (--h->holders == 0 && !f->leaving)
        f->settled[f->settled_count++] = h->frame.id;
}

/* Hands without a holder are free, and their frames are settled. */
static void advance(struct feeder *f, bool had_settled)
{
    while (f->first < f->walked && at(f, f->first)->holders == 0)
        f->first++;
    if (!had_settled && f->settled_count > 0)
        f->opts.settled(f->opts.ctx);
}

static void drop(void *ctx, uint64_t first, uint64_t last)
{
    struct feeder *f = ctx;
    bool had_settled = f->settled_count > 0;
    for (uint64_t n = first; n <= last; n++)
        if (at(f, n)->has_records)
            release(f, at(f, n));
    advance(f, had_settled);
}

size_t feeder_settled(struct feeder *f, uint64_t *ids)
{
    size_t n = f->settled_count;
    if (n > 0)
        memcpy(ids, f->settled, n * sizeof *ids);
    f->settled_count = 0;
    return n;
}

bool feeder_has_settled(const struct feeder *f)
{
    return f->settled_count > 0;
}

/* ---- what was lost ------------------------------------------------------ */

static void settle_lost(struct feeder *f, uint64_t until_id, enum spool_loss why)
{
    static const enum fate fates[] = {
        [SPOOL_LOST_EXPIRED] = FATE_LOST_EXPIRED,
        [SPOOL_LOST_DROPPED] = FATE_LOST_DROPPED,
        [SPOOL_LOST_DAMAGED] = FATE_LOST_DAMAGED,
    };
    struct fate_settlement lost = {&f->opts.fates, fates[why]};
    frame_owners_until(&f->owners, until_id, fate_settle_part, &lost);
    if (feeder_is_idle(f))
        frame_owners_forget(&f->owners, until_id);
}

void feeder_lost(struct feeder *f, uint64_t until_id, enum spool_loss why)
{
    if (until_id == 0)
        f->open_loss = why;
    else
        settle_lost(f, until_id, why);
}

void feeder_drained(struct feeder *f, uint64_t stored_id)
{
    settle_lost(f, stored_id, f->open_loss);
}

/* ---- walking ------------------------------------------------------------ */

void feeder_take(struct feeder *f, const struct spool_frame *frame, struct buf *payload)
{
    assert(f->end - f->first < SPOOL_WINDOW); /* as the spool sees to it */
    settle_lost(f, frame->id, f->open_loss);
    frame_owners_until(&f->owners, frame->id + 1, NULL, NULL);
    struct hand *h = at(f, f->end++);
    *h = (struct hand){
        .frame = *frame,
        .born_ms = clock_now_ms(f->opts.clock) - frame->age_ms,
        .holders = 1,
    };
    buf_move(&h->payload, payload);
}

struct walk {
    struct feeder *f;
    struct hand *hand;
    uint32_t seen, resource_index, service;
    bool is_found, exporter_is_full;
    struct frame_owners_part part; /* of the ResourceLogs `part_index`, unless is_found */
    uint32_t part_index;
};

/* The service under which the records of that ResourceLogs were counted. */
static uint32_t service_of(struct walk *w, const struct logs_group *g)
{
    struct feeder *f = w->f;
    if (w->is_found)
        return f->opts.service(f->opts.ctx, g->service_name);
    do {
        bool is_known = frame_owners_next(&f->owners, &w->part);
        assert(is_known); /* a part was added for each ResourceLogs */
    } while (w->part_index++ < g->resource_index);
    return w->part.service;
}

static int on_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct walk *w = ctx;
    struct feeder *f = w->f;
    if (w->seen++ < f->done_records)
        return 0;
    if (g->resource_index != w->resource_index) {
        w->resource_index = g->resource_index;
        w->service = service_of(w, g);
    }
    w->hand->has_records = true;
    int rc = exporter_add(f->opts.exporter, f->opts.lane, g, record, (struct span){0}, w->service);
    if (rc < 0) {
        w->exporter_is_full = true;
        return rc;
    }
    f->done_records++;
    if (w->is_found)
        f->opts.found(f->opts.ctx, w->service, record, (size_t)rc);
    return 0;
}

/* 0, or a failure of memory: again later, from the same record on. */
static int walk(struct feeder *f)
{
    struct hand *h = at(f, f->walked);
    struct walk w = {
        .f = f,
        .hand = h,
        .resource_index = UINT32_MAX,
        .is_found = h->frame.id < f->opts.own_id,
    };
    struct logs_count count;
    int rc = 0;
    if (w.is_found && f->done_records == 0) /* ours were checked when they came */
        rc = logs_check(buf_span(&h->payload), &count);
    if (rc == 0 && !w.is_found)
        frame_owners_find(&f->owners, h->frame.id, &w.part);
    if (rc == 0) {
        struct batch_origin origin = {f, hold, drop, f->walked, f->walked};
        exporter_begin(f->opts.exporter, f->opts.lane, &origin,
                       clock_now_ms(f->opts.clock) - h->born_ms, h->payload.len);
        f->arena.max_bytes = ARENA_FACTOR * h->payload.len + ARENA_EXTRA_BYTES;
        struct span payload = buf_span(&h->payload);
        rc = logs_each_of_key(payload, batch_stored_key(payload), f->opts.seed, &f->arena,
                              on_record, &w);
        arena_reset(&f->arena);
    }
    if (w.exporter_is_full || rc == ERR_FULL || rc == ERR_NOMEM)
        return ERR_FULL;
    assert(rc == 0 || w.is_found);
    if (rc < 0) { /* sound bytes, but not logs: of another program, or another version */
        f->unsound++;
        diag(DIAG_WARN, "spool_unsound", "a frame of an earlier process is passed over",
             "frame=%llu bytes=%u", (unsigned long long)h->frame.id, h->frame.bytes);
    }
    return 0;
}

void feeder_run(struct feeder *f)
{
    while (f->walked < f->end && !f->leaving && walk(f) == 0) {
        struct hand *h = at(f, f->walked++);
        bool had_settled = f->settled_count > 0;
        f->done_records = 0;
        buf_done(&h->payload);
        frame_owners_forget(&f->owners, h->frame.id + 1);
        release(f, h);
        advance(f, had_settled);
    }
}

bool feeder_is_idle(const struct feeder *f)
{
    return f->walked == f->end;
}

uint64_t feeder_unsound(const struct feeder *f)
{
    return f->unsound;
}

uint64_t feeder_unfound(const struct feeder *f)
{
    uint64_t records = 0;
    for (uint64_t n = f->walked; n < f->end; n++) {
        const struct spool_frame *frame = &f->ring[n % SPOOL_WINDOW].frame;
        uint32_t done = n == f->walked ? f->done_records : 0;
        if (frame->id < f->opts.own_id && frame->records > done)
            records += frame->records - done;
    }
    return records;
}

/* ---- life --------------------------------------------------------------- */

struct frame_owners *feeder_owners(struct feeder *f)
{
    return &f->owners;
}

int feeder_new(struct feeder **out, const struct feeder_opts *opts)
{
    struct feeder *f = calloc(1, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    f->opts = *opts;
    f->open_loss = SPOOL_LOST_DAMAGED;
    frame_owners_init(&f->owners, opts->owners_bytes, opts->budget);
    arena_init(&f->arena, ARENA_EXTRA_BYTES, opts->budget);
    *out = f;
    return 0;
}

void feeder_leave(struct feeder *f)
{
    f->leaving = true;
}

void feeder_free(struct feeder *f)
{
    if (f == NULL)
        return;
    for (; f->walked < f->end; f->walked++)
        buf_done(&at(f, f->walked)->payload);
    arena_done(&f->arena);
    frame_owners_done(&f->owners);
    free(f);
}
