/*
 * stamp: the attributes that a survivor of p < 1 carries, as encoded LogRecord
 * fields to put behind the record: otel.logs.adjusted_count (1/p) and pattern.id.
 */
#pragma once

#include <stdint.h>

#include "util/span.h"

#define STAMP_ADJUSTED_COUNT "otel.logs.adjusted_count"
#define STAMP_PATTERN_ID "pattern.id"
#define STAMP_BYTES 128 /* both attributes, encoded, with room to spare */

/* Write to room; the span points into it. */
struct span stamp_write(uint8_t room[STAMP_BYTES], double adjusted_count, uint64_t signature);
