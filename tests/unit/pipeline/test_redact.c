/* What a redactor puts where, and that it signs alike. */
#include "unit/test.h"

#include <stdlib.h>

#include "pattern/plain_record.h"
#include "pattern/signature.h"
#include "pipeline/redact.h"
#include "util/hash.h"

static struct redactor *redactor_with(enum redact_mode mode, enum redact_action action)
{
    struct redactor *r;
    struct redact_opts opts = {
        .mode = mode,
        .action = action,
        .kinds = REDACT_KINDS_ALL,
        .key = SPAN("a key of a test"),
        .max_services = 4,
    };
    assert_int_equal(redact_names_init(&opts.names, SPAN("nickname"), SPAN("sessionId")), 0);
    assert_int_equal(redactor_new(&r, &opts), 0);
    return r;
}

/* A record, from the JSON of pattern/plain_record.h. */
static struct span record_of(const char *json, struct buf *room)
{
    struct buf scope = {0};
    buf_clear(room);
    assert_row(plain_record_read(span_str(json), room, &scope) == 0, "%s", json);
    buf_done(&scope);
    return buf_span(room);
}

static void ignore_found(void *ctx, const struct redact_found *f)
{
    (void)ctx;
    (void)f;
}

static void check_text(struct redactor *r, const char *text, const char *wanted)
{
    struct buf out = {0};
    assert_true(redactor_text(r, span_str(text), ignore_found, NULL, &out) >= 0);
    buf_append_byte(&out, '\0');
    assert_row(strcmp((char *)out.base, wanted) == 0, "'%s' gave '%s'", text, (char *)out.base);
    buf_done(&out);
}

static void actions_on_texts(void **state)
{
    (void)state;
    struct redactor *mask = redactor_with(REDACT_ENFORCE, REDACT_MASK);
    struct redactor *partial = redactor_with(REDACT_ENFORCE, REDACT_PARTIAL);
    struct redactor *hash = redactor_with(REDACT_ENFORCE, REDACT_HASH);
    check_text(mask, "alice@example.com, 4111 1111 1111 1111", "redacted-email-0, redacted-card-0");
    check_text(partial, "alice@example.com, 4111 1111 1111 1111",
               "redacted-email-0, redacted-card-1111");
    check_text(partial, "GB82 WEST 1234 5698 7654 32", "redacted-iban-5432");
    check_text(hash, "ALICE@example.com alice@EXAMPLE.com", "email_4512c40a email_4512c40a");
    check_text(hash, "4111 1111 1111 1111 4111111111111111", "card_5a677d69 card_5a677d69");
    check_text(mask, "plain text", "plain text");
    redactor_free(mask);
    redactor_free(partial);
    redactor_free(hash);
}

/* A user's patterns beside the detectors: the one that begins first, and what overlaps as one. */
static void patterns_of_users(void **state)
{
    (void)state;
    static const struct redact_pattern patterns[] = {
        {"staff", "EMP-[0-9]{4,6}"},
        {"pin", "pin (?<secret>[0-9]+)"},
        {"order", "[a-z]+@example\\.com;ref=[0-9]+"},
        {"greedy", "(x+)+[yz]"},
    };
    struct redactor *r;
    struct redact_opts opts = {
        .mode = REDACT_ENFORCE,
        .kinds = REDACT_KINDS_ALL,
        .patterns = patterns,
        .pattern_count = ARRAY_LEN(patterns),
    };
    assert_int_equal(redactor_new(&r, &opts), 0);
    check_text(r, "by EMP-1234, pin 77", "by redacted-staff-0, pin redacted-pin-0");
    check_text(r, "EMP-1234EMP-5678 a@b.com EMP-9",
               "redacted-staff-0redacted-staff-0 redacted-email-0 EMP-9");
    check_text(r, "alice@example.com;ref=12 bob@example.com",
               "redacted-order-0 redacted-email-0"); /* the longer of two that begin alike */
    check_text(r, "{\"pin\":EMP-1234}", "{\"pin\":\"redacted-staff-0\"}");
    check_text(r, "to xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx EMP-1234",
               "redacted-greedy-0");
    struct redact_set kinds;
    struct span out;
    struct buf room = {0};
    assert_int_equal(
        redactor_record(r, record_of("{\"body\":\"pin 1 a@b.com\"}", &room), &kinds, &out), 0);
    assert_int_equal(kinds.bits, UINT64_C(1) << REDACT_EMAIL | UINT64_C(1)
                                                                   << (REDACT_KIND_COUNT + 1));
    assert_string_equal(redact_stats_kind(kinds.names, REDACT_KIND_COUNT + 1), "pin");
    assert_string_equal(redact_stats_kind(kinds.names, REDACT_EMAIL), "email");
    buf_done(&room);
    redactor_free(r);
}

