/* journal: durability: disk, as the app's other parts see it. */
#include <inttypes.h>
#include <string.h>

#include "sidecar/sidecar_state.h"
#include "util/json.h"
#include "util/rng.h"

#define HELD_SHARE 2   /* of queue.max_bytes: what may wait for the disk; the rest is to be sent */
#define OWNERS_SHARE 8 /* of memory.limit: see export/frame_owners.h */

static uint32_t on_service(void *ctx, struct span name)
{
    return pipeline_service(((struct sidecar *)ctx)->pipeline, name);
}

static void on_found(void *ctx, uint32_t service, struct span record, size_t bytes)
{
    pipeline_found(((struct sidecar *)ctx)->pipeline, service, record, bytes);
}

static void on_settle(void *ctx, uint32_t service, enum fate fate, uint64_t records)
{
    pipeline_settle(((struct sidecar *)ctx)->pipeline, service, fate, records);
}

static int open_disk(struct disk *disk, const char *dir, struct error *err)
{
    int rc = disk_open(disk, dir, true);
    return rc == 0
               ? 0
               : err_set(err, ERR_UNAVAILABLE, "spool.directory %.300s: %s", dir, strerror(-rc));
}

int durable_open(struct sidecar *sc, struct error *err)
{
    const struct config *cfg = sc->cfg;
    struct error why = {{0}};
    struct disk disk;
    struct rng rng;
    if (!cfg->durable)
        return 0;
    rng_init(&rng);
    const struct journal_opts opts = {
        .max_bytes = cfg->spool.max_bytes,
        .max_age_ms = cfg->spool.max_age_ms,
        .drops_oldest = cfg->spool.drops_oldest,
        .fsync = cfg->spool.fsync,
        .fsync_interval_ms = cfg->spool.fsync_interval_ms,
        .commit_delay_ms = cfg->spool.commit_delay_ms,
        .commit_bytes = cfg->spool.commit_bytes,
        .max_held_bytes = cfg->queue.max_bytes / HELD_SHARE,
        .owners_bytes = cfg->memory_limit_bytes / OWNERS_SHARE,
        .budget = &sc->budget,
        .clock = sc->clock,
        .fates = {sc, on_settle},
        .seed = rng_next(&rng),
        .ctx = sc,
        .service = on_service,
        .found = on_found,
    };
    int rc = open_disk(&disk, cfg->spool.directory, err);
    if (rc < 0)
        return rc;
    rc = journal_open(&sc->journal, &sc->loop, &disk, &opts, &why);
    if (rc == 0)
        return 0;
    /* A newer version is for a person to decide on; the rest may pass by itself. */
    return err_set(err,
                   rc == ERR_UNSUPPORTED ? ERR_CONFIG
                   : rc == ERR_IO        ? ERR_UNAVAILABLE
                                         : rc,
                   "spool.directory %.200s: %.200s", cfg->spool.directory,
                   why.text[0] != '\0' ? why.text : err_text(rc));
}

int durable_start(struct sidecar *sc, struct error *err)
{
    (void)err;
    return sc->journal == NULL ? 0 : journal_start(sc->journal, sc->exporter);
}

void durable_leave(struct sidecar *sc)
{
    sc->leaves_on_disk = sc->journal != NULL;
    journal_leave(sc->journal);
}

void durable_close(struct sidecar *sc)
{
    journal_close(sc->journal);
}

void durable_free(struct sidecar *sc)
{
    journal_free(sc->journal);
    sc->journal = NULL;
}

struct journal_stats durable_stats(const struct sidecar *sc)
{
    struct journal_stats s = {0};
    if (sc->journal != NULL)
        journal_stats(sc->journal, &s);
    return s;
}

bool durable_is_idle(const struct sidecar *sc)
{
    return sc->journal == NULL || journal_is_idle(sc->journal);
}

void durable_flush(struct sidecar *sc)
{
    if (sc->journal != NULL)
        journal_flush(sc->journal);
}

void durable_end(struct sidecar *sc)
{
    if (sc->journal == NULL)
        return;
    journal_close(sc->journal);
    while (!durable_stats(sc).is_closed)
        uv_run(&sc->loop, UV_RUN_ONCE);
    durable_leave(sc);
}

void durable_end_counts(const struct sidecar *sc, struct durable_end_counts *out)
{
    struct journal_stats s = durable_stats(sc);
    /* What is queued now, the ledger knows: a commit that was delivered in part lies there whole.
     */
    uint64_t queued = sidecar_totals(sc).queued + s.unfound_records;
    uint64_t gone = s.spool.nameless_records + s.spool.dropped_records;
    uint64_t elsewhere = gone + s.unstored_records;
    *out = (struct durable_end_counts){
        .left = sc->journal == NULL || queued < elsewhere ? 0 : queued - elsewhere,
        .earlier_unread = s.unfound_records,
        .removed = s.spool.nameless_records,
        .dropped = s.spool.dropped_records,
        .unstored = s.unstored_records,
        .lost = gone,
    };
    for (int why = 0; why < SPOOL_LOSS_COUNT; why++) {
        out->lost += s.spool.lost_records[why];
        out->lost_frames += s.spool.lost_frames[why];
    }
}

const char *durable_status(const struct sidecar *sc)
{
    if (sc->journal == NULL)
        return NULL;
    return journal_broken(sc->journal) != 0     ? "spool_broken"
           : journal_is_unreadable(sc->journal) ? "spool_unreadable"
                                                : NULL;
}

void durable_write(struct json *j, const struct sidecar *sc)
{
    struct journal_stats s = durable_stats(sc);
    if (!sc->cfg->durable)
        return;
    json_begin(j, "spool");
    json_str(j, "directory", sc->cfg->spool.directory);
    json_u64(j, "bytes", s.spool.bytes);
    json_u64(j, "max_bytes", sc->cfg->spool.max_bytes);
    json_u64(j, "segments", s.spool.segments);
    json_u64(j, "frames", s.spool.frames);
    json_u64(j, "records", s.spool.records);
    json_u64(j, "records_unsynced", s.unsynced_records);
    json_bool(j, "full", s.is_full);
    if (s.spool.broken != 0)
        json_str(j, "broken", err_text(s.spool.broken));
    else
        json_bool(j, "broken", false);
    json_end(j);
}
