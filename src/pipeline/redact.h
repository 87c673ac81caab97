/*
 * redact: nothing personal leaves by accident.
 *
 *     record -> find (pipeline/redact_detect) -> replace along the path (otlp/edit) -> goes on
 *
 * A record is signed before it is redacted, and what is put in the place of a value signs like the
 * value, so that a pattern's id does not depend on what is looked for. Only what leaves or rests
 * is scanned: what is dropped costs nothing. A record without a hit stays byte for byte what came.
 *
 * DETECT counts and changes nothing. ENFORCE changes, and then every text that people see has to
 * come through one of the calls below; pipeline/pipeline.h lists where.
 *
 * Errors     0 or more, or a negative code (util/err.h): then nothing may go on.
 * Ownership  what comes out is borrowed until the next call on the same redactor.
 * Memory     of changed texts, and of up to REDACT_CACHE_SLOTS Resources and scopes, from the
 *            budget.
 * Cost       about 1 ns a byte of what is scanned (bench/README.md); Resources and scopes once.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/logs.h"
#include "pipeline/redact_kinds.h"
#include "pipeline/redact_names.h"
#include "pipeline/redact_scan.h"
#include "util/budget.h"
#include "util/err.h"

#define REDACT_CACHE_SLOTS 64          /* distinct Resources and scopes: one process has few */
#define REDACT_CACHE_ENTRY_BYTES 16384 /* larger ones are scanned each time */
#define REDACT_MASK_BYTES 64
#define REDACT_KEY_BYTES 16 /* the least: 128 bits */

const char *redact_kind_name(unsigned kind); /* of a detector */

/* -1: there is no such kind. */
int redact_kind_parse(struct span name);

enum redact_mode { REDACT_OFF, REDACT_DETECT, REDACT_ENFORCE, REDACT_MODE_COUNT };

enum redact_action {
    REDACT_MASK,           /* redacted-<kind>-0 */
    REDACT_PARTIAL,        /* the last four of cards and accounts stay: redacted-card-1111 */
    REDACT_HASH,           /* <kind>_<8 hexadecimal digits> of a keyed digest */
    REDACT_DROP_ATTRIBUTE, /* the attribute goes; in a body as REDACT_MASK */
    REDACT_DROP_RECORD,    /* the record goes, errors too */
    REDACT_ACTION_COUNT,
};

/* clang-format off */
#define REDACT_WHERE_MAP(X) \
    X(BODY,      "body") \
    X(ATTRIBUTE, "attribute") \
    X(FIELD,     "field")     /* event name, severity text, schema URL */ \
    X(RESOURCE,  "resource")  /* counted once for each that is distinct, as are scopes */ \
    X(SCOPE,     "scope") \
    X(TEMPLATE,  "template")  /* of a new pattern */
/* clang-format on */

#define X(name, text) REDACT_IN_##name,
enum redact_where { REDACT_WHERE_MAP(X) REDACT_WHERE_COUNT };
#undef X

struct redact_found {
    const char *kind;
    size_t at, len; /* in the text */
    enum redact_where where;
    struct span name; /* of the attribute, or in a map; empty: none */
};

/* A kind of a user: a name, and an expression that regex_new() accepts. */
struct redact_pattern {
    char name[REDACT_PATTERN_NAME_BYTES + 1], regex[REGEX_PATTERN_BYTES + 1];
};

struct redact_opts {
    enum redact_mode mode;
    enum redact_action action;
    uint64_t kinds;            /* bit per enum redact_kind */
    const char *mask;          /* {kind} in it is the kind's name; NULL: redacted-{kind}-0 */
    struct span key;           /* of REDACT_HASH */
    struct redact_names names; /* borrowed, as are mask and key */
    const struct redact_pattern *patterns; /* read by redactor_new() */
    unsigned pattern_count;
    uint32_t max_services; /* first sights are noted for; 0: for none */
    uint64_t seed;         /* of the hashes in struct logs_group */
    struct budget *budget; /* may be NULL */
    /* A kind was found for the first time in a service. May be NULL. */
    void (*seen)(void *ctx, const char *kind, enum redact_where where, uint32_t service);
    /* Each hit of redactor_pass(), for people. May be NULL. */
    void (*found)(void *ctx, const struct redact_found *f);
    void *ctx;
};

struct redact_stats {
    uint64_t hits[REDACT_KINDS_MAX][REDACT_WHERE_COUNT];
    uint64_t scanned_bytes, changed_records, dropped_records;
    uint64_t given_up; /* texts that a pattern could not be matched on within its steps */
    unsigned kinds;    /* of detectors and patterns */
    char pattern_names[REDACT_PATTERNS_MAX][REDACT_PATTERN_NAME_BYTES + 1];
    enum redact_mode mode;
    enum redact_action action;
};

struct redactor;

MUST_CHECK int redactor_new(struct redactor **out, const struct redact_opts *opts);
void redactor_free(struct redactor *r);

/* From now on these names, commas between, are exempt as well, in place of those of the last call.
 * ERR_FULL, ERR_NOMEM: nothing has changed. */
MUST_CHECK int redactor_protect(struct redactor *r, struct span names);

bool redactor_enforces(const struct redactor *r); /* false for NULL */
const struct redact_stats *redactor_stats(const struct redactor *r);
const char *redact_where_name(enum redact_where w);
const char *redact_mode_name(enum redact_mode m);
const char *redact_action_name(enum redact_action a);

/* Of a detector or a pattern. */
const char *redact_stats_kind(const struct redact_stats *s, unsigned kind);

/* A set of kinds, and what they are called. */
struct redact_set {
    uint64_t bits;
    const struct redact_stats *names; /* NULL where bits is 0 */
};

/* What is done with a hit: the action's name, or "detect". */
const char *redact_done_name(const struct redact_stats *s);

enum { REDACT_SAME, REDACT_CHANGED, REDACT_DROPPED };

/* A record on its way out, and what it stands in. *record and *g are what goes on, in `clean` where
 * the group is changed. REDACT_*, or ERR_*. */
MUST_CHECK int redactor_pass(struct redactor *r, uint32_t service, const struct logs_group **g,
                             struct span *record, struct logs_group *clean);

/* The same record for people who look on: counts nothing, drops nothing. Where it fails, *record is
 * empty: what cannot be redacted is not shown. */
void redactor_show_record(struct redactor *r, struct span *record);

/* A text for people, a template or a name: as it is unless mode is ENFORCE. Empty where it fails.
 * `counts`: as one of `where`. What redactor_show_record() gave stays valid. */
struct span redactor_show(struct redactor *r, struct span text, bool counts,
                          enum redact_where where);

/* For people: all hits of a text, and the text as ENFORCE would leave it, appended to *out, which
 * may be NULL. Returns how many, or ERR_*. */
typedef void redact_found_fn(void *ctx, const struct redact_found *f);
MUST_CHECK int redactor_text(struct redactor *r, struct span text, redact_found_fn *fn, void *ctx,
                             struct buf *out);

/* The same for a record: `kinds` gets what was found; *out the record as ENFORCE would leave it. */
MUST_CHECK int redactor_record(struct redactor *r, struct span record, struct redact_set *kinds,
                               struct span *out);
