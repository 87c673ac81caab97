/* journal_stats: the counts of several journals as those of one. */
#include "export/journal.h"

static void add_spool(struct spool_stats *s, const struct spool_stats *one)
{
    s->bytes += one->bytes;
    s->segments += one->segments;
    s->room_bytes += one->room_bytes;
    s->frames += one->frames;
    s->records += one->records;
    s->unsynced_frames += one->unsynced_frames;
    s->unsynced_bytes += one->unsynced_bytes;
    s->in_hand += one->in_hand;
    if (s->oldest_unix_ns == 0 ||
        (one->oldest_unix_ns != 0 && one->oldest_unix_ns < s->oldest_unix_ns))
        s->oldest_unix_ns = one->oldest_unix_ns;
    s->earlier_records += one->earlier_records;
    s->nameless_records += one->nameless_records;
    s->dropped_records += one->dropped_records;
    s->write_errors += one->write_errors;
    s->read_errors += one->read_errors;
    s->position_errors += one->position_errors;
    for (int why = 0; why < SPOOL_LOSS_COUNT; why++) {
        s->lost_frames[why] += one->lost_frames[why];
        s->lost_records[why] += one->lost_records[why];
    }
    s->missing_frames += one->missing_frames;
    s->damaged_bytes += one->damaged_bytes;
    s->torn_bytes += one->torn_bytes;
    s->duplicate_frames += one->duplicate_frames;
    s->damaged_segments += one->damaged_segments;
    s->aside_files += one->aside_files;
    s->aside_bytes += one->aside_bytes;
}

static void note_fault(struct spool_stats *s, const struct spool_stats *one)
{
    if (s->broken == 0) {
        s->broken = one->broken;
        s->broken_since_ms = one->broken_since_ms;
        s->broken_by = one->broken_by;
        s->needed_bytes = one->needed_bytes;
        s->free_bytes = one->free_bytes;
    }
    if (s->unreadable == 0) {
        s->unreadable = one->unreadable;
        s->unreadable_id = one->unreadable_id;
        s->unreadable_since_ms = one->unreadable_since_ms;
    }
}

void journal_stats_add(struct journal_stats *sum, const struct journal_stats *one)
{
    add_spool(&sum->spool, &one->spool);
    note_fault(&sum->spool, &one->spool);
    sum->commits += one->commits;
    sum->commit_records += one->commit_records;
    sum->commit_bytes += one->commit_bytes;
    sum->failed_commits += one->failed_commits;
    sum->syncs += one->syncs;
    sum->sync_ns += one->sync_ns;
    if (one->sync_max_ns > sum->sync_max_ns)
        sum->sync_max_ns = one->sync_max_ns;
    sum->unsynced_records += one->unsynced_records;
    sum->unstored_records += one->unstored_records;
    sum->found_records += one->found_records;
    sum->unfound_records += one->unfound_records;
    sum->unsound_frames += one->unsound_frames;
    sum->held_bytes += one->held_bytes;
    sum->is_closed = sum->is_closed && one->is_closed;
}
