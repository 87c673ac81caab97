/*
 * logs: read an ExportLogsServiceRequest where it lies.
 * (opentelemetry-proto, collector/logs/v1, logs/v1, common/v1, resource/v1)
 *
 *     request            logs_check()  is all of it sound? then
 *       ResourceLogs     logs_each()   one call per record, with
 *         ScopeLogs                    struct logs_group: where it stood
 *           LogRecord    log_record_read(), log_attrs_next(), log_severity()
 *
 * Nothing is decoded into a tree and nothing unknown is lost: a record is the
 * span it came as, and its group is the bytes of everything around it.
 *
 * Errors     0, or a negative code (util/err.h). The readers check nothing
 *            that logs_check() has checked, but never read out of bounds.
 * Ownership  all spans are borrowed from the request (or the arena).
 * Blocking   never; no allocation but in the arena.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/wire.h"
#include "util/arena.h"
#include "util/err.h"
#include "util/span.h"

/* ---- the request ------------------------------------------------------- */

/* How deep messages may nest below the request; ResourceLogs is the first
 * level, a record's body the fourth, an array's element two below its array.
 * It is the limit of Google's parsers and of prost, which PostHog reads with:
 * one record beyond it would cost the whole batch that it is merged into. */
#define LOGS_MAX_DEPTH 100

struct logs_count {
    uint32_t resources, scopes, records;
    size_t record_bytes; /* of all records */
    size_t largest;      /* of the longest record */
    uint32_t foreign;    /* JSON: keys above the records that OTLP does not have */
};

/* Decide whether the request may enter: framing and wire types of every field
 * that OTLP defines, UTF-8 in every string, bounded nesting. Unknown fields
 * and groups are skipped. *out is written on success only.
 *   ERR_MORE, ERR_MALFORMED  damage; a known field with the wrong wire type
 *   ERR_TOO_DEEP             messages nest more than LOGS_MAX_DEPTH deep
 *   ERR_UTF8                 a string field is not UTF-8
 * An empty request is sound and holds nothing. */
MUST_CHECK int logs_check(struct span request, struct logs_count *out);

#define LOGS_KEY_BYTES 64 /* of a client's key: PostHog takes no longer ones */

/* Where a record stood. The same object with the same content is passed for
 * all records of one ScopeLogs. */
struct logs_group {
    struct span resource;               /* fields of the ResourceLogs but scope_logs, as encoded */
    struct span scope;                  /* fields of the ScopeLogs but log_records, as encoded */
    uint64_t resource_hash, scope_hash; /* hash64_seeded() of the two */
    struct span service_name;           /* attribute of the Resource, or empty */
    struct span service_instance_id;    /* likewise */
    struct span service_version;        /* likewise */
    struct span key;                    /* the client's own for the upstream; empty: ours */
    uint32_t resource_index;            /* which ResourceLogs of the request, from 0 */
    uint32_t scope_index;               /* which ScopeLogs of the request, from 0 */
};

/* Called for one record. The group is borrowed until it returns; the spans in
 * it live as long as request and arena. Non-zero ends the walk. */
typedef int logs_record_fn(void *ctx, const struct logs_group *g, struct span record);

/* Call fn for every record in the order of the request. Fields around
 * scope_logs and log_records that do not lie side by side are gathered in the
 * arena, once per ResourceLogs and ScopeLogs. Unknown fields of the request
 * itself are dropped: they have no place in a merged batch.
 * Returns 0, what fn returned, ERR_TOO_BIG when the arena is full, or the
 * error of a request that logs_check() would have refused. */
MUST_CHECK int logs_each(struct span request, uint64_t hash_seed, struct arena *arena,
                         logs_record_fn *fn, void *ctx);

/* The same for a request that goes on with a key of its client's: two Resources of two keys are
 * two, whatever they hold. */
MUST_CHECK int logs_each_of_key(struct span request, struct span key, uint64_t hash_seed,
                                struct arena *arena, logs_record_fn *fn, void *ctx);

/* The hashes again, where what is around a record was changed for it. */
void logs_group_hash(struct logs_group *g, uint64_t hash_seed);

/* The same from a place on. The walk pauses before a record for which fn returns LOGS_PAUSE, which
 * is what the call returns then, and *place is that of the record. A zeroed place is the beginning.
 * The request must not have changed meanwhile. */
#define LOGS_PAUSE 1

struct logs_place {
    size_t resource_at, scope_at, record_at; /* bytes into the message that has the field */
    uint32_t resource_index, scope_index;
};

MUST_CHECK int logs_each_from(struct span request, struct span key, uint64_t hash_seed,
                              struct arena *arena, struct logs_place *place, logs_record_fn *fn,
                              void *ctx);

/* The service.name of each ResourceLogs, which may be empty; for what concerns a Resource whose
 * records are none of logs_each(). Non-zero ends the walk. Returns as logs_each() does. */
