/*
 * cli: the command line: verbs and their options.
 *
 * Exit codes (sysexits): 0, 64 usage, 69 a port or the other side is not
 * available, 70 a bug, 78 configuration.
 */
#pragma once

enum { EXIT_OK = 0, EXIT_USAGE = 64, EXIT_UNAVAILABLE = 69, EXIT_BUG = 70, EXIT_CONFIG = 78 };

/* Run the verb of the command line; returns the exit code. */
int cli_main(int argc, char **argv);
