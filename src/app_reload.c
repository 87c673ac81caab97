/*
 * app_reload: SIGHUP, or `lipservice reload`. The configuration is read again, as it was read at
 * the start, and put in force whole or not at all; listeners, connections and what is queued stay.
 */
#include "app.h"
#include "otlp/json_write.h"
#include "util/diag.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool same_route(const struct config_route *a, const struct config_route *b)
{
    return strcmp(a->ca_file, b->ca_file) == 0 && strcmp(a->cert_file, b->cert_file) == 0 &&
           strcmp(a->key_file, b->key_file) == 0 && strcmp(a->proxy_url, b->proxy_url) == 0 &&
           a->insecure_skip_verify == b->insecure_skip_verify;
}

static bool same_policy_server(const struct config *a, const struct config *b)
{
    return strcmp(a->policy.server, b->policy.server) == 0 &&
           strcmp(a->policy.api_key, b->policy.api_key) == 0 &&
           a->policy.team_id == b->policy.team_id &&
           a->policy.refresh_interval_ms == b->policy.refresh_interval_ms &&
           a->policy.report_interval_ms == b->policy.report_interval_ms &&
           a->policy.timeout_ms == b->policy.timeout_ms &&
           same_route(&a->policy.route, &b->policy.route);
}

/* Other policy files than before are sound before anything is changed. A file that is open
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
        rc = policy_file_load(&rules, paths[i][0], config_visit_yaml, cfg->sampling.rules, &notes, err);
        rules_unref(rules);
    }
    return rc;
}

/* Likewise the way to another policy server. */
static int try_policy_server(const struct config *cfg, const struct config *old, struct error *err)
{
    struct route route;
    if (cfg->policy.server[0] == '\0' || same_policy_server(cfg, old))
        return 0;
    return app_open_route(&route, &cfg->policy.route, "policy", err);
}

/* From here on nothing fails but for want of memory. */
static int put_in_force(struct app *app, const struct config *old, struct error *err)
{
    const struct config *cfg = app->cfg;
    const struct diag_opts log = {cfg->telemetry.log_level, cfg->telemetry.log_json};
    const struct governor_target target = config_target(cfg);
    diag_setup(&log);
    int rc = pipeline_set_observe(app->pipeline, cfg->observe);
    pipeline_set_target(app->pipeline, &target);
    if (cfg->sampling.policy_file[0] == '\0')
        pipeline_set_common_rules(app->pipeline, cfg->sampling.rules);
    if (cfg->shadow.policy_file[0] == '\0')
        pipeline_set_shadow_rules(app->pipeline, NULL);
    if (rc == 0)
        rc = app_set_policy_files(app, old, err);
    bool is_open = app->remote != NULL || cfg->policy.server[0] == '\0'; /* not after a want of memory */
    if (is_open && same_policy_server(cfg, old)) {
        if (app->remote != NULL)
            remote_set_base(app->remote, cfg->sampling.rules);
        return rc;
    }
    app_close_policy_server(app);
    for (uint32_t i = 0; i < ledger_services(pipeline_ledger(app->pipeline)); i++)
        pipeline_set_rules(app->pipeline, i, NULL); /* the new server's come with their fetches */
    if (rc == 0)
        rc = app_open_policy_server(app, err);
    if (rc < 0)
        app_close_policy_server(app); /* half open is not to be used */
    for (uint32_t i = 0; app->remote != NULL && i < ledger_services(pipeline_ledger(app->pipeline)); i++)
        remote_service_seen(app->remote, i);
    return rc;
}

static bool same_kind_of_exporter(const struct config *a, const struct config *b)
{
    return (a->posthog.api_key[0] == '\0') == (b->posthog.api_key[0] == '\0') &&
           (a->file.path[0] == '\0') == (b->file.path[0] == '\0');
}

