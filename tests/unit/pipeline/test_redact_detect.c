/* What is found and what is not, row by row; and what is made by generators: never a live key. */
#include "unit/test.h"

#include <stdlib.h>
#include <time.h>

#include "pipeline/redact.h"
#include "pipeline/redact_detect.h"
#include "util/buf.h"
#include "util/rng.h"

#define MIB (1u << 20)

/* "kind:value kind:value" of all hits, for a comparison with one string. */
static const char *hits_by(const struct redact_detector *d, const struct redact_look *look,
                           struct span text, struct buf *out)
{
    struct redact_hit hit;
    size_t at = 0;
    buf_clear(out);
    while (redact_next(d, look, text, at, &hit)) {
        assert_true(hit.at >= at && hit.len > 0 && hit.at + hit.len <= text.len);
        buf_printf(out, "%s%s:%.*s", out->len > 0 ? " | " : "", redact_kind_name(hit.kind),
                   (int)hit.len, (const char *)text.base + hit.at);
        at = hit.at + hit.len;
    }
    buf_append_byte(out, '\0');
    return (const char *)out->base;
}

/* The text in the midst of a message that was looked at as a whole: in what stands around it there
 * are words and numbers, which are none of its. */
static void check_in_message(const struct redact_detector *d, struct span text, const char *wanted)
{
    static const char around[] = "k7_9aZ-Bey4111";
    struct redact_look look;
    struct buf message = {0}, out = {0};
    for (size_t before = 0; before < sizeof around; before++) {
        buf_clear(&message);
        buf_append(&message, span_of(around, before));
        buf_append(&message, text);
        buf_append(&message, span_of(around + before, sizeof around - 1 - before));
        buf_append_str(&message, "0123456789 0123456789 0123456789");
        redact_look_at(&look, &d->triggers, buf_span(&message));
        struct span there = span_of(message.base + before, text.len);
        const char *got = hits_by(d, &look, there, &out);
        assert_row(strcmp(got, wanted) == 0,
                   "'%.*s' %zu bytes into a message gave\n  '%s'\n  not '%s'", (int)text.len,
                   (const char *)text.base, before, got, wanted);
        assert_row(wanted[0] == '\0' || !redact_look_clears(&look, &d->triggers, there), "%s",
                   wanted);
    }
    buf_done(&message);
    buf_done(&out);
}

static const char *hits_of(uint64_t kinds, struct span text, struct buf *out)
{
    struct redact_detector d;
    redact_detector_init(&d, kinds);
    const char *hits = hits_by(&d, NULL, text, out);
    check_in_message(&d, text, hits);
    return hits;
}

static void check_row(const char *text, const char *wanted)
{
    struct buf out = {0};
    const char *got = hits_of(REDACT_KINDS_ALL, span_str(text), &out);
    assert_row(strcmp(got, wanted) == 0, "'%s'\n  gave   '%s'\n  wanted '%s'", text, got, wanted);
    buf_done(&out);
}

#define A10 "aB3dE6gH9j"
#define A40 A10 A10 A10 A10
#define X32 "0123456789abcdef0123456789abcdef"
#define HEAD "eyJhbGciOiJIUzI1NiJ9"
#define CLAIMS "eyJzdWIiOiIxMjM0NTY3ODkwIn0"

