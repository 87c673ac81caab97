/* tero_state: what the files of tero share. */
#pragma once

#include "otlp/json_doc.h"
#include "otlp/logs.h"
#include "otlp/policy_sync.h"
#include "policy/tero.h"
#include "util/arena.h"
#include "util/buf.h"
#include "util/regex.h"
#include "util/rng.h"

/* ---- fields ------------------------------------------------------------- */

enum tero_place { TERO_FIELD, TERO_LOG, TERO_RESOURCE, TERO_SCOPE };

enum tero_log_field {
    TERO_UNSPECIFIED,
    TERO_BODY,
    TERO_SEVERITY_TEXT,
    TERO_TRACE_ID,
    TERO_SPAN_ID,
    TERO_EVENT_NAME,
    TERO_RESOURCE_SCHEMA_URL = 10,
    TERO_SCOPE_SCHEMA_URL = 11,
};

/* A field of the record, or an attribute by its path. */
struct tero_field {
    enum tero_place place;
    enum tero_log_field field; /* of TERO_FIELD */
    const struct span *path;   /* of the others; at least one name */
    unsigned names;
};

/* A record as matchers see it. */
struct tero_view {
    const struct tero_record *at;
    struct log_record log;
};

/* The value; false: it is not there. Fields that are empty are not there. */
bool tero_field_read(const struct tero_field *f, const struct tero_view *view,
                     struct log_value *out);

/* The encoded AnyValue of an attribute; false: it is not there. */
bool tero_attr_find(const struct tero_field *f, const struct tero_record *r, struct span *any);

static inline bool tero_field_is_id(const struct tero_field *f)
{
    return f->place == TERO_FIELD && (f->field == TERO_TRACE_ID || f->field == TERO_SPAN_ID);
}

/* Texts and bytes as they are, ids as hex digits in `room`. A NULL base: it has no text. */
#define TERO_ID_TEXT 64
struct span tero_text(const struct tero_field *f, const struct log_value *v,
                      char room[TERO_ID_TEXT]);

/* ---- matchers ------------------------------------------------------------ */

enum tero_test {
    TERO_TEST_NONE,
    TERO_EXISTS,
    TERO_EXACT,
    TERO_STARTS,
    TERO_ENDS,
    TERO_CONTAINS,
    TERO_REGEX,
    TERO_EQUALS,
    TERO_GT,
    TERO_GTE,
    TERO_LT,
    TERO_LTE,
};

struct tero_matcher {
    struct tero_field field;
    enum tero_test test;
    bool negate;
    bool exists; /* what TERO_EXISTS wants */
    struct span text;
    struct regex *regex;
    struct log_value value; /* of EQUALS to LTE; bytes: LOG_BYTES */
};

bool tero_matches(const struct tero_matcher *m, const struct tero_view *view);

/* ---- keep ----------------------------------------------------------------- */

enum tero_keep_kind { TERO_ALL, TERO_NONE, TERO_PERCENT, TERO_RATE };

struct tero_keep {
    enum tero_keep_kind kind;
    double percent;
    uint64_t limit, window_ms; /* of TERO_RATE: so many in each window */
    uint64_t begun_ms, used;   /* of the window now */
    bool has_begun;
    bool has_key;
    struct tero_field key;
};

/* ERR_CONFIG: it is none of all, none, N%, N/s, N/m, N/Ds, N/Dm. */
MUST_CHECK int tero_keep_parse(struct tero_keep *keep, struct span text);

/* ---- transforms ------------------------------------------------------------ */

enum tero_op_kind { TERO_REMOVE, TERO_REDACT, TERO_RENAME, TERO_ADD, TERO_OP_KINDS };

struct tero_op {
    struct tero_field field;
    struct span value; /* a replacement, a new name, or what is added */
    bool upsert;
    struct regex *regex; /* REDACT: only what it matches */
};

struct tero_ops {
    struct tero_op *list;
    unsigned count;
};

/* ---- policies --------------------------------------------------------------- */

struct tero_policy {
    struct span id;
    bool is_on; /* enabled, of logs, without errors */
    struct tero_matcher *matchers;
    unsigned matcher_count;
    struct tero_keep keep;
    struct tero_ops ops[TERO_OP_KINDS];
    struct span *errors; /* TERO_ERRORS of them, made with the first */
    unsigned error_count;
    uint64_t hits, misses;
    uint64_t overruled; /* records that are protected, and that it would have dropped */
};

/* Buffers of one changed message: one is read while the other is written. */
struct tero_pair {
    struct buf buf[2];
    unsigned next;
};

struct tero {
    struct arena arena;
    struct tero_policy *policies; /* by id */
    size_t count;
    size_t expressions;
    uint32_t *matched; /* of the record in hand, by index */
    struct rng rng;
    struct tero_pair pairs[3]; /* record, Resource, scope */
    struct buf inner, value, text;
};

/* tero_read.c: fill t->policies. `is_alone`: no other member than policies may be there. */
MUST_CHECK int tero_read(struct tero *t, struct json_node root, bool is_alone, struct error *err);

/* tero_read_log.c: the part `log` of a policy; what is wrong is noted in it. 0 or ERR_*. */
MUST_CHECK int tero_read_log(struct tero *t, struct tero_policy *p, struct json_node log);

/* Note an error of the policy, as printf() writes it. ERR_NOMEM, ERR_FULL, ERR_TOO_BIG. */
MUST_CHECK int tero_note(struct tero *t, struct tero_policy *p, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* What the policies that matched say. NULL: the record is kept; else it is dropped, by this one. */
struct tero_policy *tero_keep_decide(struct tero *t, size_t matched, const struct tero_view *view,
                                     uint64_t now_ms);

/* All operations of the policies that matched. enum tero_verdict, or ERR_*. */
MUST_CHECK int tero_transform(struct tero *t, size_t matched, struct tero_record *r);

/* ---- writing ------------------------------------------------------------------ */

/* What becomes of an attribute: with a NULL base it goes; else it gets this encoded AnyValue. */
struct tero_change {
    const struct span *path;
    unsigned names;
    struct span any;
    bool may_create;
};

/* Append the message with its attributes in field `number` changed. 1: something was, 0: nothing
 * (*out is as the message), or ERR_*. */
MUST_CHECK int tero_write_attrs(struct buf *out, struct span message, uint32_t number,
                                const struct tero_change *change);

/* The same for the attributes of the message in field 1: a Resource or a scope. */
MUST_CHECK int tero_write_inner(struct buf *out, struct span around, uint32_t number,
                                const struct tero_change *change, struct buf *inner);

/* Append the message with this field instead of all there were; a NULL base: without it. */
MUST_CHECK int tero_write_field(struct buf *out, struct span message, uint32_t number,
                                struct span content);
