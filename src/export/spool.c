/* spool: the writing side: append, sync, roll, and what happens when that fails. */
#include "export/spool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/spool_state.h"
#include "util/crc32c.h"

#define NAME_TRIES 8 /* names of a new segment that may be taken by files that are not ours */

int spool_failed(struct spool *s, int rc)
{
    int code = disk_err(rc);
    if (code == 0)
        return 0;
    s->stats.write_errors++;
    if (s->stats.broken == 0)
        s->stats.broken_since_ms = clock_now_ms(s->opts.clock);
    s->stats.broken = code;
    s->stats.broken_by = rc;
    s->stats.needed_bytes = s->stats.free_bytes = 0;
    return code;
}

int spool_full(struct spool *s, uint64_t needed_bytes)
{
    int rc = spool_failed(s, -ENOSPC);
    int64_t free_bytes = s->disk.ops->free_bytes(s->disk.self);
    s->stats.needed_bytes = needed_bytes;
    s->stats.free_bytes = free_bytes > 0 ? (uint64_t)free_bytes : 0;
    return rc;
}

void spool_report_damage(struct spool *s, const char *segment, uint64_t frames, uint64_t records,
                         uint64_t bytes)
{
    if (s->opts.damaged != NULL)
        s->opts.damaged(s->opts.ctx, segment, frames, records, bytes);
}

int spool_reserve(struct spool *s)
{
    if (s->count < s->capacity)
        return 0;
    size_t more = s->capacity == 0 ? 16 : s->capacity * 2;
    struct segment *grown = realloc(s->segments, more * sizeof *grown);
    if (grown == NULL)
        return ERR_NOMEM;
    s->segments = grown;
    s->capacity = more;
    return 0;
}

static struct segment *current(struct spool *s)
{
    assert(s->file >= 0 && s->count > 0);
    return &s->segments[s->count - 1];
}

/* What is written counts as stored. */
static void mark_stored(struct spool *s)
{
    struct segment *seg = current(s);
    if (s->unsynced_frames == 0)
        return;
    if (seg->first_accepted_ns == 0)
        seg->first_accepted_ns = s->unsynced_first_ns;
    seg->data_end = s->write_at;
    seg->end_id = s->stored_id = s->next_id;
    seg->unread_frames += s->unsynced_frames;
    seg->unread_records += s->unsynced_records;
    seg->all_frames += s->unsynced_frames;
    seg->all_records += s->unsynced_records;
    s->stats.frames += s->unsynced_frames;
    s->stats.records += s->unsynced_records;
    s->unsynced_frames = s->unsynced_records = 0;
}

/* The segment ends at its last stored frame: the room behind it is given back, and with
 * it what may stand there of frames that were refused. */
static void end_segment(struct spool *s, uint64_t mark_bytes)
{
    struct segment *seg = current(s);
    uint64_t end = seg->data_end + mark_bytes;
    if (seg->file_bytes > end && s->disk.ops->truncate(s->disk.self, s->file, end) == 0) {
        s->bytes -= seg->file_bytes - end;
        seg->file_bytes = end;
    }
    if (seg->is_nameless && !(s->read_file >= 0 && s->read_segment + 1 == s->count))
        seg->kept_file = s->file; /* for the reader, who cannot open it any more */
    else
        s->disk.ops->close(s->disk.self, s->file);
    s->file = -1;
    s->data_dirty = false;
}

int spool_abandon(struct spool *s, int rc)
{
    s->unsynced_frames = s->unsynced_records = 0;
    bool has_frames = current(s)->end_id > current(s)->first_id;
    end_segment(s, 0);
    if (!has_frames) { /* nor was its name promised to anybody */
        struct segment *seg = &s->segments[s->count - 1];
        spool_remove_file(s, seg);
        s->bytes -= seg->file_bytes;
        s->count--;
        if (s->read_segment == s->count)
            spool_stop_reading(s);
    }
    return spool_failed(s, rc);
}

int spool_sync(struct spool *s)
{
    int rc = 0;
    if (s->file < 0)
        return 0;
    if (s->data_dirty)
        rc = s->disk.ops->fdatasync(s->disk.self, s->file);
    if (rc == 0 && s->dir_dirty)
        rc = s->disk.ops->sync_dir(s->disk.self);
    if (rc == 0 && s->data_dirty)
        rc = spool_check_attached(s);
    if (rc < 0)
        return spool_abandon(s, rc);
    if (s->data_dirty)
        s->stats.broken = 0;
    s->data_dirty = s->dir_dirty = s->removals_dirty = false;
    mark_stored(s);
    return 0;
}

