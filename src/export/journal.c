/* journal: groups, waiters, and when the next job is due. */
#include "export/journal.h"

#include <assert.h>
#include <stdlib.h>

#include "export/feeder.h"
#include "export/journal_job.h"
#include "export/journal_log.h"

#define TICK_MS 250 /* between write probes of a failed disk, and between checkpoints */
#define CHECKPOINT_MS \
    2000                 /* two syncs: seldom enough to miss the slowest hundredth of the answers */
#define BACKLOG_DELAYS 4 /* with more frames waiting than may be in hand, commits wait longer */
#define LOW_ROOM 8       /* an eighth of max_bytes: settled segments are removed at once */
#define FEW_SHARE 5      /* with less than a fifth in use they may stay for a while */

struct journal {
    struct journal_opts opts;
    struct feeder *feeder; /* NULL until journal_start() */
    struct exporter *exporter;
    uv_timer_t commit_timer, tick_timer;

    struct batch_builder *builder; /* of the open group */
    uint64_t open_number, open_since_ms, open_accepted_ns;
    struct list closed; /* groups that wait for the next job */
    size_t held_bytes;  /* of groups closed and in the job */
    uint64_t held_records;
    uint64_t lazy_records; /* stored, and not synced */
    bool is_due;           /* the open group has waited enough */

    struct list waiters;                  /* in the order of their last groups */
    uint64_t touched_first, touched_last; /* by the request in hand; 0: none */
    int touched_rc;

    struct uv_work_s work;
    bool is_busy, is_closing;
    struct journal_job job;
    uint64_t checkpoint_ms, sync_ms;
    bool wants_checkpoint, wants_probe;
    bool is_dirty;       /* something was written or settled since the last checkpoint */
    bool read_failed;    /* the disk did not give it: again with the next tick */
    bool read_waits;     /* reading makes no sense before something changes */
    uint64_t drained_id; /* nothing was there to read below it */
    struct journal_stats stats;
    struct journal_log log;
};

static void kick(struct journal *j);

static uint64_t now_ms(const struct journal *j)
{
    return clock_now_ms(j->opts.clock);
}

static size_t held_bytes(const struct journal *j)
{
    return j->held_bytes + batch_builder_bytes(j->builder);
}

/* ---- waiters ------------------------------------------------------------ */

void journal_begin(struct journal *j)
{
    j->touched_first = j->touched_last = 0;
    j->touched_rc = 0;
}

int journal_wait(struct journal *j, struct journal_waiter *w)
{
    if (!list_is_empty(&j->closed))
        kick(j);
    if (j->touched_rc < 0)
        return j->touched_rc;
    if (j->touched_first == 0)
        return 0;
    w->first = j->touched_first;
    w->last = j->touched_last;
    w->rc = 0;
    list_append(&j->waiters, &w->link);
    return 1;
}

void journal_forget(struct journal_waiter *w)
{
    list_remove(&w->link);
}

/* Group `number` has failed: so have the waiters with records in it. */
static void mark_failed(struct journal *j, uint64_t number, int rc)
{
    LIST_EACH (node, &j->waiters) {
        struct journal_waiter *w = container_of(node, struct journal_waiter, link);
        if (w->first > number)
            break;
        if (number <= w->last)
            w->rc = rc;
    }
    if (j->touched_first > 0 && j->touched_first <= number && number <= j->touched_last)
        j->touched_rc = rc;
}

/* Every group up to `number` is stored or failed: wake its waiters. */
static void wake_waiters(struct journal *j, uint64_t number)
{
    while (!list_is_empty(&j->waiters)) {
        struct journal_waiter *w = container_of(j->waiters.next, struct journal_waiter, link);
        if (w->last > number)
            break;
        list_remove(&w->link);
        w->done(w, w->rc);
    }
}

/* ---- groups ------------------------------------------------------------- */

static void lose(struct journal *j, uint64_t number, int rc)
{
    j->stats.failed_commits++;
    mark_failed(j, number, rc);
}

