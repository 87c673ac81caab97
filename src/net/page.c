/* page: a table of paths. */
#include "net/page.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

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

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int page_query_text(struct span query, const char *name, char *out, size_t size)
{
    struct span v = page_query(query, name);
    size_t n = 0;
    for (size_t i = 0; i < v.len; i++) {
        int c = v.base[i];
        if (c == '%') {
            int high = i + 2 < v.len ? hex_digit(v.base[i + 1]) : -1;
            int low = i + 2 < v.len ? hex_digit(v.base[i + 2]) : -1;
            c = high < 0 || low < 0 ? 0 : high << 4 | low;
            i += 2;
        }
        if (c == 0)
            return ERR_MALFORMED;
        if (n + 1 >= size)
            return ERR_TOO_BIG;
        out[n++] = (char)c;
    }
    if (!utf8_is_valid(span_of(out, n)))
        return ERR_MALFORMED;
    out[n] = '\0';
    return 0;
}

/* A name that is neither an address nor "localhost" was resolved by another
 * DNS: a web page trying to read this one through the visitor's browser. */
static bool host_is_ours(struct span host)
{
    size_t digits = 0;
    while (digits < host.len && host.base[host.len - 1 - digits] >= '0' &&
           host.base[host.len - 1 - digits] <= '9')
        digits++;
    if (digits < host.len && host.base[host.len - 1 - digits] == ':')
        host.len -= digits + 1; /* the port */
    if (host.len == 0 || host.base[0] == '[' || span_ieq(host, SPAN("localhost")))
        return true;
    for (size_t i = 0; i < host.len; i++)
        if ((host.base[i] < '0' || host.base[i] > '9') && host.base[i] != '.')
            return false;
    return true;
}

/* A browser names the page whose script asks; others than ours may not make it do anything. */
static bool origin_is_ours(struct span origin, struct span host)
{
    return origin.len == 0 ||
           (span_starts(origin, SPAN("http://")) && span_ieq(span_skip(origin, 7), host));
}

static bool is_loopback(const char *addr)
{
    return strncasecmp(addr, "localhost:", 10) == 0 || strncmp(addr, "127.", 4) == 0 ||
           strncmp(addr, "[::1]:", 6) == 0;
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

static void answer_405(struct http_exchange *x, const struct page *p)
{
    struct span allow = p->write != NULL ? SPAN("GET, HEAD")
                        : p->ask != NULL ? SPAN("POST")
                                         : SPAN("GET");
    struct http_header headers[] = {{SPAN("content-type"), SPAN("text/plain")},
                                    {SPAN("allow"), allow}};
    char text[32];
    int n = snprintf(text, sizeof text, "use %.*s\n", (int)allow.len, (const char *)allow.base);
    http_reply(x, &(struct http_response){.status = 405,
                                          .headers = headers,
                                          .header_count = ARRAY_LEN(headers),
                                          .body = span_of(text, (size_t)n)});
}

/* What a page has written, or that it could not. */
static void answer_page(struct http_exchange *x, const struct page *p, int status, struct buf *out)
{
    if (out->err != 0) {
        buf_done(out);
        answer(x, 503, "text/plain", SPAN("no memory for this page now\n"), NULL);
    } else {
        answer(x, status, p->content_type, (struct span){0}, out);
    }
    buf_done(out);
}

static void on_head(void *ctx, struct http_exchange *x)
{
    struct page_server *s = ctx;
    bool is_foreign =
        x->head.method == METHOD_POST && !origin_is_ours(x->head.origin, x->head.host);
    if (is_foreign || (s->is_local && !host_is_ours(x->head.host))) {
        answer(x, 403, "text/plain", SPAN("this page is for local use\n"), NULL);
        return;
    }
    for (size_t i = 0; i < s->opts.page_count; i++) {
        const struct page *p = &s->opts.pages[i];
        if (!span_eq(x->head.path, span_str(p->path)))
            continue;
        bool get = x->head.method == METHOD_GET, head = x->head.method == METHOD_HEAD;
        if (p->write != NULL && (get || head)) {
            struct buf out = {.budget = s->opts.budget};
            int status = p->write(s->opts.ctx, x->head.query, &out);
            answer_page(x, p, status, &out);
        } else if ((p->ask != NULL && x->head.method == METHOD_POST) ||
                   (p->stream != NULL && get)) {
            x->user = (void *)(uintptr_t)p; /* on_request() goes on */
        } else {
            answer_405(x, p);
        }
        return;
    }
    answer(x, 404, "text/plain", SPAN("no such page\n"), NULL);
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
        answer_page(x, p, status, &out);
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
    s->opts = *opts;
    s->is_local = is_loopback(opts->addr);
    http_service_init(&s->service);
    s->service.ctx = s;
    s->service.head = on_head;
    s->service.prefix = on_nothing;
    s->service.request = on_request;
    s->service.gone = on_gone;
    s->service.refuse = on_refuse;
    s->service.budget = s->service.overhead = opts->budget;
    s->service.clock = opts->clock;
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
    listener_close(&s->listener, NULL);
}