static int reload(struct app *app, struct config *next, struct error *err)
{
    struct buf stale = {0};
    struct sink sink = {0};
    enum coding compression;
    const struct config *old = app->cfg;
    config_adopt(next, old, &stale);
    if (stale.len > 0) {
        buf_append_byte(&stale, '\0');
        diag(DIAG_WARN, "reload_needs_restart", "these settings hold from the next start on", "keys=\"%s\"",
             stale.err == 0 ? (const char *)stale.base : "");
    }
    buf_done(&stale);
    if (!same_kind_of_exporter(next, old))
        return err_set(err, ERR_CONFIG, "another kind of exporter needs a restart");
    int rc = try_policy_files(next, old, err);
    if (rc == 0)
        rc = try_policy_server(next, old, err);
    if (rc < 0)
        return rc;
    app->cfg = next;
    rc = app_open_sink(app, &sink, &compression, err);
    if (rc == 0 && app->aside != NULL)
        rc = aside_reopen(app->aside, next->refused_file.path, err);
    if (rc == 0 && (rc = exporter_renew(app->exporter, &sink)) < 0)
        err_set(err, rc, "another kind of exporter needs a restart");
    if (sink.ops != NULL)
        sink.ops->close(sink.self);
    if (rc < 0) {
        app->cfg = old;
        return rc;
    }
    client_forget_connections(app->client);
    return put_in_force(app, old, err);
}

/* A pipe (`--config <(...)`) has been read: the loop would wait for somebody to write into it. */
static int check_source(const struct config_input *input, struct error *err)
{
    struct stat st;
    if (input->file != NULL && stat(input->file, &st) == 0 && S_ISFIFO(st.st_mode))
        return err_set(err, ERR_CONFIG, "%.200s is a pipe, and cannot be read again", input->file);
    return 0;
}

int app_reload(struct app *app, struct error *err)
{
    struct config *next = malloc(sizeof *next);
    char quoted[DIAG_QUOTE_BYTES];
    int rc = next == NULL ? ERR_NOMEM : check_source(app->input, err);
    if (rc == 0)
        rc = config_load(next, app->input, err);
    if (rc < 0) {
        free(next);
        next = NULL;
    } else {
        rc = reload(app, next, err);
    }
    app->reloads.failed_last = rc < 0;
    if (next != NULL && app->cfg != next) { /* refused after it was read */
        config_done(next);
        free(next);
        next = NULL;
    } else if (next != NULL) {
        app_free_reloaded(app);
        app->reloaded = next;
    }
    app->signals.timeout_ms = app->cfg->shutdown_timeout_ms;
    if (rc < 0) {
        if (err->text[0] == '\0')
            err_set(err, rc, "%s", err_text(rc));
        metric_inc(&app->reloads.refused);
        diag(DIAG_ERROR, "reload_refused",
             next != NULL && next == app->cfg ? "in force in part only: reload it again"
                                              : "the configuration in force stays",
             "reason=%s", diag_quote(quoted, span_str(err->text)));
        return rc;
    }
    metric_inc(&app->reloads.accepted);
    app->reloads.last_ms = clock_now_ms(app->clock);
    diag(DIAG_INFO, "reloaded", "the configuration is in force", "mode=%s exporter=%s",
         app->cfg->observe ? "observe" : "enforce",
         diag_quote(quoted, span_str(exporter_sink_name(app->exporter))));
    return 0;
}

int app_reload_page(void *ctx, struct span query, struct span body, struct buf *out)
{
    struct error err = {{0}};
    (void)query;
    (void)body;
    int rc = app_reload(ctx, &err);
    if (rc == 0) {
        buf_append_str(out, "{\"status\":\"reloaded\"}\n");
        return 200;
    }
    buf_append_str(out, "{\"error\":");
    json_write_string(out, span_str(err.text));
    buf_append_str(out, "}\n");
    return rc == ERR_NOMEM ? 503 : 422;
}

void app_free_reloaded(struct app *app)
{
    if (app->reloaded == NULL)
        return;
    config_done(app->reloaded);
    free(app->reloaded);
    app->reloaded = NULL;
}
