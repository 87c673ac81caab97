/*
 * signature: which pattern a log record belongs to, as a 64-bit id (LPS-1).
 *
 * Stateless and deterministic: the same record gives the same id in every
 * process for ever. The id is XXH3 (64 bits) of the record's identity bytes:
 * parts joined by 0x02, where a part is a literal word, a separator, 0x01 for a
 * variable, or begins with a byte that says what it is: 05 a kind of body without
 * a message, 06 a line of a stack trace, 07 a level, 08 the type of an error. A
 * change of any rule, word list or byte below is a new version, with a new prefix
 * in place of "lps1:".
 *
 * What is signed, first match wins:
 *
 *   event_name     05 "event", the name; or that of the attribute event.name.
 *   attributes     when there is a template among them, or nothing in the body: as
 *                  a map, with the scope's name.
 *   map, JSON,     07 and the level, 08 and the type, then the template or message
 *   logfmt         as text; without any: 05 "event" and its name, 05 "code" and
 *                  where in it, or 05 "keys" and the keys, sorted by bytes.
 *   text           of an access log method, route and class of the status. Else 07
 *                  and the level that the header before the message names, the parts
 *                  of the first line's message (a route, where it has no word), and
 *                  for each head and frame of the trace below it what is left of it.
 *   array          05 "list", its first elements, 05 behind each.
 *   others         05 and "none", "bool", "number" or "bytes".
 *
 * White space around a text never counts. A body gets the attribute exception.type
 * before it, as 08, unless it has it.
 *
 * Limits, each the first that counts and silent: SIGN_* below. Within them the id is that of
 * the specification's model.
 *
 * Ownership  spans are read during the call only. One signer a loop; it holds
 *            all the memory a call needs, about 1 MiB of address space of which
 *            short bodies touch little.
 * Cost       linear in the bytes that count. No call blocks or allocates.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/logs.h"
#include "util/buf.h"
#include "util/span.h"

#define SIGN_MAX_NAME_BYTES 8192 /* of an event name, an exception type */
#define SIGN_MAX_BODY_BYTES \
    65536                     /* of a body; a longer one is never JSON. Of its first \
                               * line 8,192 bytes and 256 tokens count */
#define SIGN_MAX_MEMBERS 1024 /* of a map or JSON object, those in its members included */
#define SIGN_MAX_ELEMENTS 8   /* of an array */
#define SIGN_MAX_IDENTITY_BYTES 131072

#define SIGNATURE_TEXT_BYTES 22 /* "lps1:", 16 hex digits, NUL */

/* What a record says of its own severity. */
enum sign_level {
    SIGN_LEVEL_NONE,
    SIGN_LEVEL_TRACE,
    SIGN_LEVEL_DEBUG,
    SIGN_LEVEL_INFO,
    SIGN_LEVEL_WARN,
    SIGN_LEVEL_ERROR,
    SIGN_LEVEL_FATAL,
};

struct sign_input {
    struct span event_name; /* LogRecord.event_name */
    struct span record;     /* the encoded LogRecord, for its attributes; empty: it has none */
    struct span scope_logs; /* fields of the encoded ScopeLogs, for the name of its scope */
    struct log_value body;
    bool is_plain; /* no attribute counts beside a body: !log_record.may_name. False: unknown */
};

struct signer;

int signer_new(struct signer **out);
void signer_free(struct signer *s);

uint64_t signer_sign(struct signer *s, const struct sign_input *in);

/* The same as a record with nothing but this text as its body. */
uint64_t signer_sign_text(struct signer *s, struct span body);

/* The severity that the body or the attributes of a record name, as PostHog and people read
 * them: in the header of a line, level=error, a level in JSON or a map, at the beginning of a
 * message, a traceback; never a word inside a sentence. For records that have no severity. */
enum sign_level signer_hint(struct signer *s, const struct sign_input *in);

/* "ERROR" and the like; "" for SIGN_LEVEL_NONE. */
const char *sign_level_name(enum sign_level level);

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
