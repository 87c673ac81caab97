/*
 * sidecar_reload: SIGHUP, or `lipservice reload`. The configuration is read again, as it was read
 * at the start, and put in force whole or not at all; listeners, connections and what is queued
 * stay.
 */
#include "config/route.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "util/diag.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool same_policy_server(const struct config *a, const struct config *b)
{
    struct route way = config_route(&a->policy.route), other = config_route(&b->policy.route);
    return strcmp(a->policy.server, b->policy.server) == 0 &&
           strcmp(a->policy.api_key, b->policy.api_key) == 0 &&
           a->policy.team_id == b->policy.team_id &&
           a->policy.refresh_interval_ms == b->policy.refresh_interval_ms &&
           a->policy.report_interval_ms == b->policy.report_interval_ms &&
           a->policy.timeout_ms == b->policy.timeout_ms && route_same(&way, &other);
}

/* Check policy files at new paths before anything changes. One at the path that is open already
 * keeps its last good policy by itself. */
static int try_policy_files(const struct config *cfg, const struct config *old, struct error *err)
{
    const char *const paths[][2] = {{cfg->sampling.policy_file, old->sampling.policy_file},
                                    {cfg->shadow.policy_file, old->shadow.policy_file}};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(paths) && rc == 0; i++) {
        struct policy_notes notes;
        struct rules *rules = NULL;
        if (paths[i][0][0] == '\0' || strcmp(paths[i][0], paths[i][1]) == 0)
            continue;
        rc = policy_file_load(&rules, paths[i][0], config_visit_yaml, cfg->sampling.rules, &notes,
                              err);
        rules_unref(rules);
    }
    return rc;
}

/* Check the TLS files and the proxy of another policy server before anything changes. */
static int try_policy_server(const struct config *cfg, const struct config *old, struct error *err)
{
    struct route route;
    if (cfg->policy.server[0] == '\0' || same_policy_server(cfg, old))
        return 0;
    return config_open_route(&route, &cfg->policy.route, "policy", err);
}

/* From here on nothing fails but for want of memory. */
static int put_in_force(struct sidecar *sc, const struct config *old, struct error *err)
{
    const struct config *cfg = sc->cfg;
    const struct diag_opts log = {cfg->telemetry.log_level, cfg->telemetry.log_json};
    const struct governor_target target = sidecar_target(sc);
    diag_setup(&log);
    int rc = pipeline_set_observe(sc->pipeline, cfg->observe);
    pipeline_set_target(sc->pipeline, &target);
    if (cfg->shadow.policy_file[0] == '\0')
        ignore_code(pipeline_set_shadow_rules(sc->pipeline, NULL)); /* none need no memory */
    if (rc == 0)
        rc = policies_set_files(sc, old, err);
    if (rc == 0)
        versioning_configured(sc);
    guarding_reload(sc, old);
    bool is_open =
        sc->remote != NULL || cfg->policy.server[0] == '\0'; /* not after a want of memory */
    if (is_open && same_policy_server(cfg, old)) {
        if (sc->remote != NULL)
            remote_set_base(sc->remote, cfg->sampling.rules);
        return rc;
    }
    policies_close_server(sc);
    pipeline_forget_rules(sc->pipeline); /* the new server's come with their fetches */
    if (rc == 0)
        rc = policies_open_server(sc, err);
    if (rc < 0)
        policies_close_server(sc); /* half open is not to be used */
    return rc;
}

static bool same_kind_of_exporter(const struct config *a, const struct config *b)
{
    return (a->posthog.api_key[0] == '\0') == (b->posthog.api_key[0] == '\0') &&
           (a->file.path[0] == '\0') == (b->file.path[0] == '\0');
}

