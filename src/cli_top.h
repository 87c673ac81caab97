/*
 * cli_top: `lipservice top`, the patterns of the running sidecar on a terminal.
 *
 * Plain ANSI on the alternate screen, which is given back at the end and on signals.
 * Where standard output is no terminal, or with --once, one frame of plain text,
 * taken behind two questions so that it has rates.
 *
 *     v n k s e  order: volume, now, kept share, saved bytes, severity
 *     r          reversed         p      pause
 *     arrows, page keys, g        scroll
 *     q          the end
 */
#pragma once

/* argv[0] is the verb. Returns the exit code. Blocks. */
int cli_top(int argc, char **argv);
