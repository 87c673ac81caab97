#include "unit/test.h"

#include "otlp/capture.h"

#define RECORD "{\"body\":{\"stringValue\":\"sound\"}}"
#define DOCUMENT(records) "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[" records "]}]}]}"
#define NO_BASE64 "{\"body\":{\"bytesValue\":\"!\"}}"

struct seen {
    unsigned requests, refusals;
    uint32_t records;
    size_t line;
    char why[512];
};

static int on_request(void *ctx, struct span request, const struct logs_count *count, size_t end)
{
    struct seen *s = ctx;
    struct logs_count again;
    (void)end;
    assert_int_equal(logs_check(request, &again), 0);
    assert_int_equal(again.records, count->records);
    s->requests++;
    s->records += count->records;
    return 0;
}

static void on_refused(void *ctx, size_t line, const char *why)
{
    struct seen *s = ctx;
    s->refusals++;
    s->line = line;
    snprintf(s->why, sizeof s->why, "%s", why);
}

static struct seen seen_of(struct span text, bool is_strict)
{
    struct seen s = {0};
    struct capture c;
    const struct capture_sink sink = {&s, on_request, on_refused};
    assert_int_equal(capture_init(&c, is_strict), 0);
    assert_int_equal(capture_read(&c, text, &sink), 0);
    capture_done(&c);
    return s;
}

/* As the receiver does: one bad record costs one record, and with strict its request. */
static void what_is_wrong_is_mended_unless_strict(void **state)
{
    static const struct {
        const char *name;
        struct span text;
        struct {
            unsigned requests, records, refusals;
            size_t line;
        } mended, strict;
    } rows[] = {
        {"sound", SPAN(DOCUMENT(RECORD)), {1, 1, 0, 0}, {1, 1, 0, 0}},
        {"a byte that is no UTF-8",
         SPAN(DOCUMENT("{\"body\":{\"stringValue\":\"\xff\"}}," RECORD)),
         {1, 2, 0, 0},
         {0, 0, 1, 1}},
        {"a lone surrogate in the second line",
         SPAN(DOCUMENT(RECORD) "\n" DOCUMENT("{\"body\":{\"stringValue\":\"\\ud800\"}}") "\n"),
         {2, 2, 0, 0},
         {1, 1, 1, 2}},
        {"a record that is left out",
         SPAN(DOCUMENT(RECORD "," NO_BASE64)),
         {1, 1, 1, 1},
         {0, 0, 1, 1}},
        {"no record that stays", SPAN(DOCUMENT(NO_BASE64)), {0, 0, 1, 1}, {0, 0, 1, 1}},
        {"a document of several lines",
         SPAN("{\n\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[" RECORD ",\n" NO_BASE64
              "]}]}]}"),
         {1, 1, 1, 0},
         {0, 0, 1, 0}},
        {"protobuf with a byte that is no UTF-8",
         SPAN("\x0a\x09\x12\x07\x12\x05\x2a\x03\x0a\x01\xff"),
         {1, 1, 0, 0},
         {0, 0, 1, 0}},
        {"neither", SPAN("hello"), {0, 0, 1, 0}, {0, 0, 1, 0}},
        {"nothing", SPAN("  \n"), {0, 0, 1, 0}, {0, 0, 1, 0}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen mended = seen_of(rows[i].text, false), strict = seen_of(rows[i].text, true);
        assert_row(mended.requests == rows[i].mended.requests &&
                       mended.records == rows[i].mended.records &&
                       mended.refusals == rows[i].mended.refusals &&
                       mended.line == rows[i].mended.line,
                   "%s: %u requests, %u records, %u refused, line %zu: %s", rows[i].name,
                   mended.requests, mended.records, mended.refusals, mended.line, mended.why);
        assert_row(strict.requests == rows[i].strict.requests &&
                       strict.records == rows[i].strict.records &&
                       strict.refusals == rows[i].strict.refusals &&
                       strict.line == rows[i].strict.line,
                   "%s, strict: %u requests, %u records, %u refused, line %zu: %s", rows[i].name,
                   strict.requests, strict.records, strict.refusals, strict.line, strict.why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_mended_unless_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
