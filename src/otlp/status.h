/*
 * status: the bodies of answers: google.rpc.Status for failures and
 * ExportLogsServiceResponse for success, as protobuf or as proto3 JSON.
 * (OTLP specification, "Failures", "Partial Success"; google/rpc/status.proto)
 *
 * Errors     appends to a buf, whose sticky err tells.
 * Blocking   never.
 */
#pragma once

#include <stdint.h>

#include "util/buf.h"

enum status_form { STATUS_PROTOBUF, STATUS_JSON };

/* google.rpc.Code, also gRPC's: the ones that this program gives or reads. */
enum {
    STATUS_OK = 0,
    STATUS_CANCELLED = 1,
    STATUS_UNKNOWN = 2,
    STATUS_INVALID_ARGUMENT = 3,
    STATUS_DEADLINE_EXCEEDED = 4,
    STATUS_NOT_FOUND = 5,
    STATUS_PERMISSION_DENIED = 7,
    STATUS_RESOURCE_EXHAUSTED = 8,
    STATUS_UNIMPLEMENTED = 12,
    STATUS_INTERNAL = 13,
    STATUS_UNAVAILABLE = 14,
    STATUS_UNAUTHENTICATED = 16,
};

struct status {
    int code;            /* STATUS_* */
    const char *message; /* UTF-8; NULL: empty */
    uint64_t retry_ms;   /* details hold a RetryInfo with this delay; 0: none */
    const char *bad;     /* details hold a BadRequest with this description; NULL: none */
};

void status_encode(const struct status *s, enum status_form form, struct buf *out);

/* The answer to an accepted request. With rejected == 0 and no message (NULL or
 * empty) partial_success stays unset, as OTLP demands for full success:
 * protobuf is zero bytes and JSON is {}. rejected == 0 with a message is a warning. */
void export_response_encode(int64_t rejected, const char *message, enum status_form form,
                            struct buf *out);
