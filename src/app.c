/* app: start order, stop order and unwinding are one table. */
#include "app.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/diag.h"
#include "util/fate.h"
#include "util/rng.h"

#define DRAIN_TICK_MS 50
#define TICK_MS 1000 /* of the pipeline; less where anomalies are judged more often */
#define CONTEXT_SHARE 8 /* of memory.limit: the most that the context of errors may take */
#define REASONS_BYTES 512        /* of all losses, with 20 digits each */
#define ON_DISK_BYTES 128        /* of the spool's part of the last line */
#define QUIET_MS 1000            /* no request for so long: the application has flushed */
#define CONNECT_TIMEOUT_MS 10000
#define IDLE_UPSTREAM_CONNECTIONS 8
#define LARGEST_HEAP_BLOCK (32 << 20) /* see keep_heap() */
#define HEAP_TRIM_BYTES (4 << 20)

/* ---- what the parts tell each other ------------------------------------ */

static int on_admit(void *ctx, size_t bytes, size_t largest)
{
    struct app *app = ctx;
    if (app->journal == NULL)
        return exporter_admit(app->exporter, bytes, largest);
    int rc = exporter_admit_memory(app->exporter, bytes, largest);
    return rc < 0 ? rc : journal_admit(app->journal, bytes);
}

static double on_fullness(void *ctx)
{
    struct app *app = ctx;
    if (app->journal == NULL)
        return exporter_fullness(app->exporter);
    double memory = exporter_memory_fullness(app->exporter);
    double disk = journal_fullness(app->journal);
    return memory > disk ? memory : disk;
}

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct app *app = ctx;
    if (app->journal != NULL)
        return journal_add(app->journal, g, record, stamp, service);
    return exporter_add(app->exporter, g, record, stamp, service);
}

static void on_settle(void *ctx, uint32_t service, enum fate fate, uint64_t records)
{
    struct app *app = ctx;
    if (app->leaves_on_disk && (fate == FATE_LOST_SHUTDOWN || fate == FATE_LOST_AUTH))
        return; /* queued still: in the spool */
    ledger_settle(pipeline_ledger(app->pipeline), service, fate, records);
}

static void on_service_seen(void *ctx, uint32_t service)
{
    struct app *app = ctx;
    if (app->remote != NULL)
        remote_service_seen(app->remote, service);
}

static void on_policy(void *ctx, uint32_t service, const struct rules *rules)
{
    struct app *app = ctx;
    pipeline_set_rules(app->pipeline, service, rules);
}

static void on_policy_file(void *ctx, const struct rules *rules)
{
    struct app *app = ctx;
    pipeline_set_common_rules(app->pipeline, rules);
}

static void on_shadow_file(void *ctx, const struct rules *rules)
{
    struct app *app = ctx;
    pipeline_set_shadow_rules(app->pipeline, rules);
}

/* ---- exporter ---------------------------------------------------------- */

/* Of what is in the exporter's hands; the spool sees to what is not. */
static uint64_t max_age_ms(const struct config *cfg)
{
    uint64_t queue = cfg->queue.max_age_ms, spool = cfg->durable ? cfg->spool.max_age_ms : 0;
    return queue == 0 || (spool > 0 && spool < queue) ? spool : queue;
}

static int exporter_start(struct app *app, struct error *err)
{
    const struct config *cfg = app->cfg;
    struct client_opts client = {
        .user_agent = "lipservice/" LIPSERVICE_VERSION,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .max_idle_connections = IDLE_UPSTREAM_CONNECTIONS,
    };
    int rc = client_open(&app->client, &app->loop, &client);
    if (rc < 0)
        return rc;

    struct aside_opts aside = {cfg->refused_file.path, cfg->refused_file.max_bytes, &app->budget};
    if (aside.path[0] != '\0')
        rc = aside_open(&app->aside, &aside, err);
    if (rc < 0)
        return rc;

    struct sink sink = {0};
    enum coding compression;
    rc = app_open_sink(app, &sink, &compression, err);
    if (rc < 0)
        return rc;
    struct exporter_opts opts = {
        .budget = &app->budget,
        .clock = app->clock,
        .fates = {app, on_settle},
        .compression = compression,
        .batch_bytes = cfg->batch.max_bytes,
        .batch_records = cfg->batch.max_records,
        .batch_age_ms = cfg->batch.max_age_ms,
        .queue_bytes = cfg->queue.max_bytes,
        .max_age_ms = max_age_ms(cfg),
        .aside = app->aside,
    };
    rc = exporter_open(&app->exporter, &app->loop, &sink, &opts);
    if (rc < 0)
        sink.ops->close(sink.self);
    return rc;
}

