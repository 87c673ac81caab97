/* survey: list, order, walk. */
#include "export/survey.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ASIDE_SUFFIX ".seg.corrupt"

struct listing {
    struct survey *survey;
    const struct disk *disk;
    const struct survey_opts *opts;
    struct error *err;
};

static struct segment *add(struct survey *s)
{
    if (s->count == s->capacity) {
        size_t more = s->capacity == 0 ? 16 : s->capacity * 2;
        struct segment *grown = realloc(s->segments, more * sizeof *grown);
        if (grown == NULL)
            return NULL;
        s->segments = grown;
        s->capacity = more;
    }
    struct segment *seg = &s->segments[s->count++];
    *seg = (struct segment){0};
    return seg;
}

static void count_aside(struct listing *l, const char *name)
{
    size_t len = strlen(name), tail = sizeof ASIDE_SUFFIX - 1;
    if (len <= tail || strcmp(name + len - tail, ASIDE_SUFFIX) != 0)
        return;
    int file = l->disk->ops->open(l->disk->self, name, DISK_READ);
    int64_t size = file < 0 ? 0 : l->disk->ops->size(l->disk->self, file);
    if (file >= 0)
        l->disk->ops->close(l->disk->self, file);
    l->survey->aside_files++;
    l->survey->aside_bytes += size > 0 ? (uint64_t)size : 0;
}

/* Ids that a file which cannot be read may hold are not given again. */
static void reserve_ids(struct survey *s, uint64_t id, int64_t size)
{
    uint64_t frames = size > 0 ? (uint64_t)size / FRAME_HEAD_BYTES + 1 : 1u << 20;
    uint64_t end = id > UINT64_MAX - frames ? UINT64_MAX : id + frames;
    s->unreadable++;
    if (end > s->unreadable_end_id)
        s->unreadable_end_id = end;
}

/* A start that may not read a segment must not go on as if it were not there. What is no file
 * was never ours, and a place that the medium refuses may stay so. */
static int unreadable(struct listing *l, const char *name, uint64_t id, int64_t size, int rc)
{
    bool is_lasting = rc == -EIO || rc == -EINVAL || rc == -ELOOP || rc == -ENXIO;
    reserve_ids(l->survey, id, size);
    if (is_lasting || l->opts->position == NULL)
        return 0;
    return err_set(l->err, ERR_IO, "segment %s cannot be read: %s", name, strerror(-rc));
}

static int on_name(void *ctx, const char *name)
{
    struct listing *l = ctx;
    struct survey *s = l->survey;
    const struct disk *d = l->disk;
    uint8_t bytes[SEGMENT_DATA_AT];
    struct segment_header h = {0};
    uint64_t id;
    if (!segment_name_read(&id, name)) {
        count_aside(l, name);
        return 0;
    }
    int file = d->ops->open(d->self, name, DISK_READ);
    if (file == -ENOENT)
        return 0; /* delivered and removed while we look */
    int64_t size = file < 0 ? file : d->ops->size(d->self, file);
    int64_t got = size < 0 ? size : disk_read(d, file, bytes, sizeof bytes, 0);
    if (file >= 0)
        d->ops->close(d->self, file);
    if (got < 0)
        return unreadable(l, name, id, size, (int)got);
    int rc = segment_header_decode(&h, bytes, (size_t)got);
    if (rc == ERR_UNSUPPORTED)
        return err_set(l->err, rc, "%s is of a newer version of lipservice; nothing was changed",
                       name);
    if (rc < 0) {
        bool empty = rc == ERR_EMPTY && size <= SEGMENT_DATA_AT;
        s->headless += !empty;
        if (rc == ERR_EMPTY && !empty) { /* zeros to the end? */
            struct segment_walk w = {.disk = d, .at = SEGMENT_DATA_AT, .end = (uint64_t)size};
            struct frame_head head;
            uint64_t payload_at;
            w.file = d->ops->open(d->self, name, DISK_READ);
            empty = w.file >= 0 && segment_next(&w, &head, &payload_at) == 0 && w.tail_bytes == 0;
            if (w.file >= 0)
                d->ops->close(d->self, w.file);
            s->headless -= empty;
        }
        if (l->opts->headless != NULL)
            l->opts->headless(l->opts->ctx, name, (uint64_t)size, empty);
        return 0;
    }
    struct segment *seg = add(s);
    if (seg == NULL)
        return ERR_NOMEM;
    *seg = (struct segment){
        .name_id = id,
        .first_id = h.first_id,
        .void_from = h.void_from,
        .limit_id = UINT64_MAX,
        .end_id = h.first_id,
        .file_bytes = (uint64_t)size,
        .data_end = SEGMENT_DATA_AT,
        .boot = h.boot,
        .salt = h.salt,
        .kept_file = -1,
    };
    return 0;
}

