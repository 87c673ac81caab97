/* spool: the reading side: next, settle, and frames that will not be read. */
#include <assert.h>
#include <errno.h>

#include "export/spool_state.h"
#include "util/crc32c.h"

#define READ_TRIES 3 /* of a frame that cannot be read, before it is passed over */

uint64_t spool_settled(const struct spool *s)
{
    uint64_t id = s->held_count > 0 ? s->held[s->held_first].frame.id : s->read_id;
    return id > s->dropped_id ? id : s->dropped_id;
}

void spool_write_position(struct spool *s)
{
    struct position p = {.settled = spool_settled(s), .stored = s->stored_id};
    for (size_t i = 0; i < s->held_count; i++) {
        const struct spool_held *h = &s->held[(s->held_first + i) % SPOOL_WINDOW];
        uint64_t bit = h->frame.id - p.settled;
        if (h->settled && bit < POSITION_WINDOW)
            p.done[bit / 64] |= (uint64_t)1 << bit % 64;
    }
    for (uint64_t bit = 0; bit < POSITION_WINDOW; bit++) /* what was settled before the start */
        if (s->restored.settled + POSITION_WINDOW > p.settled &&
            position_is_done(&s->restored, p.settled + bit))
            p.done[bit / 64] |= (uint64_t)1 << bit % 64;
    if (p.stored < p.settled)
        p.stored = p.settled;
    if (position_write(&s->position, &p) < 0)
        s->stats.position_errors++;
}

void spool_settle(struct spool *s, uint64_t id)
{
    for (size_t i = 0; i < s->held_count; i++) {
        struct spool_held *h = &s->held[(s->held_first + i) % SPOOL_WINDOW];
        if (h->frame.id != id || h->settled)
            continue;
        h->settled = true;
        s->held_settled++;
        s->stats.frames--;
        s->stats.records -= h->frame.records;
        while (s->held_count > 0 && s->held[s->held_first].settled) {
            s->held_first = (s->held_first + 1) % SPOOL_WINDOW;
            s->held_count--;
            s->held_settled--;
        }
        spool_write_position(s);
        return;
    }
}

static struct spool_frame frame_of(const struct frame_head *h)
{
    return (struct spool_frame){h->id, h->accepted_unix_ns, h->records, h->bytes};
}

static void count_lost(struct spool *s, const struct spool_frame *frame, uint64_t frames,
                       uint64_t records, enum spool_loss why)
{
    s->stats.frames -= frames;
    s->stats.records -= records;
    s->stats.lost_frames[why] += frames;
    s->stats.lost_records[why] += records;
    if (s->opts.lost != NULL)
        s->opts.lost(s->opts.ctx, frame, frames, records, why);
}

static void count_one_lost(struct spool *s, const struct frame_head *head, enum spool_loss why)
{
    struct spool_frame frame = frame_of(head);
    count_lost(s, &frame, 1, frame.records, why);
}

/* ---- the cursor --------------------------------------------------------- */

void spool_stop_reading(struct spool *s)
{
    if (s->read_file >= 0)
        s->disk.ops->close(s->disk.self, s->read_file);
    s->read_file = -1;
    s->read_at = SEGMENT_DATA_AT;
    s->read_failures = 0;
}

static bool is_written(const struct spool *s, size_t segment)
{
    return s->file >= 0 && segment + 1 == s->count;
}

/* To the end of the segment. What it should still have had is lost. */
static void skip_rest(struct spool *s, enum spool_loss why)
{
    struct segment *seg = &s->segments[s->read_segment];
    uint64_t frames = seg->unread_frames, records = seg->unread_records;
    seg->unread_frames = seg->unread_records = 0;
    if (frames > 0 && why == SPOOL_LOST_DAMAGED) {
        s->stats.missing_frames += frames;
        seg->is_damaged = true;
    }
    if (frames > 0)
        count_lost(s, NULL, frames, records, why);
    s->read_at = seg->data_end;
    if (s->read_id < seg->end_id)
        s->read_id = seg->end_id;
}

static void leave_segment(struct spool *s, enum spool_loss why)
{
    skip_rest(s, why);
    spool_stop_reading(s);
    s->read_segment++;
}

void spool_leave_read(struct spool *s)
{
    while (s->read_segment < s->count && !is_written(s, s->read_segment) &&
           (s->read_at >= s->segments[s->read_segment].data_end ||
            (s->segments[s->read_segment].unread_frames == 0 &&
             s->segments[s->read_segment].end_id <= s->read_id)))
        leave_segment(s, SPOOL_LOST_DAMAGED);
}

static int open_segment(struct spool *s)
{
    char name[SEGMENT_NAME_BYTES];
    if (s->read_file >= 0)
        return 0;
    segment_name(name, s->segments[s->read_segment].name_id);
    int file = s->disk.ops->open(s->disk.self, name, DISK_READ);
    if (file < 0)
        return file;
    s->read_file = file;
    return 0;
}

/* The head of the next frame that is to be read; the cursor stands behind it. ERR_EMPTY,
 * or -errno with the cursor where it was. */
