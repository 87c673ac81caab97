/* event_record: fields of a LogRecord in the order of their numbers, but for the attributes. */
#include "pipeline/event_record.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "otlp/fields.h"
#include "otlp/wire.h"
#include "util/hash.h"

#define BODY_PIECE_BYTES 1024

/* opentelemetry/proto: logs/v1, common/v1, resource/v1. */
enum { SEVERITY_INFO = 9, SEVERITY_WARN = 13 };

void event_record_done(struct event_record *r)
{
    struct buf *bufs[] = {&r->head,  &r->body, &r->attributes, &r->resource,
                          &r->scope, &r->pair, &r->whole};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
}

/* `value` is an encoded AnyValue. */
static void put_pair(struct buf *out, uint32_t number, const char *key, struct span value)
{
    struct span name = span_str(key);
    size_t len = wire_len_size(KEY_VALUE_KEY, name.len) + wire_len_size(KEY_VALUE_VALUE, value.len);
    wire_append_len_head(out, number, len);
    wire_append_len(out, KEY_VALUE_KEY, name);
    wire_append_len(out, KEY_VALUE_VALUE, value);
}

static void put_value(struct event_record *r, const char *key)
{
    put_pair(&r->attributes, LOG_RECORD_ATTRIBUTES, key, buf_span(&r->pair));
}

void event_record_value(struct event_record *r, const char *key, uint32_t field,
                        struct span content)
{
    buf_clear(&r->pair);
    wire_append_len(&r->pair, field, content);
    put_value(r, key);
}

void event_record_text(struct event_record *r, const char *key, struct span text)
{
    event_record_value(r, key, ANY_VALUE_STRING, text);
}

void event_record_count(struct event_record *r, const char *key, uint64_t count)
{
    buf_clear(&r->pair);
    wire_append_varint(&r->pair, ANY_VALUE_INT, count);
    put_value(r, key);
}

void event_record_number(struct event_record *r, const char *key, double number)
{
    buf_clear(&r->pair);
    wire_append_double(&r->pair, ANY_VALUE_DOUBLE, number);
    put_value(r, key);
}

void event_record_time(struct event_record *r, const char *key, uint64_t unix_ns)
{
    char text[40];
    time_t seconds = (time_t)(unix_ns / 1000000000u);
    struct tm t;
    gmtime_r(&seconds, &t);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
    n += (size_t)snprintf(text + n, sizeof text - n, ".%03uZ",
                          (unsigned)(unix_ns / 1000000u % 1000));
    event_record_text(r, key, span_of(text, n));
}

void event_record_body(struct event_record *r, const char *fmt, ...)
{
    char piece[BODY_PIECE_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(piece, sizeof piece, fmt, args);
    va_end(args);
    if (n > 0)
        buf_append(&r->body,
                   span_of(piece, (size_t)n < sizeof piece ? (size_t)n : sizeof piece - 1));
}

void event_record_begin(struct event_record *r, const char *name, bool is_warning, uint64_t unix_ns,
                        struct span service)
{
    struct buf *bufs[] = {&r->head,  &r->body, &r->attributes, &r->resource,
                          &r->scope, &r->pair, &r->whole};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_clear(bufs[i]);
    wire_append_i64(&r->head, LOG_RECORD_TIME_UNIX_NANO, unix_ns);
    wire_append_varint(&r->head, LOG_RECORD_SEVERITY_NUMBER,
                       is_warning ? SEVERITY_WARN : SEVERITY_INFO);
    wire_append_len(&r->head, LOG_RECORD_SEVERITY_TEXT, is_warning ? SPAN("WARN") : SPAN("INFO"));
    wire_append_i64(&r->head, LOG_RECORD_OBSERVED_TIME_UNIX_NANO, unix_ns);
    wire_append_len(&r->head, LOG_RECORD_EVENT_NAME, span_str(name));

    buf_clear(&r->pair);
    wire_append_len(&r->pair, ANY_VALUE_STRING, service);
    put_pair(&r->whole, RESOURCE_ATTRIBUTES, "service.name", buf_span(&r->pair));
    wire_append_len(&r->resource, RESOURCE_LOGS_RESOURCE, buf_span(&r->whole));
    buf_clear(&r->whole);
    wire_append_len(&r->whole, SCOPE_NAME, SPAN("lipservice"));
    wire_append_len(&r->whole, SCOPE_VERSION, SPAN(LIPSERVICE_VERSION));
    wire_append_len(&r->scope, SCOPE_LOGS_SCOPE, buf_span(&r->whole));
    buf_clear(&r->whole);
    event_record_number(r, "otel.logs.adjusted_count", 0);
    struct span kind = span_str(name); /* without who speaks: PostHog filters by attributes alone */
    size_t said = sizeof "lipservice." - 1;
    event_record_text(r, "lipservice.event",
                      span_starts(kind, SPAN("lipservice.")) ? span_skip(kind, said) : kind);
}

int event_record_end(struct event_record *r, uint64_t hash_seed, struct logs_group *g,
                     struct span *record)
{
    buf_append(&r->whole, buf_span(&r->head));
    wire_append_len_head(&r->whole, LOG_RECORD_BODY, wire_len_size(ANY_VALUE_STRING, r->body.len));
    wire_append_len(&r->whole, ANY_VALUE_STRING, buf_span(&r->body));
    buf_append(&r->whole, buf_span(&r->attributes));
    const struct buf *bufs[] = {&r->head,  &r->body, &r->attributes, &r->resource,
                                &r->scope, &r->pair, &r->whole};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        if (bufs[i]->err < 0)
            return bufs[i]->err;
    if (r->whole.len > EVENT_RECORD_BYTES)
        return ERR_TOO_BIG;
    *g = (struct logs_group){
        .resource = buf_span(&r->resource),
        .scope = buf_span(&r->scope),
        .resource_hash = hash64_seeded(buf_span(&r->resource), hash_seed),
        .scope_hash = hash64_seeded(buf_span(&r->scope), hash_seed),
    };
    *record = buf_span(&r->whole);
    return 0;
}
