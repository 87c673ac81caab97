/* files: one answer for all of them. */
#include "net/files.h"

#define CONTENT_POLICY \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " \
    "'self'; " \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; trusted-types 'none'"

const struct asset *files_find(const struct asset *assets, size_t count, struct span path)
{
    for (size_t i = 0; i < count; i++)
        if (span_eq(path, span_str(assets[i].path)))
            return &assets[i];
    return NULL;
}

static int answer_503(struct http_exchange *x)
{
    const struct http_header headers[] = {
        {SPAN("content-type"), SPAN("text/plain")},
        {SPAN("cache-control"), SPAN("no-store")},
        {SPAN("x-content-type-options"), SPAN("nosniff")},
    };
    http_reply(x, &(struct http_response){.status = 503,
                                          .headers = headers,
                                          .header_count = ARRAY_LEN(headers),
                                          .body = SPAN("no memory for this page now\n")});
    return 503;
}

int files_answer(struct http_exchange *x, const struct asset *a, int status,
                 const struct http_header *more, struct budget *budget)
{
    const struct http_header headers[] = {
        {SPAN("content-type"), span_str(a->content_type)},
        {SPAN("etag"), span_str(a->etag)},
        {SPAN("cache-control"), status == 200 ? SPAN("no-cache") : SPAN("no-store")},
        {SPAN("content-security-policy"), SPAN(CONTENT_POLICY)},
        {SPAN("x-content-type-options"), SPAN("nosniff")},
        {SPAN("referrer-policy"), SPAN("no-referrer")},
        {SPAN("cross-origin-opener-policy"), SPAN("same-origin")},
        {SPAN("cross-origin-resource-policy"), SPAN("same-origin")},
        more != NULL ? *more : (struct http_header){{0}},
    };
    struct buf body = {.budget = budget};
    if (status == 200 && http_has_tag(x->head.if_none_match, span_str(a->etag)))
        status = 304;
    else
        buf_append(&body, a->bytes);
    if (body.err != 0)
        status = answer_503(x);
    else
        http_reply(x, &(struct http_response){.status = status,
                                              .headers = headers,
                                              .header_count = ARRAY_LEN(headers) - (more == NULL),
                                              .owned = &body});
    buf_done(&body);
    return status;
}
