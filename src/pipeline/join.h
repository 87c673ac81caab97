/*
 * join: a stack trace that came line by line becomes one record again (multiline: join).
 *
 * A record that goes on with what the one before it began (pattern/trace_line.h) is added to its
 * body behind a newline; all else of it, its attributes too, is the first one's. Only records
 * that stand side by side in one request, under the same Resource and scope: across requests a
 * record would have to wait for what may follow, unanswered or unsafe, and between two scopes
 * lie two loggers. A line that says it is more severe than the first stays by itself.
 *
 * Ownership: of what is tallied, the struct. Blocking: never. Cost: a copy of the request, and
 * one more look at each record, where it is asked for.
 */
#pragma once

#include "otlp/mend.h"

#define JOIN_LINES_MAX 1024u        /* the JVM's own limit for a trace */
#define JOIN_BYTES_MAX (256u << 10) /* of a body: a quarter of the usual batch */

/* Append to *out the sound request with its lines joined; *count is what it holds then, and
 * *joined what was added to others, by ResourceLogs (as otlp/mend.h tallies what it rejects).
 * 1; 0: nothing was joined, and *out and *count are as before; ERR_FULL and others: no memory. */
MUST_CHECK int logs_join(struct span request, struct buf *out, struct logs_count *count,
                         struct logs_mended *joined);
