/*
 * row: one record with attributes, to ask filters about.
 */
#pragma once

#include "unit/test.h"

#include "otlp/wire.h"
#include "pipeline/filter.h"

struct row_rig {
    struct buf bytes, resource, value, pair, fields;
    struct log_record record;
    struct logs_group group;
};

static inline void row_attr(struct row_rig *r, struct buf *to, uint32_t number, const char *key,
                            struct span value)
{
    buf_clear(&r->pair);
    wire_append_len(&r->pair, 1, span_str(key));
    wire_append_len(&r->pair, 2, value);
    wire_append_len(to, number, buf_span(&r->pair));
}

static inline struct span row_text(struct row_rig *r, const char *text)
{
    buf_clear(&r->value);
    wire_append_len(&r->value, 1, span_str(text));
    return buf_span(&r->value);
}

/* service checkout, region eu-west-1; attributes below. */
static inline void row_init(struct row_rig *r, int severity, const char *severity_text,
                            const char *body)
{
    *r = (struct row_rig){0};
    if (severity != 0)
        wire_append_varint(&r->bytes, 2, (uint64_t)severity);
    if (severity_text != NULL)
        wire_append_len(&r->bytes, 3, span_str(severity_text));
    if (body != NULL)
        wire_append_len(&r->bytes, 5, row_text(r, body));
    row_attr(r, &r->bytes, 6, "http.method", row_text(r, "GET"));
    row_attr(r, &r->bytes, 6, "twice", row_text(r, "old"));
    row_attr(r, &r->bytes, 6, "twice", row_text(r, "new"));
    row_attr(r, &r->bytes, 6, "empty", row_text(r, ""));
    row_attr(r, &r->bytes, 6, "name", row_text(r, "M\xc3\x9cLLER"));
    buf_clear(&r->value);
    wire_append_varint(&r->value, 3, 503);
    row_attr(r, &r->bytes, 6, "status", buf_span(&r->value));
    buf_clear(&r->value);
    wire_append_double(&r->value, 4, 0.25);
    row_attr(r, &r->bytes, 6, "share", buf_span(&r->value));
    buf_clear(&r->value);
    wire_append_len(&r->value, 5, (struct span){0});
    row_attr(r, &r->bytes, 6, "list", buf_span(&r->value));
    row_attr(r, &r->fields, 1, "service.name", row_text(r, "checkout"));
    row_attr(r, &r->fields, 1, "region", row_text(r, "eu-west-1"));
    row_attr(r, &r->fields, 1, "http.method", row_text(r, "of the resource"));
    wire_append_len(&r->resource, 1, buf_span(&r->fields));
    assert_int_equal(log_record_read(&r->record, buf_span(&r->bytes)), 0);
    r->group =
        (struct logs_group){.resource = buf_span(&r->resource), .service_name = SPAN("checkout")};
}

static inline void row_done(struct row_rig *r)
{
    struct buf *bufs[] = {&r->bytes, &r->resource, &r->value, &r->pair, &r->fields};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
}

static inline enum filter_answer row_ask(const struct filter *f, const struct row_rig *r)
{
    const struct filter_row row = {&r->group, buf_span(&r->bytes), &r->record};
    assert_int_equal(filter_built(f), 0);
    return filter_ask(f, &row);
}
