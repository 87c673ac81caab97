/*
 * pipeline: nanoseconds a record for the decision, on bodies of bench/bodies.py.
 *
 *   python3 bench/bodies.py /tmp/bodies && build/bench/micro_pipeline /tmp/bodies/?*.pb
 *
 * Six figures: pipeline_push() whole (check, walk, sign, decide, count; what is
 * kept goes nowhere), the same under a budget, with a queue that presses and with events, the
 * sampler's decision alone, the stamp alone. The bodies
 * are taken in turn; the best round counts, because machines are shared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/pipeline.h"
#include "pipeline/stamp.h"

#define BODIES_MAX 64
#define ROUNDS 60
#define REPEATS 1000
#define PIPELINES 4 /* free, with a budget, under pressure, with events */

static int admit(void *ctx, size_t bytes, size_t largest)
{
    (void)largest;
    (void)ctx;
    (void)bytes;
    return 0;
}

static int emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                uint32_t service)
{
    (void)g;
    (void)service;
    *(uint64_t *)ctx += record.len + stamp.len;
    return 0;
}

static double half_pressed(void *ctx)
{
    (void)ctx;
    return 0.7;
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void read_file(struct buf *out, const char *path)
{
    char block[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        buf_append(out, span_of(block, n));
    fclose(f);
}

static struct rules *default_rules(void)
{
    static const double rates[LEVEL_COUNT] = {0.05, 0.05, 0.2, 0.5, 1, 1};
    struct rules *r;
    if (rules_new(&r) < 0)
        abort();
    for (int l = 0; l < LEVEL_COUNT; l++)
        rules_set_level(r, (enum level)l, rates[l], NULL);
    rules_set_first(r, 5, 60000, NULL);
    return r;
}

static int keep_first(void *ctx, const struct logs_group *g, struct span record)
{
    struct subject *s = ctx;
    static struct logs_group group;
    group = *g;
    s->group = &group;
    s->bytes = record;
    return 1;
}

static double time_decide(struct span request, const struct rules *rules, struct arena *arena)
{
    struct log_record record;
    struct pattern entry = {.in_window = 1000, .window = 1};
    struct subject s = {.record = &record, .level = LEVEL_INFO, .pattern = &entry};
    volatile unsigned kept = 0;
    logs_each(request, 1, arena, keep_first, &s);
    log_record_read(&record, s.bytes);
    double start = now_ns();
    for (int i = 0; i < REPEATS; i++) {
        s.signature = s.family = (uint64_t)i;
        kept += sampler_decide(rules, &s).verdict == VERDICT_KEPT;
    }
    return (now_ns() - start) / REPEATS;
}

static double time_stamp(void)
{
    uint8_t room[STAMP_BYTES];
    struct stamp_values values = {.threshold = rules_threshold_of(0.2)};
    volatile size_t bytes = 0;
    double start = now_ns();
    for (int i = 0; i < REPEATS; i++) {
        values.signature = values.family = (uint64_t)i;
        bytes += stamp_write(room, STAMPS_DEFAULT, &values).len;
    }
    return (now_ns() - start) / REPEATS;
}

int main(int argc, char **argv)
{
    struct buf bodies[BODIES_MAX] = {0};
    struct arena arena;
    uint64_t out = 0;
    int count = argc - 1 < BODIES_MAX ? argc - 1 : BODIES_MAX;
    if (count == 0) {
        fprintf(stderr, "usage: micro_pipeline BODY.pb...\n");
        return 64;
    }
    for (int i = 0; i < count; i++)
        read_file(&bodies[i], argv[i + 1]);
    arena_init(&arena, 1 << 20, NULL);
    struct rules *rules = default_rules();
    struct pipeline_opts opts = {
        .max_patterns = 16384,
        .max_services = 64,
        .family_weight = 8,
        .seed = 1,
        .stamps = STAMPS_DEFAULT,
        .context = {4 << 20, LEVEL_ERROR, 5000, 50, 100},
        .clock = clock_real(),
        .sink = {&out, admit, emit, NULL},
    };
    struct pipeline *p[PIPELINES];
    for (int k = 0; k < PIPELINES; k++) {
        opts.target = (struct governor_target){k == 1 ? GOVERNOR_RECORDS : GOVERNOR_NONE, 100000, 0.3};
        opts.sink.fullness = k == 2 ? half_pressed : NULL;
        opts.events.enabled = k == 3;
        opts.events.max_per_minute = 60;
        if (pipeline_new(&p[k], &opts, rules) < 0)
            abort();
    }

    double best[PIPELINES + 2] = {1e18, 1e18, 1e18, 1e18, 1e18, 1e18};
    for (int round = 0; round < ROUNDS; round++) {
        double took[PIPELINES + 2];
        for (int k = 0; k < PIPELINES; k++) {
            uint32_t records, sum = 0;
            double start = now_ns();
            pipeline_tick(p[k]);
            for (int i = 0; i < count; i++) {
                if (pipeline_push(p[k], buf_span(&bodies[i]), &arena, &records) < 0)
                    abort();
                sum += records;
            }
            took[k] = (now_ns() - start) / sum;
        }
        took[PIPELINES] = time_decide(buf_span(&bodies[0]), rules, &arena);
        took[PIPELINES + 1] = time_stamp();
        for (int k = 0; k < PIPELINES + 2; k++)
            best[k] = took[k] < best[k] ? took[k] : best[k];
    }
    printf("pipeline_push   %7.1f ns a record\n", best[0]);
    printf("  with a budget %7.1f ns a record\n", best[1]);
    printf("  under pressure%7.1f ns a record\n", best[2]);
    printf("  with events   %7.1f ns a record\n", best[3]);
    printf("sampler_decide  %7.1f ns a record\n", best[PIPELINES]);
    printf("stamp_write     %7.1f ns a survivor of p < 1\n", best[PIPELINES + 1]);

    for (int k = 0; k < PIPELINES; k++)
        pipeline_free(p[k]);
    rules_unref(rules);
    arena_done(&arena);
    for (int i = 0; i < count; i++)
        buf_done(&bodies[i]);
    return out == 0;
}