/* Make what is collected a group. Where memory fails, its records are not kept after all. */
static void close_group(struct journal *j)
{
    uint64_t number = j->open_number;
    struct batch *batch = NULL;
    if (batch_builder_records(j->builder) == 0)
        return;
    j->open_number++;
    j->is_due = false;
    uv_timer_stop(&j->commit_timer);
    struct journal_group *g = calloc(1, sizeof *g);
    int rc = g == NULL ? ERR_NOMEM : batch_seal(j->builder, &batch);
    if (rc < 0) {
        struct fate_settlement lost = {&j->opts.fates, FATE_LOST_DISK};
        free(g);
        batch_builder_each_service(j->builder, fate_settle_part, &lost);
        batch_builder_clear(j->builder);
        lose(j, number, rc); /* its waiters are woken with the next group's, or by the tick */
        return;
    }
    batch_store_key(batch);
    *g = (struct journal_group){
        .number = number, .accepted_unix_ns = j->open_accepted_ns, .batch = batch};
    j->held_bytes += batch->body.len;
    j->held_records += batch->records;
    list_append(&j->closed, &g->link);
}

static void on_commit_due(uv_timer_t *timer)
{
    struct journal *j = container_of(timer, struct journal, commit_timer);
    j->is_due = true;
    kick(j);
}

/* With a backlog these records wait in any case, and small frames
 * would fill the window of the reader. */
static uint64_t commit_delay_ms(const struct journal *j)
{
    const struct spool_stats *s = &j->stats.spool;
    return s->frames > 2 * SPOOL_WINDOW ? (uint64_t)BACKLOG_DELAYS * j->opts.commit_delay_ms
                                        : j->opts.commit_delay_ms;
}

int journal_add(struct journal *j, const struct logs_group *g, struct span record,
                struct span stamp, uint32_t service)
{
    size_t before = batch_builder_bytes(j->builder);
    int rc = batch_add(j->builder, g, record, stamp, service);
    if (rc == ERR_TOO_BIG) {
        close_group(j); /* not written before the request is over: one sync for all of it */
        before = 0;
        rc = batch_add(j->builder, g, record, stamp, service);
    }
    if (rc < 0) {
        j->touched_rc = rc;
        return rc;
    }
    if (batch_builder_records(j->builder) == 1) {
        j->open_since_ms = now_ms(j);
        j->open_accepted_ns = clock_unix_ns(j->opts.clock);
        uv_timer_start(&j->commit_timer, on_commit_due, commit_delay_ms(j), 0);
    }
    if (j->touched_first == 0)
        j->touched_first = j->open_number;
    j->touched_last = j->open_number;
    return (int)(batch_builder_bytes(j->builder) - before);
}

void journal_flush(struct journal *j)
{
    close_group(j);
    kick(j);
}

/* ---- after a job -------------------------------------------------------- */

static void log_state(struct journal *j)
{
    j->stats.is_full = !j->opts.drops_oldest && j->opts.max_bytes > 0 &&
                       j->stats.spool.room_bytes < j->opts.commit_bytes;
    journal_log_state(&j->log, &j->job, &j->stats.spool, j->stats.is_full, &j->opts);
}

/* What became of the groups; the number of the last. */
static uint64_t end_groups(struct journal *j)
{
    struct journal_job *job = &j->job;
    uint64_t last = 0;
    LIST_EACH (node, &job->groups) {
        struct journal_group *g = container_of(node, struct journal_group, link);
        list_remove(&g->link);
        last = g->number;
        j->held_bytes -= g->batch->body.len;
        j->held_records -= g->batch->records;
        struct frame_owners *owners = j->feeder != NULL ? feeder_owners(j->feeder) : NULL;
        if (g->rc == 0) {
            j->stats.commits++;
            j->stats.commit_records += g->batch->records;
            j->stats.commit_bytes += g->batch->body.len;
            if (j->opts.fsync != FSYNC_ALWAYS && !job->has_synced)
                j->lazy_records += g->batch->records;
            if (owners != NULL)
                frame_owners_add(owners, g->id, g->batch->parts, g->batch->part_count);
        } else {
            struct fate_settlement lost = {&j->opts.fates, FATE_LOST_DISK};
            batch_each_service(g->batch, fate_settle_part, &lost);
            lose(j, g->number, g->rc);
        }
        batch_free(g->batch);
        free(g);
    }
    return last;
}

