/* sidecar: start order, stop order and unwinding are one table. */
#include "sidecar/sidecar.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/pipeline.h"
#include "net/host.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "util/diag.h"
#include "util/fate.h"
#include "util/rng.h"
#include "web/assets.h"

#define TICK_MS 1000 /* of the pipeline; less where anomalies are judged more often */
#define IDLE_UPSTREAM_CONNECTIONS 8
#define LARGEST_HEAP_BLOCK (32 << 20) /* see keep_heap() */
#define HEAP_TRIM_BYTES (4 << 20)

/* ---- what the parts tell each other ------------------------------------ */

static void on_settle(void *ctx, uint32_t service, enum fate fate, uint64_t records)
{
    struct sidecar *sc = ctx;
    if (sc->leaves_on_disk && (fate == FATE_LOST_SHUTDOWN || fate == FATE_LOST_AUTH))
        return; /* queued still: in the spool */
    pipeline_settle(sc->pipeline, service, fate, records);
}

static void on_service_seen(void *ctx, uint32_t service, struct span name)
{
    struct sidecar *sc = ctx;
    if (sc->remote != NULL)
        remote_service_seen(sc->remote, service, name);
}

/* ---- exporter ---------------------------------------------------------- */

/* Of what is in the exporter's hands; the spool sees to what is not. */
static uint64_t max_age_ms(const struct config *cfg)
{
    uint64_t queue = cfg->queue.max_age_ms, spool = cfg->durable ? cfg->spool.max_age_ms : 0;
    return queue == 0 || (spool > 0 && spool < queue) ? spool : queue;
}

static int exporter_start(struct sidecar *sc, struct error *err)
{
    const struct config *cfg = sc->cfg;
    struct client_opts client = {
        .user_agent = "lipservice/" LIPSERVICE_VERSION,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .max_idle_connections = IDLE_UPSTREAM_CONNECTIONS,
    };
    int rc = client_open(&sc->client, &sc->loop, &client);
    if (rc < 0)
        return rc;

    struct refused_file_opts refused = {cfg->refused_file.path, cfg->refused_file.max_bytes,
                                        &sc->budget};
    if (refused.path[0] != '\0')
        rc = refused_file_open(&sc->refused_file, &refused, err);
    if (rc < 0)
        return rc;

    struct sink sink = {0};
    enum coding compression;
    rc = sidecar_open_sink(sc, &sink, &compression, err);
    if (rc < 0)
        return rc;
    struct exporter_opts opts = {
        .budget = &sc->budget,
        .clock = sc->clock,
        .fates = {sc, on_settle},
        .compression = compression,
        .batch_bytes = cfg->batch.max_bytes,
        .batch_records = cfg->batch.max_records,
        .batch_age_ms = cfg->batch.max_age_ms,
        .queue_bytes = cfg->queue.max_bytes,
        .max_age_ms = max_age_ms(cfg),
        .refused_file = sc->refused_file,
    };
    rc = exporter_open(&sc->exporter, &sc->loop, &sink, &opts);
    if (rc < 0)
        sink.ops->close(sink.self);
    hold_init(&sc->hold, sc->exporter, sc->journals, cfg->queue.errors_first);
    return rc;
}

static void exporter_stop(struct sidecar *sc)
{
    exporter_close(sc->exporter);
    sc->exporter = NULL;
    refused_file_close(sc->refused_file);
    sc->refused_file = NULL;
    client_close(sc->client);
    sc->client = NULL;
}

/* ---- pipeline, receiver ------------------------------------------------ */

static void on_tick(uv_timer_t *timer)
{
    struct sidecar *sc = container_of(timer, struct sidecar, tick_timer);
    pipeline_tick(sc->pipeline);
    posthog_tick(sc);
    if (sc->receiver != NULL)
        receiver_tell_health(sc->receiver);
}

