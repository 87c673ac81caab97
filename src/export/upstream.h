/*
 * upstream: an OTLP/HTTP destination, PostHog's or any other.
 *
 * Units: milliseconds. Blocking: never (net/client).
 */
#pragma once

#include "export/sink.h"
#include "net/client.h"
#include "util/err.h"

#define UPSTREAM_URL_BYTES 1024
#define UPSTREAM_HEADERS_MAX 32

struct upstream_opts {
    const char *url[SIGNAL_COUNT]; /* whole URLs; copied */
    const char *const *headers;    /* "Name: value", NULL at the end; copied */
    uint32_t timeout_ms;           /* of one request; above the 20 s that PostHog may take */
    uint32_t concurrency;
    const char *name;
    struct route route; /* copied */
};

MUST_CHECK int upstream_open(struct sink *out, struct client *client,
                             const struct upstream_opts *opts, struct error *err);
