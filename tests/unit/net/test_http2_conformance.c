/*
 * RFC 9113 and RFC 7541 as rows: frames by hand after the preface, and what may come back. The
 * sections are the RFCs'. Every row is also fed byte by byte. `--rows` prints them.
 */
#include "unit/test.h"

#include <nghttp2/nghttp2.h>

#include "net/http2.h"
#include "unit/net/probe.h"

struct frame {
    uint8_t type, flags;
    uint32_t id;
    struct span payload;
    size_t zeros; /* behind it */
};

enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
#define ES 0x1 /* END_STREAM, or ACK */
#define EH 0x4
#define PAD 0x8
#define PRIO 0x20
#define HALF (EH)
#define WHOLE (EH | ES)

#define S(text) SPAN(text)
#define NONE S("")
/* GET or POST, http, /, authority a */
#define GET \
    "\x82\x86\x84\x41\x01" \
    "a"
#define POST \
    "\x83\x86\x84\x41\x01" \
    "a"
#define HOLD \
    "\x83\x86\x44\x05/hold\x41\x01" \
    "a"
#define PINGS \
    { \
        PING, 0, 0, S("abcdefgh") \
    }
/* A literal field without indexing. */
#define FIELD(n, name, v, value) "\0" n name v value

#define FRAMES_MAX 6

/* want: alternatives between blanks. G: GOAWAY, R: RST_STREAM, of that code; 200: an answer;
 * ack: of a PING; over: the connection ends. */
