/*
 * status: the bodies of answers: google.rpc.Status for failures and
 * ExportLogsServiceResponse for success, as protobuf or as proto3 JSON.
 * (OTLP specification, "Failures", "Partial Success"; google/rpc/status.proto)
 *
 * Errors     appends to a buf, whose sticky err has them.
 * Blocking   never.
 */
#pragma once

#include <stdint.h>

#include "otlp/grpc.h"
#include "util/buf.h"

enum status_form { STATUS_PROTOBUF, STATUS_JSON };

struct status {
    int code;            /* google.rpc.Code, which is enum grpc_status */
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