uint64_t spool_stored(const struct spool *s)
{
    return s->stored_id;
}

/* ---- a new segment ------------------------------------------------------ */

static uint64_t on_disk(const struct spool *s)
{
    return s->bytes + s->stats.aside_bytes;
}

/* The directory at our path is another one, or none: go on in that one. */
static int renew(struct spool *s)
{
    int rc = s->disk.ops->renew(s->disk.self, SPOOL_LOCK_NAME);
    if (rc < 0)
        return rc;
    s->is_detached = false;
    position_close(&s->position);
    s->position.file = -1;
    /* A position that stands there speaks of other frames; without one of ours some are sent
     * twice after a kill, and none are lost. */
    if (position_create(&s->position, &s->disk) < 0)
        s->stats.position_errors++;
    spool_write_position(s);
    return 0;
}

/* Room for `bytes` more within max_bytes: 0 or ERR_FULL. */
static int make_room(struct spool *s, uint64_t bytes)
{
    uint64_t max = s->opts.max_bytes;
    if (max == 0 || on_disk(s) + bytes <= max)
        return 0;
    ignore_code(spool_checkpoint(s)); /* what it could not remove still counts */
    while (on_disk(s) + bytes > max)
        if (!s->opts.drops_oldest || spool_drop_oldest(s) < 0)
            return ERR_FULL;
    return 0;
}

/* A file of that many bytes with its header; *file and *id. 0 or -errno, and then no file. */
static int create_file(struct spool *s, uint64_t bytes, int *out)
{
    char name[SEGMENT_NAME_BYTES];
    uint8_t header[SEGMENT_DATA_AT];
    int file = -EEXIST;
    for (int i = 0; i < NAME_TRIES && file == -EEXIST; i++) {
        s->next_id += i > 0; /* that name is taken */
        segment_name(name, s->next_id);
        file = s->disk.ops->open(s->disk.self, name, DISK_CREATE);
    }
    if (file < 0)
        return file;
    int rc = s->disk.ops->allocate(s->disk.self, file, bytes);
    if (rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL)
        rc = 0; /* then room may run out inside a frame, which is as good as a failed write */
    if (rc == 0) {
        const struct segment_header h = {
            .first_id = s->next_id,
            .void_from = s->stored_id,
            .created_unix_ns = clock_unix_ns(s->opts.clock),
            .boot = s->boot,
            .salt = s->salt,
        };
        const struct span all = span_of(header, sizeof header);
        segment_header_encode(header, &h);
        rc = disk_write(&s->disk, file, &all, 1, 0);
    }
    if (rc < 0) {
        s->disk.ops->close(s->disk.self, file);
        s->disk.ops->unlink(s->disk.self,
                            name); /* if not: the start knows it by its lack of frames */
        s->next_id++;              /* in case its name stays */
        return rc;
    }
    *out = file;
    return 0;
}

/* Begin a segment with room for a frame of that many bytes. */
static int begin_segment(struct spool *s, uint64_t frame_bytes)
{
    uint64_t bytes = SEGMENT_DATA_AT + frame_bytes;
    if (bytes < s->opts.segment_bytes)
        bytes = s->opts.segment_bytes;
    int rc = make_room(s, bytes), file = -1;
    if (rc == 0)
        rc = spool_reserve(s);
    if (rc < 0)
        return rc;
    rc = s->is_detached ? renew(s) : 0;
    if (rc == 0)
        rc = create_file(s, bytes, &file);
    if (rc < 0 && disk_err(rc) == ERR_DISK_FULL && spool_checkpoint(s) == 0)
        rc = create_file(s, bytes, &file); /* what is delivered may have made room */
    if (rc == -ENOENT)
        ignore_code(spool_check_attached(s)); /* the next one begins in another directory */
    if (disk_err(rc) == ERR_DISK_FULL)
        return spool_full(s, bytes);
    if (rc < 0)
        return spool_failed(s, rc);
    s->segments[s->count++] = (struct segment){
        .name_id = s->next_id,
        .first_id = s->next_id,
        .void_from = s->stored_id,
        .limit_id = UINT64_MAX,
        .end_id = s->next_id,
        .file_bytes = bytes,
        .data_end = SEGMENT_DATA_AT,
        .boot = s->boot,
        .salt = s->salt,
        .kept_file = -1,
    };
    s->salt = s->salt * 1664525u + 1013904223u; /* another one each; the first was random */
    s->bytes += bytes;
    s->file = file;
    s->write_at = SEGMENT_DATA_AT;
    s->dir_dirty = true;
    s->data_dirty = true;
    return 0;
}