static void every_kind_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
    } rows[] = {
        {"login of alice@example.com ok", "email:alice@example.com"},
        {"<a.b+c%d@mail.example.co.uk>, next", "email:a.b+c%d@mail.example.co.uk"},
        {"from alice@example.com.", "email:alice@example.com"},
        {"alice@example.com", "email:alice@example.com"},
        {"caldav://alice%40example.com@p1.example.org/x", "email:alice%40example.com"},
        {"a@b.co c@d.org", "email:a@b.co | email:c@d.org"},
        {"card 4111 1111 1111 1111 ok", "card:4111 1111 1111 1111"},
        {"card 4111-1111-1111-1111.", "card:4111-1111-1111-1111"},
        {"4242424242424242", "card:4242424242424242"},
        {"amex 3782 822463 10005", "card:3782 822463 10005"},
        {"378282246310005,", "card:378282246310005"},
        {"to DE89370400440532013000 now", "iban:DE89370400440532013000"},
        {"GB82 WEST 1234 5698 7654 32", "iban:GB82 WEST 1234 5698 7654 32"},
        {"ssn 536-90-4399", "ssn:536-90-4399"},
        {"ssn 536 90 4399,", "ssn:536 90 4399"},
        {"call +49 (30) 1234-5678 now", "phone:+49 (30) 1234-5678"},
        {"+14155552671", "phone:+14155552671"},
        {"from 203.0.113.7:443", "ip:203.0.113.7"},
        {"[2001:db8::1]", "ip:2001:db8::1"},
        {"at fe80:0:0:0:1:2:3:4 .", "ip:fe80:0:0:0:1:2:3:4"},
        {"t=" HEAD "." CLAIMS ".c2lnbmF0dXJlMTIz", "jwt:" HEAD "." CLAIMS ".c2lnbmF0dXJlMTIz"},
        {"t=" HEAD "." CLAIMS ". next", "jwt:" HEAD "." CLAIMS "."},
        {"k -----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY----- z",
         "private_key:MIIabc"},
        {"{\"key\":\"-----BEGIN PRIVATE KEY-----\\nMII\\nabc\\n-----END PRIVATE KEY-----\\n\"}",
         "private_key:MII\\nabc"},
        {"---BEGIN RSA PRIVATE KEY--- | MIIabc | -----END RSA PRIVATE KEY-----",
         "private_key:MIIabc"},
        {"-----BEGIN PGP PRIVATE KEY BLOCK-----\\nMII", "private_key:MII"},
        {"Authorization: Bearer abcdefgh12345678", "bearer:abcdefgh12345678"},
        {"\"authorization\":\"bearer abcdefgh12345678\"", "bearer:abcdefgh12345678"},
        {"token Bearer abcdefghij1234567890.", "bearer:abcdefghij1234567890"},
        {"Authorization: Basic YWxpY2U6c2VjcmV0", "basic:YWxpY2U6c2VjcmV0"},
        {"postgres://app:s3cr3t@db.example.com/x", "url_password:s3cr3t"},
        {"redis://:hunter2@cache:6379", "url_password:hunter2"},
        {"password=hunter2 x", "assigned:hunter2"},
        {"db_password: \"two words, one secret\" x", "assigned:two words, one secret"},
        {"{\"password\":\"hunter2\",\"a\":1}", "assigned:hunter2"},
        {"{\"password\":\"hun\\\"ter2\",\"a\":1}", "assigned:hun\\\"ter2"},
        {"{\\\"password\\\":\\\"hunter2\\\",\\\"a\\\":1}", "assigned:hunter2"},
        {"{\"token\":\"abcd1234\"}", "assigned:abcd1234"},
        {"a?password%3Dhunter2%26b", "assigned:hunter2"},
        {"%22api_key%22%3A%22abcd1234%22", "assigned:abcd1234"},
        {"apiKey=abcd1234&x=1", "assigned:abcd1234"},
        {"dbPassword => 'abcd1234'", "assigned:abcd1234"},
        {"X-Api-Key: abcd1234", "assigned:abcd1234"},
        {"phx_" A40 "ab", "posthog_personal:phx_" A40 "ab"},
        {"phs_" A40 "ab", "posthog_secret:phs_" A40 "ab"},
        {"pha_" A40, "posthog_oauth:pha_" A40},
        {"id AKIAIOSFODNN7EXAMPLQ", "aws_key:AKIAIOSFODNN7EXAMPLQ"},
        {"AIzaSyA-1234567890abcdefghijklmnopqrstu",
         "google_key:AIzaSyA-1234567890abcdefghijklmnopqrstu"},
        {"ghp_abcdefghijklmnopqrstuvwxyz0123456789",
         "github:ghp_abcdefghijklmnopqrstuvwxyz0123456789"},
        {"github_pat_" A40 A40 "ab", "github:github_pat_" A40 A40 "ab"},
        {"glpat-" A10 A10, "gitlab:glpat-" A10 A10},
        {"sk_live_" A10 "x", "stripe:sk_live_" A10 "x"},
        {"whsec_" A10, "stripe:whsec_" A10},
        {"xoxb-123456789012-123456789012-" A10, "slack:xoxb-123456789012-123456789012-" A10},
        {"https://hooks.slack.com/services/T00000000/B00000000/" A10 A10 "abcd",
         "slack:T00000000/B00000000/" A10 A10 "abcd"},
        {"sk-proj-" A10 A10 "T3BlbkFJ" A10 A10, "openai:sk-proj-" A10 A10 "T3BlbkFJ" A10 A10},
        {"sk-ant-api03-" A40 A40 A10 "abcAA", "anthropic:sk-ant-api03-" A40 A40 A10 "abcAA"},
        {"npm_" A10 A10 A10 "abcdef", "npm:npm_" A10 A10 A10 "abcdef"},
        {"SG." A10 A10 "ab." A40 "abc", "sendgrid:SG." A10 A10 "ab." A40 "abc"},
        {"pypi-AgEIcHlwaS5vcmc" A40 A10, "pypi:pypi-AgEIcHlwaS5vcmc" A40 A10},
        {"dop_v1_" X32 X32, "digitalocean:dop_v1_" X32 X32},
        {"shpat_" X32, "shopify:shpat_" X32},
        {"dapi" X32, "databricks:dapi" X32},
        {"hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
         "huggingface:hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"},
        {"glsa_" A10 A10 A10 "ab_0a1b2c3d", "grafana:glsa_" A10 A10 A10 "ab_0a1b2c3d"},
        {"lin_api_" A40, "linear:lin_api_" A40},
        {"hvs." A40 A40 A10, "vault:hvs." A40 A40 A10},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(rows[i].text, rows[i].wanted);
}

