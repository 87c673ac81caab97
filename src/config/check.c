/* check: conditions on several settings, and what follows from them. */
#include "config/check.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/own_address.h"
#include "config/tls.h"
#include "export/posthog.h"
#include "net/host.h"
#include "net/url.h"
#include "util/secret.h"

#define BUDGET_BYTES_MIN (1u << 20) /* a month; 0.4 bytes a second */
#define KEY_BYTES 256               /* a dotted key, longer than any setting */
#define ADMIN_KEY_BYTES_MIN 16      /* fewer can be guessed */
#define ERRORS_SPOOL_MIN (8u << 20) /* an eighth of it is the least that a spool can be */
#define BATCHES_IN_MEMORY 4 /* the one that fills, and three while it is sealed and packed */

int config_check_budget(const struct config *cfg, const char *key, struct error *err)
{
    uint64_t bytes = cfg->sampling.budget.bytes_per_month;
    double reduction = cfg->sampling.budget.target_reduction;
    if (bytes > 0 && bytes < BUDGET_BYTES_MIN)
        return err_set(err, ERR_CONFIG, "%s: must be at least 1MiB, or 0 for none", key);
    if (reduction >= 1)
        return err_set(err, ERR_CONFIG, "%s: must be below 1: 0.9 keeps a tenth", key);
    if ((bytes > 0) + (cfg->sampling.budget.records_per_second > 0) + (reduction > 0) > 1)
        return err_set(err, ERR_CONFIG,
                       "%s: a second budget; only one of bytes_per_month, records_per_second and "
                       "target_reduction can be set",
                       key);
    return 0;
}

struct governor_target config_target(const struct config *cfg)
{
    struct governor_target t = {.exponent = cfg->sampling.budget.exponent};
    if (cfg->sampling.budget.bytes_per_month > 0) {
        t.unit = GOVERNOR_BYTES;
        t.amount = (double)cfg->sampling.budget.bytes_per_month / GOVERNOR_MONTH_S;
    } else if (cfg->sampling.budget.records_per_second > 0) {
        t.unit = GOVERNOR_RECORDS;
        t.amount = cfg->sampling.budget.records_per_second;
    } else if (cfg->sampling.budget.target_reduction > 0) {
        t.unit = GOVERNOR_REDUCTION;
        t.amount = 1 - cfg->sampling.budget.target_reduction;
    }
    return t;
}

static int check_sizes(const struct config *cfg, struct error *err)
{
    /* The exporter keeps room to seal and pack a batch; with less no record would be accepted. */
    if (cfg->batch.max_bytes > cfg->memory_limit_bytes / BATCHES_IN_MEMORY)
        return err_set(err, ERR_CONFIG, "memory.limit: must be at least %d times batch.max_bytes",
                       BATCHES_IN_MEMORY);
    if (cfg->durable && cfg->spool.directory[0] == '\0')
        return err_set(err, ERR_CONFIG, "spool.directory: must be set with durability: disk");
    if (cfg->durable && cfg->queue.errors_first && cfg->spool.max_bytes < ERRORS_SPOOL_MIN)
        return err_set(
            err, ERR_CONFIG,
            "spool.max_bytes: must be at least 8MiB with queue.errors_first, which takes "
            "an eighth of it for errors");
    return 0;
}

static int check_url(const char *key, const char *url, struct error *err)
{
    size_t scheme = strncasecmp(url, "https://", 8) == 0  ? 8
                    : strncasecmp(url, "http://", 7) == 0 ? 7
                                                          : 0;
    if (url[0] != '\0' &&
        (scheme == 0 || strchr("/?#", url[scheme]) != NULL || strchr(url, ' ') != NULL))
        return err_set(err, ERR_CONFIG,
                       "%s: '%.200s' is not a URL such as https://collector.example.com:4318", key,
                       url);
    return 0;
}

/* A loop back to our own ports would multiply every record until memory is full. */
static int check_endpoint(const struct config *cfg, const char *key, const char *url,
                          struct error *err)
{
    const char *listeners[] = {cfg->receiver.grpc_endpoint, cfg->receiver.http_endpoint};
    char whole[KEY_BYTES];
    snprintf(whole, sizeof whole, "exporters.%s", key);
    if (check_url(whole, url, err) < 0)
        return ERR_CONFIG;
    const char *ingestion = posthog_ingestion_host(url_authority(url));
    if (ingestion != NULL)
        return err_set(err, ERR_CONFIG,
                       "exporters.%s: '%.200s' is PostHog's application, which takes no logs; they "
                       "go to https://%s/i",
                       key, url, ingestion);
    if (*url != '\0' && own_address_leads_here(url, listeners, ARRAY_LEN(listeners)))
        return err_set(err, ERR_CONFIG,
                       "exporters.%s: '%.200s' is where this program listens: a loop", key, url);
    return 0;
}

