/* run: the sidecar, also for a verb that starts one of its own. */
#pragma once

#include "cli/command.h"

/* Until a signal; the exit code. `started`: a descriptor that gets a byte as soon as it listens,
 * and is closed; negative: none. sidecar_early() came first. */
int run_sidecar(const struct command_options *o, int started);
