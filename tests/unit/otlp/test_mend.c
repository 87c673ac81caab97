#include "unit/test.h"

#include <stdlib.h>

#include "otlp/json.h"
#include "otlp/mend.h"
#include "pb.h"
#include "util/rng.h"
#include "util/utf8.h"

#define RECORDS 10

/* ---- a request of ten records, one of which is given ---- */

static void append_record(struct buf *scope_logs, unsigned i)
{
    struct buf value = {0}, record = {0};
    char text[64];
    snprintf(text, sizeof text, "payment %u failed", i);
    wire_append_len(&value, 1, span_str(text));
    wire_append_i64(&record, 1, 1796030000000000000u + i);
    wire_append_varint(&record, 2, 17);
    wire_append_len(&record, 5, buf_span(&value));
    wire_append_len(&record, 9, SPAN("0123456789abcdef"));
    wire_append_len(scope_logs, 2, buf_span(&record));
    buf_done(&value);
    buf_done(&record);
}

/* The request; `other` stands in place of record `at`, and is left out where its base is NULL. */
static struct buf request_of(unsigned at, struct span other, struct span resource)
{
    struct buf scope_logs = {0}, resource_logs = {0}, request = {0};
    wire_append_len(&scope_logs, 1, SPAN("\x0a\x03lib"));
    for (unsigned i = 0; i < RECORDS; i++) {
        if (i != at)
            append_record(&scope_logs, i);
        else if (other.base != NULL)
            wire_append_len(&scope_logs, 2, other);
    }
    wire_append_len(&resource_logs, 1, resource);
    wire_append_len(&resource_logs, 2, buf_span(&scope_logs));
    wire_append_len(&request, 1, buf_span(&resource_logs));
    buf_done(&scope_logs);
    buf_done(&resource_logs);
    return request;
}

#define SHOP SPAN("\x0a\x16\x0a\x0cservice.name\x12\x06\x0a\x04shop")

struct mending {
    struct logs_count count;
    struct logs_mended mended;
    struct buf out;
    int rc;
};

static void mend(struct mending *m, struct span request)
{
    *m = (struct mending){0};
    m->rc = logs_mend(request, &m->out, &m->count, &m->mended);
    if (m->rc == 0) {
        struct logs_count again;
        assert_int_equal(logs_check(buf_span(&m->out), &again), 0);
        assert_memory_equal(&again, &m->count, sizeof again);
    } else {
        assert_int_equal(m->out.len, 0);
    }
}

static void mending_done(struct mending *m)
{
    buf_done(&m->out);
    logs_mended_done(&m->mended);
}

static void check_tally(const struct logs_mended *m, uint32_t resource, uint32_t records,
                        size_t bytes)
{
    const struct logs_rejected *rows = (const void *)m->tally.base;
    assert_int_equal(m->tally.len, sizeof *rows);
    assert_int_equal(rows[0].resource_index, resource);
    assert_int_equal(rows[0].records, records);
    assert_int_equal(rows[0].bytes, bytes);
}

