/*
 * grpc: the framing of gRPC's unary calls (github.com/grpc/grpc,
 * doc/PROTOCOL-HTTP2.md), without a transport: 5-byte prefixes, status codes, and the
 * two encodings that trailers need.
 *
 * Ownership: messages are borrowed from the body. Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

#define GRPC_PREFIX_BYTES 5

/* clang-format off */
#define GRPC_STATUSES(X) \
    X(OK,                  0) \
    X(CANCELLED,           1) \
    X(UNKNOWN,             2) \
    X(INVALID_ARGUMENT,    3) \
    X(DEADLINE_EXCEEDED,   4) \
    X(NOT_FOUND,           5) \
    X(ALREADY_EXISTS,      6) \
    X(PERMISSION_DENIED,   7) \
    X(RESOURCE_EXHAUSTED,  8) \
    X(FAILED_PRECONDITION, 9) \
    X(ABORTED,            10) \
    X(OUT_OF_RANGE,       11) \
    X(UNIMPLEMENTED,      12) \
    X(INTERNAL,           13) \
    X(UNAVAILABLE,        14) \
    X(DATA_LOSS,          15) \
    X(UNAUTHENTICATED,    16)
/* clang-format on */

#define X(name, code) GRPC_##name = code,
enum grpc_status { GRPC_STATUSES(X) GRPC_STATUS_COUNT };
#undef X

struct grpc_message {
    bool is_compressed; /* by the call's grpc-encoding */
    struct span bytes;  /* may be empty: an empty message is a valid one */
};

/* Look at the first GRPC_PREFIX_BYTES of a body. *total is then the length of prefix and
 * message together. GRPC_OK; GRPC_INTERNAL: fewer bytes, or a flag that is neither 0 nor 1;
 * GRPC_RESOURCE_EXHAUSTED: the message alone is longer than max_bytes, which is known
 * before it arrives. */
enum grpc_status grpc_prefix(struct span body, size_t max_bytes, size_t *total);

/* The one message of a whole unary body. As grpc_prefix(); GRPC_INTERNAL too when there is
 * no message or it is cut short; GRPC_UNIMPLEMENTED when something follows it. */
enum grpc_status grpc_message(struct span body, size_t max_bytes, struct grpc_message *out);

/* Append `text` as grpc-message wants it: %XX for what is not printable ASCII, and for '%'. */
void grpc_append_percent(struct buf *b, struct span text);

/* Append base64 without padding, for `-bin` fields such as grpc-status-details-bin. */
void grpc_append_base64(struct buf *b, struct span bytes);

/* Is this content type gRPC's: "application/grpc", or it followed by '+' or ';'? */
bool grpc_is_content_type(struct span content_type);

/* Is it that, and are the messages protobuf? "application/grpc+json" is not. */
bool grpc_is_protobuf(struct span content_type);

#define GRPC_TIMEOUT_DIGITS 8

/* The value of grpc-timeout, cut to whole milliseconds. ERR_MALFORMED: it is none. */
MUST_CHECK int grpc_timeout(struct span text, uint64_t *ms);

/* ---- grpc.health.v1 (github.com/grpc/grpc, doc/health-checking.md) ---- */

enum grpc_health {
    GRPC_HEALTH_SERVING = 1,
    GRPC_HEALTH_NOT_SERVING = 2,
    GRPC_HEALTH_SERVICE_UNKNOWN = 3,
};

#define GRPC_HEALTH_BYTES (GRPC_PREFIX_BYTES + 2)

/* The service that a HealthCheckRequest asks for; "" is all of them. */
MUST_CHECK int grpc_health_service(struct span message, struct span *name);

/* A framed HealthCheckResponse. */
void grpc_health_message(enum grpc_health health, uint8_t out[GRPC_HEALTH_BYTES]);
