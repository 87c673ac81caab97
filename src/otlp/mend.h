/*
 * mend: one bad record costs one record.
 *
 * A request that logs_check() or the JSON transcoder refuses is looked at once more, record by
 * record: what can be repaired is, what cannot be is left out, and the rest is as it came, byte
 * for byte. A sound request never comes here.
 *
 *     repaired   bytes that are not UTF-8, lone surrogates       -> U+FFFD
 *                integers of values beyond 64 bits (JSON)        -> the digits, as a string
 *                integers of values with a fraction (JSON)       -> a double
 *                times that cannot be (JSON)                     -> left out: the pipeline fills in
 *                flags and counts out of range (JSON)            -> left out
 *     left out   records with damage in their own bytes, or of which a value has another type, is
 *                nested too deep, is no base64, no hex, or no name of a severity
 *     refused    the request: damage around records, JSON that is no JSON
 *
 * Ownership: of what is tallied, the struct; logs_mended_done() frees it.
 * Blocking: never.
 */
#pragma once

#include "otlp/logs.h"
#include "util/buf.h"
#include "util/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* By how much repairs may make a request longer: half a million bytes that are no UTF-8. A text
 * with more of them is none that has a fault, and is refused. */
#define MEND_GROWTH_BYTES (1u << 20)

/* clang-format off */
#define REPAIRS(X) \
    X(UTF8,   "utf8")   /* one for each U+FFFD */ \
    X(NUMBER, "number") \
    X(TIME,   "time")
/* clang-format on */

#define X(name, text) REPAIR_##name,
enum repair { REPAIRS(X) REPAIR_COUNT };
#undef X

const char *repair_name(enum repair r);

/* What was left out of one ResourceLogs. */
struct logs_rejected {
    uint32_t resource_index, records;
    size_t bytes; /* as they came */
};

/* Zero is the state to begin with. */
struct logs_mended {
    uint64_t repairs[REPAIR_COUNT];
    uint64_t rejected;     /* records */
    int code;              /* of the first of them, ERR_* */
    struct error first;    /* what was wrong with it */
    struct budget *budget; /* charged with the tally; may be NULL */
    struct buf tally;      /* struct logs_rejected, one for each ResourceLogs concerned */
};

void logs_mended_done(struct logs_mended *m);

/* A record was left out. resource_index never goes back. 0, or ERR_*: no memory for it. */
MUST_CHECK int logs_mended_reject(struct logs_mended *m, uint32_t resource_index, size_t bytes,
                                  int code, const char *why);

/* Append to *out what can be kept of a request that logs_check() has refused; it passes
 * logs_check() with that count. Every ResourceLogs stays, emptied if need be.
 *   ERR_MORE, ERR_MALFORMED, ERR_TOO_DEEP, ERR_UTF8   the request is to be refused
 *   ERR_FULL, ERR_NOMEM, ERR_TOO_BIG                  no room for it
 * On failure the length of *out is as before. */
MUST_CHECK int logs_mend(struct span request, struct buf *out, struct logs_count *count,
                         struct logs_mended *m);

/* JSON whose strings are to be UTF-8, and without lone surrogates. 1: *out has the text mended;
 * 0: there is nothing to mend, and *out is as before; ERR_UTF8: too much; ERR_*: no memory. */
MUST_CHECK int json_text_mend(struct span text, struct buf *out, uint64_t *repairs);

#ifdef __cplusplus
}
#endif
