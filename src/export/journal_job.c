/* journal_job: in the thread pool. */
#include "export/journal_job.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "util/clock.h"

/* ---- reading ------------------------------------------------------------ */

void journal_job_lost(void *ctx, const struct spool_frame *frame, uint64_t frames, uint64_t records,
                      enum spool_loss why)
{
    struct journal_job *job = ctx;
    struct journal_event *last = job->event_count == 0 ? NULL : &job->events[job->event_count - 1];
    uint64_t until = frame == NULL ? 0 : frame->id + 1;
    (void)frames;
    (void)records;
    /* Neighbours are one event; so are, when many reasons alternate, those for which there
     * is no room: then the reason of some is that of their neighbours. */
    if (last != NULL && last->is_loss &&
        (last->why == why || job->event_count + 1 >= JOURNAL_EVENTS_MAX - JOURNAL_READS_MAX)) {
        last->until_id = until;
        return;
    }
    assert(job->event_count < JOURNAL_EVENTS_MAX);
    job->events[job->event_count++] =
        (struct journal_event){.is_loss = true, .why = why, .until_id = until};
}

void journal_job_damaged(void *ctx, const char *segment, uint64_t frames, uint64_t records,
                         uint64_t bytes)
{
    struct journal_job *job = ctx;
    struct journal_damage *d = job->damage_count == 0 ? NULL : &job->damages[job->damage_count - 1];
    if (d == NULL ||
        (strcmp(d->segment, segment) != 0 && job->damage_count < JOURNAL_DAMAGES_MAX)) {
        d = &job->damages[job->damage_count++];
        *d = (struct journal_damage){0};
        snprintf(d->segment, sizeof d->segment, "%s", segment);
    }
    d->frames += frames;
    d->records += records;
    d->bytes += bytes;
}

static void read_ahead(struct journal_job *job)
{
    size_t bytes = 0, reads = 0;
    while (bytes < job->read_bytes && reads < JOURNAL_READS_MAX &&
           job->event_count + 2 < JOURNAL_EVENTS_MAX) {
        struct spool_frame frame;
        struct buf payload = {0}; /* its memory was promised: see JOURNAL_READ_BYTES */
        int rc = spool_next(job->spool, &frame, &payload);
        if (rc < 0) {
            buf_done(&payload);
            job->read_rc = rc;
            return;
        }
        struct journal_event *e = &job->events[job->event_count++];
        *e = (struct journal_event){.frame = frame};
        buf_move(&e->payload, &payload);
        bytes += frame.bytes;
        reads++;
    }
}

/* ---- writing ------------------------------------------------------------ */

/* Everything from `from` on that is not stored never will be. */
static void fail(struct journal_job *job, int rc)
{
    uint64_t stored = spool_stored(job->spool);
    LIST_EACH (node, &job->groups) {
        struct journal_group *g = container_of(node, struct journal_group, link);
        if (g->rc == 0 && (g->id == 0 || g->id >= stored))
            g->rc = rc;
    }
}

static int append(struct journal_job *job)
{
    LIST_EACH (node, &job->groups) {
        struct journal_group *g = container_of(node, struct journal_group, link);
        const struct span payload = buf_span(&g->batch->body);
        if (g->rc < 0)
            continue;
        int rc =
            spool_append(job->spool, &payload, 1, g->batch->records, g->accepted_unix_ns, &g->id);
        if (rc == ERR_IO || rc == ERR_DISK_FULL)
            return rc;
        g->rc = rc; /* ERR_FULL, ERR_TOO_BIG, ERR_NOMEM: of this one only */
    }
    return 0;
}

/* The reader passes over it: it holds no records. */
static int probe(struct journal_job *job)
{
    const struct span nothing = {0};
    uint64_t id;
    return spool_append(job->spool, &nothing, 1, 0, clock_unix_ns(clock_real()), &id);
}

static int sync_all(struct journal_job *job)
{
    uint64_t began = uv_hrtime();
    int rc = spool_sync(job->spool);
    job->sync_ns = uv_hrtime() - began;
    job->has_synced = rc == 0;
    return rc;
}

void journal_job_run(struct journal_job *job)
{
    bool writes = !list_is_empty(&job->groups) || job->probes;
    job->event_count = job->damage_count = 0;
    job->read_rc = 0;
    job->sync_ns = 0;
    job->has_synced = false;

    int rc = append(job);
    if (rc == 0 && job->probes)
        rc = probe(job);
    if (rc == ERR_IO || rc == ERR_DISK_FULL)
        fail(job, rc);
    if (job->syncs || (writes && job->closes)) {
        rc = sync_all(job); /* also after a failure: what came before it may be sound */
        if (rc < 0)
            fail(job, rc);
    }
    for (size_t i = 0; i < job->settled_count; i++)
        spool_settle(job->spool, job->settled[i]);
    if (job->checkpoints)
        ignore_code(spool_checkpoint(job->spool)); /* the next one tries again */
    if (job->read_bytes > 0 && !job->closes)
        read_ahead(job);
    job->stored_id = spool_stored(job->spool);
    spool_stats(job->spool, &job->stats);
    if (job->closes) {
        spool_close(job->spool);
        job->spool = NULL;
    }
}
