/*
 * json_doc: a whole JSON text as a tree that is read by questions.
 *
 * For answers of other programs, whose shape is theirs: what is asked for and not there, or is of
 * another kind, is the node of nothing, of which all further questions have empty answers. So a
 * path is asked without a check at each step, and checked at its end.
 *
 *     struct json_node n = json_get(json_get(root, "limited"), "logs_mb_ingested");
 *     if (json_number(json_get(n, "usage"), &usage)) ...
 *
 * Limits     the text must be valid JSON (json_object.h), nested at most 1,024 deep. Sixteen bytes
 *            of memory for each of the text, charged to the budget.
 * Ownership  nodes and spans are borrowed, and die with the document.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "otlp/json_object.h"
#include "util/budget.h"
#include "util/err.h"
#include "util/span.h"

#ifdef __cplusplus
extern "C" {
#endif

struct json_doc;

/* Zeroed: nothing. */
struct json_node {
    const void *tape;
    size_t at;
};

/* Read a text, of which nothing is kept. *root is its value, of any kind. The budget may be NULL.
 * ERR_MALFORMED, ERR_FULL, ERR_NOMEM. */
MUST_CHECK int json_doc_new(struct json_doc **out, struct span text, struct budget *budget,
                            struct json_node *root);
void json_doc_free(struct json_doc *d); /* accepts NULL */

/* JSON_NULL for nothing as well. */
enum json_kind json_kind(struct json_node n);

/* The first member of that name. */
struct json_node json_get(struct json_node object, const char *key);

/* Unescaped; empty, with a NULL base, where it is no string. */
struct span json_string(struct json_node n);

/* Numbers as they stand; false, *out unchanged: it is none, or negative or broken where whole
 * numbers from 0 are asked for. */
bool json_number(struct json_node n, double *out);
bool json_whole(struct json_node n, uint64_t *out);

bool json_is_true(struct json_node n);

/* The elements of an array or the members of an object, in order:
 *     struct json_each each = json_each(list);
 *     while (json_next(&each)) ... each.value ... */
struct json_each {
    struct json_node value;
    struct span key;             /* of a member; else empty */
    struct json_node here, past; /* where the next one is, and the end */
    bool has_keys;
};
struct json_each json_each(struct json_node n);
bool json_next(struct json_each *each);

#ifdef __cplusplus
}
#endif
