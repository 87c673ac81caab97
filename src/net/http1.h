/*
 * http1: the session of one HTTP/1.0 or 1.1 connection (RFC 9112).
 *
 * One exchange at a time: pipelined requests wait unread until the one before
 * is answered, so answers are in order and memory is bounded.
 *
 * Strict: what two parsers might read differently is refused and the connection
 * closed (both lengths, folded lines, bare CR or LF, a second Host, an unknown
 * transfer coding). A request that cannot be parsed gets an answer without a
 * body, since no encoding for one is known; all others go through the service.
 *
 * Ownership: the service and the clock in it outlive the session. Blocking: never.
 */
#pragma once

#include "net/http.h"

struct http1;

extern const struct http_session_ops http1_ops;

/* NULL when out of memory. */
struct http1 *http1_new(struct http_service *service, struct http_output output);
