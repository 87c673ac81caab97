/* spool_state: what the files of the spool share. Only export/spool*.c includes it. */
#pragma once

#include "export/position.h"
#include "export/segment.h"
#include "export/spool.h"
#include "export/survey.h"
#include "util/err.h"

struct spool_held {
    struct spool_frame frame;
    bool settled;
};

struct spool {
    struct disk disk;
    struct spool_opts opts;
    uint32_t salt; /* of the next segment */
    uint64_t boot; /* of this machine, see segment.h; 0: not known */
    uint64_t opened_ms, opened_unix_ns;
    uint64_t own_id; /* frames from here on are of this process */
    bool is_opened;
    bool is_detached;                    /* the directory at our path is another one, or none */
    uint64_t nameless_from, nameless_to; /* ids of frames in files that were removed */

    /* All segments in the order of their ids; the last one is written while file >= 0. */
    struct segment *segments;
    size_t count, capacity;

    /* Writing. */
    int file;           /* of the last segment; < 0: the next append begins one */
    uint64_t write_at;  /* behind the last frame written; segment.data_end: the last stored */
    uint64_t next_id;   /* of the next frame */
    uint64_t stored_id; /* behind the last stored frame */
    uint64_t unsynced_frames, unsynced_records, unsynced_first_ns;
    bool data_dirty;     /* written since the last fdatasync */
    bool dir_dirty;      /* a segment was created: its name is durable before its frames are */
    bool removals_dirty; /* segments were removed: no hurry */

    /* Reading: everything below read_id is settled, in hand, or lost. */
    size_t read_segment;
    uint64_t read_at, read_id;
    uint64_t dropped_id;      /* what was in segments that were dropped is below it */
    int read_file;            /* of segments[read_segment]; < 0: not open */
    bool medium_fails;        /* proven of the segment that is read */
    struct position restored; /* what was settled out of order before the start */

    /* In hand: a ring, in the order of ids. */
    struct spool_held held[SPOOL_WINDOW];
    size_t held_first, held_count, held_settled;

    struct position_file position;
    struct spool_stats stats; /* counters; the rest is filled in by spool_stats() */
    uint64_t bytes;           /* of all segments */
};

/* rc as ERR_*, after counting it and marking the spool broken; 0 stays. */
MUST_CHECK int spool_failed(struct spool *s, int rc);

/* Nothing since the last stored frame is stored, or ever will be: end the segment there.
 * rc as spool_failed() returns it. */
MUST_CHECK int spool_abandon(struct spool *s, int rc);

/* Make room in the array for one more. */
MUST_CHECK int spool_reserve(struct spool *s);

/* Drop the frames of the oldest segment that were not read. 0, or ERR_FULL when it is
 * the one that is written to. */
MUST_CHECK int spool_drop_oldest(struct spool *s);

/* Close the reader's file; it goes on at the start of segments[read_segment]. */
void spool_stop_reading(struct spool *s);
/* Move the reader from segments that are read and not written to any more. */
void spool_leave_read(struct spool *s);

/* Everything below is settled. */
uint64_t spool_settled(const struct spool *s);
void spool_write_position(struct spool *s);

/* Segment or directory are not found at their path: keep what is open. -ENOENT when so, else 0. */
MUST_CHECK int spool_check_attached(struct spool *s);

/* To be logged: see struct spool_opts. */
void spool_report_damage(struct spool *s, const char *segment, uint64_t frames, uint64_t records,
                         uint64_t bytes);

/* The disk has no room for a segment of that many bytes. ERR_DISK_FULL. */
MUST_CHECK int spool_full(struct spool *s, uint64_t needed_bytes);

/* Take segments [0, n) out of directory and array. */
void spool_remove(struct spool *s, size_t n);
void spool_remove_file(struct spool *s, struct segment *seg);
