/*
 * signature: which pattern a log record belongs to, as a 64-bit id (LPS-1).
 *
 * Stateless and deterministic: the same record gives the same id in every
 * process for ever. The id is XXH3 (64 bits) of the record's identity bytes:
 * parts joined by 0x02, where a part is a literal word, a separator, or 0x01 for
 * a variable. A change of any rule, word list or byte below is a new version,
 * with a new prefix in place of "lps1:".
 *
 * What is signed, first match wins, and the parts it gives:
 *
 *   event_name        07 "event", the name. The body is not read.
 *   template_attr     07 "template", the producer's own template. Likewise.
 *   map, JSON text    "json", "key=value" for each context key that is there
 *                     (level, severity, lvl, logger, event, event_name,
 *                     error.type, exception.type, error_type, exception_type,
 *                     in this order, strings, integers and True/False), then 04
 *                     and the parts of the message as text (the first string
 *                     that is not empty under message, msg, log, text, event,
 *                     body); or, without a message, 05 and the keys, sorted by
 *                     bytes, each once. Keys are found in any case of letters.
 *   text              the parts of its first line; then for each head and frame
 *                     of the trace below it, 06 and what it is reduced to.
 *   array             07 "array", then the parts of a line made of the text of
 *                     the first 8 elements with ", " between.
 *   others            one part: 07 and "bool", "int", "double" or "bytes". No body
 *                     and blank text are the same: no parts at all.
 *
 * White space around a text never counts. Body kinds get, when exception_type is
 * not empty, two more parts: 07 "exception" and the type.
 *
 * Limits, each the first that counts and silent: SIGN_* below. Within them the
 * id is that of the specification's model; JSON text must be valid UTF-8 JSON
 * with numbers that fit 64 bits or a double, or else it is signed as text.
 *
 * Ownership  spans are read during the call only. One signer a loop; it holds
 *            all the memory a call needs, about 2 MiB of address space of which
 *            short bodies touch little.
 * Cost       linear in the bytes that count. No call blocks or allocates.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/span.h"

#define SIGN_MAX_NAME_BYTES 8192    /* of an event name, a template, an exception type */
#define SIGN_MAX_BODY_BYTES 65536   /* of a body; a longer one is never JSON. Of its first
                                     * line 8,192 bytes and 256 tokens count */
#define SIGN_MAX_NESTED_JSON 8      /* JSON whose message is JSON whose message ... */
#define SIGN_MAX_MEMBERS 1024       /* of a map or JSON object */
#define SIGN_MAX_KEY_BYTES 256      /* of each key in a set of keys */
#define SIGN_MAX_ELEMENTS 8         /* of an array */
#define SIGN_MAX_IDENTITY_BYTES 131072

#define SIGNATURE_TEXT_BYTES 22 /* "lps1:", 16 hex digits, NUL */

enum sign_body_kind {
    SIGN_BODY_NONE,
    SIGN_BODY_STRING, /* body: its text */
    SIGN_BODY_KVLIST, /* body: an encoded KeyValueList */
    SIGN_BODY_ARRAY,  /* body: an encoded ArrayValue */
    SIGN_BODY_BOOL,   /* these: body is not read */
    SIGN_BODY_INT,
    SIGN_BODY_DOUBLE,
    SIGN_BODY_BYTES,
};

struct sign_input {
    struct span event_name;     /* LogRecord.event_name, or the event.name attribute */
    struct span template_attr;  /* log.record.template and its like */
    struct span exception_type; /* the exception.type attribute */
    struct span body;
    enum sign_body_kind body_kind;
};

struct signer;

int signer_new(struct signer **out);
void signer_free(struct signer *s);

uint64_t signer_sign(struct signer *s, const struct sign_input *in);

/* The same as a record with nothing but this text as its body. */
uint64_t signer_sign_text(struct signer *s, struct span body);

/* The identity bytes of what was signed last; borrowed until the next call. */
struct span signer_identity(const struct signer *s);

/* Append the template of what was signed last, for people: <*> for a variable,
 * " | " before each line of a trace. */
void signer_template(const struct signer *s, struct buf *out);

/* The same of any identity bytes. */
void signature_template(struct span identity, struct buf *out);

/* "lps1:" and 16 lower-case hex digits. Returns out. */
const char *signature_format(char out[SIGNATURE_TEXT_BYTES], uint64_t id);

/* The reverse; capitals are accepted. Reads lps1:overflow:<words> as well
 * (pattern/signature_overflow.h). ERR_MALFORMED for anything else. */
int signature_parse(struct span text, uint64_t *id);
