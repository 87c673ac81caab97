/*
 * demo_sidecar: a sidecar in a process of its own, for the time of a demo.
 *
 * It has a process group of its own, so that Ctrl-C reaches the demo only, and it drains when the
 * demo is gone, however that ended. A second policy for it to count lies in a file in /tmp, which
 * is removed at the end.
 *
 * Blocking   start until it listens, stop until it has drained.
 */
#pragma once

#include <sys/types.h>

#include "cli/command.h"

struct demo_sidecar {
    pid_t pid; /* 0: there is none */
    char policy[40];
};

/* Before any loop or thread. `o` and `cfg` as the demo sees them. 0, or the exit code; is_child
 * says that this is the other process, which ends with that code. */
int demo_sidecar_start(struct demo_sidecar *d, const struct command_options *o,
                       const struct config *cfg, bool *is_child);

/* Its exit code. */
int demo_sidecar_stop(struct demo_sidecar *d);
