/*
 * tls: a session between the socket and a session of HTTP, of the same shape as those.
 *
 *     stream -> [ records -> OpenSSL -> plain bytes -> http1 or http2 ]
 *
 * OpenSSL is shown whole records only: what has come of the next one waits in a buffer of that
 * size, and between calls OpenSSL holds no buffer of its own. Plain bytes go to where the inner
 * session wants them read to.
 *
 * Memory: TLS_HANDSHAKE_BYTES are charged to service->handshake_memory until the handshake is over,
 * then TLS_SESSION_BYTES to service->overhead and what its client's certificates take, beside what
 * waits in buffers. All is measured: tests/unit/net/test_tls.c holds it.
 *
 * Bounds: a handshake has head_timeout_ms, and TLS_HANDSHAKE_RECORDS; after it no more than
 * TLS_EMPTY_RECORDS follow each other that carry nothing (updates of keys, empty records).
 */
#pragma once

#include "net/http.h"

struct tls;

#define TLS_HANDSHAKE_BYTES ((size_t)48 * 1024)
#define TLS_SESSION_BYTES ((size_t)16 * 1024)
#define TLS_CERTIFICATE_BYTES ((size_t)6 * 1024) /* of each, and so many times its length: */
#define TLS_CERTIFICATE_FACTOR 4
#define TLS_HANDSHAKE_RECORDS 64
#define TLS_EMPTY_RECORDS 32

/* Of a handshake's message: OpenSSL makes room for what is announced, 128 KiB of a first one. */
#define TLS_MESSAGE_BYTES 16384

extern const struct http_session_ops tls_ops;

/* A session by the context that service->tls has now. NULL: no memory. */
struct tls *tls_new(struct http_service *service, struct http_output output);

/* The handshake is not over: what comes next costs a good part of a millisecond. */
bool tls_is_shaking(const struct tls *t);