/* Behind the last frame, where there is room. It is a hint: if that fails there is none. */
static uint64_t write_end_mark(struct spool *s)
{
    const struct segment *seg = current(s);
    const struct segment_end end = {
        .end_id = s->next_id,
        .frames = seg->all_frames + s->unsynced_frames,
        .records = seg->all_records + s->unsynced_records,
        .first_accepted_ns =
            seg->first_accepted_ns > 0 ? seg->first_accepted_ns : s->unsynced_first_ns,
    };
    uint8_t bytes[SEGMENT_END_BYTES];
    const struct span mark = span_of(bytes, sizeof bytes);
    if (seg->file_bytes - s->write_at < sizeof bytes)
        return 0;
    segment_end_encode(bytes, &end, seg->salt);
    if (disk_write(&s->disk, s->file, &mark, 1, s->write_at) < 0)
        return 0;
    s->data_dirty = true;
    return sizeof bytes;
}

int spool_append(struct spool *s, const struct span *payload, size_t spans, uint32_t records,
                 uint64_t accepted_unix_ns, uint64_t *id)
{
    struct frame_head head = {.accepted_unix_ns = accepted_unix_ns, .records = records};
    uint8_t encoded[FRAME_HEAD_BYTES];
    uint64_t bytes = 0;
    for (size_t i = 0; i < spans; i++) {
        bytes += payload[i].len;
        head.payload_crc = crc32c(head.payload_crc, payload[i]);
    }
    uint64_t whole = FRAME_HEAD_BYTES + bytes;
    if (bytes > FRAME_MAX_BYTES || s->next_id > UINT64_MAX - 2 * NAME_TRIES ||
        (s->opts.max_bytes > 0 && SEGMENT_DATA_AT + whole > s->opts.max_bytes))
        return ERR_TOO_BIG;
    int rc = 0;
    if (s->file >= 0 && s->segments[s->count - 1].file_bytes - s->write_at < whole) {
        uint64_t mark_bytes = write_end_mark(s);
        rc = spool_sync(s); /* one segment at a time can be torn */
        if (rc < 0)
            return rc;
        end_segment(s, mark_bytes);
    }
    if (s->file < 0)
        rc = begin_segment(s, whole);
    if (rc < 0)
        return rc;

    head.id = s->next_id++;
    head.bytes = (uint32_t)bytes;
    head.accepted_ds = (uint32_t)(clock_now_ms(s->opts.clock) / 100);
    frame_head_encode(encoded, &head, current(s)->salt);
    const struct span first = span_of(encoded, sizeof encoded);
    s->data_dirty = true;
    rc = disk_write(&s->disk, s->file, &first, 1, s->write_at);
    if (rc == 0)
        rc = disk_write(&s->disk, s->file, payload, spans, s->write_at + FRAME_HEAD_BYTES);
    if (rc == 0 && s->opts.lazy)
        rc = spool_check_attached(s);
    if (rc < 0)
        return spool_abandon(s, rc);
    if (s->unsynced_frames++ == 0)
        s->unsynced_first_ns = accepted_unix_ns;
    s->unsynced_records += records;
    s->write_at += whole;
    if (s->opts.lazy) {
        mark_stored(s);
        s->stats.broken = 0;
    }
    *id = head.id;
    return 0;
}

/* ---- removing ----------------------------------------------------------- */

void spool_remove_file(struct spool *s, struct segment *seg)
{
    char name[SEGMENT_NAME_BYTES], aside[SEGMENT_NAME_BYTES + 8];
    if (seg->is_nameless) {
        if (seg->kept_file >= 0)
            s->disk.ops->close(s->disk.self, seg->kept_file);
        seg->kept_file = -1;
        return;
    }
    segment_name(name, seg->name_id);
    uint64_t most = s->opts.max_bytes > 0 ? s->opts.max_bytes / 8 : UINT64_MAX;
    s->removals_dirty = true;
    if (seg->is_damaged && s->stats.aside_files < SPOOL_ASIDE_FILES &&
        s->stats.aside_bytes + seg->file_bytes <= most) {
        strcpy(aside, name);
        strcat(aside, ".corrupt");
        if (s->disk.ops->rename(s->disk.self, name, aside) == 0) {
            s->stats.aside_files++;
            s->stats.aside_bytes += seg->file_bytes;
            return;
        }
    }
    /* If that fails it is found again at the next start, and is below the position. */
    if (s->disk.ops->unlink(s->disk.self, name) < 0)
        s->stats.write_errors++;
}

