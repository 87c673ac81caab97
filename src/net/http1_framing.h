/*
 * http1_framing: what the parser of HTTP/1.1 leaves open, read from the raw bytes beside it.
 *
 * Two readers of one stream of bytes must not see two requests in it. The parser (llhttp) takes
 * request lines that are not HTTP's, looks at chunk extensions more or less strictly than RFC 9112
 * asks, and does not look at trailers. Here the grammar is held to the letter, before the parser
 * sees the bytes; of a chunked body it is shown all but the extensions.
 *
 * Units: bytes. Blocking: never, and no allocation.
 */
#pragma once

#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

/* ---- the request line: method SP target SP HTTP/d.d CRLF (RFC 9112 3) ---- */

struct request_line {
    uint8_t part, at; /* zero: before it */
    uint8_t major;
};

/* The next bytes of a head. 0, or the status of the refusal: 400, or 505 for a version. What is
 * behind the line is not looked at. */
int request_line_check(struct request_line *l, struct span in);

/* ---- a chunked body (RFC 9112 7.1) ---- */

/* Of one request, all ignored: chunk extensions and trailer fields. */
#define CHUNKED_EXTRA_BYTES 8192
#define CHUNKED_TRAILERS_MAX 100 /* as many as fields of a head */

struct chunked {
    uint8_t part; /* zero: before a size */
    uint8_t digits;
    uint32_t trailers;
    uint64_t size; /* as announced, while its line is read; then what is missing of the data */
    uint64_t announced;
    size_t extra;
};

/* Check `in`. Its first *feed bytes are for the parser, the *skip bytes after them are ignored, and
 * what follows is to be passed again. It stops behind the line of a size, so that `announced`
 * is of the chunk that the parser has come to. `left`: how much longer the body may become.
 * ERR_MALFORMED; ERR_TOO_BIG as soon as a size is read that says so. */
MUST_CHECK int chunked_scan(struct chunked *c, struct span in, uint64_t left, size_t *feed,
                            size_t *skip);
