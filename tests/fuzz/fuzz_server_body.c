/* fuzz_server_body: any bytes as the body of a report and as a policy for the policy server. A
 * report that is accepted adds up to what it says, within its reservation; what is handed out of an
 * accepted policy is accepted again, and differs from itself in nothing. */
#include <assert.h>

#include "server/policy_text.h"
#include "server/report_body.h"
#include "util/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS 1800000000000

struct sums {
    uint64_t received, entries;
};

static int add(void *ctx, const struct rollup_entry *e)
{
    struct sums *s = ctx;
    assert(e->line.signature.len <= ROLLUP_SIGNATURE_BYTES);
    assert(e->line.template_text.len <= ROLLUP_TEMPLATE_BYTES);
    assert(e->line.counts.kept <= e->line.counts.received);
    assert(e->line.counts.last_ms <= NOW_MS + REPORT_AHEAD_MS);
    s->received += e->line.counts.received;
    s->entries++;
    return 0;
}

static void try_report(struct json_node root)
{
    static char service; /* a pointer that stands for one */
    struct report_body body;
    struct rollup_line line;
    struct rollup rollup;
    struct error err = {{0}};
    struct sums want = {0}, sums = {0};
    if (report_body_read(&body, root, &err) < 0) {
        assert(err.text[0] != '\0');
        return;
    }
    rollup_init(&rollup, NULL);
    assert(rollup_reserve(&rollup, body.pattern_count + 1, body.text_bytes) == 0);
    struct json_each each = json_each(body.patterns);
    while (json_next(&each)) {
        report_body_line(&line, each.value, NOW_MS);
        rollup_add(&rollup, (struct service *)(void *)&service, NOW_MS, &line, SPAN("host"));
        want.received += line.counts.received;
        want.entries++;
    }
    assert(want.entries == body.pattern_count);
    assert(rollup_each(&rollup, add, &sums) == 0);
    assert(sums.received == want.received && sums.entries <= want.entries);
    rollup_done(&rollup);
}

static void try_policy(struct span text, struct json_node root)
{
    struct rules *rules, *again;
    struct error err = {{0}};
    struct buf out = {0}, diff = {0};
    struct json_doc *doc;
    struct json_node written;
    if (policy_text_read(&rules, text, &err) < 0) {
        assert(err.text[0] != '\0');
        return;
    }
    policy_text_write(&out, root, 7, POLICY_BY_PERSON);
    assert(out.err == 0);
    int rc = policy_text_read(&again, buf_span(&out), &err);
    assert(rc == 0 && rules_version(again) == 7);
    rc = json_doc_new(&doc, buf_span(&out), NULL, &written);
    assert(rc == 0);
    policy_text_diff(&diff, written, written);
    assert(span_eq(buf_span(&diff), SPAN("[]")));
    json_doc_free(doc);
    buf_done(&diff);
    buf_done(&out);
    rules_unref(again);
    rules_unref(rules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_doc *doc;
    struct json_node root;
    struct span text = {data, size};
    if (size > 65536 || json_doc_new(&doc, text, NULL, &root) < 0)
        return 0;
    try_report(root);
    try_policy(text, root);
    json_doc_free(doc);
    return 0;
}
