/*
 * fuzz_redact: detectors and edits on hostile input.
 *
 * As a text: hits lie inside of it and in order, and without a hit nothing changes. As an encoded
 * LogRecord: the result is one, of the same time and ids and with as many attributes.
 */
#include <assert.h>
#include <stdlib.h>

#include "otlp/logs.h"
#include "pipeline/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t end;
};

static void on_found(void *ctx, const struct redact_found *f)
{
    struct seen *s = ctx;
    assert(f->at >= s->end && f->len > 0);
    s->end = f->at + f->len;
}

static void redact_text(struct redactor *r, struct span text)
{
    struct buf once = {0};
    struct seen seen = {0};
    int hits = redactor_text(r, text, on_found, &seen, &once);
    assert(hits >= 0 && seen.end <= text.len);
    assert(hits > 0 || span_eq(buf_span(&once), text));
    buf_done(&once);
}

static void redact_record(struct redactor *r, struct span record)
{
    struct log_record before, after;
    struct span out;
    struct redact_set kinds;
    if (log_record_read(&before, record) < 0)
        return;
    assert(redactor_record(r, record, &kinds, &out) <= 0);
    if (out.base == record.base)
        return;
    assert(log_record_read(&after, out) == 0);
    assert(after.time_unix_ns == before.time_unix_ns && after.attributes == before.attributes);
    assert(span_eq(after.trace_id, before.trace_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct redact_pattern patterns[] = {{"staff", "EMP-[0-9]+"},
                                                     {"pin", "pin (?<secret>\\d+)"}};
    struct redact_opts opts = {
        .mode = REDACT_ENFORCE,
        .kinds = REDACT_KINDS_ALL,
        .patterns = patterns,
        .pattern_count = 2,
    };
    struct redactor *r;
    if (redactor_new(&r, &opts) < 0)
        abort();
    redact_text(r, span_of(data, size));
    redact_record(r, span_of(data, size));
    redactor_free(r);
    return 0;
}
