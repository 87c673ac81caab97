/*
 * cli_signature: `lipservice signature`, the ids of records read from standard
 * input, one a line.
 *
 * A record is a line in which \\, \n and \r stand for a backslash and line
 * breaks. For each record one line is written: its id, and with --explain or
 * --bytes a tab and more. --help lists the options.
 */
#pragma once

/* argv[0] is the verb. Returns the exit status: 0, 64 for a usage error (told on
 * standard error), 70 when memory or standard output fails. Blocks. */
int cli_signature(int argc, char **argv);
