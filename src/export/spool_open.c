/* spool: the start: lock, look, cut what is torn. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export/spool_state.h"
#include "util/hash.h"
#include "util/rng.h"

#define MIN_SEGMENT_BYTES 4096
#define POSITION_ASIDE POSITION_NAME ".corrupt"

/* Segments without a sound header. Zeros: the machine went down before anything in it was
 * stored. Others are kept aside, as long as there is room for it. */
static void on_headless(void *ctx, const char *name, uint64_t bytes, bool empty)
{
    struct spool *s = ctx;
    char aside[SEGMENT_NAME_BYTES + 8];
    if (empty) {
        s->disk.ops->unlink(s->disk.self, name);
        s->removals_dirty = true;
        return;
    }
    s->stats.damaged_segments++;
    s->stats.damaged_bytes += bytes;
    spool_report_damage(s, name, 0, 0, bytes); /* its frames are missed by their ids */
    strcpy(aside, name);
    strcat(aside, ".corrupt");
    if (s->stats.aside_files < SPOOL_ASIDE_FILES &&
        s->disk.ops->rename(s->disk.self, name, aside) == 0) {
        s->stats.aside_files++;
        s->stats.aside_bytes += bytes;
        s->removals_dirty = true;
    }
}

/* A position that is no use is put aside; without one, delivery starts from the data. */
static void open_position(struct spool *s, int rc)
{
    if (rc == 0)
        return;
    s->position.file = -1;
    if (rc != ERR_EMPTY) {
        s->stats.position_errors++;
        s->disk.ops->rename(s->disk.self, POSITION_NAME, POSITION_ASIDE);
    }
    if (position_create(&s->position, &s->disk) < 0)
        s->stats.position_errors++;
}

/* The last segment ends behind its last sound frame, and that is durable: what is read
 * from here on will not be gone after the next crash. */
static void cut_tail(struct spool *s)
{
    struct segment *last = &s->segments[s->count - 1];
    char name[SEGMENT_NAME_BYTES];
    segment_name(name, last->name_id);
    int file = s->disk.ops->open(s->disk.self, name, DISK_WRITE);
    int rc = file;
    if (file >= 0) {
        rc = 0;
        if (last->file_bytes > last->data_end)
            rc = s->disk.ops->truncate(s->disk.self, file, last->data_end);
        if (rc == 0)
            last->file_bytes = last->data_end;
        int synced = s->disk.ops->fdatasync(s->disk.self, file);
        rc = rc < 0 ? rc : synced;
        s->disk.ops->close(s->disk.self, file);
    }
    if (rc < 0)
        s->stats.write_errors++; /* the same will be found and passed over next time */
}

/* Later failures are met by the reader, or by the first append; this one is known already. */
static void check_room(struct spool *s)
{
    int64_t free_bytes = s->disk.ops->free_bytes(s->disk.self);
    if (free_bytes >= 0 && (uint64_t)free_bytes < s->opts.segment_bytes)
        ignore_code(spool_full(s, s->opts.segment_bytes)); /* remembered in the stats */
}

static void report_gaps(struct spool *s, const struct survey_findings *found)
{
    for (size_t i = 0; i < found->gap_count; i++) {
        const struct survey_gap *g = &found->gaps[i];
        char name[SEGMENT_NAME_BYTES];
        segment_name(name, g->name_id);
        spool_report_damage(s, name, g->frames, g->records, g->bytes);
        s->stats.lost_records[SPOOL_LOST_DAMAGED] += g->records;
    }
}

static int recover(struct spool *s, struct error *err)
{
    struct survey survey;
    struct survey_findings found;
    const struct survey_opts opts = {on_headless, s, &s->position};
    int rc = survey_read(&survey, &s->disk, &opts, err);
    if (rc == 0)
        rc = survey_walk(&survey, &s->disk, false, &found, NULL, NULL);
    if (rc < 0) {
        survey_done(&survey);
        return rc == ERR_UNSUPPORTED || rc == ERR_NOMEM || rc == ERR_IO
                   ? rc
                   : err_set(err, ERR_IO, "the directory cannot be read: %s", strerror(-rc));
    }
    s->segments = survey.segments; /* taken over */
    s->count = survey.count;
    s->capacity = survey.capacity;
    s->restored = survey.position;
    open_position(s, survey.position_err);

    s->next_id = s->stored_id = s->own_id = found.next_id;
    s->read_id = s->count > 0 ? s->segments[0].first_id : s->next_id;
    if (s->read_id < s->restored.settled)
        s->read_id = s->restored.settled;
    s->stats.frames = found.frames;
    s->stats.records = found.records;
    s->stats.missing_frames = found.lost_frames;
    s->stats.lost_frames[SPOOL_LOST_DAMAGED] = found.lost_frames;
    s->stats.damaged_bytes += found.damaged_bytes;
    s->stats.torn_bytes = found.torn_bytes;
    s->stats.duplicate_frames = found.duplicate_frames;
    s->stats.damaged_segments += survey.unreadable;
    s->stats.aside_files += survey.aside_files;
    s->stats.aside_bytes += survey.aside_bytes;
    for (size_t i = 0; i < s->count; i++)
        s->stats.damaged_segments += s->segments[i].is_damaged;
    report_gaps(s, &found);
    if (s->count > 0 && !found.last_is_cut_short)
        cut_tail(s);
    for (size_t i = 0; i < s->count; i++)
        s->bytes += s->segments[i].file_bytes;
    spool_write_position(s);
    s->disk.ops->sync_dir(s->disk.self); /* if not: before the first frame, at the latest */
    check_room(s);
    return 0;
}

/* 0 where the kernel does not say. */
static uint64_t boot_id(void)
{
    char text[64];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    return n > 0 ? hash64(span_of(text, (size_t)n)) : 0;
}

int spool_open(struct spool **out, struct disk *disk, const struct spool_opts *opts,
               struct error *err)
{
    struct spool *s = calloc(1, sizeof *s);
    if (s == NULL) {
        disk_close(disk);
        return ERR_NOMEM;
    }
    s->disk = *disk;
    *disk = (struct disk){0};
    s->opts = *opts;
    s->file = s->read_file = s->position.file = -1;
    s->read_at = SEGMENT_DATA_AT;
    s->opened_ms = clock_now_ms(opts->clock);
    s->opened_unix_ns = clock_unix_ns(opts->clock);
    s->boot = opts->boot > 0 ? opts->boot : boot_id();
    s->salt = opts->salt;
    if (s->salt == 0) {
        struct rng rng;
        rng_init(&rng);
        s->salt = (uint32_t)rng_next(&rng);
    }
    if (s->opts.segment_bytes == 0) {
        s->opts.segment_bytes = SPOOL_SEGMENT_BYTES;
        if (opts->max_bytes > 0 && opts->max_bytes / 8 < SPOOL_SEGMENT_BYTES)
            s->opts.segment_bytes = opts->max_bytes / 8;
    }
    if (s->opts.segment_bytes < MIN_SEGMENT_BYTES)
        s->opts.segment_bytes = MIN_SEGMENT_BYTES;

    int rc = s->disk.ops->lock(s->disk.self, SPOOL_LOCK_NAME);
    if (rc == -EAGAIN)
        rc = err_set(err, ERR_UNAVAILABLE, "another process uses it");
    else if (rc < 0)
        rc = err_set(err, ERR_IO, "its lock file cannot be taken: %s", strerror(-rc));
    else
        rc = recover(s, err);
    if (rc < 0) {
        spool_close(s);
        return rc;
    }
    s->is_opened = true;
    *out = s;
    return 0;
}