static int pipeline_start(struct sidecar *sc, struct error *err)
{
    struct rng rng;
    uint32_t tick_ms =
        sc->cfg->events.interval_ms < TICK_MS ? sc->cfg->events.interval_ms : TICK_MS;
    (void)err;
    rng_init(&rng);
    uv_timer_init(&sc->loop, &sc->tick_timer);
    struct pipeline_opts opts = config_pipeline(sc->cfg);
    opts.logs_secrets = true;
    if (sc->cfg->telemetry.admin_endpoint[0] != '\0' && sc->history_memory.limit > 0)
        opts.samples = &sc->sample_memory;
    opts.minutes = sc->cfg->app.personal_api_key[0] != '\0';
    opts.seed = state_seed(sc, rng_next(&rng));
    opts.budget = &sc->budget;
    opts.clock = sc->clock;
    opts.sink = (struct pipeline_sink){&sc->hold, sc->hold.ops.admit, sc->hold.ops.add,
                                       sc->hold.ops.fullness, sc->hold.ops.add_error};
    opts.service_seen = on_service_seen;
    opts.service_ctx = sc;
    int rc = pipeline_new(&sc->pipeline, &opts, sc->cfg->sampling.rules);
    return rc < 0 ? rc : uv_timer_start(&sc->tick_timer, on_tick, 0, tick_ms);
}

static void pipeline_stop(struct sidecar *sc)
{
    uv_close((uv_handle_t *)&sc->tick_timer, NULL);
}

static void pipeline_release(struct sidecar *sc)
{
    pipeline_free(sc->pipeline);
    sc->pipeline = NULL;
}

/* Prefix a listen error with the setting's key. */
static int name_setting(int rc, const char *key, struct error *err)
{
    struct error inner = *err;
    return rc == 0 ? 0
                   : err_set(err, rc, "%s: %.400s", key,
                             inner.text[0] != '\0' ? inner.text : err_text(rc));
}

static bool is_ready(const void *ctx)
{
    return sidecar_is_ready(ctx);
}

static int receiver_start(struct sidecar *sc, struct error *err)
{
    const struct config *cfg = sc->cfg;
    static const enum relay_mode modes[] = {
        [PASS_RELAY] = RELAY_SEND,
        [PASS_DISCARD] = RELAY_DISCARD,
        [PASS_REFUSE] = RELAY_REFUSE,
    };
    static const enum upstream_key keys[] = {
        [KEY_CONFIGURED] = UPSTREAM_KEY_CONFIGURED,
        [KEY_CLIENT] = UPSTREAM_KEY_CLIENT,
        [KEY_CLIENT_OR_CONFIGURED] = UPSTREAM_KEY_CLIENT_OR_CONFIGURED,
    };
    struct receiver_opts opts = {
        .max_request_bytes = cfg->receiver.max_request_bytes,
        .is_strict = cfg->receiver.strict,
        .joins = cfg->multiline_join,
        .door = {.upstream_key = keys[cfg->upstream_key],
                 .hosts = cfg->receiver.allowed_hosts,
                 .cors = {.origins = cfg->receiver.cors_origins,
                          .headers = cfg->receiver.cors_headers,
                          .max_age_s = cfg->receiver.cors_max_age_s}},
        .is_ready = is_ready,
        .ready_ctx = sc,
        .relay = {[SIGNAL_TRACES] = modes[cfg->passthrough.traces],
                  [SIGNAL_METRICS] = modes[cfg->passthrough.metrics]},
        .proxy = sc->proxy,
        .loop = &sc->loop,
        .budget = &sc->budget,
        .pipeline = sc->pipeline,
        .exporter = sc->exporter,
        .hold = &sc->hold,
    };
    int rc = receiver_new(&sc->receiver, &opts);
    if (rc < 0)
        return rc;
    receiver_set_key(sc->receiver, cfg->posthog.api_key);
    rc = access_start(sc, err);
    struct {
        struct listener *listener;
        const char *addr, *key;
        enum config_tls_block tls;
    } ports[] = {{&sc->grpc, cfg->receiver.grpc_endpoint, "receivers.otlp.protocols.grpc.endpoint",
                  CONFIG_TLS_GRPC},
                 {&sc->http, cfg->receiver.http_endpoint, "receivers.otlp.protocols.http.endpoint",
                  CONFIG_TLS_HTTP}};
    for (size_t i = 0; i < ARRAY_LEN(ports) && rc == 0; i++) {
        struct http_service *service = &sc->services[i];
        struct listener_opts l = {service, ports[i].addr, sc->connections};
        http_service_init(service);
        service->budget = &sc->bodies;
        service->overhead = &sc->overhead;
        service->handshake_memory = &sc->handshake_memory;
        service->clock = sc->clock;
        service->tls = tls_port_of(sc, ports[i].tls);
        receiver_serve(sc->receiver, service, host_is_loopback(ports[i].addr));
        if (ports[i].addr[0] != '\0')
            rc = name_setting(listener_open(ports[i].listener, &sc->loop, &l, err), ports[i].key,
                              err);
    }
    return rc;
}

