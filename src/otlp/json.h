/*
 * json: an OTLP/JSON log request, rewritten as the protobuf it stands for.
 * (OTLP specification, "JSON Protobuf Encoding"; proto3 JSON; RFC 8259)
 *
 * Strict where the mapping is: lowerCamelCase keys, or as the .proto files spell
 * them (others are unknown and ignored), enums as integers or names, ids in hex of either case (of
 * any even length: readers judge it as they do in protobuf), bytes in base64 of either alphabet
 * with or without padding, 64-bit integers as number or string and exact,
 * "NaN", "Infinity" and "-Infinity" for doubles, null for the default. A value
 * of the wrong type at a known key, a lone surrogate, a number out of range,
 * trailing text or a second document refuse the request; where that is asked for, only the record
 * in which they stand, or not even that (otlp/mend.h). A BOM is skipped.
 * Of a key that comes twice, the last value wins; lists are joined and
 * messages merged, as protobuf does; null never unsets.
 *
 * Errors     ERR_MALFORMED, ERR_UTF8, ERR_TOO_DEEP (LOGS_MAX_DEPTH of
 *            otlp/logs.h), ERR_TOO_BIG, ERR_FULL, ERR_NOMEM; err says where.
 * Ownership  the caller owns decoder and bufs.
 * Blocking   never. One decoder serves one call at a time.
 */
#pragma once

#include "otlp/logs.h"
#include "otlp/mend.h"
#include "util/buf.h"
#include "util/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Readable bytes that the parser needs behind the text. */
#define JSON_PADDING_BYTES 64

struct json_decoder;

/* NULL when there is no memory. The budget (may be NULL) is charged with the
 * parser's index while a request is decoded. */
struct json_decoder *json_decoder_new(struct budget *budget);
void json_decoder_free(struct json_decoder *d);

/* Append to *out the protobuf of the ExportLogsServiceRequest in *json. The
 * padding is reserved in *json (its content stays as it is); to spare a copy,
 * leave JSON_PADDING_BYTES beyond its length when reading it. The protobuf is
 * never longer than the JSON; that many bytes plus JSON_PADDING_BYTES are
 * reserved in *out at once. What is appended passes logs_check(), which would
 * count what *count says, but for `foreign`. On failure the length of *out is as before. */
MUST_CHECK int json_logs_decode(struct json_decoder *d, struct buf *json, struct buf *out,
                                struct logs_count *count, struct logs_mended *mended,
                                struct error *err);

#ifdef __cplusplus
}
#endif
