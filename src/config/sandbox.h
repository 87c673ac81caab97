/*
 * sandbox: what a role of the program gives up when its configuration is known, and what when it
 * has started. `sandbox: off` leaves all of it as it was.
 *
 *     sandbox_start()     no new privileges, no capabilities, memory that no other process reads,
 * no new code, and Landlock: before there is a second thread, which would be left out
 *     sandbox_close()     the list of system calls, which a start needs more of (listen)
 *
 * Blocking   start and check look up paths.
 */
#pragma once

#include <stdbool.h>

#include "config/config.h"
#include "util/buf.h"
#include "util/err.h"

struct sandbox {
    unsigned directories; /* kinds of directories that the role writes to: bit per config_file */
    bool has_low_ports;   /* it listens below 1024 */
    int landlock;         /* the version that holds; 0: none */
    int set;              /* of paths, while it is made */
    struct buf roots;     /* what can be opened, each with a NUL */
};

MUST_CHECK int sandbox_start(struct sandbox *s, const struct config *cfg);
void sandbox_close(const struct sandbox *s, const struct config *cfg);
void sandbox_release(struct sandbox *s);

/* ERR_CONFIG where a file of the next configuration could not be opened any more. */
MUST_CHECK int sandbox_check_files(const struct sandbox *s, const struct config *next,
                                   struct error *err);

/* Does an address of the configuration have a port that needs a capability? */
bool sandbox_is_low_port(const char *endpoint);
