/* A whole HTTP/2 session (session.h), its frames with lengths that are right, so that what is
 * behind the frame reader is reached: streams, windows, header tables, floods, a full account. */
#include "net/http2.h"
#include "session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"

static void *open_session(const struct http_service *service, struct http_output out)
{
    struct http2 *s = http2_new((struct http_service *)service, out);
    if (s != NULL)
        http2_ops.feed(s, SPAN(PREFACE));
    return s;
}

/* Request heads without dynamic entries (RFC 7541 6.1, 6.2.2): POST, http, a path. */
static const struct span blocks[] = {
    SPAN("\x83\x86\x44\x01/\x41\x01"
         "a"),
    SPAN("\x83\x86\x44\x05/hold\x41\x01"
         "a"),
    SPAN("\x83\x86\x44\x07/expect\x41\x01"
         "a"),
    SPAN("\x82\x86\x44\x08/missing\x41\x01"
         "a"),
    SPAN("\x83\x86\x44\x01/\x41\x01"
         "a\x5f\x10"
         "application/grpc"),
    SPAN("\x83\x86\x44\x01/\x41\x01"
         "a\x5c\x01"
         "9"),
    SPAN("\xbe"),           /* an entry of the dynamic table */
    SPAN("\x40\x01x\x01y"), /* makes one */
    SPAN("\x3f\xe1\x1f"),   /* sets its size */
};

/* n: how much payload; the next three bytes: type, flags, stream. */
static struct span compose(struct buf *to, size_t n, struct span in)
{
    if (in.len < 3)
        return span_skip(in, in.len);
    uint8_t type = in.base[0] % 11, flags = in.base[1], stream = in.base[2];
    in = span_skip(in, 3);
    bool is_block = type == 1 && n < 128;
    struct span payload = is_block ? blocks[n % (sizeof blocks / sizeof blocks[0])]
                                   : span_of(in.base, n < in.len ? n : in.len);
    if (is_block)
        flags &= (uint8_t)~0x28; /* neither padded nor with a priority */
    const uint8_t head[9] = {0, 0, (uint8_t)payload.len, type, flags, 0, 0, 0, stream};
    buf_append(to, span_of(head, sizeof head));
    buf_append(to, payload);
    return is_block ? in : span_skip(in, payload.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct session_kind kind = {&http2_ops, open_session, compose};
    session_run(&kind, data, size);
    return 0;
}
