/* journal_log: see the header. */
#include "export/journal_log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/diag.h"

static void log_broken(const struct spool_stats *s)
{
    const char *error = strerror(-s->broken_by);
    char quoted[DIAG_QUOTE_BYTES];
    if (s->broken_by == -ENOENT)
        diag(DIAG_ERROR, "spool_broken",
             "the directory or its files were removed; clients are answered to send again",
             "reason=removed");
    else if (s->needed_bytes > 0)
        diag(DIAG_ERROR, "spool_broken",
             "the disk has no room for another segment; clients are answered to send again",
             "reason=disk_full needed_bytes=%llu free_bytes=%llu",
             (unsigned long long)s->needed_bytes, (unsigned long long)s->free_bytes);
    else
        diag(DIAG_ERROR, "spool_broken",
             "nothing can be stored now; clients are answered to send again", "reason=%s error=%s",
             s->broken == ERR_DISK_FULL ? "disk_full" : "write_error",
             diag_quote(quoted, span_str(error)));
}

static void log_unreadable(const struct spool_stats *s)
{
    char name[SEGMENT_NAME_BYTES], quoted[DIAG_QUOTE_BYTES];
    segment_name(name, s->unreadable_id);
    diag(DIAG_ERROR, "spool_unreadable",
         "stored records cannot be read; they stay and it is tried again",
         "segment=%s error=%s records=%llu", name,
         diag_quote(quoted, span_str(strerror(-s->unreadable))), (unsigned long long)s->records);
}

static void log_damage(const struct journal_job *job)
{
    for (size_t i = 0; i < job->damage_count; i++) {
        const struct journal_damage *d = &job->damages[i];
        char records[24] = "unknown";
        if (d->records > 0)
            snprintf(records, sizeof records, "%llu", (unsigned long long)d->records);
        diag(DIAG_WARN, "spool_damage", "stored records are lost: their bytes are damaged or gone",
             "file=%s frames=%llu records=%s bytes=%llu", d->segment, (unsigned long long)d->frames,
             records, (unsigned long long)d->bytes);
    }
}

static void log_full(const struct spool_stats *s, bool is_full, uint64_t max_bytes, bool is_urgent)
{
    static const char *const texts[2][2] = {
        {"there is room in the spool again",
         "the spool is full; clients are answered to send again later"},
        {"there is room for errors in their own lane again",
         "the lane of errors is full; further errors wait with the other records"},
    };
    diag(is_full && !is_urgent ? DIAG_WARN : DIAG_INFO, "spool_full", texts[is_urgent][is_full],
         "bytes=%llu max_bytes=%llu", (unsigned long long)s->bytes, (unsigned long long)max_bytes);
}

void journal_log_state(struct journal_log *l, const struct journal_job *job,
                       const struct spool_stats *s, bool is_full, const struct journal_opts *opts)
{
    log_damage(job);
    if (s->broken != l->broken && s->broken != 0)
        log_broken(s);
    else if (s->broken != l->broken)
        diag(DIAG_INFO, "spool_works", "the spool can be written again", "bytes=%llu",
             (unsigned long long)s->bytes);
    if (s->unreadable != l->unreadable && s->unreadable != 0)
        log_unreadable(s);
    else if (s->unreadable != l->unreadable)
        diag(DIAG_INFO, "spool_readable", "stored records can be read again", "records=%llu",
             (unsigned long long)s->records);
    if (is_full != l->is_full)
        log_full(s, is_full, opts->max_bytes, opts->lane == LANE_URGENT);
    *l = (struct journal_log){s->broken, s->unreadable, is_full};
}
