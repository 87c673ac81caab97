/*
 * edit: change texts inside of an encoded LogRecord, or of what stands around it, and leave all
 * else byte for byte: unknown fields, the order of fields, lengths that are written long.
 *
 *     edit_find()   walks the message and asks about each text that a person may have written
 *     edit_apply()  writes the message anew, where something is to be changed
 *
 * Only the lengths on the way from the message to a changed text are written anew. The result is
 * that of the same change made to the decoded message (protobuf-c, tests/unit/otlp/test_edit.c).
 *
 * Texts are: strings and bytes anywhere in a body or a value, keys in maps, severity_text,
 * event_name, the name and version of a scope, and schema URLs. Keys of attributes are not.
 *
 * Errors     0, or a negative code (util/err.h).
 * Ownership  spans are borrowed until edit_apply() has returned, and so is what `with` points at.
 * Cost       linear in the message; without a change no memory is touched.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

/* What the message is: a LogRecord, or fields of ResourceLogs and ScopeLogs as struct logs_group
 * has them. */
enum edit_root { EDIT_RECORD, EDIT_RESOURCE, EDIT_SCOPE };

enum edit_place {
    EDIT_BODY,      /* of a record, and all in it */
    EDIT_ATTRIBUTE, /* of a record, a Resource or a scope, and all in it */
    EDIT_FIELD,     /* another text of the record, the Resource or the scope */
};

struct edit_text {
    enum edit_place place;
    struct span attribute; /* the attribute's name; empty: of none */
    struct span key;       /* the nearest name above: the attribute's, or one in a map */
    struct span text;
};

enum edit_what {
    EDIT_NOT,
    EDIT_REPLACE, /* by *with */
    EDIT_REMOVE,  /* the attribute that it is in, whole; nothing where it is in none */
    EDIT_KEEP,    /* only from edit_named_fn: do not even ask about the texts in it */
};

/* What is to be done with a text? enum edit_what; negative: a failure, which edit_find() returns.
 * Where it is asked about the value of a name, `text` is the encoded AnyValue. */
typedef int edit_text_fn(void *ctx, const struct edit_text *text, struct span *with);

/* The same for the whole value of a name, whatever its kind, before its texts are asked about.
 * EDIT_REPLACE makes it a string, EDIT_REMOVE removes this entry. */
typedef int edit_named_fn(void *ctx, const struct edit_text *named, struct span *with);

struct edit_asker {
    edit_text_fn *text;
    edit_named_fn *named; /* may be NULL */
    void *ctx;
};

/* The changes to one message. Zero is a valid one; it keeps its memory for the next message. */
struct edit {
    struct buf nodes; /* of what is changed and all above it, in the order of the message */
    struct span message;
};

void edit_done(struct edit *e);

/* Collect the changes. Returns how many, or ERR_*. `with` must stay where it is. */
MUST_CHECK int edit_find(struct edit *e, enum edit_root root, struct span message,
                         const struct edit_asker *asker);

/* Append the changed message to *out. */
MUST_CHECK int edit_apply(struct edit *e, struct buf *out);
