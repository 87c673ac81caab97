/* durable: durability: disk, as the sidecar's other parts see it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sidecar/sidecar_state.h"
#include "util/json.h"
#include "util/rng.h"

#define HELD_SHARE 2   /* of queue.max_bytes: what may wait for the disk; the rest is to be sent */
#define OWNERS_SHARE 8 /* of memory.limit: see export/frame_owners.h */
#define ERRORS_SHARE 8 /* of spool.max_bytes, for errors that have a lane of their own */
#define ERRORS_DIRECTORY "errors"

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

static int open_lane(struct sidecar *sc, enum exporter_lane lane, const char *dir,
                     uint64_t max_bytes, struct error *err)
{
    const struct config *cfg = sc->cfg;
    struct error why = {{0}};
    struct disk disk;
    struct rng rng;
    rng_init(&rng);
    const struct journal_opts opts = {
        .max_bytes = max_bytes,
        .max_age_ms = cfg->spool.max_age_ms,
        /* Without room there errors go with the others, so none of them has to be dropped. */
        .drops_oldest = cfg->spool.drops_oldest && lane == LANE_PLAIN,
        .fsync = cfg->spool.fsync,
        .fsync_interval_ms = cfg->spool.fsync_interval_ms,
        .commit_delay_ms = cfg->spool.commit_delay_ms,
        .commit_bytes = cfg->spool.commit_bytes,
        .max_held_bytes = cfg->queue.max_bytes / HELD_SHARE,
        .owners_bytes = cfg->memory_limit_bytes / OWNERS_SHARE,
        .lane = lane,
        .budget = &sc->budget,
        .clock = sc->clock,
        .fates = {sc, on_settle},
        .seed = rng_next(&rng),
        .ctx = sc,
        .service = on_service,
        .found = on_found,
    };
    int rc = open_disk(&disk, dir, err);
    if (rc < 0)
        return rc;
    rc = journal_open(&sc->journals[lane], &sc->loop, &disk, &opts, &why);
    if (rc == 0)
        return 0;
    /* A newer version is for a person to decide on; the rest may pass by itself. */
    return err_set(err,
                   rc == ERR_UNSUPPORTED ? ERR_CONFIG
                   : rc == ERR_IO        ? ERR_UNAVAILABLE
                                         : rc,
                   "spool.directory %.200s: %.200s", dir,
                   why.text[0] != '\0' ? why.text : err_text(rc));
}

/* What lies in the lane of errors is delivered also where the setting was switched off since. */
int durable_open(struct sidecar *sc, struct error *err)
{
    const struct config *cfg = sc->cfg;
    char errors[CONFIG_TEXT_BYTES + sizeof ERRORS_DIRECTORY + 1];
    if (!cfg->durable)
        return 0;
    snprintf(errors, sizeof errors, "%s/" ERRORS_DIRECTORY, cfg->spool.directory);
    bool has_errors = cfg->queue.errors_first || access(errors, F_OK) == 0;
    uint64_t share = has_errors ? cfg->spool.max_bytes / ERRORS_SHARE : 0;
    int rc = open_lane(sc, LANE_PLAIN, cfg->spool.directory, cfg->spool.max_bytes - share, err);
    return rc == 0 && has_errors ? open_lane(sc, LANE_URGENT, errors, share, err) : rc;
}

/* Calls of journal_*() take NULL for a lane that there is not. */
#define EACH_LANE(lane) for (int lane = 0; lane < LANE_COUNT; lane++)

int durable_start(struct sidecar *sc, struct error *err)
{
    int rc = 0;
    (void)err;
    EACH_LANE(lane)
    if (rc == 0 && sc->journals[lane] != NULL)
        rc = journal_start(sc->journals[lane], sc->exporter);
    return rc;
}

void durable_leave(struct sidecar *sc)
{
    sc->leaves_on_disk = sc->journals[LANE_PLAIN] != NULL;
    EACH_LANE(lane)
    journal_leave(sc->journals[lane]);
}

void durable_close(struct sidecar *sc)
{
    EACH_LANE(lane)
    journal_close(sc->journals[lane]);
}

void durable_free(struct sidecar *sc)
{
    EACH_LANE(lane)
    {
        journal_free(sc->journals[lane]);
        sc->journals[lane] = NULL;
    }
}

struct journal_stats durable_stats(const struct sidecar *sc)
{
    struct journal_stats sum = {0};
    if (sc->journals[LANE_PLAIN] != NULL)
        journal_stats(sc->journals[LANE_PLAIN], &sum);
    if (sc->journals[LANE_URGENT] != NULL) {
        struct journal_stats errors;
        journal_stats(sc->journals[LANE_URGENT], &errors);
        journal_stats_add(&sum, &errors);
    }
    return sum;
}

bool durable_is_idle(const struct sidecar *sc)
{
    EACH_LANE(lane)
    if (sc->journals[lane] != NULL && !journal_is_idle(sc->journals[lane]))
        return false;
    return true;
}

void durable_flush(struct sidecar *sc)
{
    EACH_LANE(lane)
    if (sc->journals[lane] != NULL)
        journal_flush(sc->journals[lane]);
}

void durable_end(struct sidecar *sc)
{
    if (sc->journals[LANE_PLAIN] == NULL)
        return;
    durable_close(sc);
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
        .left = sc->journals[LANE_PLAIN] == NULL || queued < elsewhere ? 0 : queued - elsewhere,
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
    if (sc->journals[LANE_PLAIN] == NULL)
        return NULL;
    struct journal_stats s = durable_stats(sc);
    return s.spool.broken != 0       ? "spool_broken"
           : s.spool.unreadable != 0 ? "spool_unreadable"
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
