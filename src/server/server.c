/* server: start order, stop order and unwinding are one table. */
#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config/tls.h"
#include "net/host.h"
#include "server/consulting.h"
#include "server/delivery.h"
#include "server/poll.h"
#include "util/diag.h"

#define OVERHEAD_PART 4    /* of memory.limit: connections, heads, answers on their way */
#define OWN_DESCRIPTORS 32 /* standard ones, the loop, sockets, database, journal, certificates */

/* ---- where it keeps its files -------------------------------------------- */

static int default_directory(struct config *cfg, struct error *err)
{
    const char *state = getenv("STATE_DIRECTORY"), *home = getenv("HOME");
    size_t size = sizeof cfg->server.directory;
    char *to = cfg->server.directory;
    int n = 0;
    if (to[0] != '\0')
        return 0;
    if (state != NULL && state[0] == '/')
        n = snprintf(to, size, "%s/server", state);
    else if (getuid() == 0)
        n = snprintf(to, size, "/var/lib/lipservice/server");
    else if (home != NULL && home[0] == '/')
        n = snprintf(to, size, "%s/.local/state/lipservice/server", home);
    return n > 0 && (size_t)n < size
               ? 0
               : err_set(err, ERR_CONFIG, "server.directory: must be set: there is no home");
}

/* ---- parts -------------------------------------------------------------- */

static int confine_start(struct server *s, struct error *err)
{
    (void)err;
    s->sandbox.directories = 1u << CONFIG_FILE_SERVER;
    s->sandbox.has_low_ports = sandbox_is_low_port(s->cfg->server.endpoint);
    return sandbox_start(&s->sandbox, s->cfg);
}

static void confine_release(struct server *s)
{
    sandbox_release(&s->sandbox);
}

static int worker_start(struct server *s, struct error *err)
{
    int rc = worker_open(&s->worker, &s->loop, s->store);
    return rc < 0 ? err_set(err, ERR_UNAVAILABLE, "no thread for the database: %s", err_text(rc))
                  : 0;
}

static void worker_stop(struct server *s)
{
    worker_close(s->worker);
    s->worker = NULL;
}

static int tls_part_start(struct server *s, struct error *err)
{
    const struct config_tls *t = config_tls(s->cfg, CONFIG_TLS_SERVER);
    struct tls_keeper_opts opts = {
        .files = config_tls_files(t),
        .prefix = config_tls_prefix(CONFIG_TLS_SERVER),
        .poll_ms = t->reload_interval_ms,
        .is_required = config_tls_is_required(t),
    };
    return config_tls_is_on(t) ? tls_keeper_open(&s->tls, &s->loop, &opts, err) : 0;
}

static void tls_part_stop(struct server *s)
{
    tls_keeper_close(s->tls);
    s->tls = NULL;
}

/* In the order they start; they stop in the reverse order. The listener is last, so that no request
 * arrives before all is there, and it is the first to stop. The worker starts when no other part
 * reads the database any more. */
static const struct part {
    int (*start)(struct server *s, struct error *err);
    void (*stop)(struct server *s);    /* close what the loop knows of */
    void (*release)(struct server *s); /* free the rest, when the loop has run out */
} parts[] = {
    {confine_start, NULL, confine_release},
    {start_store, NULL, start_release},
    {poll_start, poll_stop, NULL},
    {intake_start, intake_stop, intake_release},
    {start_replay, NULL, NULL},
    {ending_start, ending_stop, NULL},
    {worker_start, worker_stop, NULL},
    {follow_start, follow_stop, follow_release},
    {delivery_start, delivery_stop, delivery_release},
    {consulting_start, consulting_stop, consulting_release},
    {tls_part_start, tls_part_stop, NULL},
    {api_start, api_stop, NULL},
};

