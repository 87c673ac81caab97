#include "unit/test.h"

#include "otlp/logs.h"
#include "util/utf8.h"

/* Wrap a message in one LEN field after the other, innermost first. */
static void wrap(struct buf *message, uint32_t number)
{
    struct buf outer = {0};
    wire_append_len(&outer, number, buf_span(message));
    buf_done(message);
    *message = outer;
}

/* The request with one record of these bytes. */
static struct buf request_with(struct span record)
{
    struct buf b = {0};
    buf_append(&b, record);
    wrap(&b, 2);
    wrap(&b, 2);
    wrap(&b, 1);
    return b;
}

static int check_record(struct span record)
{
    struct logs_count count = {0};
    struct buf request = request_with(record);
    int rc = logs_check(buf_span(&request), &count);
    if (rc == 0)
        assert_int_equal(count.records, 1);
    else
        assert_int_equal(count.records, 0);
    buf_done(&request);
    return rc;
}

static void records_are_sound_or_not(void **state)
{
    static const struct {
        const char *name;
        struct span record;
        int rc;
    } rows[] = {
        {"empty", SPAN(""), 0},
        {"string body", SPAN("\x2a\x04\x0a\x02hi"), 0},
        {"empty body", SPAN("\x2a\x00"), 0},
        {"body twice", SPAN("\x2a\x04\x0a\x02hi\x2a\x00"), 0},
        {"body as varint", SPAN("\x28\x01"), ERR_MALFORMED},
        {"time as varint", SPAN("\x08\x01"), ERR_MALFORMED},
        {"severity as LEN", SPAN("\x12\x01\x01"), ERR_MALFORMED},
        {"severity, ten bytes", SPAN("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 0},
        {"severity, 65 bits", SPAN("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), ERR_MALFORMED},
        {"severity, 11 bytes", SPAN("\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
         ERR_MALFORMED},
        {"flags as I64",
         SPAN("\x41"
              "12345678"),
         ERR_MALFORMED},
        {"flags cut short",
         SPAN("\x45"
              "123"),
         ERR_MORE},
        {"time cut short",
         SPAN("\x09"
              "1234567"),
         ERR_MORE},
        {"length past the end",
         SPAN("\x1a\x05"
              "four"),
         ERR_MORE},
        {"length of 2^63", SPAN("\x1a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), ERR_MORE},
        {"tag alone", SPAN("\x1a"), ERR_MORE},
        {"field number 0", SPAN("\x02\x00"), ERR_MALFORMED},
        {"field number 2^29", SPAN("\x82\x80\x80\x80\x10\x00"), ERR_MALFORMED},
        {"wire type 6", SPAN("\x7e"), ERR_MALFORMED},
        {"wire type 7", SPAN("\x7f"), ERR_MALFORMED},
        {"unknown, all wire types",
         SPAN("\x78\x01\x79"
              "12345678"
              "\x7a\x01x\x7d"
              "1234"),
         0},
        {"removed field 4, any type", SPAN("\x20\x01\x22\x01\xff"), 0},
        {"group", SPAN("\x7b\x08\x01\x7c"), 0},
        {"groups in a group", SPAN("\x7b\x7b\x08\x01\x7c\x7c"), 0},
        {"group, other end", SPAN("\x7b\x08\x01\x74"), ERR_MALFORMED},
        {"group without end", SPAN("\x7b\x08\x01"), ERR_MORE},
        {"end without group", SPAN("\x7c"), ERR_MALFORMED},
        {"known field as group", SPAN("\x2b\x2c"), ERR_MALFORMED},
        {"tag longer than need be", SPAN("\xaa\x00\x04\x0a\x02hi"), 0},
        {"the same, wrong type", SPAN("\xa8\x00\x04"), ERR_MALFORMED},
        {"the same, not UTF-8", SPAN("\x9a\x00\x01\xff"), ERR_UTF8},
        {"severity text not UTF-8", SPAN("\x1a\x02\xc3\x28"), ERR_UTF8},
        {"event name not UTF-8", SPAN("\x62\x01\x80"), ERR_UTF8},
        {"body not UTF-8", SPAN("\x2a\x03\x0a\x01\xff"), ERR_UTF8},
        {"key not UTF-8", SPAN("\x32\x03\x0a\x01\xff"), ERR_UTF8},
        {"value not UTF-8", SPAN("\x32\x05\x12\x03\x0a\x01\xff"), ERR_UTF8},
        {"bytes need not be UTF-8", SPAN("\x2a\x03\x3a\x01\xff\x4a\x01\xff\x52\x01\xff"), 0},
        {"bool as LEN", SPAN("\x2a\x03\x12\x01x"), ERR_MALFORMED},
        {"int as I64",
         SPAN("\x2a\x09\x19"
              "12345678"),
         ERR_MALFORMED},
        {"double as I32",
         SPAN("\x2a\x05\x25"
              "1234"),
         ERR_MALFORMED},
        {"array as varint", SPAN("\x2a\x02\x28\x01"), ERR_MALFORMED},
        {"element of the array as varint", SPAN("\x2a\x04\x2a\x02\x08\x01"), ERR_MALFORMED},
        {"kvlist with a pair", SPAN("\x2a\x07\x32\x05\x0a\x03\x0a\x01k"), 0},
        {"inner length past the outer", SPAN("\x2a\x04\x0a\x05hi\x1a\x01x"), ERR_MORE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int rc = check_record(rows[i].record);
        assert_row(rc == rows[i].rc, "%s gave %d", rows[i].name, rc);
    }
}

static void the_levels_above_are_checked_too(void **state)
{
    static const struct {
        const char *name;
        struct span request;
        int rc;
    } rows[] = {
        {"nothing", SPAN(""), 0},
        {"empty ResourceLogs", SPAN("\x0a\x00\x0a\x00"), 0},
        {"resource_logs as varint", SPAN("\x08\x00"), ERR_MALFORMED},
        {"resource twice", SPAN("\x0a\x04\x0a\x00\x0a\x00"), 0},
        {"resource as varint", SPAN("\x0a\x02\x08\x01"), ERR_MALFORMED},
        {"schema_url not UTF-8", SPAN("\x0a\x03\x1a\x01\xff"), ERR_UTF8},
        {"scope schema_url not UTF-8", SPAN("\x0a\x05\x12\x03\x1a\x01\xff"), ERR_UTF8},
        {"scope name not UTF-8", SPAN("\x0a\x07\x12\x05\x0a\x03\x0a\x01\xff"), ERR_UTF8},
        {"scope version as I32",
         SPAN("\x0a\x09\x12\x07\x0a\x05\x15"
              "1234"),
         ERR_MALFORMED},
        {"resource attribute key not UTF-8", SPAN("\x0a\x07\x0a\x05\x0a\x03\x0a\x01\xff"),
         ERR_UTF8},
        {"entity type not UTF-8", SPAN("\x0a\x07\x0a\x05\x1a\x03\x12\x01\xff"), ERR_UTF8},
        {"text instead", SPAN("GET / HTTP/1.1\r\n"), ERR_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct logs_count count;
        int rc = logs_check(rows[i].request, &count);
        assert_row(rc == rows[i].rc, "%s gave %d", rows[i].name, rc);
    }
    struct logs_count count = {9, 9, 9};
    assert_int_equal(logs_check((struct span){0}, &count), 0);
    assert_int_equal(count.resources + count.scopes + count.records, 0);
}

/* A record whose body is `arrays` arrays one in the other. */
static int check_nested(unsigned arrays)
{
    struct buf b = {0};
    for (unsigned i = 0; i < arrays; i++) {
        wrap(&b, 1); /* the element of the array in the array */
        wrap(&b, 5); /* and the array in its AnyValue */
    }
    wrap(&b, 5); /* body */
    int rc = check_record(buf_span(&b));
    buf_done(&b);
    return rc;
}

static void nesting_has_an_end(void **state)
{
    (void)state;
    /* body is level 4, its array 5, the element 6, ... the 48th element 100 */
    assert_int_equal(check_nested(48), 0);
    assert_int_equal(check_nested(49), ERR_TOO_DEEP);
    assert_int_equal(check_nested(5000), ERR_TOO_DEEP);
}

static int check_groups(unsigned n)
{
    struct buf b = {0};
    for (unsigned i = 0; i < n; i++)
        wire_append_tag(&b, 200, WIRE_GROUP);
    for (unsigned i = 0; i < n; i++)
        wire_append_tag(&b, 200, WIRE_END_GROUP);
    int rc = check_record(buf_span(&b));
    buf_done(&b);
    return rc;
}

static void groups_count_as_nesting(void **state)
{
    (void)state;
    assert_int_equal(check_groups(LOGS_MAX_DEPTH - 4), 0); /* the record is level 3 */
    assert_int_equal(check_groups(LOGS_MAX_DEPTH - 3), ERR_TOO_DEEP);
    assert_int_equal(check_groups(100000), ERR_TOO_DEEP);
}

static void utf8_is_well_formed_or_not(void **state)
{
    static const struct {
        struct span text;
        bool valid;
    } rows[] = {
        {SPAN(""), true},
        {SPAN("a"), true},
        {SPAN("\0"), true},
        {SPAN("\x7f"), true},
        {SPAN("\xc2\x80"), true},
        {SPAN("\xdf\xbf"), true},
        {SPAN("\xe0\xa0\x80"), true},
        {SPAN("\xed\x9f\xbf"), true},
        {SPAN("\xee\x80\x80"), true},
        {SPAN("\xf0\x90\x80\x80"), true},
        {SPAN("\xf4\x8f\xbf\xbf"), true},
        {SPAN("\x80"), false},
        {SPAN("\xc0\x80"), false},
        {SPAN("\xc1\xbf"), false},
        {SPAN("\xc2"), false},
        {SPAN("\xc2\x7f"), false},
        {SPAN("\xe0\x9f\xbf"), false},
        {SPAN("\xed\xa0\x80"), false},
        {SPAN("\xe1\x80"), false},
        {SPAN("\xe1\x80\xc0"), false},
        {SPAN("\xf0\x8f\xbf\xbf"), false},
        {SPAN("\xf4\x90\x80\x80"), false},
        {SPAN("\xf5\x80\x80\x80"), false},
        {SPAN("\xf1\x80\x80\x7f"), false},
        {SPAN("\xff"), false},
    };
    (void)state;
    /* At every place of texts of every length, for the words of the fast path. */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t before = 0; before < 20; before++) {
            for (size_t after = 0; after < 20; after++) {
                uint8_t text[64];
                memset(text, 'x', sizeof text);
                memcpy(text + before, rows[i].text.base, rows[i].text.len);
                struct span s = {text, before + rows[i].text.len + after};
                assert_row(utf8_is_valid(s) == rows[i].valid, "%zu, %zu x before, %zu behind", i,
                           before, after);
            }
        }
    }
}

/* ---- records ---- */

static void the_last_of_several_wins(void **state)
{
    struct log_record r;
    (void)state;
    assert_int_equal(log_record_read(&r, SPAN("\x10\x05\x10\x11\x1a\x01"
                                              "a\x1a\x01"
                                              "b")),
                     0);
    assert_int_equal(r.severity_number, 17);
    assert_true(span_eq(r.severity_text, SPAN("b")));

    /* a body that comes twice is merged: an empty one unsets nothing */
    assert_int_equal(log_record_read(&r, SPAN("\x2a\x04\x0a\x02hi\x2a\x00")), 0);
    assert_int_equal(r.body.kind, LOG_STRING);
    assert_true(span_eq(r.body.text, SPAN("hi")));
    assert_int_equal(log_record_read(&r, SPAN("\x2a\x04\x0a\x02hi\x2a\x02\x18\x07")), 0);
    assert_int_equal(r.body.kind, LOG_INT);
    assert_int_equal(r.body.integer, 7);

    /* value before key, key twice */
    assert_int_equal(log_record_read(&r, SPAN("\x32\x13\x12\x02\x18\x01\x0a\x01x\x0a\x0a"
                                              "event.name")),
                     0);
    assert_int_equal(r.attributes, 1);
    assert_non_null(log_known(&r, LOG_EVENT_NAME));
    assert_int_equal(log_known(&r, LOG_EVENT_NAME)->integer, 1);
    assert_null(log_known(&r, LOG_EXCEPTION_TYPE));

    /* key twice, with no value behind */
    assert_int_equal(log_record_read(&r, SPAN("\x32\x0f\x0a\x01x\x0a\x0a"
                                              "event.name")),
                     0);
    assert_non_null(log_known(&r, LOG_EVENT_NAME));
    assert_int_equal(log_known(&r, LOG_EVENT_NAME)->kind, LOG_NONE);

    assert_int_equal(log_record_read(&r, SPAN("")), 0);
    assert_int_equal(r.body.kind, LOG_NONE);
    assert_int_equal(r.known_set, 0);
}

/* One attribute of this key, with the fields of an AnyValue behind it. */
static bool may_name(const char *key, struct span value)
{
    struct buf record = {0}, pair = {0};
    struct log_record r;
    wire_append_len(&pair, 1, span_str(key));
    wire_append_len(&pair, 2, value);
    wire_append_len(&record, 6, buf_span(&pair));
    assert_int_equal(log_record_read(&r, buf_span(&record)), 0);
    buf_done(&record);
    buf_done(&pair);
    return r.may_name;
}

static void what_may_name_a_record_is_noticed(void **state)
{
    static const char *const names[] = {
        "event.name",
        "Event.Name",
        "exception.type",
        "EXCEPTION.TYPE",
        "@mt",
        "x.@MT",
        "messageTemplate",
        "message_template",
        "a.b.template",
        "log.record.template",
        "{OriginalFormat}",
        "State.{OriginalFormat}",
        "message_template.text",
    };
    static const char *const others[] = {
        "",
        "t",
        "mt",
        "name",
        "code.function.name",
        "thread.name",
        "http.request.method",
        "url.path",
        "mime.type",
        "http.status_code",
        "sampling.threshold",
        "otel.logs.adjusted_count",
        "text",
        "{OriginalForma}",
        "tenant",
    };
    char longer[200] = "";
    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_row(may_name(names[i], SPAN("\x0a\x01x")), "%s", names[i]);
        assert_row(may_name(names[i], SPAN("")), "%s", names[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_row(!may_name(others[i], SPAN("\x0a\x01x")), "%s", others[i]);
        assert_row(!may_name(others[i], SPAN("")), "%s", others[i]);
        assert_row(may_name(others[i], SPAN("\x32\x00")), "%s, a map", others[i]);
        assert_row(may_name(others[i], SPAN("\x0a\x01x\x32\x00")), "%s, a map at last", others[i]);
    }
    struct buf value = {0}; /* longer than the quick way takes */
    wire_append_len(&value, 1, span_str(longer));
    assert_true(may_name("event.name", buf_span(&value)));
    assert_false(may_name("url.path", buf_span(&value)));
    buf_done(&value);
}

static void negative_and_large_numbers(void **state)
{
    struct log_record r;
    (void)state;
    assert_int_equal(log_record_read(&r, SPAN("\x2a\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                                              "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
                     0);
    assert_int_equal(r.body.integer, -1);
    assert_int_equal(r.severity_number, -1);
    assert_int_equal(log_severity(&r), 0);
    r.severity_number = 25;
    assert_int_equal(log_severity(&r), 24);
    r.severity_number = INT32_MAX;
    assert_int_equal(log_severity(&r), 24);
}

static void severities_in_all_spellings(void **state)
{
    static const struct {
        const char *text;
        unsigned number;
    } rows[] = {
        {"trace", 1},
        {"TRACE", 1},
        {"Trace3", 3},
        {"verbose", 1},
        {"trce", 1},
        {"debug", 5},
        {"dbug", 5},
        {"DEBUG2", 6},
        {"debug5", 5},
        {"DBG", 5},
        {"info", 9},
        {"Information", 9},
        {"INFORMATIONAL", 9},
        {"notice", 9},
        {"INFO4", 12},
        {" info ", 9},
        {"[INFO]", 9},
        {"<warn>", 13},
        {"(error)", 17},
        {"INFO:", 9},
        {"[ WARN ]", 13},
        {"\tinfo\r\n", 9},
        {"warn", 13},
        {"Warning", 13},
        {"WRN", 13},
        {"warn2", 14},
        {"error", 17},
        {"err", 17},
        {"eror", 17},
        {"ERROR4", 20},
        {"severe", 17},
        {"fail", 17},
        {"critical", 21},
        {"crit", 21},
        {"fatal", 21},
        {"alert", 21},
        {"emerg", 21},
        {"emergency", 21},
        {"panic", 21},
        {"FATAL4", 24},
        {"I", 9},
        {"w", 13},
        {"E", 17},
        {"", 0},
        {" ", 0},
        {"[]", 0},
        {"info5", 0},
        {"info1", 0},
        {"fatal0", 0},
        {"notset", 0},
        {"warning2", 0},
        {"2", 0},
        {"17", 0},
        {"infos", 0},
        {"in fo", 0},
        {"informationally yours", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct log_record r = {.severity_text = span_str(rows[i].text)};
        assert_row(log_severity(&r) == rows[i].number, "'%s' gave %u", rows[i].text,
                   log_severity(&r));
        r.severity_number = 3;
        assert_int_equal(log_severity(&r), 3);
    }
}

/* ---- groups ---- */

struct seen {
    uint32_t records, stop_after;
    struct logs_group last;
};

static int see(void *ctx, const struct logs_group *g, struct span record)
{
    struct seen *s = ctx;
    (void)record;
    s->last = *g;
    return ++s->records == s->stop_after ? 77 : 0;
}

#define SERVICE(name) "\x0a\x17\x0a\x0cservice.name\x12\x07\x0a\x05" name

static void the_surroundings_are_gathered(void **state)
{
    struct arena arena;
    struct seen seen = {0};
    struct buf b = {0};
    (void)state;
    arena_init(&arena, 4096, NULL);

    /* before: schema_url and resource; behind: a second resource, unknown 9 */
    wire_append_len(&b, 3, SPAN("url"));
    wire_append_len(&b, 1, SPAN(SERVICE("first")));
    size_t before = b.len;
    wire_append_len(&b, 2, SPAN("\x0a\x00\x12\x00\x1a\x01u\x12\x00"));
    size_t behind = b.len;
    wire_append_len(&b, 1, SPAN(SERVICE("other")));
    wire_append_varint(&b, 9, 1);
    struct buf fields = {0};
    buf_append(&fields, (struct span){b.base, before});
    buf_append(&fields, (struct span){b.base + behind, b.len - behind});
    wrap(&b, 1);

    assert_int_equal(logs_each(buf_span(&b), 1, &arena, see, &seen), 0);
    assert_int_equal(seen.records, 2);
    assert_true(span_eq(seen.last.resource, buf_span(&fields)));
    assert_true(span_eq(seen.last.scope, SPAN("\x0a\x00\x1a\x01u")));
    assert_true(span_eq(seen.last.service_name, SPAN("other")));
    assert_int_equal(seen.last.service_instance_id.len, 0);
    assert_true(arena.used_bytes > 0);

    seen = (struct seen){.stop_after = 1};
    assert_int_equal(logs_each(buf_span(&b), 1, &arena, see, &seen), 77);
    assert_int_equal(seen.records, 1);

    arena_done(&arena);
    arena_init(&arena, 8, NULL);
    assert_int_equal(logs_each(buf_span(&b), 1, &arena, see, &seen), ERR_TOO_BIG);
    arena_done(&arena);
    buf_done(&fields);
    buf_done(&b);
}

static void what_lies_side_by_side_is_not_copied(void **state)
{
    struct arena arena;
    struct seen seen = {0};
    struct buf b = {0};
    (void)state;
    arena_init(&arena, 4096, NULL);
    wire_append_len(&b, 1, SPAN(SERVICE("first")));
    wire_append_len(&b, 3, SPAN("url"));
    wire_append_len(&b, 2, SPAN("\x12\x00"));
    wrap(&b, 1);
    assert_int_equal(logs_each(buf_span(&b), 1, &arena, see, &seen), 0);
    assert_true(seen.last.resource.base > b.base && seen.last.resource.base < b.base + b.len);
    assert_int_equal(seen.last.scope.len, 0);
    assert_true(span_eq(seen.last.service_name, SPAN("first")));
    assert_int_equal(arena.used_bytes, 0);
    arena_done(&arena);
    buf_done(&b);
}

/* ---- walking in parts ---- */

struct steps {
    struct buf *seen;
    uint32_t left;
};

static int step(void *ctx, const struct logs_group *g, struct span record)
{
    struct steps *s = ctx;
    if (s->left == 0)
        return LOGS_PAUSE;
    s->left--;
    buf_printf(s->seen, "%u %u %zu %zu %llx %llx|", g->resource_index, g->scope_index,
               g->resource.len, g->scope.len, (unsigned long long)g->resource_hash,
               (unsigned long long)g->scope_hash);
    buf_append(s->seen, record);
    return 0;
}

/* Resources with other fields before, between and behind; scopes and resources without records. */
static void a_walk_in_parts_sees_the_same(void **state)
{
    (void)state;
    struct buf request = {0}, whole = {0}, parts = {0};
    struct arena arena;
    uint32_t records = 0;
    arena_init(&arena, 65536, NULL);
    for (unsigned r = 0; r < 4; r++) {
        struct buf resource = {0};
        wire_append_len(&resource, 3, SPAN("schema"));
        for (unsigned s = 0; s < 3; s++) {
            struct buf scope = {0};
            for (unsigned i = 0; i < (r == 2 || s == 1 ? 0 : 3); i++, records++) {
                uint8_t body[] = {0x2a, 3, 0x0a, 1, (uint8_t)('a' + records)};
                wire_append_len(&scope, 2, span_of(body, sizeof body));
                if (i == 1)
                    wire_append_len(&scope, 3, SPAN("s"));
            }
            wire_append_len(&resource, 2, buf_span(&scope));
            buf_done(&scope);
        }
        wire_append_len(&request, 1, buf_span(&resource));
        buf_done(&resource);
    }
    struct steps all = {&whole, UINT32_MAX};
    assert_int_equal(logs_each(buf_span(&request), 7, &arena, step, &all), 0);
    for (uint32_t most = 1; most <= records + 1; most++) {
        struct logs_place place = {0};
        uint32_t calls = 1;
        buf_clear(&parts);
        for (;; calls++) {
            struct steps some = {&parts, most};
            int rc = logs_each_from(buf_span(&request), (struct span){0}, 7, &arena, &place, step,
                                    &some);
            arena_reset(&arena);
            if (rc == 0)
                break;
            assert_int_equal(rc, LOGS_PAUSE);
        }
        assert_row(calls == (records + most - 1) / most, "%u a part: %u calls", most, calls);
        assert_true(span_eq(buf_span(&parts), buf_span(&whole)));
    }
    buf_done(&request);
    buf_done(&whole);
    buf_done(&parts);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_walk_in_parts_sees_the_same),
        cmocka_unit_test(records_are_sound_or_not),
        cmocka_unit_test(the_levels_above_are_checked_too),
        cmocka_unit_test(nesting_has_an_end),
        cmocka_unit_test(groups_count_as_nesting),
        cmocka_unit_test(utf8_is_well_formed_or_not),
        cmocka_unit_test(the_last_of_several_wins),
        cmocka_unit_test(what_may_name_a_record_is_noticed),
        cmocka_unit_test(negative_and_large_numbers),
        cmocka_unit_test(severities_in_all_spellings),
        cmocka_unit_test(the_surroundings_are_gathered),
        cmocka_unit_test(what_lies_side_by_side_is_not_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
