/* cors: words against words. */
#include "receiver/cors.h"

#include "util/glob.h"
#include "util/words.h"

#define ORIGIN_BYTES 512 /* a scheme, the longest name of DNS, a port, and some air */

/* What an exporter of OTLP sends, and what scripts may send anywhere. */
static const char usual[] = "accept,accept-language,content-language,content-type,content-encoding,"
                            "origin,x-requested-with";

static struct span lower(char out[ORIGIN_BYTES], struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        out[i] = (char)(s.base[i] >= 'A' && s.base[i] <= 'Z' ? s.base[i] | 0x20 : s.base[i]);
    return span_of(out, s.len);
}

bool cors_allows(const struct cors *c, struct span origin)
{
    char a[ORIGIN_BYTES], b[ORIGIN_BYTES];
    struct span rest = span_str(c->origins), word;
    if (origin.len == 0 || origin.len > ORIGIN_BYTES)
        return false;
    origin = lower(a, origin);
    while (words_next(&rest, &word))
        if (word.len <= ORIGIN_BYTES && glob_matches(lower(b, word), origin))
            return true;
    return false;
}

bool cors_is_preflight(const struct http_head *head)
{
    return head->method == METHOD_OPTIONS && head->origin.len > 0 && head->wanted_method.len > 0;
}

static bool is_listed(const char *list, struct span name)
{
    struct span rest = span_str(list), word;
    while (words_next(&rest, &word))
        if (span_eq(word, SPAN("*")) || span_ieq(word, name))
            return true;
    return false;
}

bool cors_allows_request(const struct cors *c, const struct http_head *head)
{
    struct span rest = head->wanted_headers, name;
    if (!span_eq(head->wanted_method, SPAN("POST")))
        return false;
    while (words_next(&rest, &name)) {
        name = span_trim(name);
        if (name.len > 0 && !is_listed(usual, name) && !is_listed(c->headers, name))
            return false;
    }
    return true;
}
