/*
 * cli_tap: `lipservice tap`, a sample of what the running sidecar decides, as it decides.
 *
 * Ends with --limit lines, Ctrl-C or the sidecar; what was not shown is told then.
 */
#pragma once

/* argv[0] is the verb. Returns the exit code. Blocks. */
int cli_tap(int argc, char **argv);