static void receiver_stop(struct sidecar *sc)
{
    access_stop(sc);
    listener_close(&sc->grpc, NULL);
    listener_close(&sc->http, NULL);
    receiver_close(sc->receiver);
}

/* After the sockets are gone: sessions speak to the receiver until they are. */
static void receiver_release(struct sidecar *sc)
{
    receiver_free(sc->receiver);
    sc->receiver = NULL;
}

/* ---- pages ------------------------------------------------------------- */

static int pages_start(struct sidecar *sc, struct error *err)
{
    const struct config *cfg = sc->cfg;
    const struct {
        struct page_server *server;
        const char *addr, *key;
        const struct page *pages;
        size_t count;
    } servers[] = {
        {&sc->health, cfg->telemetry.health_endpoint, "telemetry.health.endpoint",
         sidecar_health_pages, sidecar_health_page_count},
        {&sc->metrics, cfg->telemetry.metrics_endpoint, "telemetry.metrics.endpoint",
         sidecar_metrics_pages, sidecar_metrics_page_count},
        {&sc->admin, cfg->telemetry.admin_endpoint, "telemetry.admin.endpoint", sidecar_admin_pages,
         sidecar_admin_page_count},
    };
    int rc = live_open(sc);
    if (rc == 0)
        rc = feed_open(sc);
    for (size_t i = 0; i < ARRAY_LEN(servers) && rc == 0; i++) {
        struct page_opts opts = {
            .addr = servers[i].addr,
            .pages = servers[i].pages,
            .page_count = servers[i].count,
            .ctx = sc,
            .budget = &sc->page_memory,
            .assets = web_assets,
            .asset_count = servers[i].server == &sc->admin ? web_asset_count : 0,
            .clock = sc->clock,
            .max_connections = sc->page_connections,
            .hosts = cfg->telemetry.allowed_hosts,
            .tls = servers[i].server == &sc->health ? NULL : tls_port_of(sc, CONFIG_TLS_PAGES),
            .api_key = servers[i].server == &sc->admin ? cfg->telemetry.admin_api_key : NULL,
        };
        if (opts.addr[0] != '\0')
            rc = name_setting(page_server_open(servers[i].server, &sc->loop, &opts, err),
                              servers[i].key, err);
    }
    return rc;
}

static void pages_stop(struct sidecar *sc)
{
    live_stop_taps(sc->live);
    feed_stop(sc->feed);
    page_server_close(&sc->health);
    page_server_close(&sc->metrics);
    page_server_close(&sc->admin);
    live_close(sc->live);
    sc->live = NULL;
    feed_close(sc->feed);
    sc->feed = NULL;
}

/* ---- life -------------------------------------------------------------- */

/*
 * The parts, in the order they start; they stop in the reverse order. The
 * receiver is last, so that no request arrives before there is somewhere for it
 * to go, and it is the first to stop.
 */
static const struct part {
    int (*start)(struct sidecar *sc, struct error *err);
    void (*stop)(struct sidecar *sc);    /* close what the loop knows of */
    void (*release)(struct sidecar *sc); /* free the rest, when the loop has run out */
} parts[] = {
    {sidecar_sandbox_start, NULL, sidecar_sandbox_release},
    {sidecar_signals_start, sidecar_signals_stop, sidecar_signals_release},
    {drain_start, drain_stop, NULL},
    {state_start, state_stop, state_release},
    {durable_open, durable_close, durable_free},
    {exporter_start, exporter_stop, NULL},
    {pipeline_start, pipeline_stop, pipeline_release},
    {history_start, history_stop, history_release},
    {durable_start, durable_leave, NULL},
    {annotating_start, annotating_stop, annotating_release},
    {versioning_start, versioning_stop, versioning_release},
    {state_restore, NULL, NULL},
    {policies_start, policies_stop, policies_release},
    {providing_start, providing_stop, NULL},
    {tls_start, tls_stop, NULL},
    {posthog_start, posthog_stop, posthog_release},
    {guarding_start, guarding_stop, guarding_release},
    {pages_start, pages_stop, NULL},
    {proxy_start, proxy_stop, proxy_release},
    {receiver_start, receiver_stop, receiver_release},
};

