/*
 * page: small pages over HTTP: health, metrics, admin, and the files of the page for people.
 *
 * GET and HEAD; a page may also take a question as the body of a POST, or stay open
 * and grow. A page is written into a buffer when it is asked for.
 *
 * Against DNS rebinding a page server answers only to names of ours (net/host.h), on every bind.
 * What computes or writes is not for pages of other sites (Origin, Sec-Fetch-Site), and, where a
 * key is set, only for who shows it (401).
 *
 * Files (net/files.h) hold no data. Off loopback they are served only where a key is set. The
 * document itself is answered by 401 to who does not show the key: it can ask for it, which a
 * browser cannot.
 *
 * Blocking: never. Ownership: the table of pages is the caller's and outlives
 * the server.
 */
#pragma once

#include <uv.h>

#include "net/http.h"
#include "net/listener.h"
#include "util/asset.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/secret.h"

struct page {
    const char *path;
    const char *content_type;
    /* Append the page. Returns the HTTP status, 200 as a rule. `query` is without '?'. */
    int (*write)(void *ctx, struct span query, struct buf *out);
    /* The answer to a POST, in the same way; NULL: none is taken. */
    int (*ask)(void *ctx, struct span query, struct span body, struct buf *out);
    /* Instead of write(), for GET: 0: it has begun an answer with http_stream(); a
     * status: it has not, and what is in `out` is the answer. */
    int (*stream)(void *ctx, struct span query, struct http_exchange *x, struct buf *out);
    /* The reader of a stream has left: x is dead. */
    void (*gone)(void *ctx, struct http_exchange *x);
    bool
        is_public; /* cheap and without content: no key is needed, and other sites may link to it */
    /* ask() changes something: a browser has to name its page (Origin) and to send JSON, which no
     * form can. */
    bool is_change;
};

#define PAGE_BODY_BYTES ((size_t)256 * 1024) /* of a POST: a person's question */

struct page_opts {
    const char *addr;
    const struct page *pages;
    size_t page_count;
    const struct asset *assets; /* the first is the document; may be none */
    size_t asset_count;
    void *ctx; /* for write() */
    struct budget *budget;
    const struct clock *clock;
    uint32_t max_connections;   /* 0: PAGE_CONNECTIONS */
    const char *hosts;          /* names that are ours, between commas; NULL: none */
    const struct tls_port *tls; /* NULL: clear text only */
    const char *api_key;        /* NULL or "": none is asked for */
};

#define PAGE_CONNECTIONS 32 /* a scraper, a probe and a few readers */

#define PAGES_MAX 64 /* of a server */

/* A page that found no room is not made again so soon: with 16,384 patterns it takes tens of
 * milliseconds, and who asks may ask a hundred times at once. */
#define PAGE_REST_MS 250

struct page_server {
    struct http_service service;
    struct listener listener;
    struct page_opts opts;
    bool is_local; /* listens on loopback */
    bool asks_key;
    struct secret key;
    struct metric refused_keys;
    uint64_t no_room_ms[PAGES_MAX]; /* of each page: when it last found none; 0: never */
};

/* ERR_CONFIG, ERR_UNAVAILABLE: as listener_open(). */
MUST_CHECK int page_server_open(struct page_server *s, uv_loop_t *loop,
                                const struct page_opts *opts, struct error *err);

/* Accepts one that never opened. The memory may go when the loop has run out. */
void page_server_close(struct page_server *s);

/* The same, percent-decoded, as text: 0, ERR_TOO_BIG, or ERR_MALFORMED for what is no
 * UTF-8 or has a NUL. Absent: "". A '+' is itself. */
MUST_CHECK int page_query_text(struct span query, const char *name, char *out, size_t size);

/* The value of a query parameter ("limit=20&x=y"), or an empty span. Not percent-decoded. */
struct span page_query(struct span query, const char *name);
