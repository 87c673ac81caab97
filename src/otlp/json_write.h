/*
 * json_write: an encoded ExportLogsServiceRequest as one line of OTLP/JSON.
 * (OTLP specification, "JSON Protobuf Encoding": lowerCamelCase keys, ids in
 * hex, 64-bit integers as strings, enums as numbers, bytes in base64.)
 */
#pragma once

#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

/* Append the request as JSON, without a newline. The request must be sound
 * (logs_check); unknown fields have no JSON form and are left out.
 * ERR_MALFORMED or the buf's own failure. */
MUST_CHECK int json_write_logs(struct buf *out, struct span request);