static void stop_parts(struct sidecar *sc)
{
    for (size_t i = sc->parts_started; i > 0; i--)
        if (parts[i - 1].stop != NULL)
            parts[i - 1].stop(sc);
    uv_run(&sc->loop, UV_RUN_DEFAULT); /* close callbacks, and a write that is under way */
    for (size_t i = sc->parts_started; i > 0; i--)
        if (parts[i - 1].release != NULL)
            parts[i - 1].release(sc);
    sc->parts_started = 0;
    uv_loop_close(&sc->loop);
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

static void log_start(struct sidecar *sc)
{
    const struct config *cfg = sc->cfg;
    char grpc[LISTENER_ADDR_BYTES], http[LISTENER_ADDR_BYTES], to[DIAG_QUOTE_BYTES];
    char health[LISTENER_ADDR_BYTES], metrics[LISTENER_ADDR_BYTES], admin[LISTENER_ADDR_BYTES];
    const char *key = cfg->posthog.api_key;
    size_t n = strlen(key);
    bool to_stdout =
        key[0] == '\0' && strcmp(exporter_sink_name(sc->exporter), "standard output") == 0;
    diag(DIAG_INFO, "started",
         to_stdout ? "no POSTHOG_API_KEY: what is kept goes to standard output" : "listening",
         "version=%s grpc=%s http=%s health=%s metrics=%s admin=%s exporter=%s key=%s%s "
         "proxy=%s memory_limit=%llu mode=%s config=%s",
         LIPSERVICE_VERSION, listener_address(&sc->grpc, grpc), listener_address(&sc->http, http),
         listener_address(&sc->health.listener, health),
         listener_address(&sc->metrics.listener, metrics),
         listener_address(&sc->admin.listener, admin),
         diag_quote(to, span_str(exporter_sink_name(sc->exporter))),
         n > 8   ? "..."
         : n > 0 ? "set"
                 : "none",
         n > 8 ? key + n - 4 : "", proxy_text(cfg), (unsigned long long)cfg->memory_limit_bytes,
         cfg->observe ? "observe" : "enforce", cfg->source[0] != '\0' ? cfg->source : "none");
}

int sidecar_start(struct sidecar **out, const struct config *cfg, const struct config_input *input,
                  struct error *err)
{
    struct sidecar *sc = calloc(1, sizeof *sc);
    if (sc == NULL)
        return ERR_NOMEM;
    *sc = (struct sidecar){.cfg = cfg, .input = input, .clock = clock_real()};
    keep_heap();
    sidecar_limits_set(sc);
    sidecar_memory_init(sc);
    int rc = uv_loop_init(&sc->loop);
    if (rc < 0)
        goto fail;
    while (sc->parts_started < ARRAY_LEN(parts)) {
        sc->parts_started++; /* a part that fails half-way is stopped as well */
        rc = parts[sc->parts_started - 1].start(sc, err);
        if (rc < 0) {
            stop_parts(sc);
            goto fail;
        }
    }
    sandbox_close(&sc->sandbox, cfg);
    sc->phase = SIDECAR_RUNNING;
    sc->started_ms = clock_now_ms(sc->clock);
    log_start(sc);
    access_warn(sc);
    *out = sc;
    return 0;

fail:
    free(sc);
    return rc;
}

void sidecar_run(struct sidecar *sc)
{
    uv_run(&sc->loop, UV_RUN_DEFAULT);
}

struct ledger_row sidecar_totals(const struct sidecar *sc)
{
    struct census c;
    const struct census_want nothing_more = {0};
    return census_take(sc->pipeline, &nothing_more, &c) == 0 ? c.total : (struct ledger_row){0};
}

bool sidecar_is_ready(const struct sidecar *sc)
{
    return sc->phase == SIDECAR_RUNNING && durable_status(sc) == NULL;
}

void sidecar_stop(struct sidecar *sc)
{
    durable_end(sc);
    /* What is undeliverable is settled before the ledger is logged. */
    exporter_close(sc->exporter);
    sc->exporter = NULL;
    sidecar_log_ledger(sc);
    stop_parts(sc);
    sidecar_free_reloaded(sc);
    free(sc);
}
