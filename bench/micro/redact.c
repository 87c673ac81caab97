/*
 * redact: nanoseconds a kept record, as the pipeline's door has it.
 *
 *   build/bench/micro_redact REQUEST.pb [rounds]
 *
 * REQUEST.pb is one of bench/bodies.py (build-bench/bodies/1000/00.pb). The best round counts: the
 * machine is shared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/redact.h"

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int on_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct logs_group clean;
    int rc = redactor_pass(ctx, 0, &g, &record, &clean);
    return rc < 0 ? rc : 0;
}

int main(int argc, char **argv)
{
    static uint8_t room[16 << 20];
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    size_t n = f != NULL ? fread(room, 1, sizeof room, f) : 0;
    int rounds = argc > 2 ? atoi(argv[2]) : 200;
    struct logs_count count;
    struct arena arena;
    struct redactor *r;
    struct redact_opts opts = {.mode = REDACT_DETECT, .kinds = REDACT_KINDS_USUAL};
    uint64_t best = UINT64_MAX;
    arena_init(&arena, 16 << 20, NULL);
    if (n == 0 || logs_check(span_of(room, n), &count) < 0 ||
        redact_names_init(&opts.names, SPAN(""),
                          SPAN("posthogDistinctId,distinct_id,sessionId,session.id,trace_id,"
                               "span_id,pattern.id,pattern.family,otel.logs.*")) < 0 ||
        redactor_new(&r, &opts) < 0)
        return EXIT_FAILURE;
    for (int i = 0; i < rounds; i++) {
        uint64_t began = now_ns();
        if (logs_each(span_of(room, n), 0, &arena, on_record, r) < 0)
            return EXIT_FAILURE;
        uint64_t took = now_ns() - began;
        best = took < best ? took : best;
        arena_reset(&arena);
    }
    const struct redact_stats *s = redactor_stats(r);
    double records = (double)count.records;
    printf("%.0f ns a record, of %.0f bytes and %.0f bytes of text\n", (double)best / records,
           (double)count.record_bytes / records,
           (double)s->scanned_bytes / records / (double)rounds);
    redactor_free(r);
    arena_done(&arena);
    return EXIT_SUCCESS;
}
