/* A whole HTTP/1 connection (session.h): pipelines, late answers, deadlines, a full account. */
#include "net/http1.h"
#include "session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *open_session(const struct http_service *service, struct http_output out)
{
    return http1_new((struct http_service *)service, out);
}

/* One of a few requests, with a body of the next bytes where it has one. */
static struct span compose(struct buf *to, size_t n, struct span in)
{
    static const char *const heads[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %zu\r\n\r\n",
        "POST /expect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
        "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: %zu\r\n\r\n",
        "POST /discard HTTP/1.1\r\nHost: a\r\nContent-Length: %zu000\r\n\r\n",
        "%zx\r\n",
        "\r\n0\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    };
    size_t bytes = n < in.len ? n : in.len;
    const char *head = heads[bytes > 0 ? in.base[0] % 10 : n % 10];
    if (strchr(head, '%') == NULL) {
        buf_append_str(to, head);
        return span_skip(in, bytes > 0);
    }
    char text[128];
    /* The formats are the ones above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, head, bytes);
#pragma GCC diagnostic pop
    buf_append_str(to, text);
    buf_append(to, span_of(in.base, bytes));
    return span_skip(in, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct session_kind kind = {&http1_ops, open_session, compose};
    session_run(&kind, data, size);
    return 0;
}
