/*
 * decode: one request body as sound protobuf: inflated, transcoded, mended.
 *
 * Ownership: the decoder's scratch is lent until decoder_release(); one request at a time.
 * Blocking: never, but all of it is CPU work on the caller's thread.
 */
#pragma once

#include <stdbool.h>

#include "net/coding.h"
#include "otlp/mend.h"
#include "util/buf.h"
#include "util/err.h"

struct decoder;

/* NULL: no memory. */
struct decoder *decoder_new(struct budget *budget);
void decoder_free(struct decoder *d); /* accepts NULL */

struct decode_request {
    struct buf *body;    /* as it came; freed when it is large and not needed any more */
    struct span payload; /* in it: without framing */
    enum coding coding;
    size_t max_bytes; /* inflated */
};

/* Append what `payload` is without its coding. *out is lent, and *source is where it stands. */
MUST_CHECK int decoder_inflate(struct decoder *d, const struct decode_request *q, struct span *out,
                               struct buf **source, struct error *err);

struct decode_logs {
    struct buf *source;  /* where the request stands; freed when it is large and was rewritten */
    struct span request; /* in: protobuf or JSON; out: protobuf that passes logs_check() */
    bool is_json;        /* by its content type */
    bool looks;          /* the content type says nothing: what it is decides */
    bool may_mend;
    struct logs_count count;
    struct logs_mended mended; /* its budget is set by the caller */
    bool has_nothing;          /* JSON, and none of it is OTLP */
};

/* On failure `mended` still has to be done with. */
MUST_CHECK int decoder_logs(struct decoder *d, struct decode_logs *q, struct error *err);

void decoder_release(struct decoder *d);

/* Of scratch memory kept for the next request. */
#define DECODER_KEEP_BYTES (1u << 20)

/* Forget what `scratch` holds, and its memory too when that is large. */
void decoder_clear(struct buf *scratch);