static int by_first_id(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;
    if (x->first_id != y->first_id)
        return x->first_id < y->first_id ? -1 : 1;
    return x->name_id < y->name_id ? -1 : x->name_id > y->name_id;
}

/* From the back: the lowest void_from of the segments behind, twins not among them. */
static void set_limits(struct survey *s)
{
    uint64_t limit = UINT64_MAX, behind = UINT64_MAX;
    for (size_t i = s->count; i-- > 0;) {
        struct segment *seg = &s->segments[i];
        if (i + 1 == s->count || s->segments[i + 1].first_id != seg->first_id)
            behind = limit;
        seg->limit_id = behind;
        if (seg->void_from < limit)
            limit = seg->void_from;
    }
}

int survey_read(struct survey *out, const struct disk *disk, const struct survey_opts *opts,
                struct error *err)
{
    *out = (struct survey){0};
    struct listing l = {out, disk, opts, err};
    /* In a directory that is in use, what must be there is what was stored before we look, and
     * what may be gone is what was settled when we have looked. */
    struct position before = {0};
    if (opts->position == NULL)
        ignore_code(position_read(&before, disk, NULL)); /* zero where there is none */
    int rc = disk->ops->list(disk->self, on_name, &l);
    if (rc < 0)
        return rc;
    if (out->count > 0)
        qsort(out->segments, out->count, sizeof *out->segments, by_first_id);
    set_limits(out);
    out->position_err = position_read(&out->position, disk, opts->position);
    out->has_position = out->position_err == 0;
    if (opts->position == NULL)
        out->position.stored = before.stored;
    return 0;
}

void survey_done(struct survey *s)
{
    free(s->segments);
    *s = (struct survey){0};
}

/* ---- frames ------------------------------------------------------------- */

struct tally {
    const struct survey *survey;
    struct survey_findings *found;
    uint64_t expect; /* the next id; 0: not known */
};

static struct survey_gap *gap_of(struct survey_findings *f, uint64_t name_id)
{
    struct survey_gap *last = f->gap_count == 0 ? NULL : &f->gaps[f->gap_count - 1];
    if (last != NULL && (last->name_id == name_id || f->gap_count == SURVEY_GAPS_MAX))
        return last;
    f->gaps[f->gap_count] = (struct survey_gap){.name_id = name_id};
    return &f->gaps[f->gap_count++];
}

/* Frames from t->expect up to `id` are missing, in the segment of that name (0: in one that
 * began there and is missing too). */
static void expect_upto(struct tally *t, uint64_t id, uint64_t name_id)
{
    uint64_t from = t->expect, missing = 0;
    if (from > 0 && from < id)
        for (; from < id; from++) { /* those that were settled out of order are not missed */
            if (from >= t->survey->position.settled + POSITION_WINDOW) {
                missing += id - from;
                break;
            }
            missing += !position_is_done(&t->survey->position, from);
        }
    if (missing > 0)
        gap_of(t->found, name_id > 0 ? name_id : t->expect)->frames += missing;
    t->found->lost_frames += missing;
    if (t->expect < id)
        t->expect = id;
}

