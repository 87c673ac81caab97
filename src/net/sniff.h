/*
 * sniff: the first bytes of a connection say what its peer speaks. They may come one by one.
 *
 * Blocking: never.
 */
#pragma once

#include "net/http.h"
#include "util/span.h"

#define SNIFF_BYTES 24 /* of HTTP/2's preface (RFC 9113 3.4) */

enum sniff_kind {
    SNIFF_MORE, /* not known yet */
    SNIFF_HTTP1,
    SNIFF_HTTP2,
    SNIFF_TLS, /* a record of type 22, version 3.x (RFC 8446 5.1) */
};

struct sniff {
    uint8_t len; /* zero: nothing has come */
    uint8_t bytes[SNIFF_BYTES];
};

/* The next bytes. Those that came before them are in s->bytes. */
enum sniff_kind sniff_next(struct sniff *s, struct span in);

/* The session of SNIFF_HTTP1 or SNIFF_HTTP2, and how to call it. NULL: no memory. */
void *sniff_open(enum sniff_kind kind, struct http_service *service, struct http_output output,
                 const struct http_session_ops **ops);
