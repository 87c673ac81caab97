/*
 * url: pieces of URLs and of the header that goes with them.
 */
#pragma once

#include "util/buf.h"
#include "util/err.h"

/* Append `text` percent-encoded: all but the unreserved characters of RFC 3986 2.3. */
void url_append_encoded(struct buf *out, struct span text);

/* Percent-decoded, with a 0 at the end. ERR_MALFORMED: a bad escape, or a byte 0; ERR_TOO_BIG. */
MUST_CHECK int url_decode(struct span text, char *out, size_t size);

/* The host and port of a URL, or of a text without a scheme: "example.com:4318". Of a name
 * and password nothing. */
struct span url_authority(const char *url);

/* Without slashes at the end, so that a path can be appended. */
struct span url_base(const char *url);

/* "Authorization: Bearer KEY", to be freed. NULL: no memory. */
char *url_bearer(const char *key);
