/* spool: the reading side: next, settle, and frames that will not be read. */
#include <assert.h>
#include <errno.h>

#include "export/spool_state.h"
#include "util/crc32c.h"

/* A medium that refuses a place for so long, and gives the rest of the file, is damaged there. */
#define MEDIUM_PROOF_MS 60000
#define MEDIUM_BLOCK_BYTES 4096 /* passed over at once when no frame can be made out */

/* No clock that was ever set says a time before this one: 2020-01-01. */
#define CLOCK_SET_NS (UINT64_C(1577836800) * 1000000000)

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

static void let_go(struct spool *s)
{
    while (s->held_count > 0 && s->held[s->held_first].settled) {
        s->held_first = (s->held_first + 1) % SPOOL_WINDOW;
        s->held_count--;
        s->held_settled--;
    }
}

static void hold(struct spool *s, const struct spool_frame *frame, bool settled)
{
    s->held[(s->held_first + s->held_count++) % SPOOL_WINDOW] =
        (struct spool_held){*frame, settled};
    s->held_settled += settled;
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
        let_go(s);
        spool_write_position(s);
        return;
    }
}

/* How long a frame has waited. Steps of the wall clock do not count: it only says how old the
 * frames were, when we began, that an earlier run of the machine has stored. */
static uint64_t age_ms(const struct spool *s, const struct segment *seg, const struct frame_head *h)
{
    uint64_t now_ms = clock_now_ms(s->opts.clock);
    if (h->id >= s->own_id || (s->boot != 0 && seg->boot == s->boot)) {
        int32_t age_ds = (int32_t)((uint32_t)(now_ms / 100) - h->accepted_ds);
        return age_ds > 0 ? (uint64_t)age_ds * 100 : 0;
    }
    bool is_known = h->accepted_unix_ns >= CLOCK_SET_NS && h->accepted_unix_ns < s->opened_unix_ns;
    uint64_t before_ns = is_known ? s->opened_unix_ns - h->accepted_unix_ns : 0;
    return before_ns / 1000000 + now_ms - s->opened_ms;
}

static struct spool_frame frame_of(const struct spool *s, const struct frame_head *h)
{
    uint64_t age = age_ms(s, &s->segments[s->read_segment], h);
    return (struct spool_frame){h->id, h->accepted_unix_ns, h->records, h->bytes, age};
}

static void count_lost(struct spool *s, const struct spool_frame *frame, uint64_t frames,
                       uint64_t records, enum spool_loss why)
{
    s->stats.frames -= frames;
    s->stats.records -= records;
    s->stats.lost_frames[why] += frames;
    s->stats.lost_records[why] += records;
    if (why == SPOOL_LOST_DAMAGED) {
        char name[SEGMENT_NAME_BYTES];
        segment_name(name, s->segments[s->read_segment].name_id);
        spool_report_damage(s, name, frames, records, frame != NULL ? frame->bytes : 0);
    }
    if (s->opts.lost != NULL)
        s->opts.lost(s->opts.ctx, frame, frames, records, why);
}

static void count_one_lost(struct spool *s, const struct frame_head *head, enum spool_loss why)
{
    struct spool_frame frame = frame_of(s, head);
    count_lost(s, &frame, 1, frame.records, why);
    /* While older ones are in hand the position must say of this one that it is done with: else
     * the next process would count it once more, or find a copy of it. */
    if (s->held_count > 0 && s->held_count < SPOOL_WINDOW)
        hold(s, &frame, true);
}

/* ---- the cursor --------------------------------------------------------- */

void spool_stop_reading(struct spool *s)
{
    if (s->read_file >= 0)
        s->disk.ops->close(s->disk.self, s->read_file);
    s->read_file = -1;
    s->read_at = SEGMENT_DATA_AT;
    s->medium_fails = false;
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
    struct segment *seg = &s->segments[s->read_segment];
    if (s->read_file >= 0)
        return 0;
    if (seg->is_nameless) {
        s->read_file = seg->kept_file;
        seg->kept_file = -1;
        return s->read_file >= 0 ? 0 : -ENOENT;
    }
    segment_name(name, seg->name_id);
    int file = s->disk.ops->open(s->disk.self, name, DISK_READ);
    if (file < 0)
        return file;
    s->read_file = file;
    return 0;
}

/* Is this failure the medium's for good? Asked again until it is. */
static bool medium_fails(struct spool *s, int rc)
{
    uint8_t header[SEGMENT_HEADER_BYTES];
    if (rc != -EIO || s->read_file < 0)
        return false;
    if (!s->medium_fails)
        s->medium_fails =
            s->stats.unreadable != 0 &&
            clock_now_ms(s->opts.clock) - s->stats.unreadable_since_ms >= MEDIUM_PROOF_MS &&
            disk_read(&s->disk, s->read_file, header, sizeof header, 0) > 0;
    return s->medium_fails;
}

/* No frame can be made out at the cursor: look for the next behind this block. */
static void pass_block(struct spool *s, struct segment *seg)
{
    uint64_t next = (s->read_at / MEDIUM_BLOCK_BYTES + 1) * MEDIUM_BLOCK_BYTES;
    if (next > seg->data_end)
        next = seg->data_end;
    s->stats.damaged_segments += !seg->is_damaged;
    s->stats.damaged_bytes += next - s->read_at;
    seg->is_damaged = true;
    s->read_at = next;
}

