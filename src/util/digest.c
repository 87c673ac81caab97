/* digest: OpenSSL's. */
#include "util/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

int digest_hmac_sha256(struct span key, struct span text, uint8_t out[DIGEST_SHA256_BYTES])
{
    unsigned len = DIGEST_SHA256_BYTES;
    const uint8_t *made =
        HMAC(EVP_sha256(), key.base, (int)key.len, text.base, text.len, out, &len);
    return made != NULL && len == DIGEST_SHA256_BYTES ? 0 : ERR_NOMEM;
}