static void exporter_stop(struct app *app)
{
    exporter_close(app->exporter);
    app->exporter = NULL;
    aside_close(app->aside);
    app->aside = NULL;
    client_close(app->client);
    app->client = NULL;
}

/* ---- pipeline, receiver ------------------------------------------------ */

/* Within memory.limit, and never so much of it that requests have no room. */
static size_t context_bytes(const struct config *cfg)
{
    uint64_t most = cfg->memory_limit_bytes / CONTEXT_SHARE;
    return cfg->sampling.context_bytes < most ? cfg->sampling.context_bytes : most;
}

static void on_tick(uv_timer_t *timer)
{
    struct app *app = container_of(timer, struct app, tick_timer);
    pipeline_tick(app->pipeline);
}

static int pipeline_start(struct app *app, struct error *err)
{
    struct rng rng;
    uint32_t tick_ms = app->cfg->events.interval_ms < TICK_MS ? app->cfg->events.interval_ms : TICK_MS;
    (void)err;
    rng_init(&rng);
    uv_timer_init(&app->loop, &app->tick_timer);
    struct pipeline_opts opts = {
        .max_patterns = app->cfg->sampling.max_patterns,
        .max_patterns_per_service = app->cfg->sampling.max_patterns_per_service,
        .max_services = app->cfg->sampling.max_services,
        .family_weight = app->cfg->sampling.family_weight,
        .seed = rng_next(&rng),
        .severity_from_text = app->cfg->sampling.severity_from_text,
        .stamps = app->cfg->sampling.stamps,
        .context = {
            .bytes = context_bytes(app->cfg),
            .trigger = app->cfg->sampling.context_trigger,
            .window_ms = app->cfg->sampling.context_window_ms,
            .max_records = app->cfg->sampling.context_records,
            .max_per_second = app->cfg->sampling.context_per_second,
        },
        .observe = app->cfg->observe,
        .floor_per_second = app->cfg->sampling.floor_per_second,
        .budget = &app->budget,
        .clock = app->clock,
        .target = config_target(app->cfg),
        .events = {
            .enabled = app->cfg->events.enabled,
            .interval_ms = app->cfg->events.interval_ms,
            .learning_ms = app->cfg->events.learning_ms,
            .summary_ms = app->cfg->events.summary_ms,
            .max_per_minute = app->cfg->events.max_per_minute,
        },
        .sink = {app, on_admit, on_emit, on_fullness},
        .service_seen = on_service_seen,
        .service_ctx = app,
    };
    int rc = pipeline_new(&app->pipeline, &opts, app->cfg->sampling.rules);
    return rc < 0 ? rc : uv_timer_start(&app->tick_timer, on_tick, 0, tick_ms);
}

static void pipeline_stop(struct app *app)
{
    uv_close((uv_handle_t *)&app->tick_timer, NULL);
}

static void pipeline_release(struct app *app)
{
    pipeline_free(app->pipeline);
    app->pipeline = NULL;
}

/* `before`: the configuration whose files are open; NULL: none are. */
int app_set_policy_files(struct app *app, const struct config *before, struct error *err)
{
    const struct config *cfg = app->cfg;
    const struct {
        struct policy_file **file;
        const char *path, *was;
        void (*install)(void *ctx, const struct rules *rules);
    } files[] = {
        {&app->policy_file, cfg->sampling.policy_file,
         before == NULL ? "" : before->sampling.policy_file, on_policy_file},
        {&app->shadow_file, cfg->shadow.policy_file,
         before == NULL ? "" : before->shadow.policy_file, on_shadow_file},
    };
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(files) && rc == 0; i++) {
        if (*files[i].file != NULL && strcmp(files[i].path, files[i].was) == 0) {
            policy_file_reload(*files[i].file, cfg->sampling.rules);
            continue;
        }
        policy_file_close(*files[i].file);
        *files[i].file = NULL;
        struct policy_file_opts opts = {
            .path = files[i].path,
            .clock = app->clock,
            .visit = config_visit_yaml,
            .base = cfg->sampling.rules,
            .install = files[i].install,
            .ctx = app,
        };
        if (opts.path[0] != '\0')
            rc = policy_file_open(files[i].file, &app->loop, &opts, err);
    }
    return rc;
}

