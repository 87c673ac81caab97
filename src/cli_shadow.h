/*
 * cli_shadow: `lipservice shadow`, what the running sidecar does and what policies that
 * are only counted would do, side by side.
 */
#pragma once

/* argv[0] is the verb. Returns the exit code. Blocks. */
int cli_shadow(int argc, char **argv);