/* A start that could not read all of the segment did not count all of its frames. */
static void count_read(struct spool *s, struct segment *seg, const struct frame_head *head)
{
    uint64_t known = seg->unread_records < head->records ? seg->unread_records : head->records;
    s->stats.records += head->records - known;
    seg->unread_records -= known;
    if (seg->unread_frames > 0)
        seg->unread_frames--;
    else
        s->stats.frames++;
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
        if (s->read_at >= seg->data_end) { /* the one that is written to, as far as it is stored */
            skip_rest(s, SPOOL_LOST_DAMAGED);
            return ERR_EMPTY;
        }
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
        if (rc < 0 && medium_fails(s, rc)) {
            pass_block(s, seg);
            continue;
        }
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
        count_read(s, seg, head);
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

/* Nothing of this name is in a directory that is there, or something that was never ours. */
static bool is_gone(const struct spool *s, int rc)
{
    bool is_open = s->read_file >= 0;
    return !is_open && (rc == -ENOENT || rc == -EINVAL || rc == -ELOOP) &&
           (s->segments[s->read_segment].is_nameless ||
            s->disk.ops->attached(s->disk.self, -1) == 0);
}

/* What could not be opened or read is tried again, unless it is proven to be gone: rights,
 * descriptors and file systems that are away come back. Negative: stop reading for now. */
static int read_failed(struct spool *s, int rc, const struct frame_head *head, uint64_t payload_at)
{
    struct segment *seg = &s->segments[s->read_segment];
    s->stats.read_errors++;
    if (is_gone(s, rc) && is_written(s, s->read_segment)) {
        ignore_code(spool_check_attached(s));
        /* From now on it is read by the descriptor it was written by. */
        ignore_code(spool_abandon(s, -ENOENT));
        return 0;
    }
    if (is_gone(s, rc)) {
        if (!seg->is_damaged)
            s->stats.damaged_segments++;
        leave_segment(s, SPOOL_LOST_DAMAGED);
        return 0;
    }
    if (s->stats.unreadable == 0)
        s->stats.unreadable_since_ms = clock_now_ms(s->opts.clock);
    s->stats.unreadable = rc;
    s->stats.unreadable_id = seg->name_id;
    if (head == NULL)
        return ERR_IO;
    if (!medium_fails(s, rc)) {
        step_back(s, head, payload_at);
        return ERR_IO;
    }
    if (!seg->is_damaged)
        s->stats.damaged_segments++;
    seg->is_damaged = true;
    s->stats.damaged_bytes += head->bytes;
    count_one_lost(s, head, SPOOL_LOST_DAMAGED);
    return 0;
}

static bool is_expired(const struct spool *s, const struct spool_frame *frame)
{
    return s->opts.max_age_ns > 0 && frame->age_ms > s->opts.max_age_ns / 1000000;
}

/* The payload behind that head. 1: it is in *payload. 0: it is lost. Negative: not now. */
static int read_payload(struct spool *s, const struct frame_head *head, uint64_t payload_at,
                        struct buf *payload)
{
    struct segment *seg = &s->segments[s->read_segment];
    buf_clear(payload);
    int rc = buf_reserve_exact(payload, head->bytes);
    if (rc < 0) {
        step_back(s, head, payload_at);
        payload->err = 0;
        return rc;
    }
    int64_t got = disk_read(&s->disk, s->read_file, payload->base, head->bytes, payload_at);
    if (got < 0)
        return read_failed(s, (int)got, head, payload_at);
    if ((uint64_t)got == head->bytes &&
        crc32c(0, span_of(payload->base, head->bytes)) == head->payload_crc) {
        payload->len = head->bytes;
        s->stats.unreadable = 0;
        return 1;
    }
    if (!seg->is_damaged)
        s->stats.damaged_segments++;
    seg->is_damaged = true;
    s->stats.damaged_bytes += head->bytes;
    count_one_lost(s, head, SPOOL_LOST_DAMAGED);
    return 0;
}

int spool_next(struct spool *s, struct spool_frame *out, struct buf *payload)
{
    bool moved = false; /* past frames that will not be settled: the position has it */
    int rc = 0;
    while (rc == 0) {
        struct frame_head head;
        uint64_t payload_at;
        rc = s->held_count == SPOOL_WINDOW ? ERR_FULL : next_head(s, &head, &payload_at);
        if (rc == ERR_FULL || rc == ERR_EMPTY)
            break;
        if (rc < 0) {
            rc = read_failed(s, rc, NULL, 0);
            moved |= rc == 0;
            continue;
        }
        struct spool_frame frame = frame_of(s, &head);
        if (is_expired(s, &frame)) {
            count_one_lost(s, &head, SPOOL_LOST_EXPIRED);
            moved = true;
            continue;
        }
        rc = read_payload(s, &head, payload_at, payload);
        moved |= rc == 0;
        if (rc == 1) {
            hold(s, &frame, false);
            *out = frame;
        }
    }
    if (rc == ERR_EMPTY)
        s->stats.unreadable = 0;
    if (moved)
        spool_write_position(s);
    return rc < 0 ? rc : 0;
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
