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
#include "config/money.h"
#include "config/pipeline.h"

#define ARENA_BYTES (256u << 20)              /* what lies around the records of one request */
#define LEAP_NS (3600 * UINT64_C(1000000000)) /* back, it is another capture; forth, a pause */
#define TICK_MS 1000                          /* as the program ticks */
#define BAR_CELLS 30

/* ---- metering ---------------------------------------------------------- */

static void meter_seal(struct meter *m)
{
    if (batch_builder_records(m->builder) > 0)
        m->bytes += batch_builder_bytes(m->builder);
    batch_builder_clear(m->builder);
}

/* As pipeline_sink.emit() has it. */
static int meter_add(struct replay *r, struct meter *m, const struct logs_group *g,
                     struct span record, struct span stamp, uint32_t service)
{
    uint64_t now = r->clock.now_ms;
    if (batch_builder_records(m->builder) > 0 && now - m->began_ms >= r->cfg.batch.max_age_ms)
        meter_seal(m); /* a clock that went back counts as a long time */
    size_t before = batch_builder_bytes(m->builder);
    int rc = batch_add(m->builder, g, record, stamp, service);
    if (rc == ERR_TOO_BIG) {
        meter_seal(m);
        before = 0;
        rc = batch_add(m->builder, g, record, stamp, service);
    }
    if (batch_builder_records(m->builder) == 1)
        m->began_ms = now;
    return rc < 0 ? rc : (int)(batch_builder_bytes(m->builder) - before);
}

static int meter_open(struct replay *r, struct meter *m)
{
    struct batch_opts opts = {r->cfg.batch.max_bytes, r->cfg.batch.max_records, NULL};
    m->builder = batch_builder_new(&opts);
    return m->builder == NULL ? ERR_NOMEM : 0;
}

/* ---- what a lane does -------------------------------------------------- */

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct lane *lane = ctx;
    return meter_add(lane->replay, &lane->meter, g, record, stamp, service);
}

static void on_decided(void *ctx, const struct subject *s, const struct decision *d)
{
    struct lane *lane = ctx;
    if (lane == lane->replay->lanes)
        lane->replay->received[s->level]++;
    lane->kept[s->level] += d->verdict == VERDICT_KEPT;
}

/* ---- the clock --------------------------------------------------------- */

static uint64_t either(uint64_t ns, uint64_t else_ns)
{
    return ns != 0 ? ns : else_ns;
}

/* When a request was sent: as late as its newest record was seen. */
static int on_time(void *ctx, const struct logs_group *g, struct span bytes)
{
    struct replay *r = ctx;
    struct log_record record;
    (void)g;
    int rc = log_record_read(&record, bytes);
    if (rc < 0)
        return rc;
    uint64_t written_ns = either(record.time_unix_ns, record.observed_unix_ns);
    uint64_t seen_ns = either(record.observed_unix_ns, record.time_unix_ns);
    r->records++;
    if (seen_ns > r->newest_ns)
        r->newest_ns = seen_ns;
    if (written_ns != 0 && (r->first_ns == 0 || written_ns < r->first_ns))
        r->first_ns = written_ns;
    if (written_ns > r->last_ns)
        r->last_ns = written_ns;
    return 0;
}

static void stand_at(struct replay *r, uint64_t unix_ns)
{
    r->clock.unix_ns = unix_ns;
    r->clock.now_ms = unix_ns / 1000000;
}

static void tick(struct replay *r)
{
    r->ticked_ns = r->clock.unix_ns;
    for (size_t i = 0; i < r->lane_count; i++)
        pipeline_tick(r->lanes[i].pipeline);
}

/* The program ticks while nothing comes, and so does this; a leap is another capture. */
static void move_clock(struct replay *r, uint64_t unix_ns)
{
    uint64_t step_ns = UINT64_C(1000000) *
                       (r->cfg.events.interval_ms < TICK_MS ? r->cfg.events.interval_ms : TICK_MS);
    bool goes_back = unix_ns < r->clock.unix_ns;
    if (unix_ns == 0 || (goes_back && r->clock.unix_ns - unix_ns <= LEAP_NS))
        return;
    if (goes_back || unix_ns - r->clock.unix_ns > LEAP_NS) {
        stand_at(r, unix_ns);
        tick(r);
    }
    while (unix_ns - r->ticked_ns >= step_ns) {
        stand_at(r, r->ticked_ns + step_ns);
        tick(r);
    }
    stand_at(r, unix_ns);
}

/* ---- a request --------------------------------------------------------- */

static int on_record(void *ctx, const struct logs_group *g, struct span bytes)
{
    struct replay *r = ctx;
    int rc = meter_add(r, &r->all, g, bytes, (struct span){0}, 0);
    return rc < 0 ? rc : 0;
}

static int decide(struct replay *r, struct span request, const struct logs_count *count)
{
    r->newest_ns = 0;
    int rc = logs_each(request, r->seed, &r->arena, on_time, r);
    arena_reset(&r->arena);
    move_clock(r, r->newest_ns);
    if (rc == 0)
        rc = logs_each(request, r->seed, &r->arena, on_record, r);
    arena_reset(&r->arena);
    for (size_t i = 0; i < r->lane_count && rc == 0; i++) {
        rc = pipeline_push_sound(r->lanes[i].pipeline, request, &r->arena, count);
        arena_reset(&r->arena);
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
    r->requests++;
    int rc = decide(r, request, count);
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
    for (size_t i = 0; i < r->lane_count; i++) {
        pipeline_finish(r->lanes[i].pipeline);
        meter_seal(&r->lanes[i].meter);
    }
    return rc > 0 ? -rc : rc;
}

/* ---- the verb ---------------------------------------------------------- */

/* As the program would, only that it enforces; there is no queue that could fill. */
static int open_lane(struct replay *r, struct lane *lane)
{
    struct pipeline_opts opts = config_pipeline(&r->cfg);
    const struct pipeline_watcher watcher = {lane, on_decided};
    opts.observe = false;
    opts.seed = r->seed;
    opts.clock = &r->clock.clock;
    opts.sink = (struct pipeline_sink){.ctx = lane, .emit = on_emit};
    lane->replay = r;
    int rc = meter_open(r, &lane->meter);
    if (rc == 0)
        rc = pipeline_new(&lane->pipeline, &opts, lane->rules);
    if (rc < 0)
        return rc;
    pipeline_watch(lane->pipeline, &watcher);
    /* Now, or lanes that send events at different times would number services differently. */
    if (opts.events.enabled || opts.events.usage_ms > 0 || opts.floor_per_second > 0)
        (void)pipeline_service(lane->pipeline, SPAN("lipservice"));
    return 0;
}

static int start(struct replay *r)
{
    clock_fake_init(&r->clock, 0, 0);
    arena_init(&r->arena, ARENA_BYTES, NULL);
    int rc = capture_init(&r->capture, r->cfg.receiver.strict);
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
    arena_done(&r->arena);
    config_done(&r->cfg);
}

static int read_numbers(struct replay *r, const char *cost_per_gb, const char *seed)
{
    char *end;
    if (cost_per_gb != NULL) {
        double amount = strtod(cost_per_gb, &end);
        if (*end != '\0' || end == cost_per_gb || !isfinite(amount) || amount < 0)
            return command_usage_error("--cost-per-gb: not an amount of money: ", cost_per_gb);
        r->cfg.cost.per_gb = amount;
    }
    r->terms = config_money(&r->cfg);
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
