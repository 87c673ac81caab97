/*
 * replay: `lipservice replay`, what captured OTLP would cost under a
 * configuration, and under a policy beside it.
 *
 * The real pipeline, with the program's own options (config/pipeline.h), and the real batches,
 * offline. Records are decided by their own time, as they are in the program
 * (pipeline/record_clock.h); the wall clock stands at the newest observed time (else timestamp)
 * of the request in hand. It does not go back for requests that come late; only for leaps of
 * more than an hour, which are another capture. The same input gives the same output, byte by
 * byte.
 */
#pragma once

#include "config/config.h"
#include "export/batch.h"
#include "otlp/capture.h"
#include "pipeline/pipeline.h"
#include "policy/money.h"

/* ---- one run, for the file that reports it ----------------------------- */

#define LANES_MAX 2

/* Batches as the exporter would make them, for their size alone. */
struct meter {
    struct batch_builder *builder;
    uint64_t bytes; /* of the batches that are full */
    uint64_t began_ms;
};

/* One policy. */
struct lane {
    struct replay *replay;
    const char *name;
    struct rules *rules;
    struct pipeline *pipeline;
    struct meter meter;
    uint64_t kept[LEVEL_COUNT];
};

struct replay {
    struct config cfg;
    struct lane lanes[LANES_MAX];
    size_t lane_count;
    struct meter all; /* were everything kept */
    struct clock_fake clock;
    uint64_t ticked_ns; /* of the pipelines */
    uint64_t newest_ns; /* record of the request in hand; 0: none has a time */
    struct capture capture;
    struct arena arena; /* of the request in hand */
    uint64_t files, requests, refused, records, first_ns, last_ns, seed;
    uint64_t received[LEVEL_COUNT];
    struct money_terms terms;
    bool json;

    const char *file; /* in hand */
    uint64_t done_bytes, total_bytes, file_bytes;
    bool shows_bar;
    int bar_percent;
};

/* Write what was counted to standard output. 0 or ERR_*. */
int replay_report(const struct replay *r);
