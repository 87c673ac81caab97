/*
 * proxy_head: the fields of a request that is passed on, as libcurl takes them, and those of the
 * answer, as a session takes them.
 *
 * Left out are the fields of one connection (RFC 9110 7.6.1); X-Forwarded-For, -Proto and -Host are
 * added. Blocking: never.
 */
#pragma once

#include "net/http.h"
#include "util/buf.h"

#define PROXY_LINES_MAX 110 /* fields of a request: HEAD_FIELDS_MAX, and our own */

/* The name of a method that is passed on; NULL of others. */
const char *proxy_method(enum http_method method);

/* The header lines of a request, NUL behind each. */
struct proxy_lines {
    struct buf text;
    const char *list[PROXY_LINES_MAX + 1];
    size_t count;
    uint32_t at[PROXY_LINES_MAX]; /* in text, which moves */
};

/* text.budget is set. ERR_FULL, ERR_NOMEM, ERR_TOO_BIG. */
MUST_CHECK int proxy_write_lines(struct proxy_lines *l, const struct http_head *h);

/* The fields of an answer, in the bytes of its head, whose names are folded to lower case there. */
struct proxy_fields {
    struct http_header list[HTTP_ANSWER_FIELDS_MAX];
    size_t count;
    bool has_length; /* of the body that comes, in bytes */
    uint64_t length;
};

/* ERR_TOO_BIG: they are too many. */
MUST_CHECK int proxy_read_fields(struct span head, struct proxy_fields *out);