static void take_events(struct journal *j)
{
    struct journal_job *job = &j->job;
    for (size_t i = 0; i < job->event_count; i++) {
        struct journal_event *e = &job->events[i];
        if (e->is_loss)
            feeder_lost(j->feeder, e->until_id, e->why);
        else
            feeder_take(j->feeder, &e->frame, &e->payload);
    }
    if (job->read_rc == ERR_EMPTY ||
        job->stats.frames == job->stats.in_hand) /* also when the last of them was given up */
        feeder_drained(j->feeder, job->stored_id);
    if (job->read_rc == ERR_EMPTY)
        j->drained_id = job->stats.next_id;
    j->read_failed = job->read_rc == ERR_IO;
    j->read_waits = j->read_failed || job->read_rc == ERR_FULL;
    if (job->read_rc == ERR_FULL &&
        j->exporter != NULL) /* the window is full of records that wait for company */
        exporter_flush(j->exporter);
}

static void count_sync(struct journal *j)
{
    const struct journal_job *job = &j->job;
    if (job->sync_ns == 0)
        return;
    j->stats.syncs++;
    j->stats.sync_ns += job->sync_ns;
    if (job->sync_ns > j->stats.sync_max_ns)
        j->stats.sync_max_ns = job->sync_ns;
    if (job->has_synced)
        j->lazy_records = 0;
}

static void end_closing(struct journal *j)
{
    j->stats.is_closed = true;
    wake_waiters(j, UINT64_MAX);
    uv_close((uv_handle_t *)&j->commit_timer, NULL);
    uv_close((uv_handle_t *)&j->tick_timer, NULL);
}

static void on_job_done(uv_work_t *work, int status)
{
    struct journal *j = container_of(work, struct journal, work);
    (void)status; /* never cancelled */
    j->is_busy = false;
    j->stats.spool = j->job.stats;
    count_sync(j);
    uint64_t last = end_groups(j);
    if (j->feeder != NULL)
        take_events(j);
    log_state(j);
    if (last > 0)
        wake_waiters(j, last);
    if (j->job.spool == NULL) {
        end_closing(j);
        return;
    }
    kick(j); /* what came meanwhile is on its way to the disk while we encode what was read */
    if (j->feeder != NULL)
        feeder_run(j->feeder);
    kick(j);
}

static void on_job(uv_work_t *work)
{
    journal_job_run(&container_of(work, struct journal, work)->job);
}

/* ---- the next job ------------------------------------------------------- */

/* Room for what has to be remembered of the groups; those without are lost. */
static void reserve_owners(struct journal *j)
{
    size_t parts = 0;
    LIST_EACH (node, &j->job.groups)
        parts += 1 + container_of(node, struct journal_group, link)->batch->part_count;
    if (j->feeder == NULL || frame_owners_reserve(feeder_owners(j->feeder), parts) == 0)
        return;
    LIST_EACH (node, &j->job.groups) {
        struct journal_group *g = container_of(node, struct journal_group, link);
        g->rc = ERR_FULL;
    }
}

static bool is_reading_due(const struct journal *j)
{
    const struct spool_stats *s = &j->stats.spool;
    return j->exporter != NULL && !j->read_waits && !j->is_closing && s->frames > s->in_hand &&
           s->next_id != j->drained_id && feeder_is_idle(j->feeder) &&
           exporter_is_hungry(j->exporter, j->opts.lane);
}

/* The time of the open group has come, or others are written anyway. */
static bool is_commit_due(const struct journal *j)
{
    return !list_is_empty(&j->closed) ||
           (batch_builder_records(j->builder) > 0 &&
            (j->is_due || j->is_closing ||
             batch_builder_bytes(j->builder) >= j->opts.commit_bytes ||
             now_ms(j) - j->open_since_ms >= commit_delay_ms(j)));
}

static bool is_sync_due(const struct journal *j, bool writes)
{
    if (j->opts.fsync == FSYNC_ALWAYS || j->is_closing)
        return writes || j->is_closing;
    if (j->opts.fsync == FSYNC_NEVER)
        return false;
    return (writes || j->lazy_records > 0) && now_ms(j) - j->sync_ms >= j->opts.fsync_interval_ms;
}

/* Settled segments stand in the way: of what comes, or of a true fullness. */
static bool wants_room(const struct journal *j)
{
    uint64_t room = j->stats.spool.room_bytes, max = j->opts.max_bytes;
    return max > 0 && (room < max / LOW_ROOM ||
                       (room < max - max / FEW_SHARE && now_ms(j) - j->checkpoint_ms >= TICK_MS));
}

