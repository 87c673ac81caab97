/*
 * input: a file that a verb reads, or standard input ("-"): mapped where it is a file, else
 * (a pipe) read.
 *
 * Blocking   until the pipe ends.
 */
#pragma once

#include "util/buf.h"

struct input {
    struct span text;
    void *map;
    struct buf read;
};

/* ERR_IO, with the reason in err. */
int input_open(struct input *in, const char *path, struct error *err);

/* Accepts a zeroed one, and one whose open failed. */
void input_close(struct input *in);
