/*
 * cli_explain: `lipservice explain`, each rule tried on a record in plain words.
 *
 * It runs the pipeline's own functions, for each record by itself: what depends on
 * the records before (the first of a pattern, a budget) is said and not counted. Policies
 * that a policy server keeps for single services are not asked for.
 */
#pragma once

/* argv[0] is the verb. Returns the exit code. Blocks. */
int cli_explain(int argc, char **argv);
