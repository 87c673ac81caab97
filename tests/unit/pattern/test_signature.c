#include "unit/test.h"

#include <stdlib.h>

#include "cli_signature.h"
#include "otlp/wire.h"
#include "pattern/signature.h"
#include "pattern/signature_compat.h"

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
        {"\x1b[31", ""},
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
        {"got \"id\": \"a b\" x", "got \"id\": \"<*>\" x"},
        {"got \"msg\": \"a b\" x", "got \"msg\": \"a b\" x"},
        {"got 'k':'' x", "got 'k':<*>' x"},
        {"got \"k\":yes x", "got \"k\":<*> x"},
        {"taskId: alpha", "taskId: <*>"},
        {"x-request-id:alpha", "x-request-id:<*>"},
        {"grid: alpha", "grid: alpha"},
        {"a=b c=\"d e\" f", "a=<*> c=\"<*>\" f"},
        {"a = b", "a = <*>"},
        {"logname= uid=x", "logname= uid=<*>"},
        {"msg=\"kept here\" err=kept", "msg=\"kept here\" err=kept"},
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
         "boom <*> | x.YError | at a.B.c | Caused by: z.W | ... more"},
        {"f\n  File \"/a.py\", line 3, in run\n    go(1)\nValueError: bad",
         "f | at run | go | ValueError"},
        {"p\n #0 0xab12 in lib::run() at x.c:3\n\t/a/b.go:12 +0x1f", "p | in lib::run"},
        {"h\n a()\n b()\n c()\n d()", "h | a | b | c"},
        {"h\n1:\n2:\n3:\n4:\n5:\n a()", "h | 1 | 2 | 3 | 4 | a"},
        {"h\nCaused by\nSuppressed: q\n\n \t\n", "h | Suppressed: q"},
        {"\n\n only \r\n", "only"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(template_is(*state, span_str(rows[i].body), rows[i].expected), "%s",
                   rows[i].body);
}