static void stop_parts(struct server *s)
{
    for (size_t i = s->parts_started; i > 0; i--)
        if (parts[i - 1].stop != NULL)
            parts[i - 1].stop(s);
    uv_run(&s->loop, UV_RUN_DEFAULT); /* close callbacks, and a write that is under way */
    for (size_t i = s->parts_started; i > 0; i--)
        if (parts[i - 1].release != NULL)
            parts[i - 1].release(s);
    s->parts_started = 0;
    uv_loop_close(&s->loop);
}

/* ---- life --------------------------------------------------------------- */

/* As many connections as the limit on open files allows. */
static void set_connections(struct server *s)
{
    struct rlimit files;
    uint32_t wanted = s->cfg->server.max_connections;
    s->connections = wanted;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    const struct rlimit most = {files.rlim_max, files.rlim_max};
    if (files.rlim_cur < files.rlim_max && setrlimit(RLIMIT_NOFILE, &most) == 0)
        files = most;
    if (files.rlim_cur == RLIM_INFINITY || files.rlim_cur >= (rlim_t)wanted + OWN_DESCRIPTORS)
        return;
    s->connections =
        files.rlim_cur > OWN_DESCRIPTORS ? (uint32_t)(files.rlim_cur - OWN_DESCRIPTORS) : 1;
    diag(DIAG_WARN, "max_connections",
         "fewer connections than configured: the limit on open files is low",
         "setting=server.max_connections configured=%u connections=%u", wanted, s->connections);
}

static void log_start(const struct server *s)
{
    char address[LISTENER_ADDR_BYTES], quoted[DIAG_QUOTE_BYTES];
    diag(DIAG_INFO, "started", "the policy server listens",
         "version=%s server=%s directory=%s teams=%u services=%u tls=%s", LIPSERVICE_VERSION,
         listener_address(&s->listener, address),
         diag_quote(quoted, span_str(s->cfg->server.directory)), s->registry.team_count,
         s->registry.service_count, s->tls != NULL ? "on" : "off");
    if (s->tls == NULL && !host_is_loopback(s->cfg->server.endpoint) && !s->cfg->allow_insecure)
        diag(DIAG_WARN, "insecure", "keys are read by whoever sees this network: TLS is off",
             "setting=server.tls.cert_file");
}

int server_start(struct server **out, struct config *cfg, struct error *err)
{
    int rc = default_directory(cfg, err);
    if (rc < 0)
        return rc;
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->cfg = cfg;
    s->clock = clock_real();
    rng_init(&s->rng);
    budget_init(&s->overhead, cfg->memory_limit_bytes / OVERHEAD_PART);
    budget_init(&s->budget, cfg->memory_limit_bytes - s->overhead.limit);
    set_connections(s);
    rc = uv_loop_init(&s->loop);
    if (rc < 0)
        goto fail;
    while (s->parts_started < ARRAY_LEN(parts)) {
        s->parts_started++; /* a part that fails half-way is stopped as well */
        rc = parts[s->parts_started - 1].start(s, err);
        if (rc < 0) {
            stop_parts(s);
            goto fail;
        }
    }
    sandbox_close(&s->sandbox, cfg);
    s->phase = SERVER_RUNNING;
    s->started_ms = clock_now_ms(s->clock);
    log_start(s);
    *out = s;
    return 0;

fail:
    free(s);
    return rc;
}

void server_run(struct server *s)
{
    uv_run(&s->loop, UV_RUN_DEFAULT);
}

void server_stop(struct server *s)
{
    bool is_flushed = intake_is_flushed(s);
    stop_parts(s);
    diag(DIAG_INFO, "ended",
         is_flushed ? "ended; all reports are in the database"
                    : "ended; the next start reads the rest of the reports from the journal",
         "accepted=%llu repeated=%llu records=%llu",
         (unsigned long long)s->reports[REPORT_ACCEPTED].value,
         (unsigned long long)s->reports[REPORT_REPEATED].value,
         (unsigned long long)s->records.value);
    free(s);
}
