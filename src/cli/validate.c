/* validate: what the start checks, without starting. */
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "config/route.h"
#include "config/tls.h"
#include "export/posthog.h"
#include "net/listener.h"
#include "net/url.h"

/* What the start would refuse as well, but for ports that are taken. */
static int check_parts(const struct config *cfg)
{
    const struct {
        const char *key, *addr;
    } doors[] = {
        {"receivers.otlp.protocols.grpc.endpoint", cfg->receiver.grpc_endpoint},
        {"receivers.otlp.protocols.http.endpoint", cfg->receiver.http_endpoint},
        {"telemetry.health.endpoint", cfg->telemetry.health_endpoint},
        {"telemetry.metrics.endpoint", cfg->telemetry.metrics_endpoint},
        {"telemetry.admin.endpoint", cfg->telemetry.admin_endpoint},
    };
    const struct {
        const char *prefix;
        const struct config_route *route;
        bool is_used;
    } routes[] = {
        {"exporters.posthog", &cfg->posthog.route, cfg->posthog.api_key[0] != '\0'},
        {"exporters.otlphttp", &cfg->otlphttp.route,
         cfg->otlphttp.endpoint[0] != '\0' || cfg->otlphttp.logs_endpoint[0] != '\0'},
        {"policy", &cfg->policy.route, cfg->policy.server[0] != '\0'},
    };
    struct error err = {{0}}, inner = {{0}};
    struct route route;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(doors) && rc == 0; i++) {
        if (doors[i].addr[0] != '\0' && (rc = listener_check(doors[i].addr, &inner)) < 0)
            err_set(&err, rc, "%s: %.400s", doors[i].key, inner.text);
    }
    for (size_t i = 0; i < ARRAY_LEN(routes) && rc == 0; i++)
        if (routes[i].is_used)
            rc = config_open_route(&route, routes[i].route, routes[i].prefix, &err);
    if (rc == 0)
        rc = config_check_tls_files(cfg, &err);
    return rc < 0 ? command_die(rc, &err) : 0;
}

static int check_policy_files(const struct config *cfg)
{
    const char *const files[] = {cfg->sampling.policy_file, cfg->shadow.policy_file};
    int code = 0;
    for (size_t i = 0; i < ARRAY_LEN(files) && code == 0; i++) {
        struct rules *rules = NULL;
        code = command_rules(&rules, cfg, files[i]);
        if (code == 0)
            rules_unref(rules);
    }
    return code;
}

static void note_host(const char *host)
{
    const char *ingestion = posthog_ingestion_host(url_authority(host));
    if (ingestion != NULL)
        printf("note: exporters.posthog.host: '%s' is PostHog's application, which takes no logs; "
               "they go to https://%s\n",
               host, ingestion);
}

int verb_validate(int argc, char **argv)
{
    static struct config cfg;
    const char *variable;
    size_t at = 0;
    int code = command_load(argc, argv, NULL, 0, &cfg, NULL);
    if (code != 0)
        return code;
    code = check_parts(&cfg);
    if (code == 0)
        code = check_policy_files(&cfg);
    if (code == 0)
        printf("the configuration is sound\n");
    while (code == 0 && (variable = config_unknown_variable(environ, &at)) != NULL)
        printf("note: %.*s: no setting has this name; it is not read\n",
               (int)strcspn(variable, "="), variable);
    if (code == 0 && cfg.posthog.api_key[0] != '\0')
        printf("note: the PostHog key %s; whether it belongs to a project cannot be known, because "
               "PostHog answers 200 either way\n",
               strncmp(cfg.posthog.api_key, "phc_", 4) == 0 ? "has the right form"
                                                            : "does not begin with phc_");
    if (code == 0 && cfg.redaction.mode == REDACT_ENFORCE && config_mask_warning(&cfg) != NULL)
        printf("note: redaction.mask: '%s' %s: records that are redacted with it get other pattern "
               "ids than before\n",
               cfg.redaction.mask, config_mask_warning(&cfg));
    if (code == 0 && cfg.posthog.api_key[0] != '\0')
        note_host(cfg.posthog.host);
    config_done(&cfg);
    return code;
}
