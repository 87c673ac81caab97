/*
 * pipeline: nanoseconds a record for the decision, on bodies of bench/bodies.py.
 *
 *   python3 bench/bodies.py /tmp/bodies && build/bench/micro_pipeline /tmp/bodies/?*.pb
 *
 * Eight figures: pipeline_push() whole (check, walk, sign, decide, count; what is
 * kept goes nowhere), the same under a budget, with a queue that presses, with events, with 20
 * alerts guarded and with lines of each pattern held, the sampler's decision alone, the stamp
 * alone. The bodies are taken in turn; the best round counts, because machines are shared.
 *
 *   build/bench/micro_pipeline --rotating N [RECORDS]
 *
 * pipeline_push() of lines of N patterns in turn, RECORDS of them (100000), after one round of
 * all to learn from; and what a census of them takes. Twice under callgrind, with RECORDS and with
 * 0, the difference of the instructions is theirs alone:
 *
 *   for r in 0 100000; do valgrind --tool=callgrind --toggle-collect=pipeline_push \
 *       --callgrind-out-file=/dev/null build/bench/micro_pipeline --rotating 100000 $r; done
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/census.h"
#include "pipeline/pipeline.h"
#include "pipeline/stamp.h"
#include "util/rng.h"

#define BODIES_MAX 64
#define ROUNDS 60
#define REPEATS 1000
#define BODY_RECORDS 100 /* of a request of rotating patterns */
#define PIPELINES 6      /* free, with a budget, under pressure, with events, a guard, samples */
#define ALERTS 20        /* as many as PostHog has in a project; none of them selects anything */