static int walk_one(struct tally *t, struct segment *seg, struct segment_walk *w,
                    survey_frame_fn *fn, void *ctx)
{
    struct frame_head head;
    uint64_t payload_at;
    int rc;
    while ((rc = segment_next(w, &head, &payload_at)) == 1) {
        if (head.id >= seg->limit_id) {
            w->at = payload_at - FRAME_HEAD_BYTES; /* refused once: as if it were not there */
            w->tail_bytes = 0;
            rc = 0;
            break;
        }
        seg->all_frames++;
        seg->all_records += head.records;
        if (t->expect > 0 && head.id < t->expect) {
            if (!position_is_done(&t->survey->position, head.id))
                t->found->duplicate_frames++;
            continue;
        }
        expect_upto(t, head.id, seg->name_id);
        t->expect = head.id + 1;
        if (seg->first_accepted_ns == 0)
            seg->first_accepted_ns = head.accepted_unix_ns;
        if (position_is_done(&t->survey->position, head.id))
            continue;
        if (t->found->oldest_unix_ns == 0 || head.accepted_unix_ns < t->found->oldest_unix_ns)
            t->found->oldest_unix_ns = head.accepted_unix_ns;
        seg->unread_frames++;
        seg->unread_records += head.records;
        t->found->bytes += head.bytes;
        if (fn != NULL && (rc = fn(ctx, w, &head, payload_at)) != 0)
            break;
    }
    return rc;
}

static bool read_end_mark(struct segment_end *end, const struct segment *seg,
                          const struct disk *disk, int file)
{
    uint8_t mark[SEGMENT_END_BYTES];
    if (seg->file_bytes < SEGMENT_DATA_AT + sizeof mark)
        return false;
    return disk_read(disk, file, mark, sizeof mark, seg->file_bytes - sizeof mark) == sizeof mark &&
           segment_end_decode(end, mark, seg->salt);
}

/* What is missing in this segment, as far as its end mark says it. */
static void note_damage(struct segment *seg, const struct segment_walk *w)
{
    struct segment_end end;
    seg->damaged_bytes = w->damaged_bytes;
    if (read_end_mark(&end, seg, w->disk, w->file) && end.records > seg->all_records)
        seg->missing_records = end.records - seg->all_records;
}

static void describe_gaps(const struct survey *s, struct survey_findings *f)
{
    for (size_t i = 0, at = 0; i < f->gap_count; i++) {
        while (at < s->count && s->segments[at].name_id < f->gaps[i].name_id)
            at++;
        if (at == s->count || s->segments[at].name_id != f->gaps[i].name_id)
            continue;
        f->gaps[i].records = s->segments[at].missing_records;
        f->gaps[i].bytes = s->segments[at].damaged_bytes;
    }
}

/* The walk was stopped by the disk, not by what stands there. The reader tries again; until then
 * every frame that must be behind is taken to be there. */
static void cut_short(struct survey *s, struct tally *t, size_t i)
{
    struct segment *seg = &s->segments[i];
    bool is_last = i + 1 == s->count;
    reserve_ids(s, t->expect > 0 ? t->expect : seg->first_id, (int64_t)seg->file_bytes);
    uint64_t end = is_last ? s->unreadable_end_id : s->segments[i + 1].void_from;
    uint64_t sure = !is_last ? end : s->has_position ? s->position.stored : 0;
    uint64_t from = t->expect > seg->first_id ? t->expect : seg->first_id;
    seg->unread_frames += sure > from ? sure - from : 1; /* one at least, so that it is read */
    seg->verified = false;
    seg->data_end = seg->file_bytes;
    if (t->expect < end)
        t->expect = end;
    seg->end_id = t->expect;
    t->found->last_is_cut_short = is_last;
}

/* The end mark of a segment of which nothing was delivered says all that a start wants to
 * know. False: there is none, or it is not so simple. */
static bool believe_end(struct tally *t, struct segment *seg, const struct segment_walk *w)
{
    struct segment_end end;
    uint64_t at = seg->file_bytes - SEGMENT_END_BYTES;
    if (!read_end_mark(&end, seg, w->disk, w->file) || end.end_id < seg->first_id ||
        end.end_id > seg->limit_id || end.frames != end.end_id - seg->first_id ||
        t->expect > seg->first_id || end.frames > at / FRAME_HEAD_BYTES)
        return false;
    for (uint64_t i = 0; i < POSITION_WINDOW && i < end.frames; i++)
        if (position_is_done(&t->survey->position, seg->first_id + i))
            return false;
    seg->unread_frames = end.frames;
    seg->unread_records = end.records;
    seg->first_accepted_ns = end.first_accepted_ns;
    seg->data_end = at;
    seg->end_id = t->expect = end.end_id;
    t->found->frames += end.frames;
    t->found->records += end.records;
    t->found->bytes += at - SEGMENT_DATA_AT - end.frames * FRAME_HEAD_BYTES;
    if (t->found->oldest_unix_ns == 0 || end.first_accepted_ns < t->found->oldest_unix_ns)
        t->found->oldest_unix_ns = end.first_accepted_ns;
    return true;
}

