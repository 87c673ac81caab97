/* sidecar_proxy: passthrough.posthog, where records go to PostHog. */
#include "config/route.h"
#include "export/posthog.h"
#include "export/upstream.h"
#include "sidecar/sidecar_state.h"

#define IDLE_PROXY_CONNECTIONS 8 /* a browser opens six to one host */

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
    const struct client_opts client = {
        .user_agent = "lipservice/" LIPSERVICE_VERSION, /* not sent where the client says its own */
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .max_idle_connections = IDLE_PROXY_CONNECTIONS,
    };
    if (sc->cfg->posthog.api_key[0] == '\0' || !sc->cfg->passthrough.posthog)
        return 0;
    int rc = client_open(&sc->proxy_client, &sc->loop, &client);
    if (rc == 0) {
        const struct proxy_opts opts = {sc->proxy_client, sc->clock, &sc->overhead};
        rc = proxy_new(&sc->proxy, &opts);
    }
    return rc < 0 ? rc : point(sc, err);
}

int proxy_reload(struct sidecar *sc, struct error *err)
{
    return sc->proxy == NULL ? 0 : point(sc, err);
}

void proxy_drain(struct sidecar *sc, bool late)
{
    if (sc->proxy != NULL && late)
        proxy_end(sc->proxy);
    else if (sc->proxy != NULL)
        proxy_end_endless(sc->proxy);
}

void proxy_stop(struct sidecar *sc)
{
    if (sc->proxy != NULL)
        proxy_end(sc->proxy);
    client_close(sc->proxy_client);
    sc->proxy_client = NULL;
}

/* After the sockets are gone. */
void proxy_release(struct sidecar *sc)
{
    proxy_free(sc->proxy);
    sc->proxy = NULL;
}