static void what_only_looks_so_is_left(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "a",
        "@",
        "4",
        "user@host:22",
        "root@localhost",
        "java.lang.Object@1a2b3c",
        "git@github.com:org/repo.git",
        "npm react@18.2.0 ok",
        "image@sha256:0123456789abcdef",
        "logo@2x.png",
        "https://alice@example.com/x",
        "a@b.c",
        "@example.com",
        "a@.com",
        "1700000000123456789",
        "t=4700000000000000123",
        "4111111111111112",
        "4111 1111-1111 1111",
        "4111 1111 1111 11111",
        "x4111111111111111",
        "4111111111111111f",
        "1.4111111111111111",
        "4111111111111111-1",
        "0x4111111111111111a",
        "9111111111111111",
        "550000000000004",
        "DE89370400440532013001",
        "XX89370400440532013000",
        "XDE89370400440532013000",
        "DE8937040044053201300",
        "2024-01-02-1234",
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123-00-4567",
        "123-45-0000",
        "078-05-1120",
        "123-45-6789",
        "111-11-1111",
        "123-45 6789",
        "536904399",
        "1-536-90-4399",
        "536-90-4399-1",
        "17:41:44 +0200 2015",
        "17:41:44+02:00",
        "1.2.3.4.5",
        "256.1.1.1",
        "v1.2.3",
        "12:34:56",
        "std::vector",
        "eyJabc.def.ghi",
        "eyABCDEFGHIJKLMNOPQRSTUV.eyABCDEFGHIJKLMNOPQRSTUV.x",
        "-----BEGIN CERTIFICATE-----",
        "BEGIN PRIVATE KEY",
        "-----BEGIN PRIVATE KEY-----\nredacted-private_key-0\n-----END PRIVATE KEY-----",
        "the bearer of good news",
        "Bearer abcdef",
        "Basic understanding-is-all",
        "http://host:8080/a@b",
        "http://a:***@host/",
        "http://a:xxxxx@host/",
        "http://a:$PASS@host/",
        "http://a:redacted-url_password-0@host/",
        "password=***",
        "password=null",
        "password: true",
        "password=%s",
        "password=${PASSWORD}",
        "password=<hidden>",
        "password=abc",
        "token=Token{78af589",
        "secret=Secret(0x1f)",
        "password=redacted-assigned-0",
        "password=assigned_9f3c2a1b",
        "mypassword=hunter2",
        "passwords: none of them",
        "nosecret=hunter2",
        "phc_" A40 "ab",
        "phx_short",
        "abcAKIAIOSFODNN7EXAMPLQ",
        "AKIAIOSFODNN7EXAMPLE",
        "AKIAIOSFODNN7EXAMPLQq",
        "xghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "ghp_tooshort x",
        "sk-notakeyofopenai-at-all-xx",
        "npm_config_registry=x",
        "hf_hub",
        "dapi0123",
        "task-1234567890",
        "redacted-email-0",
        "email_9f3c2a1b",
        "redacted-card-1111",
        "card_0a1b2c3d",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(rows[i], "");
}

