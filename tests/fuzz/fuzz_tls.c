/*
 * A whole connection of TLS as a small program: a client of OpenSSL on the other side, and somebody
 * in between who cuts, changes and adds bytes. The first byte says which version and what is
 * offered, the second how much memory the account has. Then steps of two bytes, what and how much
 * (n):
 *
 *     0   the client sends the next n bytes of the input as data
 *     1   it sends request n
 *     2   what it has sent arrives, in pieces of n bytes (0: whole)
 *     3   a byte of what is on its way is changed, at n of 256 of its length
 *     4   all but n of 256 of what is on its way is lost
 *     5   the next n bytes of the input are put on the way, as they are
 *     6   n tenths of a second pass
 *     7   by n: new keys, close_notify, renegotiation, the held answer is given, drain, the end of
 *         the stream, the slowest body is evicted
 */
#include "unit/net/tls_peer.h"

#include <openssl/err.h>

#include "net/sniff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct certificates certificates;
static const struct certificate *server, *ca, *client;

static void remove_files(void)
{
    certificates_done(&certificates);
}

static void make_files(void)
{
    certificates_init(&certificates);
    server = certificate_make(&certificates, "DNS:localhost", NULL, 30);
    ca = certificate_make(&certificates, NULL, NULL, 30);
    client = certificate_make(&certificates, "DNS:client.example", ca, 30);
    atexit(remove_files);
}

static void say(struct tls_peer *p, struct span bytes)
{
    if (bytes.len > 0 && SSL_is_init_finished(p->ssl))
        SSL_write(p->ssl, bytes.base, (int)bytes.len);
    else
        SSL_do_handshake(p->ssl);
    ERR_clear_error();
}

static void say_request(struct tls_peer *p, size_t n)
{
    static const struct span requests[] = {
        SPAN("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n"),
        SPAN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
             "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
        SPAN("\0\0\12\1\5\0\0\0\1\x82\x84\x86\x41\4\7a:80\x10"),
        SPAN("\0\0\10\6\0\0\0\0\0abcdefgh"),
    };
    static const uint8_t body[40000];
    say(p, n % 16 == 15 ? span_of(body, sizeof body) : requests[n % ARRAY_LEN(requests)]);
}

static void meddle(struct tls_peer *p, uint8_t what, size_t n, struct span more)
{
    struct buf on_way = {0};
    char *at;
    long len = BIO_get_mem_data(SSL_get_wbio(p->ssl), &at);
    buf_append(&on_way, span_of(at, (size_t)len));
    if (what == 3 && len > 0)
        on_way.base[(size_t)len * n / 256] ^= (uint8_t)(1 << n % 8);
    if (what == 4)
        on_way.len = (size_t)len * n / 256;
    buf_append(&on_way, more);
    BIO_reset(SSL_get_wbio(p->ssl));
    if (on_way.len > 0)
        BIO_write(SSL_get_wbio(p->ssl), on_way.base, (int)on_way.len);
    buf_done(&on_way);
}

static void event(struct tls_peer *p, size_t n)
{
    struct http_slow slow;
    switch (n % 7) {
    case 0:
        SSL_key_update(p->ssl, SSL_KEY_UPDATE_REQUESTED);
        say(p, (struct span){0});
        break;
    case 1:
        SSL_shutdown(p->ssl);
        break;
    case 2:
        SSL_renegotiate(p->ssl);
        say(p, (struct span){0});
        break;
    case 3:
        if (p->probe.held != NULL)
            probe_release(&p->probe);
        tls_ops.feed(p->session, (struct span){0});
        break;
    case 4:
        p->probe.service.draining = true;
        tls_ops.tick(p->session);
        break;
    case 5:
        tls_ops.eof(p->session);
        break;
    default:
        if (tls_ops.slowest(p->session, clock_now_ms(&p->probe.clock.clock), &slow))
            tls_ops.evict(p->session, slow.x);
    }
    ERR_clear_error();
}

static struct span step(struct tls_peer *p, uint8_t what, size_t n, struct span in)
{
    struct span next = span_of(in.base, what == 0 || what == 5 ? (n < in.len ? n : in.len) : 0);
    struct buf got = {0};
    switch (what) {
    case 0:
        say(p, next);
        break;
    case 1:
        say_request(p, n);
        break;
    case 2:
        tls_peer_move(p, n);
        tls_peer_read(p, &got);
        ERR_clear_error();
        break;
    case 6:
        clock_fake_advance(&p->probe.clock, n * 100);
        tls_ops.tick(p->session);
        break;
    case 7:
        event(p, n);
        break;
    default:
        meddle(p, what, n, next);
    }
    buf_done(&got);
    return span_skip(in, next.len);
}

/* What the first bytes say, in two pieces. */
static void sniff_pieces(struct span in, size_t cut)
{
    struct sniff whole = {0}, pieces = {0};
    cut = cut < in.len ? cut : in.len;
    enum sniff_kind kind = sniff_next(&pieces, span_of(in.base, cut));
    if (kind == SNIFF_MORE)
        kind = sniff_next(&pieces, span_skip(in, cut));
    assert(kind == sniff_next(&whole, in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const alpn[] = {NULL, "\x02h2", "\x08http/1.1", "\x03foo"};
    if (size < 2)
        return 0;
    sniff_pieces(span_of(data + 2, size - 2), data[1] % (SNIFF_BYTES + 2));
    if (server == NULL)
        make_files();
    bool is_mutual = data[0] & 8;
    struct tls_files files = {server->cert_file, server->key_file, is_mutual ? ca->cert_file : "",
                              is_mutual ? "*.example" : "", data[0] >> 4 & 1};
    struct tls_peer p;
    tls_peer_open(&p, &files,
                  &(struct tls_peer_opts){.version = data[0] & 1 ? TLS1_3_VERSION : TLS1_2_VERSION,
                                          .alpn = alpn[data[0] >> 1 & 3],
                                          .certificate = data[0] & 32 ? client : NULL,
                                          .memory = (size_t)30000 << data[1] % 8});
    if (p.session != NULL && !(data[0] & 64))
        tls_peer_shake(&p, 0);
    struct span in = span_of(data + 2, size - 2);
    while (p.session != NULL && in.len >= 2 && !tls_ops.is_over(p.session))
        in = step(&p, in.base[0] % 8, in.base[1], span_skip(in, 2));
    ERR_clear_error();
    tls_peer_close(&p);
    return 0;
}
