/*
 * cors: which web pages may send from their scripts (fetch.spec.whatwg.org, "CORS protocol"), by
 * the Collector's settings.
 *
 * An origin is allowed when it is listed: as it is, or by a pattern with `*` for any bytes. Before
 * a POST that is not a simple one a browser asks, by a preflight.
 *
 * Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/http.h"

struct cors {
    const char *origins; /* between commas; "": none, which is "off" */
    const char *headers; /* likewise, beside those that are always allowed; "*": any */
    uint32_t max_age_s;  /* how long a browser remembers; 0: it is not told */
};

bool cors_allows(const struct cors *c, struct span origin);

/* Is this OPTIONS a browser's question? */
bool cors_is_preflight(const struct http_head *head);

/* The method and all headers of the question, from an origin that is allowed. */
bool cors_allows_request(const struct cors *c, const struct http_head *head);
