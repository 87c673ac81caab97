/*
 * http2: the session of one HTTP/2 connection (RFC 9113), by prior knowledge.
 *
 * Streams are exchanges. nghttp2 knows the protocol; this file adds the bounds
 * that it leaves to its user: header lists, deadlines for each stream, and a
 * budget for every kind of frame that costs us something and the peer nothing.
 * Over budget: GOAWAY ENHANCE_YOUR_CALM.
 *
 * When service->draining is set: GOAWAY with the highest id first, the real one
 * a tick later, and the accepted streams finish (RFC 9113 6.8).
 *
 * Ownership: the service and the clock in it outlive the session. Blocking: never.
 */
#pragma once

#include "net/http.h"

struct http2;

extern const struct http_session_ops http2_ops;

/* Expects the client's preface as the first bytes of feed(). NULL when out of memory. */
struct http2 *http2_new(struct http_service *service, struct http_output output);