static int next_head(struct spool *s, struct frame_head *head, uint64_t *payload_at)
{
    for (;;) {
        spool_leave_read(s);
        if (s->read_segment == s->count)
            return ERR_EMPTY;
        struct segment *seg = &s->segments[s->read_segment];
        if (s->read_at >= seg->data_end)
            return ERR_EMPTY; /* the one that is written to: read as far as it is stored */
        int rc = open_segment(s);
        if (rc < 0)
            return rc;
        struct segment_walk w = {
            .disk = &s->disk,
            .file = s->read_file,
            .salt = seg->salt,
            .checks_payload = seg->verified,
            .at = s->read_at,
            .end = seg->data_end,
        };
        rc = segment_next(&w, head, payload_at);
        if (rc < 0)
            return rc;
        if ((w.damaged_bytes > 0 || rc == 0) && !seg->is_damaged) { /* since the start */
            seg->is_damaged = true;
            s->stats.damaged_segments++;
            s->stats.damaged_bytes += w.damaged_bytes + (rc == 0 ? seg->data_end - w.at : 0);
        }
        s->read_at = rc == 0 ? seg->data_end : w.at;
        if (rc == 0 || head->id < s->read_id || head->id >= seg->limit_id)
            continue;
        s->read_id = head->id + 1;
        if (position_is_done(&s->restored, head->id))
            continue;
        if (seg->unread_frames > 0) {
            seg->unread_frames--;
            seg->unread_records -= head->records;
        }
        return 0;
    }
}

/* The frame that next_head() gave was not taken: it is the next one again. */
static void step_back(struct spool *s, const struct frame_head *head, uint64_t payload_at)
{
    struct segment *seg = &s->segments[s->read_segment];
    s->read_at = payload_at - FRAME_HEAD_BYTES;
    s->read_id = head->id;
    seg->unread_frames++;
    seg->unread_records += head->records;
}

/* A payload could not be read, or with NULL not even a head: again, or past it. */
static int read_failed(struct spool *s, const struct frame_head *head, uint64_t payload_at)
{
    struct segment *seg = &s->segments[s->read_segment];
    s->stats.read_errors++;
    if (++s->read_failures < READ_TRIES) {
        if (head != NULL)
            step_back(s, head, payload_at);
        return ERR_IO;
    }
    s->read_failures = 0;
    if (!seg->is_damaged)
        s->stats.damaged_segments++;
    seg->is_damaged = true;
    if (head != NULL)
        count_one_lost(s, head, SPOOL_LOST_DAMAGED);
    else
        skip_rest(s, SPOOL_LOST_DAMAGED); /* of this segment, as far as it is stored */
    return ERR_IO;
}

static bool is_expired(const struct spool *s, const struct frame_head *head)
{
    uint64_t now = clock_unix_ns(s->opts.clock);
    return s->opts.max_age_ns > 0 && now > head->accepted_unix_ns &&
           now - head->accepted_unix_ns > s->opts.max_age_ns;
}

int spool_next(struct spool *s, struct spool_frame *out, struct buf *payload)
{
    bool moved = false; /* past frames that nobody will settle: the position tells it */
    int rc;
    for (;;) {
        struct frame_head head;
        uint64_t payload_at;
        if (s->held_count == SPOOL_WINDOW) {
            rc = ERR_FULL;
            break;
        }
        rc = next_head(s, &head, &payload_at);
        if (rc == ERR_EMPTY)
            break;
        if (rc < 0) {
            rc = read_failed(s, NULL, 0);
            break;
        }
        struct segment *seg = &s->segments[s->read_segment];
        struct spool_frame frame = frame_of(&head);
        if (is_expired(s, &head)) {
            count_one_lost(s, &head, SPOOL_LOST_EXPIRED);
            moved = true;
            continue;
        }
        buf_clear(payload);
        rc = buf_reserve_exact(payload, head.bytes);
        if (rc < 0) {
            step_back(s, &head, payload_at);
            payload->err = 0;
            break;
        }
        int64_t got = disk_read(&s->disk, s->read_file, payload->base, head.bytes, payload_at);
        if (got < 0) {
            rc = read_failed(s, &head, payload_at);
            break;
        }
        s->read_failures = 0;
        if ((uint64_t)got < head.bytes ||
            crc32c(0, span_of(payload->base, head.bytes)) != head.payload_crc) {
            if (!seg->is_damaged)
                s->stats.damaged_segments++;
            seg->is_damaged = true;
            s->stats.damaged_bytes += head.bytes;
            count_one_lost(s, &head, SPOOL_LOST_DAMAGED);
            moved = true;
            continue;
        }
        payload->len = head.bytes;
        s->held[(s->held_first + s->held_count++) % SPOOL_WINDOW] =
            (struct spool_held){frame, false};
        *out = frame;
        break;
    }
    if (moved)
        spool_write_position(s);
    return rc;
}

int spool_drop_oldest(struct spool *s)
{
    struct frame_head head;
    uint64_t payload_at;
    if (s->count == 0 || is_written(s, 0))
        return ERR_FULL;
    while (s->read_segment == 0) {
        int rc = s->segments[0].unread_frames > 0 ? next_head(s, &head, &payload_at) : ERR_EMPTY;
        if (rc == 0 && s->read_segment > 0) {
            step_back(s, &head, payload_at); /* the first of those that stay */
        } else if (rc == 0) {
            count_one_lost(s, &head, SPOOL_LOST_DROPPED);
        } else if (s->read_segment == 0) {
            leave_segment(s, SPOOL_LOST_DROPPED); /* read or not to be read */
        }
    }
    s->dropped_id = s->segments[0].end_id; /* those in hand, too, cannot be read again */
    spool_write_position(s);
    if (position_sync(&s->position) < 0)
        s->stats.position_errors++;
    spool_remove(s, 1);
    return 0;
}