/* A number without quotes becomes a string, so that JSON stays JSON. */
static void json_stays_json(void **state)
{
    (void)state;
    struct redactor *r = redactor_with(REDACT_ENFORCE, REDACT_MASK);
    check_text(r, "{\"card\":4111111111111111,\"n\":1}", "{\"card\":\"redacted-card-0\",\"n\":1}");
    check_text(r, "{\"a\": [1, 4111111111111111 ]}", "{\"a\": [1, \"redacted-card-0\" ]}");
    check_text(r, "{\"password\": 12345678}", "{\"password\": \"redacted-assigned-0\"}");
    check_text(r, "{\"m\":\"x: 4111111111111111, y\"}", "{\"m\":\"x: redacted-card-0, y\"}");
    check_text(r, "{\"m\":\"\\\"a\\\":4111111111111111,\"}",
               "{\"m\":\"\\\"a\\\":redacted-card-0,\"}");
    check_text(r, "[INFO] card:4111111111111111, x", "[INFO] card:redacted-card-0, x");
    redactor_free(r);
}

/* ---- records ----------------------------------------------------------- */

static struct logs_group group_of(struct span resource)
{
    return (struct logs_group){.resource = resource, .resource_hash = hash64_seeded(resource, 0)};
}

static void only_what_was_found_is_changed(void **state)
{
    (void)state;
    struct redactor *r = redactor_with(REDACT_ENFORCE, REDACT_MASK);
    struct logs_group g = group_of(SPAN("")), clean;
    const struct logs_group *at = &g;
    struct buf room = {0};
    struct span was = record_of("{\"body\":\"nothing here\",\"attributes\":{\"a\":\"b\"}}", &room);
    struct span record = was;
    assert_int_equal(redactor_pass(r, 0, &at, &record, &clean), REDACT_SAME);
    assert_ptr_equal(record.base, was.base);
    assert_ptr_equal(at, &g);

    static const struct {
        const char *before, *after;
    } rows[] = {
        {"{\"body\":\"by alice@example.com\"}", "{\"body\":\"by redacted-email-0\"}"},
        {"{\"body\":{\"a\":[\"x\",\"alice@example.com\"]}}",
         "{\"body\":{\"a\":[\"x\",\"redacted-email-0\"]}}"},
        {"{\"body\":{\"alice@example.com\":1}}", "{\"body\":{\"redacted-email-0\":1}}"},
        {"{\"attributes\":{\"user\":\"alice@example.com\"}}",
         "{\"attributes\":{\"user\":\"redacted-email-0\"}}"},
        {"{\"attributes\":{\"db.password\":\"abc\"}}",
         "{\"attributes\":{\"db.password\":\"redacted-attribute-0\"}}"},
        {"{\"attributes\":{\"token\":12}}",
         "{\"attributes\":{\"token\":\"redacted-attribute-0\"}}"},
        {"{\"attributes\":{\"token\":true}}", "{\"attributes\":{\"token\":true}}"},
        {"{\"attributes\":{\"token\":\"***\"}}", "{\"attributes\":{\"token\":\"***\"}}"},
        {"{\"attributes\":{\"nickname\":\"al\"}}",
         "{\"attributes\":{\"nickname\":\"redacted-attribute-0\"}}"},
        {"{\"attributes\":{\"sessionId\":\"alice@example.com\"}}",
         "{\"attributes\":{\"sessionId\":\"alice@example.com\"}}"},
        {"{\"event_name\":\"of alice@example.com\"}", "{\"event_name\":\"of redacted-email-0\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf wanted = {0};
        record = record_of(rows[i].before, &room);
        assert_true(redactor_pass(r, 0, &at, &record, &clean) >= 0);
        assert_row(span_eq(record, record_of(rows[i].after, &wanted)), "%s", rows[i].before);
        buf_done(&wanted);
    }
    buf_done(&room);
    redactor_free(r);
}

static void detect_counts_and_changes_nothing(void **state)
{
    (void)state;
    struct redactor *r = redactor_with(REDACT_DETECT, REDACT_MASK);
    struct logs_group g = group_of(SPAN("")), clean;
    const struct logs_group *at = &g;
    struct buf room = {0};
    struct span was = record_of("{\"body\":\"a@example.com b@example.com\",\"attributes\":"
                                "{\"password\":\"abcd\",\"x\":\"c@example.com\"}}",
                                &room);
    struct span record = was;
    assert_int_equal(redactor_pass(r, 0, &at, &record, &clean), REDACT_SAME);
    assert_ptr_equal(record.base, was.base);
    const struct redact_stats *s = redactor_stats(r);
    assert_int_equal(s->hits[REDACT_EMAIL][REDACT_IN_BODY], 2);
    assert_int_equal(s->hits[REDACT_EMAIL][REDACT_IN_ATTRIBUTE], 1);
    assert_int_equal(s->hits[REDACT_ATTRIBUTE][REDACT_IN_ATTRIBUTE], 1);
    assert_string_equal(redact_done_name(s), "detect");
    struct span shown = redactor_show(r, SPAN("a@example.com"), true, REDACT_IN_TEMPLATE);
    assert_true(span_eq(shown, SPAN("a@example.com")));
    buf_done(&room);
    redactor_free(r);
}

static void attributes_and_records_can_be_dropped(void **state)
{
    (void)state;
    struct redactor *attr = redactor_with(REDACT_ENFORCE, REDACT_DROP_ATTRIBUTE);
    struct redactor *all = redactor_with(REDACT_ENFORCE, REDACT_DROP_RECORD);
    struct logs_group g = group_of(SPAN("")), clean;
    const struct logs_group *at = &g;
    struct buf room = {0}, wanted = {0};
    struct span record = record_of("{\"body\":\"a@example.com\",\"attributes\":{\"a\":1,\"b\":"
                                   "[\"c@example.com\"],\"password\":\"abcd\",\"d\":2}}",
                                   &room);
    struct span was = record;
    assert_int_equal(redactor_pass(attr, 0, &at, &record, &clean), REDACT_CHANGED);
    assert_true(span_eq(record, record_of("{\"body\":\"redacted-email-0\",\"attributes\":{\"a\":1,"
                                          "\"d\":2}}",
                                          &wanted)));
    record = was;
    assert_int_equal(redactor_pass(all, 0, &at, &record, &clean), REDACT_DROPPED);
    assert_int_equal(redactor_stats(all)->dropped_records, 1);
    record = record_of("{\"body\":\"nothing\"}", &room);
    assert_int_equal(redactor_pass(all, 0, &at, &record, &clean), REDACT_SAME);
    buf_done(&room);
    buf_done(&wanted);
    redactor_free(attr);
    redactor_free(all);
}

/* resource{attributes{host: text}} */
static struct span resource_of(const char *text, struct buf *room)
{
    struct buf any = {0}, pair = {0}, resource = {0};
    wire_append_len(&any, 1, span_str(text));
    wire_append_len(&pair, 1, SPAN("host"));
    wire_append_len(&pair, 2, buf_span(&any));
    wire_append_len(&resource, 1, buf_span(&pair));
    buf_clear(room);
    wire_append_len(room, 1, buf_span(&resource));
    buf_done(&any);
    buf_done(&pair);
    buf_done(&resource);
    return buf_span(room);
}

static void a_resource_is_scanned_once(void **state)
{
    (void)state;
    struct redactor *r = redactor_with(REDACT_ENFORCE, REDACT_MASK);
    struct buf room = {0}, wanted = {0}, other = {0};
    struct logs_group g = group_of(resource_of("of alice@example.com", &room));
    struct logs_group plain = group_of(resource_of("plain", &other)), clean;
    struct span expected = resource_of("of redacted-email-0", &wanted);
    for (int i = 0; i < 100; i++) {
        const struct logs_group *at = i % 2 == 0 ? &g : &plain;
        struct span record = SPAN("");
        assert_int_equal(redactor_pass(r, 0, &at, &record, &clean),
                         i % 2 == 0 ? REDACT_CHANGED : REDACT_SAME);
        if (i % 2 == 0) {
            assert_true(span_eq(at->resource, expected));
            assert_int_equal(at->resource_hash, hash64_seeded(expected, 0));
        } else {
            assert_ptr_equal(at, &plain);
        }
    }
    assert_int_equal(redactor_stats(r)->hits[REDACT_EMAIL][REDACT_IN_RESOURCE], 1);
    /* Another Resource with the same hash is not taken for it. */
    struct logs_group same = g;
    const struct logs_group *at = &same;
    struct span record = {0};
    same.resource = plain.resource;
    assert_int_equal(redactor_pass(r, 0, &at, &record, &clean), REDACT_SAME);
    assert_true(span_eq(at->resource, plain.resource));
    buf_done(&room);
    buf_done(&wanted);
    buf_done(&other);
    redactor_free(r);
}

static void count_seen(void *ctx, const char *kind, enum redact_where where, uint32_t service)
{
    unsigned *seen = ctx;
    assert_string_equal(kind, "email");
    assert_int_equal(where, REDACT_IN_BODY);
    seen[service]++;
}

static void the_first_of_a_kind_in_a_service_is_told(void **state)
{
    (void)state;
    unsigned seen[4] = {0};
    struct redactor *r;
    const struct redact_opts opts = {.mode = REDACT_DETECT,
                                     .kinds = REDACT_KINDS_ALL,
                                     .max_services = 4,
                                     .seen = count_seen,
                                     .ctx = seen};
    assert_int_equal(redactor_new(&r, &opts), 0);
    struct logs_group g = group_of(SPAN("")), clean;
    struct buf room = {0};
    for (uint32_t i = 0; i < 40; i++) {
        const struct logs_group *at = &g;
        struct span record = record_of("{\"body\":\"alice@example.com\"}", &room);
        assert_int_equal(redactor_pass(r, i % 2 + 1, &at, &record, &clean), REDACT_SAME);
    }
    assert_int_equal(seen[0] + seen[3], 0);
    assert_int_equal(seen[1], 1);
    assert_int_equal(seen[2], 1);
    buf_done(&room);
    redactor_free(r);
}

static void without_memory_nothing_goes_on(void **state)
{
    (void)state;
    struct budget budget;
    struct redactor *r;
    const struct redact_opts opts = {
        .mode = REDACT_ENFORCE, .kinds = REDACT_KINDS_ALL, .budget = &budget};
    struct logs_group g = group_of(SPAN("")), clean;
    struct buf room = {0};
    struct span was = record_of("{\"body\":\"alice@example.com\"}", &room);
    bool was_done = false;
    for (uint64_t limit = 0; limit < 40000 && !was_done; limit += 100) {
        const struct logs_group *at = &g;
        struct span record = was;
        budget_init(&budget, limit);
        assert_int_equal(redactor_new(&r, &opts), 0);
        int rc = redactor_pass(r, 0, &at, &record, &clean);
        assert_true(rc < 0 || rc == REDACT_CHANGED);
        was_done = rc >= 0;
        struct span shown = was;
        redactor_show_record(r, &shown);
        assert_true(shown.len == 0 || memmem(shown.base, shown.len, "alice", 5) == NULL);
        shown = redactor_show(r, SPAN("alice@example.com"), false, REDACT_IN_TEMPLATE);
        assert_true(shown.len == 0 || memmem(shown.base, shown.len, "alice", 5) == NULL);
        redactor_free(r);
        assert_int_equal(budget.used, 0);
    }
    assert_true(was_done);
    buf_done(&room);
}

/* ---- the law: what is put there signs like what was there --------------- */

static uint64_t sign(struct signer *s, struct span record)
{
    struct log_record r;
    assert_int_equal(log_record_read(&r, record), 0);
    const struct sign_input in = {.event_name = r.event_name, .record = record, .body = r.body};
    return signer_sign(s, &in);
}

#define B20 "aB3dE6gH9jaB3dE6gH9j"

static const struct {
    const char *kind, *text;
} values[] = {
    {"email", "alice@example.com"},
    {"card", "4111111111111111"},
    {"card", "4111 1111 1111 1111"},
    {"card", "3782-822463-10005"},
    {"iban", "DE89370400440532013000"},
    {"iban", "DE89 3704 0044 0532 0130 00"},
    {"ssn", "536-90-4399"},
    {"ssn", "536 90 4399"},
    {"phone", "+14155552671"},
    {"phone", "+49 30 1234-5678"},
    {"ip", "203.0.113.7"},
    {"ip", "2001:db8::1"},
    {"jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlMTIz"},
    {"bearer", "Bearer abcdefgh12345678ab12"},
    {"basic", "Basic YWxpY2U6c2VjcmV0"},
    {"url_password", "postgres://app:s3cr3t@db.example.com/x"},
    {"assigned", "password=hunter2"},
    {"assigned", "password: hunter2"},
    {"assigned_word", "password: hunter"},
    {"assigned", "secret='two words'"},
    {"assigned", "api_key=\"abcd1234\""},
    {"posthog_personal", "phx_" B20 B20},
    {"aws_key", "AKIAIOSFODNN7EXAMPLQ"},
    {"google_key", "AIzaSyA-1234567890abcdefghijklmnopqrstu"},
    {"github", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"},
    {"gitlab", "glpat-" B20},
    {"stripe", "sk_live_" B20},
    {"slack", "xoxb-123456789012-123456789012-" B20},
    {"openai", "sk-proj-" B20 "T3BlbkFJ" B20},
    {"npm", "npm_" B20 "aB3dE6gH9jaB3dE6"},
    {"sendgrid", "SG." B20 "ab." B20 B20 "abc"},
    {"pypi", "pypi-AgEIcHlwaS5vcmc" B20 B20 B20},
    {"shopify", "shpat_0123456789abcdef0123456789abcdef"},
    {"huggingface", "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"},
    {"linear", "lin_api_" B20 B20},
    {"vault", "hvs." B20 B20 B20 B20 B20},
    {"private_key", "-----BEGIN RSA PRIVATE "
                    "KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\\nbKcwggSjAgEAAoIBAQ==\\n-----END "
                    "RSA PRIVATE KEY-----"},
};

static const char *const contexts[] = {
    "%s",
    "login of %s failed",
    "user=%s ok",
    "user: %s, retry 3",
    "(%s)",
    "[%s]",
    "got \\\"%s\\\" from peer",
    "2026-01-02T03:04:05Z INFO app: sent to %s.",
    "a,%s,b",
    "path /x/%s/y",
    "<%s>",
    "{\\\"m\\\":\\\"sent to %s now\\\",\\\"n\\\":1}",
    "level=info msg=\\\"sent to %s now\\\" n=1",
};

/*
 * Where LPS-1 makes it impossible, and in how many of the contexts: a word of letters is a constant
 * of its pattern and no placeholder is that word; the lines of a key are signed as those of a trace
 * are; and what <> holds is one variable or several words, as it has blanks or not.
 */
static const struct {
    const char *kind;
    unsigned broken;
} impossible[] = {
    {"assigned_word", 12}, {"huggingface", 9}, {"private_key", 13}, {"card", 1},
    {"iban", 1},           {"ssn", 1},         {"phone", 1},        {"ip", 1},
};

static unsigned broken_of(enum redact_action action, const char *kind, bool print)
{
    struct redactor *r = redactor_with(REDACT_ENFORCE, action);
    struct signer *s;
    struct buf room = {0};
    unsigned broken = 0;
    assert_int_equal(signer_new(&s), 0);
    for (size_t v = 0; v < ARRAY_LEN(values); v++) {
        if (strcmp(values[v].kind, kind) != 0)
            continue;
        for (size_t c = 0; c < ARRAY_LEN(contexts); c++) {
            char text[1024], json[1200];
            struct redact_set kinds;
            struct span out;
            const char *hole = strstr(contexts[c], "%s");
            snprintf(text, sizeof text, "%.*s%s%s", (int)(hole - contexts[c]), contexts[c],
                     values[v].text, hole + 2);
            size_t n = (size_t)snprintf(json, sizeof json, "{\"body\":\"%s\"}", text);
            assert_true(n < sizeof json);
            if (strchr(values[v].text, '"') != NULL) /* not inside of quotes again */
                continue;
            struct span record = record_of(json, &room);
            uint64_t before = sign(s, record);
            assert_int_equal(redactor_record(r, record, &kinds, &out), 0);
            if (sign(s, out) == before)
                continue;
            broken++;
            if (print)
                print_message("%s %s: %s\n", redact_action_name(action), kind, text);
        }
    }
    buf_done(&room);
    signer_free(s);
    redactor_free(r);
    return broken;
}

static unsigned allowed_of(const char *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(impossible); i++)
        if (strcmp(impossible[i].kind, kind) == 0)
            return impossible[i].broken;
    return 0;
}

static const enum redact_action actions[] = {REDACT_MASK, REDACT_PARTIAL, REDACT_HASH,
                                             REDACT_DROP_ATTRIBUTE};

static void placeholders_sign_like_what_they_replace(void **state)
{
    (void)state;
    for (size_t a = 0; a < ARRAY_LEN(actions); a++)
        for (size_t v = 0; v < ARRAY_LEN(values); v++) {
            unsigned allowed = allowed_of(values[v].kind);
            unsigned broken = broken_of(actions[a], values[v].kind, allowed == 0);
            assert_row(broken == allowed, "%s %s: %u of %zu contexts, wanted %u",
                       redact_action_name(actions[a]), values[v].kind, broken, ARRAY_LEN(contexts),
                       allowed);
        }
}

/* Each line of real logs, and each with a value behind it. */
static void real_logs_sign_alike(void **state)
{
    static const char *const names[] = {"Android", "Apache", "BGL",   "Hadoop",
                                        "Linux",   "Mac",    "Spark", "Zookeeper"};
    const char *root = getenv("SHARED_DIR") != NULL ? getenv("SHARED_DIR") : "../../shared";
    struct redactor *with[ARRAY_LEN(actions)];
    struct signer *s;
    struct buf out = {0};
    size_t hits = 0, lines = 0;
    (void)state;
    assert_int_equal(signer_new(&s), 0);
    for (size_t a = 0; a < ARRAY_LEN(actions); a++)
        with[a] = redactor_with(REDACT_ENFORCE, actions[a]);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[512], line[65536], text[66560];
        snprintf(path, sizeof path, "%s/data/loghub/%s/%s_2k.log", root, names[i], names[i]);
        FILE *f = fopen(path, "r");
        if (f == NULL) {
            print_message("skipped: no logs at %s\n", path);
            break;
        }
        for (; fgets(line, sizeof line, f) != NULL; lines++) {
            line[strcspn(line, "\r\n")] = '\0';
            size_t v = lines % (2 * ARRAY_LEN(values));
            bool is_bare = v >= ARRAY_LEN(values) || allowed_of(values[v].kind) > 1;
            snprintf(text, sizeof text, "%s%s%s", line, is_bare ? "" : " by ",
                     is_bare ? "" : values[v].text);
            struct sign_input in = {.body = {.kind = LOG_STRING, .text = span_str(text)}};
            uint64_t before = signer_sign(s, &in);
            struct redactor *r = with[lines % ARRAY_LEN(actions)];
            buf_clear(&out);
            int found = redactor_text(r, span_str(text), ignore_found, NULL, &out);
            hits += (size_t)found;
            in.body.text = buf_span(&out);
            assert_row(signer_sign(s, &in) == before, "%s", text);
        }
        fclose(f);
    }
    for (size_t a = 0; a < ARRAY_LEN(actions); a++)
        redactor_free(with[a]);
    signer_free(s);
    buf_done(&out);
    if (lines == 0)
        skip();
    assert_true(hits > lines / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actions_on_texts),
        cmocka_unit_test(patterns_of_users),
        cmocka_unit_test(json_stays_json),
        cmocka_unit_test(only_what_was_found_is_changed),
        cmocka_unit_test(detect_counts_and_changes_nothing),
        cmocka_unit_test(attributes_and_records_can_be_dropped),
        cmocka_unit_test(a_resource_is_scanned_once),
        cmocka_unit_test(the_first_of_a_kind_in_a_service_is_told),
        cmocka_unit_test(without_memory_nothing_goes_on),
        cmocka_unit_test(placeholders_sign_like_what_they_replace),
        cmocka_unit_test(real_logs_sign_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
