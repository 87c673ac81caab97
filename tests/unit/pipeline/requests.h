/*
 * requests: requests of OTLP, record by record.
 *
 *     struct requests q = {0};
 *     requests_begin(&q);
 *     requests_record(&q, &(struct request_record){.body = "x"});     as often as wanted
 *     requests_resource(&q, "app");                                   they are of this service
 *     pipeline_push(p, buf_span(&q.bytes), ...);
 *     requests_done(&q);
 *
 * The buffers are kept from one request to the next.
 */
#pragma once

#include "unit/test.h"

#include "otlp/fields.h"
#include "otlp/wire.h"

struct request_record {
    const char *body;
    uint64_t time_ns;        /* 0: none */
    uint8_t severity;        /* 0: INFO */
    uint64_t trace[2];       /* 0, 0: none */
    const char *key, *value; /* an attribute; NULL: none */
    uint64_t number;         /* where value is NULL */
};

struct requests {
    struct buf bytes, record, scope, resource, attribute;
};

static inline void requests_begin(struct requests *q)
{
    buf_clear(&q->bytes);
    buf_clear(&q->scope);
}

static inline void requests_attribute(struct requests *q, struct buf *to, uint32_t field,
                                      const char *key, const char *value)
{
    struct buf *pair = &q->attribute;
    buf_clear(pair);
    wire_append_len(pair, KEY_VALUE_KEY, span_str(key));
    wire_append_len_head(pair, KEY_VALUE_VALUE, wire_len_size(1, strlen(value)));
    wire_append_len(pair, ANY_VALUE_STRING, span_str(value));
    wire_append_len(to, field, buf_span(pair));
}

static inline void requests_number(struct requests *q, struct buf *to, uint32_t field,
                                   const char *key, uint64_t number)
{
    struct buf *pair = &q->attribute;
    buf_clear(pair);
    wire_append_len(pair, KEY_VALUE_KEY, span_str(key));
    wire_append_len_head(pair, KEY_VALUE_VALUE, 1 + wire_varint_size(number));
    wire_append_varint(pair, ANY_VALUE_INT, number);
    wire_append_len(to, field, buf_span(pair));
}

static inline void requests_record(struct requests *q, const struct request_record *what)
{
    struct buf *r = &q->record;
    buf_clear(r);
    if (what->time_ns > 0)
        wire_append_i64(r, LOG_RECORD_TIME_UNIX_NANO, what->time_ns);
    wire_append_varint(r, LOG_RECORD_SEVERITY_NUMBER, what->severity > 0 ? what->severity : 9);
    wire_append_len_head(r, LOG_RECORD_BODY, wire_len_size(1, strlen(what->body)));
    wire_append_len(r, ANY_VALUE_STRING, span_str(what->body));
    if (what->key != NULL && what->value != NULL)
        requests_attribute(q, r, LOG_RECORD_ATTRIBUTES, what->key, what->value);
    else if (what->key != NULL)
        requests_number(q, r, LOG_RECORD_ATTRIBUTES, what->key, what->number);
    if ((what->trace[0] | what->trace[1]) != 0)
        wire_append_len(r, LOG_RECORD_TRACE_ID, span_of(what->trace, sizeof what->trace));
    wire_append_len(&q->scope, SCOPE_LOGS_LOG_RECORDS, buf_span(r));
}

/* The records since the last one are of this service; NULL: it names none. */
static inline void requests_resource(struct requests *q, const char *service)
{
    struct buf *r = &q->resource;
    buf_clear(r);
    if (service != NULL) {
        buf_clear(&q->record);
        requests_attribute(q, &q->record, RESOURCE_ATTRIBUTES, "service.name", service);
        wire_append_len(r, RESOURCE_LOGS_RESOURCE, buf_span(&q->record));
    }
    wire_append_len(r, RESOURCE_LOGS_SCOPE_LOGS, buf_span(&q->scope));
    wire_append_len(&q->bytes, REQUEST_RESOURCE_LOGS, buf_span(r));
    buf_clear(&q->scope);
}

static inline void requests_done(struct requests *q)
{
    struct buf *bufs[] = {&q->bytes, &q->record, &q->scope, &q->resource, &q->attribute};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
}
