#include "unit/test.h"

#include "otlp/json_doc.h"
#include "otlp/logs.h"
#include "posthog/row.h"
#include "posthog/slices.h"

static void times_there_and_back(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
        const char *again;
    } rows[] = {
        {"2026-11-30T18:00:00.123456Z", UINT64_C(1796061600123456000), NULL},
        {"2026-11-30T18:00:00Z", UINT64_C(1796061600000000000), "2026-11-30T18:00:00.000000Z"},
        {"2026-11-30T18:00:00.5+00:00", UINT64_C(1796061600500000000),
         "2026-11-30T18:00:00.500000Z"},
        {"", 0, "1970-01-01T00:00:00.000000Z"},
        {"yesterday", 0, "1970-01-01T00:00:00.000000Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[ROW_TIME_BYTES];
        assert_int_equal(row_time_ns(span_str(rows[i].text)), rows[i].ns);
        assert_string_equal(row_time_text(text, rows[i].ns),
                            rows[i].again != NULL ? rows[i].again : rows[i].text);
    }
}

struct seen {
    unsigned records;
    struct log_record record;
    struct span bytes;
    char service[32];
};

static int on_record(void *ctx, const struct logs_group *g, struct span bytes)
{
    struct seen *s = ctx;
    s->records++;
    s->bytes = bytes;
    snprintf(s->service, sizeof s->service, "%.*s", (int)g->service_name.len,
             (const char *)g->service_name.base);
    return log_record_read(&s->record, bytes);
}

static void attribute(const struct seen *s, const char *key, struct log_value *out)
{
    struct log_attrs attrs;
    struct log_attr a;
    log_attrs_of_record(&attrs, s->bytes);
    while (log_attrs_next(&attrs, &a))
        if (span_eq(a.key, span_str(key)))
            *out = a.value;
}

static void a_row_is_a_record_again(void **state)
{
    (void)state;
    static const char text[] =
        "{\"uuid\":\"u\",\"timestamp\":\"2026-11-30T18:00:00.123456Z\",\"observed_timestamp\":"
        "\"2026-11-30T18:00:01Z\",\"body\":\"mail to {{REDACTED}} and {{REDACTED}}\","
        "\"severity_text\":\"warn\",\"severity_number\":13,\"trace_id\":\"AAAAAAAAAAAAAAAAAAAAAA=="
        "\","
        "\"span_id\":\"q83vEjRWeJA=\",\"attributes\":{\"status\":\"503\",\"share\":\"0.25\","
        "\"zip\":"
        "\"007\",\"who\":\"{{REDACTED}}\",\"otel.logs.adjusted_count\":\"4\"},\"resource_"
        "attributes\":"
        "{\"service.name\":\"api\"},\"event_name\":\"e\"}";
    static const struct {
        const char *key;
        enum log_kind kind;
        const char *text;
    } attrs[] = {
        {"status", LOG_INT, NULL},
        {"share", LOG_DOUBLE, NULL},
        {"zip", LOG_STRING, "007"},
        {"who", LOG_STRING, "redacted-email-0"},
        {"otel.logs.adjusted_count", LOG_INT, NULL},
    };
    struct json_doc *doc;
    struct json_node root;
    struct row_writer w = {{0}};
    struct buf request = {0};
    struct seen s = {0};
    struct logs_count n;
    struct arena arena;
    arena_init(&arena, 1 << 16, NULL);
    assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
    assert_true(row_write(&w, &request, root));
    assert_int_equal(request.err, 0);
    assert_int_equal(logs_check(buf_span(&request), &n), 0);
    assert_int_equal(logs_each(buf_span(&request), 1, &arena, on_record, &s), 0);
    assert_int_equal(s.records, 1);
    assert_string_equal(s.service, "api");
    assert_true(span_eq(s.record.body.text, SPAN("mail to redacted-email-0 and redacted-email-0")));
    assert_int_equal(s.record.time_unix_ns, UINT64_C(1796061600123456000));
    assert_int_equal(s.record.severity_number, 13);
    assert_int_equal(s.record.trace_id.len, 0);
    assert_int_equal(s.record.span_id.len, 8);
    assert_true(span_eq(s.record.event_name, SPAN("e")));
    for (size_t i = 0; i < ARRAY_LEN(attrs); i++) {
        struct log_value v = {0};
        attribute(&s, attrs[i].key, &v);
        assert_int_equal(v.kind, attrs[i].kind);
        if (attrs[i].text != NULL)
            assert_true(span_eq(v.text, span_str(attrs[i].text)));
    }
    json_doc_free(doc);
    assert_int_equal(json_doc_new(&doc, SPAN("[1,{}]"), NULL, &root), 0);
    assert_false(row_write(&w, &request, root));
    json_doc_free(doc);
    row_writer_done(&w);
    buf_done(&request);
    arena_done(&arena);
}

#define BUCKET(from, to, count) \
    "{\"date_from\":\"2026-11-30T" from ":00Z\",\"date_to\":\"2026-11-30T" to \
    ":00Z\",\"count\":" count "}"

static void slices_begin_where_rows_are(void **state)
{
    (void)state;
    static const char text[] =
        "{\"interval\":\"1h\",\"ranges\":[" BUCKET("12:00", "13:00", "90000") "," BUCKET(
            "10:00", "11:00", "10000") "," BUCKET("11:00", "12:00", "0") "]}";
    struct json_doc *doc;
    struct json_node root;
    struct slices s;
    struct rng rng = {.state = 7};
    uint64_t from = row_time_ns(SPAN("2026-11-30T10:00:00Z"));
    uint64_t hour = UINT64_C(3600000000000), to = from + 3 * hour;
    unsigned in_first = 0, draws = 0;
    assert_int_equal(json_doc_new(&doc, span_str(text), NULL, &root), 0);
    assert_int_equal(slices_read(&s, root, from, to), 0);
    assert_int_equal(s.bucket_count, 2);
    assert_true(s.rows == 100000 && s.sizes[0] == 1000);
    uint64_t last = 0;
    for (uint32_t h = 0; h < SLICES_STRATA; h++) {
        for (int i = 0; i < 20; i++) {
            struct slice one = slices_draw(&s, h, &rng);
            bool is_first = one.from_ns < from + hour;
            assert_true(is_first || one.from_ns >= from + 2 * hour);
            assert_true(one.to_ns > one.from_ns && one.to_ns <= to);
            in_first += is_first;
            draws++;
            last = one.from_ns > last ? one.from_ns : last;
        }
    }
    assert_int_equal(in_first, draws / 10); /* strata are cut by rows */
    assert_true(last > to - hour / 20);
    slices_done(&s);
    json_doc_free(doc);
    assert_int_equal(json_doc_new(&doc, SPAN("{\"ranges\":7}"), NULL, &root), 0);
    assert_int_equal(slices_read(&s, root, from, to), ERR_MALFORMED);
    json_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_there_and_back),
        cmocka_unit_test(a_row_is_a_record_again),
        cmocka_unit_test(slices_begin_where_rows_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
