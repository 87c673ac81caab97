/* page: a table of paths. */
#include "telemetry/page.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PAGE_CONNECTIONS 32 /* a scraper, a probe and a few people */

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

/* A name that is neither an address nor "localhost" was resolved by somebody else's
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

static bool is_loopback(const char *addr)
{
    return strncasecmp(addr, "localhost:", 10) == 0 || strncmp(addr, "127.", 4) == 0 ||
           strncmp(addr, "[::1]:", 6) == 0;
}

static void answer(struct http_exchange *x, int status, const char *type, struct span body)
{
    struct http_header headers[] = {
        {SPAN("content-type"), span_str(type)},
        {SPAN("cache-control"), SPAN("no-store")},
        {SPAN("x-content-type-options"), SPAN("nosniff")},
        {SPAN("allow"), SPAN("GET, HEAD")},
    };
    http_reply(x, &(struct http_response){.status = status,
                                          .headers = headers,
                                          .header_count = ARRAY_LEN(headers) - (status != 405),
                                          .body = body});
}

static void on_head(void *ctx, struct http_exchange *x)
{
    struct page_server *s = ctx;
    if (s->is_local && !host_is_ours(x->head.host)) {
        answer(x, 403, "text/plain", SPAN("this page is for local use\n"));
        return;
    }
    if (x->head.method != HTTP_GET && x->head.method != HTTP_HEAD) {
        answer(x, 405, "text/plain", SPAN("use GET\n"));
        return;
    }
    for (size_t i = 0; i < s->opts.page_count; i++) {
        const struct page *p = &s->opts.pages[i];
        if (!span_eq(x->head.path, span_str(p->path)))
            continue;
        struct buf out = {.budget = s->opts.budget};
        int status = p->write(s->opts.ctx, x->head.query, &out);
        if (out.err != 0)
            answer(x, 503, "text/plain", SPAN("no memory for this page now\n"));
        else
            answer(x, status, p->content_type, buf_span(&out));
        buf_done(&out);
        return;
    }
    answer(x, 404, "text/plain", SPAN("no such page\n"));
}

static void on_refuse(void *ctx, struct http_exchange *x, int err)
{
    (void)ctx;
    answer(x, err == ERR_TOO_BIG ? 413 : 400, "text/plain", span_str(err_text(err)));
}

/* head() answers everything, so these have nothing left to do. */
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
    s->service.request = on_nothing;
    s->service.gone = on_nothing;
    s->service.refuse = on_refuse;
    s->service.budget = opts->budget;
    s->service.clock = opts->clock;
    s->service.max_body_bytes = 1; /* none is wanted */
    struct listener_opts l = {&s->service, opts->addr, PAGE_CONNECTIONS};
    return listener_open(&s->listener, loop, &l, err);
}

void page_server_close(struct page_server *s)
{
    listener_close(&s->listener, NULL);
}