static void letters_of_others_beside_a_hit(void **state)
{
    (void)state;
    check_row("\xe9\x82\xae"
              "alice@example.com\xe3\x80\x82",
              "email:alice@example.com");
    check_row("j\xc3\xb6rg@example.com", "email:j\xc3\xb6rg@example.com");
    check_row("\xc2\xab"
              "4111111111111111\xc2\xbb",
              "card:4111111111111111");
    check_row("\xe5\xaf\x86password=\xe5\xaf\x86\xe7\xa0\x81"
              "12 x",
              "assigned:\xe5\xaf\x86\xe7\xa0\x81"
              "12");
}

static void a_secret_that_a_limit_cut_off(void **state)
{
    (void)state;
    check_row("key ghp_abcdefghijklmnopqr", "github:ghp_abcdefghijklmnopqr");
    check_row("t " HEAD "."
              "eyJzdWIi",
              "jwt:" HEAD "."
              "eyJzdWIi");
    check_row("-----BEGIN PRIVATE KEY-----\nMIIEvQ", "private_key:MIIEvQ");
    check_row("{\"password\":\"hunter2", "assigned:hunter2");
}

static void kinds_that_are_off_are_not_found(void **state)
{
    struct buf out = {0};
    (void)state;
    struct span text = SPAN("alice@example.com +14155552671 203.0.113.7 4111111111111111");
    assert_string_equal(hits_of(REDACT_KINDS_USUAL, text, &out),
                        "email:alice@example.com | card:4111111111111111");
    assert_string_equal(hits_of(1u << REDACT_PHONE, text, &out), "phone:+14155552671");
    assert_string_equal(hits_of(0, text, &out), "");
    buf_done(&out);
}

/* ---- generated --------------------------------------------------------- */

static unsigned luhn_digit(const char *digits, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(digits[n - 1 - i] - '0');
        d = i % 2 == 0 ? 2 * d : d;
        sum += d > 9 ? d - 9 : d;
    }
    return (10 - sum % 10) % 10;
}

static void cards_with_a_wrong_digit_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        size_t len;
    } issuers[] = {{"4", 13},    {"4", 16},  {"4", 19},  {"51", 16},   {"55", 16}, {"2221", 16},
                   {"2720", 16}, {"34", 15}, {"37", 15}, {"6011", 16}, {"65", 19}, {"644", 16},
                   {"300", 14},  {"36", 14}, {"39", 16}, {"3528", 16}, {"62", 16}, {"62", 19}};
    struct rng rng = {.state = 7};
    struct buf out = {0};
    for (int i = 0; i < 5000; i++) {
        const char *prefix = issuers[(size_t)i % ARRAY_LEN(issuers)].prefix;
        size_t n = issuers[(size_t)i % ARRAY_LEN(issuers)].len;
        char card[32], wanted[40];
        strcpy(card, prefix);
        for (size_t k = strlen(prefix); k + 1 < n; k++)
            card[k] = (char)('0' + rng_next(&rng) % 10);
        card[n - 1] = (char)('0' + luhn_digit(card, n - 1));
        card[n] = '\0';
        snprintf(wanted, sizeof wanted, "card:%s", card);
        assert_string_equal(hits_of(REDACT_KINDS_ALL, span_str(card), &out), wanted);
        size_t at = n - 1 - rng_next(&rng) % (n - strlen(prefix));
        card[at] = (char)('0' + (card[at] - '0' + 1 + (int)(rng_next(&rng) % 9)) % 10);
        assert_row(strcmp(hits_of(REDACT_KINDS_ALL, span_str(card), &out), "") == 0, "%s", card);
    }
    buf_done(&out);
}

