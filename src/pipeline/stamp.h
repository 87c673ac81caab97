/*
 * stamp: the attributes that a survivor of p < 1 carries, as encoded LogRecord
 * fields to put behind the record: otel.logs.adjusted_count (1/p), pattern.id and,
 * where it is another (bytes are billed), pattern.family.
 */
#pragma once

#include <stdint.h>

#include "util/span.h"

#define STAMP_ADJUSTED_COUNT "otel.logs.adjusted_count"
#define STAMP_PATTERN_ID "pattern.id"
#define STAMP_PATTERN_FAMILY "pattern.family"
#define STAMP_BYTES 128 /* all three, encoded, are 121 */

/* Write to room; the span points into it. */
struct span stamp_write(uint8_t room[STAMP_BYTES], double adjusted_count, uint64_t signature,
                        uint64_t family);
