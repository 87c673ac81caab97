/*
 * reply: the answer to one exchange in the form that its client speaks:
 * OTLP/HTTP in protobuf or JSON, or gRPC's trailers.
 *
 * (OTLP specification: "OTLP/HTTP Response", "OTLP/gRPC Response", "Throttling")
 */
#pragma once

#include <stdint.h>

#include "net/http.h"
#include "otlp/status.h"

enum reply_form { REPLY_PROTOBUF, REPLY_JSON, REPLY_GRPC };

/* Which form a request's content type asks for. Without one JSON: that is a
 * person with curl or a browser. */
enum reply_form reply_form_of(struct span content_type);

/* What went wrong, for the client. */
struct failure {
    int http_status;
    int code;               /* enum grpc_status, for gRPC and in the body */
    const char *message;    /* what a person should know */
    uint32_t retry_after_s; /* 0: none is given */
    const char *allow;      /* of a 405 */
    bool offers_codings;    /* of a 415 for the coding: Accept-Encoding */
};

/* "It is held", all but `rejected` records. partial_success stays unset, unless there is a
 * `message` for the client (UTF-8; NULL: none): then it says how many were rejected, and this. */
void reply_success(struct http_exchange *x, enum reply_form form, uint64_t rejected,
                   const char *message);

void reply_failure(struct http_exchange *x, enum reply_form form, const struct failure *f);

/* 204 with the methods that the path takes (OPTIONS). */
void reply_options(struct http_exchange *x, const char *allow);
