/* sink: where the configuration sends what is kept. */
#include <stdio.h>
#include <string.h>

#include "config/route.h"
#include "export/file.h"
#include "export/posthog.h"
#include "export/upstream.h"
#include "net/url.h"
#include "sidecar/sidecar_state.h"
#include "util/diag.h"
#include "util/secret.h"

/* The service itself may take 20 s; who hangs up earlier sends twice what it stored. */
static void warn_timeout(const struct config *cfg)
{
    if (cfg->posthog.timeout_ms < POSTHOG_MAY_TAKE_MS)
        diag(DIAG_WARN, "short_timeout",
             "PostHog may take 20 s to answer; records would be sent again and stored twice",
             "setting=exporters.posthog.timeout timeout_ms=%u", cfg->posthog.timeout_ms);
}

static void warn_host(const struct config *cfg)
{
    const char *ingestion = posthog_ingestion_host(url_authority(cfg->posthog.host));
    char quoted[DIAG_QUOTE_BYTES];
    if (ingestion != NULL)
        diag(DIAG_WARN, "application_host",
             "this host is PostHog's application, which takes no logs; its ingestion host is used",
             "setting=exporters.posthog.host host=%s right_host=%s",
             diag_quote(quoted, span_str(cfg->posthog.host)), ingestion);
}

static int open_posthog(struct sidecar *sc, struct sink *sink, struct error *err)
{
    const struct config *cfg = sc->cfg;
    char urls[SIGNAL_COUNT][UPSTREAM_URL_BYTES], auth[CONFIG_TEXT_BYTES + 32];
    char name[UPSTREAM_URL_BYTES + 16];
    struct upstream_opts opts = {
        .timeout_ms = cfg->posthog.timeout_ms,
        .concurrency = cfg->posthog.concurrency,
        .name = name,
    };
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        int rc = posthog_url(urls[s], cfg->posthog.host, (enum signal)s, err);
        if (rc < 0)
            return rc;
        opts.url[s] = urls[s];
    }
    int rc = config_open_route(&opts.route, &cfg->posthog.route, "exporters.posthog", err);
    if (rc < 0)
        return rc;
    warn_timeout(cfg);
    warn_host(cfg);
    if (!span_starts(span_str(cfg->posthog.api_key), SPAN("phc_")))
        diag(DIAG_WARN, "unusual_key",
             "project API keys of PostHog begin with phc_; of a wrong one it takes "
             "the records, says 200 and throws them away",
             "setting=exporters.posthog.api_key");
    snprintf(name, sizeof name, "posthog %s", urls[SIGNAL_LOGS]);
    snprintf(auth, sizeof auth, "Authorization: Bearer %s", cfg->posthog.api_key);
    const char *const headers[] = {auth, NULL};
    opts.headers = headers;
    rc = upstream_open(sink, sc->client, &opts, err);
    secret_wipe(auth, sizeof auth);
    return rc;
}

static int open_otlphttp(struct sidecar *sc, struct sink *sink, struct error *err)
{
    const struct config *cfg = sc->cfg;
    const char *given[SIGNAL_COUNT] = {cfg->otlphttp.logs_endpoint, cfg->otlphttp.traces_endpoint,
                                       cfg->otlphttp.metrics_endpoint};
    char urls[SIGNAL_COUNT][UPSTREAM_URL_BYTES + 32], name[UPSTREAM_URL_BYTES + 64];
    struct span base = url_base(cfg->otlphttp.endpoint);
    struct upstream_opts opts = {
        .headers = cfg->otlphttp.headers,
        .timeout_ms = cfg->otlphttp.timeout_ms,
        .concurrency = cfg->otlphttp.concurrency,
        .name = name,
    };
    bool reachable[SIGNAL_COUNT];
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        reachable[s] = given[s][0] != '\0' || base.len > 0;
        if (given[s][0] != '\0')
            snprintf(urls[s], sizeof urls[s], "%s", given[s]);
        else
            snprintf(urls[s], sizeof urls[s], "%.*s/v1/%s", (int)base.len, (const char *)base.base,
                     signal_name((enum signal)s));
        opts.url[s] = urls[s];
    }
    snprintf(name, sizeof name, "otlphttp %s", urls[SIGNAL_LOGS]);
    int rc = config_open_route(&opts.route, &cfg->otlphttp.route, "exporters.otlphttp", err);
    if (rc == 0)
        rc = upstream_open(sink, sc->client, &opts, err);
    for (int s = 0; s < SIGNAL_COUNT && rc == 0; s++)
        sink->takes[s] = reachable[s];
    return rc;
}

int sidecar_open_sink(struct sidecar *sc, struct sink *out, enum coding *compression,
                      struct error *err)
{
    const struct config *cfg = sc->cfg;
    if (cfg->posthog.api_key[0] != '\0') {
        *compression = cfg->posthog.compression;
        return open_posthog(sc, out, err);
    }
    if (cfg->otlphttp.endpoint[0] != '\0' || cfg->otlphttp.logs_endpoint[0] != '\0') {
        *compression = cfg->otlphttp.compression;
        return open_otlphttp(sc, out, err);
    }
    struct file_opts file = {cfg->file.path[0] != '\0' ? cfg->file.path : "-", &sc->budget};
    *compression = CODING_IDENTITY;
    return file_open(out, &sc->loop, &file, err);
}
