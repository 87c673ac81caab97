/* digest: keyed digests. */
#pragma once

#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

#define DIGEST_SHA256_BYTES 32

/* HMAC-SHA256. ERR_NOMEM: the library could not. */
MUST_CHECK int digest_hmac_sha256(struct span key, struct span text,
                                  uint8_t out[DIGEST_SHA256_BYTES]);