int app_open_policy_server(struct app *app, struct error *err)
{
    const struct config *cfg = app->cfg;
    struct route route;
    if (cfg->policy.server[0] == '\0')
        return 0;
    int rc = app_open_route(&route, &cfg->policy.route, "policy", err);
    if (rc < 0)
        return rc;
    struct remote_opts remote = {
        .route = route,
        .server = cfg->policy.server,
        .api_key = cfg->policy.api_key,
        .team_id = cfg->policy.team_id,
        .refresh_interval_ms = cfg->policy.refresh_interval_ms,
        .timeout_ms = cfg->policy.timeout_ms,
        .clock = app->clock,
        .ledger = pipeline_ledger(app->pipeline),
        .base = cfg->sampling.rules,
        .install = on_policy,
        .ctx = app,
    };
    struct report_opts report = {
        .route = route,
        .server = cfg->policy.server,
        .api_key = cfg->policy.api_key,
        .team_id = cfg->policy.team_id,
        .interval_ms = cfg->policy.report_interval_ms,
        .timeout_ms = cfg->policy.timeout_ms,
        .clock = app->clock,
        .ledger = pipeline_ledger(app->pipeline),
        .patterns = pipeline_patterns(app->pipeline),
        .families = pipeline_families(app->pipeline),
        .budget = &app->budget,
    };
    rc = remote_open(&app->remote, &app->loop, app->client, &remote);
    return rc < 0 ? rc : report_open(&app->report, &app->loop, app->client, &report);
}

void app_close_policy_server(struct app *app)
{
    remote_close(app->remote);
    report_close(app->report);
    app->remote = NULL;
    app->report = NULL;
}

static int policy_start(struct app *app, struct error *err)
{
    int rc = app_set_policy_files(app, NULL, err);
    return rc < 0 ? rc : app_open_policy_server(app, err);
}

static void policy_stop(struct app *app)
{
    policy_file_close(app->policy_file);
    policy_file_close(app->shadow_file);
    app->policy_file = app->shadow_file = NULL;
    app_close_policy_server(app);
}

/* A port that is taken, or an address that is none: of which setting? */
static int name_setting(int rc, const char *key, struct error *err)
{
    struct error inner = *err;
    return rc == 0 ? 0 : err_set(err, rc, "%s: %.400s", key, inner.text[0] != '\0' ? inner.text : err_text(rc));
}

static int receiver_start(struct app *app, struct error *err)
{
    const struct config *cfg = app->cfg;
    static const enum relay_mode modes[] = {
        [PASS_RELAY] = RELAY_SEND,
        [PASS_DISCARD] = RELAY_DISCARD,
        [PASS_REFUSE] = RELAY_REFUSE,
    };
    struct receiver_opts opts = {
        .max_request_bytes = cfg->receiver.max_request_bytes,
        .relay = {[SIGNAL_TRACES] = modes[cfg->passthrough.traces],
                  [SIGNAL_METRICS] = modes[cfg->passthrough.metrics]},
        .budget = &app->budget,
        .pipeline = app->pipeline,
        .exporter = app->exporter,
        .journal = app->journal,
    };
    int rc = receiver_new(&app->receiver, &opts);
    if (rc < 0)
        return rc;
    http_service_init(&app->service);
    app->service.budget = &app->budget;
    app->service.clock = app->clock;
    receiver_serve(app->receiver, &app->service);

    struct {
        struct listener *listener;
        const char *addr, *key;
    } ports[] = {{&app->grpc, cfg->receiver.grpc_endpoint, "receivers.otlp.protocols.grpc.endpoint"},
                 {&app->http, cfg->receiver.http_endpoint, "receivers.otlp.protocols.http.endpoint"}};
    for (size_t i = 0; i < ARRAY_LEN(ports) && rc == 0; i++) {
        struct listener_opts l = {&app->service, ports[i].addr, app->connections};
        if (ports[i].addr[0] != '\0')
            rc = name_setting(listener_open(ports[i].listener, &app->loop, &l, err), ports[i].key, err);
    }
    return rc;
}

