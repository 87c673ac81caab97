/* proxy: a request becomes one of libcurl's, and its answer one of ours. */
#include "receiver/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/route.h"
#include "util/buf.h"
#include "util/diag.h"
#include "util/list.h"

#define LINES_MAX 110 /* fields of a request: HEAD_FIELDS_MAX, and our own */
#define FIELDS_MAX 64 /* of an answer */
#define UPLOAD_BYTES ((size_t)64 << 10)
#define RETRY_AFTER "1"

struct proxy {
    struct proxy_opts opts;
    char *host;
    struct route route;
    uint32_t timeout_ms;
    struct list calls;
    unsigned count;
    uint64_t down_until_ms;
    bool was_down;
    struct proxy_stats stats;
};

struct proxy_call {
    struct list link;
    struct proxy *proxy;
    struct http_exchange *exchange;
    struct client_call *call;
};

/* ---- answers of our own --------------------------------------------------- */

static void answer(struct http_exchange *x, int status, const char *message)
{
    const struct http_header headers[] = {
        {SPAN("content-type"), SPAN("application/json")},
        {SPAN("retry-after"), SPAN(RETRY_AFTER)},
    };
    char body[256];
    int n = snprintf(body, sizeof body, "{\"type\":\"server_error\",\"detail\":\"%s\"}\n", message);
    http_reply(x, &(struct http_response){.status = status,
                                          .headers = headers,
                                          .header_count = ARRAY_LEN(headers),
                                          .body = span_of(body, (size_t)n)});
}

static void refuse(struct proxy *r, struct http_exchange *x)
{
    metric_inc(&r->stats.refused);
    answer(x, 503, "lipservice has no room for this request now; try again later");
}

static void fail(struct proxy *r, struct http_exchange *x, int status, const char *message)
{
    metric_inc(&r->stats.failed);
    answer(x, status, message);
}

/* ---- the request ------------------------------------------------------------ */

static const char *method_name(enum http_method method)
{
    static const char *const names[] = {
        [METHOD_GET] = "GET", [METHOD_HEAD] = "HEAD",     [METHOD_POST] = "POST",
        [METHOD_PUT] = "PUT", [METHOD_DELETE] = "DELETE", [METHOD_OPTIONS] = "OPTIONS",
    };
    return names[method];
}

static bool type_begins(struct span type, struct span with)
{
    return type.len >= with.len && span_ieq(span_of(type.base, with.len), with);
}