static int emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                uint32_t service)
{
    (void)g;
    (void)service;
    *(uint64_t *)ctx += record.len + stamp.len;
    return (int)(record.len + stamp.len);
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
        ignore_code(rules_set_level(r, (enum level)l, rates[l], NULL));
    ignore_code(rules_set_first(r, 5, 60000, NULL));
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
    ignore_code(logs_each(request, 1, arena, keep_first, &s));
    if (log_record_read(&record, s.bytes) < 0)
        exit(1);
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

static struct pipeline_opts pipeline_opts(uint64_t *out)
{
    return (struct pipeline_opts){
        .max_patterns = 16384,
        .max_services = 64,
        .max_patterns_per_service = 2048,
        .family_weight = 6,
        .seed = 1,
        .stamps = STAMPS_DEFAULT,
        .context = {4 << 20, LEVEL_ERROR, 5000, 50, 100},
        .clock = clock_real(),
        .sink = {.ctx = out, .emit = emit},
    };
}

/* Each of a service, a severity, and a word. */
static struct guard *alerts(void)
{
    struct guard *g;
    struct span severity = SPAN("warn"), word = SPAN("timeout");
    if (guard_new(&g, true) < 0)
        abort();
    for (int i = 0; i < ALERTS; i++) {
        char name[16];
        struct filter *f;
        struct span service = span_of(name, (size_t)snprintf(name, sizeof name, "service-%d", i));
        const struct filter_leaf leaves[] = {
            {.of = FILTER_SERVICE, .op = FILTER_IS, .values = &service, .value_count = 1},
            {.of = FILTER_SEVERITY, .op = FILTER_IS, .values = &severity, .value_count = 1},
            {.of = FILTER_BODY, .op = FILTER_CONTAINS, .values = &word, .value_count = 1},
        };
        if (filter_new(&f) < 0)
            abort();
        filter_begin(f, FILTER_ALL);
        for (size_t k = i % 4 == 0 ? 1 : 0; k < ARRAY_LEN(leaves); k++) /* some of any service */
            filter_add(f, &leaves[k]);
        filter_end(f);
        const struct guard_item item = {.id = service, .name = service, .threshold = -1};
        if (filter_built(f) < 0 || guard_add(g, &item, f) < 0)
            abort();
    }
    return g;
}

/* ---- rotating patterns -------------------------------------------------- */

/* A line of the n-th pattern: seven words that depend on n alone, and a number that does not. */
static void put_line(struct buf *scope, uint64_t n, uint64_t record)
{
    struct rng rng = {n * UINT64_C(0x9e3779b97f4a7c15) + 1};
    struct buf line = {0}, value = {0}, framed = {0};
    uint8_t head[11] = {1 << 3 | WIRE_I64, 1, [9] = 0x10, 9};
    for (int word = 0; word < 7; word++) {
        for (int k = 0; k < 3; k++) {
            buf_append_byte(&line, (uint8_t) "bdfgklmnprstvz"[rng_upto(&rng, 13)]);
            buf_append_byte(&line, (uint8_t) "aeiou"[rng_upto(&rng, 4)]);
        }
        buf_append_byte(&line, ' ');
    }
    buf_printf(&line, "%llu", (unsigned long long)record);
    wire_append_len(&value, 1, buf_span(&line));
    buf_append(&framed, span_of(head, sizeof head));
    wire_append_len(&framed, 5, buf_span(&value));
    wire_append_len(scope, 2, buf_span(&framed));
    buf_done(&line);
    buf_done(&value);
    buf_done(&framed);
}

static void put_request(struct buf *out, uint64_t first, uint64_t patterns)
{
    struct buf scope = {0}, resource = {0};
    for (uint64_t i = first; i < first + BODY_RECORDS; i++)
        put_line(&scope, i % patterns, i);
    wire_append_len(&resource, 2, buf_span(&scope));
    wire_append_len(out, 1, buf_span(&resource));
    buf_done(&scope);
    buf_done(&resource);
}

static int by_volume(const void *a, const void *b)
{
    const struct census_pattern *x = a, *y = b;
    return x->counts.received != y->counts.received
               ? (x->counts.received < y->counts.received ? 1 : -1)
               : (x->number < y->number ? -1 : x->number > y->number);
}

/* What a page takes from a running pipeline: `limit` patterns by volume; 0: all. */
static void time_census(struct pipeline *p, uint32_t limit)
{
    const struct census_want want = {
        .services = true, .patterns = true, .templates = true, .order = by_volume, .limit = limit};
    struct census c;
    double start = now_ns();
    if (census_take(p, &want, &c) < 0)
        abort();
    double took = now_ns() - start;
    printf("census of %u of %llu patterns %7.2f ms\n", c.pattern_count,
           (unsigned long long)c.patterns_held, took / 1e6);
    census_done(&c);
}

/* What is kept over a restart, written into memory. */
static void time_save(const struct pipeline *p)
{
    struct buf text = {0};
    double start = now_ns();
    pipeline_save(p, clock_unix_ns(clock_real()), &text);
    printf("pipeline_save() of them      %7.2f ms, %.2f MB\n", (now_ns() - start) / 1e6,
           (double)text.len / 1e6);
    buf_done(&text);
}

static int rotate(uint64_t patterns, uint64_t records)
{
    uint64_t out = 0, learn = patterns < BODY_RECORDS ? BODY_RECORDS : patterns;
    struct arena arena;
    struct pipeline *p;
    struct rules *rules = default_rules();
    struct pipeline_opts opts = pipeline_opts(&out);
    double took = 0;
    arena_init(&arena, 1 << 20, NULL);
    if (pipeline_new(&p, &opts, rules) < 0)
        abort();
    for (uint64_t i = 0; i < learn + records; i += BODY_RECORDS) {
        struct buf request = {0};
        uint32_t n;
        put_request(&request, i, patterns);
        double start = now_ns();
        if (pipeline_push(p, buf_span(&request), &arena, &n) < 0)
            abort();
        took += i >= learn ? now_ns() - start : 0;
        arena_reset(&arena);
        buf_done(&request);
    }
    if (records > 0)
        printf("pipeline_push of %llu patterns in turn %7.1f ns a record\n",
               (unsigned long long)patterns, took / (double)records);
    if (records > 0) {
        time_census(p, 100);
        time_census(p, 0);
        time_save(p);
    }
    pipeline_free(p);
    rules_unref(rules);
    arena_done(&arena);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--rotating") == 0)
        return rotate(strtoull(argv[2], NULL, 10), argc > 3 ? strtoull(argv[3], NULL, 10) : 100000);
    struct buf bodies[BODIES_MAX] = {0};
    struct arena arena;
    uint64_t out = 0;
    int count = argc - 1 < BODIES_MAX ? argc - 1 : BODIES_MAX;
    if (count == 0) {
        fprintf(stderr, "usage: micro_pipeline BODY.pb... | --rotating PATTERNS [RECORDS]\n");
        return 64;
    }
    for (int i = 0; i < count; i++)
        read_file(&bodies[i], argv[i + 1]);
    arena_init(&arena, 1 << 20, NULL);
    struct rules *rules = default_rules();
    struct pipeline_opts opts = pipeline_opts(&out);
    struct pipeline *p[PIPELINES];
    struct budget held;
    budget_init(&held, 512 << 10); /* as by default */
    for (int k = 0; k < PIPELINES; k++) {
        opts.target =
            (struct governor_target){k == 1 ? GOVERNOR_RECORDS : GOVERNOR_NONE, 100000, 0.3};
        opts.sink.fullness = k == 2 ? half_pressed : NULL;
        opts.events.enabled = k == 3;
        opts.events.max_per_minute = 60;
        opts.samples = k == 5 ? &held : NULL;
        if (pipeline_new(&p[k], &opts, rules) < 0)
            abort();
    }
    struct guard *guard = alerts();
    pipeline_set_guard(p[4], guard);
    guard_unref(guard);

    double best[PIPELINES + 2] = {1e18, 1e18, 1e18, 1e18, 1e18, 1e18, 1e18, 1e18};
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
    printf("  with a guard  %7.1f ns a record\n", best[4]);
    printf("  with samples  %7.1f ns a record\n", best[5]);
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
