/* cli_replay: one pass over the files, a lane for each policy. */
#include "cli_replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "cli_capture.h"
#include "export/batch.h"
#include "otlp/json_write.h"
#include "pipeline/pipeline.h"
#include "pipeline/signature.h"

#define LANES_MAX 2
#define MAX_PATTERNS (1u << 20)
#define MAX_SERVICES (1u << 16)
#define ARENA_BYTES (256u << 20) /* what lies around the records of one request */
#define LEAP_BACK_NS (3600 * UINT64_C(1000000000))
#define GB 1e9 /* as prices count */
#define SHOWN_PATTERNS 20
#define BAR_CELLS 30

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
    bool emitted; /* the record in hand */
};

struct replay {
    struct config cfg;
    struct lane lanes[LANES_MAX];
    size_t lane_count;
    struct meter all; /* were everything kept */
    struct clock_fake clock;
    struct capture capture;
    struct arena around, one; /* of the request in hand, of the record in hand */
    struct buf scope, logs, single;
    uint64_t files, requests, refused, records, first_ns, last_ns, seed;
    uint64_t received[LEVEL_COUNT];
    double cost_per_gb;
    bool json;

    const char *file; /* in hand */
    uint64_t done_bytes, total_bytes, file_bytes;
    bool shows_bar;
    int bar_percent;
};

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
    enum level level = level_of(log_severity(&record));
    set_clock(r, &record);
    r->records++;
    r->received[level]++;
    rc = meter_add(r, &r->all, g, bytes, (struct span){0}, 0);

    struct span request = request_of_one(r, g, bytes);
    if (r->single.err != 0)
        return r->single.err;
    const struct logs_count one = {1, 1, 1, bytes.len};
    for (size_t i = 0; i < r->lane_count && rc == 0; i++) {
        struct lane *lane = &r->lanes[i];
        lane->emitted = false;
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
    fprintf(stderr, "\r[%.*s%*s] %3d%%", cells, "##############################", BAR_CELLS - cells, "", percent);
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
        struct capture_file in;
        r->file = paths[i];
        rc = capture_file_open(&in, paths[i], err);
        if (rc < 0)
            break;
        r->files++;
        r->file_bytes = in.text.len;
        rc = capture_read(&r->capture, in.text, &sink);
        r->done_bytes += in.text.len;
        capture_file_close(&in);
    }
    hide_bar(r);
    meter_seal(&r->all);
    for (size_t i = 0; i < r->lane_count; i++)
        meter_seal(&r->lanes[i].meter);
    return rc > 0 ? -rc : rc;
}

/* ---- the report -------------------------------------------------------- */

static double cost(const struct replay *r, uint64_t bytes)
{
    return (double)bytes / GB * r->cost_per_gb;
}

static const struct ledger_row *totals(const struct lane *lane)
{
    return ledger_total(pipeline_ledger(lane->pipeline));
}

/* A total order, or equal sizes would make two outputs of one input. */
static int by_bytes(const void *a, const void *b)
{
    const struct pattern *const *left = a, *const *right = b;
    const struct pattern *x = *left, *y = *right;
    if (x->counts.received_bytes != y->counts.received_bytes)
        return x->counts.received_bytes < y->counts.received_bytes ? 1 : -1;
    return x->key.signature != y->key.signature ? (x->key.signature < y->key.signature ? -1 : 1)
           : x->key.service != y->key.service     ? (x->key.service < y->key.service ? -1 : 1)
           : x->key.level != y->key.level         ? x->key.level - y->key.level
                                                  : x->key.status_class - y->key.status_class;
}

struct listing {
    const struct pattern **of[LANES_MAX]; /* of[0] sorted; of[1] in the same order */
    uint32_t count;
};