static void kick(struct journal *j)
{
    struct journal_job *job = &j->job;
    if (j->is_busy || j->stats.is_closed)
        return;
    bool writes = is_commit_due(j);
    if (writes)
        close_group(j);
    job->settled_count = j->feeder != NULL ? feeder_settled(j->feeder, job->settled) : 0;
    if (job->settled_count > 0)
        j->read_waits = false;
    job->checkpoints = j->wants_checkpoint || (job->settled_count > 0 && wants_room(j));
    job->probes = j->wants_probe && !writes;
    job->syncs = is_sync_due(j, writes || job->probes);
    job->closes = j->is_closing;
    job->read_bytes = is_reading_due(j) ? JOURNAL_READ_BYTES : 0;
    if (!writes && !job->syncs && job->settled_count == 0 && !job->checkpoints && !job->probes &&
        job->read_bytes == 0)
        return;
    while (!list_is_empty(&j->closed)) {
        struct list *node = j->closed.next;
        list_remove(node);
        list_append(&job->groups, node);
    }
    reserve_owners(j);
    j->wants_probe = j->wants_checkpoint = false;
    j->is_dirty |= writes || job->settled_count > 0;
    if (job->checkpoints) {
        j->checkpoint_ms = now_ms(j);
        j->is_dirty = false;
    }
    if (job->syncs)
        j->sync_ms = now_ms(j);
    j->is_busy = true;
    uv_queue_work(j->tick_timer.loop, &j->work, on_job, on_job_done);
}

/* Probes, checkpoints, and reads that failed. */
static void on_tick(uv_timer_t *timer)
{
    struct journal *j = container_of(timer, struct journal, tick_timer);
    j->wants_probe = j->stats.spool.broken != 0;
    if (now_ms(j) - j->checkpoint_ms >= CHECKPOINT_MS)
        j->wants_checkpoint = j->is_dirty;
    if (!j->is_busy && list_is_empty(&j->closed))
        wake_waiters(j, j->open_number - 1); /* of a group that memory was too short for */
    if (j->read_failed)
        j->read_failed = j->read_waits = false;
    if (j->feeder != NULL && !j->is_busy)
        feeder_run(j->feeder);
    kick(j);
}

static void on_settled(void *ctx)
{
    kick(ctx);
}

/* ---- looking ------------------------------------------------------------ */

int journal_admit(const struct journal *j, size_t bytes)
{
    const struct spool_stats *s = &j->stats.spool;
    size_t held = held_bytes(j);
    if (j->is_closing)
        return ERR_FULL;
    if (s->broken != 0)
        return s->broken;
    if (j->opts.max_bytes > 0 && bytes > j->opts.max_bytes / 2)
        return ERR_TOO_BIG;
    if (j->feeder != NULL && frame_owners_is_full(feeder_owners(j->feeder)))
        return ERR_FULL;
    if (held > 0 && held + bytes > j->opts.max_held_bytes)
        return ERR_FULL;
    return !j->opts.drops_oldest && held + bytes > s->room_bytes ? ERR_FULL : 0;
}

double journal_fullness(const struct journal *j)
{
    const struct spool_stats *s = &j->stats.spool;
    double max = (double)j->opts.max_bytes;
    double held = (double)held_bytes(j);
    if (j->opts.max_bytes == 0)
        return held / (double)j->opts.max_held_bytes;
    double used = (held + max - (double)s->room_bytes) / max;
    double memory = held / (double)j->opts.max_held_bytes;
    return used > memory ? used : memory;
}

bool journal_is_idle(const struct journal *j)
{
    return !j->is_busy && batch_builder_records(j->builder) == 0 && list_is_empty(&j->closed) &&
           list_is_empty(&j->waiters) && j->stats.spool.frames == 0 &&
           (j->feeder == NULL || (feeder_is_idle(j->feeder) && !feeder_has_settled(j->feeder)));
}

void journal_stats(const struct journal *j, struct journal_stats *out)
{
    *out = j->stats;
    out->unstored_records = j->held_records + batch_builder_records(j->builder);
    out->unsynced_records = out->unstored_records + j->lazy_records;
    out->held_bytes = held_bytes(j);
    out->unfound_records =
        out->spool.earlier_records + (j->feeder != NULL ? feeder_unfound(j->feeder) : 0);
    out->unsound_frames = j->feeder != NULL ? feeder_unsound(j->feeder) : 0;
}

