/* policies: where the rules in force come from: policy files, and a policy server. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/route.h"
#include "export/disk.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "util/diag.h"
#include "util/rng.h"

/* Only memory can be wanting: the rules before stay in force. */
static void log_failure(const char *setting, int rc)
{
    if (rc < 0)
        diag(DIAG_ERROR, "policy_not_in_force", "the rules before stay in force",
             "setting=%s error=\"%s\"", setting, err_text(rc));
}

static void on_policy(void *ctx, uint32_t service, const struct rules *rules)
{
    struct sidecar *sc = ctx;
    int rc = pipeline_set_rules(sc->pipeline, service, rules);
    log_failure("policy.server", rc);
    if (rc < 0)
        return;
    annotating_note(sc, pipeline_service_name(sc->pipeline, service), rules);
    history_note_policy(sc, pipeline_service_name(sc->pipeline, service), rules);
}

static void on_policy_file(void *ctx, const struct rules *rules)
{
    struct sidecar *sc = ctx;
    versioning_file(sc, rules);
    annotating_note(sc, SPAN(""), rules);
    history_note_policy(sc, SPAN(""), rules);
}

static void on_shadow_file(void *ctx, const struct rules *rules)
{
    struct sidecar *sc = ctx;
    log_failure("shadow.policy_file", pipeline_set_shadow_rules(sc->pipeline, rules));
}

int policies_set_files(struct sidecar *sc, const struct config *before, struct error *err)
{
    const struct config *cfg = sc->cfg;
    const struct {
        struct policy_file **file;
        const char *path, *was;
        void (*install)(void *ctx, const struct rules *rules);
    } files[] = {
        {&sc->policy_file, cfg->sampling.policy_file,
         before == NULL ? "" : before->sampling.policy_file, on_policy_file},
        {&sc->shadow_file, cfg->shadow.policy_file,
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
            .clock = sc->clock,
            .visit = config_visit_yaml,
            .base = cfg->sampling.rules,
            .install = files[i].install,
            .ctx = sc,
        };
        if (opts.path[0] != '\0')
            rc = policy_file_open(files[i].file, &sc->loop, &opts, err);
    }
    return rc;
}

static int take_census(void *ctx, const struct census_want *want, struct census *out)
{
    return census_take(((struct sidecar *)ctx)->pipeline, want, out);
}

/* Those that came before the policy server did. */
static int see_services(struct sidecar *sc)
{
    struct census c;
    const struct census_want want = {.services = true, .budget = &sc->budget};
    int rc = census_take(sc->pipeline, &want, &c);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < c.services_held; i++)
        remote_service_seen(sc->remote, i, c.services[i].name);
    census_done(&c);
    return 0;
}

static bool is_quota_limited(void *ctx)
{
    struct posthog_figures f;
    return posthog_figures(ctx, &f) && f.is_limited;
}

int policies_open_server(struct sidecar *sc, struct error *err)
{
    const struct config *cfg = sc->cfg;
    struct route route;
    if (cfg->policy.server[0] == '\0')
        return 0;
    int rc = config_open_route(&route, &cfg->policy.route, "policy", err);
    if (rc < 0)
        return rc;
    struct remote_opts remote = {
        .route = route,
        .server = cfg->policy.server,
        .api_key = cfg->policy.api_key,
        .team_id = cfg->policy.team_id,
        .refresh_interval_ms = cfg->policy.refresh_interval_ms,
        .timeout_ms = cfg->policy.timeout_ms,
        .clock = sc->clock,
        .kept = sc->kept,
        .base = cfg->sampling.rules,
        .install = on_policy,
        .ctx = sc,
    };
    struct report_opts report = {
        .route = route,
        .server = cfg->policy.server,
        .api_key = cfg->policy.api_key,
        .team_id = cfg->policy.team_id,
        .interval_ms = cfg->policy.report_interval_ms,
        .timeout_ms = cfg->policy.timeout_ms,
        .clock = sc->clock,
        .instance = sc->identity.instance,
        .boot = sc->identity.boot,
        .marks = &sc->report_marks,
        .take = take_census,
        .is_quota_limited = is_quota_limited,
        .ctx = sc,
        .budget = &sc->budget,
    };
    rc = remote_open(&sc->remote, &sc->loop, sc->client, &remote);
    if (rc == 0)
        rc = see_services(sc);
    return rc < 0 ? rc : report_open(&sc->report, &sc->loop, sc->client, &report);
}

void policies_close_server(struct sidecar *sc)
{
    remote_close(sc->remote);
    report_close(sc->report);
    sc->remote = NULL;
    sc->report = NULL;
}

/* By which a policy server counts each report once. */
static void identify(struct sidecar *sc)
{
    struct rng rng;
    size_t size = sizeof sc->identity.instance;
    rng_init(&rng);
    if (gethostname(sc->identity.instance, size) < 0 || sc->identity.instance[0] == '\0')
        snprintf(sc->identity.instance, size, "unknown");
    sc->identity.instance[128] = '\0'; /* as long as the server takes one */
    snprintf(sc->identity.boot, sizeof sc->identity.boot, "%016llx",
             (unsigned long long)rng_next(&rng));
}

static int open_kept(struct sidecar *sc, struct error *err)
{
    const char *directory = sc->cfg->state.directory;
    if (directory[0] == '\0')
        return 0;
    int rc = disk_make_directory(directory);
    if (rc < 0)
        return err_set(err, ERR_UNAVAILABLE, "state.directory: '%.300s' cannot be made: %s",
                       directory, err_text(rc));
    return kept_open(&sc->kept, &sc->loop, directory, &sc->budget, err);
}

int policies_start(struct sidecar *sc, struct error *err)
{
    identify(sc);
    report_marks_init(&sc->report_marks, &sc->budget);
    int rc = open_kept(sc, err);
    if (rc == 0)
        rc = policies_set_files(sc, NULL, err);
    if (rc == 0)
        versioning_configured(sc);
    return rc < 0 ? rc : policies_open_server(sc, err);
}

void policies_stop(struct sidecar *sc)
{
    policy_file_close(sc->policy_file);
    policy_file_close(sc->shadow_file);
    sc->policy_file = sc->shadow_file = NULL;
    policies_close_server(sc);
    report_marks_done(&sc->report_marks);
}

/* When the last policy that came is written. */
void policies_release(struct sidecar *sc)
{
    kept_free(sc->kept);
    sc->kept = NULL;
}