static int list_patterns(const struct replay *r, struct listing *l)
{
    struct patterns *p = pipeline_patterns(r->lanes[0].pipeline);
    uint32_t slots = patterns_slots(p);
    *l = (struct listing){0};
    l->of[0] = calloc(slots + 1, sizeof(struct pattern *));
    l->of[1] = calloc(slots + 1, sizeof(struct pattern *));
    if (l->of[0] == NULL || l->of[1] == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < slots; i++)
        if (patterns_at(p, i)->in_use)
            l->of[0][l->count++] = patterns_at(p, i);
    qsort(l->of[0], l->count, sizeof(struct pattern *), by_bytes);
    for (size_t lane = 1; lane < r->lane_count; lane++) {
        for (uint32_t i = 0; i < l->count; i++) {
            bool is_new;
            l->of[lane][i] = patterns_get(pipeline_patterns(r->lanes[lane].pipeline), &l->of[0][i]->key, &is_new);
        }
    }
    return 0;
}

static void add_json_string(struct buf *out, const char *text)
{
    json_write_string(out, span_str(text));
}

static void lane_json(struct buf *out, const struct replay *r, const struct lane *lane)
{
    const struct ledger_row *t = totals(lane);
    const struct pipeline_reasons *why = pipeline_reasons(lane->pipeline);
    const char *comma = "";
    buf_append_str(out, "{\"name\":");
    add_json_string(out, lane->name);
    buf_printf(out, ",\"origin\":\"%s\",\"version\":%lld", rules_origin(lane->rules),
               (long long)rules_version(lane->rules));
    for (int v = 0; v < VERDICT_REJECTED; v++)
        buf_printf(out, ",\"%s\":%llu", verdict_name((enum verdict)v), (unsigned long long)t->verdict[v]);
    buf_printf(out, ",\"metered_bytes\":%llu,\"cost\":%.9g,\"kept_by_reason\":{",
               (unsigned long long)lane->meter.bytes, cost(r, lane->meter.bytes));
    for (int i = 0; i < REASON_COUNT; i++)
        buf_printf(out, "%s\"%s\":%llu", i == 0 ? "" : ",", reason_name((enum reason)i),
                   (unsigned long long)why->kept[i]);
    buf_append_str(out, "},\"severities\":{");
    for (int l = 0; l < LEVEL_COUNT; l++) {
        buf_printf(out, "%s\"%s\":{\"received\":%llu,\"kept\":%llu}", comma, level_name((enum level)l),
                   (unsigned long long)r->received[l], (unsigned long long)lane->kept[l]);
        comma = ",";
    }
    buf_append_str(out, "}}");
}

static void pattern_json(struct buf *out, const struct replay *r, const struct listing *l, uint32_t i)
{
    const struct pattern *p = l->of[0][i];
    char id[SIGNATURE_TEXT_BYTES];
    buf_printf(out, "%s{\"pattern\":\"%s\",\"service\":", i == 0 ? "" : ",", signature_format(id, p->key.signature));
    json_write_string(out, ledger_service_name(pipeline_ledger(r->lanes[0].pipeline), p->key.service));
    buf_printf(out, ",\"severity\":\"%s\",\"status_class\":%u,\"template\":", level_name((enum level)p->key.level),
               p->key.status_class);
    json_write_string(out, span_of(p->template_text, p->template_len));
    buf_printf(out, ",\"received\":%llu,\"received_bytes\":%llu,\"policies\":[",
               (unsigned long long)p->counts.received, (unsigned long long)p->counts.received_bytes);
    for (size_t lane = 0; lane < r->lane_count; lane++) {
        const struct pattern_counts *c = &l->of[lane][i]->counts;
        buf_printf(out, "%s{\"kept\":%llu,\"sampled_out\":%llu,\"dropped_by_rule\":%llu,\"kept_bytes\":%llu}",
                   lane == 0 ? "" : ",", (unsigned long long)c->kept, (unsigned long long)c->sampled_out,
                   (unsigned long long)c->dropped_by_rule, (unsigned long long)c->kept_bytes);
    }
    buf_append_str(out, "]}");
}

