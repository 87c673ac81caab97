/* replay: one pass over the files, a lane for each policy. */
#include "cli/replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/input.h"
#include "cli/verbs.h"
#include "otlp/wire.h"

#define MAX_PATTERNS (1u << 20)
#define MAX_SERVICES (1u << 16)
#define ARENA_BYTES (256u << 20) /* what lies around the records of one request */
#define LEAP_BACK_NS (3600 * UINT64_C(1000000000))
#define TICK_MS 1000 /* of the clock of records: as the program ticks */
#define BAR_CELLS 30

/* ---- metering ---------------------------------------------------------- */

static void meter_seal(struct meter *m)
{
    if (batch_builder_records(m->builder) > 0)
        m->bytes += batch_builder_bytes(m->builder);
    batch_builder_clear(m->builder);
}

static int meter_add(struct replay *r, struct meter *m, const struct logs_group *g,
                     struct span record, struct span stamp, uint32_t service)
{
    uint64_t now = r->clock.now_ms;
    if (batch_builder_records(m->builder) > 0 && now - m->began_ms >= r->cfg.batch.max_age_ms)
        meter_seal(m); /* a clock that went back counts as a long time */
    int rc = batch_add(m->builder, g, record, stamp, service);
    if (rc == ERR_TOO_BIG) {
        meter_seal(m);
        rc = batch_add(m->builder, g, record, stamp, service);
    }
    if (batch_builder_records(m->builder) == 1)
        m->began_ms = now;
    return rc;
}

static int meter_open(struct replay *r, struct meter *m)
{
    struct batch_opts opts = {r->cfg.batch.max_bytes, r->cfg.batch.max_records, NULL};
    m->builder = batch_builder_new(&opts);
    return m->builder == NULL ? ERR_NOMEM : 0;
}

/* ---- a record ---------------------------------------------------------- */

static int on_admit(void *ctx, size_t bytes, size_t largest)
{
    (void)ctx;
    (void)bytes;
    (void)largest;
    return 0;
}

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct lane *lane = ctx;
    lane->emitted = true;
    return meter_add(lane->replay, &lane->meter, g, record, stamp, service);
}

static void set_clock(struct replay *r, const struct log_record *record)
{
    uint64_t ns = record->time_unix_ns != 0 ? record->time_unix_ns : record->observed_unix_ns;
    if (ns == 0)
        return;
    if (ns > r->clock.unix_ns || r->clock.unix_ns - ns > LEAP_BACK_NS) {
        r->clock.unix_ns = ns;
        r->clock.now_ms = ns / 1000000;
    }
    if (r->first_ns == 0 || ns < r->first_ns)
        r->first_ns = ns;
    if (ns > r->last_ns)
        r->last_ns = ns;
}

/* The record as a request of its own, so that each is decided at its own time. */
static struct span request_of_one(struct replay *r, const struct logs_group *g, struct span bytes)
{
    buf_clear(&r->scope);
    buf_clear(&r->logs);
    buf_clear(&r->single);
    buf_append(&r->scope, g->scope);
    wire_append_len(&r->scope, 2, bytes); /* ScopeLogs.log_records */
    buf_append(&r->logs, g->resource);
    wire_append_len(&r->logs, 2, buf_span(&r->scope)); /* ResourceLogs.scope_logs */
    wire_append_len(&r->single, 1, buf_span(&r->logs));
    return buf_span(&r->single);
}

