/* url: see the header. */
#include "net/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEARER "Authorization: Bearer "

void url_append_encoded(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.base[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        if (plain)
            buf_append_byte(out, c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

int url_decode(struct span text, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int c = text.base[i];
        if (c == '%') {
            int high = i + 2 < text.len ? span_hex_digit(text.base[i + 1]) : -1;
            int low = i + 2 < text.len ? span_hex_digit(text.base[i + 2]) : -1;
            c = high < 0 || low < 0 ? 0 : high << 4 | low;
            i += 2;
        }
        if (c == 0)
            return ERR_MALFORMED;
        if (n + 1 >= size)
            return ERR_TOO_BIG;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return 0;
}

struct span url_authority(const char *url)
{
    const char *rest = strstr(url, "://"), *at;
    rest = rest == NULL ? url : rest + 3;
    size_t len = strcspn(rest, "/?#");
    while ((at = memchr(rest, '@', len)) != NULL) {
        len -= (size_t)(at + 1 - rest);
        rest = at + 1;
    }
    return span_of(rest, len);
}

struct span url_base(const char *url)
{
    struct span s = span_str(url);
    while (s.len > 0 && s.base[s.len - 1] == '/')
        s.len--;
    return s;
}

char *url_bearer(const char *key)
{
    size_t n = sizeof BEARER + strlen(key);
    char *header = malloc(n);
    if (header != NULL)
        snprintf(header, n, BEARER "%s", key);
    return header;
}
