/* page: a table of paths, and one of files. */
#include "net/page.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "net/files.h"
#include "net/host.h"
#include "net/url.h"
#include "util/utf8.h"

struct span page_query(struct span query, const char *name)
{
    size_t n = strlen(name);
    while (query.len > 0) {
        size_t end = 0;
        while (end < query.len && query.base[end] != '&')
            end++;
        if (end > n && memcmp(query.base, name, n) == 0 && query.base[n] == '=')
            return span_of(query.base + n + 1, end - n - 1);
        query = span_skip(query, end < query.len ? end + 1 : end);
    }
    return (struct span){0};
}

int page_query_text(struct span query, const char *name, char *out, size_t size)
{
    int rc = url_decode(page_query(query, name), out, size);
    return rc == 0 && !utf8_is_valid(span_str(out)) ? ERR_MALFORMED : rc;
}

/* A browser names the page whose script, form or image asks; others than ours may not make it
 * compute or write anything. */
static bool origin_is_ours(const struct http_head *head)
{
    struct span scheme = head->is_encrypted ? SPAN("https://") : SPAN("http://");
    return head->origin.len == 0 || (span_starts(head->origin, scheme) &&
                                     span_ieq(span_skip(head->origin, scheme.len), head->host));
}

static bool is_foreign(const struct http_head *head)
{
    return !origin_is_ours(head) ||
           (head->fetch_site.len > 0 && !span_eq(head->fetch_site, SPAN("same-origin")) &&
            !span_eq(head->fetch_site, SPAN("none"))); /* typed, or a bookmark */
}

/* Only browsers send these two. */
static bool is_unsure_change(const struct http_head *head, const struct page *p)
{
    bool is_browser = head->origin.len > 0 || head->fetch_site.len > 0;
    return p->is_change && head->method == METHOD_POST && is_browser &&
           (head->origin.len == 0 || !span_starts(head->content_type, SPAN("application/json")));
}

static bool has_key(const struct page_server *s, const struct http_head *head)
{
    struct secret shown;
    struct span text = head->api_key.len > 0 ? head->api_key : http_bearer(head);
    bool is_right = secret_set(&shown, text) && secret_eq(&shown, &s->key);
    secret_wipe(&shown, sizeof shown);
    return is_right;
}

/* The body is `owned`, where that is not NULL. */
static void answer(struct http_exchange *x, int status, const char *type, struct span body,
                   struct buf *owned)
{
    struct http_header headers[] = {
        {SPAN("content-type"), span_str(type)},
        {SPAN("cache-control"), SPAN("no-store")},
        {SPAN("x-content-type-options"), SPAN("nosniff")},
    };
    http_reply(x, &(struct http_response){.status = status,
                                          .headers = headers,
                                          .header_count = ARRAY_LEN(headers),
                                          .body = body,
                                          .owned = owned});
}

static struct span methods_of(const struct page *p)
{
    return p->write != NULL ? SPAN("GET, HEAD") : p->ask != NULL ? SPAN("POST") : SPAN("GET");
}

static void answer_405(struct http_exchange *x, struct span allow)
{
    struct http_header headers[] = {{SPAN("content-type"), SPAN("text/plain")},
                                    {SPAN("allow"), allow}};
    char text[32];
    int n = snprintf(text, sizeof text, "use %.*s\n", (int)allow.len, (const char *)allow.base);
    http_reply(x, &(struct http_response){.status = 405,
                                          .headers = headers,
                                          .header_count = ARRAY_LEN(headers),
                                          .body = span_of(text, (size_t)n)});
}

static bool rests(const struct page_server *s, const struct page *p)
{
    uint64_t since_ms = s->no_room_ms[p - s->opts.pages];
    return since_ms != 0 && clock_now_ms(s->opts.clock) - since_ms < PAGE_REST_MS;
}

/* What a page has written, or that it could not. */
static void answer_page(struct page_server *s, struct http_exchange *x, const struct page *p,
                        int status, struct buf *out)
{
    if (out->err != 0) {
        if (!rests(s, p))
            s->no_room_ms[p - s->opts.pages] = clock_now_ms(s->opts.clock);
        buf_done(out);
        answer(x, 503, "text/plain", SPAN("no memory for this page now\n"), NULL);
    } else {
        answer(x, status, p->content_type, (struct span){0}, out);
    }
    buf_done(out);
}

static struct http_header ask_for_key(void)
{
    return (struct http_header){SPAN("www-authenticate"), SPAN("Bearer realm=\"lipservice\"")};
}

static void answer_401(struct http_exchange *x)
{
    struct http_header headers[] = {{SPAN("content-type"), SPAN("text/plain")}, ask_for_key()};
    http_reply(x, &(struct http_response){
                      .status = 401,
                      .headers = headers,
                      .header_count = ARRAY_LEN(headers),
                      .body = SPAN("a key is expected (telemetry.admin.api_key): as x-api-key, or "
                                   "as Authorization: Bearer\n")});
}

/* ---- files ------------------------------------------------------------- */

/* The host has been looked at. */
static void serve_asset(struct page_server *s, struct http_exchange *x, const struct asset *a)
{
    const struct http_header ask = ask_for_key();
    bool is_document = a == &s->opts.assets[0];
    if (x->head.method != METHOD_GET && x->head.method != METHOD_HEAD)
        answer_405(x, SPAN("GET, HEAD"));
    else if (!s->is_local && !s->asks_key)
        answer(x, 403, "text/plain", SPAN("off loopback this page needs telemetry.admin.api_key\n"),
               NULL);
    else if (is_document && s->asks_key && !has_key(s, &x->head))
        files_answer(x, a, 401, &ask, s->opts.budget);
    else
        files_answer(x, a, 200, NULL, s->opts.budget);
}