static void report_json(struct buf *out, const struct replay *r, const struct listing *l)
{
    buf_printf(out, "{\"files\":%llu,\"requests\":%llu,\"refused\":%llu,\"records\":%llu,"
                    "\"from_unix_ns\":\"%llu\",\"to_unix_ns\":\"%llu\",\"metered_bytes\":%llu,"
                    "\"cost_per_gb\":%.9g,\"cost\":%.9g,\"policies\":[",
               (unsigned long long)r->files, (unsigned long long)r->requests,
               (unsigned long long)r->refused, (unsigned long long)r->records,
               (unsigned long long)r->first_ns, (unsigned long long)r->last_ns,
               (unsigned long long)r->all.bytes, r->cost_per_gb, cost(r, r->all.bytes));
    for (size_t i = 0; i < r->lane_count; i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        lane_json(out, r, &r->lanes[i]);
    }
    buf_append_str(out, "],\"patterns\":[");
    for (uint32_t i = 0; i < l->count; i++)
        pattern_json(out, r, l, i);
    buf_append_str(out, "]}\n");
}

static void add_share(struct buf *out, uint64_t part, uint64_t whole)
{
    buf_printf(out, " %14llu %5.1f%%", (unsigned long long)part,
               whole == 0 ? 0.0 : (double)part * 100 / (double)whole);
}

static void row_by_level(struct buf *out, const struct replay *r, const char *name, int level)
{
    buf_printf(out, "%-16s %14llu", name, (unsigned long long)(level < 0 ? r->records : r->received[level]));
    for (size_t i = 0; i < r->lane_count; i++)
        add_share(out, level < 0 ? totals(&r->lanes[i])->verdict[VERDICT_KEPT] : r->lanes[i].kept[level],
                  level < 0 ? r->records : r->received[level]);
    buf_append_byte(out, '\n');
}

static void add_time(struct buf *out, uint64_t ns)
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm tm;
    char text[32] = "?";
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_append_str(out, text);
}

static void report_words(struct buf *out, const struct replay *r, const struct listing *l)
{
    buf_printf(out, "files %llu, requests %llu (refused %llu), records %llu", (unsigned long long)r->files,
               (unsigned long long)r->requests, (unsigned long long)r->refused,
               (unsigned long long)r->records);
    if (r->first_ns != 0) {
        buf_append_str(out, ", ");
        add_time(out, r->first_ns);
        buf_append_str(out, " to ");
        add_time(out, r->last_ns);
    }
    buf_append_str(out, "\n\n");
    for (size_t i = 0; i < r->lane_count; i++)
        buf_printf(out, "[%zu] %s (%s, version %lld)\n", i + 1, r->lanes[i].name,
                   rules_origin(r->lanes[i].rules), (long long)rules_version(r->lanes[i].rules));
    buf_printf(out, "\n%-16s %14s", "", "received");
    for (size_t i = 0; i < r->lane_count; i++)
        buf_printf(out, " %10s [%zu] %6s", "kept", i + 1, "");
    buf_append_byte(out, '\n');
    row_by_level(out, r, "records", -1);
    for (int level = 0; level < LEVEL_COUNT; level++)
        if (r->received[level] > 0)
            row_by_level(out, r, level_name((enum level)level), level);
    buf_printf(out, "%-16s %14llu", "metered bytes", (unsigned long long)r->all.bytes);
    for (size_t i = 0; i < r->lane_count; i++)
        add_share(out, r->lanes[i].meter.bytes, r->all.bytes);
    buf_printf(out, "\ncost at %-8.4g %14.6f", r->cost_per_gb, cost(r, r->all.bytes));
    for (size_t i = 0; i < r->lane_count; i++)
        buf_printf(out, " %14.6f %6s", cost(r, r->lanes[i].meter.bytes), "");

    uint32_t shown = l->count < SHOWN_PATTERNS ? l->count : SHOWN_PATTERNS;
    buf_printf(out, "\n\npatterns, most bytes first (%u of %u)\n", shown, l->count);
    for (uint32_t i = 0; i < shown; i++) {
        const struct pattern *p = l->of[0][i];
        char id[SIGNATURE_TEXT_BYTES];
        buf_printf(out, "%s %-5s %10llu", signature_format(id, p->key.signature),
                   level_name((enum level)p->key.level), (unsigned long long)p->counts.received);
        for (size_t lane = 0; lane < r->lane_count; lane++)
            add_share(out, l->of[lane][i]->counts.kept, p->counts.received);
        buf_append_str(out, "  ");
        json_write_string(out, ledger_service_name(pipeline_ledger(r->lanes[0].pipeline), p->key.service));
        buf_append_byte(out, ' ');
        json_write_string(out, span_of(p->template_text, p->template_len));
        buf_append_byte(out, '\n');
    }
}

