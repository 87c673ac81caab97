/* sidecar_sandbox: the sandbox of config/, with what this role needs. */
#include "sidecar/sidecar_state.h"

int sidecar_sandbox_start(struct sidecar *sc, struct error *err)
{
    const struct config *cfg = sc->cfg;
    const char *endpoints[] = {cfg->receiver.grpc_endpoint, cfg->receiver.http_endpoint,
                               cfg->telemetry.health_endpoint, cfg->telemetry.metrics_endpoint,
                               cfg->telemetry.admin_endpoint};
    (void)err;
    sc->sandbox.directories =
        1u << CONFIG_FILE_STATE | (cfg->durable ? 1u << CONFIG_FILE_SPOOL : 0);
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
        sc->sandbox.has_low_ports |= sandbox_is_low_port(endpoints[i]);
    return sandbox_start(&sc->sandbox, cfg);
}

void sidecar_sandbox_release(struct sidecar *sc)
{
    sandbox_release(&sc->sandbox);
}