static int on_record(void *ctx, const struct logs_group *g, struct span bytes)
{
    struct replay *r = ctx;
    struct log_record record;
    int rc = log_record_read(&record, bytes);
    if (rc < 0)
        return rc;
    enum severity_source source;
    enum level level = pipeline_level(r->lanes[0].pipeline, g, bytes, &record, &source);
    set_clock(r, &record);
    r->records++;
    r->received[level]++;
    rc = meter_add(r, &r->all, g, bytes, (struct span){0}, 0);

    struct span request = request_of_one(r, g, bytes);
    if (r->single.err != 0)
        return r->single.err;
    const struct logs_count one = {1, 1, 1, bytes.len};
    bool ticks = r->clock.now_ms < r->ticked_ms || r->clock.now_ms - r->ticked_ms >= TICK_MS;
    if (ticks)
        r->ticked_ms = r->clock.now_ms;
    for (size_t i = 0; i < r->lane_count && rc == 0; i++) {
        struct lane *lane = &r->lanes[i];
        lane->emitted = false;
        if (ticks)
            pipeline_tick(lane->pipeline);
        rc = pipeline_push_sound(lane->pipeline, request, &r->one, &one);
        arena_reset(&r->one);
        lane->kept[level] += lane->emitted;
    }
    return rc;
}

/* ---- files ------------------------------------------------------------- */

static void show_bar(struct replay *r, uint64_t done)
{
    int percent = r->total_bytes == 0 ? 100 : (int)(done * 100 / r->total_bytes);
    if (!r->shows_bar || percent == r->bar_percent)
        return;
    r->bar_percent = percent;
    int cells = percent * BAR_CELLS / 100;
    fprintf(stderr, "\r[%.*s%*s] %3d%%", cells, "##############################", BAR_CELLS - cells,
            "", percent);
    fflush(stderr);
}

static void hide_bar(const struct replay *r)
{
    if (r->shows_bar)
        fprintf(stderr, "\r\033[K");
}

static int on_request(void *ctx, struct span request, const struct logs_count *count, size_t end)
{
    struct replay *r = ctx;
    (void)count;
    r->requests++;
    int rc = logs_each(request, r->seed, &r->around, on_record, r);
    arena_reset(&r->around);
    show_bar(r, r->done_bytes + (end < r->file_bytes ? end : r->file_bytes));
    return rc < 0 ? -rc : 0;
}

static void on_refused(void *ctx, size_t line, const char *why)
{
    struct replay *r = ctx;
    r->refused++;
    hide_bar(r);
    if (line > 0)
        fprintf(stderr, "lipservice: replay: %s:%zu: %s\n", r->file, line, why);
    else
        fprintf(stderr, "lipservice: replay: %s: %s\n", r->file, why);
}

static uint64_t size_of(const char *path)
{
    FILE *f = fopen(path, "re");
    long size = f != NULL && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : 0;
    if (f != NULL)
        fclose(f);
    return size > 0 ? (uint64_t)size : 0;
}

static int read_files(struct replay *r, char **paths, int count, struct error *err)
{
    const struct capture_sink sink = {r, on_request, on_refused};
    r->shows_bar = isatty(STDERR_FILENO) == 1;
    r->bar_percent = -1;
    for (int i = 0; i < count && r->shows_bar; i++)
        r->total_bytes += size_of(paths[i]);
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++) {
        struct input in;
        r->file = paths[i];
        rc = input_open(&in, paths[i], err);
        if (rc < 0)
            break;
        r->files++;
        r->file_bytes = in.text.len;
        rc = capture_read(&r->capture, in.text, &sink);
        r->done_bytes += in.text.len;
        input_close(&in);
    }
    hide_bar(r);
    meter_seal(&r->all);
    for (size_t i = 0; i < r->lane_count; i++)
        meter_seal(&r->lanes[i].meter);
    return rc > 0 ? -rc : rc;
}

/* ---- the verb ---------------------------------------------------------- */

static int open_lane(struct replay *r, struct lane *lane)
{
    struct pipeline_opts opts = {
        .max_patterns = MAX_PATTERNS,
        .max_services = MAX_SERVICES,
        .seed = r->seed,
        .severity_from_text = r->cfg.sampling.severity_from_text,
        .peer_weights = r->cfg.sampling.peer_weights,
        .target = config_target(&r->cfg),
        .events = {.interval_ms = r->cfg.events.interval_ms,
                   .learning_ms = r->cfg.events.learning_ms},
        .clock = &r->clock.clock,
        .sink = {lane, on_admit, on_emit},
    };
    lane->replay = r;
    int rc = meter_open(r, &lane->meter);
    return rc < 0 ? rc : pipeline_new(&lane->pipeline, &opts, lane->rules);
}

