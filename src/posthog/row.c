/* row: fields of a LogRecord, in the order of their numbers. */
#include "posthog/row.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "otlp/fields.h"
#include "otlp/wire.h"
#include "pipeline/attr_text.h"

#define ID_BYTES 16
#define SPAN_ID_BYTES 8

/* What the scrub writes, and what signs like what it has replaced. */
static const char scrubbed[] = "{{REDACTED}}", variable[] = "redacted-email-0";

void row_writer_done(struct row_writer *w)
{
    struct buf *bufs[] = {&w->record, &w->scope, &w->logs, &w->resource,
                          &w->value,  &w->pair,  &w->text};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
}

uint64_t row_time_ns(struct span text)
{
    char room[48];
    struct tm tm = {0};
    if (text.len == 0 || text.len >= sizeof room)
        return 0;
    memcpy(room, text.base, text.len);
    room[text.len] = '\0';
    const char *rest = strptime(room, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL)
        return 0;
    time_t s = timegm(&tm);
    uint64_t fraction = 0, unit = 100000000;
    for (rest += *rest == '.'; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
        fraction += (uint64_t)(*rest - '0') * unit;
    return s < 0 ? 0 : (uint64_t)s * 1000000000 + fraction;
}

const char *row_time_text(char out[ROW_TIME_BYTES], uint64_t unix_ns)
{
    time_t s = (time_t)(unix_ns / 1000000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(out, ROW_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, ROW_TIME_BYTES - n, ".%06uZ", (unsigned)(unix_ns / 1000 % 1000000));
    return out;
}

static struct span unscrubbed(struct row_writer *w, struct span text)
{
    const size_t mark = sizeof scrubbed - 1;
    const uint8_t *at = text.len < mark ? NULL : memmem(text.base, text.len, scrubbed, mark);
    if (at == NULL)
        return text;
    buf_clear(&w->text);
    for (; at != NULL; at = memmem(text.base, text.len, scrubbed, mark)) {
        size_t before = (size_t)(at - text.base);
        buf_append(&w->text, span_of(text.base, before));
        buf_append_str(&w->text, variable);
        text = span_skip(text, before + mark);
        if (text.len < mark)
            break;
    }
    buf_append(&w->text, text);
    return buf_span(&w->text);
}

/* A number as JSON writes it, in the form in which a writer of numbers would have written it: then
 * it was one, and PostHog stores its text. */
static bool put_number(struct buf *out, struct span text)
{
    char room[ATTR_TEXT_BYTES + 1], again[ATTR_TEXT_BYTES], *end;
    if (text.len == 0 || text.len > ATTR_TEXT_BYTES)
        return false;
    memcpy(room, text.base, text.len);
    room[text.len] = '\0';
    errno = 0;
    struct log_value v = {.kind = LOG_INT, .integer = strtoll(room, &end, 10)};
    if (errno == 0 && *end == '\0' && span_eq(attr_text(&v, again), text)) {
        wire_append_varint(out, ANY_VALUE_INT, (uint64_t)v.integer);
        return true;
    }
    v = (struct log_value){.kind = LOG_DOUBLE, .real = strtod(room, &end)};
    if (*end != '\0' || !isfinite(v.real) || !span_eq(attr_text(&v, again), text))
        return false;
    wire_append_double(out, ANY_VALUE_DOUBLE, v.real);
    return true;
}

static void put_attributes(struct row_writer *w, struct buf *to, uint32_t number,
                           struct json_node map)
{
    struct json_each each = json_each(map);
    while (json_next(&each)) {
        buf_clear(&w->value);
        buf_clear(&w->pair);
        struct span text = json_string(each.value);
        if (!put_number(&w->value, text))
            wire_append_len(&w->value, ANY_VALUE_STRING, unscrubbed(w, text));
        wire_append_len(&w->pair, KEY_VALUE_KEY, each.key);
        wire_append_len(&w->pair, KEY_VALUE_VALUE, buf_span(&w->value));
        wire_append_len(to, number, buf_span(&w->pair));
    }
}

/* Unset ids are zeros: all of 0, or of base64's A. */
static void put_id(struct buf *to, uint32_t number, struct span text, size_t bytes)
{
    static const uint8_t some[ID_BYTES] = {1};
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("0A=", text.base[i]) != NULL)
            continue;
        wire_append_len(to, number, span_of(some, bytes));
        return;
    }
}

static void put_record(struct row_writer *w, struct json_node row)
{
    uint64_t number = 0;
    struct buf *r = &w->record;
    buf_clear(r);
    buf_clear(&w->value);
    wire_append_i64(r, LOG_RECORD_TIME_UNIX_NANO,
                    row_time_ns(json_string(json_get(row, "timestamp"))));
    if (json_whole(json_get(row, "severity_number"), &number) && number > 0)
        wire_append_varint(r, LOG_RECORD_SEVERITY_NUMBER, number);
    wire_append_len(r, LOG_RECORD_SEVERITY_TEXT, json_string(json_get(row, "severity_text")));
    wire_append_len(&w->value, ANY_VALUE_STRING, unscrubbed(w, json_string(json_get(row, "body"))));
    wire_append_len(r, LOG_RECORD_BODY, buf_span(&w->value));
    put_attributes(w, r, LOG_RECORD_ATTRIBUTES, json_get(row, "attributes"));
    put_id(r, LOG_RECORD_TRACE_ID, json_string(json_get(row, "trace_id")), ID_BYTES);
    put_id(r, LOG_RECORD_SPAN_ID, json_string(json_get(row, "span_id")), SPAN_ID_BYTES);
    wire_append_i64(r, LOG_RECORD_OBSERVED_TIME_UNIX_NANO,
                    row_time_ns(json_string(json_get(row, "observed_timestamp"))));
    struct span event = json_string(json_get(row, "event_name"));
    if (event.len > 0)
        wire_append_len(r, LOG_RECORD_EVENT_NAME, event);
}

bool row_write(struct row_writer *w, struct buf *request, struct json_node row)
{
    if (json_kind(row) != JSON_OBJECT || json_kind(json_get(row, "body")) != JSON_STRING)
        return false;
    put_record(w, row);
    buf_clear(&w->resource);
    buf_clear(&w->scope);
    buf_clear(&w->logs);
    put_attributes(w, &w->resource, RESOURCE_ATTRIBUTES, json_get(row, "resource_attributes"));
    wire_append_len(&w->scope, SCOPE_LOGS_LOG_RECORDS, buf_span(&w->record));
    wire_append_len(&w->logs, RESOURCE_LOGS_RESOURCE, buf_span(&w->resource));
    wire_append_len(&w->logs, RESOURCE_LOGS_SCOPE_LOGS, buf_span(&w->scope));
    wire_append_len(request, REQUEST_RESOURCE_LOGS, buf_span(&w->logs));
    const int errs[] = {w->record.err, w->scope.err, w->logs.err, w->resource.err,
                        w->value.err,  w->pair.err,  w->text.err};
    for (size_t i = 0; i < ARRAY_LEN(errs); i++)
        if (errs[i] != 0)
            request->err = errs[i];
    return true;
}
