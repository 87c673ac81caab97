/*
 * capture: log requests as files hold them: one protobuf request, one OTLP/JSON
 * document, or one such document a line, as the file exporter writes them. The
 * content says which of them it is. What is wrong with one is mended as the receiver mends it
 * (otlp/mend.h), unless nothing is to be mended.
 *
 * Ownership  spans are lent for the call.
 * Blocking   never.
 */
#pragma once

#include "otlp/json.h"
#include "otlp/logs.h"
#include "util/buf.h"
#include "util/err.h"

#define CAPTURE_DOCUMENT_BYTES (256u << 20) /* of one JSON document or line */

struct capture {
    struct json_decoder *decoder;
    bool is_strict;           /* one bad record refuses its request */
    struct buf json, request; /* scratch */
};

struct capture_sink {
    void *ctx;
    /* A sound request, and how far in the text its end is. Non-zero ends the walk. */
    int (*request)(void *ctx, struct span request, const struct logs_count *count, size_t end);
    /* What is none, or has records that were left out, with its line (from 1; 0: the whole text).
     */
    void (*refused)(void *ctx, size_t line, const char *why);
};

MUST_CHECK int capture_init(struct capture *c, bool is_strict);
void capture_done(struct capture *c);

/* Does this begin as OTLP/JSON does? */
bool capture_is_json(struct span text);

/* 0, ERR_*, or what sink->request returned. */
MUST_CHECK int capture_read(struct capture *c, struct span text, const struct capture_sink *sink);
