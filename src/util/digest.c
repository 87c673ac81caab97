/* digest: OpenSSL's. */
#include "util/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

int digest_sha256(struct span text, uint8_t out[DIGEST_SHA256_BYTES])
{
    unsigned len = DIGEST_SHA256_BYTES;
    int made = EVP_Digest(text.base, text.len, out, &len, EVP_sha256(), NULL);
    return made == 1 && len == DIGEST_SHA256_BYTES ? 0 : ERR_NOMEM;
}

int digest_hmac_sha256(struct span key, struct span text, uint8_t out[DIGEST_SHA256_BYTES])
{
    unsigned len = DIGEST_SHA256_BYTES;
    const uint8_t *made =
        HMAC(EVP_sha256(), key.base, (int)key.len, text.base, text.len, out, &len);
    return made != NULL && len == DIGEST_SHA256_BYTES ? 0 : ERR_NOMEM;
}
