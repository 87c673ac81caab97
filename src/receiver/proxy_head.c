/* proxy_head: fields in and out. */
#include "receiver/proxy_head.h"

#include <string.h>

/* ---- the request ---- */

const char *proxy_method(enum http_method method)
{
    static const char *const names[] = {
        [METHOD_GET] = "GET", [METHOD_HEAD] = "HEAD",     [METHOD_POST] = "POST",
        [METHOD_PUT] = "PUT", [METHOD_DELETE] = "DELETE", [METHOD_OPTIONS] = "OPTIONS",
    };
    return names[method];
}

/* Fields of one connection, and those that we or libcurl write. */
static bool is_of_connection(struct span name)
{
    static const char *const names[] = {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "content-length",
        "date",
        "alt-svc", /* of another host than ours */
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_ieq(name, span_str(names[i])))
            return true;
    return false;
}

/* Is `name` one of a list's words? (Connection: close, x-mine) */
static bool is_named(struct span list, struct span name)
{
    while (list.len > 0) {
        const uint8_t *comma = memchr(list.base, ',', list.len);
        size_t n = comma == NULL ? list.len : (size_t)(comma - list.base);
        if (span_ieq(span_trim(span_of(list.base, n)), name))
            return true;
        list = span_skip(list, comma == NULL ? n : n + 1);
    }
    return false;
}

static void begin_line(struct proxy_lines *l)
{
    if (l->count == PROXY_LINES_MAX)
        l->text.err = ERR_TOO_BIG;
    else
        l->at[l->count++] = (uint32_t)l->text.len;
}

static void add_line(struct proxy_lines *l, struct span name, struct span value)
{
    if (value.base == NULL)
        return;
    begin_line(l);
    buf_append(&l->text, name);
    /* libcurl takes "Name:" for "none" and "Name;" for an empty one. */
    buf_append_str(&l->text, value.len > 0 ? ": " : ";");
    buf_append(&l->text, value);
    buf_append_byte(&l->text, '\0');
}

/* What libcurl would add by itself and the client did not say. */
static void add_absence(struct proxy_lines *l, const char *name)
{
    begin_line(l);
    buf_append_str(&l->text, name);
    buf_append_str(&l->text, ":");
    buf_append_byte(&l->text, '\0');
}

struct unread {
    struct span forwarded, host, proto;
    bool has_accept;
};

static bool next_line(struct span *lines, struct span *name, struct span *line)
{
    const uint8_t *end = lines->len > 0 ? memchr(lines->base, '\0', lines->len) : NULL;
    if (end == NULL)
        return false;
    *line = span_of(lines->base, (size_t)(end - lines->base));
    *lines = span_skip(*lines, line->len + 1);
    const uint8_t *colon = memchr(line->base, ':', line->len);
    *name = span_of(line->base, colon == NULL ? line->len : (size_t)(colon - line->base));
    return true;
}

static struct span value_of(struct span line, struct span name)
{
    return span_trim(span_skip(line, name.len + 1));
}

/* Does one of the Connection fields name it? (RFC 9110 7.6.1; there may be several) */
static bool is_hop(struct span lines, struct span field)
{
    struct span name, line;
    while (next_line(&lines, &name, &line))
        if (span_ieq(name, SPAN("connection")) && is_named(value_of(line, name), field))
            return true;
    return false;
}

/* The fields without a place in struct http_head, but for those of the connection. */
static void add_unread(struct proxy_lines *l, struct span rest, struct unread *u)
{
    struct span name, line;
    const struct span all = rest;
    while (next_line(&rest, &name, &line)) {
        struct span value = value_of(line, name);
        if (span_ieq(name, SPAN("x-forwarded-for")))
            u->forwarded = value;
        else if (span_ieq(name, SPAN("x-forwarded-host")))
            u->host = value;
        else if (span_ieq(name, SPAN("x-forwarded-proto")))
            u->proto = value;
        else if (!is_of_connection(name) && !is_hop(all, name)) {
            u->has_accept |= span_ieq(name, SPAN("accept"));
            add_line(l, name, value);
        }
    }
}

