/*
 * cli_spool: `lipservice spool inspect|verify|export DIR`, the durable queue for people.
 *
 * Opens for reading only, takes no lock and changes nothing, so it may be run on the
 * directory of a running lipservice: a frame never changes once it is written, and what is
 * being written at that moment shows as an unfinished tail. Segments that are delivered
 * and removed meanwhile are passed over.
 */
#pragma once

/* argv[0] is the verb. Returns the exit code: 0, 64, 65 when something is damaged, 69 when
 * the directory cannot be read, 70, 78 when it is of a newer version. Blocks. */
int cli_spool(int argc, char **argv);