static int check_exporters(const struct config *cfg, struct error *err)
{
    bool posthog = cfg->posthog.api_key[0] != '\0';
    bool otlphttp = cfg->otlphttp.endpoint[0] != '\0' || cfg->otlphttp.logs_endpoint[0] != '\0';
    bool file = cfg->file.path[0] != '\0';
    struct error inner = {{0}};
    char url[UPSTREAM_URL_BYTES];
    if (posthog + otlphttp + file > 1)
        return err_set(err, ERR_CONFIG,
                       "exporters: one of posthog.api_key (POSTHOG_API_KEY), otlphttp.endpoint and "
                       "file.path can be set, not several");
    if (posthog && posthog_check_key(cfg->posthog.api_key, &inner) < 0)
        return err_set(err, ERR_CONFIG, "exporters.posthog.api_key: %.400s", inner.text);
    if (posthog && posthog_url(url, cfg->posthog.host, SIGNAL_LOGS, &inner) < 0)
        return err_set(err, ERR_CONFIG, "exporters.posthog.host: %.400s", inner.text);

    const struct {
        const char *key, *url;
    } endpoints[] = {
        {"posthog.host", posthog ? url : ""},
        {"otlphttp.endpoint", cfg->otlphttp.endpoint},
        {"otlphttp.logs_endpoint", cfg->otlphttp.logs_endpoint},
        {"otlphttp.traces_endpoint", cfg->otlphttp.traces_endpoint},
        {"otlphttp.metrics_endpoint", cfg->otlphttp.metrics_endpoint},
    };
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(endpoints) && rc == 0; i++)
        rc = check_endpoint(cfg, endpoints[i].key, endpoints[i].url, err);
    if (rc == 0)
        rc = check_url("policy.server", cfg->policy.server, err);
    if (rc == 0)
        rc = check_url("policy.sync.server", cfg->policy.sync.server, err);
    if (rc == 0)
        rc = check_url("server.model.endpoint", cfg->server.model.endpoint, err);
    if (rc == 0 && cfg->server.model.endpoint[0] != '\0' && cfg->server.model.name[0] == '\0')
        rc = err_set(err, ERR_CONFIG, "server.model.name: the model needs a name");
    return rc;
}

/* A key that a header can have, and that cannot be guessed; or none. */
static int check_key(const char *value, const char *key, struct error *err)
{
    size_t n = strlen(value);
    for (size_t i = 0; i < n; i++)
        if (value[i] <= ' ' || value[i] > '~')
            return err_set(err, ERR_CONFIG, "%s: must be of printable ASCII without blanks", key);
    if (n > 0 && (n < ADMIN_KEY_BYTES_MIN || n >= SECRET_BYTES))
        return err_set(err, ERR_CONFIG, "%s: must have from %d to %d characters", key,
                       ADMIN_KEY_BYTES_MIN, SECRET_BYTES - 1);
    return 0;
}

int config_check_admin_key(const struct config *cfg, const char *key, struct error *err)
{
    return check_key(cfg->telemetry.admin_api_key, key, err);
}

int config_check_first_key(const struct config *cfg, const char *key, struct error *err)
{
    return check_key(cfg->server.first_key, key, err);
}

int config_check_personal_key(const struct config *cfg, const char *key, struct error *err)
{
    const char *value = cfg->app.personal_api_key;
    for (const char *c = value; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return err_set(err, ERR_CONFIG, "%s: must be of printable ASCII without blanks", key);
    if (strncmp(value, "phc_", 4) == 0)
        return err_set(
            err, ERR_CONFIG,
            "%s: this is a project API key (phc_...); PostHog's pages ask for a personal "
            "API key (phx_...), made under Settings, Personal API keys",
            key);
    if (strlen(value) >= SECRET_BYTES)
        return err_set(err, ERR_CONFIG, "%s: must have less than %d characters", key, SECRET_BYTES);
    return 0;
}

static int check_app(const struct config *cfg, struct error *err)
{
    char url[UPSTREAM_URL_BYTES];
    struct error inner = {{0}};
    if (cfg->app.personal_api_key[0] == '\0' ||
        posthog_app_url(url, cfg->app.host, cfg->posthog.host, &inner) == 0)
        return 0;
    return err_set(err, ERR_CONFIG, "posthog.app_host: %.400s", inner.text);
}

/* Bodies of logs are shown there, and reloads ordered. */
static int check_admin(const struct config *cfg, struct error *err)
{
    const char *at = cfg->telemetry.admin_endpoint;
    if (at[0] == '\0' || host_is_loopback(at) || cfg->telemetry.admin_api_key[0] != '\0' ||
        cfg->allow_insecure)
        return 0;
    return err_set(err, ERR_CONFIG,
                   "telemetry.admin.api_key: must be set where telemetry.admin.endpoint is not on "
                   "loopback ('%.200s'), or allow_insecure be true",
                   at);
}

static int check_source(const struct config *cfg, struct error *err)
{
    if (!cfg->sampling.budget.of_posthog)
        return 0;
    if (cfg->app.personal_api_key[0] == '\0')
        return err_set(err, ERR_CONFIG,
                       "sampling.budget.source: posthog needs posthog.personal_api_key");
    if (cfg->sampling.budget.share <= 0)
        return err_set(err, ERR_CONFIG, "sampling.budget.share: must be above 0");
    return 0;
}

int config_check(const struct config *cfg, struct error *err)
{
    struct redact_opts redact;
    int rc = check_sizes(cfg, err);
    if (rc == 0)
        rc = check_admin(cfg, err);
    if (rc == 0)
        rc = config_check_tls(cfg, err);
    if (rc == 0)
        rc = config_redaction(cfg, &redact, err);
    if (rc == 0)
        rc = check_app(cfg, err);
    if (rc == 0)
        rc = check_source(cfg, err);
    return rc == 0 ? check_exporters(cfg, err) : rc;
}

int config_build_rules(struct config *cfg, struct error *err)
{
    struct rules *r = cfg->sampling.rules;
    struct error inner = {{0}};
    int rc = rules_set_global(r, cfg->sampling.global_rate, err);
    for (int l = 0; l < LEVEL_COUNT && rc == 0; l++) {
        rc = rules_set_level(r, (enum level)l, cfg->sampling.severity_rate[l], &inner);
        if (rc < 0)
            err_set(err, rc, "sampling.severity_rates.%.400s", inner.text);
    }
    if (rc == 0)
        rc = rules_set_first(r, cfg->sampling.first_count, cfg->sampling.first_window_ms, err);
    if (rc == 0)
        rc = rules_set_boost(r, cfg->sampling.anomaly_boost, err);
    rules_set_origin(r, "config", 0);
    return rc;
}