typedef int logs_resource_fn(void *ctx, uint32_t resource_index, struct span service_name);
MUST_CHECK int logs_each_resource(struct span request, logs_resource_fn *fn, void *ctx);

/* ---- values ------------------------------------------------------------ */

enum log_kind {
    LOG_NONE, /* absent, or an AnyValue with nothing set */
    LOG_STRING,
    LOG_BOOL,
    LOG_INT,
    LOG_DOUBLE,
    LOG_ARRAY,
    LOG_KVLIST,
    LOG_BYTES,
};

struct log_value {
    enum log_kind kind;
    struct span text; /* STRING, BYTES: the content; ARRAY, KVLIST: the encoded message */
    union {
        int64_t integer; /* INT; BOOL: 0 or 1 */
        double real;     /* DOUBLE */
    };
};

/* Read the encoded AnyValue into *v, over what is there: protobuf merges a
 * message that comes twice, so start from (struct log_value){0}. The last
 * member set wins. */
MUST_CHECK int log_value_read(struct log_value *v, struct span any_value);

/* The attributes of a record, or of anything else that holds KeyValues in one
 * repeated field. For the values of a KVLIST: log_attrs_in(a, v.text, 1). */
struct log_attrs {
    struct wire wire;
    uint32_t number; /* field number of the KeyValues */
};

struct log_attr {
    struct span key;
    struct log_value value;
};

void log_attrs_in(struct log_attrs *a, struct span message, uint32_t number);
void log_attrs_of_record(struct log_attrs *a, struct span record);

/* The next attribute. False at the end (and on damage: a->wire.err). */
bool log_attrs_next(struct log_attrs *a, struct log_attr *out);

/* The attributes of g's Resource: calls fn(ctx, attr) for each, in order, until
 * it returns non-zero, which is returned. */
MUST_CHECK int logs_resource_attrs(const struct logs_group *g,
                                   int (*fn)(void *ctx, const struct log_attr *attr), void *ctx);

/* ---- a record ---------------------------------------------------------- */

/* Attributes that log_record_read() takes note of in passing. */
/* clang-format off */
#define LOG_KNOWN_MAP(X) \
    X(LOG_EXCEPTION_TYPE,       "exception.type") \
    X(LOG_EVENT_NAME,           "event.name") \
    X(LOG_RECORD_TEMPLATE,      "log.record.template") \
    X(LOG_MESSAGE_TEMPLATE,     "message_template.text") \
    X(LOG_ORIGINAL_FORMAT,      "{OriginalFormat}") \
    X(LOG_SAMPLING_THRESHOLD,   "sampling.threshold") \
    X(LOG_SAMPLING_RANDOMNESS,  "sampling.randomness") \
    X(LOG_SAMPLING_PRIORITY,    "sampling.priority") \
    X(LOG_HTTP_RESPONSE_STATUS, "http.response.status_code") \
    X(LOG_HTTP_STATUS,          "http.status_code") \
    X(LOG_ADJUSTED_COUNT,       "otel.logs.adjusted_count")
/* clang-format on */

#define X(name, key) name,
enum log_known { LOG_KNOWN_MAP(X) LOG_KNOWN_COUNT };
#undef X

struct log_record {
    uint64_t time_unix_ns, observed_unix_ns; /* 0: not set */
    int32_t severity_number;                 /* as sent; see log_severity() */
    uint32_t flags;
    struct span severity_text;
    struct span event_name;
    struct span trace_id, span_id; /* any length; 16 and 8 bytes when sound */
    struct log_value body;
    uint32_t attributes; /* how many */
    bool may_name;       /* one of them may be event.name, exception.type or the template of a
                          * message, in any case of letters and behind any name, or is a map:
                          * pattern/ has to look. False: none is */
    uint32_t known_set;  /* bit i: known[i] is valid */
    struct log_value known[LOG_KNOWN_COUNT];
};

/* View one record. Of scalars and known attributes that come twice the last
 * wins. *out is unspecified on failure. */
MUST_CHECK int log_record_read(struct log_record *out, struct span record);

/* A known attribute, or NULL when the record has none. */
static inline const struct log_value *log_known(const struct log_record *r, enum log_known which)
{
    return (r->known_set >> which & 1) != 0 ? &r->known[which] : NULL;
}

/* 1 to 24 as in SeverityNumber, or 0 when the record does not say: treat that
 * as INFO. The number where it is positive (more than 24 counts as 24: unknown
 * and higher must not be the first to go), else the text, in the spellings of
 * the common loggers, in any case and with blanks or brackets around it. */
unsigned log_severity(const struct log_record *r);

/* The severity that a text alone stands for; 0 when it stands for none. */
unsigned log_severity_of_text(struct span text);