static void json_counts_by_message_and_context(void **state)
{
    static const struct {
        const char *body, *expected;
    } rows[] = {
        {"{\"level\":\"info\",\"msg\":\"job 7\",\"x\":[1]}", "json level=info : job <*>"},
        {"{\"Msg\":\"a\",\"event\":5,\"lvl\":true,\"logger\":1.5}", "json lvl=True event=5 : a"},
        {"{\"event\":\"a\",\"severity\":\"a\"}", "json : a"},
        {"{\"b\":1,\"a\":2,\"b\":3,\"msg\":\"\"}", "json keys a b msg"},
        {"{\"log\":\"{\\\"msg\\\":\\\"in 1\\\"}\"}", "json : json : in <*>"},
        {"{\"msg\":\"x\\n\\tat a.b(C)\"}", "json : x | at a.b"},
        {"{\"msg\":\"a\",\"MSG\":\"b\",\"msg\":\"c\"}", "json : b"},
        {"{}", "json keys"},
        {"{\"msg\":\"x\",}", "{\"msg\":\"x\",}"},
        {"{\"msg\":\"x\",\"n\":01}", "{\"msg\":\"x\",\"n\":<*>}"},
        {"{", "{"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(template_is(*state, span_str(rows[i].body), rows[i].expected), "%s",
                   rows[i].body);
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
        {"level=info msg=\"user logged in\" id=1 who=bob", 0xc1e88218780a2426},
        {"Jan 12 06:49:42 combo sshd[18]: ready", 0xb69b07527023c4d7},
        {"connect to fe80::1 failed in 12 ms", 0x923aa0a97f6b2c14},
        {"用户123登录成功", 0x9129e7dfab0b53bb},
        {"boom 1\njava.lang.Error: x\n\tat a.b.C.m(C.java:10)\nCaused by: java.io.IOException: a",
         0xd11756ea97efc6b6},
        {"{\"level\":\"info\",\"msg\":\"user 1 ok\",\"ts\":1.5}", 0x890c3a016806216d},
        {"{\"b\":1,\"a\":2}", 0x5c9b7cde46a24157},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t id = signer_sign_text(*state, span_str(rows[i].body));
        assert_row(id == rows[i].id, "%s gave 0x%016llx", rows[i].body, (unsigned long long)id);
    }
}

static void what_is_signed_is_the_first_that_is_there(void **state)
{
    static const struct {
        struct sign_input in;
        uint64_t id;
    } rows[] = {
        /* clang-format off */
        {{.event_name = SPAN("paid")}, 0xd50b099534f0cf5b},
        {{.template_attr = SPAN("t"), .exception_type = SPAN("E")}, 0x082cfbe826a9e182},
        {{.body = SPAN("job 1"), .body_kind = SIGN_BODY_STRING, .exception_type = SPAN("E")},
         0x69c7542c5e30c33f},
        {{.exception_type = SPAN("E")}, 0x5ce693d8cc048b70},
        {{.body = SPAN("job 1"), .body_kind = SIGN_BODY_NONE}, 0x2d06800538d394c2},
        {{.body_kind = SIGN_BODY_BOOL}, 0xa2ace3c4edbc094e},
        {{.body_kind = SIGN_BODY_INT}, 0x2cc9bb4b5f71728e},
        {{.body_kind = SIGN_BODY_DOUBLE}, 0xb7be9efa3fb46447},
        {{.body = SPAN("x"), .body_kind = SIGN_BODY_BYTES}, 0xa4ee989f5e0ecd7e},
        {{.body_kind = SIGN_BODY_ARRAY}, 0x1c16a206739b3d2b},
        {{.body_kind = SIGN_BODY_KVLIST}, 0x208a57e5c6526ee0},
        /* clang-format on */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t id = signer_sign(*state, &rows[i].in);
        assert_row(id == rows[i].id, "%zu gave 0x%016llx", i, (unsigned long long)id);
    }
    /* The body plays no part beside a name, the exception none beside a template. */
    struct sign_input in = {.event_name = SPAN("paid"), .template_attr = SPAN("t"),
                            .body = SPAN("x"), .body_kind = SIGN_BODY_STRING};
    assert_true(signer_sign(*state, &in) == rows[0].id);
    in.event_name = (struct span){0};
    in.exception_type = SPAN("E");
    assert_true(signer_sign(*state, &in) == rows[1].id);
}

static void add_member(struct buf *list, const char *key, const struct buf *any)
{
    struct buf pair = {0};
    wire_append_len(&pair, 1, span_str(key));
    wire_append_len(&pair, 2, buf_span(any));
    wire_append_len(list, 1, buf_span(&pair));
    buf_done(&pair);
}

static void add_text(struct buf *list, const char *key, const char *text)
{
    struct buf any = {0};
    wire_append_len(&any, 1, span_str(text));
    add_member(list, key, &any);
    buf_done(&any);
}

static void add_number(struct buf *list, const char *key, uint32_t field, uint64_t number)
{
    struct buf any = {0};
    wire_append_varint(&any, field, number);
    add_member(list, key, &any);
    buf_done(&any);
}

static uint64_t sign_map(struct signer *s, struct buf *list)
{
    struct sign_input in = {.body = buf_span(list), .body_kind = SIGN_BODY_KVLIST};
    uint64_t id = signer_sign(s, &in);
    buf_done(list);
    return id;
}

static void a_map_is_signed_as_its_json_text(void **state)
{
    struct signer *s = *state;
    struct buf list = {0};

    add_text(&list, "Message", "user 5 in\n\tat a.b(C)");
    add_text(&list, "logger", "core");
    add_number(&list, "level", 3, (uint64_t)-3);
    add_number(&list, "lvl", 2, 1);
    assert_true(sign_map(s, &list) ==
                signer_sign_text(s, SPAN("{\"lvl\":true,\"level\":-3,\"logger\":\"core\","
                                         "\"Message\":\"user 5 in\\n\\tat a.b(C)\"}")));
    add_text(&list, "log", "{\"msg\":\"deep 1\"}");
    assert_true(sign_map(s, &list) ==
                signer_sign_text(s, SPAN("{\"log\":\"{\\\"msg\\\":\\\"deep 2\\\"}\"}")));
    add_text(&list, "zeta", "1");
    add_number(&list, "alpha", 3, 1);
    add_number(&list, "zeta", 3, 2);
    assert_true(sign_map(s, &list) == signer_sign_text(s, SPAN("{\"alpha\":[],\"zeta\":{}}")));
    assert_true(sign_map(s, &list) == signer_sign_text(s, SPAN("{}")));
}

static void an_array_is_signed_by_its_first_elements(void **state)
{
    struct buf one = {0}, many = {0}, any = {0};
    wire_append_varint(&any, 3, 7);
    wire_append_len(&one, 1, buf_span(&any));
    for (int i = 0; i < 20; i++)
        wire_append_len(&many, 1, buf_span(&any));
    wire_append_len(&any, 1, SPAN("a word")); /* a oneof set twice: the last counts */
    wire_append_len(&many, 1, buf_span(&any)); /* beyond the eighth */

    struct sign_input in = {.body = buf_span(&one), .body_kind = SIGN_BODY_ARRAY};
    uint64_t id = signer_sign(*state, &in);
    in.body = buf_span(&many);
    assert_true(signer_sign(*state, &in) == id);
    wire_append_len(&one, 1, buf_span(&any));
    in.body = buf_span(&one);
    assert_true(signer_sign(*state, &in) != id);
    assert_true(span_eq(signer_identity(*state),
                        SPAN("\x07" "array\x02\x01\x02,\x02 \x02" "a\x02 \x02word")));
    buf_done(&one);
    buf_done(&many);
    buf_done(&any);
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
        {{"signature", "--bogus"}, 2},
        {{"signature", "stray"}, 2},
        {{"signature", "--mode"}, 2},
        {{"signature", "--mode", "md5"}, 3},
        {{"signature", "--mode="}, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(cli_signature(rows[i].argc, (char **)rows[i].argv) == 64, "%zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_become_variables),
        cmocka_unit_test(a_scan_folds_what_does_not_count),
        cmocka_unit_test(neighbours_make_variables),
        cmocka_unit_test(traces_keep_types_causes_and_top_functions),
        cmocka_unit_test(json_counts_by_message_and_context),
        cmocka_unit_test(ids_never_change),
        cmocka_unit_test(what_is_signed_is_the_first_that_is_there),
        cmocka_unit_test(a_map_is_signed_as_its_json_text),
        cmocka_unit_test(an_array_is_signed_by_its_first_elements),
        cmocka_unit_test(everything_is_bounded),
        cmocka_unit_test(ids_print_and_parse),
        cmocka_unit_test(older_versions_come_out_as_they_were),
        cmocka_unit_test(the_verb_refuses_what_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
