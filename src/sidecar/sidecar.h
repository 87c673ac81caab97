/*
 * sidecar: the role that receives, decides and forwards.
 *
 *     sidecar_early() -> sidecar_start() -> sidecar_run() -> sidecar_stop()
 *                                           until SIGTERM, SIGINT or SIGQUIT, and then drained
 *
 * The parts and their start order are in sidecar.c, the end in drain.c. Whatever the loop or the
 * thread pool waits for, the process ends a second after shutdown.timeout at the latest
 * (signals.c).
 *
 * Blocking   start opens files; run is the event loop.
 */
#pragma once

#include "config/config.h"
#include "util/err.h"

struct sidecar;

/* The first thing of a run: from here on no stray signal ends the process. */
void sidecar_early(void);

/* ERR_CONFIG, ERR_UNAVAILABLE (a port is taken), ERR_NOMEM. On failure nothing is left. The
 * configuration and its input must outlive the sidecar. */
MUST_CHECK int sidecar_start(struct sidecar **out, const struct config *cfg,
                             const struct config_input *input, struct error *err);

/* Until drained. What could not be delivered is in the last line of the log. */
void sidecar_run(struct sidecar *sc);

void sidecar_stop(struct sidecar *sc);
