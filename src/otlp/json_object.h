/*
 * json_object: the members of one JSON object, one at a time.
 *
 * For log bodies that are JSON text, and for small documents such as policies. The whole text must
 * be valid JSON (RFC 8259, UTF-8, whole surrogate pairs in escapes, numbers that fit 64 bits or a
 * double); what is nested inside a member is checked and not shown.
 *
 * Limits     texts of at most the max_bytes given to json_object_new(), nested
 *            at most 1,024 deep. The parser works without recursion.
 * Ownership  spans lent to the callback die when json_object_visit() is called
 *            again on the same parser. It may be called with one of them.
 * Errors     ERR_TOO_BIG, ERR_MALFORMED (also: not an object). No C++
 *            exception leaves or is used. One parser a thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

#ifdef __cplusplus
extern "C" {
#endif

enum json_kind {
    JSON_NULL,
    JSON_BOOL,   /* number: 0 or 1 */
    JSON_INT,    /* number: an int64_t */
    JSON_UINT,   /* number: above INT64_MAX */
    JSON_DOUBLE, /* real */
    JSON_STRING, /* text: unescaped */
    JSON_ARRAY,
    JSON_OBJECT,
    JSON_BYTES, /* never in JSON text: for the same members in OTLP's form */
};

struct json_member {
    struct span outer; /* json_object_visit_nested(): key of the member that this one is in */
    struct span key;   /* unescaped */
    struct span text;
    uint64_t number;
    double real;
    enum json_kind kind;
};

struct json_object;

MUST_CHECK int json_object_new(struct json_object **out, size_t max_bytes);
void json_object_free(struct json_object *j);

/* Call fn for every member in the order of the text, duplicates too. Nothing
 * is called when the text is refused. fn returns false for: enough. */
MUST_CHECK int json_object_visit(struct json_object *j, struct span text,
                                 bool (*fn)(void *arg, const struct json_member *member),
                                 void *arg);

/* The same, and behind each member that is an object its own members, with
 * `outer` set. What is nested deeper is not shown. */
MUST_CHECK int json_object_visit_nested(struct json_object *j, struct span text,
                                        bool (*fn)(void *arg, const struct json_member *member),
                                        void *arg);

#ifdef __cplusplus
}
#endif