/* Who asks, behind those who asked us before. */
static void add_forwarded(struct proxy_lines *l, const struct http_head *h, const struct unread *u)
{
    begin_line(l);
    buf_append_str(&l->text, "X-Forwarded-For: ");
    buf_append(&l->text, u->forwarded);
    if (u->forwarded.len > 0 && h->peer.len > 0)
        buf_append_str(&l->text, ", ");
    buf_append(&l->text, h->peer);
    buf_append_byte(&l->text, '\0');
    add_line(l, SPAN("X-Forwarded-Host"), u->host.len > 0 ? u->host : h->host);
    add_line(l, SPAN("X-Forwarded-Proto"),
             u->proto.len > 0  ? u->proto
             : h->is_encrypted ? SPAN("https")
                               : SPAN("http"));
}

int proxy_write_lines(struct proxy_lines *l, const struct http_head *h)
{
    struct unread u = {0};
    add_line(l, SPAN("Content-Type"), h->content_type);
    add_line(l, SPAN("Content-Encoding"), h->content_encoding);
    add_line(l, SPAN("Authorization"), h->authorization);
    add_line(l, SPAN("X-API-Key"), h->api_key);
    add_line(l, SPAN("User-Agent"), h->user_agent);
    add_line(l, SPAN("Origin"), h->origin);
    add_line(l, SPAN("Sec-Fetch-Site"), h->fetch_site);
    add_line(l, SPAN("If-None-Match"), h->if_none_match);
    add_line(l, SPAN("Access-Control-Request-Method"), h->wanted_method);
    add_line(l, SPAN("Access-Control-Request-Headers"), h->wanted_headers);
    add_unread(l, h->lines, &u);
    add_forwarded(l, h, &u);
    if (h->content_type.base == NULL)
        add_absence(l, "Content-Type");
    if (h->user_agent.base == NULL)
        add_absence(l, "User-Agent");
    if (!u.has_accept)
        add_absence(l, "Accept");
    for (size_t i = 0; i < l->count && l->text.err == 0; i++)
        l->list[i] = (const char *)l->text.base + l->at[i];
    return l->text.err;
}

/* ---- the answer ---- */

static bool next_field(struct span *head, struct http_header *out)
{
    while (head->len > 0) {
        const uint8_t *end = memchr(head->base, '\n', head->len);
        size_t n = end == NULL ? head->len : (size_t)(end - head->base);
        struct span line = span_of(head->base, n);
        *head = span_skip(*head, end == NULL ? n : n + 1);
        const uint8_t *colon = line.len > 0 ? memchr(line.base, ':', line.len) : NULL;
        if (colon == NULL || colon == line.base)
            continue;
        out->name = span_of(line.base, (size_t)(colon - line.base));
        out->value = span_trim(span_skip(line, out->name.len + 1));
        if (out->value.len > 0 && out->value.base[out->value.len - 1] == '\r')
            out->value.len--;
        return true;
    }
    return false;
}

/* Names in small letters, as HTTP/2 asks; in the bytes of the head. */
static void fold(struct span name)
{
    uint8_t *at = (uint8_t *)name.base;
    for (size_t i = 0; i < name.len; i++)
        if (at[i] >= 'A' && at[i] <= 'Z')
            at[i] |= 0x20;
}

/* The same in an answer. */
static bool is_hop_back(struct span head, struct span name)
{
    struct http_header field;
    while (next_field(&head, &field))
        if (span_ieq(field.name, SPAN("connection")) && is_named(field.value, name))
            return true;
    return false;
}

int proxy_read_fields(struct span head, struct proxy_fields *out)
{
    struct http_header field;
    const struct span all = head;
    struct span again = head;
    bool is_coded = false;
    out->count = 0;
    out->has_length = false;
    while (next_field(&again, &field)) {
        is_coded |= span_ieq(field.name, SPAN("transfer-encoding"));
        if (span_ieq(field.name, SPAN("content-length"))) {
            int64_t length = 0; /* what is none is left out, as if it was not known */
            out->has_length = http_length(field.value, &length) == 0;
            out->length = (uint64_t)length;
        }
    }
    out->has_length &= !is_coded; /* RFC 9112 6.3 */
    while (next_field(&head, &field)) {
        if (is_of_connection(field.name) || is_hop_back(all, field.name))
            continue;
        if (out->count == HTTP_ANSWER_FIELDS_MAX)
            return ERR_TOO_BIG;
        fold(field.name);
        out->list[out->count++] = field;
    }
    return 0;
}