static void receiver_stop(struct app *app)
{
    listener_close(&app->grpc, NULL);
    listener_close(&app->http, NULL);
}

/* After the sockets are gone: sessions speak to the receiver until they are. */
static void receiver_release(struct app *app)
{
    receiver_free(app->receiver);
    app->receiver = NULL;
}

/* ---- pages ------------------------------------------------------------- */

static int pages_start(struct app *app, struct error *err)
{
    const struct config *cfg = app->cfg;
    const struct {
        struct page_server *server;
        const char *addr, *key;
        const struct page *pages;
        size_t count;
    } servers[] = {
        {&app->health, cfg->telemetry.health_endpoint, "telemetry.health.endpoint", app_health_pages, app_health_page_count},
        {&app->metrics, cfg->telemetry.metrics_endpoint, "telemetry.metrics.endpoint", app_metrics_pages,
         app_metrics_page_count},
        {&app->admin, cfg->telemetry.admin_endpoint, "telemetry.admin.endpoint", app_admin_pages, app_admin_page_count},
    };
    int rc = live_open(app);
    for (size_t i = 0; i < ARRAY_LEN(servers) && rc == 0; i++) {
        struct page_opts opts = {
            .addr = servers[i].addr,
            .pages = servers[i].pages,
            .page_count = servers[i].count,
            .ctx = app,
            .budget = &app->budget,
            .clock = app->clock,
            .max_connections = app->page_connections,
        };
        if (opts.addr[0] != '\0')
            rc = name_setting(page_server_open(servers[i].server, &app->loop, &opts, err), servers[i].key, err);
    }
    return rc;
}

static void pages_stop(struct app *app)
{
    live_stop_taps(app->live);
    page_server_close(&app->health);
    page_server_close(&app->metrics);
    page_server_close(&app->admin);
    live_close(app->live);
    app->live = NULL;
}

/* ---- the end ----------------------------------------------------------- */

/* What is settled, and what will not be any more: when a system call does not return, records
 * are queued to the end. */
static void end_fates(struct app *app, struct ledger_row *t, const struct app_journal_end_counts *spool)
{
    if (app->journal == NULL)
        t->fate[FATE_LOST_SHUTDOWN] += t->queued;
    t->fate[FATE_LOST_DISK] += spool->unstored;
    t->fate[FATE_LOST_DAMAGED] += spool->removed;
    t->fate[FATE_LOST_DROPPED] += spool->dropped;
}

void app_log_ledger(struct app *app)
{
    if (app->phase == APP_STARTING || atomic_exchange(&app->is_ledger_told, true))
        return;
    struct ledger_row t = *ledger_total(pipeline_ledger(app->pipeline));
    struct app_journal_end_counts spool;
    uint64_t lost = 0;
    char reasons[REASONS_BYTES] = "", on_disk[ON_DISK_BYTES] = "";
    app_journal_end_counts(app, &spool);
    end_fates(app, &t, &spool);
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++) {
        size_t n = strlen(reasons);
        lost += t.fate[f];
        if (t.fate[f] > 0)
            snprintf(reasons + n, sizeof reasons - n, " lost_%s=%llu", fate_name((enum fate)f),
                     (unsigned long long)t.fate[f]);
    }
    if (app->journal != NULL)
        snprintf(on_disk, sizeof on_disk, " earlier_unread=%llu spool_lost=%llu spool_lost_frames=%llu",
                 (unsigned long long)spool.earlier_unread, (unsigned long long)spool.lost,
                 (unsigned long long)spool.lost_frames);
    bool has_lost = lost > 0 || spool.lost_frames > 0;
    diag(has_lost ? DIAG_WARN : DIAG_INFO, "ledger",
         has_lost         ? "ended, and not everything could be delivered"
         : spool.left > 0 ? "ended; what is not delivered waits on disk"
                          : "ended",
         "received=%llu kept=%llu released=%llu sampled_out=%llu dropped_by_rule=%llu "
         "rejected=%llu delivered=%llu lost=%llu%s left_on_disk=%llu%s",
         (unsigned long long)t.received, (unsigned long long)t.verdict[VERDICT_KEPT],
         (unsigned long long)t.released, (unsigned long long)t.verdict[VERDICT_SAMPLED_OUT],
         (unsigned long long)t.verdict[VERDICT_DROPPED_BY_RULE],
         (unsigned long long)t.verdict[VERDICT_REJECTED],
         (unsigned long long)t.fate[FATE_DELIVERED], (unsigned long long)lost, reasons,
         (unsigned long long)spool.left, on_disk);
}