/* clang-format off */
static const struct row {
    const char *name;
    struct frame frames[FRAMES_MAX];
    const char *want;
} rows[] = {
    {"3.4 a request",                     {{HEADERS, WHOLE, 1, S(GET)}}, "200"},
    {"4.1 an unknown type",               {{0xfe, 0, 0, S("x")}, PINGS}, "ack"},
    {"4.1 unknown flags",                 {{PING, 0x16, 0, S("abcdefgh")}}, "ack"},
    {"4.1 the reserved bit",              {{PING, 0, 0x80000000, S("abcdefgh")}}, "ack"},
    {"4.2 DATA of 2^14",                  {{HEADERS, HALF, 1, S(POST)}, {DATA, ES, 1, NONE, 16384}}, "200"},
    {"4.2 DATA of more",                  {{HEADERS, HALF, 1, S(POST)}, {DATA, ES, 1, NONE, 16385}}, "G6 R6"},
    {"4.2 HEADERS of more",               {{HEADERS, WHOLE, 1, S(GET), 16385}}, "G6"},
    {"4.3 no HPACK",                      {{HEADERS, WHOLE, 1, S("\x40")}}, "G9"},
    {"4.3 PRIORITY inside a block",       {{HEADERS, 0, 1, S(GET)}, {PRIORITY, 0, 1, S("\0\0\0\0\xff")}}, "G1"},
    {"4.3 HEADERS inside a block",        {{HEADERS, 0, 1, S(GET)}, {HEADERS, WHOLE, 3, S(GET)}}, "G1"},
    {"4.3 DATA inside a block",           {{HEADERS, 0, 1, S(GET)}, {DATA, ES, 1, S("x")}}, "G1"},
    {"5.5 an unknown type inside a block", {{HEADERS, 0, 1, S(GET)}, {0xfe, 0, 0, S("x")}}, "G1"},

    {"5.1 idle: DATA",                    {{DATA, ES, 1, S("x")}}, "G1"},
    {"5.1 idle: RST_STREAM",              {{RST, 0, 1, S("\0\0\0\x08")}}, "G1"},
    {"5.1 idle: WINDOW_UPDATE",           {{WINDOW, 0, 1, S("\0\0\0\x64")}}, "G1"},
    {"5.1 idle: CONTINUATION",            {{CONTINUATION, EH, 1, S(GET)}}, "G1"},
    {"5.1 half closed: DATA",             {{HEADERS, WHOLE, 1, S(HOLD)}, {DATA, ES, 1, S("x")}}, "G5 R5"},
    {"5.1 half closed: HEADERS",          {{HEADERS, WHOLE, 1, S(HOLD)}, {HEADERS, WHOLE, 1, S(GET)}}, "G5 R5"},
    {"5.1 half closed: CONTINUATION",     {{HEADERS, WHOLE, 1, S(HOLD)}, {CONTINUATION, EH, 1, S(GET)}}, "G5 G1"},
    {"5.1 reset: DATA",                   {{HEADERS, HALF, 1, S(HOLD)}, {RST, 0, 1, S("\0\0\0\x08")}, {DATA, ES, 1, S("x")}}, "G5 R5"},
    {"5.1 reset: HEADERS",                {{HEADERS, HALF, 1, S(HOLD)}, {RST, 0, 1, S("\0\0\0\x08")}, {HEADERS, WHOLE, 1, S(GET)}}, "G5 R5"},
    {"5.1 reset: CONTINUATION",           {{HEADERS, HALF, 1, S(HOLD)}, {RST, 0, 1, S("\0\0\0\x08")}, {CONTINUATION, EH, 1, S(GET)}}, "G5 G1"},
    {"5.1 closed: DATA",                  {{HEADERS, WHOLE, 1, S(GET)}, {DATA, ES, 1, S("x")}}, "G5 R5"},
    {"5.1 closed: HEADERS",               {{HEADERS, WHOLE, 1, S(GET)}, {HEADERS, WHOLE, 1, S(GET)}}, "G5"},
    {"5.1 closed: CONTINUATION",          {{HEADERS, WHOLE, 1, S(GET)}, {CONTINUATION, EH, 1, S(GET)}}, "G5 G1"},
    {"5.1 closed: PRIORITY",              {{HEADERS, WHOLE, 1, S(GET)}, {PRIORITY, 0, 1, S("\0\0\0\0\x10")}, PINGS}, "ack"},
    {"5.1 closed: WINDOW_UPDATE",         {{HEADERS, WHOLE, 1, S(GET)}, {WINDOW, 0, 1, S("\0\0\0\x10")}, PINGS}, "ack"},
    {"5.1 closed: RST_STREAM",            {{HEADERS, WHOLE, 1, S(GET)}, {RST, 0, 1, S("\0\0\0\x08")}, PINGS}, "ack"},
    {"5.1.1 an even id",                  {{HEADERS, WHOLE, 2, S(GET)}}, "G1"},
    {"5.1.1 an id below an earlier one",  {{HEADERS, WHOLE, 5, S(GET)}, {HEADERS, WHOLE, 3, S(GET)}}, "G1"},
    {"5.1.1 the same, held",              {{HEADERS, WHOLE, 5, S(HOLD)}, {HEADERS, WHOLE, 3, S(GET)}}, "G1"},
    {"5.1.1 DATA on one that was skipped", {{HEADERS, WHOLE, 5, S(GET)}, {DATA, ES, 3, S("x")}, PINGS}, "G1 G5 R5 ack"}, /* counted */
    {"9110 10.1.1 an unknown expectation", {{HEADERS, HALF, 1, S(POST FIELD("\x06", "expect", "\x05", "magic"))}}, "other"},
    {"9110 10.1.1 100-continue",          {{HEADERS, HALF, 1, S(POST FIELD("\x06", "expect", "\x0c", "100-continue"))}, {DATA, ES, 1, S("x")}}, "200"},
    {"5.1.1 the last id",                 {{HEADERS, WHOLE, 0x7fffffff, S(GET)}, PINGS}, "ack"},
    {"5.3.1 HEADERS that depend on themselves", {{HEADERS, WHOLE | PRIO, 1, S("\0\0\0\1\xff" GET)}}, "G1 R1"},
    {"5.3.1 PRIORITY on itself",          {{PRIORITY, 0, 1, S("\0\0\0\1\xff")}}, "G1 R1"},
    {"5.4.1 a PING of 6",                 {{PING, 0, 0, S("abcdef")}}, "G6"},

    {"6.1 DATA on 0",                     {{DATA, ES, 0, S("x")}}, "G1"},
    {"6.1 padding as long as the frame",  {{HEADERS, HALF, 1, S(POST)}, {DATA, PAD | ES, 1, S("\x05" "abcd")}}, "G1"},
    {"6.1 padded",                        {{HEADERS, HALF, 1, S(POST)}, {DATA, PAD | ES, 1, S("\x02" "abc\0\0")}}, "200"},
    {"6.2 HEADERS on 0",                  {{HEADERS, WHOLE, 0, S(GET)}}, "G1"},
    {"6.2 padding too long",              {{HEADERS, WHOLE | PAD, 1, S("\x09" GET)}}, "G1"},
    {"6.2 padded, with priority",         {{HEADERS, WHOLE | PAD | PRIO, 1, S("\x01\0\0\0\0\x10" GET "\0")}}, "200"},
    {"6.3 PRIORITY on 0",                 {{PRIORITY, 0, 0, S("\0\0\0\0\x10")}}, "G1"},
    {"6.3 PRIORITY of 4",                 {{PRIORITY, 0, 1, S("\0\0\0\0")}}, "G6 R6"},
    {"6.4 RST_STREAM on 0",               {{RST, 0, 0, S("\0\0\0\x08")}}, "G1"},
    {"6.4 RST_STREAM of 3",               {{HEADERS, HALF, 1, S(HOLD)}, {RST, 0, 1, S("\0\0\0")}}, "G6"},
    {"6.5 ACK with a payload",            {{SETTINGS, ES, 0, S("\0\0\0\0\0\0")}}, "G6"},
    {"6.5 SETTINGS on 1",                 {{SETTINGS, 0, 1, S("\0\3\0\0\0\x64")}}, "G1"},
    {"6.5 SETTINGS of 3",                 {{SETTINGS, 0, 0, S("\0\3\0")}}, "G6"},
    {"6.5.2 ENABLE_PUSH 2",               {{SETTINGS, 0, 0, S("\0\2\0\0\0\2")}}, "G1"},
    {"6.5.2 INITIAL_WINDOW_SIZE 2^31",    {{SETTINGS, 0, 0, S("\0\4\x80\0\0\0")}}, "G3"},
    {"6.5.2 MAX_FRAME_SIZE 2^14 - 1",     {{SETTINGS, 0, 0, S("\0\5\0\0\x3f\xff")}}, "G1"},
    {"6.5.2 MAX_FRAME_SIZE 2^24",         {{SETTINGS, 0, 0, S("\0\5\1\0\0\0")}}, "G1"},
    {"6.5.2 an unknown setting",          {{SETTINGS, 0, 0, S("\0\xff\0\0\0\1")}, PINGS}, "ack"},
    {"6.6 PUSH_PROMISE",                  {{HEADERS, HALF, 1, S(HOLD)}, {PUSH, EH, 1, S("\0\0\0\2" GET)}}, "G1"},
    {"6.7 PING",                          {PINGS}, "ack"},
    {"6.7 ACK of a PING that was none",   {{PING, ES, 0, S("abcdefgh")}, {HEADERS, WHOLE, 1, S(GET)}}, "200"},
    {"6.7 PING on 1",                     {{PING, 0, 1, S("abcdefgh")}}, "G1"},
    {"6.8 GOAWAY on 1",                   {{GOAWAY, 0, 1, S("\0\0\0\0\0\0\0\0")}}, "G1"},
    {"6.8 GOAWAY of 7",                   {{GOAWAY, 0, 0, S("\0\0\0\0\0\0\0")}}, "G6"},
    {"6.8 and 7 GOAWAY of an unknown code", {{GOAWAY, 0, 0, S("\0\0\0\0\0\0\0\xff")}, PINGS}, "ack over"},
    {"6.9 WINDOW_UPDATE 0",               {{WINDOW, 0, 0, S("\0\0\0\0")}}, "G1"},
    {"6.9 WINDOW_UPDATE 0 of a stream",   {{HEADERS, HALF, 1, S(HOLD)}, {WINDOW, 0, 1, S("\0\0\0\0")}}, "G1 R1"},
    {"6.9 WINDOW_UPDATE of 3",            {{WINDOW, 0, 0, S("\0\0\1")}}, "G6"},
    {"6.9.1 beyond 2^31 - 1",             {{WINDOW, 0, 0, S("\x7f\xff\xff\xff")}, {WINDOW, 0, 0, S("\x7f\xff\xff\xff")}}, "G3"},
    {"6.9.1 the same of a stream",        {{HEADERS, HALF, 1, S(HOLD)}, {WINDOW, 0, 1, S("\x7f\xff\xff\xff")}, {WINDOW, 0, 1, S("\x7f\xff\xff\xff")}}, "R3"},
    {"6.9.2 by a setting",                {{HEADERS, HALF, 1, S(HOLD)}, {WINDOW, 0, 1, S("\x7f\xff\0\0")}, {SETTINGS, 0, 0, S("\0\4\x7f\xff\xff\xff")}}, "G3 R3"},
    /* Debian 12's nghttp2 takes the pieces of a head for CONTINUATION frames, of which it allows few. */
    {"6.10 in three pieces",              {{HEADERS, ES, 1, S("\x82\x86")}, {CONTINUATION, 0, 1, S("\x84")}, {CONTINUATION, EH, 1, S("\x41\x01" "a")}}, "200 G1"},
    {"6.10 on another stream",            {{HEADERS, ES, 1, S(GET)}, {CONTINUATION, EH, 3, S("\x84")}}, "G1"},
    {"6.10 on 0",                         {{HEADERS, ES, 1, S(GET)}, {CONTINUATION, EH, 0, S("\x84")}}, "G1"},
    {"6.10 after END_HEADERS",            {{HEADERS, HALF, 1, S(HOLD)}, {CONTINUATION, EH, 1, S("\x84")}}, "G1"},
    {"6.10 after a last one",             {{HEADERS, 0, 1, S(HOLD)}, {CONTINUATION, EH, 1, NONE}, {CONTINUATION, EH, 1, S("\x84")}}, "G1"},
    {"6.10 after DATA",                   {{HEADERS, HALF, 1, S(HOLD)}, {DATA, 0, 1, S("x")}, {CONTINUATION, EH, 1, S("\x84")}}, "G1"},
    {"7 RST_STREAM of an unknown code",   {{HEADERS, HALF, 1, S(HOLD)}, {RST, 0, 1, S("\0\0\0\xff")}, PINGS}, "ack"},

    {"8.1 trailers",                      {{HEADERS, HALF, 1, S(POST)}, {DATA, 0, 1, S("x")}, {HEADERS, WHOLE, 1, S(FIELD("\x01", "x", "\x01", "y"))}}, "200"},
    {"8.1 a second HEADERS without END_STREAM", {{HEADERS, HALF, 1, S(POST)}, {HEADERS, HALF, 1, S(FIELD("\x01", "x", "\x01", "y"))}}, "G1 R1"},
    {"8.2.1 a capital letter",            {{HEADERS, WHOLE, 1, S(GET FIELD("\x01", "X", "\x01", "y"))}}, "R1"},
    {"8.2.1 a blank in a name",           {{HEADERS, WHOLE, 1, S(GET FIELD("\x03", "x y", "\x01", "y"))}}, "R1"},
    {"8.2.1 an empty name",               {{HEADERS, WHOLE, 1, S(GET FIELD("\0", "", "\x01", "y"))}}, "R1"},
    {"8.2.1 a colon in a name",           {{HEADERS, WHOLE, 1, S(GET FIELD("\x03", "x:y", "\x01", "y"))}}, "R1"},
    {"8.2.1 CR in a value",               {{HEADERS, WHOLE, 1, S(GET FIELD("\x01", "x", "\x03", "a\rb"))}}, "R1 400"},
    {"8.2.1 LF in a value",               {{HEADERS, WHOLE, 1, S(GET FIELD("\x01", "x", "\x03", "a\nb"))}}, "R1 400"},
    {"8.2.1 NUL in a value",              {{HEADERS, WHOLE, 1, S(GET FIELD("\x01", "x", "\x03", "a\0b"))}}, "R1 400"},
    {"8.2.2 connection",                  {{HEADERS, WHOLE, 1, S(GET FIELD("\x0a", "connection", "\x05", "close"))}}, "R1"},
    {"8.2.2 transfer-encoding",           {{HEADERS, HALF, 1, S(POST FIELD("\x11", "transfer-encoding", "\x07", "chunked"))}}, "R1"},
    {"8.2.2 keep-alive",                  {{HEADERS, WHOLE, 1, S(GET FIELD("\x0a", "keep-alive", "\x01", "1"))}}, "R1"},
    {"8.2.2 upgrade",                     {{HEADERS, WHOLE, 1, S(GET FIELD("\x07", "upgrade", "\x03", "h2c"))}}, "R1"},
    {"8.2.2 te: trailers",                {{HEADERS, WHOLE, 1, S(GET FIELD("\x02", "te", "\x08", "trailers"))}}, "200"},
    {"8.2.2 te: gzip",                    {{HEADERS, WHOLE, 1, S(GET FIELD("\x02", "te", "\x04", "gzip"))}}, "R1"},
    {"8.3 an unknown pseudo-header",      {{HEADERS, WHOLE, 1, S(GET FIELD("\x02", ":x", "\x01", "y"))}}, "R1"},
    {"8.3 of an answer",                  {{HEADERS, WHOLE, 1, S("\x88" GET)}}, "R1"},
    {"8.3 in trailers",                   {{HEADERS, HALF, 1, S(POST)}, {HEADERS, WHOLE, 1, S("\x82")}}, "R1"},
    {"8.3 after others",                  {{HEADERS, WHOLE, 1, S("\x82\x86" FIELD("\x01", "x", "\x01", "y") "\x84\x41\x01" "a")}}, "R1"},
    {"8.3.1 :path empty",                 {{HEADERS, WHOLE, 1, S("\x82\x86\x04\x00\x41\x01" "a")}}, "R1"},
    {"8.3.1 no :method",                  {{HEADERS, WHOLE, 1, S("\x86\x84\x41\x01" "a")}}, "R1"},
    {"8.3.1 no :scheme",                  {{HEADERS, WHOLE, 1, S("\x82\x84\x41\x01" "a")}}, "R1"},
    {"8.3.1 no :path",                    {{HEADERS, WHOLE, 1, S("\x82\x86\x41\x01" "a")}}, "R1"},
    {"8.3.1 :method twice",               {{HEADERS, WHOLE, 1, S("\x82" GET)}}, "R1"},
    {"8.3.1 :scheme twice",               {{HEADERS, WHOLE, 1, S("\x86" GET)}}, "R1"},
    {"8.3.1 :path twice",                 {{HEADERS, WHOLE, 1, S("\x84" GET)}}, "R1"},
    {"8.3.1 :authority twice",            {{HEADERS, WHOLE, 1, S(GET "\x41\x01" "b")}}, "R1"},
    {"8.3.1 :authority and another host", {{HEADERS, WHOLE, 1, S(GET FIELD("\x04", "host", "\x01", "b"))}}, "R1 400"},
    {"8.3.1 :authority with a user",      {{HEADERS, WHOLE, 1, S("\x82\x86\x84\x41\x03" "u@a")}}, "R1 400"},
    {"8.1.1 content-length of less",      {{HEADERS, HALF, 1, S(POST FIELD("\x0e", "content-length", "\x01", "1"))}, {DATA, ES, 1, S("test")}}, "R1"},
    {"8.1.1 of more",                     {{HEADERS, HALF, 1, S(POST FIELD("\x0e", "content-length", "\x01", "9"))}, {DATA, 0, 1, S("test")}, {DATA, ES, 1, S("test")}}, "R1"},
    {"8.1.1 without DATA",                {{HEADERS, WHOLE, 1, S(POST FIELD("\x0e", "content-length", "\x01", "9"))}}, "R1"},
    {"8.1.1 twice",                       {{HEADERS, HALF, 1, S(POST FIELD("\x0e", "content-length", "\x01", "4") FIELD("\x0e", "content-length", "\x01", "4"))}, {DATA, ES, 1, S("test")}}, "R1 400"},
    {"8.1.1 no number",                   {{HEADERS, HALF, 1, S(POST FIELD("\x0e", "content-length", "\x02", "+4"))}, {DATA, ES, 1, S("test")}}, "R1 400"},
    {"8.5 CONNECT",                       {{HEADERS, WHOLE, 1, S("\x02\x07" "CONNECT\x41\x03" "a:1")}}, "R1 404 405 501 400 200"},

    {"7541 2.3.3 an index beyond the table", {{HEADERS, WHOLE, 1, S(GET "\xff\x00")}}, "G9"},
    {"7541 4.2 a size update at the end", {{HEADERS, WHOLE, 1, S(GET "\x20")}}, "G9"},
    {"7541 5.1 an integer of 2^35",       {{HEADERS, WHOLE, 1, S(GET "\xff\xff\xff\xff\xff\x7f")}}, "G9"},
    {"7541 5.2 padding of a byte",        {{HEADERS, WHOLE, 1, S(GET "\0\x01x\x82\x1f\xff")}}, "G9"},
    {"7541 5.2 padding of zeros",         {{HEADERS, WHOLE, 1, S(GET "\0\x01x\x81\x18")}}, "G9"},
    {"7541 5.2 EOS",                      {{HEADERS, WHOLE, 1, S(GET "\0\x01x\x84\xff\xff\xff\xff")}}, "G9"},
    {"7541 5.2 longer than the block",    {{HEADERS, WHOLE, 1, S(GET "\0\x01x\x7fzz")}}, "G9"},
    {"7541 6.1 index 0",                  {{HEADERS, WHOLE, 1, S(GET "\x80")}}, "G9"},
    {"7541 6.3 a table larger than ours", {{HEADERS, WHOLE, 1, S("\x3f\xe2\x1f" GET)}}, "G9"},
    {"7541 6.3 a smaller one",            {{HEADERS, WHOLE, 1, S("\x20" GET)}}, "200"},
};
/* clang-format on */

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void append_frame(struct buf *b, const struct frame *f)
{
    size_t len = f->payload.len + f->zeros;
    const uint8_t head[9] = {(uint8_t)(len >> 16),
                             (uint8_t)(len >> 8),
                             (uint8_t)len,
                             f->type,
                             f->flags,
                             (uint8_t)(f->id >> 24),
                             (uint8_t)(f->id >> 16),
                             (uint8_t)(f->id >> 8),
                             (uint8_t)f->id};
    buf_append(b, span_of(head, sizeof head));
    buf_append(b, f->payload);
    for (size_t i = 0; i < f->zeros; i++)
        buf_append_byte(b, 0);
}