/* What the walk found of a segment, when it came to its end. */
static void finish_segment(struct survey *s, struct tally *t, size_t i,
                           const struct segment_walk *w)
{
    struct segment *seg = &s->segments[i];
    seg->is_damaged = w->damaged_bytes > 0;
    seg->data_end = w->at;
    seg->end_id = t->expect;
    if (i + 1 == s->count) {
        t->found->torn_bytes = w->tail_bytes;
    } else if (w->tail_bytes > 0 && s->segments[i + 1].void_from > t->expect) {
        seg->is_damaged = true; /* frames are missing where something stands */
        seg->damaged_bytes += w->tail_bytes;
    }
    t->found->damaged_bytes += seg->damaged_bytes;
}

/* 0, or what ends the whole walk. */
static int walk_segment(struct survey *s, struct tally *t, size_t i, bool all, survey_frame_fn *fn,
                        void *ctx, const struct disk *disk)
{
    struct segment *seg = &s->segments[i];
    bool is_last = i + 1 == s->count;
    char name[SEGMENT_NAME_BYTES];
    segment_name(name, seg->name_id);
    seg->verified = all || is_last;
    struct segment_walk w = {
        .disk = disk,
        .file = disk->ops->open(disk->self, name, DISK_READ),
        .salt = seg->salt,
        .checks_payload = seg->verified,
        .at = SEGMENT_DATA_AT,
        .end = seg->file_bytes,
    };
    if (w.file == -ENOENT) { /* delivered and removed while we look */
        seg->end_id = t->expect = is_last ? seg->end_id : s->segments[i + 1].first_id;
        return 0;
    }
    bool believes = w.file >= 0 && !is_last && !all && fn == NULL && believe_end(t, seg, &w);
    int rc = w.file < 0 ? w.file : believes ? 0 : walk_one(t, seg, &w, fn, ctx);
    if (rc == 0 && !believes)
        note_damage(seg, &w);
    if (w.file >= 0)
        disk->ops->close(disk->self, w.file);
    if (believes)
        return 0;
    if (rc == ERR_NOMEM || rc > 0 || (fn != NULL && rc < 0 && w.file >= 0))
        return rc;
    if (rc < 0)
        cut_short(s, t, i);
    else
        finish_segment(s, t, i, &w);
    t->found->frames += seg->unread_frames;
    t->found->records += seg->unread_records;
    return 0;
}

int survey_walk(struct survey *s, const struct disk *disk, bool all, struct survey_findings *out,
                survey_frame_fn *fn, void *ctx)
{
    *out = (struct survey_findings){0};
    struct tally t = {s, out, s->has_position ? s->position.settled : 0};
    for (size_t i = 0; i < s->count; i++) {
        struct segment *seg = &s->segments[i];
        expect_upto(&t, seg->void_from,
                    i > 0 && s->segments[i - 1].is_damaged ? s->segments[i - 1].name_id : 0);
        if (t.expect < seg->first_id)
            t.expect = seg->first_id;
        if (i + 1 < s->count && s->has_position &&
            s->segments[i + 1].void_from <= s->position.settled) {
            seg->end_id = s->segments[i + 1].first_id; /* delivered: not read */
            seg->data_end = seg->file_bytes;
            continue;
        }
        int rc = walk_segment(s, &t, i, all, fn, ctx, disk);
        if (rc != 0)
            return rc;
    }
    if (s->has_position)
        expect_upto(&t, s->position.stored, s->count > 0 ? s->segments[s->count - 1].name_id : 0);
    describe_gaps(s, out);
    out->next_id = t.expect;
    if (out->next_id < s->unreadable_end_id)
        out->next_id = s->unreadable_end_id;
    if (out->next_id == 0)
        out->next_id = 1;
    return 0;
}
