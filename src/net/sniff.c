/* sniff: a preface, a type of record, or else HTTP/1.1. */
#include "net/sniff.h"

#include "net/http1.h"
#include "net/http2.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

_Static_assert(sizeof preface - 1 == SNIFF_BYTES, "the preface");

enum sniff_kind sniff_next(struct sniff *s, struct span in)
{
    size_t room = (size_t)(SNIFF_BYTES - s->len), n = room < in.len ? room : in.len;
    if (n > 0)
        memcpy(s->bytes + s->len, in.base, n);
    s->len = (uint8_t)(s->len + n);

    if (s->len == 0 || (s->len == 1 && s->bytes[0] == 0x16))
        return SNIFF_MORE;
    if (s->bytes[0] == 0x16 && s->bytes[1] == 0x03)
        return SNIFF_TLS;
    if (memcmp(s->bytes, preface, s->len) != 0)
        return SNIFF_HTTP1;
    return s->len < SNIFF_BYTES ? SNIFF_MORE : SNIFF_HTTP2;
}

void *sniff_open(enum sniff_kind kind, struct http_service *service, struct http_output output,
                 const struct http_session_ops **ops)
{
    *ops = kind == SNIFF_HTTP2 ? &http2_ops : &http1_ops;
    return kind == SNIFF_HTTP2 ? (void *)http2_new(service, output)
                               : (void *)http1_new(service, output);
}
