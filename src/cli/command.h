/*
 * command: what verbs share: their options, the configuration, and how they end.
 *
 * Exit codes (sysexits): 0, 64 usage or a file that cannot be used, 65 a damaged spool, 69 a port
 * or the other side is not available, 70 a bug, 78 configuration. What fails is printed on standard
 * error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "pipeline/rules.h"
#include "util/err.h"

enum { EXIT_OK = 0, EXIT_USAGE = 64, EXIT_UNAVAILABLE = 69, EXIT_BUG = 70, EXIT_CONFIG = 78 };

/* What --help says of the options that all verbs take. */
#define COMMAND_COMMON_TEXT \
    "  --config FILE     instead of " CONFIG_DEFAULT_FILE "\n" \
    "  --set KEY=VALUE   a setting, stronger than file and environment; any number of times\n"

/* An option of one verb: with a value, or to be given or not. */
struct command_flag {
    const char *name; /* without the dashes */
    const char **value;
    bool *given;
};
#define COMMAND_FLAGS_MAX 12

/* Read --config, --set and the verb's own options, then the configuration.
 * *first: the argument that is first behind them, which may stand among them;
 * NULL when the verb takes none. 0, or the exit code. */
int command_load(int argc, char **argv, const struct command_flag *flags, size_t flag_count,
                 struct config *cfg, int *first);

/* The same in two steps, for the verb that reads its configuration again. */
#define COMMAND_SETS_MAX 128

struct command_options {
    struct config_input input;
    const char *sets[COMMAND_SETS_MAX];
};
int command_parse(int argc, char **argv, const struct command_flag *flags, size_t flag_count,
                  struct command_options *o, int *first);
int command_load_options(const struct command_options *o, struct config *cfg);

int command_usage_error(const char *text, const char *what);

/* Print *err, or what rc means; returns the exit code. */
int command_die(int rc, const struct error *err);

/* What is in force without a policy server: the rates of `policy_file`, where it is
 * not "", over those of the configuration. 0, or the exit code. */
int command_rules(struct rules **out, const struct config *cfg, const char *policy_file);
