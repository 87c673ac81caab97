#include "unit/test.h"

#include "net/http1.h"
#include "unit/net/probe.h"

struct rig {
    struct probe probe;
    struct buf out;
    struct http1 *session;
    int wakes;
};

static void on_wake(void *ctx)
{
    ((struct rig *)ctx)->wakes++;
}

static void rig_open(struct rig *r)
{
    *r = (struct rig){0};
    probe_init(&r->probe);
    r->session = http1_new(&r->probe.service, (struct http_output){&r->out, r, on_wake});
    assert_non_null(r->session);
}

static void rig_close(struct rig *r)
{
    http1_ops.free(r->session);
    buf_done(&r->out);
    assert_int_equal(r->probe.budget.used, 0);
}

/* As net/stream does: offer what was not used again. */
static size_t rig_feed(struct rig *r, struct span in)
{
    return http1_ops.feed(r->session, in);
}

static bool rig_over(const struct rig *r)
{
    return http1_ops.is_over(r->session);
}

/* The statuses of all answers in `out`, as "200 404". */
static const char *statuses(const struct rig *r, char text[256])
{
    size_t n = 0;
    text[0] = 0;
    for (size_t i = 0; i + 12 <= r->out.len && n < 240; i++) {
        if (memcmp(r->out.base + i, "HTTP/1.1 ", 9) != 0)
            continue;
        n += (size_t)snprintf(text + n, 256 - n, "%s%.3s", n > 0 ? " " : "",
                              (const char *)r->out.base + i + 9);
    }
    return text;
}

#define H "Host: a\r\n"
#define POST "POST /v1/logs HTTP/1.1\r\n" H