void spool_remove(struct spool *s, size_t n)
{
    assert(n <= s->read_segment);
    for (size_t i = 0; i < n; i++) {
        spool_remove_file(s, &s->segments[i]);
        s->bytes -= s->segments[i].file_bytes;
    }
    if (n > 0)
        memmove(s->segments, s->segments + n, (s->count - n) * sizeof *s->segments);
    s->count -= n;
    s->read_segment -= n;
}

int spool_checkpoint(struct spool *s)
{
    int rc = position_sync(&s->position);
    if (rc < 0)
        s->stats.position_errors++;
    /* The position first: should a power loss bring a segment back, its frames are known
     * to be settled. */
    spool_leave_read(s);
    uint64_t settled = spool_settled(s);
    size_t n = 0;
    while (n < s->read_segment && s->segments[n].end_id <= settled)
        n++;
    spool_remove(s, n);
    if (s->removals_dirty) {
        int synced = s->disk.ops->sync_dir(s->disk.self);
        if (synced == 0)
            s->removals_dirty = false;
        else
            rc = synced;
    }
    return rc < 0 ? ERR_IO : 0;
}

void spool_close(struct spool *s)
{
    if (s == NULL)
        return;
    if (s->is_opened) {
        ignore_code(spool_sync(s)); /* the last job has synced what was promised */
        if (s->file >= 0)
            end_segment(s, 0);
        ignore_code(spool_checkpoint(s)); /* the next start finds more to send, and no less */
    }
    if (s->read_file >= 0)
        s->disk.ops->close(s->disk.self, s->read_file);
    for (size_t i = 0; i < s->count; i++)
        if (s->segments[i].kept_file >= 0)
            s->disk.ops->close(s->disk.self, s->segments[i].kept_file);
    position_close(&s->position);
    disk_close(&s->disk);
    free(s->segments);
    free(s);
}

/* In the segment that is written to, and in those that may still be begun. */
static uint64_t room(const struct spool *s)
{
    uint64_t max = s->opts.max_bytes, used = on_disk(s);
    if (max == 0)
        return UINT64_MAX;
    uint64_t left = max > used ? (max - used) / s->opts.segment_bytes * s->opts.segment_bytes : 0;
    return left + (s->file < 0 ? 0 : s->segments[s->count - 1].file_bytes - s->write_at);
}

void spool_stats(const struct spool *s, struct spool_stats *out)
{
    *out = s->stats;
    out->bytes = on_disk(s);
    out->segments = s->count;
    out->room_bytes = room(s);
    out->unsynced_frames = s->unsynced_frames;
    out->unsynced_bytes = s->file < 0 ? 0 : s->write_at - s->segments[s->count - 1].data_end;
    out->in_hand = s->held_count - s->held_settled;
    for (size_t i = 0; i < s->held_count; i++) {
        const struct spool_held *h = &s->held[(s->held_first + i) % SPOOL_WINDOW];
        if (h->settled)
            continue;
        if (h->frame.id < s->dropped_id)
            out->dropped_records += h->frame.records;
        else if (h->frame.id >= s->nameless_from && h->frame.id < s->nameless_to)
            out->nameless_records += h->frame.records;
    }
    for (size_t i = s->read_segment; i < s->count && s->segments[i].first_id < s->own_id; i++)
        out->earlier_records += s->segments[i].unread_records;
    for (size_t i = s->read_segment; i < s->count && s->nameless_to > 0; i++)
        if (s->segments[i].is_nameless)
            out->nameless_records += s->segments[i].unread_records;
    out->next_id = s->next_id;
    out->settled_id = spool_settled(s);
    if (s->held_count > 0)
        out->oldest_unix_ns = s->held[s->held_first].frame.accepted_unix_ns;
    else if (s->stats.frames > 0)
        for (size_t i = s->read_segment; i < s->count && out->oldest_unix_ns == 0; i++)
            out->oldest_unix_ns =
                s->segments[i].unread_frames > 0 ? s->segments[i].first_accepted_ns : 0;
}
