/*
 * plain_record: a log record as plain JSON, for programs that have no OTLP at hand:
 *
 *     {"body": any, "attributes": {...}, "event_name": "...", "scope": "..."}
 *
 * all of which may be missing; `scope` is its name.
 */
#pragma once

#include "util/buf.h"
#include "util/span.h"

/* Append its LogRecord to `record`, and to `scope_logs` the scope. ERR_MALFORMED when the text
 * is no such record; ERR_TOO_BIG beyond SIGN_MAX_BODY_BYTES; ERR_TOO_DEEP when its values nest
 * more than 64 deep; ERR_NOMEM. */
int plain_record_read(struct span text, struct buf *record, struct buf *scope_logs);