bool proxy_takes(const struct http_head *head)
{
    return method_name(head->method) != NULL && head->path.len > 1 && head->path.base[0] == '/' &&
           !type_begins(head->content_type, SPAN("application/grpc")) &&
           !type_begins(head->content_type, SPAN("application/x-protobuf"));
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

/* The header lines of a request, NUL behind each. */
struct lines {
    struct buf text;
    const char *list[LINES_MAX + 1];
    size_t count;
    uint32_t at[LINES_MAX]; /* in text, which moves */
};

static void begin_line(struct lines *l)
{
    if (l->count == LINES_MAX)
        l->text.err = ERR_TOO_BIG;
    else
        l->at[l->count++] = (uint32_t)l->text.len;
}

static void add_line(struct lines *l, struct span name, struct span value)
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
static void add_absence(struct lines *l, const char *name)
{
    begin_line(l);
    buf_append_str(&l->text, name);
    buf_append_str(&l->text, ":");
    buf_append_byte(&l->text, '\0');
}

struct unread {
    struct span connection, forwarded, host, proto;
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

/* The fields without a place in struct http_head, but for those of the connection. */
static void add_unread(struct lines *l, struct span rest, struct unread *u)
{
    struct span name, line, again = rest;
    while (next_line(&again, &name, &line))
        if (span_ieq(name, SPAN("connection")))
            u->connection = value_of(line, name);
    while (next_line(&rest, &name, &line)) {
        struct span value = value_of(line, name);
        if (span_ieq(name, SPAN("x-forwarded-for")))
            u->forwarded = value;
        else if (span_ieq(name, SPAN("x-forwarded-host")))
            u->host = value;
        else if (span_ieq(name, SPAN("x-forwarded-proto")))
            u->proto = value;
        else if (!is_of_connection(name) && !is_named(u->connection, name)) {
            u->has_accept |= span_ieq(name, SPAN("accept"));
            add_line(l, name, value);
        }
    }
}

/* Who asks, behind those who asked us before. */
static void add_forwarded(struct lines *l, const struct http_head *h, const struct unread *u)
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

static int write_lines(struct lines *l, const struct http_head *h)
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

/* ---- the answer -------------------------------------------------------------- */

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

static void pass_answer(struct proxy *r, struct http_exchange *x,
                        const struct client_result *result)
{
    struct http_header headers[FIELDS_MAX], field;
    struct span head = result->head, again = head, connection = {0};
    size_t count = 0;
    while (next_field(&again, &field))
        if (span_ieq(field.name, SPAN("connection")))
            connection = field.value;
    while (next_field(&head, &field)) {
        if (is_of_connection(field.name) || is_named(connection, field.name))
            continue;
        if (count == FIELDS_MAX) {
            fail(r, x, 502, "the answer of PostHog has too many header fields");
            return;
        }
        fold(field.name);
        headers[count++] = field;
    }
    metric_inc(&r->stats.answered);
    http_reply(x, &(struct http_response){.status = result->status,
                                          .headers = headers,
                                          .header_count = count,
                                          .body = result->body});
}

/* One line when it begins, and one when it is over. */
static void note_reach(struct proxy *r, const struct client_result *result)
{
    char host[DIAG_QUOTE_BYTES], why[DIAG_QUOTE_BYTES];
    bool is_down = result->err != 0;
    if (result->err == ERR_UNAVAILABLE || result->err == ERR_UNTRUSTED)
        r->down_until_ms = clock_now_ms(r->opts.clock) + PROXY_DOWN_MS;
    if (is_down && !r->was_down)
        diag(DIAG_WARN, "proxy_failed", "a request could not be passed on to PostHog",
             "host=%s reason=%s", diag_quote(host, span_str(r->host)),
             diag_quote(why, span_str(result->text)));
    else if (!is_down && r->was_down)
        diag(DIAG_INFO, "proxy_back", "requests are passed on to PostHog again", "host=%s",
             diag_quote(host, span_str(r->host)));
    r->was_down = is_down;
}

static void end_call(struct proxy_call *c)
{
    list_remove(&c->link);
    c->proxy->count--;
    budget_give(c->proxy->opts.budget, PROXY_CALL_BYTES);
    c->call = NULL;
}

static void on_done(void *ctx, const struct client_result *result)
{
    struct proxy_call *c = ctx;
    struct proxy *r = c->proxy;
    struct http_exchange *x = c->exchange;
    end_call(c);
    note_reach(r, result);
    if (result->err == UV_ETIMEDOUT)
        fail(r, x, 504, "PostHog did not answer in time");
    else if (result->err != 0)
        fail(r, x, 502, "PostHog cannot be reached");
    else if (!result->is_whole)
        fail(r, x, 502, "the answer of PostHog broke off, or is too long");
    else
        pass_answer(r, x, result);
}

/* ---- calls ------------------------------------------------------------------- */

static int start(struct proxy *r, struct proxy_call *c)
{
    const struct http_head *h = &c->exchange->head;
    struct lines lines = {.text = {.budget = r->opts.budget}};
    struct buf url = {.budget = r->opts.budget};
    buf_append_str(&url, r->host);
    buf_append(&url, h->path);
    if (h->query.len > 0) {
        buf_append_byte(&url, '?');
        buf_append(&url, h->query);
    }
    buf_append_byte(&url, '\0');
    int rc = url.err < 0 ? url.err : write_lines(&lines, h);
    const struct client_request request = {
        .method = method_name(h->method),
        .url = (const char *)url.base,
        .headers = lines.list,
        .body = buf_span(&c->exchange->body),
        .timeout_ms = r->timeout_ms,
        .max_answer_bytes = PROXY_ANSWER_BYTES,
        .upload_bytes = UPLOAD_BYTES,
        .keeps_head = true,
        .budget = r->opts.budget,
        .route = &r->route,
        .ctx = c,
        .done = on_done,
    };
    if (rc == 0)
        rc = client_send(r->opts.client, &request, &c->call);
    buf_done(&lines.text);
    buf_done(&url);
    return rc;
}

void proxy_send(struct proxy *r, struct http_exchange *x, struct proxy_call **out)
{
    struct proxy_call *c = arena_alloc(&x->arena, sizeof *c);
    *out = NULL;
    if (clock_now_ms(r->opts.clock) < r->down_until_ms) {
        fail(r, x, 502, "PostHog cannot be reached");
        return;
    }
    if (c == NULL || r->count == PROXY_CALLS_MAX ||
        budget_take(r->opts.budget, PROXY_CALL_BYTES) < 0) {
        refuse(r, x);
        return;
    }
    *c = (struct proxy_call){.proxy = r, .exchange = x};
    if (start(r, c) < 0) {
        budget_give(r->opts.budget, PROXY_CALL_BYTES);
        refuse(r, x);
        return;
    }
    list_append(&r->calls, &c->link);
    r->count++;
    *out = c;
}

void proxy_forget(struct proxy_call *c)
{
    if (c == NULL || c->call == NULL)
        return;
    client_cancel(c->call);
    end_call(c);
}

void proxy_end(struct proxy *r)
{
    LIST_EACH (node, &r->calls) {
        struct proxy_call *c = container_of(node, struct proxy_call, link);
        struct http_exchange *x = c->exchange;
        proxy_forget(c);
        refuse(r, x);
    }
}

/* ---- life --------------------------------------------------------------------- */

int proxy_point(struct proxy *r, const char *host, const struct route *route, uint32_t timeout_ms)
{
    struct route copy;
    char *text = strdup(host);
    if (text == NULL || route_copy(&copy, route) < 0) {
        free(text);
        return ERR_NOMEM;
    }
    free(r->host);
    route_done(&r->route);
    r->host = text;
    r->route = copy;
    r->timeout_ms = timeout_ms;
    r->down_until_ms = 0;
    return 0;
}

int proxy_new(struct proxy **out, const struct proxy_opts *opts)
{
    struct proxy *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->opts = *opts;
    list_init(&r->calls);
    *out = r;
    return 0;
}

void proxy_free(struct proxy *r)
{
    if (r == NULL)
        return;
    free(r->host);
    route_done(&r->route);
    free(r);
}

const struct proxy_stats *proxy_stats(const struct proxy *r)
{
    return &r->stats;
}
