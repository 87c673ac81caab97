/* client_key: where a key may stand. */
#include "receiver/client_key.h"

#include "otlp/logs.h"

/* The value of `token` in a query. */
static struct span token_of(struct span query)
{
    while (query.len > 0) {
        const uint8_t *amp = memchr(query.base, '&', query.len);
        struct span pair = amp == NULL ? query : span_of(query.base, (size_t)(amp - query.base));
        if (span_starts(pair, SPAN("token=")))
            return span_skip(pair, 6);
        query = span_skip(query, amp == NULL ? query.len : pair.len + 1);
    }
    return (struct span){0};
}

/* What stands behind a '?' that was percent-encoded into the path (Go's exporters). */
static struct span query_in(struct span path)
{
    for (size_t i = 0; i + 2 < path.len; i++)
        if (path.base[i] == '%' && path.base[i + 1] == '3' && (path.base[i + 2] | 0x20) == 'f')
            return span_skip(path, i + 3);
    return (struct span){0};
}

struct span client_key(const struct http_head *head)
{
    struct span header = span_trim(head->authorization);
    if (header.len >= 7 && span_ieq(span_of(header.base, 7), SPAN("bearer ")))
        return span_trim(span_skip(header, 7));
    struct span token = token_of(head->query);
    return token.len > 0 ? token : token_of(query_in(head->path));
}

bool client_key_is_sound(struct span key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.base[i] <= ' ' || key.base[i] > '~')
            return false;
    return key.len > 0 && key.len <= LOGS_KEY_BYTES;
}
