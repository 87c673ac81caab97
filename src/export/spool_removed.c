/* spool: its files or its directory are removed while it works. */
#include <errno.h>

#include "export/spool_state.h"

#define KEPT_FILES_MAX \
    128 /* descriptors of removed segments; with the default of 64 segments all */

static void lose_name(struct spool *s, struct segment *seg)
{
    seg->is_nameless = true;
    if (s->nameless_to == 0 || seg->first_id < s->nameless_from)
        s->nameless_from = seg->first_id;
    if (seg->end_id > s->nameless_to)
        s->nameless_to = seg->end_id;
}

/* The directory is not ours any more. In one that was only moved the segments can still be
 * opened, and nowhere else: those that are to be read are opened now. */
static void leave_directory(struct spool *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct segment *seg = &s->segments[i];
        bool is_written = s->file >= 0 && i + 1 == s->count;
        bool is_read = s->read_file >= 0 && i == s->read_segment;
        if (seg->is_nameless) {
            kept += seg->kept_file >= 0;
            continue;
        }
        lose_name(s, seg);
        if (is_written || is_read || seg->unread_frames == 0 || kept == KEPT_FILES_MAX)
            continue;
        char name[SEGMENT_NAME_BYTES];
        segment_name(name, seg->name_id);
        int file = s->disk.ops->open(s->disk.self, name, DISK_READ);
        seg->kept_file = file >= 0 ? file : -1;
        kept += file >= 0;
    }
    s->is_detached = true;
}

int spool_check_attached(struct spool *s)
{
    if (s->is_detached)
        return -ENOENT;
    if (s->disk.ops->attached(s->disk.self, s->file) != -ENOENT)
        return 0; /* it is, or the path may not be looked at: then the next write will say */
    if (s->disk.ops->attached(s->disk.self, -1) == -ENOENT)
        leave_directory(s);
    else if (s->file >= 0)
        lose_name(s, &s->segments[s->count - 1]);
    return -ENOENT;
}
