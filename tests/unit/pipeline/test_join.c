#include "unit/test.h"

#include <stdlib.h>

#include "pipeline/join.h"

/* One record: its severity (0: none), its body, and an attribute with its own number. */
struct line {
    uint8_t severity;
    const char *text; /* NULL: a body that is a number */
};

static void append_record(struct buf *scope, const struct line *line, unsigned number)
{
    struct buf value = {0}, record = {0}, attr = {0};
    char key[16];
    if (line->severity > 0)
        wire_append_varint(&record, 2, line->severity);
    if (line->text != NULL)
        wire_append_len(&value, 1, span_str(line->text));
    else
        wire_append_varint(&value, 3, 7);
    wire_append_len(&record, 5, buf_span(&value));
    snprintf(key, sizeof key, "n%u", number);
    wire_append_len(&attr, 1, span_str(key));
    wire_append_len(&record, 6, buf_span(&attr));
    wire_append_len(scope, 2, buf_span(&record));
    buf_done(&value);
    buf_done(&record);
    buf_done(&attr);
}

/* Lines in ResourceLogs, each of one ScopeLogs; a text of "|" begins the next scope, "||" the
 * next Resource. */
static struct buf request_of(const struct line *lines, size_t n)
{
    struct buf scope = {0}, resource = {0}, request = {0};
    for (size_t i = 0; i <= n; i++) {
        bool ends_resource = i == n || (lines[i].text != NULL && strcmp(lines[i].text, "||") == 0);
        if (!ends_resource && (lines[i].text == NULL || strcmp(lines[i].text, "|") != 0)) {
            append_record(&scope, &lines[i], (unsigned)i);
            continue;
        }
        wire_append_len(&scope, 3, SPAN("schema"));
        wire_append_len(&resource, 2, buf_span(&scope));
        buf_clear(&scope);
        if (!ends_resource)
            continue;
        wire_append_len(&request, 1, buf_span(&resource));
        buf_clear(&resource);
    }
    buf_done(&scope);
    buf_done(&resource);
    return request;
}

struct seen {
    char text[4096]; /* "severity:body [keys]" of each record, a line each */
    size_t len;
};

static int note(void *ctx, const struct logs_group *g, struct span record)
{
    struct seen *s = ctx;
    struct log_record r;
    struct log_attrs attrs;
    struct log_attr attr;
    assert_int_equal(log_record_read(&r, record), 0);
    assert_true(g->scope.len > 0);
    s->len +=
        (size_t)snprintf(s->text + s->len, sizeof s->text - s->len, "%d:%.*s [", r.severity_number,
                         r.body.kind == LOG_STRING ? (int)r.body.text.len : 1,
                         r.body.kind == LOG_STRING ? (const char *)r.body.text.base : "#");
    log_attrs_of_record(&attrs, record);
    while (log_attrs_next(&attrs, &attr))
        s->len += (size_t)snprintf(s->text + s->len, sizeof s->text - s->len, "%.*s",
                                   (int)attr.key.len, (const char *)attr.key.base);
    s->len += (size_t)snprintf(s->text + s->len, sizeof s->text - s->len, "]\n");
    return 0;
}

static int join(const struct line *lines, size_t n, struct seen *seen, struct logs_mended *joined)
{
    struct buf request = request_of(lines, n), out = {0};
    struct logs_count before, count;
    struct arena arena;
    arena_init(&arena, 1 << 20, NULL);
    assert_int_equal(logs_check(buf_span(&request), &before), 0);
    count = before;
    *joined = (struct logs_mended){0};
    *seen = (struct seen){.len = 0};
    int rc = logs_join(buf_span(&request), &out, &count, joined);
    if (rc == 0)
        assert_true(out.len == 0 && count.records == before.records && joined->tally.len == 0);
    assert_int_equal(count.records + joined->rejected, before.records);
    uint64_t bytes = 0;
    const struct logs_rejected *rows = (const void *)joined->tally.base;
    for (size_t i = 0; i < joined->tally.len / sizeof *rows; i++)
        bytes += rows[i].bytes;
    if (rc == 1) /* lengths apart, every byte of a record is counted once */
        assert_true(count.record_bytes + bytes >= before.record_bytes &&
                    count.record_bytes + bytes <= before.record_bytes + 4 * before.records);
    assert_int_equal(
        logs_each(rc == 1 ? buf_span(&out) : buf_span(&request), 1, &arena, note, seen), 0);
    arena_done(&arena);
    buf_done(&request);
    buf_done(&out);
    return rc;
}

