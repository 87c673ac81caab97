/*
 * crc32c: the Castagnoli CRC of RFC 3720, appendix B.4; what storage formats use.
 *
 * By the processor's instruction where it has one (SSE4.2), else by a small table.
 */
#pragma once

#include <stdint.h>

#include "util/span.h"

/* The CRC of what `crc` is the CRC of, followed by s. Start from 0. */
uint32_t crc32c(uint32_t crc, struct span s);

/* The same by tables, on any processor: for the tests. */
uint32_t crc32c_portable(uint32_t crc, struct span s);