/* The loop turns to its end once more: what is read in that turn would be acknowledged
 * and lost. */
static void end(struct app *app)
{
    receiver_end(app->receiver);
    app->phase = APP_ENDED;
    uv_stop(&app->loop);
}

static bool is_quiet(const struct app *app, uint64_t now)
{
    return now - receiver_last_request_ms(app->receiver) >= QUIET_MS &&
           listener_is_quiet(&app->grpc) && listener_is_quiet(&app->http);
}

static void stop_taking(struct app *app)
{
    app->phase = APP_FLUSHING;
    app->service.draining = true;
    listener_drain_sessions(&app->grpc);
    listener_drain_sessions(&app->http);
    listener_stop_accepting(&app->grpc);
    listener_stop_accepting(&app->http);
}

/* The policy server hears of the last counts, once nothing can be added to them. */
static bool has_reported(struct app *app)
{
    if (app->report == NULL)
        return true;
    if (!report_is_idle(app->report))
        return false;
    if (!app->reported_at_end) {
        app->reported_at_end = true;
        report_now(app->report);
    }
    return report_is_idle(app->report);
}

static void on_drain_tick(uv_timer_t *timer)
{
    struct app *app = container_of(timer, struct app, drain_timer);
    uint64_t now = clock_now_ms(app->clock), spent = now - app->drain_began_ms;
    if (app->phase == APP_QUIETING && (is_quiet(app, now) || spent >= app->signals.drain_ms / 2))
        stop_taking(app);
    if (app->phase == APP_FLUSHING) {
        bool is_closed = listener_is_quiet(&app->grpc) && listener_is_quiet(&app->http);
        if (is_closed && !app->told_at_end) {
            app->told_at_end = true;
            uv_timer_stop(&app->tick_timer); /* nothing more is noticed */
            pipeline_finish(app->pipeline);
        }
        if (app->journal != NULL)
            journal_flush(app->journal);
        exporter_flush(app->exporter);
        bool done = (app->journal == NULL || journal_is_idle(app->journal)) &&
                    exporter_is_idle(app->exporter) && has_reported(app) && is_closed;
        if (done || spent >= app->signals.drain_ms)
            end(app);
    }
}

void app_stop_asked(struct app *app, int number)
{
    if (app->phase >= APP_QUIETING) {
        diag(DIAG_WARN, "stopping", "second signal: ending at once", "signal=%d", number);
        end(app);
        return;
    }
    app->phase = APP_QUIETING;
    live_stop_taps(app->live);
    app->drain_began_ms = clock_now_ms(app->clock);
    diag(DIAG_INFO, "stopping", "draining; once more ends at once", "signal=%d timeout_ms=%u",
         number, app->signals.drain_ms);
    uv_timer_start(&app->drain_timer, on_drain_tick, 0, DRAIN_TICK_MS);
}

static int drain_start(struct app *app, struct error *err)
{
    (void)err;
    return uv_timer_init(&app->loop, &app->drain_timer);
}

static void drain_stop(struct app *app)
{
    uv_close((uv_handle_t *)&app->drain_timer, NULL);
}

/* ---- life -------------------------------------------------------------- */

/*
 * The parts, in the order they start; they stop in the reverse order. The
 * receiver is last, so that no request arrives before there is somewhere for it
 * to go, and it is the first to stop.
 */
static const struct part {
    int (*start)(struct app *app, struct error *err);
    void (*stop)(struct app *app);    /* close what the loop knows of */
    void (*release)(struct app *app); /* free the rest, when the loop has run out */
} parts[] = {
    {app_signals_start, app_signals_stop, app_signals_release},
    {drain_start, drain_stop, NULL},
    {app_journal_open, app_journal_close, app_journal_free},
    {exporter_start, exporter_stop, NULL},
    {pipeline_start, pipeline_stop, pipeline_release},
    {app_journal_start, app_journal_leave, NULL},
    {policy_start, policy_stop, NULL},
    {pages_start, pages_stop, NULL},
    {receiver_start, receiver_stop, receiver_release},
};