static void lines_become_one_record(void **state)
{
    static const struct {
        const char *name;
        struct line lines[8];
        size_t n;
        const char *want;
    } rows[] = {
        {"a trace",
         {{17, "it failed"}, {0, "  at a"}, {0, "\tat b"}, {9, "Caused by: x"}},
         4,
         "17:it failed\n  at a\n\tat b\nCaused by: x [n0]\n"},
        {"between others",
         {{9, "a"}, {9, "b"}, {9, "  c"}, {9, "d"}},
         4,
         "9:a [n0]\n9:b\n  c [n1]\n9:d [n3]\n"},
        {"nothing to join", {{9, "a"}, {9, "b"}}, 2, "9:a [n0]\n9:b [n1]\n"},
        {"nothing before it", {{0, "  at a"}, {0, "  at b"}}, 2, "0:  at a\n  at b [n0]\n"},
        {"not across scopes",
         {{17, "a"}, {0, "|"}, {0, "  at b"}},
         3,
         "17:a [n0]\n0:  at b [n2]\n"},
        {"not across resources",
         {{17, "a"}, {0, "||"}, {0, "  at b"}, {0, "  at c"}},
         4,
         "17:a [n0]\n0:  at b\n  at c [n2]\n"},
        {"not the more severe",
         {{9, "a"}, {17, "  at b"}, {9, "  at c"}},
         3,
         "9:a [n0]\n17:  at b\n  at c [n1]\n"},
        {"not to a number", {{17, NULL}, {0, "  at b"}}, 2, "17:# [n0]\n0:  at b [n1]\n"},
        {"a number ends it",
         {{17, "a"}, {0, "  at b"}, {0, NULL}, {0, "  at c"}},
         4,
         "17:a\n  at b [n0]\n0:# [n2]\n0:  at c [n3]\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen seen;
        struct logs_mended joined;
        int rc = join(rows[i].lines, rows[i].n, &seen, &joined);
        assert_row(strcmp(seen.text, rows[i].want) == 0, "%s: %s", rows[i].name, seen.text);
        assert_row(rc == (joined.rejected > 0), "%s: %d", rows[i].name, rc);
        logs_mended_done(&joined);
    }
}

static void the_tally_is_by_resource(void **state)
{
    static const struct line lines[] = {{9, "a"}, {0, "||"}, {9, "b"}, {9, "  c"}, {9, "  d"}};
    struct seen seen;
    struct logs_mended joined;
    (void)state;
    assert_int_equal(join(lines, ARRAY_LEN(lines), &seen, &joined), 1);
    const struct logs_rejected *rows = (const void *)joined.tally.base;
    assert_int_equal(joined.tally.len, sizeof *rows);
    assert_true(rows[0].resource_index == 1 && rows[0].records == 2);
    logs_mended_done(&joined);
}

static void a_record_has_an_end(void **state)
{
    (void)state;
    size_t n = 3 * JOIN_LINES_MAX;
    struct line *lines = calloc(n, sizeof *lines);
    struct logs_count count;
    struct logs_mended joined = {0};
    struct buf out = {0};
    for (size_t i = 0; i < n; i++)
        lines[i] = (struct line){0, "\tat x"};
    struct buf request = request_of(lines, n);
    assert_int_equal(logs_join(buf_span(&request), &out, &count, &joined), 1);
    assert_int_equal(count.records, 3); /* 1025, 1025, and the rest */
    buf_done(&request);
    logs_mended_done(&joined);

    size_t size = JOIN_BYTES_MAX / 2 - 1;
    char *text = malloc(size + 1);
    memset(text, '\t', size);
    text[size] = '\0';
    for (size_t i = 0; i < 5; i++)
        lines[i].text = text;
    request = request_of(lines, 5);
    joined = (struct logs_mended){0};
    buf_clear(&out);
    assert_int_equal(logs_join(buf_span(&request), &out, &count, &joined), 1);
    assert_int_equal(count.records, 3); /* two, two, one */
    assert_true(count.largest < JOIN_BYTES_MAX + 64);
    buf_done(&request);
    buf_done(&out);
    logs_mended_done(&joined);
    free(text);
    free(lines);
}

static void without_memory_nothing_is_joined(void **state)
{
    static const struct line lines[] = {{9, "a"}, {9, "  b"}, {9, "  c"}};
    struct buf request = request_of(lines, ARRAY_LEN(lines));
    (void)state;
    for (size_t limit = 0; limit < 1024; limit += 8) {
        struct budget budget;
        budget_init(&budget, limit);
        struct buf out = {.budget = &budget};
        struct logs_mended joined = {.budget = &budget};
        struct logs_count count;
        int rc = logs_join(buf_span(&request), &out, &count, &joined);
        assert_row(rc == 1 || (rc == ERR_FULL && out.len == 0 && limit < 512), "%zu: %d", limit,
                   rc);
        buf_done(&out);
        logs_mended_done(&joined);
        assert_int_equal(budget.used, 0);
    }
    buf_done(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_one_record),
        cmocka_unit_test(the_tally_is_by_resource),
        cmocka_unit_test(a_record_has_an_end),
        cmocka_unit_test(without_memory_nothing_is_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
