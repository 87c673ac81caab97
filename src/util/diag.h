/*
 * diag: the program's own log, on standard error, as key=value or JSON lines.
 *
 * Each kind of message (`event`, a constant name) is limited to 10 lines a
 * second; what was left out is counted in the next line of that kind that gets
 * through (suppressed=n), as are lines that standard error had no room for. Record contents and
 * secrets are never passed here; a peer's bytes only through diag_quote().
 *
 *     diag(DIAG_WARN, "upstream_refused", "PostHog refused a batch",
 *          "status=%d host=%s", status, diag_quote(text, host));
 *
 * Blocking: never for a pipe, socket or terminal that is full; a file is written to.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/span.h"

enum diag_level { DIAG_ERROR, DIAG_WARN, DIAG_INFO, DIAG_DEBUG };

struct diag_opts {
    enum diag_level level;
    bool json;
};

/* Process-wide, because a process has one standard error. Called once, early. */
void diag_setup(const struct diag_opts *opts);

/* `msg` is a sentence; `fields` is printf-style "key=value ..." whose
 * values hold no spaces, or are quoted by diag_quote(). May be "". */
void diag(enum diag_level level, const char *event, const char *msg, const char *fields, ...)
    __attribute__((format(printf, 4, 5)));

/* s in double quotes, escaped as JSON asks, cut at 256 bytes, written to out. Returns out. */
#define DIAG_QUOTE_BYTES 1600
const char *diag_quote(char out[DIAG_QUOTE_BYTES], struct span s);
