/*
 * filter: a question about a record, as PostHog asks it of the row that the record becomes.
 *
 * A tree of groups and leaves. An answer is no, yes or unsure: what cannot be said here (a
 * condition that could not be translated, a list held against a text, a severity that PostHog
 * would read out of a JSON body) is unsure, and goes through "not", "all" and "any" as that. Who
 * must not miss a record takes unsure for yes; who must not touch a wrong one takes it for no.
 *
 *     filter_begin(f, FILTER_ALL);
 *     filter_add(f, &(struct filter_leaf){.of = FILTER_SERVICE, .op = FILTER_IS, ...});
 *     filter_end(f);
 *
 * Two dialects. PostHog's queries read what is missing as "", and compare exactly. Its ingestion
 * workers (drop rules) ignore case, and nothing but "is not set" holds for what is missing.
 *
 * Ownership  leaves are copied. Immutable once it is built.
 * Blocking   never; asking allocates nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "otlp/logs.h"
#include "util/err.h"
#include "util/span.h"

#define FILTER_NODES_MAX 256 /* as PostHog's workers allow */
#define FILTER_DEPTH_MAX 16  /* likewise */
#define FILTER_REGEX_COST \
    32 /* conditions: as long as they take, and 64 KiB at most (util/regex.h) */
#define FILTER_VALUES_MAX 64 /* of one leaf; each is compared for each record */
#define FILTER_TEXT_MAX 8192 /* bytes of all keys and values of one filter */

enum filter_answer { FILTER_NO, FILTER_YES, FILTER_UNSURE };
enum filter_group { FILTER_ALL, FILTER_ANY };

/* What a leaf reads. */
enum filter_of {
    FILTER_BODY,
    FILTER_SEVERITY, /* trace, debug, info, warn, error, fatal, unknown */
    FILTER_SERVICE,
    FILTER_ATTRIBUTE, /* of the record */
    FILTER_RESOURCE,  /* of its Resource */
    FILTER_EITHER,    /* of the record, else of its Resource */
};

/* What it asks of that. */
enum filter_op {
    FILTER_UNKNOWN, /* could not be translated: always unsure */
    FILTER_IS,      /* one of the values */
    FILTER_CONTAINS,
    FILTER_REGEX, /* RE2; those that filter_takes_regex() */
    FILTER_GREATER,
    FILTER_AT_LEAST,
    FILTER_LESS,
    FILTER_AT_MOST,
    FILTER_IS_SET,
};

struct filter_leaf {
    enum filter_of of;
    enum filter_op op;
    bool is_not;         /* the opposite is asked */
    bool as_worker;      /* the dialect */
    struct span key;     /* of an attribute */
    struct span *values; /* borrowed, and copied */
    unsigned value_count;
    double number; /* of GREATER and the like */
};

struct filter;

MUST_CHECK int filter_new(struct filter **out);
void filter_free(struct filter *f); /* accepts NULL */

/* Building fails once, as a buf does: the first failure is what filter_built() returns. A group
 * without members holds for nothing, as it does at PostHog. */
void filter_begin(struct filter *f, enum filter_group how);
void filter_end(struct filter *f);
void filter_add(struct filter *f, const struct filter_leaf *leaf);

/* 0, ERR_NOMEM, or ERR_TOO_BIG: over one of the limits above. */
MUST_CHECK int filter_built(const struct filter *f);

unsigned filter_size(const struct filter *f); /* nodes, groups among them */
unsigned filter_cost(const struct filter *f); /* the same, an expression as FILTER_REGEX_COST */

/* Can it be read as it is meant there? */
bool filter_takes_regex(struct span pattern, bool as_worker);

struct filter_row {
    const struct logs_group *group;
    struct span bytes; /* the encoded record */
    const struct log_record *record;
};

enum filter_answer filter_ask(const struct filter *f, const struct filter_row *row);

/* The answer for all records of that service, as far as it is the same for all. */
enum filter_answer filter_ask_service(const struct filter *f, const struct logs_group *group);

/* Is there a record that it answers no? False: it was not translated at all. */
bool filter_tells_apart(const struct filter *f);

/* The severity that PostHog stores: an enum level as text; NULL where a JSON body may say it. */
const char *filter_stored_severity(const struct log_record *r);
