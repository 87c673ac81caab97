/*
 * head: gathers the header fields of one request that anybody here reads.
 *
 * The parser appends a name and a value to head->bytes piece by piece, marking
 * where each begins, then calls head_field(): a known field is remembered, an
 * unknown one is cut off again, or kept as a line where all are to be passed on. head_finish()
 * turns what was remembered into spans; they live until head_clear() or head_done().
 *
 * Ownership: bytes are charged to the budget that head_init() is given.
 */
#pragma once

#include "net/http.h"
#include "util/err.h"

/* Name on the wire; may it occur once only; where it goes in struct http_head.
 * Those that are given twice and may not be are refused: a second Host or
 * Content-Encoding means that a proxy before us may have read the other one. */
/* clang-format off */
#define HEAD_FIELDS(X) \
    X(HOST,              "host",              true) \
    X(CONTENT_TYPE,      "content-type",      true) \
    X(CONTENT_ENCODING,  "content-encoding",  true) \
    X(CONTENT_LENGTH,    "content-length",    true) \
    X(AUTHORIZATION,     "authorization",     true) \
    X(TRANSFER_ENCODING, "transfer-encoding", true) \
    X(EXPECT,            "expect",            false) \
    X(USER_AGENT,        "user-agent",        false) \
    X(API_KEY,           "x-api-key",         true) \
    X(ORIGIN,            "origin",            true) \
    X(FETCH_SITE,        "sec-fetch-site",    true) \
    X(IF_NONE_MATCH,     "if-none-match",     false) \
    X(WANTED_METHOD,     "access-control-request-method",  true) \
    X(WANTED_HEADERS,    "access-control-request-headers", false) \
    X(PREFER,            "prefer",            false) \
    X(GRPC_ENCODING,     "grpc-encoding",     true) \
    X(GRPC_TIMEOUT,      "grpc-timeout",      true) \
    /* HTTP/2's pseudo-headers; HTTP/1 stores its target as one */ \
    X(PATH,              ":path",             true) \
    X(METHOD,            ":method",           true) \
    X(AUTHORITY,         ":authority",        true)
/* clang-format on */

#define X(name, text, once) HEAD_##name,
enum head_field { HEAD_FIELDS(X) HEAD_FIELD_COUNT };
#undef X

#define HEAD_FIELDS_MAX 100 /* as Apache; a real exporter sends about 10 */

struct head {
    struct buf bytes;
    struct buf lines;                      /* unknown fields as "name: value", a NUL behind each */
    bool (*passes_on)(struct span target); /* NULL: never */
    size_t name_at, value_at;              /* where the field in hand begins */
    uint32_t fields;                       /* seen so far, unknown ones too */
    struct {
        uint32_t at, len;
        bool is_set;
    } slots[HEAD_FIELD_COUNT];
};

/* Unknown fields are kept where `passes_on` says so of the target, which may be NULL. */
void head_init(struct head *h, size_t max_bytes, struct budget *budget,
               bool (*passes_on)(struct span target));

/* The field from name_at to the end of bytes is whole. 0, ERR_MALFORMED for a
 * field without a name or given twice, ERR_TOO_BIG for one too many, or what bytes.err says. */
MUST_CHECK int head_field(struct head *h);

/* The bytes from `at` to the end are a value without a name: HTTP/1's target. */
void head_mark(struct head *h, enum head_field f, size_t at);

/* It asks for something with Expect, and not for 100-continue: 417 (RFC 9110 10.1.1). */
bool head_expects_unknown(const struct head *h);

bool head_has(const struct head *h, enum head_field f);
struct span head_get(const struct head *h, enum head_field f); /* base NULL: absent */

/* Fill `out` (version, is_encrypted and peer are the caller's). ERR_MALFORMED when Content-Length
 * or Host is wrong. */
MUST_CHECK int head_finish(const struct head *h, struct http_head *out);

void head_clear(struct head *h); /* for the next request; frees the bytes */
void head_done(struct head *h);
