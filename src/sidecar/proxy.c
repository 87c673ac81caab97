/* sidecar_proxy: passthrough.posthog, where records go to PostHog. */
#include "config/route.h"
#include "export/posthog.h"
#include "export/upstream.h"
#include "sidecar/sidecar_state.h"

static int point(struct sidecar *sc, struct error *err)
{
    const struct config *cfg = sc->cfg;
    struct route route = config_route(&cfg->posthog.route);
    char host[UPSTREAM_URL_BYTES];
    int rc = posthog_ingestion_url(host, cfg->posthog.host, err);
    return rc < 0 ? rc : proxy_point(sc->proxy, host, &route, cfg->posthog.timeout_ms);
}

int proxy_start(struct sidecar *sc, struct error *err)
{
    const struct proxy_opts opts = {sc->client, sc->clock, &sc->overhead};
    if (sc->cfg->posthog.api_key[0] == '\0' || !sc->cfg->passthrough.posthog)
        return 0;
    int rc = proxy_new(&sc->proxy, &opts);
    return rc < 0 ? rc : point(sc, err);
}

int proxy_reload(struct sidecar *sc, struct error *err)
{
    return sc->proxy == NULL ? 0 : point(sc, err);
}

void proxy_stop(struct sidecar *sc)
{
    if (sc->proxy != NULL)
        proxy_end(sc->proxy);
}

/* After the sockets are gone. */
void proxy_release(struct sidecar *sc)
{
    proxy_free(sc->proxy);
    sc->proxy = NULL;
}
