/*
 * file: survivors as OTLP/JSON lines, one request a line, appended to a file
 * or written to standard output (path "-").
 *
 * Blocking: writes go through libuv's thread pool, one parcel at a time, so a
 * slow pipe holds the queue and not the loop. Relayed traces and metrics have
 * no place in it. Renewed with one of the same path it goes on there: the log was rotated.
 */
#pragma once

#include <uv.h>

#include "export/sink.h"
#include "util/err.h"

struct file_opts {
    const char *path; /* "-": standard output */
    struct budget *budget;
};

MUST_CHECK int file_open(struct sink *out, uv_loop_t *loop, const struct file_opts *opts,
                         struct error *err);
