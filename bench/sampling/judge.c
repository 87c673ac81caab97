/*
 * judge: how good the counts are that a sampled stream leaves.
 *
 *     streams.py bursty | judge --budget 100 [--exponent 0.75] [--first 5] [--rate 1] [--lumps MS]
 *                               [--uniform] [--least 50] [--tell]
 *
 * Reads the lines of streams.py (milliseconds, service, true key, text), sends each as a record
 * through the pipeline under a clock that the stream sets, and holds what survives, with its
 * weights, against the truth. --lumps delivers the records of so many milliseconds together, as
 * SDKs do. --uniform keeps as many by independent coins of one rate: what must be beaten.
 *
 * Printed: kept over the budget; the worst second after the first minute, as a multiple of the
 * budget; |estimate / truth - 1| over the minutes of keys that have at least --least records,
 * median and 90th percentile; the share of keys with eight records or fewer of which one was
 * kept (--tell: which were not); how far the total is off.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "otlp/wire.h"
#include "pipeline/census.h"
#include "pipeline/pipeline.h"
#include "pipeline/stamp.h"
#include "util/rng.h"

#define KEYS_MAX 8192
#define MINUTES_MAX 1440
#define SECONDS_MAX (MINUTES_MAX * 60)
#define LINE_BYTES 65536
#define RARE 8
#define WINDOW_MS 60000
#define START_NS UINT64_C(1700000000000000000)

struct cell {
    uint32_t truth;
    double sum;
};

struct judge {
    struct pipeline *pipeline;
    struct clock_fake clock;
    struct arena arena;
    struct buf value, record, attrs, scope, logs, request;
    double weight; /* of the record in hand; 0: it was not kept */
    struct cell *cells;
    uint32_t *of_key, *kept_of_key, *kept_in;
    double records, kept, sum;
    uint32_t minutes;
    /* options */
    double budget, exponent, rate;
    uint32_t first, lump_ms, least;
    bool uniform, tells;
    struct rng rng;
};

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct judge *j = ctx;
    (void)g, (void)record, (void)service;
    j->weight = 1;
    if (stamp.len >= sizeof(double)) /* the one stamp ends with its double */
        memcpy(&j->weight, stamp.base + stamp.len - sizeof j->weight, sizeof j->weight);
    return 0;
}

static struct span request_of(struct judge *j, const char *service, const char *text)
{
    struct buf *bufs[] = {&j->value, &j->record, &j->attrs, &j->scope, &j->logs, &j->request};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_clear(bufs[i]);
    wire_append_len(&j->value, 1, span_str(text));
    wire_append_i64(&j->record, 1, rng_next(&j->rng) >> 1 | 1);
    wire_append_varint(&j->record, 2, 9);
    wire_append_len(&j->record, 5, buf_span(&j->value));
    wire_append_len(&j->scope, 2, buf_span(&j->record));
    /* Resource: one attribute, service.name */
    struct buf pair = {0}, any = {0};
    wire_append_len(&any, 1, span_str(service));
    wire_append_len(&pair, 1, span_str("service.name"));
    wire_append_len(&pair, 2, buf_span(&any));
    wire_append_len(&j->attrs, 1, buf_span(&pair));
    buf_done(&pair);
    buf_done(&any);
    wire_append_len(&j->logs, 1, buf_span(&j->attrs));
    wire_append_len(&j->logs, 2, buf_span(&j->scope));
    wire_append_len(&j->request, 1, buf_span(&j->logs));
    return buf_span(&j->request);
}

static double coin(struct judge *j, double p)
{
    return (double)(rng_next(&j->rng) >> 11) / 9007199254740992.0 < p ? 1 / p : 0;
}

static void take(struct judge *j, uint64_t ms, const char *service, uint32_t key, const char *text)
{
    uint64_t at_ms = j->lump_ms > 0 ? (ms / j->lump_ms + 1) * j->lump_ms : ms;
    uint32_t records, minute = (uint32_t)(ms / 60000);
    if (key >= KEYS_MAX || minute >= MINUTES_MAX)
        return;
    j->weight = 0;
    if (j->uniform) {
        j->weight = coin(j, j->rate);
    } else {
        if (at_ms > j->clock.now_ms)
            clock_fake_advance(&j->clock, at_ms - j->clock.now_ms);
        if (pipeline_push(j->pipeline, request_of(j, service, text), &j->arena, &records) < 0)
            exit(1);
        arena_reset(&j->arena);
    }
    struct cell *c = &j->cells[(size_t)key * MINUTES_MAX + minute];
    c->truth++;
    c->sum += j->weight;
    j->records++;
    j->sum += j->weight;
    j->of_key[key]++;
    j->minutes = minute + 1;
    if (j->weight <= 0)
        return;
    j->kept++;
    j->kept_of_key[key]++;
    j->kept_in[at_ms / 1000]++;
}

