/* key_text: base64url without padding (RFC 4648 5), and hex. */
#include "server/key_text.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "util/secret.h"

#define RANDOM_BYTES 32

int key_text_make(char out[KEY_TEXT_BYTES])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[RANDOM_BYTES + 1] = {0};
    if (getrandom(random, RANDOM_BYTES, 0) != RANDOM_BYTES)
        return ERR_IO;
    strcpy(out, "lsk_");
    char *at = out + 4;
    for (size_t i = 0; i < RANDOM_BYTES; i += 3) {
        uint32_t word = (uint32_t)random[i] << 16;
        unsigned n = RANDOM_BYTES - i >= 3 ? 4 : (unsigned)(RANDOM_BYTES - i) + 1;
        if (i + 1 < RANDOM_BYTES)
            word |= (uint32_t)random[i + 1] << 8;
        if (i + 2 < RANDOM_BYTES)
            word |= random[i + 2];
        for (unsigned k = 0; k < n; k++)
            *at++ = digits[word >> (18 - 6 * k) & 63];
    }
    *at = '\0';
    secret_wipe(random, sizeof random);
    return 0;
}

int key_text_digest(const char *text, uint8_t sha256[DIGEST_SHA256_BYTES], char hex[KEY_HEX_BYTES])
{
    int rc = digest_sha256(span_str(text), sha256);
    for (size_t i = 0; i < DIGEST_SHA256_BYTES && rc == 0; i++)
        snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
    return rc;
}

static int digit_of(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int key_text_from_hex(struct span hex, uint8_t sha256[DIGEST_SHA256_BYTES])
{
    if (hex.len != 2 * DIGEST_SHA256_BYTES)
        return ERR_MALFORMED;
    for (size_t i = 0; i < DIGEST_SHA256_BYTES; i++) {
        int high = digit_of(hex.base[2 * i]), low = digit_of(hex.base[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_MALFORMED;
        sha256[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}