static int report(const struct replay *r)
{
    struct listing l;
    struct buf out = {0};
    int rc = list_patterns(r, &l);
    if (rc == 0)
        (r->json ? report_json : report_words)(&out, r, &l);
    if (rc == 0)
        rc = out.err;
    if (rc == 0 && (fwrite(out.base, 1, out.len, stdout) != out.len || fflush(stdout) != 0))
        rc = ERR_IO;
    buf_done(&out);
    for (size_t i = 0; i < LANES_MAX; i++)
        free(l.of[i]);
    return rc;
}

/* ---- the verb ---------------------------------------------------------- */

static int open_lane(struct replay *r, struct lane *lane)
{
    struct pipeline_opts opts = {
        .max_patterns = MAX_PATTERNS,
        .max_services = MAX_SERVICES,
        .seed = r->seed,
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
    r->cost_per_gb = strtod(cost_per_gb, &end);
    if (*end != '\0' || end == cost_per_gb || !isfinite(r->cost_per_gb) || r->cost_per_gb < 0)
        return cli_usage_error("--cost-per-gb: not an amount of money: ", cost_per_gb);
    r->seed = strtoull(seed, &end, 10);
    if (*end != '\0' || *seed < '0' || *seed > '9')
        return cli_usage_error("--seed: not a whole number: ", seed);
    return 0;
}

/* The configuration, and beside it the policy where one is given. */
static int choose_lanes(struct replay *r, const char *policy)
{
    const char *file = r->cfg.sampling.policy_file;
    r->lanes[0].name = file[0] != '\0' ? file : "configuration";
    r->lane_count = 1;
    int code = cli_rules(&r->lanes[0].rules, &r->cfg, file);
    if (code != 0 || policy == NULL)
        return code;
    r->lanes[1].name = policy;
    r->lane_count = 2;
    return cli_rules(&r->lanes[1].rules, &r->cfg, policy);
}

int cli_replay(int argc, char **argv)
{
    static struct replay r;
    const char *policy = NULL, *cost_per_gb = "0.25", *seed = "1";
    const struct cli_flag flags[] = {
        {.name = "json", .given = &r.json},
        {.name = "policy", .value = &policy},
        {.name = "cost-per-gb", .value = &cost_per_gb},
        {.name = "seed", .value = &seed},
    };
    struct error err = {{0}};
    int first, rc = 0;
    int code = cli_load(argc, argv, flags, ARRAY_LEN(flags), &r.cfg, &first);
    if (code != 0)
        return code;
    if (first == argc)
        code = cli_usage_error("replay: which files?", "");
    if (code == 0)
        code = read_numbers(&r, cost_per_gb, seed);
    if (code == 0)
        code = choose_lanes(&r, policy);
    if (code == 0) {
        rc = start(&r);
        if (rc == 0)
            rc = read_files(&r, argv + first, argc - first, &err);
        if (rc == 0)
            rc = report(&r);
        if (rc < 0)
            code = cli_die(rc, &err);
        if (rc == ERR_IO && err.text[0] != '\0')
            code = EXIT_USAGE; /* a file that is not there */
        if (rc == 0 && r.requests == 0)
            code = EXIT_USAGE; /* nothing could be read */
    }
    stop(&r);
    return code;
}