static void stop_parts(struct app *app)
{
    for (size_t i = app->parts_started; i > 0; i--)
        if (parts[i - 1].stop != NULL)
            parts[i - 1].stop(app);
    uv_run(&app->loop, UV_RUN_DEFAULT); /* close callbacks, and a write that is under way */
    for (size_t i = app->parts_started; i > 0; i--)
        if (parts[i - 1].release != NULL)
            parts[i - 1].release(app);
    app->parts_started = 0;
    uv_loop_close(&app->loop);
}

/* Bodies come and go by the thousand: keep their memory instead of giving pages
 * back to the kernel and faulting them in again (a tenth of the whole cost). The
 * budget bounds what can be out; a few MiB of trim slack are all that is kept. */
static void keep_heap(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, LARGEST_HEAP_BLOCK);
    mallopt(M_TRIM_THRESHOLD, HEAP_TRIM_BYTES);
    mallopt(M_ARENA_MAX, 2); /* the loop's and the thread pool's */
#endif
}

/* A proxy that is away is easily taken for the upstream: say where one comes from. */
static const char *proxy_text(const struct config *cfg)
{
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "http_proxy",
                                        "HTTP_PROXY",  "all_proxy",   "ALL_PROXY"};
    if (cfg->posthog.route.proxy_url[0] != '\0' || cfg->otlphttp.route.proxy_url[0] != '\0')
        return "configured";
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0')
            return names[i];
    }
    return "none";
}

static void log_start(struct app *app)
{
    const struct config *cfg = app->cfg;
    char grpc[LISTENER_ADDR_BYTES], http[LISTENER_ADDR_BYTES], to[DIAG_QUOTE_BYTES];
    char health[LISTENER_ADDR_BYTES], metrics[LISTENER_ADDR_BYTES], admin[LISTENER_ADDR_BYTES];
    const char *key = cfg->posthog.api_key;
    size_t n = strlen(key);
    bool to_stdout = key[0] == '\0' && strcmp(exporter_sink_name(app->exporter), "standard output") == 0;
    diag(DIAG_INFO, "started",
         to_stdout ? "no POSTHOG_API_KEY: what is kept goes to standard output" : "listening",
         "version=%s grpc=%s http=%s health=%s metrics=%s admin=%s exporter=%s key=%s%s "
         "proxy=%s memory_limit=%llu mode=%s config=%s",
         LIPSERVICE_VERSION, listener_address(&app->grpc, grpc), listener_address(&app->http, http),
         listener_address(&app->health.listener, health),
         listener_address(&app->metrics.listener, metrics),
         listener_address(&app->admin.listener, admin),
         diag_quote(to, span_str(exporter_sink_name(app->exporter))), n > 8 ? "..." : n > 0 ? "set" : "none",
         n > 8 ? key + n - 4 : "", proxy_text(cfg), (unsigned long long)cfg->memory_limit_bytes,
         cfg->observe ? "observe" : "enforce", cfg->source[0] != '\0' ? cfg->source : "none");
}

int app_start(struct app *app, const struct config *cfg, const struct config_input *input,
              struct error *err)
{
    *app = (struct app){.cfg = cfg, .input = input, .clock = clock_real()};
    keep_heap();
    app_limits_set(app);
    budget_init(&app->budget, cfg->memory_limit_bytes);
    int rc = uv_loop_init(&app->loop);
    if (rc < 0)
        return rc;
    while (app->parts_started < ARRAY_LEN(parts)) {
        app->parts_started++; /* a part that fails half-way is stopped as well */
        rc = parts[app->parts_started - 1].start(app, err);
        if (rc < 0) {
            stop_parts(app);
            return rc;
        }
    }
    app->phase = APP_RUNNING;
    app->started_ms = clock_now_ms(app->clock);
    log_start(app);
    return 0;
}

int app_run(struct app *app)
{
    uv_run(&app->loop, UV_RUN_DEFAULT);
    return 0;
}

bool app_is_ready(const struct app *app)
{
    return app->phase == APP_RUNNING && app_journal_status(app) == NULL;
}

void app_stop(struct app *app)
{
    app_journal_end(app);
    /* What is undeliverable is settled before the ledger is told. */
    exporter_close(app->exporter);
    app->exporter = NULL;
    app_log_ledger(app);
    stop_parts(app);
    app_free_reloaded(app);
}