/* What the server sent, as "G1 R5 200 ack". */
static void outcome(const struct buf *out, char text[256])
{
    size_t n = 0;
    text[0] = '\0';
    for (size_t at = 0; at + 9 <= out->len && n < 200;) {
        const uint8_t *f = out->base + at, *payload = f + 9;
        size_t len = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];
        if (f[3] == GOAWAY)
            n += (size_t)snprintf(text + n, 256 - n, "G%u ", payload[7]);
        if (f[3] == RST && payload[3] != NGHTTP2_NO_ERROR)
            n += (size_t)snprintf(text + n, 256 - n, "R%u ", payload[3]);
        if (f[3] == PING && (f[4] & ES))
            n += (size_t)snprintf(text + n, 256 - n, "ack ");
        if (f[3] == HEADERS && payload[0] == 0x88)
            n += (size_t)snprintf(text + n, 256 - n, "200 ");
        else if (f[3] == HEADERS)
            n += (size_t)snprintf(text + n, 256 - n, "%s ",
                                  payload[0] == 0x8c   ? "400"
                                  : payload[0] == 0x8d ? "404"
                                                       : "other");
        at += 9 + len;
    }
}

static bool is_wanted(const char *got, const char *want)
{
    char all[64], *save = NULL;
    snprintf(all, sizeof all, "%s", want);
    for (char *word = strtok_r(all, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
        if (strstr(got, word) != NULL)
            return true;
    return false;
}

static void every_row(void **state)
{
    static const size_t steps[] = {SIZE_MAX, 1, 7};
    int failed = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(steps); i++) {
        const struct row *row = &rows[i / ARRAY_LEN(steps)];
        size_t step = steps[i % ARRAY_LEN(steps)];
        struct probe p;
        struct buf out = {0}, in = {0};
        char got[256];
        probe_init(&p);
        p.service.overhead = &p.budget;
        struct http2 *s = http2_new(&p.service, (struct http_output){&out, NULL, on_wake});
        buf_append(&in,
                   SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0"));
        for (size_t f = 0; f < FRAMES_MAX && row->frames[f].payload.base != NULL; f++)
            append_frame(&in, &row->frames[f]);
        for (size_t at = 0; at < in.len && !http2_ops.is_over(s);) {
            size_t n = in.len - at < step ? in.len - at : step;
            http2_ops.feed(s, span_of(in.base + at, n));
            at += n;
        }
        outcome(&out, got);
        if (http2_ops.is_over(s))
            strcat(got, "over");
        if (!is_wanted(got, row->want)) {
            print_error("%s, step %zd: %s, wanted %s\n", row->name, (ssize_t)step, got, row->want);
            failed++;
        }
        if (strchr(got, 'G') != NULL)
            assert_row(http2_ops.is_over(s), "%s", row->name);
        http2_ops.free(s);
        buf_done(&out);
        buf_done(&in);
        assert_int_equal(p.budget.used, 0);
    }
    assert_int_equal(failed, 0);
}

/* For tests/e2e/conformance.test.mjs, which sends them to the ports of the program: a line each of
 * name, what is wanted, then type, flags, stream, zeros and payload of its frames; tabs between. */
static void print_rows(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        printf("%s\t%s", rows[i].name, rows[i].want);
        for (size_t f = 0; f < FRAMES_MAX && rows[i].frames[f].payload.base != NULL; f++) {
            const struct frame *frame = &rows[i].frames[f];
            printf("\t%u %u %u %zu ", frame->type, frame->flags, frame->id, frame->zeros);
            for (size_t b = 0; b < frame->payload.len; b++)
                printf("%02x", frame->payload.base[b]);
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--rows") == 0) {
        print_rows();
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
