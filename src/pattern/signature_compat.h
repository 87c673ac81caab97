/*
 * signature_compat: the signatures that older LipService SDKs and servers gave,
 * for fleets and policies that still name patterns by them.
 *
 * An id is the MD5 of a normalised text, which steps of replacement make, run
 * strictly one after another over the whole text. The character classes are
 * CPython's (util/unicode.h). Bytes that are not UTF-8 come through unchanged;
 * the originals raised.
 *
 * Limit      the first COMPAT_MAX_BYTES of a text count; the originals had none.
 * Ownership  one object a loop; it holds the memory of a call (1.1 MiB). Spans
 *            given back die with the next call.
 * Cost       linear in the text; slower than LPS-1 by an order of magnitude.
 */
#pragma once

#include <stdint.h>

#include "util/span.h"

#define COMPAT_MAX_BYTES 65536
#define COMPAT_MD5_TEXT_BYTES 33 /* 32 lower-case hex digits, NUL */

enum compat_mode {
    COMPAT_PY_SDK,  /* the Python SDK */
    COMPAT_BACKEND, /* the Python server */
};

struct compat;

int compat_new(struct compat **out);
void compat_free(struct compat *c);

/* The text whose MD5 is the id. */
struct span compat_normalise(struct compat *c, enum compat_mode mode, struct span message);

/* The id: MD5 of the normalised text. ERR_UNSUPPORTED where the crypto library
 * refuses MD5. */
int compat_sign(struct compat *c, enum compat_mode mode, struct span message,
                char out[COMPAT_MD5_TEXT_BYTES]);
