/*
 * response: read what an upstream answers to an export: how many records it did not
 * take, and why. (OTLP specification, "Partial Success";
 * collector/logs/v1 ExportLogsServiceResponse)
 *
 * Ownership: the message is copied. Blocking: never; JSON costs the allocation of a
 * parser, once an answer that has something to say.
 */
#pragma once

#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

#define RESPONSE_MESSAGE_BYTES 256 /* of error_message; what is longer is cut */

struct response {
    uint64_t rejected; /* partial_success.rejected_log_records; negative ones count as 0 */
    char message[RESPONSE_MESSAGE_BYTES];
    size_t message_len; /* any bytes: quote before printing */
};

/* ERR_UNSUPPORTED: the content type is neither protobuf's nor JSON's; ERR_MALFORMED and
 * other codes: no ExportLogsServiceResponse. *out is zero then: a 2xx is a success
 * whatever its body. */
MUST_CHECK int response_decode(struct response *out, struct span content_type, struct span body);