static void read_stream(struct judge *j)
{
    static char line[LINE_BYTES];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *field[4], *at = line;
        line[strcspn(line, "\n")] = 0;
        int n = 0;
        for (; n < 4 && at != NULL; n++) {
            field[n] = at;
            at = n < 3 ? strchr(at, '\t') : NULL;
            if (at != NULL)
                *at++ = 0;
        }
        if (n == 4)
            take(j, strtoull(field[0], NULL, 10), field[1], (uint32_t)strtoul(field[2], NULL, 10),
                 field[3]);
    }
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void report(const struct judge *j)
{
    double *errors = calloc((size_t)KEYS_MAX * MINUTES_MAX / 8, sizeof *errors);
    size_t n = 0, rare = 0, seen = 0;
    uint32_t worst = 0;
    if (errors == NULL)
        exit(1);
    for (size_t k = 0; k < KEYS_MAX; k++) {
        for (uint32_t m = 0; m < j->minutes && n < (size_t)KEYS_MAX * MINUTES_MAX / 8; m++) {
            const struct cell *c = &j->cells[k * MINUTES_MAX + m];
            if (c->truth >= j->least)
                errors[n++] = fabs(c->sum / c->truth - 1);
        }
        if (j->of_key[k] > 0 && j->of_key[k] <= RARE) {
            rare++;
            seen += j->kept_of_key[k] > 0;
            if (j->kept_of_key[k] == 0 && j->tells)
                printf("not seen: key %zu, %u records\n", k, j->of_key[k]);
        }
    }
    for (uint32_t s = 60; s < j->minutes * 60 + 60; s++)
        worst = j->kept_in[s] > worst ? j->kept_in[s] : worst;
    qsort(errors, n, sizeof *errors, by_size);
    double seconds = j->minutes * 60.0, budget = j->budget > 0 ? j->budget : j->kept / seconds;
    printf("%.0f records, kept %.0f = %.3f of the budget, worst second %.2f, error median %.3f "
           "p90 %.3f of %zu cells, rare %zu of %zu = %.1f %%, total off %+.2f %%\n",
           j->records, j->kept, j->kept / seconds / budget, worst / budget,
           n == 0 ? 0 : errors[n / 2], n == 0 ? 0 : errors[n * 9 / 10], n, seen, rare,
           rare == 0 ? 100 : 100.0 * (double)seen / (double)rare, 100 * (j->sum / j->records - 1));
    free(errors);
}

static struct pipeline *make_pipeline(struct judge *j)
{
    struct rules *rules = NULL;
    struct pipeline *p = NULL;
    if (rules_new(&rules) < 0 || rules_set_first(rules, j->first, WINDOW_MS, NULL) < 0 ||
        rules_set_global(rules, j->rate, NULL) < 0)
        exit(1);
    const struct pipeline_opts opts = {
        .max_patterns = 16384,
        .max_services = 256,
        .max_patterns_per_service = 2048,
        .family_weight = 6,
        .seed = rng_next(&j->rng),
        .stamps = 1u << STAMP_ADJUSTED_COUNT,
        .target = {j->budget > 0 ? GOVERNOR_RECORDS : GOVERNOR_NONE, j->budget, j->exponent},
        .clock = &j->clock.clock,
        .sink = {.ctx = j, .emit = on_emit},
    };
    if (pipeline_new(&p, &opts, rules) < 0)
        exit(1);
    rules_unref(rules);
    return p;
}

static void options(struct judge *j, int argc, char **argv)
{
    static const struct option names[] = {
        {"budget", required_argument, NULL, 'b'}, {"exponent", required_argument, NULL, 'e'},
        {"first", required_argument, NULL, 'f'},  {"rate", required_argument, NULL, 'r'},
        {"lumps", required_argument, NULL, 'l'},  {"least", required_argument, NULL, 'm'},
        {"uniform", no_argument, NULL, 'u'},      {"tell", no_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'},   {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'b':
            j->budget = strtod(optarg, NULL);
            break;
        case 'e':
            j->exponent = strtod(optarg, NULL);
            break;
        case 'f':
            j->first = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'r':
            j->rate = strtod(optarg, NULL);
            break;
        case 'l':
            j->lump_ms = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            j->least = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 's':
            j->rng.state = strtoull(optarg, NULL, 10);
            break;
        case 't':
            j->tells = true;
            break;
        case 'u':
            j->uniform = true;
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct judge j = {.exponent = 0.75, .rate = 1, .first = 5, .least = 50, .rng = {1}};
    options(&j, argc, argv);
    clock_fake_init(&j.clock, 0, START_NS);
    arena_init(&j.arena, 1 << 20, NULL);
    j.cells = calloc((size_t)KEYS_MAX * MINUTES_MAX, sizeof *j.cells);
    j.of_key = calloc(KEYS_MAX, sizeof *j.of_key);
    j.kept_of_key = calloc(KEYS_MAX, sizeof *j.kept_of_key);
    j.kept_in = calloc(SECONDS_MAX + 120, sizeof *j.kept_in);
    if (j.cells == NULL || j.of_key == NULL || j.kept_of_key == NULL || j.kept_in == NULL)
        return 1;
    j.pipeline = make_pipeline(&j);
    read_stream(&j);
    report(&j);
    pipeline_free(j.pipeline);
    return 0;
}
