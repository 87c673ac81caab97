/*
 * survey: which segments a spool's directory holds, in the order of their ids, and
 * what the position says. Only reads; for the spool's start and for `lipservice spool`.
 */
#pragma once

#include "export/position.h"
#include "export/segment.h"
#include "util/err.h"

struct segment {
    uint64_t name_id;    /* its name; first_id, unless the file was renamed */
    uint64_t first_id;   /* of its frames */
    uint64_t void_from;  /* ids from here to first_id were never stored */
    uint64_t limit_id;   /* its frames from here on do not count: a later segment said so */
    uint64_t end_id;     /* the id after its last frame */
    uint64_t file_bytes; /* on disk, the room reserved included */
    uint64_t data_end;   /* where its frames end */
    uint64_t unread_frames, unread_records;
    uint64_t all_frames, all_records;        /* that were found sound in it, delivered or not */
    uint64_t missing_records, damaged_bytes; /* as found at the start */
    uint64_t first_accepted_ns;              /* of its oldest frame; 0: not known */
    uint64_t boot;                           /* see segment.h */
    uint32_t salt;
    bool verified;   /* its payloads were proved, and those that are damaged are no frames */
    bool is_damaged; /* kept aside when it is delivered */
    /* No longer found by its name; kept_file (-1: none) is the way to its frames. */
    bool is_nameless;
    int kept_file;
};

struct survey {
    struct segment *segments;
    size_t count, capacity;
    struct position position;
    bool has_position;
    int position_err;           /* why not: ERR_EMPTY: there is none */
    uint64_t unreadable;        /* segments that could not be opened or read, or are no files */
    uint64_t headless;          /* segments without a sound header */
    uint64_t unreadable_end_id; /* no frame of them can have this id or one above */
    uint64_t aside_files, aside_bytes; /* *.seg.corrupt */
};

struct survey_opts {
    /* A segment without a sound header, or with one of zeros (`empty`); may be NULL. */
    void (*headless)(void *ctx, const char *name, uint64_t bytes, bool empty);
    void *ctx;
    struct position_file *position; /* opened for writing; NULL: only read */
};

/* Fill *out, which need not be initialised; survey_done() it whatever is returned.
 *   ERR_UNSUPPORTED  a segment of a newer version; err names it
 *   ERR_IO           with opts->position: rights or descriptors keep a segment from being read
 *                    that may hold frames; err names it */
MUST_CHECK int survey_read(struct survey *out, const struct disk *disk,
                           const struct survey_opts *opts, struct error *err);
void survey_done(struct survey *s);

/* Frames that are missing, and where they must have been. */
struct survey_gap {
    uint64_t name_id; /* of the segment, which may be missing itself */
    uint64_t frames;
    uint64_t records; /* of them; 0: not known */
    uint64_t bytes;   /* that stand there instead */
};

#define SURVEY_GAPS_MAX 16 /* further ones are added to the last */

/* What the frames say that were found; ids below the position's are not asked about. */
struct survey_findings {
    uint64_t frames, records, bytes; /* undelivered, and sound as far as checked */
    uint64_t lost_frames;            /* ids that must have been there and are not */
    uint64_t damaged_bytes;          /* inside, before frames that are sound */
    uint64_t torn_bytes;             /* behind the last sound frame of the last segment */
    uint64_t duplicate_frames;       /* ids that came before */
    uint64_t oldest_unix_ns;         /* 0: nothing waits */
    uint64_t next_id;                /* above every id that was seen, or that the position has */
    struct survey_gap gaps[SURVEY_GAPS_MAX];
    size_t gap_count;
    bool last_is_cut_short; /* the last segment could not be read to its end: it is not torn */
};

/* For each undelivered frame, in order of ids; non-zero ends the walk and is returned. */
typedef int survey_frame_fn(void *ctx, const struct segment_walk *w, const struct frame_head *head,
                            uint64_t payload_at);

/* Walk every segment that is not wholly delivered, filling data_end, end_id, unread_*
 * and the damage. Payloads are proved in the last segment, which alone can be torn, and
 * everywhere with `all`. fn may be NULL; then, without `all`, a segment's end mark is
 * believed. */
MUST_CHECK int survey_walk(struct survey *s, const struct disk *disk, bool all,
                           struct survey_findings *out, survey_frame_fn *fn, void *ctx);