/* ---- pages ------------------------------------------------------------- */

static const struct page *find(const struct page_server *s, struct span path)
{
    for (size_t i = 0; i < s->opts.page_count; i++)
        if (span_eq(path, span_str(s->opts.pages[i].path)))
            return &s->opts.pages[i];
    return NULL;
}

/* Is it asked for by a name of ours? If not, the refusal has been sent. */
static bool is_by_our_name(struct page_server *s, struct http_exchange *x)
{
    enum host_names names = s->is_local ? HOST_LISTED : HOST_UNDOTTED;
    if (host_is_ours(x->head.host, names, s->opts.hosts))
        return true;
    answer(x, 403, "text/plain",
           SPAN("this page is for local use: ask by address or as localhost, or list the name "
                "in telemetry.allowed_hosts\n"),
           NULL);
    return false;
}

/* May it be answered? Likewise. */
static bool may_ask(struct page_server *s, struct http_exchange *x, const struct page *p)
{
    bool is_read = p != NULL && p->is_public && x->head.method != METHOD_POST;
    if (!is_read && is_foreign(&x->head)) {
        answer(x, 403, "text/plain", SPAN("this page is not for other sites' pages\n"), NULL);
        return false;
    }
    if (s->asks_key && (p == NULL || !p->is_public) && !has_key(s, &x->head)) {
        metric_inc(&s->refused_keys);
        answer_401(x);
        return false;
    }
    return true;
}

static void on_head(void *ctx, struct http_exchange *x)
{
    struct page_server *s = ctx;
    const struct asset *a = files_find(s->opts.assets, s->opts.asset_count, x->head.path);
    const struct page *p = find(s, x->head.path);
    if (!is_by_our_name(s, x))
        return;
    if (a != NULL) {
        serve_asset(s, x, a);
        return;
    }
    if (!may_ask(s, x, p))
        return;
    if (p == NULL) {
        answer(x, 404, "text/plain", SPAN("no such page\n"), NULL);
        return;
    }
    bool get = x->head.method == METHOD_GET, head = x->head.method == METHOD_HEAD;
    if (p->write != NULL && (get || head)) {
        struct buf out = {.budget = s->opts.budget};
        if (rests(s, p))
            out.err = ERR_FULL;
        int status = out.err != 0 ? 503 : p->write(s->opts.ctx, x->head.query, &out);
        answer_page(s, x, p, status, &out);
    } else if (is_unsure_change(&x->head, p)) {
        answer(x, 415, "text/plain", SPAN("from a browser: as application/json, with Origin\n"),
               NULL);
    } else if ((p->ask != NULL && x->head.method == METHOD_POST) || (p->stream != NULL && get)) {
        x->user = (void *)(uintptr_t)p; /* on_request() goes on */
    } else {
        answer_405(x, methods_of(p));
    }
}

/* Only for pages that need the whole request: head() has answered the rest. */
static void on_request(void *ctx, struct http_exchange *x)
{
    struct page_server *s = ctx;
    const struct page *p = x->user;
    struct buf out = {.budget = s->opts.budget};
    int status = p->ask != NULL && x->head.method == METHOD_POST
                     ? p->ask(s->opts.ctx, x->head.query, buf_span(&x->body), &out)
                     : p->stream(s->opts.ctx, x->head.query, x, &out);
    if (status != 0)
        answer_page(s, x, p, status, &out);
    buf_done(&out);
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct page_server *s = ctx;
    const struct page *p = x->user;
    if (p != NULL && p->gone != NULL)
        p->gone(s->opts.ctx, x);
}

static void on_refuse(void *ctx, struct http_exchange *x, int err)
{
    (void)ctx;
    int status = err == ERR_TOO_BIG ? 413 : err == ERR_FULL || err == ERR_NOMEM ? 503 : 400;
    answer(x, status, "text/plain", span_str(err_text(err)), NULL);
}

static void on_nothing(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    (void)x;
}

int page_server_open(struct page_server *s, uv_loop_t *loop, const struct page_opts *opts,
                     struct error *err)
{
    assert(opts->page_count <= PAGES_MAX);
    s->opts = *opts;
    s->is_local = host_is_loopback(opts->addr);
    s->asks_key = opts->api_key != NULL && opts->api_key[0] != '\0';
    if (s->asks_key && !secret_set(&s->key, span_str(opts->api_key)))
        return err_set(err, ERR_CONFIG, "the key is longer than %d characters", SECRET_BYTES - 1);
    http_service_init(&s->service);
    s->service.ctx = s;
    s->service.head = on_head;
    s->service.prefix = on_nothing;
    s->service.request = on_request;
    s->service.gone = on_gone;
    s->service.refuse = on_refuse;
    s->service.budget = s->service.overhead = opts->budget;
    s->service.clock = opts->clock;
    s->service.tls = opts->tls;
    s->service.max_body_bytes = 1; /* none is wanted */
    for (size_t i = 0; i < opts->page_count; i++)
        if (opts->pages[i].ask != NULL)
            s->service.max_body_bytes = PAGE_BODY_BYTES;
    struct listener_opts l = {&s->service, opts->addr,
                              opts->max_connections > 0 ? opts->max_connections : PAGE_CONNECTIONS};
    return listener_open(&s->listener, loop, &l, err);
}

void page_server_close(struct page_server *s)
{
    secret_wipe(&s->key, sizeof s->key);
    listener_close(&s->listener, NULL);
}
