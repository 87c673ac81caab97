/* sidecar_tls: the certificates of our ports. Health stays in clear: it says nothing that is worth
 * hiding, and probes know no CA. */
#include "config/tls.h"
#include "sidecar/sidecar_state.h"

int tls_start(struct sidecar *sc, struct error *err)
{
    int rc = 0;
    for (int b = 0; b < CONFIG_TLS_SIDECAR_COUNT && rc == 0; b++) {
        const struct config_tls *t = config_tls(sc->cfg, b);
        struct tls_keeper_opts opts = {
            .files = config_tls_files(t),
            .prefix = config_tls_prefix(b),
            .poll_ms = t->reload_interval_ms,
            .is_required = config_tls_is_required(t),
        };
        if (config_tls_is_on(t))
            rc = tls_keeper_open(&sc->tls[b], &sc->loop, &opts, err);
    }
    return rc;
}

const struct tls_port *tls_port_of(const struct sidecar *sc, enum config_tls_block b)
{
    return sc->tls[b] == NULL ? NULL : tls_keeper_port(sc->tls[b]);
}

void tls_reload(struct sidecar *sc)
{
    for (int b = 0; b < CONFIG_TLS_SIDECAR_COUNT; b++)
        if (sc->tls[b] != NULL)
            tls_keeper_again(sc->tls[b]);
}

/* The services that look at them have closed their sockets by now; nobody is accepted any more. */
void tls_stop(struct sidecar *sc)
{
    for (int b = 0; b < CONFIG_TLS_SIDECAR_COUNT; b++) {
        tls_keeper_close(sc->tls[b]);
        sc->tls[b] = NULL;
    }
}

struct tls_figures tls_figures(const struct sidecar *sc)
{
    struct tls_figures f = {.expires_s = INT64_MAX};
    for (int b = 0; b < CONFIG_TLS_SIDECAR_COUNT; b++) {
        if (sc->tls[b] == NULL)
            continue;
        struct tls_keeper_stats stats = tls_keeper_stats(sc->tls[b]);
        int64_t expires_s = tls_context_expires_s(tls_keeper_port(sc->tls[b])->context);
        f.is_on = true;
        metric_add(&f.installed, stats.installed.value);
        metric_add(&f.refused, stats.refused.value);
        if (expires_s < f.expires_s)
            f.expires_s = expires_s;
    }
    const struct http_service *services[] = {&sc->services[0], &sc->services[1],
                                             &sc->metrics.service, &sc->admin.service};
    for (size_t i = 0; i < ARRAY_LEN(services); i++)
        metric_add(&f.handshakes, services[i]->handshakes.value);
    return f;
}