static void a_damaged_record_is_left_out_alone(void **state)
{
    static const struct {
        const char *name;
        struct span record;
        int code;
    } rows[] = {
        {"body as varint", SPAN("\x28\x01"), ERR_MALFORMED},
        {"cut short", SPAN("\x2a\x05\x0a\x03hi"), ERR_MORE},
        {"length past the end", SPAN("\x1a\x7f\x01"), ERR_MORE},
        {"field number 0", SPAN("\x02\x00"), ERR_MALFORMED},
        {"group without end", SPAN("\x7b\x08\x01"), ERR_MORE},
        {"not UTF-8, and damaged behind it", SPAN("\x1a\x01\xff\x28\x01"), ERR_MALFORMED},
        {"damaged within what is not UTF-8", SPAN("\x2a\x05\x0a\x01\xff\x10\xff"), ERR_MORE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (unsigned at = 0; at < RECORDS; at += RECORDS - 1) {
            struct mending m;
            struct buf request = request_of(at, rows[i].record, SHOP);
            struct buf want = request_of(at, (struct span){0}, SHOP);
            mend(&m, buf_span(&request));
            assert_row(m.rc == 0, "%s: %d", rows[i].name, m.rc);
            assert_row(span_eq(buf_span(&m.out), buf_span(&want)), "%s", rows[i].name);
            assert_int_equal(m.count.records, RECORDS - 1);
            assert_int_equal(m.mended.rejected, 1);
            assert_row(m.mended.code == rows[i].code, "%s: %d", rows[i].name, m.mended.code);
            assert_int_equal(m.mended.repairs[REPAIR_UTF8], 0);
            char first[32];
            snprintf(first, sizeof first, "log record %u of the request: ", at + 1);
            assert_row(strncmp(m.mended.first.text, first, strlen(first)) == 0, "%s",
                       m.mended.first.text);
            check_tally(&m.mended, 0, 1, rows[i].record.len);
            mending_done(&m);
            buf_done(&request);
            buf_done(&want);
        }
    }
}

static void a_record_that_is_nested_too_deep_is_left_out_alone(void **state)
{
    (void)state;
    struct buf deep = {0}, request, want;
    struct mending m;
    wire_append_len(&deep, 1, SPAN("x"));
    for (int i = 0; i <= LOGS_MAX_DEPTH; i++) { /* lists in lists, and the body around them */
        struct buf outer = {0};
        wire_append_len(&outer, i % 2 == 0 && i < LOGS_MAX_DEPTH ? 1 : 5, buf_span(&deep));
        buf_done(&deep);
        deep = outer;
    }
    request = request_of(4, buf_span(&deep), SHOP);
    want = request_of(4, (struct span){0}, SHOP);
    mend(&m, buf_span(&request));
    assert_int_equal(m.rc, 0);
    assert_int_equal(m.mended.code, ERR_TOO_DEEP);
    assert_true(span_eq(buf_span(&m.out), buf_span(&want)));
    mending_done(&m);
    buf_done(&deep);
    buf_done(&request);
    buf_done(&want);
}

static void bytes_that_are_no_utf8_become_replacements(void **state)
{
    static const struct {
        const char *name;
        struct span came, mended;
        uint64_t repairs;
    } rows[] = {
        {"body", SPAN("\x2a\x05\x0a\x03h\xffi"), SPAN("\x2a\x07\x0a\x05h\xef\xbf\xbdi"), 1},
        {"severity text", SPAN("\x1a\x02\xc3\x28"), SPAN("\x1a\x04\xef\xbf\xbd\x28"), 1},
        {"event name", SPAN("\x62\x01\x80"), SPAN("\x62\x03\xef\xbf\xbd"), 1},
        {"key", SPAN("\x32\x03\x0a\x01\xff"), SPAN("\x32\x05\x0a\x03\xef\xbf\xbd"), 1},
        {"in a list in a list", SPAN("\x2a\x0b\x2a\x09\x0a\x07\x2a\x05\x0a\x03\x0a\x01\xff"),
         SPAN("\x2a\x0d\x2a\x0b\x0a\x09\x2a\x07\x0a\x05\x0a\x03\xef\xbf\xbd"), 1},
        {"a surrogate in three bytes", SPAN("\x62\x03\xed\xa0\x80"),
         SPAN("\x62\x09\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"), 3},
        {"a character that is cut off: one for all of it", SPAN("\x62\x04x\xf0\x9f\x92"),
         SPAN("\x62\x04x\xef\xbf\xbd"), 1},
        {"bytes stay as they are", SPAN("\x1a\x01\xff\x4a\x02\xff\xff"),
         SPAN("\x1a\x03\xef\xbf\xbd\x4a\x02\xff\xff"), 1},
        {"unknown fields stay", SPAN("\x1a\x01\xff\x7a\x01\xff\x7b\x08\x01\x7c"),
         SPAN("\x1a\x03\xef\xbf\xbd\x7a\x01\xff\x7b\x08\x01\x7c"), 1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mending m;
        struct buf request = request_of(7, rows[i].came, SHOP);
        struct buf want = request_of(7, rows[i].mended, SHOP);
        mend(&m, buf_span(&request));
        assert_row(m.rc == 0, "%s: %d", rows[i].name, m.rc);
        assert_row(span_eq(buf_span(&m.out), buf_span(&want)), "%s", rows[i].name);
        assert_row(m.mended.repairs[REPAIR_UTF8] == rows[i].repairs, "%s", rows[i].name);
        assert_int_equal(m.mended.rejected, 0);
        assert_int_equal(m.count.records, RECORDS);
        mending_done(&m);
        buf_done(&request);
        buf_done(&want);
    }
}

/* A string that grows past 127 bytes needs a longer length, and so do all around it. */
static void lengths_grow_where_they_must(void **state)
{
    (void)state;
    char raw[128], mended[128 + 2];
    memset(raw, 'x', 126);
    memcpy(mended, raw, 126);
    raw[126] = '\xff';
    memcpy(mended + 126, UTF8_REPLACEMENT, 3);
    struct buf came = {0}, wanted = {0}, value = {0}, mended_value = {0};
    wire_append_len(&value, 1, span_of(raw, 127));
    wire_append_len(&mended_value, 1, span_of(mended, 129));
    wire_append_len(&came, 5, buf_span(&value));
    wire_append_len(&wanted, 5, buf_span(&mended_value));
    struct buf request = request_of(3, buf_span(&came), SHOP);
    struct buf want = request_of(3, buf_span(&wanted), SHOP);
    struct mending m;
    mend(&m, buf_span(&request));
    assert_int_equal(m.rc, 0);
    assert_true(span_eq(buf_span(&m.out), buf_span(&want)));
    mending_done(&m);
    struct buf *all[] = {&came, &wanted, &value, &mended_value, &request, &want};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_done(all[i]);
}

static void what_stands_around_records_is_mended_or_refused(void **state)
{
    static const struct {
        const char *name;
        struct span resource;
        int rc;
    } rows[] = {
        {"a value that is not UTF-8", SPAN("\x0a\x08\x0a\x01k\x12\x03\x0a\x01\xff"), 0},
        {"damage", SPAN("\x0a\x7f"), ERR_MORE},
        {"a wrong type", SPAN("\x08\x01"), ERR_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mending m;
        struct buf request = request_of(RECORDS, (struct span){0}, rows[i].resource);
        mend(&m, buf_span(&request));
        assert_row(m.rc == rows[i].rc, "%s: %d", rows[i].name, m.rc);
        if (m.rc == 0)
            assert_true(m.count.records == RECORDS && m.mended.repairs[REPAIR_UTF8] == 1);
        mending_done(&m);
        buf_done(&request);
    }
}

static void a_cut_request_is_refused(void **state)
{
    (void)state;
    struct buf request = request_of(RECORDS, (struct span){0}, SHOP);
    for (size_t len = 1; len < request.len; len++) {
        struct mending m;
        mend(&m, span_of(request.base, len));
        assert_row(m.rc == ERR_MORE, "%zu of %zu: %d", len, request.len, m.rc);
        mending_done(&m);
    }
    buf_done(&request);
}

static void too_much_that_is_no_utf8_is_left_out(void **state)
{
    (void)state;
    size_t len = MEND_GROWTH_BYTES / 2 + 1; /* each grows by two */
    uint8_t *raw = malloc(len);
    struct buf record = {0}, request;
    struct mending m;
    memset(raw, 0xff, len);
    wire_append_len(&record, 3, span_of(raw, len));
    request = request_of(0, buf_span(&record), SHOP);
    mend(&m, buf_span(&request));
    assert_int_equal(m.rc, 0);
    assert_true(m.mended.rejected == 1 && m.mended.code == ERR_UTF8);
    mending_done(&m);
    buf_done(&record);
    buf_done(&request);

    struct buf out = {0};
    uint64_t repairs = 0;
    assert_int_equal(json_text_mend(span_of(raw, len), &out, &repairs), ERR_UTF8);
    assert_true(out.len == 0 && repairs == 0);
    buf_done(&out);
    free(raw);
}

static void without_memory_nothing_is_taken(void **state)
{
    (void)state;
    struct buf request = request_of(5, SPAN("\x28\x01"), SHOP);
    for (size_t limit = 0; limit < 4 * request.len; limit += 16) {
        struct budget budget;
        budget_init(&budget, limit);
        struct buf out = {.budget = &budget};
        struct logs_mended mended = {.budget = &budget};
        struct logs_count count;
        int rc = logs_mend(buf_span(&request), &out, &count, &mended);
        assert_row(rc == 0 || (rc == ERR_FULL && out.len == 0), "%zu: %d", limit, rc);
        assert_true(rc == 0 || limit < 3 * request.len);
        buf_done(&out);
        logs_mended_done(&mended);
        assert_int_equal(budget.used, 0);
    }
    buf_done(&request);
}

/* ---- any single record damaged at random: nine others, byte for byte ---- */

struct found {
    struct span records[RECORDS];
    unsigned n;
};

static int note_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct found *f = ctx;
    assert_true(span_eq(g->service_name, SPAN("shop")));
    f->records[f->n++] = record;
    return 0;
}

static struct found records_of(struct span request, struct arena *arena)
{
    struct found f = {.n = 0};
    assert_int_equal(logs_each(request, 1, arena, note_record, &f), 0);
    return f;
}

static void nine_others_arrive_whatever_happens_to_one(void **state)
{
    (void)state;
    struct rng rng = {20261130};
    struct arena arena;
    arena_init(&arena, 1 << 16, NULL);
    struct buf request = request_of(RECORDS, (struct span){0}, SHOP), damaged = {0};
    struct found sound = records_of(buf_span(&request), &arena);
    unsigned rejected = 0, repaired = 0;
    for (int round = 0; round < 20000; round++) {
        unsigned which = (unsigned)(rng_next(&rng) % RECORDS);
        buf_clear(&damaged);
        buf_append(&damaged, buf_span(&request));
        uint8_t *at = damaged.base + (sound.records[which].base - request.base);
        for (unsigned n = 1 + rng_next(&rng) % 3; n > 0; n--)
            at[rng_next(&rng) % sound.records[which].len] = (uint8_t)rng_next(&rng);

        struct logs_count count;
        struct mending m = {0};
        bool is_sound = logs_check(buf_span(&damaged), &count) == 0;
        if (!is_sound)
            mend(&m, buf_span(&damaged));
        assert_int_equal(m.rc, 0);
        struct span after = is_sound ? buf_span(&damaged) : buf_span(&m.out);
        struct found left = records_of(after, &arena);
        assert_int_equal(left.n + m.mended.rejected, RECORDS);
        for (unsigned i = 0, j = 0; i < RECORDS; i++) {
            if (i == which) {
                j += m.mended.rejected == 0;
                continue;
            }
            assert_row(span_eq(left.records[j], sound.records[i]), "round %d, record %u", round, i);
            j++;
        }
        rejected += m.mended.rejected > 0;
        repaired += m.mended.repairs[REPAIR_UTF8] > 0;
        mending_done(&m);
        arena_reset(&arena);
    }
    assert_true(rejected > 1000 && repaired > 1000);
    arena_done(&arena);
    buf_done(&request);
    buf_done(&damaged);
}

/* ---- JSON ---- */

struct reading {
    struct buf json, out;
    struct logs_count count;
    struct logs_mended mended;
    struct error err;
    int rc;
};

static void read_json(struct reading *r, struct span text)
{
    struct json_decoder *d = json_decoder_new(NULL);
    *r = (struct reading){0};
    buf_append(&r->json, text);
    r->rc = json_logs_decode(d, &r->json, &r->out, &r->count, &r->mended, &r->err);
    if (r->rc == 0) {
        struct logs_count again;
        assert_int_equal(logs_check(buf_span(&r->out), &again), 0);
        assert_memory_equal(&again, &r->count, sizeof again);
        assert_int_equal(r->err.text[0], '\0');
    } else {
        assert_true(r->out.len == 0 && strncmp(r->err.text, "JSON ", 5) == 0);
    }
    json_decoder_free(d);
}

static void reading_done(struct reading *r)
{
    buf_done(&r->json);
    buf_done(&r->out);
    logs_mended_done(&r->mended);
}

/* Three records, the second of which is given. */
static struct span json_around(const char *record)
{
    static char text[8192];
    int n =
        snprintf(text, sizeof text,
                 "{\"resourceLogs\": [ {\"scopeLogs\":[{\"logRecords\":[{\"severityText\":\"a\"} "
                 ", %s ,{\"severityText\":\"c\"}]}]} ]}",
                 record);
    return span_of(text, (size_t)n);
}

static void faults_in_sound_json_cost_one_record(void **state)
{
    static const struct {
        const char *record;
        int code;
    } rows[] = {
        {"{\"severityNumber\":\"SEVERITY_NUMBER_LOUD\"}", ERR_MALFORMED},
        {"{\"severityNumber\":1e300}", ERR_MALFORMED},
        {"{\"severityNumber\":true}", ERR_MALFORMED},
        {"{\"severityText\":5,\"body\":{\"stringValue\":\"x\"}}", ERR_MALFORMED},
        {"{\"body\":\"text\"}", ERR_MALFORMED},
        {"{\"body\":[{\"stringValue\":\"x\"}]}", ERR_MALFORMED},
        {"{\"body\":{\"bytesValue\":\"*\"}}", ERR_MALFORMED},
        {"{\"body\":{\"boolValue\":\"true\"},\"attributes\":[{\"key\":\"k\"}]}", ERR_MALFORMED},
        {"{\"body\":{\"intValue\":\"many\"}}", ERR_MALFORMED},
        {"{\"body\":{\"doubleValue\":\"many\"}}", ERR_MALFORMED},
        {"{\"attributes\":{\"key\":\"value\"}}", ERR_MALFORMED},
        {"{\"attributes\":[[],{\"key\":\"k\",\"value\":{\"stringValue\":\"}]}\"}}]}",
         ERR_MALFORMED},
        {"{\"attributes\":[{\"key\":{\"a\":[1,{\"b\":2}]}}],\"severityText\":\"b\"}",
         ERR_MALFORMED},
        {"{\"traceId\":\"xyz\"}", ERR_MALFORMED},
        {"{\"traceId\":\"0\"}", ERR_MALFORMED},
        {"{\"flags\":\"set\"}", ERR_MALFORMED},
        {"{\"severityText\":5,\"unknown\":1e999}", ERR_MALFORMED},
        {"17", ERR_MALFORMED},
        {"null", ERR_MALFORMED},
        {"\"a line\"", ERR_MALFORMED},
        {"[{\"body\":{}}]", ERR_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reading r;
        read_json(&r, json_around(rows[i].record));
        assert_row(r.rc == 0, "%s: %s", rows[i].record, r.err.text);
        assert_row(r.count.records == 2 && r.mended.rejected == 1, "%s", rows[i].record);
        assert_row(r.mended.code == rows[i].code, "%s: %d", rows[i].record, r.mended.code);
        assert_row(strncmp(r.mended.first.text, "JSON at byte ", 13) == 0, "%s",
                   r.mended.first.text);
        pb_request *q = pb_unpack(buf_span(&r.out));
        pb_record **left = q->resource_logs[0]->scope_logs[0]->log_records;
        assert_string_equal(left[0]->severity_text, "a");
        assert_string_equal(left[1]->severity_text, "c");
        pb_free(q);
        reading_done(&r);
    }
}

static void depth_costs_one_record(void **state)
{
    (void)state;
    for (unsigned deep = LOGS_MAX_DEPTH; deep < 1500; deep += 700) {
        char record[4096] = "{\"x\":";
        memset(record + 5, '[', deep);
        memset(record + 5 + deep, ']', deep);
        record[5 + 2 * deep] = '}';
        struct reading r;
        read_json(&r, json_around(record));
        assert_row(r.rc == 0 && r.count.records == 2, "%u: %s", deep, r.err.text);
        assert_int_equal(r.mended.code, ERR_TOO_DEEP);
        reading_done(&r);
    }
}

static void what_is_no_json_is_refused_as_a_whole(void **state)
{
    static const char *const records[] = {
        "{\"severityText\":5",
        "{\"severityText\":5,}",
        "{\"severityText\":5 \"body\":{}}",
        "{\"severityText\":tru}",
        "{\"severityText\":5,\"x\":tru}",
        "{\"severityText\":5,\"x\":01}",
        "{\"severityText\":5,\"x\":\"\\q\"}",
        "{\"severityText\":5,\"x\":[1,}",
        "{\"severityText\":[5}",
        "{\"severityText\":5]",
        "{\"timeUnixNano\":\"\\q\"}",
        "{\"timeUnixNano\":-}",
        "tru",
        "{\"severityText\":\"\xff\"} \xff",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        struct reading r;
        read_json(&r, json_around(records[i]));
        assert_row(r.rc < 0, "%s", records[i]);
        reading_done(&r);
    }
    struct span whole = json_around("{\"severityText\":5}");
    for (size_t len = 1; len < whole.len; len++) {
        struct reading r;
        read_json(&r, span_of(whole.base, len));
        assert_row(r.rc == ERR_MALFORMED, "%zu bytes: %d", len, r.rc);
        reading_done(&r);
    }
}

static void faults_around_records_refuse_the_request(void **state)
{
    static const char *const texts[] = {
        "[]",
        "{\"resourceLogs\":{}}",
        "{\"resourceLogs\":[5]}",
        "{\"resourceLogs\":[{\"resource\":5,\"scopeLogs\":[{\"logRecords\":[{}]}]}]}",
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"scope\":{\"name\":5},\"logRecords\":[{}]}]}]}",
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":{}}]}]}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reading r;
        read_json(&r, span_str(texts[i]));
        assert_row(r.rc == ERR_MALFORMED, "%s: %d", texts[i], r.rc);
        reading_done(&r);
    }
}

/* A record with the fault, and one that means what it becomes. */
static void what_can_be_repaired_is(void **state)
{
    static const struct {
        const char *came, *means;
        enum repair what;
        uint64_t repairs;
    } rows[] = {
        {"{\"body\":{\"stringValue\":\"h\xffi\"}}", "{\"body\":{\"stringValue\":\"h\\ufffdi\"}}",
         REPAIR_UTF8, 1},
        {"{\"body\":{\"stringValue\":\"\\ud83d\"}}", "{\"body\":{\"stringValue\":\"\\ufffd\"}}",
         REPAIR_UTF8, 1},
        {"{\"body\":{\"stringValue\":\"\\uDE00\\ud83d\\ude00\\ud83dx\\\\ud83d\"}}",
         "{\"body\":{\"stringValue\":\"\\ufffd\\ud83d\\ude00\\ufffdx\\\\ud83d\"}}", REPAIR_UTF8, 2},
        {"{\"body\":{\"stringValue\":\"\\ud83d\\n\"}}",
         "{\"body\":{\"stringValue\":\"\\ufffd\\n\"}}", REPAIR_UTF8, 1},
        {"{\"\\ud800\":1,\"attributes\":[{\"key\":\"\\udfff\"}]}",
         "{\"attributes\":[{\"key\":\"\\ufffd\"}]}", REPAIR_UTF8, 2},
        {"{\"body\":{\"intValue\":\"18446744073709551616\"}}",
         "{\"body\":{\"stringValue\":\"18446744073709551616\"}}", REPAIR_NUMBER, 1},
        {"{\"body\":{\"intValue\":9223372036854775808}}",
         "{\"body\":{\"stringValue\":\"9223372036854775808\"}}", REPAIR_NUMBER, 1},
        {"{\"body\":{\"intValue\":-99999999999999999999 }}",
         "{\"body\":{\"stringValue\":\"-99999999999999999999\"}}", REPAIR_NUMBER, 1},
        {"{\"body\":{\"intValue\":1.5}}", "{\"body\":{\"doubleValue\":1.5}}", REPAIR_NUMBER, 1},
        {"{\"body\":{\"intValue\":\"2.0\"}}", "{\"body\":{\"intValue\":2}}", REPAIR_NUMBER, 1},
        {"{\"body\":{\"intValue\":1e3}}", "{\"body\":{\"intValue\":1000}}", REPAIR_NUMBER, 1},
        {"{\"body\":{\"doubleValue\":1e400}}", "{\"body\":{\"stringValue\":\"1e400\"}}",
         REPAIR_NUMBER, 1},
        {"{\"body\":{\"doubleValue\":\"-1e400\"}}", "{\"body\":{\"stringValue\":\"-1e400\"}}",
         REPAIR_NUMBER, 1},
        {"{\"severityNumber\":9.0}", "{\"severityNumber\":9}", REPAIR_NUMBER, 1},
        {"{\"flags\":-1,\"eventName\":\"e\"}", "{\"eventName\":\"e\"}", REPAIR_NUMBER, 1},
        {"{\"droppedAttributesCount\":\"4294967296\"}", "{}", REPAIR_NUMBER, 1},
        {"{\"timeUnixNano\":-1}", "{}", REPAIR_TIME, 1},
        {"{\"timeUnixNano\":\"18446744073709551616\",\"observedTimeUnixNano\":\"5\"}",
         "{\"observedTimeUnixNano\":\"5\"}", REPAIR_TIME, 1},
        {"{\"timeUnixNano\":\"2026-11-30T09:00:00Z\",\"observedTimeUnixNano\":\"now\"}", "{}",
         REPAIR_TIME, 2},
        {"{\"timeUnixNano\":{\"low\":1,\"high\":[2]},\"eventName\":\"e\"}", "{\"eventName\":\"e\"}",
         REPAIR_TIME, 1},
        {"{\"timeUnixNano\":true}", "{}", REPAIR_TIME, 1},
        {"{\"timeUnixNano\":1.5e18}", "{\"timeUnixNano\":\"1500000000000000000\"}", REPAIR_TIME, 1},
        {"{\"timeUnixNano\":1e30}", "{}", REPAIR_TIME, 1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reading came, means;
        read_json(&came, json_around(rows[i].came));
        assert_row(came.rc == 0 && came.mended.rejected == 0, "%s: %s", rows[i].came,
                   came.rc < 0 ? came.err.text : came.mended.first.text);
        read_json(&means, json_around(rows[i].means));
        assert_int_equal(means.rc, 0);
        assert_row(span_eq(buf_span(&came.out), buf_span(&means.out)), "%s", rows[i].came);
        assert_row(came.mended.repairs[rows[i].what] == rows[i].repairs, "%s: %llu", rows[i].came,
                   (unsigned long long)came.mended.repairs[rows[i].what]);
        for (int what = 0; what < REPAIR_COUNT; what++)
            assert_int_equal(means.mended.repairs[what], 0);
        reading_done(&came);
        reading_done(&means);
    }
}

/* What was repaired of a record that is left out after all does not count. */
static void the_tally_is_by_resource(void **state)
{
    static const char text[] = "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{}]}]},{"
                               "\"scopeLogs\":[{\"logRecords\":["
                               "{\"timeUnixNano\":-1,\"body\":5}]},{\"logRecords\":[7, "
                               "{}]}],\"resource\":{\"attributes\":[]}}]}";
    struct reading r;
    (void)state;
    read_json(&r, span_str(text));
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.mended.rejected, 2);
    assert_int_equal(r.count.records, 2);
    check_tally(&r.mended, 1, 2, strlen("{\"timeUnixNano\":-1,\"body\":5}7"));
    assert_int_equal(r.mended.repairs[REPAIR_TIME], 0);
    reading_done(&r);
}

static void pieces_of_text(void **state)
{
    static const struct {
        struct span text;
        size_t length;
        bool is_sound;
    } rows[] = {
        {SPAN("a\xff"), 1, true},
        {SPAN("\xc3\xa9x"), 2, true},
        {SPAN("\xe2\x82\xac"), 3, true},
        {SPAN("\xf0\x9f\x98\x80"), 4, true},
        {SPAN("\xc3"), 1, false},
        {SPAN("\xc0\xaf"), 1, false},
        {SPAN("\xe2\x82"), 2, false},
        {SPAN("\xe2\x82x"), 2, false},
        {SPAN("\xed\xa0\x80"), 1, false},
        {SPAN("\xf0\x9f\x98x"), 3, false},
        {SPAN("\xf4\x90\x80\x80"), 1, false},
        {SPAN("\x80"), 1, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool is_sound;
        size_t n = utf8_step(rows[i].text.base, rows[i].text.base + rows[i].text.len, &is_sound);
        assert_row(n == rows[i].length && is_sound == rows[i].is_sound, "row %zu: %zu", i, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_record_is_left_out_alone),
        cmocka_unit_test(a_record_that_is_nested_too_deep_is_left_out_alone),
        cmocka_unit_test(bytes_that_are_no_utf8_become_replacements),
        cmocka_unit_test(lengths_grow_where_they_must),
        cmocka_unit_test(what_stands_around_records_is_mended_or_refused),
        cmocka_unit_test(a_cut_request_is_refused),
        cmocka_unit_test(too_much_that_is_no_utf8_is_left_out),
        cmocka_unit_test(without_memory_nothing_is_taken),
        cmocka_unit_test(nine_others_arrive_whatever_happens_to_one),
        cmocka_unit_test(faults_in_sound_json_cost_one_record),
        cmocka_unit_test(depth_costs_one_record),
        cmocka_unit_test(what_is_no_json_is_refused_as_a_whole),
        cmocka_unit_test(faults_around_records_refuse_the_request),
        cmocka_unit_test(what_can_be_repaired_is),
        cmocka_unit_test(the_tally_is_by_resource),
        cmocka_unit_test(pieces_of_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
