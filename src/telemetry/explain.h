/*
 * explain: log records in, and for each in words or as a line of JSON what becomes of it
 * and why: the form that `lipservice explain` and the admin page /api/explain share.
 *
 * It runs the pipeline's own functions, for each record by itself: what depends on the
 * records before (the first of a pattern) is said and not counted.
 *
 * Errors     0, or a negative code (util/err.h).
 * Ownership  all is the caller's and borrowed; what is lent dies with the call.
 * Blocking   never.
 */
#pragma once

#include "otlp/capture.h"
#include "pipeline/pipeline.h"
#include "util/err.h"
#include "util/json.h"

/* What a running pipeline has counted of a record's pattern. */
struct explain_counts {
    struct pattern_counts all, today;
    uint64_t first_seen_ns, last_seen_ns;
    uint64_t today_ns; /* since when `today` counts */
};

struct explain_opts {
    struct pipeline *pipeline;
    /* The wording of the nth keep or drop rule, as it was configured. */
    const char *(*rule_text)(const void *rules, bool keep, unsigned place);
    const void *rules;
    struct budget *budget; /* may be NULL */
    bool json;
    bool is_strict; /* one bad record refuses its request, as in receivers.otlp.strict */
    struct span service, severity; /* of records that are mere lines; severity may be empty */
    uint64_t max_records;          /* ERR_TOO_BIG beyond; 0: any number */
    void *ctx;
    /* The words or the line of one record. */
    void (*write)(void *ctx, struct span text);
    /* What is no record, with its line (from 1; 0: the whole text). */
    void (*refused)(void *ctx, size_t line, const char *why);
    /* False: the pattern was never seen. NULL: nothing is running, and nothing counted. */
    bool (*counts)(void *ctx, const struct pattern *p, struct explain_counts *out);
};

struct explain {
    struct explain_opts opts;
    struct arena arena;
    struct capture capture;
    struct buf out;
    const struct rules *rules; /* in force for the record in hand */
    uint64_t records, refused;
    struct json json; /* of the record in hand */
};

MUST_CHECK int explain_init(struct explain *e, const struct explain_opts *opts);

/* Accepts one whose init failed, and a zeroed one. */
void explain_done(struct explain *e);

/* One record whose body is this text. */
MUST_CHECK int explain_line(struct explain *e, struct span text);

/* OTLP JSON (a document, or one a line), else lines. */
MUST_CHECK int explain_text(struct explain *e, struct span text);
