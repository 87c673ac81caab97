/*
 * event_record: one OTLP LogRecord of our own, with the Resource and Scope around it.
 *
 *     event_record_begin() -> _text, _count, _number, _value, _time, _body -> _end()
 *
 * The Resource is {service.name: the service that it is about}, so that who looks at a
 * service in PostHog sees what was noticed of it; the Scope is "lipservice", by which all
 * of them are found. Each says otel.logs.adjusted_count 0: sums over records do
 * not count it, and a lipservice behind this one keeps it as it is.
 *
 * Ownership  keys and texts are copied; what _end() gives is borrowed until the next
 *            _begin().
 * Errors     sticky; _end() returns them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/logs.h"
#include "util/buf.h"
#include "util/err.h"

#define EVENT_RECORD_BYTES 8192 /* most of one; what is cut to fit: templates, samples, names */

struct event_record {
    struct buf head, body, attributes, resource, scope, pair, whole;
};

void event_record_done(struct event_record *r);

void event_record_begin(struct event_record *r, const char *name, bool is_warning, uint64_t unix_ns,
                        struct span service);
void event_record_text(struct event_record *r, const char *key, struct span text);
void event_record_count(struct event_record *r, const char *key, uint64_t count);
void event_record_number(struct event_record *r, const char *key, double number);
/* Content of an AnyValue's field (4 of 1 to 7, say), as encoded. */
void event_record_value(struct event_record *r, const char *key, uint32_t field,
                        struct span content);
/* As RFC 3339 in UTC, milliseconds. */
void event_record_time(struct event_record *r, const char *key, uint64_t unix_ns);
/* A piece more of the body. */
void event_record_body(struct event_record *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The finished record, and where it stands. 0, or ERR_*: no memory, too big. */
MUST_CHECK int event_record_end(struct event_record *r, uint64_t hash_seed, struct logs_group *g,
                                struct span *record);
