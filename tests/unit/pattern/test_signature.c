#include "unit/test.h"

#include <stdlib.h>

#include "cli/verbs.h"
#include "otlp/wire.h"
#include "pattern/plain_record.h"
#include "pattern/signature.h"
#include "pattern/signature_classes.h"
#include "pattern/signature_compat.h"
#include "util/rng.h"

static int setup(void **state)
{
    return signer_new((struct signer **)state);
}

static int teardown(void **state)
{
    signer_free(*state);
    return 0;
}

static bool template_is(struct signer *s, struct span body, const char *expected)
{
    struct buf out = {0};
    signer_sign_text(s, body);
    signer_template(s, &out);
    bool same = out.err == 0 && span_eq(buf_span(&out), span_str(expected));
    if (!same)
        print_error("template: %.*s\n", (int)out.len, (const char *)out.base);
    buf_done(&out);
    return same;
}

static void words_become_variables(void **state)
{
    static const struct {
        const char *line, *expected;
    } rows[] = {
        /* digits, and the words that have them */
        {"Order 1234 shipped", "Order <*> shipped"},
        {"took 3.5e-4", "took <*>"},
        {"no IPv6 route, sha256 x86_64 utf-8", "no IPv6 route, sha256 x86_64 utf-8"},
        {"sha257 ipv5", "<*>"},
        {"Jürgen7x", "Jü<*>"},
        /* paths */
        {"open /etc", "open <*>"},
        {"open ./x", "open <*>"},
        {"open ../x ~/y", "open <*>"},
        {"open a/b/c", "open <*>"},
        {"I/O of text/html", "I/O of text/html"},
        {"in a\\b\\c", "in <*>"},
        {"in a\\b", "in a\\b"},
        {"at C:\\Temp\\f|x", "at <*>|x"},
        {"GET https://a.test/b=c) ok", "GET <*>) ok"},
        {"GET /a?b=c&d=e ok", "GET <*> ok"},
        /* names of machines and people */
        {"mail anna@home", "mail <*>"},
        {"@home anna@", "@home anna@"},
        {"from www.example.test", "from <*>"},
        {"from example.com", "from <*>"},
        {"from example.zzz", "from example.zzz"},
        {"java.io.IOException", "java.io.IOException"},
        {"java.io.Reader", "<*>"},
        /* values */
        {"is TRUE, null or NaN!", "is <*> or <*>"},
        {"deadbeef deadbee", "<*> deadbee"},
        /* names that stay while their number goes */
        {"do_it+0x1f/0x20", "do_it+<*>"},
        {"Pipe@1f2e", "Pipe@<*>"},
        {"P4pe@1f2e", "<*>"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(template_is(*state, span_str(rows[i].line), rows[i].expected), "%s",
                   rows[i].line);
}

static void a_scan_folds_what_does_not_count(void **state)
{
    static const struct {
        const char *line, *expected;
    } rows[] = {
        {"  a \t b\v ", "a b"},
        {"\x1b[1;31mred\x1b[0m alert", "red alert"},
        {"\x1b[31", "\x1b[<*>"},
        {"\\x1b[1;31mred\\033[m ^[[2Kalert#033[0m", "red alert"},
        {"\\\\e[31mred \\u001b[x", "\\red"},
        {"===== x -- y ------", "=== x -- y ---"},
        {"a...b", "a...b"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(template_is(*state, span_str(rows[i].line), rows[i].expected), "%s",
                   rows[i].line);
}

static void neighbours_make_variables(void **state)
{
    static const struct {
        const char *line, *expected;
    } rows[] = {
        {"mac ab:cd:ef up", "mac <*> up"},
        {"peer fe::ab:c up", "peer <*> up"},
        {"ab:cd up", "ab:cd up"},
        {"ab:cd:xy up", "ab:cd:xy up"},
        {"on Jan 5", "on <*>"},
        {"Sun, 5 May", "<*>"},
        {"may fail", "may fail"},
        {"at 7 am", "at <*>"},
        {"I am 7", "I am <*>"},
        {"5 MiB sent", "<*> sent"},
        {"a byte sent", "a byte sent"},
        {"for user anna ok", "for user <*> ok"},
        {"for user session ok", "for user session ok"},
        {"wait <1 sec", "wait <*>"},
        {"tag <1> x", "tag <<*>> x"},
        {"got \"id\": \"a b\" x", "got \"id\": <*> x"},
        {"got \"msg\": \"a b\" x", "got \"msg\": \"a b\" x"},
        {"got \"id\": \"a b\" x", "got \"id\": <*> x"},
        {"got 'k':'' x", "got 'k':<*>' x"},
        {"got \"k\":yes x", "got \"k\":<*> x"},
        {"taskId: alpha", "taskId: <*>"},
        {"x-request-id:alpha", "x-request-id:<*>"},
        {"grid: alpha", "grid: alpha"},
        {"a=b c=\"d e\" f", "a=<*> c=<*> f"},
        {"a = b", "a = <*>"},
        {"logname= uid=x", "logname= uid=<*>"},
        {"kept here", "kept here"},
        {"host () up", "host (<*>) up"},
        {"call f() up", "call f() up"},
        {"all [] {} \"\" ''", "all [<*>] {<*>} \"<*>\" '<*>'"},
        {"ids 1, 2;3|4 - 5/6 end", "ids <*> end"},
        {"1+ 2", "<*>"},
        {"1 + 2", "<*> + <*>"},
        {"size 5 (6) (7) x", "size <*> x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(template_is(*state, span_str(rows[i].line), rows[i].expected), "%s",
                   rows[i].line);
}

static void traces_keep_types_causes_and_top_functions(void **state)
{
    static const struct {
        const char *body, *expected;
    } rows[] = {
        {"boom 1\nx.YError: msg 5\n\tat a.B.c(B.java:9)\nCaused by: z.W: m: n\n\t... 3 more",
         "boom <*> | x.YError | at a.B.c | Caused by: z.W | ... 3 more"},
        {"f\n  File \"/a.py\", line 3, in run\n    go(1)\nValueError: bad",
         "f | at run | go | ValueError"},
        {"p\n #0 0xab12 in lib::run() at x.c:3\n\t/a/b.go:12 +0x1f", "p"},
        {"h\n a()\n b()\n c()\n d()", "h | a ) | b ) | c )"},
        {"h\n1:\n2:\n3:\n4:\n5:\n a()", "h | 1 | 2 | 3 | 4 | a )"},
        {"h\nCaused by\nSuppressed: q\n\n \t\n", "h | Suppressed: q"},
        {"\n\n only \r\n", "only"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(template_is(*state, span_str(rows[i].body), rows[i].expected), "%s",
                   rows[i].body);
}

static void maps_count_by_level_type_and_message(void **state)
{
    static const struct {
        const char *body, *expected;
    } rows[] = {
        {"{\"level\":\"info\",\"msg\":\"job 7\",\"x\":[1]}", "INFO: job <*>"},
        {"{\"Msg\":\"a\",\"event\":5,\"lvl\":true,\"logger\":1.5}", "a"},
        {"{\"severity\":\"a\",\"error_type\":\"E\",\"event\":\"a\"}", "E: a"},
        {"{\"level\":50,\"msg\":\"x\"}", "ERROR: x"},
        {"{\"level\":3e1,\"msg\":\"x\"}", "INFO: x"},
        {"{\"level\":35,\"msg\":\"x\"}", "x"},
        {"{\"PRIORITY\":\"3\",\"msg\":\"x\"}", "ERROR: x"},
        {"{\"priority\":3,\"msg\":\"x\"}", "x"},
        {"{\"log\":\"{\\\"msg\\\":\\\"in 1\\\"}\"}", "in <*>"},
        {"{\"level\":\"warn\",\"msg\":\"2026-11-30 09:00:00 ERROR deep\"}", "WARN: deep"},
        {"{\"msg\":\"2026-11-30 09:00:00 ERROR deep\"}", "ERROR: deep"},
        {"{\"msg\":\"x\\n\\tat a.b(C)\"}", "x | at a.b C)"},
        {"{\"fields\":{\"message\":\"below\"}}", "below"},
        {"{\"fields.message\":\"flat\",\"msg\":\" \"}", "flat"},
        {"{\"@mt\":\"cart {Id:x} of %-5d <*>\",\"msg\":\"else\"}", "cart <*> of <*>"},
        {"{\"State\":{\"{OriginalFormat}\":\"cart {Id}\"},\"msg\":\"else\"}", "cart <*>"},
        {"{\"event_name\":\"paid\"}", "event paid"},
        {"{\"code.function\":\"f\",\"logger\":\"l\",\"code\":{\"namespace\":\"n\"}}", "code l n f"},
        {"{\"b\":1,\"a\":2,\"b\":3,\"msg\":\"\"}", "keys a b msg"},
        {"{}", "keys"},
        /* of equal keys the last counts, and stands where the first stood */
        {"{\"msg\":\"a\",\"MSG\":\"b\",\"msg\":\"c\"}", "b"},
        {"{\"fields\":{\"message\":\"a\"},\"fields\":5,\"text\":\"b\"}", "b"},
        {"{\"@mt\":\"first 1\",\"x.@mt\":\"second\",\"@MT\":\"third\"}", "third"},
        {"{\"@mt\":\" \",\"x.@mt\":\"second\"}", "second"},
        /* JSON, and what is none */
        {" {\"msg\":\"\\u0061\\ud83d\\ude00\\ud800\\\\\"}\n", "a\xf0\x9f\x98\x80\xef\xbf\xbd\\"},
        {"{\"msg\":\"x\",\"n\":1e999,\"m\":99999999999999999999999}", "x"},
        {"{\"msg\":\"x\",}", "{\"msg\":\"x\",}"},
        {"{\"msg\":\"x\",\"n\":01}", "{\"msg\":\"x\",\"n\":<*>}"},
        {"{\"msg\":\"x\",\"n\":[1,]}", "{\"msg\":\"x\",\"n\":[<*>,]}"},
        {"{", "{"},
        /* key=value pairs */
        {"level=warn msg=\"job \\\"7\\\" ok\" id=1", "WARN: job \"<*>\" ok"},
        {"msg=alone", "msg=alone"},
        {"a=1 b=2", "a=<*>=<*>"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(template_is(*state, span_str(rows[i].body), rows[i].expected), "%s",
                   rows[i].body);
}

static void headers_go_and_their_level_stays(void **state)
{
    static const struct {
        const char *line, *expected;
    } rows[] = {
        {"2026-11-30 09:00:00,123 INFO [main] org.shop.Cart: cart saved", "INFO: cart saved"},
        {"<11>1 2026-11-30T09:00:00Z h app 12 - [a@1 b=\"c\"] disk full", "ERROR: disk full"},
        {"<13>Nov 30 09:00:01 alpha cron[12]: job done", "INFO: job done"},
        {"<200>job done", "<<*>>job done"},
        {"W1130 09:00:00.123456 1 cache.go:138] stock low", "WARN: stock low"},
        {"web_1  | 2026-11-30 09:00:00 INFO cart saved", "INFO: cart saved"},
        {"2026-11-30T09:00:00Z stdout F {\"level\":\"error\",\"msg\":\"db down\"}",
         "ERROR: db down"},
        {"\x1b[2m2026-11-30T09:00:00Z\x1b[0m INFO {\"msg\":\"db\\u0020down\"}", "INFO: db down"},
        {"261130 090000 148 INFO dfs.Cart: saved", "INFO: saved"},
        {"backup begun at 10:00:00 by cron", "backup begun at <*> by cron"},
        {"2026-11-30 09:00:00 INFO", "<*> INFO"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(template_is(*state, span_str(rows[i].line), rows[i].expected), "%s",
                   rows[i].line);
}

static void requests_count_by_method_route_and_class(void **state)
{
    static const struct {
        const char *line, *expected;
    } rows[] = {
        {"1.2.3.4 - - [x] \"GET /carts/1/items?a=b HTTP/1.1\" 204 0",
         "\"GET /carts/<*>/items\" 2xx"},
        {"1.2.3.4 - - [x] \"GET http://a.b HTTP/1.1\" 500", "\"GET /\" 5xx"},
        {"1.2.3.4 - - [x] \"GET /a/b/c/d/e/f HTTP/1.1\" 301 1", "\"GET /a/b/c/d/<*>\" 3xx"},
        {"1.2.3.4 - - [x] \"GET /a/1/2/e HTTP/1.1\" 404 1", "\"GET /a/<*>/e\" 4xx"},
        {"1.2.3.4 - - [x] \"\\x16\\x03\" 400 12", "\"<*>\" 4xx"},
        {"said \"GET /a HTTP/1.1\" 600 ok", "said \"GET <*>\" <*> ok"},
        {"/health", "/health"},
        {"GET /login?x=1 200 3ms", "GET /login"},
        {"/17/18", "<*>"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(template_is(*state, span_str(rows[i].line), rows[i].expected), "%s",
                   rows[i].line);
}

/* A golden id changes only with the version in its prefix. */
static void ids_never_change(void **state)
{
    static const struct {
        const char *body;
        uint64_t id;
    } rows[] = {
        {"", 0x2d06800538d394c2},
        {"User 123 logged in", 0x68ad8c5b8b8835ee},
        {"level=info msg=\"user logged in\" id=1 who=bob", 0x0d7baa732dda7650},
        {"Jan 12 06:49:42 combo sshd[18]: ready", 0x3a474212db2e0a8b},
        {"connect to fe80::1 failed in 12 ms", 0x923aa0a97f6b2c14},
        {"用户123登录成功", 0x9129e7dfab0b53bb},
        {"boom 1\njava.lang.Error: x\n\tat a.b.C.m(C.java:10)\nCaused by: java.io.IOException: a",
         0xd11756ea97efc6b6},
        {"{\"level\":\"info\",\"msg\":\"user 1 ok\",\"ts\":1.5}", 0x1416b2848d60b021},
        {"{\"b\":1,\"a\":2}", 0x105634c3e10411b7},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t id = signer_sign_text(*state, span_str(rows[i].body));
        assert_row(id == rows[i].id, "%s gave 0x%016llx", rows[i].body, (unsigned long long)id);
    }
}

static bool read_plain(struct sign_input *in, struct buf *record, struct buf *scope,
                       const char *json)
{
    struct log_record r;
    if (plain_record_read(span_str(json), record, scope) < 0 ||
        log_record_read(&r, buf_span(record)) < 0)
        return false;
    *in = (struct sign_input){r.event_name, buf_span(record), buf_span(scope), r.body, !r.may_name};
    return true;
}

static void what_is_signed_is_the_first_that_is_there(void **state)
{
    static const struct {
        const char *record, *expected;
    } rows[] = {
        {"{\"event_name\":\"paid\",\"body\":\"x\"}", "event paid"},
        {"{\"attributes\":{\"Event.Name\":\"paid\"},\"body\":\"x\"}", "event paid"},
        {"{\"attributes\":{\"event\":{\"name\":\"paid\"}},\"body\":\"x\"}", "event paid"},
        {"{\"attributes\":{\"x.{OriginalFormat}\":\"job {Id}\"},\"body\":\"job 1\"}", "job <*>"},
        {"{\"attributes\":{\"message\":\"y\"},\"body\":\"job 1\"}", "job <*>"},
        {"{\"attributes\":{\"message\":\"y\",\"level\":\"warn\"},\"body\":\" \"}", "WARN: y"},
        {"{\"attributes\":{\"exception.type\":\"E\"},\"body\":\"job 1\"}", "E: job <*>"},
        {"{\"attributes\":{\"exception.type\":\"E\"},\"body\":{\"error.type\":\"E\",\"msg\":\"y\"}"
         "}",
         "E: y"},
        {"{\"attributes\":{\"exception.type\":\"F\"},\"body\":{\"error.type\":\"E\",\"msg\":\"y\"}"
         "}",
         "F: E: y"},
        {"{\"attributes\":{\"code.function\":\"f\"},\"scope\":\"s\"}", "code s f"},
        {"{\"attributes\":{\"code.function\":\"f\",\"logger\":5},\"scope\":\"s\"}", "code f"},
        {"{\"attributes\":{\"b\":1,\"a\":2},\"scope\":\"s\",\"body\":[]}",
         "keys a b otel.scope.name"},
        {"{\"scope\":\"s\"}", "none"},
        {"{\"body\":true}", "bool"},
        {"{\"body\":1.5}", "number"},
        {"{\"body\":[]}", "list"},
        {"{\"body\":{}}", "keys"},
        {"{\"body\":[\"a 1\",{\"msg\":\"b\"},[5]]}", "list a <*>, b, list number , "},
        {"{\"body\":{\"level\":\"info\",\"msg\":\"ready 1\"}}", "INFO: ready <*>"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf record = {0}, scope = {0}, shown = {0};
        struct sign_input in;
        assert_row(read_plain(&in, &record, &scope, rows[i].record), "%s", rows[i].record);
        signer_sign(*state, &in);
        signer_template(*state, &shown);
        assert_row(span_eq(buf_span(&shown), span_str(rows[i].expected)), "%s gave '%.*s'",
                   rows[i].record, (int)shown.len, (const char *)shown.base);
        buf_done(&record);
        buf_done(&scope);
        buf_done(&shown);
    }
}

static void an_array_is_signed_by_its_first_elements(void **state)
{
    struct buf one = {0}, many = {0}, any = {0};
    wire_append_varint(&any, 3, 7);
    for (int i = 0; i < 8; i++)
        wire_append_len(&one, 1, buf_span(&any));
    for (int i = 0; i < 20; i++)
        wire_append_len(&many, 1, buf_span(&any));
    wire_append_len(&any, 1, SPAN("a word")); /* a oneof set twice: the last counts */

    struct sign_input in = {.body = {.kind = LOG_ARRAY, .text = buf_span(&one)}};
    uint64_t id = signer_sign(*state, &in);
    in.body.text = buf_span(&many);
    assert_true(signer_sign(*state, &in) == id);
    buf_clear(&one);
    wire_append_len(&one, 1, buf_span(&any));
    in.body.text = buf_span(&one);
    assert_true(signer_sign(*state, &in) != id);
    assert_true(span_eq(signer_identity(*state), SPAN("\x05list\x02"
                                                      "a\x02 \x02word\x02\x05")));
    buf_clear(&one);
    for (int i = 0; i < 100; i++) { /* an array in an array ...: bounded, whatever it holds */
        buf_clear(&any);
        wire_append_len(&any, 5, buf_span(&one));
        buf_clear(&one);
        wire_append_len(&one, 1, buf_span(&any));
    }
    in.body.text = buf_span(&one);
    signer_sign(*state, &in);
    buf_done(&one);
    buf_done(&many);
    buf_done(&any);
}

static void plain_records_are_checked(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "[]",
        "{",
        "{\"body\":}",
        "{\"other\":1}",
        "{\"body\":1} x",
        "{\"body\":[1,]}",
        "{\"attributes\":[]}",
        "{\"scope\":1}",
        "{\"body\":{\"a\" 1}}",
        "{\"body\":nul}",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf record = {0}, scope = {0};
        assert_row(plain_record_read(span_str(rows[i]), &record, &scope) == ERR_MALFORMED, "%s",
                   rows[i]);
        buf_done(&record);
        buf_done(&scope);
    }
    char deep[400] = "{\"body\":";
    struct buf record = {0}, scope = {0};
    memset(deep + 8, '[', 300);
    assert_int_equal(plain_record_read(span_str(deep), &record, &scope), ERR_TOO_DEEP);
    buf_done(&record);
    buf_done(&scope);
}

static void hints_are_levels_that_texts_name_themselves(void **state)
{
    static const struct {
        const char *record;
        enum sign_level level;
    } rows[] = {
        {"{\"body\":\"2026-11-30 09:00:00,123 ERROR [main] a.B - failed\"}", SIGN_LEVEL_ERROR},
        {"{\"body\":\"<3>disk full\"}", SIGN_LEVEL_ERROR},
        {"{\"body\":\"ts=1 level=warning msg=x\"}", SIGN_LEVEL_WARN},
        {"{\"body\":\"{\\\"severity\\\":\\\"ERROR\\\",\\\"message\\\":\\\"x\\\"}\"}",
         SIGN_LEVEL_ERROR},
        {"{\"body\":{\"message\":\"panic: x\"}}", SIGN_LEVEL_FATAL},
        {"{\"body\":{\"@mt\":\"panic: x\"}}", SIGN_LEVEL_NONE},
        {"{\"body\":\"x\",\"attributes\":{\"level\":\"error\"}}", SIGN_LEVEL_ERROR},
        {"{\"body\":\"WARN x\",\"attributes\":{\"level\":\"error\"}}", SIGN_LEVEL_WARN},
        {"{\"body\":\"panic: runtime error\"}", SIGN_LEVEL_FATAL},
        {"{\"body\":\"[ warn ] x\"}", SIGN_LEVEL_WARN},
        {"{\"body\":\"fail: x\"}", SIGN_LEVEL_ERROR},
        {"{\"body\":\"alert: x\"}", SIGN_LEVEL_NONE},
        {"{\"body\":\"LOG: x\"}", SIGN_LEVEL_NONE},
        {"{\"body\":\"job failed\\nTraceback (most recent call last):\"}", SIGN_LEVEL_ERROR},
        {"{\"body\":\"a.YException: x\\n\\tat a.B.c(B.java:1)\"}", SIGN_LEVEL_ERROR},
        {"{\"body\":\"a.YException: x\\n\\tof a.B.c(B.java:1)\"}", SIGN_LEVEL_NONE},
        {"{\"body\":\"the error was fixed\"}", SIGN_LEVEL_NONE},
        {"{\"body\":\"a - - \\\"GET /error HTTP/1.1\\\" 500 1\"}", SIGN_LEVEL_NONE},
        {"{\"body\":[\"ERROR x\"]}", SIGN_LEVEL_NONE},
        {"{}", SIGN_LEVEL_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf record = {0}, scope = {0};
        struct sign_input in;
        assert_row(read_plain(&in, &record, &scope, rows[i].record), "%s", rows[i].record);
        enum sign_level level = signer_hint(*state, &in);
        assert_row(level == rows[i].level, "%s gave '%s'", rows[i].record, sign_level_name(level));
        buf_done(&record);
        buf_done(&scope);
    }
}

/* The same masks, whichever vectors the processor has. */
static void classes_are_the_same_on_all_machines(void **state)
{
    (void)state;
    enum { BYTES = 3000 };
    static uint8_t text[BYTES], copy[2][BYTES + CLASS_SLACK];
    static struct classes plain, wide;
    static const unsigned widths[] = {16, 32};
    struct rng rng = {7};
    for (int round = 0; round < 200; round++) {
        size_t n = round < 130 ? (size_t)round : rng_next(&rng) % BYTES;
        /* behind it is nothing that may be read */
        uint8_t *exact = malloc(n + 1);
        assert_non_null(exact);
        memset(copy, 0xff, sizeof copy);
        for (size_t i = 0; i < n; i++) {
            uint8_t random = (uint8_t)rng_next(&rng);
            text[i] =
                i > 0 && random % 3 == 0 ? text[i - 1] : (uint8_t)rng_next(&rng); /* runs too */
        }
        uint8_t *from = exact + 1; /* not aligned either */
        memcpy(from, text, n);
        assert_true(classes_copy_with(1, copy[0], from, n, &plain));
        for (size_t w = 0; w < ARRAY_LEN(widths); w++) {
            if (!classes_copy_with(widths[w], copy[1], from, n, &wide))
                continue;
            assert_memory_equal(&plain, &wide, sizeof plain);
            assert_memory_equal(copy[0], copy[1], n + CLASS_SLACK);
            assert_true(classes_copy_with(widths[w], copy[1], copy[1], n, &wide)); /* in place */
            assert_memory_equal(&plain, &wide, sizeof plain);
        }
        classes_copy(copy[1], from, n, &wide);
        assert_memory_equal(&plain, &wide, sizeof plain);
        free(exact);
    }
}

/* Three of the same of some marks are a run, and stops; three of others are not. */
static void runs_are_three_of_the_same(void **state)
{
    static uint8_t copy[128 + CLASS_SLACK];
    static struct classes c;
    static const unsigned widths[] = {1, 16, 32};
    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(widths); w++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            bool of_run = byte != 0 && strchr(".-*_#~+=", (int)byte) != NULL;
            for (size_t at = 0; at < 100; at++) { /* over the border of two blocks */
                uint8_t text[128];
                memset(text, byte == 'x' ? 'y' : 'x', sizeof text);
                memset(text + at, (int)byte, 3);
                if (!classes_copy_with(widths[w], copy, text, sizeof text, &c))
                    break;
                assert_row(class_is(c.run, at) == of_run, "%u at %zu", byte, at);
                assert_false(class_is(c.run, at + 1));
                assert_true(!of_run || class_is(c.stop, at));
            }
        }
    }
}

/* What lies past a limit does not change the id; what lies before it does. */
static void everything_is_bounded(void **state)
{
    struct signer *s = *state;
    size_t len = (size_t)20 << 20;
    uint8_t *body = malloc(len);
    assert_non_null(body);

    memset(body, 'x', len); /* one word: 8,192 bytes of it count */
    uint64_t id = signer_sign_text(s, span_of(body, len));
    assert_int_equal(signer_identity(s).len, 8192);
    assert_true(signer_sign_text(s, span_of(body, 8192)) == id);
    assert_true(signer_sign_text(s, span_of(body, 8191)) != id);

    for (size_t i = 0; i < len; i += 2)
        body[i] = ' '; /* 256 tokens: 128 words, 127 spaces (one leads and goes), one trails */
    id = signer_sign_text(s, span_of(body, len));
    assert_true(signer_identity(s).len <= 2 * 256);
    assert_true(signer_sign_text(s, span_of(body, 600)) == id);

    memset(body, '\n', len); /* lines past the body's limit */
    memcpy(body, "head\n", 5);
    memcpy(body + SIGN_MAX_BODY_BYTES, "Late: x", 7);
    id = signer_sign_text(s, SPAN("head"));
    assert_true(signer_sign_text(s, span_of(body, len)) == id);
    memcpy(body + SIGN_MAX_BODY_BYTES - 10, "Soon: x", 7);
    assert_true(signer_sign_text(s, span_of(body, len)) != id);

    memset(body, ' ', len); /* JSON longer than the limit is text */
    memcpy(body, "{\"msg\":\"m\"", 10);
    body[SIGN_MAX_BODY_BYTES - 1] = '}';
    id = signer_sign_text(s, SPAN("{\"msg\":\"m\"}"));
    assert_true(signer_sign_text(s, span_of(body, SIGN_MAX_BODY_BYTES)) == id);
    body[SIGN_MAX_BODY_BYTES - 1] = ' ';
    body[SIGN_MAX_BODY_BYTES] = '}';
    assert_true(signer_sign_text(s, span_of(body, SIGN_MAX_BODY_BYTES + 1)) != id);

    memset(body, '[', len); /* nesting is refused without being entered */
    memcpy(body, "{\"a\":", 5);
    body[60000] = '}';
    signer_sign_text(s, span_of(body, 60001));
    assert_true(signer_identity(s).base[0] == '{');
    free(body);
}

static void ids_print_and_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint64_t id;
    } rows[] = {
        {"lps1:0123456789abcdef", 0, 0x0123456789abcdef},
        {"lps1:FFFFFFFFFFFFFFFF", 0, UINT64_MAX},
        {"lps1:0000000000000000", 0, 0},
        {"lps1:0123456789abcde", ERR_MALFORMED, 1},
        {"lps1:0123456789abcdef0", ERR_MALFORMED, 1},
        {"lps1:0123456789abcdeg", ERR_MALFORMED, 1},
        {"lps2:0123456789abcdef", ERR_MALFORMED, 1},
        {"", ERR_MALFORMED, 1},
    };
    char text[SIGNATURE_TEXT_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t id = 1;
        int rc = signature_parse(span_str(rows[i].text), &id);
        assert_row(rc == rows[i].rc && id == rows[i].id, "%s", rows[i].text);
    }
    assert_string_equal(signature_format(text, 0xabcdef), "lps1:0000000000abcdef");
}

static void older_versions_come_out_as_they_were(void **state)
{
    (void)state;
    static const struct {
        const char *message, *py_sdk, *backend;
    } rows[] = {
        {"Took 5 of v1", "Took N of v1", "took N of vN"},
        {" a\t\tb\xc2\xa0", "a b", "a b"},
        {"", "", "empty"},
        {"at 2024-02-03T04:05:06Z", "at TIMESTAMPZ", "at N-N-NtN:N:Nz"},
        {"on 2024-02-03, 04:05:06", "on DATE, TIME", "on N-N-N, N:N:N"},
        {"x2024-02-03", "x2024-N-N", "xN-N-N"},
        {"1.2.3.4 1.2.3.4567", "IP N.N.N.N", "N.N.N.N N.N.N.N"},
        {"to .a.b@c.de!", "to .EMAIL!", "to .a.b@c.de!"},
        {"to a@b.c9 a@b.cd9", "to a@b.c9 a@b.cd9", "to a@b.cN a@b.cdN"},
        {"see https://x y", "see URL y", "see https://x y"},
        {"ABCDEFAB-cdef-abcd-efab-cdefabcdefab", "UUID", "UUID"},
        {"abcdefababcdefababcdefababcdefab", "HEXID", "UUID"},
        {"c:\\x /a/b \"/c/d,e\" //", "c:\\x /a/b \"/c/d,e\" //", "PATH PATH \"PATH //"},
        {"\xd9\xa1\xd9\xa2 \xe6\x96\x87\xd9\xa1", "N \xe6\x96\x87\xd9\xa1", "N \xe6\x96\x87N"},
        {"\xce\x9f\xce\x94\xce\x9f\xce\xa3 \xce\xa3\xce\x91",
         "\xce\x9f\xce\x94\xce\x9f\xce\xa3 \xce\xa3\xce\x91",
         "\xce\xbf\xce\xb4\xce\xbf\xcf\x82 \xcf\x83\xce\xb1"},
        {"\xc4\xb0", "\xc4\xb0", "i\xcc\x87"},
        {"\xff\xfe", "\xff\xfe", "\xff\xfe"},
    };
    struct compat *c;
    char md5[COMPAT_MD5_TEXT_BYTES];
    assert_int_equal(compat_new(&c), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span message = span_str(rows[i].message);
        assert_row(span_eq(compat_normalise(c, COMPAT_PY_SDK, message), span_str(rows[i].py_sdk)),
                   "py-sdk: %s", rows[i].message);
        assert_row(span_eq(compat_normalise(c, COMPAT_BACKEND, message), span_str(rows[i].backend)),
                   "backend: %s", rows[i].message);
    }
    assert_int_equal(compat_sign(c, COMPAT_PY_SDK, SPAN(""), md5), 0);
    assert_string_equal(md5, "d41d8cd98f00b204e9800998ecf8427e");
    assert_int_equal(compat_sign(c, COMPAT_BACKEND, SPAN("x 1"), md5), 0);
    assert_string_equal(md5, "156192202582838ada0c24c3e95c5c43");
    compat_free(c);
}

static void the_verb_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    static const struct {
        char *argv[3];
        int argc;
    } rows[] = {
        {{"signature", "--bogus"}, 2}, {{"signature", "stray"}, 2},
        {{"signature", "--mode"}, 2},  {{"signature", "--mode", "md5"}, 3},
        {{"signature", "--mode="}, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(verb_signature(rows[i].argc, (char **)rows[i].argv) == 64, "%zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_become_variables),
        cmocka_unit_test(a_scan_folds_what_does_not_count),
        cmocka_unit_test(neighbours_make_variables),
        cmocka_unit_test(traces_keep_types_causes_and_top_functions),
        cmocka_unit_test(maps_count_by_level_type_and_message),
        cmocka_unit_test(headers_go_and_their_level_stays),
        cmocka_unit_test(requests_count_by_method_route_and_class),
        cmocka_unit_test(ids_never_change),
        cmocka_unit_test(what_is_signed_is_the_first_that_is_there),
        cmocka_unit_test(an_array_is_signed_by_its_first_elements),
        cmocka_unit_test(plain_records_are_checked),
        cmocka_unit_test(hints_are_levels_that_texts_name_themselves),
        cmocka_unit_test(classes_are_the_same_on_all_machines),
        cmocka_unit_test(runs_are_three_of_the_same),
        cmocka_unit_test(everything_is_bounded),
        cmocka_unit_test(ids_print_and_parse),
        cmocka_unit_test(older_versions_come_out_as_they_were),
        cmocka_unit_test(the_verb_refuses_what_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
