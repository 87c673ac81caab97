/* proxy: a request becomes one of libcurl's, and its answer one of ours, both as they come. */
#include "receiver/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/route.h"
#include "receiver/proxy_head.h"
#include "util/buf.h"
#include "util/diag.h"
#include "util/list.h"

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

/* Of its own memory: the exchange may end inside one of its callbacks. */
struct proxy_call {
    struct list link;
    struct proxy *proxy;
    struct http_exchange *exchange; /* NULL: its peer is gone */
    struct client_call *call;
    struct proxy_call **slot; /* where its owner keeps it */
    bool is_whole;            /* all of the request has come */
    bool is_begun;            /* the answer is on its way to the client */
    bool is_endless;          /* and its length is not known */
    bool is_inside;           /* in a callback, which will free it */
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

static bool type_begins(struct span type, struct span with)
{
    return type.len >= with.len && span_ieq(span_of(type.base, with.len), with);
}

bool proxy_takes(const struct http_head *head)
{
    return proxy_method(head->method) != NULL && head->path.len > 1 && head->path.base[0] == '/' &&
           !type_begins(head->content_type, SPAN("application/grpc")) &&
           !type_begins(head->content_type, SPAN("application/x-protobuf"));
}

/* ---- the end of a call ---- */

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

/* The exchange is answered, or its peer is gone. */
static void end_call(struct proxy_call *c)
{
    list_remove(&c->link);
    c->proxy->count--;
    budget_give(c->proxy->opts.budget, PROXY_CALL_BYTES);
    *c->slot = NULL;
    c->exchange = NULL;
    if (!c->is_inside)
        free(c);
}

/* Behind a callback of libcurl's: rc, or the end of a call whose exchange ended in there. */
static int come_out(struct proxy_call *c, int rc)
{
    c->is_inside = false;
    if (c->exchange != NULL)
        return rc;
    free(c);
    return ERR_IO;
}

/* An answer without a body (RFC 9110 6.4.1). */
static bool has_no_body(const struct http_exchange *x, int status)
{
    return x->head.method == METHOD_HEAD || status == 204 || status == 304;
}

static void pass_bare(struct proxy *r, struct http_exchange *x, const struct client_result *result)
{
    struct proxy_fields fields;
    if (proxy_read_fields(result->head, &fields) < 0) {
        fail(r, x, 502, "the answer of PostHog has too many header fields");
        return;
    }
    metric_inc(&r->stats.answered);
    http_reply(x, &(struct http_response){.status = result->status,
                                          .headers = fields.list,
                                          .header_count = fields.count});
}

/* In the middle of an answer: what is missing must be seen. */
static void cut(struct proxy *r, struct http_exchange *x)
{
    metric_inc(&r->stats.cut);
    http_stream_abort(x);
}

static void on_done(void *ctx, const struct client_result *result)
{
    struct proxy_call *c = ctx;
    struct proxy *r = c->proxy;
    struct http_exchange *x = c->exchange;
    bool is_begun = c->is_begun;
    end_call(c);
    note_reach(r, result);
    if (is_begun && result->is_whole)
        http_stream_end(x);
    else if (is_begun)
        cut(r, x);
    else if (result->err == UV_ETIMEDOUT)
        fail(r, x, 504, "PostHog did not answer in time");
    else if (result->err != 0)
        fail(r, x, 502, "PostHog cannot be reached");
    else if (!result->is_whole)
        fail(r, x, 502, "the answer of PostHog broke off, or has too many header fields");
    else
        pass_bare(r, x, result);
}

/* ---- as it comes ---- */

static int on_upload(void *ctx, uint8_t *to, size_t *n)
{
    struct proxy_call *c = ctx;
    struct http_exchange *x = c->exchange;
    if (x->body.len == 0 && !c->is_whole)
        return ERR_MORE;
    if (*n > x->body.len)
        *n = x->body.len;
    if (*n == 0)
        return 0;
    memcpy(to, x->body.base, *n);
    c->is_inside = true;
    http_take(x, *n);
    return come_out(c, 0);
}

static int begin_answer(struct proxy_call *c, const struct client_result *result)
{
    struct http_exchange *x = c->exchange;
    struct proxy_fields fields;
    int rc = proxy_read_fields(result->head, &fields);
    if (rc < 0)
        return rc;
    c->is_begun = true;
    c->is_endless = !fields.has_length;
    metric_inc(&c->proxy->stats.answered);
    return http_stream(
        x, &(struct http_response){.status = result->status,
                                   .headers = fields.list,
                                   .header_count = fields.count,
                                   .length = fields.has_length ? &fields.length : NULL});
}

static int on_answer(void *ctx, const struct client_result *result)
{
    struct proxy_call *c = ctx;
    note_reach(c->proxy, result);
    if (has_no_body(c->exchange, result->status))
        return 0; /* on_done() */
    c->is_inside = true;
    return come_out(c, begin_answer(c, result));
}

static int on_piece(void *ctx, struct span bytes)
{
    struct proxy_call *c = ctx;
    if (!c->is_begun)
        return 0; /* a body where none may be */
    c->is_inside = true;
    return come_out(c, http_stream_write(c->exchange, bytes));
}

/* ---- calls ---- */

static int start(struct proxy *r, struct proxy_call *c)
{
    const struct http_head *h = &c->exchange->head;
    struct proxy_lines lines = {.text = {.budget = r->opts.budget}};
    struct buf url = {.budget = r->opts.budget};
    buf_append_str(&url, r->host);
    buf_append(&url, h->path);
    if (h->query.len > 0) {
        buf_append_byte(&url, '?');
        buf_append(&url, h->query);
    }
    buf_append_byte(&url, '\0');
    int rc = url.err < 0 ? url.err : proxy_write_lines(&lines, h);
    const struct client_flow flow = {
        .length = h->has_body ? h->content_length : 0,
        .upload = on_upload,
        .head = on_answer,
        .piece = on_piece,
        .silent_timeout_ms = PROXY_SILENT_MS,
    };
    const struct client_request request = {
        .method = proxy_method(h->method),
        .url = (const char *)url.base,
        .headers = lines.list,
        .timeout_ms = r->timeout_ms,
        .flow = &flow,
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

/* NULL: there is no room for it. */
static struct proxy_call *open_call(struct proxy *r, struct http_exchange *x)
{
    if (r->count == PROXY_CALLS_MAX || budget_take(r->opts.budget, PROXY_CALL_BYTES) < 0)
        return NULL;
    struct proxy_call *c = calloc(1, sizeof *c);
    if (c != NULL) {
        *c = (struct proxy_call){.proxy = r, .exchange = x};
        if (start(r, c) == 0)
            return c;
    }
    budget_give(r->opts.budget, PROXY_CALL_BYTES);
    free(c);
    return NULL;
}

void proxy_begin(struct proxy *r, struct http_exchange *x, struct proxy_call **out)
{
    *out = NULL;
    if (clock_now_ms(r->opts.clock) < r->down_until_ms) {
        fail(r, x, 502, "PostHog cannot be reached");
        return;
    }
    struct proxy_call *c = open_call(r, x);
    if (c == NULL) {
        refuse(r, x);
        return;
    }
    x->is_piped = true;
    list_append(&r->calls, &c->link);
    r->count++;
    *out = c;
    c->slot = out;
}

void proxy_go_on(struct proxy_call *c)
{
    if (c != NULL)
        client_resume(c->call);
}

void proxy_request_ends(struct proxy_call *c)
{
    if (c == NULL)
        return;
    c->is_whole = true;
    proxy_go_on(c);
}

void proxy_forget(struct proxy_call *c)
{
    if (c == NULL)
        return;
    client_cancel(c->call);
    end_call(c);
}

static void end(struct proxy_call *c)
{
    struct proxy *r = c->proxy;
    struct http_exchange *x = c->exchange;
    bool is_begun = c->is_begun;
    proxy_forget(c);
    if (is_begun)
        cut(r, x);
    else
        refuse(r, x);
}

/* From the start each time: an answer that ends may end others. */
static void end_some(struct proxy *r, bool only_endless)
{
    struct proxy_call *found;
    do {
        found = NULL;
        LIST_EACH (node, &r->calls) {
            struct proxy_call *c = container_of(node, struct proxy_call, link);
            if (found == NULL && (!only_endless || (c->is_begun && c->is_endless)))
                found = c;
        }
        if (found != NULL)
            end(found);
    } while (found != NULL);
}

void proxy_end_endless(struct proxy *r)
{
    end_some(r, true);
}

void proxy_end(struct proxy *r)
{
    end_some(r, false);
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
