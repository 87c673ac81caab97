/* upstream: one POST per parcel. */
#include "export/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/secret.h"

#define HEADER_BYTES 128
#define AUTHORIZATION "Authorization:"

struct upstream {
    struct client *client;
    char *url[SIGNAL_COUNT];
    char *headers[UPSTREAM_HEADERS_MAX];
    unsigned header_count;
    uint32_t timeout_ms;
    struct route route;
    char *name;
};

#define STATUS_MISDIRECTED 421

struct delivery {
    struct client *client;
    struct client_call *call;
    sink_done_fn *done;
    void *ctx;
    size_t secrets_bytes;
    char secrets[]; /* that the upstream was shown, each with a NUL */
};

static void delivery_free(struct delivery *d)
{
    secret_wipe(d->secrets, d->secrets_bytes);
    free(d);
}

/* With copies of the headers' values: the upstream's own may be others when the answer comes. */
static struct delivery *delivery_new(const struct upstream *u, const char *key)
{
    size_t bytes = strlen(key) + 1, at = 0;
    for (unsigned i = 0; i < u->header_count; i++)
        bytes += strlen(secret_of_header(u->headers[i])) + 1;
    struct delivery *d = calloc(1, sizeof *d + bytes);
    if (d == NULL)
        return NULL;
    d->secrets_bytes = bytes;
    for (unsigned i = 0; i <= u->header_count; i++) {
        const char *secret = i < u->header_count ? secret_of_header(u->headers[i]) : key;
        memcpy(d->secrets + at, secret, strlen(secret));
        at += strlen(secret) + 1;
    }
    return d;
}

/* Its texts go to logs, pages and the refused file, and some servers repeat what they were shown.
 */
static void mask(const struct delivery *d, const struct client_result *r)
{
    for (size_t at = 0; at < d->secrets_bytes; at += strlen(d->secrets + at) + 1) {
        secret_mask(r->body, d->secrets + at);
        secret_mask(r->location, d->secrets + at);
        secret_mask(r->content_type, d->secrets + at);
    }
}

static void on_done(void *ctx, const struct client_result *r)
{
    struct delivery *d = ctx;
    mask(d, r);
    struct sink_answer a = {
        .err = r->err,
        .status = r->status,
        .retry_after = r->retry_after,
        .content_type = r->content_type,
        .location = r->location,
        .body = r->body,
        .text = r->text,
        .was_repeated = r->was_repeated,
    };
    if (a.err == 0 && a.status == STATUS_MISDIRECTED)
        client_forget_connections(
            d->client); /* this server is not that one: ask on a new connection */
    sink_done_fn *done = d->done;
    void *whom = d->ctx;
    delivery_free(d);
    done(whom, &a);
}

static int upstream_send(void *self, const struct parcel *p, sink_done_fn *done, void *ctx,
                         void **call)
{
    struct upstream *u = self;
    struct delivery *d = delivery_new(u, p->key);
    if (d == NULL)
        return ERR_NOMEM;
    d->client = u->client;
    d->done = done;
    d->ctx = ctx;

    char type[HEADER_BYTES], coding[HEADER_BYTES], key[HEADER_BYTES];
    const char *headers[UPSTREAM_HEADERS_MAX + 4];
    unsigned n = 0;
    for (unsigned i = 0; i < u->header_count; i++)
        if (p->key[0] == '\0' ||
            strncasecmp(u->headers[i], AUTHORIZATION, strlen(AUTHORIZATION)) != 0)
            headers[n++] = u->headers[i];
    if (p->key[0] != '\0') {
        snprintf(key, sizeof key, AUTHORIZATION " Bearer %s", p->key);
        headers[n++] = key;
    }
    snprintf(type, sizeof type, "Content-Type: %s", p->content_type);
    headers[n++] = type;
    if (p->coding != CODING_IDENTITY) {
        snprintf(coding, sizeof coding, "Content-Encoding: %s", coding_name(p->coding));
        headers[n++] = coding;
    }
    headers[n] = NULL;

    struct client_request request = {
        .method = "POST",
        .url = u->url[p->signal],
        .headers = headers,
        .body = buf_span(&p->body),
        .timeout_ms = u->timeout_ms,
        .route = &u->route,
        .ctx = d,
        .done = on_done,
    };
    int rc = client_send(u->client, &request, &d->call);
    if (p->key[0] != '\0')
        secret_wipe(key, sizeof key);
    if (rc < 0) {
        delivery_free(d);
        return rc;
    }
    *call = d;
    return 0;
}

static void upstream_cancel(void *self, void *call)
{
    struct delivery *d = call;
    (void)self;
    client_cancel(d->call);
    delivery_free(d);
}

static void upstream_close(void *self)
{
    struct upstream *u = self;
    if (u == NULL)
        return;
    for (int s = 0; s < SIGNAL_COUNT; s++)
        free(u->url[s]);
    for (unsigned i = 0; i < u->header_count; i++)
        secret_free(u->headers[i]);
    free(u->name);
    route_done(&u->route);
    free(u);
}

/* What a call under way needs of it was copied when it began. */
static void upstream_renew(void *self, void *with)
{
    struct upstream *u = self, *next = with, old = *u;
    *u = *next;
    *next = old;
    upstream_close(next);
}

int upstream_open(struct sink *out, struct client *client, const struct upstream_opts *opts,
                  struct error *err)
{
    static const struct sink_ops ops = {upstream_send, upstream_cancel, upstream_close,
                                        upstream_renew};
    struct upstream *u = calloc(1, sizeof *u);
    if (u == NULL)
        return ERR_NOMEM;
    u->client = client;
    u->timeout_ms = opts->timeout_ms;
    bool ok = (u->name = strdup(opts->name)) != NULL && route_copy(&u->route, &opts->route) == 0;
    for (int s = 0; s < SIGNAL_COUNT; s++)
        ok &= (u->url[s] = strdup(opts->url[s])) != NULL;
    for (unsigned i = 0; opts->headers != NULL && opts->headers[i] != NULL; i++) {
        if (i == UPSTREAM_HEADERS_MAX) {
            upstream_close(u);
            return err_set(err, ERR_CONFIG, "more than %d headers", UPSTREAM_HEADERS_MAX);
        }
        ok &= (u->headers[u->header_count++] = strdup(opts->headers[i])) != NULL;
    }
    if (!ok) {
        upstream_close(u);
        return ERR_NOMEM;
    }
    *out = (struct sink){
        .ops = &ops,
        .self = u,
        .takes = {true, true, true},
        .compresses = true,
        .concurrency = opts->concurrency,
        .address = u->url[SIGNAL_LOGS],
        .name = u->name,
    };
    return 0;
}
