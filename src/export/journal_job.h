/*
 * journal_job: what the journal does away from the loop, one job at a time:
 *
 *     append the groups -> sync -> settle -> checkpoint -> read ahead
 *
 * The loop fills in what is to be done and takes the results; while the job runs only the
 * job touches the spool and this struct.
 *
 * Blocking: all of it.
 */
#pragma once

#include "export/batch.h"
#include "export/segment.h"
#include "export/spool.h"
#include "util/list.h"

/* Read by one job at most; between two of them, and around them, something may be lost. */
#define JOURNAL_READS_MAX 64
#define JOURNAL_EVENTS_MAX (2 * JOURNAL_READS_MAX + 8)

/* What is committed together: a frame. */
struct journal_group {
    struct list link;
    uint64_t number; /* from 1, in the order of their first records */
    uint64_t accepted_unix_ns;
    struct batch *batch; /* owned */
    uint64_t id;         /* of its frame, when it was appended */
    int rc;              /* 0: it is stored */
};

/* What the reader met, in the order of ids. */
struct journal_event {
    bool is_loss;
    enum spool_loss why;
    uint64_t until_id;        /* of a loss: see feeder_lost() */
    struct spool_frame frame; /* else: what was read */
    struct buf payload;
};

/* Damage that was met, for the log. */
#define JOURNAL_DAMAGES_MAX 16 /* what comes behind is added to the last */

struct journal_damage {
    char segment[SEGMENT_NAME_BYTES];
    uint64_t frames, records, bytes;
};

struct journal_job {
    struct spool *spool; /* NULL after a job that closes */

    struct list groups; /* of struct journal_group */
    uint64_t settled[SPOOL_WINDOW];
    size_t settled_count;
    bool syncs; /* what was appended, now or before */
    bool checkpoints;
    bool probes; /* write an empty frame: does the disk work again? */
    bool closes;
    size_t read_bytes; /* read until so many are there; 0: nothing */

    struct journal_event events[JOURNAL_EVENTS_MAX];
    size_t event_count;
    struct journal_damage damages[JOURNAL_DAMAGES_MAX];
    size_t damage_count;
    int read_rc;      /* why reading ended before read_bytes; 0: it did not */
    bool has_synced;  /* with success */
    uint64_t sync_ns; /* that it took; 0: none was asked for */
    uint64_t stored_id;
    struct spool_stats stats;
};

/* For struct spool_opts, with the job as ctx. */
void journal_job_lost(void *job, const struct spool_frame *frame, uint64_t frames, uint64_t records,
                      enum spool_loss why);

void journal_job_damaged(void *job, const char *segment, uint64_t frames, uint64_t records,
                         uint64_t bytes);

void journal_job_run(struct journal_job *job);