/* ---- life --------------------------------------------------------------- */

static uint32_t service_of(void *ctx, struct span name)
{
    struct journal *j = ctx;
    return j->opts.service(j->opts.ctx, name);
}

static void on_found(void *ctx, uint32_t service, struct span record, size_t bytes)
{
    struct journal *j = ctx;
    j->stats.found_records++;
    j->opts.found(j->opts.ctx, service, record, bytes);
}

int journal_start(struct journal *j, struct exporter *x)
{
    const struct feeder_opts opts = {
        .exporter = x,
        .budget = j->opts.budget,
        .clock = j->opts.clock,
        .fates = j->opts.fates,
        .own_id = j->stats.spool.next_id,
        .seed = j->opts.seed,
        .owners_bytes = j->opts.owners_bytes,
        .lane = j->opts.lane,
        .ctx = j,
        .service = service_of,
        .found = on_found,
        .settled = on_settled,
    };
    int rc = feeder_new(&j->feeder, &opts);
    if (rc < 0)
        return rc;
    j->exporter = x;
    kick(j);
    return 0;
}

static void timers_start(struct journal *j, uv_loop_t *loop)
{
    uint64_t tick_ms = TICK_MS;
    if (j->opts.fsync == FSYNC_INTERVAL && j->opts.fsync_interval_ms < tick_ms)
        tick_ms = j->opts.fsync_interval_ms;
    uv_timer_init(loop, &j->commit_timer);
    uv_timer_init(loop, &j->tick_timer);
    uv_timer_start(&j->tick_timer, on_tick, tick_ms, tick_ms);
    j->checkpoint_ms = j->sync_ms = now_ms(j);
}

int journal_open(struct journal **out, uv_loop_t *loop, struct disk *disk,
                 const struct journal_opts *opts, struct error *err)
{
    struct journal *j = calloc(1, sizeof *j);
    struct batch_opts batch = {.max_bytes = opts->commit_bytes, .budget = opts->budget};
    int rc = ERR_NOMEM;
    if (j == NULL)
        goto fail;
    j->opts = *opts;
    j->open_number = 1;
    list_init(&j->closed);
    list_init(&j->waiters);
    list_init(&j->job.groups);
    j->builder = batch_builder_new(&batch);
    if (j->builder == NULL)
        goto fail;
    rc = budget_take(opts->budget, JOURNAL_READ_BYTES);
    if (rc < 0)
        goto fail;
    const struct spool_opts spool = {
        .max_bytes = opts->max_bytes,
        .max_age_ns = opts->max_age_ms * 1000000,
        .segment_bytes = opts->segment_bytes,
        .drops_oldest = opts->drops_oldest,
        .lazy = opts->fsync != FSYNC_ALWAYS,
        .clock = opts->clock,
        .ctx = &j->job,
        .lost = journal_job_lost,
        .damaged = journal_job_damaged,
    };
    rc = spool_open(&j->job.spool, disk, &spool, err);
    if (rc < 0) {
        budget_give(opts->budget, JOURNAL_READ_BYTES);
        goto fail_opened;
    }
    spool_stats(j->job.spool, &j->stats.spool);
    log_state(j);
    timers_start(j, loop);
    *out = j;
    return 0;

fail:
    disk_close(disk);
fail_opened:
    if (j != NULL)
        batch_builder_free(j->builder);
    free(j);
    return rc;
}

void journal_close(struct journal *j)
{
    if (j == NULL || j->is_closing)
        return;
    j->is_closing = true;
    uv_timer_stop(&j->tick_timer);
    kick(j);
}

void journal_leave(struct journal *j)
{
    if (j == NULL || j->exporter == NULL)
        return;
    feeder_leave(j->feeder);
    j->exporter = NULL;
}

void journal_free(struct journal *j)
{
    if (j == NULL)
        return;
    assert(j->stats.is_closed);
    feeder_free(j->feeder);
    batch_builder_free(j->builder);
    budget_give(j->opts.budget, JOURNAL_READ_BYTES);
    free(j);
}
