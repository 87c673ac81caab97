/* digest: SHA-256, with a key and without. */
#pragma once

#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

#define DIGEST_SHA256_BYTES 32

/* SHA-256. ERR_NOMEM: the library could not. */
MUST_CHECK int digest_sha256(struct span text, uint8_t out[DIGEST_SHA256_BYTES]);

/* HMAC-SHA256. ERR_NOMEM: the library could not. */
MUST_CHECK int digest_hmac_sha256(struct span key, struct span text,
                                  uint8_t out[DIGEST_SHA256_BYTES]);