/* clang-format off */
static const struct {
    const char *name;
    struct span in;
    const char *answers;
    bool over;
} table[] = {
    {"get",                 SPAN("GET / HTTP/1.1\r\n" H "\r\n"), "200", false},
    {"length",              SPAN(POST "Content-Length: 3\r\n\r\nabc"), "200", false},
    {"length 0",            SPAN(POST "Content-Length: 0\r\n\r\n"), "200", false},
    {"no length",           SPAN(POST "\r\n"), "200", false},
    {"chunked",             SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"Chunked, upper",      SPAN(POST "Transfer-Encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n"), "200", false},
    {"chunk extension",     SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"trailer",             SPAN(POST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\nHost: b\r\n\r\n"), "200", false},
    {"two pipelined",       SPAN("GET /missing HTTP/1.1\r\n" H "\r\n" POST "Content-Length: 2\r\n\r\nab"), "404 200", false},
    {"three with bodies",   SPAN(POST "Content-Length: 1\r\n\r\na" POST "Content-Length: 1\r\n\r\nb" "GET / HTTP/1.1\r\n" H "\r\n"), "200 200 200", false},
    {"leading CRLF",        SPAN("\r\nGET / HTTP/1.1\r\n" H "\r\n"), "200", false},
    {"HEAD",                SPAN("HEAD / HTTP/1.1\r\n" H "\r\n"), "200", false},
    {"OPTIONS *",           SPAN("OPTIONS * HTTP/1.1\r\n" H "\r\n"), "200", false},
    {"other method",        SPAN("PATCH / HTTP/1.1\r\n" H "\r\n"), "200", false},
    {"absolute form",       SPAN("GET http://a/missing?x HTTP/1.1\r\n" H "\r\n"), "404", false},
    {"early answer",        SPAN("POST /missing HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc" "GET / HTTP/1.1\r\n" H "\r\n"), "404 200", false},
    {"early, chunked",      SPAN("POST /missing HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" "GET / HTTP/1.1\r\n" H "\r\n"), "404 200", false},
    {"early, long",         SPAN("POST /missing HTTP/1.1\r\n" H "Content-Length: 1000000\r\n\r\n"), "404", true},
    {"close",               SPAN("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"), "200", true},
    {"1.0",                 SPAN("GET / HTTP/1.0\r\n\r\n"), "200", true},
    {"1.0 keep-alive",      SPAN("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), "200", false},
    {"upgrade",             SPAN("GET / HTTP/1.1\r\n" H "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n" "GET /missing HTTP/1.1\r\n" H "\r\n"), "200 404", false},
    {"upgrade, body",       SPAN(POST "Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab"), "200", false},
    {"tabs and case",       SPAN("GET / HTTP/1.1\r\nhOST:\ta\t\r\ncontent-LENGTH: \t1 \r\n\r\nx"), "200", false},
    {"too big",             SPAN(POST "Content-Length: 20971521\r\n\r\n"), "413", true},

    {"unknown expectation", SPAN(POST "Expect: magic\r\nContent-Length: 3\r\n\r\n"), "417", true},
    {"two expectations",    SPAN(POST "Expect: 100-continue, magic\r\nContent-Length: 3\r\n\r\n"), "417", true},
    {"1.0, expectation",    SPAN("POST / HTTP/1.0\r\nExpect: magic\r\nContent-Length: 3\r\n\r\nabc"), "200", true},

    {"both lengths",        SPAN(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400", true},
    {"both, other order",   SPAN(POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"), "400", true},
    {"two lengths",         SPAN(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), "400", true},
    {"two equal lengths",   SPAN(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), "400", true},
    {"length list",         SPAN(POST "Content-Length: 3, 4\r\n\r\nabc"), "400", true},
    {"length +3",           SPAN(POST "Content-Length: +3\r\n\r\nabc"), "400", true},
    {"length -1",           SPAN(POST "Content-Length: -1\r\n\r\nabc"), "400", true},
    {"length 0x2",          SPAN(POST "Content-Length: 0x2\r\n\r\nabc"), "400", true},
    {"length 2 2",          SPAN(POST "Content-Length: 2 2\r\n\r\nabc"), "400", true},
    {"length empty",        SPAN(POST "Content-Length: \r\n\r\n"), "400", true},
    {"length 2^64",         SPAN(POST "Content-Length: 18446744073709551616\r\n\r\n"), "400", true},
    {"length 2^63",         SPAN(POST "Content-Length: 9223372036854775808\r\n\r\n"), "400", true},
    {"length 2_0",          SPAN(POST "Content-Length: 2_0\r\n\r\n"), "400", true},
    {"length VT",           SPAN(POST "Content-Length: \v2\r\n\r\nab"), "400", true},
    {"te identity",         SPAN(POST "Transfer-Encoding: identity\r\n\r\n"), "400", true},
    {"te xchunked",         SPAN(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), "400", true},
    {"te chunked, chunked", SPAN(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), "400", true},
    {"te gzip, chunked",    SPAN(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "400", true},
    {"te chunked, gzip",    SPAN(POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), "400", true},
    {"te twice",            SPAN(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400", true},
    {"te empty",            SPAN(POST "Transfer-Encoding: \r\n\r\n0\r\n\r\n"), "400", true},
    {"te quoted",           SPAN(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), "400", true},
    {"te in 1.0",           SPAN("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400", true},
    {"space before colon",  SPAN("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), "400", true},
    {"space before field",  SPAN("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), "400", true},
    {"no colon",            SPAN("GET / HTTP/1.1\r\n" H "nonsense\r\n\r\n"), "400", true},
    {"empty name",          SPAN("GET / HTTP/1.1\r\n" H ": x\r\n\r\n"), "400", true},
    {"non-token in name",   SPAN("GET / HTTP/1.1\r\n" H "a(b: x\r\n\r\n"), "400", true},
    {"fold",                SPAN("GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"), "400", true},
    {"fold by tab",         SPAN("GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n"), "400", true},
    {"bare CR",             SPAN("GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n"), "400", true},
    {"bare CR as line end", SPAN("GET / HTTP/1.1\rHost: a\r\r"), "400", true},
    {"bare LF",             SPAN("GET / HTTP/1.1\nHost: a\n\n"), "400", true},
    {"bare LF in fields",   SPAN("GET / HTTP/1.1\r\n" H "X: a\nY: b\r\n\r\n"), "400", true},
    {"NUL in value",        SPAN("GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"), "400", true},
    {"NUL in target",       SPAN("GET /\0 HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"control in value",    SPAN("GET / HTTP/1.1\r\n" H "X: a\x01" "b\r\n\r\n"), "400", true},
    {"no host",             SPAN("GET / HTTP/1.1\r\n\r\n"), "400", true},
    {"two hosts",           SPAN("GET / HTTP/1.1\r\n" H H "\r\n"), "400", true},
    {"bad host",            SPAN("GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n"), "400", true},
    {"no version",          SPAN("GET /\r\n\r\n"), "400", true},
    {"version 2.0",         SPAN("GET / HTTP/2.0\r\n" H "\r\n"), "505", true},
    {"version 01.1",        SPAN("GET / HTTP/01.1\r\n" H "\r\n"), "400", true},
    {"lower-case http",     SPAN("GET / http/1.1\r\n" H "\r\n"), "400", true},
    {"unknown method",      SPAN("FOO / HTTP/1.1\r\n" H "\r\n"), "501", true},
    {"noise",               SPAN("\x01\x02\x03\x04"), "400", true},
    {"connect",             SPAN("CONNECT a:1 HTTP/1.1\r\n" H "\r\n"), "200", true},
    {"chunk size empty",    SPAN(POST "Transfer-Encoding: chunked\r\n\r\n\r\nabc"), "400", true},
    {"chunk size +2",       SPAN(POST "Transfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n"), "400", true},
    {"chunk size 0x2",      SPAN(POST "Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n"), "400", true},
    {"chunk size ' 2'",     SPAN(POST "Transfer-Encoding: chunked\r\n\r\n 2\r\nab\r\n0\r\n\r\n"), "400", true},
    {"chunk size '2 '",     SPAN(POST "Transfer-Encoding: chunked\r\n\r\n2 \r\nab\r\n0\r\n\r\n"), "400", true},
    {"chunk size 2_0",      SPAN(POST "Transfer-Encoding: chunked\r\n\r\n2_0\r\nab\r\n0\r\n\r\n"), "400", true},
    {"chunk size 2^64",     SPAN(POST "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"), "400", true},
    {"chunk bare LF",       SPAN(POST "Transfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n"), "400", true},
    {"chunk too long",      SPAN(POST "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"), "400", true},

    {"extension, name alone", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, two", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=b;c=d\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, quoted", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"b c\"\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, quoted semicolon", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, quoted pair", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\\\"c\"\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, quoted tab", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\tc\"\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, quoted 8 bits", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"\xc3\xa9\"\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, quoted empty", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"\"\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, blank before", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3 ;a=b\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, tab before", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\t;a=b\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, blank behind", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3; a=b\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, blanks at =", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3; a \t= b\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, blank between", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=b ; c\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, all tokens", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=!#$%&'*+-.^_`|~09azAZ\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"extension, last chunk", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0;a=b\r\n\r\n"), "200", false},
    {"extension, bare semicolon", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, two semicolons", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;;a\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, no name", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;=a\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, no value", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, blank at the end", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=b \r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, control", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\x01\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, NUL", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\0\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, bare CR", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\rb\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, bare LF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, quoted LF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\n\"\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, quoted CR", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\r\n\"\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, unclosed", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, behind a quote", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"c\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, quote in a token", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a=b\"c\"\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, comma", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3,a\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"extension, LF alone ends", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n"), "400", true},
    {"chunk size 0003", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n"), "200", false},
    {"chunk size 2^63", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\n"), "400", true},
    {"chunk size 2^64-1", SPAN(POST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"), "400", true},
    {"chunk size wraps", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"chunk size over the limit", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n1400001\r\n"), "413", true},
    {"chunk size 2^63-1", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n"), "413", true},
    {"chunks over the limit", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n13ffffe\r\n"), "413", true},
    {"chunk too short", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n4\r\nabc\r\n0\r\n\r\n"), "400", true},
    {"chunk without CRLF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n"), "400", true},
    {"chunk ended by LF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n"), "400", true},
    {"last chunk ended by LF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\n\r\n"), "400", true},
    {"message ended by LF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\n"), "400", true},
    {"trailer, empty value", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX:\r\n\r\n"), "200", false},
    {"trailer, tab", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: \ta\tb\t\r\n\r\n"), "200", false},
    {"trailers that may not be", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 5\r\nAuthorization: x\r\n\r\n" "GET /missing HTTP/1.1\r\n" H "\r\n"), "200 404", false},
    {"trailer, fold", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n"), "400", true},
    {"trailer, blank first", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n X: a\r\n\r\n"), "400", true},
    {"trailer, no colon", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nXa\r\n\r\n"), "400", true},
    {"trailer, no name", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n: a\r\n\r\n"), "400", true},
    {"trailer, blank before colon", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX : a\r\n\r\n"), "400", true},
    {"trailer, bare LF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\nY: b\r\n\r\n"), "400", true},
    {"trailer, bare CR", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\rb\r\n\r\n"), "400", true},
    {"trailer, NUL", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\0b\r\n\r\n"), "400", true},
    {"trailer, control", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\x01\r\n\r\n"), "400", true},
    {"trailer, DEL", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\x7f\r\n\r\n"), "400", true},
    {"line, RTSP", SPAN("GET / RTSP/1.0\r\n" H "\r\n"), "400", true},
    {"line, RTSP 1.1", SPAN("GET / RTSP/1.1\r\n" H "\r\n"), "400", true},
    {"line, RTSP method", SPAN("DESCRIBE / RTSP/1.0\r\n" H "\r\n"), "400", true},
    {"line, ICE", SPAN("SOURCE / ICE/1.0\r\n" H "\r\n"), "400", true},
    {"line, other protocol", SPAN("GET / HTTQ/1.1\r\n" H "\r\n"), "400", true},
    {"line, version 1.2", SPAN("GET / HTTP/1.2\r\n" H "\r\n"), "505", true},
    {"line, version 3.0", SPAN("GET / HTTP/3.0\r\n" H "\r\n"), "505", true},
    {"line, version 0.9", SPAN("GET / HTTP/0.9\r\n" H "\r\n"), "400", true},
    {"line, version 1.10", SPAN("GET / HTTP/1.10\r\n" H "\r\n"), "400", true},
    {"line, version 1,1", SPAN("GET / HTTP/1,1\r\n" H "\r\n"), "400", true},
    {"line, two blanks", SPAN("GET  / HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, two blanks later", SPAN("GET /  HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, blank in target", SPAN("GET /a b HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, blank at the end", SPAN("GET / HTTP/1.1 \r\n" H "\r\n"), "400", true},
    {"line, blank first", SPAN(" GET / HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, tab for a blank", SPAN("GET\t/ HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, tab later", SPAN("GET /\tHTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, fragment", SPAN("GET /#a HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, 8 bits in target", SPAN("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, no target", SPAN("GET HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, target alone", SPAN("GET a HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, absolute, no host", SPAN("GET http:///a HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, absolute, user", SPAN("GET http://u@a/ HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, absolute, bad host", SPAN("GET http://a<b/ HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, absolute, other scheme", SPAN("GET ftp://a/ HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, scheme in a query", SPAN("GET a?http://b/ HTTP/1.1\r\n" H "\r\n"), "400", true},
    {"line, absolute, upper", SPAN("GET HTTP://A/missing HTTP/1.1\r\n" H "\r\n"), "404", false},
    {"line, absolute, https", SPAN("GET https://a:1/missing HTTP/1.1\r\n" H "\r\n"), "404", false},
    {"line, absolute, bare", SPAN("GET http://a HTTP/1.1\r\n" H "\r\n"), "200", false},
    {"line, absolute, query", SPAN("GET http://a?b HTTP/1.1\r\n" H "\r\n"), "200", false},
    {"line, absolute, IPv6", SPAN("GET http://[::1]:4318/ HTTP/1.1\r\n" H "\r\n"), "200", false},
    {"line, scheme in a query", SPAN("GET /?http://b/ HTTP/1.1\r\n" H "\r\n"), "200", false},
    {"tab, length", SPAN(POST "Content-Length:\t3\t\r\n\r\nabc"), "200", false},
    {"tab, length, many", SPAN(POST "Content-Length: \t 3 \t\r\n\r\nabc"), "200", false},
    {"tab, transfer coding", SPAN(POST "Transfer-Encoding:\tchunked\t\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "200", false},
    {"tab, connection", SPAN("GET / HTTP/1.1\r\n" H "Connection:\tclose\t\r\n\r\n"), "200", true},
    {"tab, in a value", SPAN("GET / HTTP/1.1\r\n" H "X: a\tb\r\n\r\n"), "200", false},
    {"tab, before colon", SPAN("GET / HTTP/1.1\r\n" H "X\t: a\r\n\r\n"), "400", true},
    {"tab, in a length", SPAN(POST "Content-Length: 3\t3\r\n\r\nabc"), "400", true},
    {"tab, in a coding", SPAN(POST "Transfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n"), "400", true},
    {"host, two ports", SPAN("GET / HTTP/1.1\r\nHost: a:1:2x\r\n\r\n"), "400", true},
    {"host, port of letters", SPAN("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"), "400", true},
    {"host, only a port", SPAN("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), "400", true},
    {"host, open bracket", SPAN("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), "400", true},
};
/* clang-format on */

static void check_row(size_t row, struct rig *r, const char *how)
{
    char text[256];
    statuses(r, text);
    assert_row(strcmp(text, table[row].answers) == 0, "%s (%s): answers '%s'", table[row].name, how,
               text);
    assert_row(rig_over(r) == table[row].over, "%s (%s): over", table[row].name, how);
    assert_row(http1_ops.is_idle(r->session), "%s (%s): idle", table[row].name, how);
}

static void answers_as_the_table_says(void **state)
{
    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(table); row++) {
        struct span in = table[row].in;
        for (size_t cut = 0; cut <= in.len; cut++) {
            struct rig r;
            rig_open(&r);
            rig_feed(&r, span_of(in.base, cut));
            rig_feed(&r, span_skip(in, cut));
            check_row(row, &r, "cut in two");
            rig_close(&r);
        }
        struct rig r;
        rig_open(&r);
        for (size_t i = 0; i < in.len; i++)
            assert_int_equal(rig_feed(&r, span_of(in.base + i, 1)), 1);
        check_row(row, &r, "byte by byte");
        rig_close(&r);
    }
}

static void an_answer_is_written_whole(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_feed(&r, SPAN(POST "Content-Length: 3\r\n\r\nabc"));
    struct span want = SPAN("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                            "content-type: text/plain\r\ncontent-length: 3\r\n\r\nabc");
    assert_true(span_eq(buf_span(&r.out), want));
    buf_clear(&r.out);
    rig_feed(&r, SPAN("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx"));
    want = SPAN("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                "content-type: text/plain\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n");
    assert_true(span_eq(buf_span(&r.out), want));
    rig_close(&r);
}

static void expect_continue(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_feed(&r, SPAN(POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"));
    assert_true(span_eq(buf_span(&r.out), SPAN("HTTP/1.1 100 Continue\r\n\r\n")));
    rig_feed(&r, SPAN("abc"));
    char text[256];
    assert_string_equal(statuses(&r, text), "100 200");
    buf_clear(&r.out);
    /* refused at the head: no invitation to send */
    rig_feed(&r, SPAN("POST /missing HTTP/1.1\r\n" H
                      "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"));
    assert_string_equal(statuses(&r, text), "404");
    rig_close(&r);

    rig_open(&r);
    rig_feed(&r, SPAN(POST "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"));
    assert_string_equal(statuses(&r, text), "413");
    assert_true(rig_over(&r));
    rig_close(&r);
}

static void a_late_answer_stops_reading(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    struct span in = SPAN("POST /hold HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx"
                          "GET /missing HTTP/1.1\r\n" H "\r\n");
    size_t used = rig_feed(&r, in);
    assert_true(used < in.len);
    assert_int_equal(rig_feed(&r, span_skip(in, used)), 0);
    assert_int_equal(r.out.len, 0);
    assert_false(http1_ops.is_idle(r.session));
    probe_release(&r.probe);
    assert_int_equal(r.wakes, 1);
    rig_feed(&r, span_skip(in, used));
    char text[256];
    assert_string_equal(statuses(&r, text), "200 404");
    rig_close(&r);
}

static void a_thousand_pipelined_are_bounded(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    struct buf in = {0};
    for (int i = 0; i < 5000; i++)
        buf_append(&in, SPAN("GET / HTTP/1.1\r\n" H "\r\n"));
    size_t at = 0;
    while (at < in.len) {
        size_t used = rig_feed(&r, span_skip(buf_span(&in), at));
        assert_true(used > 0);
        assert_true(r.out.len < HTTP_OUT_HIGH_BYTES + 1024);
        at += used;
        buf_clear(&r.out); /* the peer read it all */
    }
    assert_int_equal(r.probe.requests, 5000);
    buf_done(&in);
    rig_close(&r);
}

static void heads_are_bounded(void **state)
{
    (void)state;
    char text[256];
    struct buf in = {0};
    struct rig r;

    for (int i = 0; i < 5; i++) {
        static const char *const want[] = {"431", "414", "431", "431", "200"};
        buf_clear(&in);
        if (i == 0) { /* one long value that nobody reads */
            buf_append_str(&in, "GET / HTTP/1.1\r\n" H "X: ");
            for (int n = 0; n < 20000; n++)
                buf_append_byte(&in, 'a');
        } else if (i == 1) {
            buf_append_str(&in, "GET /");
            for (int n = 0; n < 9000; n++)
                buf_append_byte(&in, 'a');
        } else if (i == 2) {
            buf_append_str(&in, "GET / HTTP/1.1\r\n" H);
            for (int n = 0; n < 101; n++)
                buf_append_str(&in, "a: b\r\n");
            buf_append_str(&in, "\r\n");
        } else if (i == 3) { /* white space is counted too */
            for (int n = 0; n < 20000; n++)
                buf_append_str(&in, "\r\n");
        } else { /* RFC 9112 3: 8,000 bytes of request line must work */
            buf_append_str(&in, "GET /");
            for (int n = 0; n < 7985; n++)
                buf_append_byte(&in, 'a');
            buf_append_str(&in, " HTTP/1.1\r\n" H "\r\n");
        }
        rig_open(&r);
        for (size_t at = 0; at < in.len; at += 100)
            rig_feed(&r, span_of(in.base + at, in.len - at < 100 ? in.len - at : 100));
        assert_row(strcmp(statuses(&r, text), want[i]) == 0, "%d: %s", i, text);
        rig_close(&r);
    }
    buf_done(&in);
}

static void chunk_framing_is_bounded(void **state)
{
    (void)state;
    char text[256];
    for (int i = 0; i < 4; i++) {
        static const char *const want[] = {"400", "400", "200", "400"};
        struct rig r;
        rig_open(&r);
        rig_feed(&r, SPAN(POST "Transfer-Encoding: chunked\r\n\r\n"));
        struct buf in = {0};
        if (i == 0) { /* extensions */
            for (int n = 0; n < 2000; n++)
                buf_append_str(&in, "1;abcdefgh=ijklm\r\nx\r\n");
        } else if (i == 1) { /* trailers */
            buf_append_str(&in, "0\r\n");
            for (int n = 0; n < 1000; n++)
                buf_append_str(&in, "abcdefg: hijklmnop\r\n");
        } else if (i == 2) { /* chunks of one byte are silly but legal */
            for (int n = 0; n < 100000; n++)
                buf_append_str(&in, "1\r\nx\r\n");
        } else { /* leading zeros of a chunk size for ever */
            for (int n = 0; n < 30000; n++)
                buf_append_str(&in, "0");
        }
        buf_append_str(&in, "\r\n0\r\n\r\n" + (i == 2 ? 2 : 0));
        rig_feed(&r, buf_span(&in));
        assert_row(strcmp(statuses(&r, text), want[i]) == 0, "%d: %s", i, text);
        buf_done(&in);
        rig_close(&r);
    }
}

static void a_body_is_lent_in_place(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_feed(&r, SPAN(POST "Content-Length: 100000\r\n\r\nab"));
    size_t len = 0, total = 2;
    while (total < 100000) {
        uint8_t *at = http1_ops.lend(r.session, &len);
        static uint8_t other[100000];
        if (at == NULL)
            at = other, len = 100000 - total;
        assert_true(len <= 100000 - total);
        size_t n = len > 30000 ? 30000 : len;
        memset(at, 'c', n);
        assert_int_equal(rig_feed(&r, span_of(at, n)), n);
        total += n;
    }
    assert_int_equal(r.probe.largest_body, 100000);
    assert_int_equal(r.probe.prefixes, 1);
    assert_int_equal(r.out.base[r.out.len - 1], 'c');
    assert_true(r.probe.budget.peak < 120000);
    rig_close(&r);
}

static void the_budget_refuses_before_reading(void **state)
{
    (void)state;
    char text[256];
    struct rig r;
    rig_open(&r);
    r.probe.budget.limit = 50000;
    rig_feed(&r, SPAN(POST "Content-Length: 100000\r\n\r\n"));
    assert_string_equal(statuses(&r, text), "413"); /* it can never fit */
    assert_int_equal(r.probe.last_err, ERR_TOO_BIG);
    rig_close(&r);

    rig_open(&r);
    r.probe.budget.limit = 120000;
    assert_int_equal(budget_take(&r.probe.budget, 100000), 0);
    rig_feed(&r, SPAN(POST "Content-Length: 100000\r\n\r\n"));
    budget_give(&r.probe.budget, 100000);
    assert_string_equal(statuses(&r, text), "503");
    assert_int_equal(r.probe.last_err, ERR_FULL);
    assert_false(rig_over(&r)); /* little enough to throw away */
    static uint8_t body[100000];
    rig_feed(&r, span_of(body, sizeof body));
    rig_feed(&r, SPAN("GET / HTTP/1.1\r\n" H "\r\n"));
    assert_string_equal(statuses(&r, text), "503 200");
    rig_close(&r);

    rig_open(&r); /* chunked: only when it has grown too far */
    r.probe.service.max_body_bytes = 10;
    rig_feed(&r, SPAN(POST "Transfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n8\r\n01234567\r\n"));
    assert_string_equal(statuses(&r, text), "413");
    assert_true(rig_over(&r));
    rig_close(&r);
}

static void deadlines(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct {
        const char *name;
        struct span in;
        uint64_t at_ms, beyond_ms; /* alive at the first, over at the second */
        const char *answers;
        enum http_fault fault;
    } rows[] = {
        {"idle", SPAN(""), 120000, 120001, "", HTTP_FAULT_COUNT},
        {"head", SPAN("GET / HT"), 10000, 10001, "408", HTTP_FAULT_TIMEOUT},
        {"body", SPAN(POST "Content-Length: 9\r\n\r\n"), 10000, 10100, "408", HTTP_FAULT_TIMEOUT},
        {"rest", SPAN("POST /missing HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\n"), 10000, 10100, "404", HTTP_FAULT_TIMEOUT},
    };
    /* clang-format on */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        char text[256];
        rig_open(&r);
        rig_feed(&r, rows[i].in);
        clock_fake_advance(&r.probe.clock, rows[i].at_ms);
        http1_ops.tick(r.session);
        assert_row(!rig_over(&r), "%s: too early", rows[i].name);
        clock_fake_advance(&r.probe.clock, rows[i].beyond_ms - rows[i].at_ms);
        http1_ops.tick(r.session);
        assert_row(rig_over(&r), "%s: alive", rows[i].name);
        assert_string_equal(statuses(&r, text), rows[i].answers);
        if (rows[i].fault != HTTP_FAULT_COUNT)
            assert_int_equal(r.probe.service.faults[rows[i].fault].value, 1);
        rig_close(&r);
    }

    struct rig r; /* 600 bytes a second are slow, but not a slow-loris */
    rig_open(&r);
    rig_feed(&r, SPAN(POST "Content-Length: 60001\r\n\r\n"));
    for (int second = 0; second < 100; second++) {
        static uint8_t bytes[600];
        rig_feed(&r, span_of(bytes, sizeof bytes));
        clock_fake_advance(&r.probe.clock, 1000);
        http1_ops.tick(r.session);
    }
    assert_false(rig_over(&r));
    rig_feed(&r, SPAN("x"));
    assert_int_equal(r.probe.requests, 1);
    rig_close(&r);
}

static void a_peer_that_leaves(void **state)
{
    (void)state;
    char text[256];
    struct rig r;
    rig_open(&r); /* inside a body: gone() */
    rig_feed(&r, SPAN(POST "Content-Length: 9\r\n\r\nabc"));
    http1_ops.eof(r.session);
    assert_true(rig_over(&r));
    assert_int_equal(r.probe.requests, 0);
    http1_ops.free(r.session);
    assert_int_equal(r.probe.gones, 1);
    assert_int_equal(r.probe.service.faults[HTTP_FAULT_ABORTED].value, 1);
    assert_int_equal(r.probe.budget.used, 0);
    buf_done(&r.out);

    rig_open(&r); /* after its request: the answer is still made */
    rig_feed(&r, SPAN("GET /hold HTTP/1.1\r\n" H "\r\n"));
    http1_ops.eof(r.session);
    assert_false(rig_over(&r));
    probe_release(&r.probe);
    assert_true(rig_over(&r));
    assert_string_equal(statuses(&r, text), "200");
    rig_close(&r);
}

static void draining_says_close(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.probe.service.draining = true;
    http1_ops.tick(r.session);
    assert_false(rig_over(&r)); /* the application's last batch may be on its way */
    rig_feed(&r, SPAN("GET / HTTP/1.1\r\n" H "\r\n"));
    assert_true(rig_over(&r));
    assert_non_null(memmem(r.out.base, r.out.len, "connection: close", 17));
    rig_close(&r);
}

static void an_answer_that_stays_open(void **state)
{
    (void)state;
    static const struct http_response head = {
        .status = 200, .body = {(const uint8_t *)"first", 5}, .close = true};
    struct rig r;
    rig_open(&r);
    rig_feed(&r, SPAN("GET /hold HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(http_stream(r.probe.held, &head), 0);
    assert_int_equal(r.wakes, 1);
    assert_non_null(memmem(r.out.base, r.out.len, "transfer-encoding: chunked\r\n", 28));
    assert_non_null(memmem(r.out.base, r.out.len, "\r\n\r\n5\r\nfirst\r\n", 14));
    buf_clear(&r.out);
    assert_int_equal(http_stream_write(r.probe.held, SPAN("second piece")), 0);
    assert_int_equal(http_stream_write(r.probe.held, SPAN("")), 0); /* not the end */
    assert_true(span_eq(buf_span(&r.out), SPAN("c\r\nsecond piece\r\n")));
    const struct span more = SPAN("GET / HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(rig_feed(&r, more),
                     more.len); /* thrown away: the connection ends with this one */
    assert_true(span_eq(buf_span(&r.out), SPAN("c\r\nsecond piece\r\n")));
    /* A peer that does not read: whole pieces up to the bound, then none. */
    static uint8_t piece[1000];
    unsigned pieces = 0;
    while (http_stream_write(r.probe.held, span_of(piece, sizeof piece)) == 0)
        pieces++;
    assert_in_range(pieces, HTTP_STREAM_BYTES / 1100, HTTP_STREAM_BYTES / 1000);
    assert_true(r.out.len <= HTTP_STREAM_BYTES);
    assert_int_equal(http_stream_write(r.probe.held, span_of(piece, sizeof piece)), ERR_FULL);
    buf_clear(&r.out);
    assert_int_equal(http_stream_write(r.probe.held, SPAN("x")), 0);
    http_stream_end(r.probe.held);
    assert_true(span_eq(buf_span(&r.out), SPAN("1\r\nx\r\n0\r\n\r\n")));
    assert_true(rig_over(&r));
    rig_close(&r);
    assert_int_equal(r.probe.gones, 0);

    rig_open(&r); /* the peer leaves */
    rig_feed(&r, SPAN("GET /hold HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(http_stream(r.probe.held, &head), 0);
    http1_ops.eof(r.session);
    assert_true(rig_over(&r));
    rig_close(&r);
    assert_int_equal(r.probe.gones, 1);
    assert_int_equal(r.probe.service.faults[HTTP_FAULT_ABORTED].value, 0);

    rig_open(&r); /* no body for HEAD */
    rig_feed(&r, SPAN("HEAD /hold HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(http_stream(r.probe.held, &head), ERR_UNSUPPORTED);
    probe_release(&r.probe);
    rig_close(&r);
}

static size_t count_of(const struct rig *r, const char *text)
{
    size_t n = 0;
    for (size_t i = 0; i + strlen(text) <= r->out.len; i++)
        n += memcmp(r->out.base + i, text, strlen(text)) == 0;
    return n;
}

/* What frames an open answer, and whether the connection goes on behind it. */
static void an_open_answer_of_each_form(void **state)
{
    (void)state;
    static const uint64_t eleven = 11, twelve = 12;
    static const struct {
        const char *version, *fields, *has, *ends_with;
        const uint64_t *length;
        bool close, is_aborted, is_over;
    } rows[] = {
        {"1.1", "", "content-length: 11\r\n", "hello world", &eleven, false, false, false},
        {"1.1", "", "transfer-encoding: chunked\r\n", "\r\n0\r\n\r\n", NULL, false, false, false},
        {"1.1", "", "connection: close\r\n", "\r\n0\r\n\r\n", NULL, true, false, true},
        {"1.1", "Connection: close\r\n", "connection: close\r\n", "world", &eleven, false, false,
         true},
        {"1.0", "Connection: keep-alive\r\n", "connection: keep-alive\r\n", "world", &eleven, false,
         false, false},
        {"1.0", "Connection: keep-alive\r\n", "connection: close\r\n", "\r\n\r\nhello world", NULL,
         false, false, true},
        /* Broken off: without the last chunk, or short of its length. */
        {"1.1", "", "transfer-encoding: chunked\r\n", " world\r\n", NULL, false, true, true},
        {"1.1", "", "content-length: 12\r\n", "world", &twelve, false, false, true},
        {"1.1", "", "content-length: 12\r\n", "world", &twelve, false, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        char text[200];
        rig_open(&r);
        snprintf(text, sizeof text, "GET /hold HTTP/%s\r\n%s%s\r\n", rows[i].version, H,
                 rows[i].fields);
        rig_feed(&r, span_str(text));
        const struct http_response head = {
            .status = 200, .body = SPAN("hello"), .length = rows[i].length, .close = rows[i].close};
        assert_int_equal(http_stream(r.probe.held, &head), 0);
        assert_int_equal(http_stream_write(r.probe.held, SPAN(" world")), 0);
        if (rows[i].is_aborted)
            http_stream_abort(r.probe.held);
        else
            http_stream_end(r.probe.held);
        assert_row(count_of(&r, rows[i].has) == 1, "row %zu", i);
        assert_row(r.out.len >= strlen(rows[i].ends_with) &&
                       memcmp(r.out.base + r.out.len - strlen(rows[i].ends_with), rows[i].ends_with,
                              strlen(rows[i].ends_with)) == 0,
                   "row %zu", i);
        assert_row(rig_over(&r) == rows[i].is_over, "row %zu", i);
        buf_clear(&r.out);
        rig_feed(&r, SPAN("GET / HTTP/1.1\r\n" H "\r\n"));
        assert_row(count_of(&r, "HTTP/1.1 200") == !rows[i].is_over, "row %zu", i);
        rig_close(&r);
        assert_int_equal(r.probe.gones, 0);
    }
}

/* The next request waits until an open answer has ended; then it is there. */
static void requests_behind_an_open_answer_wait(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_feed(&r, SPAN("GET /hold HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(http_stream(r.probe.held, &(struct http_response){.status = 200}), 0);
    assert_int_equal(rig_feed(&r, SPAN("GET / HTTP/1.1\r\n" H "\r\n")), 0);
    http_stream_end(r.probe.held);
    rig_feed(&r, SPAN("GET / HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(count_of(&r, "HTTP/1.1 200"), 2);
    rig_close(&r);
}

static void an_open_answer_says_when_it_has_room(void **state)
{
    (void)state;
    static uint8_t piece[1000];
    struct rig r;
    rig_open(&r);
    rig_feed(&r, SPAN("GET /hold HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(http_stream(r.probe.held, &(struct http_response){.status = 200}), 0);
    while (http_stream_write(r.probe.held, span_of(piece, sizeof piece)) == 0)
        ;
    rig_feed(&r, SPAN(""));
    assert_int_equal(r.probe.drains, 0); /* nothing has left yet */
    buf_clear(&r.out);
    rig_feed(&r, SPAN(""));
    rig_feed(&r, SPAN(""));
    assert_int_equal(r.probe.drains, 1);
    assert_int_equal(http_stream_write(r.probe.held, span_of(piece, sizeof piece)), 0);
    rig_close(&r);
}

/* A piped body stops at HTTP_PIPE_BYTES, whatever its framing, and goes on when some is taken. */
static void a_piped_body_waits_in_its_window(void **state)
{
    (void)state;
    enum { BYTES = 300000 };
    static uint8_t body[BYTES + 64];
    for (int chunked = 0; chunked <= 1; chunked++) {
        struct rig r;
        char head[128];
        rig_open(&r);
        r.probe.service.max_body_bytes = 1000; /* is of other bodies */
        snprintf(head, sizeof head, "POST /pipe HTTP/1.1\r\n" H "%s%d\r\n\r\n",
                 chunked ? "Transfer-Encoding: chunked\r\nX-Mine: " : "Content-Length: ", BYTES);
        rig_feed(&r, span_str(head));
        size_t at = 0, len = BYTES;
        if (chunked) { /* one chunk of 0x493e0 */
            at = (size_t)sprintf((char *)body, "%x\r\n", BYTES);
            memset(body + at, 'x', BYTES);
            memcpy(body + at + BYTES, "\r\n0\r\n\r\n", 7);
            len = at + BYTES + 7;
        } else {
            memset(body, 'x', BYTES);
        }
        struct span rest = span_of(body, len);
        size_t taken = 0;
        rest = span_skip(rest, rig_feed(&r, rest));
        assert_int_equal(r.probe.piped->body.len, HTTP_PIPE_BYTES);
        assert_int_equal(rig_feed(&r, rest), 0); /* full: nothing is taken in */
        /* That is our own doing, and no slow client. */
        for (int s = 0; s < 60; s++) {
            clock_fake_advance(&r.probe.clock, 1000);
            http1_ops.tick(r.session);
        }
        assert_int_equal(r.probe.refusals, 0);
        while (r.probe.requests == 0 || r.probe.piped->body.len > 0) {
            size_t n = r.probe.piped->body.len < 10000 ? r.probe.piped->body.len : 10000;
            http_take(r.probe.piped, n);
            taken += n;
            rest = span_skip(rest, rig_feed(&r, rest));
            assert_true(r.probe.piped->body.len <= HTTP_PIPE_BYTES);
        }
        assert_int_equal(taken, BYTES);
        assert_int_equal(rest.len, 0);
        assert_true(r.probe.budget.peak <= 4 * HTTP_PIPE_BYTES);
        http_reply(r.probe.piped, &(struct http_response){.status = 204});
        rig_feed(&r, SPAN("GET / HTTP/1.1\r\n" H "\r\n"));
        assert_int_equal(count_of(&r, "HTTP/1.1 20"), 2);
        rig_close(&r);
        assert_int_equal(r.probe.budget.used, 0);
    }
}

/* The peer's silence, its end, and a want of room inside a piped body: words while there are any,
 * else the end of the connection. */
static void a_piped_body_that_breaks_off(void **state)
{
    (void)state;
    static const struct {
        bool is_answering;
        enum { SILENT, LEFT, EVICTED } how;
        int refusals, gones;
    } rows[] = {
        {false, SILENT, 1, 0}, {false, LEFT, 0, 1}, {false, EVICTED, 1, 0},
        {true, SILENT, 0, 1},  {true, LEFT, 0, 1},  {true, EVICTED, 0, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        rig_open(&r);
        rig_feed(&r, SPAN("POST /pipe HTTP/1.1\r\n" H "Content-Length: 100\r\n\r\nabc"));
        if (rows[i].is_answering)
            assert_int_equal(http_stream(r.probe.piped, &(struct http_response){.status = 200}), 0);
        struct http_exchange *x = r.probe.piped;
        if (rows[i].how == LEFT) {
            http1_ops.eof(r.session);
        } else if (rows[i].how == EVICTED) {
            http1_ops.evict(r.session, x);
        } else {
            http_take(x, 3);
            for (int s = 0; s < 12; s++) {
                clock_fake_advance(&r.probe.clock, 1000);
                http1_ops.tick(r.session);
            }
        }
        assert_row(rig_over(&r), "row %zu", i);
        assert_row(r.probe.refusals == rows[i].refusals, "row %zu", i);
        rig_close(&r);
        assert_row(r.probe.gones == rows[i].gones, "row %zu", i);
        assert_int_equal(r.probe.budget.used, 0);
    }
}

static void header_values_cannot_split_the_answer(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_feed(&r, SPAN("GET /hold HTTP/1.1\r\n" H "\r\n"));
    const struct http_header headers[] = {{SPAN("x-text"), SPAN("a\r\nb: c")}};
    http_reply(r.probe.held,
               &(struct http_response){.status = 200, .headers = headers, .header_count = 1});
    assert_non_null(memmem(r.out.base, r.out.len, "x-text: a??b: c\r\n", 17));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_as_the_table_says),
        cmocka_unit_test(an_answer_is_written_whole),
        cmocka_unit_test(expect_continue),
        cmocka_unit_test(a_late_answer_stops_reading),
        cmocka_unit_test(a_thousand_pipelined_are_bounded),
        cmocka_unit_test(heads_are_bounded),
        cmocka_unit_test(chunk_framing_is_bounded),
        cmocka_unit_test(a_body_is_lent_in_place),
        cmocka_unit_test(the_budget_refuses_before_reading),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(a_peer_that_leaves),
        cmocka_unit_test(draining_says_close),
        cmocka_unit_test(header_values_cannot_split_the_answer),
        cmocka_unit_test(an_answer_that_stays_open),
        cmocka_unit_test(an_open_answer_of_each_form),
        cmocka_unit_test(requests_behind_an_open_answer_wait),
        cmocka_unit_test(an_open_answer_says_when_it_has_room),
        cmocka_unit_test(a_piped_body_waits_in_its_window),
        cmocka_unit_test(a_piped_body_that_breaks_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
