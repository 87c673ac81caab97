/*
 * cli_help: what the commands are and what they take, in words, on standard output.
 */
#pragma once

#include <stdbool.h>

/* All commands, in a screen. */
void help_overview(void);

/* One command and its options. False: there is no such command. */
bool help_command(const char *name);

/* All settings, a line each: key, default, meaning. */
void help_settings(void);