static int start(struct replay *r)
{
    clock_fake_init(&r->clock, 0, 0);
    arena_init(&r->around, ARENA_BYTES, NULL);
    arena_init(&r->one, ARENA_BYTES, NULL);
    int rc = capture_init(&r->capture);
    if (rc == 0)
        rc = meter_open(r, &r->all);
    for (size_t i = 0; i < r->lane_count && rc == 0; i++)
        rc = open_lane(r, &r->lanes[i]);
    return rc;
}

static void stop(struct replay *r)
{
    for (size_t i = 0; i < LANES_MAX; i++) {
        pipeline_free(r->lanes[i].pipeline);
        rules_unref(r->lanes[i].rules);
        batch_builder_free(r->lanes[i].meter.builder);
    }
    batch_builder_free(r->all.builder);
    capture_done(&r->capture);
    arena_done(&r->around);
    arena_done(&r->one);
    struct buf *bufs[] = {&r->scope, &r->logs, &r->single};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
    config_done(&r->cfg);
}

static int read_numbers(struct replay *r, const char *cost_per_gb, const char *seed)
{
    char *end;
    r->cost_per_gb = r->cfg.cost_per_gb;
    if (cost_per_gb != NULL) {
        r->cost_per_gb = strtod(cost_per_gb, &end);
        if (*end != '\0' || end == cost_per_gb || !isfinite(r->cost_per_gb) || r->cost_per_gb < 0)
            return command_usage_error("--cost-per-gb: not an amount of money: ", cost_per_gb);
    }
    r->seed = strtoull(seed, &end, 10);
    if (*end != '\0' || *seed < '0' || *seed > '9')
        return command_usage_error("--seed: not a whole number: ", seed);
    return 0;
}

/* The configuration, and beside it the policy where one is given. */
static int choose_lanes(struct replay *r, const char *policy)
{
    const char *file = r->cfg.sampling.policy_file;
    r->lanes[0].name = file[0] != '\0' ? file : "configuration";
    r->lane_count = 1;
    int code = command_rules(&r->lanes[0].rules, &r->cfg, file);
    if (code != 0 || policy == NULL)
        return code;
    r->lanes[1].name = policy;
    r->lane_count = 2;
    return command_rules(&r->lanes[1].rules, &r->cfg, policy);
}

int verb_replay(int argc, char **argv)
{
    static struct replay r;
    const char *policy = NULL, *cost_per_gb = NULL, *seed = "1";
    const struct command_flag flags[] = {
        {.name = "json", .given = &r.json},
        {.name = "policy", .value = &policy},
        {.name = "cost-per-gb", .value = &cost_per_gb},
        {.name = "seed", .value = &seed},
    };
    struct error err = {{0}};
    int first, rc = 0;
    int code = command_load(argc, argv, flags, ARRAY_LEN(flags), &r.cfg, &first);
    if (code != 0)
        return code;
    if (first == argc)
        code = command_usage_error("replay: which files?", "");
    if (code == 0)
        code = read_numbers(&r, cost_per_gb, seed);
    if (code == 0)
        code = choose_lanes(&r, policy);
    if (code == 0) {
        rc = start(&r);
        if (rc == 0)
            rc = read_files(&r, argv + first, argc - first, &err);
        if (rc == 0)
            rc = replay_report(&r);
        if (rc < 0)
            code = command_die(rc, &err);
        if (rc == ERR_IO && err.text[0] != '\0')
            code = EXIT_USAGE; /* a file that is not there */
        if (rc == 0 && r.requests == 0)
            code = EXIT_USAGE; /* nothing could be read */
    }
    stop(&r);
    return code;
}
