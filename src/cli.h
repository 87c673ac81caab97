/*
 * cli: the command line: verbs and their options.
 *
 * Exit codes (sysexits): 0, 64 usage, 65 a damaged spool, 69 a port or the other
 * side is not available, 70 a bug, 78 configuration.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "pipeline/rules.h"
#include "util/err.h"

enum { EXIT_OK = 0, EXIT_USAGE = 64, EXIT_UNAVAILABLE = 69, EXIT_BUG = 70, EXIT_CONFIG = 78 };

/* Run the verb of the command line; returns the exit code. */
int cli_main(int argc, char **argv);

/* ---- for verbs in files of their own: what fails is told on standard error ---- */

/* An option of one verb: with a value, or to be given or not. */
struct cli_flag {
    const char *name; /* without the dashes */
    const char **value;
    bool *given;
};
#define CLI_FLAGS_MAX 12

/* Read --config, --set and the verb's own options, then the configuration.
 * *first: the argument that is first behind them, which may stand among them;
 * NULL when the verb takes none. 0, or the exit code. */
int cli_load(int argc, char **argv, const struct cli_flag *flags, size_t flag_count,
             struct config *cfg, int *first);

int cli_usage_error(const char *text, const char *what);

/* Tell *err, or what rc means; returns the exit code. */
int cli_die(int rc, const struct error *err);

/* What is in force without a policy server: the rates of `policy_file`, where it is
 * not "", over those of the configuration. 0, or the exit code. */
int cli_rules(struct rules **out, const struct config *cfg, const char *policy_file);
