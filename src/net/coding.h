/*
 * coding: content codings (RFC 9110 8.4) of whole buffers: gzip, deflate, zstd.
 *
 * Decoding is bounded by the bytes that come out, while they come: a bomb costs
 * max_bytes and no more. Output goes to a struct buf, whose own limit and budget
 * hold as well.
 *
 * Ownership: a struct coder keeps the codecs' working memory between calls; one
 * per loop or thread, never two calls at once. About 100 KiB to decode, 300 KiB
 * more once gzip and 1 MiB once zstd was encoded; none before the first use.
 * Blocking: never, but both directions are CPU work on the caller's thread.
 */
#pragma once

#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

enum coding { CODING_IDENTITY, CODING_GZIP, CODING_DEFLATE, CODING_ZSTD };

/* More members than this is an attack by empty ones. */
#define CODING_GZIP_MEMBERS 1000

struct coder;

/* NULL when out of memory. */
struct coder *coder_new(void);
void coder_free(struct coder *c); /* accepts NULL */

/* A Content-Encoding or grpc-encoding value. Absent, empty and "identity" are identity;
 * gzip, x-gzip, deflate, zstd in any case. ERR_UNSUPPORTED for all else, lists too: a
 * 415 (or UNIMPLEMENTED) with CODING_ACCEPT names what the client may use. */
MUST_CHECK int coding_parse(struct span value, enum coding *out);

/* For Accept-Encoding and grpc-accept-encoding. */
#define CODING_ACCEPT "gzip, deflate, zstd"
#define CODING_ACCEPT_GRPC "identity,gzip,deflate,zstd"

/* The name on the wire: "gzip". Static. */
const char *coding_name(enum coding coding);

/* Append the decoded form of `in` to *out.
 * gzip      RFC 1952: any number of members up to 1000, every CRC checked.
 * deflate   RFC 1950 as the standard says, or RFC 1951 bare as some clients send.
 * zstd      RFC 8878: any number of frames; windows up to 8 MiB (its 3.1.1.1.2).
 * identity  a copy.
 * 0; ERR_TOO_BIG: more than max_bytes would come out; ERR_FULL, ERR_NOMEM: out's budget or
 * the heap said no; ERR_MALFORMED: damaged, cut short, or followed by something else (an
 * empty `in` is cut short). On failure out->len is what it was. */
MUST_CHECK int coding_decode(struct coder *c, enum coding coding, struct span in, struct buf *out,
                             size_t max_bytes);

/* Append the encoded form of `in` to *out: gzip at level 1 of ISA-L or libdeflate,
 * deflate by libdeflate level 1, zstd level 1 with a checksum. 0 or the buf's failure. */
MUST_CHECK int coding_encode(struct coder *c, enum coding coding, struct span in, struct buf *out);
