/* providing: Tero's policies of a provider, between the decoder and our rules. */
#include <string.h>

#include "config/route.h"
#include "sidecar/sidecar_state.h"
#include "util/rng.h"

static int apply(void *ctx, struct logs_group *g, struct span *record, bool is_protected)
{
    static const int verdicts[] = {
        [TERO_SAME] = PROVIDED_SAME,
        [TERO_CHANGED] = PROVIDED_CHANGED,
        [TERO_DROPPED] = PROVIDED_DROPPED,
    };
    struct tero_record r = {g->resource, g->scope, *record, is_protected};
    int rc = provider_apply(ctx, &r);
    if (rc == TERO_CHANGED) {
        g->resource = r.resource;
        g->scope = r.scope;
        *record = r.record;
    }
    return rc < 0 ? rc : verdicts[rc];
}

static bool is_same(const struct config *a, const struct config *b)
{
    struct route way = config_route(&a->policy.route), other = config_route(&b->policy.route);
    return strcmp(a->policy.sync.server, b->policy.sync.server) == 0 &&
           strcmp(a->policy.sync.api_key, b->policy.sync.api_key) == 0 &&
           a->policy.sync.interval_ms == b->policy.sync.interval_ms &&
           a->policy.sync.as_protobuf == b->policy.sync.as_protobuf &&
           a->policy.timeout_ms == b->policy.timeout_ms && route_same(&way, &other);
}

static int start(struct sidecar *sc, struct tero *before, struct error *err)
{
    const struct config *cfg = sc->cfg;
    struct route route;
    struct rng seed;
    if (cfg->policy.sync.server[0] == '\0')
        return 0;
    int rc = config_open_route(&route, &cfg->policy.route, "policy", err);
    if (rc < 0)
        return rc;
    rng_init(&seed);
    const struct provider_opts opts = {
        .server = cfg->policy.sync.server,
        .api_key = cfg->policy.sync.api_key,
        .instance = sc->identity.instance,
        .route = route,
        .as_protobuf = cfg->policy.sync.as_protobuf,
        .interval_ms = cfg->policy.sync.interval_ms,
        .timeout_ms = cfg->policy.timeout_ms,
        .seed = rng_next(&seed),
        .clock = sc->clock,
        .kept = sc->kept,
        .budget = &sc->budget,
        .before = before,
    };
    rc = provider_open(&sc->provider, &sc->loop, sc->client, &opts);
    if (rc == 0)
        pipeline_set_provider(sc->pipeline, &(struct pipeline_provider){sc->provider, apply});
    return rc;
}

/* After policies_start(), which knows who we are and what is kept. */
int providing_start(struct sidecar *sc, struct error *err)
{
    return start(sc, NULL, err);
}

void providing_stop(struct sidecar *sc)
{
    if (sc->pipeline != NULL)
        pipeline_set_provider(sc->pipeline, NULL);
    provider_close(sc->provider);
    sc->provider = NULL;
}

int providing_try(const struct config *cfg, const struct config *old, struct error *err)
{
    struct route route;
    return cfg->policy.sync.server[0] == '\0' || is_same(cfg, old)
               ? 0
               : config_open_route(&route, &cfg->policy.route, "policy", err);
}

int providing_reload(struct sidecar *sc, const struct config *old, struct error *err)
{
    bool is_open = sc->provider != NULL || sc->cfg->policy.sync.server[0] == '\0';
    if (is_open && is_same(sc->cfg, old))
        return 0;
    bool goes_on = sc->cfg->policy.sync.server[0] != '\0';
    struct tero *before = goes_on ? provider_take_set(sc->provider) : NULL;
    providing_stop(sc);
    int rc = start(sc, before, err);
    if (rc < 0) {
        providing_stop(sc); /* half open is not to be used */
        tero_free(before);
    }
    return rc;
}