static void accounts_with_wrong_check_digits_are_none(void **state)
{
    (void)state;
    static const char *const countries[] = {"DE22", "GB22", "FR27", "NL18", "ES24",
                                            "IT27", "CH21", "NO15", "MT31"};
    struct rng rng = {.state = 11};
    struct buf out = {0};
    for (int i = 0; i < 5000; i++) {
        const char *country = countries[(size_t)i % ARRAY_LEN(countries)];
        size_t n = (size_t)atoi(country + 2);
        char iban[40], wanted[48];
        unsigned rest = 0;
        for (size_t k = 4; k < n; k++) {
            iban[k] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[rng_next(&rng) % 36];
            unsigned v =
                iban[k] <= '9' ? (unsigned)(iban[k] - '0') : (unsigned)(iban[k] - 'A') + 10;
            rest = (rest * (v > 9 ? 100 : 10) + v) % 97;
        }
        for (size_t k = 0; k < 2; k++) {
            iban[k] = country[k];
            rest = (rest * 100 + (unsigned)(country[k] - 'A') + 10) % 97;
        }
        unsigned check = 98 - rest * 100 % 97;
        iban[2] = (char)('0' + check / 10);
        iban[3] = (char)('0' + check % 10);
        iban[n] = '\0';
        snprintf(wanted, sizeof wanted, "iban:%s", iban);
        assert_row(strcmp(hits_of(1u << REDACT_IBAN, span_str(iban), &out), wanted) == 0, "%s",
                   iban);
        iban[3] = (char)('0' + (iban[3] - '0' + 1 + (int)(rng_next(&rng) % 8)) % 10);
        assert_row(strcmp(hits_of(1u << REDACT_IBAN, span_str(iban), &out), "") == 0, "%s", iban);
    }
    buf_done(&out);
}

/* Every key of the table, with each byte of it made one that it cannot have. */
static void keys_with_a_foreign_byte_are_none(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "AKIAIOSFODNN7EXAMPLQ",
        "AIzaSyA01234567890abcdefghijklmnopqrstu",
        "npm_" A10 A10 A10 "abcdef",
        "shpat_" X32,
        "dapi" X32,
        "lin_api_" A40,
        "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
    };
    struct buf out = {0};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char key[160];
        size_t n = strlen(keys[i]);
        for (size_t at = 0; at < n; at++) {
            snprintf(key, sizeof key, "%s after", keys[i]);
            key[at] = '!';
            assert_row(strcmp(hits_of(REDACT_KINDS_ALL, span_str(key), &out), "") == 0, "%s", key);
        }
    }
    buf_done(&out);
}

/* ---- time -------------------------------------------------------------- */

static uint64_t ns_of(struct span text)
{
    struct redact_detector d;
    struct redact_hit hit;
    struct timespec a, b;
    size_t at = 0;
    redact_detector_init(&d, REDACT_KINDS_ALL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    while (redact_next(&d, NULL, text, at, &hit))
        at = hit.at + hit.len;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    return (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)(b.tv_nsec - a.tv_nsec);
}

/* Pieces that begin a check over and over. Four times as much may take eight times as long, and
 * something for the clock: a square would be sixteen times, and a quarter of an hour. */
static void hostile_texts_take_linear_time(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "@",
        "4",
        "a",
        "=",
        ":",
        "://",
        "a@",
        "a.",
        ".@",
        "x@a.",
        "-",
        "-----BEGIN ",
        "eyJ",
        "eyJa-",
        "eyJa.",
        "sk-",
        "xoxb-1",
        "password=",
        "password=\"",
        "password=\"${\\\"",
        "secret=A(",
        "password='<",
        "Bearer ",
        "Basic YTo",
        "://a:",
        "4111 ",
        "4111-1111-",
        "DE89 ",
        "+1 ",
        "a:",
        "ghp_",
        "\\",
        "\"password\":\"\\\\",
        "-----BEGIN PRIVATE KEY-----",
        "\xc3\xa9@",
        "1.1.",
        "%22%3A",
    };
    static uint8_t room[4 * MIB];
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        size_t n = strlen(pieces[i]);
        for (size_t at = 0; at < sizeof room; at++)
            room[at] = (uint8_t)pieces[i][at % n];
        uint64_t quarter = ns_of(span_of(room, MIB)), whole = ns_of(span_of(room, 4 * MIB));
        assert_row(whole < 8 * quarter + 200000000u, "'%s': %llu ns, %llu ns", pieces[i],
                   (unsigned long long)quarter, (unsigned long long)whole);
    }
}

