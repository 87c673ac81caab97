/*
 * trace_line: does this line go on with what the line before it began? For agents that read a log
 * line by line and send a stack trace as so many records.
 *
 * It looks at the line alone: what is indented by a tab or two blanks, and the lines of traces
 * that are not: types of exceptions, causes, frames of Go and PHP. Of a line of log that begins
 * so by itself it cannot be told apart, so it only counts behind an error, or where joining is
 * asked for.
 *
 * Blocking: never. Cost: a few bytes of most lines.
 */
#pragma once

#include <stdbool.h>

#include "util/span.h"

bool trace_line_continues(struct span line);
