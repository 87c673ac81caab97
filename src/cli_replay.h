/*
 * cli_replay: `lipservice replay`, what captured OTLP would cost under a
 * configuration, and under a policy beside it.
 *
 * The real pipeline and the real batches, offline. Time is the records' own: the
 * clock stands at a record's timestamp (else its observed one) when it is decided.
 * It does not go back for records that come late; only for leaps of more than an
 * hour, which are another capture. The same input gives the same output, byte by
 * byte. The pattern table is as large as it takes, so no pattern is evicted.
 */
#pragma once

/* argv[0] is the verb. Returns the exit code. Blocks. */
int cli_replay(int argc, char **argv);