static int reload(struct sidecar *sc, struct config *next, struct error *err)
{
    struct buf stale = {0};
    struct sink sink = {0};
    enum coding compression;
    const struct config *old = sc->cfg;
    config_adopt(next, old, &stale);
    if (stale.len > 0) {
        buf_append_byte(&stale, '\0');
        diag(DIAG_WARN, "reload_needs_restart", "these settings hold from the next start on",
             "keys=\"%s\"", stale.err == 0 ? (const char *)stale.base : "");
    }
    buf_done(&stale);
    if (!same_kind_of_exporter(next, old))
        return err_set(err, ERR_CONFIG, "another kind of exporter needs a restart");
    int rc = sandbox_check_files(&sc->sandbox, next, err);
    if (rc == 0)
        rc = try_policy_files(next, old, err);
    if (rc == 0)
        rc = try_policy_server(next, old, err);
    if (rc == 0)
        rc = providing_try(next, old, err);
    if (rc < 0)
        return rc;
    sc->cfg = next;
    rc = sidecar_open_sink(sc, &sink, &compression, err);
    if (rc == 0 && sc->refused_file != NULL)
        rc = refused_file_reopen(sc->refused_file, next->refused_file.path, err);
    if (rc == 0 && (rc = exporter_renew(sc->exporter, &sink)) < 0)
        err_set(err, rc, "another kind of exporter needs a restart");
    if (sink.ops != NULL)
        sink.ops->close(sink.self);
    if (rc < 0) {
        sc->cfg = old;
        return rc;
    }
    client_forget_connections(sc->client);
    if (sc->proxy_client != NULL)
        client_forget_connections(sc->proxy_client);
    receiver_set_key(sc->receiver, next->posthog.api_key);
    access_reload(sc);
    tls_reload(sc);
    rc = proxy_reload(sc, err);
    if (rc == 0)
        rc = providing_reload(sc, old, err);
    return rc < 0 ? rc : put_in_force(sc, old, err);
}

/* A pipe (`--config <(...)`) has been read: the loop would wait for a writer. */
static int check_source(const struct config_input *input, struct error *err)
{
    struct stat st;
    if (input->file != NULL && stat(input->file, &st) == 0 && S_ISFIFO(st.st_mode))
        return err_set(err, ERR_CONFIG, "%.200s is a pipe, and cannot be read again", input->file);
    return 0;
}

int sidecar_reload(struct sidecar *sc, struct error *err)
{
    struct config *next = malloc(sizeof *next);
    char quoted[DIAG_QUOTE_BYTES];
    int rc = next == NULL ? ERR_NOMEM : check_source(sc->input, err);
    if (rc == 0)
        rc = config_load(next, sc->input, err);
    if (rc < 0) {
        free(next);
        next = NULL;
    } else {
        rc = reload(sc, next, err);
    }
    sc->reloads.failed_last = rc < 0;
    if (next != NULL && sc->cfg != next) { /* refused after it was read */
        config_done(next);
        free(next);
        next = NULL;
    } else if (next != NULL) {
        sidecar_free_reloaded(sc);
        sc->reloaded = next;
    }
    sc->signals.timeout_ms = sc->cfg->shutdown_timeout_ms;
    if (rc < 0) {
        if (err->text[0] == '\0')
            err_set(err, rc, "%s", err_text(rc));
        metric_inc(&sc->reloads.refused);
        diag(DIAG_ERROR, "reload_refused",
             next != NULL && next == sc->cfg ? "in force in part only: reload it again"
                                             : "the configuration in force stays",
             "reason=%s", diag_quote(quoted, span_str(err->text)));
        return rc;
    }
    metric_inc(&sc->reloads.accepted);
    sc->reloads.last_ms = clock_now_ms(sc->clock);
    diag(DIAG_INFO, "reloaded", "the configuration is in force", "mode=%s exporter=%s",
         sc->cfg->observe ? "observe" : "enforce",
         diag_quote(quoted, span_str(exporter_sink_name(sc->exporter))));
    return 0;
}

int sidecar_reload_page(void *ctx, struct span query, struct span body, struct buf *out)
{
    struct error err = {{0}};
    (void)query;
    (void)body;
    int rc = sidecar_reload(ctx, &err);
    if (rc == 0) {
        buf_append_str(out, "{\"status\":\"reloaded\"}\n");
        return 200;
    }
    return sidecar_refuse(out, rc == ERR_NOMEM ? 503 : 422, err.text);
}

void sidecar_free_reloaded(struct sidecar *sc)
{
    if (sc->reloaded == NULL)
        return;
    config_done(sc->reloaded);
    free(sc->reloaded);
    sc->reloaded = NULL;
}
