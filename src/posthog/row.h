/*
 * row: a row that PostHog gives back, as the OTLP record that it may have come from.
 *
 * It has the same pattern and nearly the same length: attributes are texts there, of which those
 * that look like numbers are taken for numbers, and ids are 16 and 8 bytes of no meaning. What
 * PostHog's scrub has put in place of personal data stands for a variable, and is written as one.
 *
 * Pure.
 */
#pragma once

#include "otlp/json_doc.h"
#include "util/buf.h"

struct row_writer {
    struct buf record, scope, logs, resource, value, pair, text;
};

void row_writer_done(struct row_writer *w);

/* Append it to an ExportLogsServiceRequest, with a Resource of its own. False: it is no row. */
bool row_write(struct row_writer *w, struct buf *request, struct json_node row);

/* "2026-11-30T18:00:00.123456Z", with or without a fraction; 0: none. */
uint64_t row_time_ns(struct span text);
/* The same to a microsecond; returns out. */
#define ROW_TIME_BYTES 32
const char *row_time_text(char out[ROW_TIME_BYTES], uint64_t unix_ns);