/* ---- corpora ----------------------------------------------------------- */

/* Real logs hold mail addresses and nothing else that is on by default. */
static void real_logs_have_mail_and_nothing_else(void **state)
{
    (void)state;
    static const char *const names[] = {"Android", "Apache", "BGL",   "Hadoop",
                                        "Linux",   "Mac",    "Spark", "Zookeeper"};
    const char *root = getenv("SHARED_DIR") != NULL ? getenv("SHARED_DIR") : "../../shared";
    struct redact_detector d;
    size_t lines = 0, mails = 0;
    redact_detector_init(&d, REDACT_KINDS_USUAL);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[512], line[65536];
        snprintf(path, sizeof path, "%s/data/loghub/%s/%s_2k.log", root, names[i], names[i]);
        FILE *f = fopen(path, "r");
        if (f == NULL) {
            print_message("skipped: no logs at %s\n", path);
            skip();
        }
        while (fgets(line, sizeof line, f) != NULL) {
            struct redact_hit hit;
            size_t at = 0;
            for (; redact_next(&d, NULL, span_str(line), at, &hit); at = hit.at + hit.len) {
                assert_row(hit.kind == REDACT_EMAIL, "%s: %s", redact_kind_name(hit.kind), line);
                mails++;
            }
            lines++;
        }
        fclose(f);
    }
    assert_in_range(lines, 15900, 16000);
    assert_int_equal(mails, 12);
}

/* Made of what triggers: what is found by vectors is what is found byte by byte. */
static void vectors_find_the_same(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "4111 1111 1111 1111",
        "4111111111111111",
        "078-05-1121",
        "a@b.example",
        "://u:p4ssw0rd@h/",
        "=",
        ":",
        "%3D",
        "password",
        "token",
        "\"",
        " ",
        "-",
        "_",
        "7",
        "12",
        "345",
        "DE89370400440532013000",
        "ghp_" A10 A10 A10 "abcdef",
        "sk-",
        "eyJ",
        "-----BEGIN",
        "Bearer ",
        "10.1.2.3",
        "::1",
        "x",
        "Q",
        "\xc3\xa9",
        "+49 30 901820",
        "batch",
        "shard",
    };
    struct rng rng = {1};
    struct buf text = {0}, out = {0};
    for (int i = 0; i < 3000; i++) {
        buf_clear(&text);
        for (size_t n = rng_next(&rng) % 24; n > 0; n--)
            buf_append_str(&text, pieces[rng_next(&rng) % ARRAY_LEN(pieces)]);
        if (text.len > 0)
            hits_of(i % 2 ? REDACT_KINDS_ALL : REDACT_KINDS_USUAL, buf_span(&text), &out);
    }
    buf_done(&text);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_find_the_same),
        cmocka_unit_test(every_kind_is_found),
        cmocka_unit_test(what_only_looks_so_is_left),
        cmocka_unit_test(letters_of_others_beside_a_hit),
        cmocka_unit_test(a_secret_that_a_limit_cut_off),
        cmocka_unit_test(kinds_that_are_off_are_not_found),
        cmocka_unit_test(cards_with_a_wrong_digit_are_none),
        cmocka_unit_test(accounts_with_wrong_check_digits_are_none),
        cmocka_unit_test(keys_with_a_foreign_byte_are_none),
        cmocka_unit_test(hostile_texts_take_linear_time),
        cmocka_unit_test(real_logs_have_mail_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
