/*
 * cli_explain: `lipservice explain`, each rule tried on a record in plain words.
 *
 * Without --live the configuration and the policy file decide, and policies that a
 * policy server keeps for single services are not asked for. With it the running
 * sidecar answers, by the rules it has in force and with its counts.
 * What depends on the records before (the first of a pattern, a budget) is said and
 * not counted.
 */
#pragma once

/* argv[0] is the verb. Returns the exit code. Blocks. */
int cli_explain(int argc, char **argv);
