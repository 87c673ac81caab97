/*
 * key_text: keys as they are shown: "lsk_" and 43 characters, 256 random bits.
 *
 * Random keys need no slow hash: the database has their SHA-256.
 */
#pragma once

#include <stdint.h>

#include "util/digest.h"
#include "util/err.h"

#define KEY_TEXT_BYTES 48 /* with a NUL */
#define KEY_HEX_BYTES (2 * DIGEST_SHA256_BYTES + 1)

/* A new one. ERR_IO: the system has no randomness. */
MUST_CHECK int key_text_make(char out[KEY_TEXT_BYTES]);

/* The digest, and the same in hex. ERR_NOMEM. */
MUST_CHECK int key_text_digest(const char *text, uint8_t sha256[DIGEST_SHA256_BYTES],
                               char hex[KEY_HEX_BYTES]);

/* ERR_MALFORMED: it is no such hex. */
MUST_CHECK int key_text_from_hex(struct span hex, uint8_t sha256[DIGEST_SHA256_BYTES]);
