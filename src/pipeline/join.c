/* join: one pass over the request, with the record that others may still be added to in hand. */
#include "pipeline/join.h"

#include <assert.h>

#include "otlp/fields.h"
#include "otlp/wire.h"
#include "pattern/trace_line.h"

struct joiner {
    struct buf *out;
    struct logs_mended *joined;
    uint32_t resources; /* begun so far */
    /* The record in hand; its base is NULL when there is none. */
    struct span whole, bytes, body;
    unsigned severity;
    uint32_t lines;  /* added to it */
    struct buf text; /* body and lines, once there are any */
};

/* Give the record in hand away. */
static int flush(struct joiner *j)
{
    struct wire w;
    struct wire_field f;
    struct wire_nested record, body;
    if (j->lines == 0) {
        buf_append(j->out, j->whole);
    } else {
        wire_begin(j->out, SCOPE_LOGS_LOG_RECORDS, j->bytes.len + j->text.len, &record);
        wire_init(&w, j->bytes);
        while (wire_next(&w, &f))
            if (f.number != LOG_RECORD_BODY)
                buf_append(j->out, f.whole);
        wire_begin(j->out, LOG_RECORD_BODY, j->text.len, &body);
        wire_append_len(j->out, ANY_VALUE_STRING, buf_span(&j->text));
        wire_end(j->out, &body);
        wire_end(j->out, &record);
    }
    j->whole = j->bytes = j->body = (struct span){0};
    j->lines = 0;
    buf_clear(&j->text);
    return j->out->err;
}

/* Does a record go on with the one in hand, and may it be added? */
static bool goes_on(const struct joiner *j, const struct log_record *r)
{
    size_t bytes = (j->lines > 0 ? j->text.len : j->body.len) + 1 + r->body.text.len;
    return j->whole.base != NULL && r->body.kind == LOG_STRING &&
           trace_line_continues(r->body.text) && log_severity(r) <= j->severity &&
           j->lines < JOIN_LINES_MAX && bytes <= JOIN_BYTES_MAX;
}

static int add_line(struct joiner *j, struct span line, size_t record_bytes)
{
    if (j->lines++ == 0)
        buf_append(&j->text, j->body);
    buf_append_byte(&j->text, '\n');
    buf_append(&j->text, line);
    if (j->text.err != 0)
        return j->text.err;
    /* Of its bytes the text is in the other now, and is counted there. */
    return logs_mended_reject(j->joined, j->resources - 1, record_bytes - 1 - line.len, 0, "");
}

static int join_record(struct joiner *j, const struct wire_field *f)
{
    struct log_record r;
    int rc = log_record_read(&r, f->bytes);
    if (rc < 0)
        return rc;
    if (goes_on(j, &r))
        return add_line(j, r.body.text, f->bytes.len);
    rc = flush(j);
    j->whole = f->whole;
    j->bytes = f->bytes;
    j->body = r.body.text;
    j->severity = log_severity(&r);
    if (rc == 0 && r.body.kind != LOG_STRING)
        rc = flush(j); /* nothing can be added to it */
    return rc;
}

/* The content of a message; `inner` holds the messages one level down, 0: records. */
static int join_level(struct joiner *j, struct span message, const uint32_t *inner)
{
    struct wire w;
    struct wire_field f;
    struct wire_nested n;
    int rc = 0;
    wire_init(&w, message);
    while (rc == 0 && wire_next(&w, &f)) {
        if (*inner == 0 && f.number == SCOPE_LOGS_LOG_RECORDS) {
            rc = join_record(j, &f);
        } else if (*inner == 0 || f.number != *inner) {
            buf_append(j->out, f.whole);
            rc = j->out->err;
        } else {
            j->resources += inner[1] != 0;
            wire_begin(j->out, f.number, f.bytes.len, &n);
            rc = join_level(j, f.bytes, inner + 1);
            wire_end(j->out, &n);
        }
    }
    if (rc == 0 && *inner == 0)
        rc = flush(j);
    return rc < 0 ? rc : j->out->err;
}

int logs_join(struct span request, struct buf *out, struct logs_count *count,
              struct logs_mended *joined)
{
    static const uint32_t levels[] = {REQUEST_RESOURCE_LOGS, RESOURCE_LOGS_SCOPE_LOGS, 0};
    struct joiner j = {.out = out, .joined = joined, .text = {.budget = out->budget}};
    size_t before = out->len;
    int rc = buf_reserve(out, request.len);
    if (rc == 0)
        rc = join_level(&j, request, levels);
    buf_done(&j.text);
    if (rc < 0 || joined->rejected == 0) {
        out->len = before;
        return rc;
    }
    rc = logs_check(span_of(out->base + before, out->len - before), count);
    assert(rc == 0); /* of a sound request */
    return 1;
}
