/* selection: filters of alerts as JSON, or SQL, become a filter, which is asked about a record; and
 * the same JSON as a row that was read back. */
#include <stdint.h>
#include <stdlib.h>

#include "otlp/json_doc.h"
#include "posthog/canonical.h"
#include "posthog/row.h"
#include "posthog/selection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct selection *s)
{
    static const uint8_t record[] = {0x10, 9, 0x2a, 3, 0x0a, 1, 'x'};
    const struct logs_group group = {.service_name = SPAN("api")};
    struct log_record r;
    if (log_record_read(&r, span_of(record, sizeof record)) < 0)
        abort();
    const struct filter_row row = {&group, span_of(record, sizeof record), &r};
    bool tells_apart = filter_tells_apart(s->filter);
    enum filter_answer of_service = filter_ask_service(s->filter, &group);
    enum filter_answer answer = filter_ask(s->filter, &row);
    /* What a service settles is settled; one that tells nothing apart says no to none. */
    if ((of_service != FILTER_UNSURE && answer != of_service) ||
        (!tells_apart && answer == FILTER_NO))
        abort();
    filter_free(s->filter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of(data, size);
    struct selection s;
    struct json_doc *doc;
    struct json_node root;
    struct row_writer w = {{0}};
    struct buf out = {0};
    if (selection_of_sql(&s, text) == 0)
        ask(&s);
    if (json_doc_new(&doc, text, NULL, &root) < 0)
        return 0;
    if (selection_of_filters(&s, root) == 0)
        ask(&s);
    if (selection_of_group(&s, root) == 0)
        ask(&s);
    canonical_write(&out, root);
    buf_clear(&out);
    struct logs_count n;
    if (row_write(&w, &out, root) && out.err == 0 && logs_check(buf_span(&out), &n) < 0)
        abort();
    row_writer_done(&w);
    buf_done(&out);
    json_doc_free(doc);
    return 0;
}
