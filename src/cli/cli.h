/* cli: the command line: a table of verbs. */
#pragma once

/* Run the verb of the command line; returns the exit code. */
int cli_main(int argc, char **argv);
