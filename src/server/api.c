/* api: from a request to its handler, and back. */
#include "server/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/host.h"
#include "net/page.h"
#include "net/url.h"
#include "otlp/policy_sync.h"
#include "server/poll.h"
#include "util/diag.h"
#include "util/hash.h"
#include "util/secret.h"
#include "util/utf8.h"

#define DETAIL_BYTES 1024
#define RETRY_S 1
#define HEADERS_MAX 10
#define SYNC_JSON_BYTES ((size_t)8 << 20) /* of a SyncRequest that came as protobuf, as JSON */
#define JSON_TYPE "application/json"
#define PROTOBUF_TYPE "application/x-protobuf"

/* ---- words of an answer ------------------------------------------------- */

int api_detail(struct call *c, int status, const char *fmt, ...)
{
    char text[DETAIL_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct json j = json_on(&c->out);
    buf_clear(&c->out);
    json_begin(&j, NULL);
    json_text(&j, "detail", span_of(text, n < DETAIL_BYTES ? (size_t)n : DETAIL_BYTES - 1));
    json_end(&j);
    c->etag[0] = '\0';
    c->content_type = NULL;
    if (status == 429 || status == 503)
        c->retry_s = RETRY_S;
    return status;
}

void api_time(struct json *j, const char *key, int64_t unix_ms)
{
    time_t s = (time_t)(unix_ms / 1000);
    struct tm tm = {0};
    char text[40];
    gmtime_r(&s, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(unix_ms % 1000));
    json_str(j, key, text);
}

/* ---- what a request asks for -------------------------------------------- */

bool api_query_number(struct call *c, const char *name, int64_t least, int64_t most,
                      int64_t otherwise, int64_t *out, int *status)
{
    struct span v = page_query(span_str(c->query), name);
    char text[24], *end = text;
    *out = otherwise;
    if (v.base == NULL)
        return true;
    if (v.len > 0 && v.len < sizeof text) {
        memcpy(text, v.base, v.len);
        text[v.len] = '\0';
        *out = strtoll(text, &end, 10);
    }
    if (v.len > 0 && v.len < sizeof text && *end == '\0' && *out >= least && *out <= most)
        return true;
    *status = api_detail(c, 422, "query: %s: must be a whole number from %" PRId64 " to %" PRId64,
                         name, least, most);
    return false;
}

bool api_query_flag(struct call *c, const char *name)
{
    struct span v = page_query(span_str(c->query), name);
    return span_eq(v, SPAN("true")) || span_eq(v, SPAN("1"));
}

bool api_param_number(struct call *c, unsigned at, int64_t *out, int *status)
{
    char *end;
    *out = strtoll(c->param[at], &end, 10);
    if (c->param[at][0] >= '0' && c->param[at][0] <= '9' && *end == '\0' && *out > 0)
        return true;
    *status = api_detail(c, 422, "path: must be a whole number from 1");
    return false;
}

/* ---- routes ------------------------------------------------------------- */

/* Percent-decoded; false: it is no text that a name can be. */
static bool decode(char out[API_PARAM_BYTES], struct span raw)
{
    if (url_decode(raw, out, API_PARAM_BYTES) < 0)
        return false;
    for (const char *c = out; *c != '\0'; c++)
        if ((uint8_t)*c < ' ' || *c == 0x7f)
            return false;
    return out[0] != '\0' && utf8_is_valid(span_str(out));
}

static struct span cut_segment(struct span *rest)
{
    size_t n = 0;
    while (n < rest->len && rest->base[n] != '/')
        n++;
    struct span segment = span_of(rest->base, n);
    *rest = span_skip(*rest, n < rest->len ? n + 1 : n);
    return segment;
}

static struct span trim_slash(struct span path)
{
    if (path.len > 1 && path.base[path.len - 1] == '/')
        path.len--;
    return path;
}

static bool matches(const struct route *r, struct span path, struct span params[API_PARAMS])
{
    struct span want = span_skip(span_str(r->path), 1), have = span_skip(trim_slash(path), 1);
    unsigned n = 0;
    while (want.len > 0 && have.len > 0) {
        struct span w = cut_segment(&want), h = cut_segment(&have);
        if (w.base[0] == '{')
            params[n++] = h;
        else if (!span_eq(w, h))
            return false;
    }
    return want.len == 0 && have.len == 0;
}

/* The route of a request; NULL: *allowed are the methods of that path, none where it is none. */
static const struct route *find_route(const struct http_head *head, struct span params[API_PARAMS],
                                      unsigned *allowed)
{
    enum http_method method = head->method == METHOD_HEAD ? METHOD_GET : head->method;
    *allowed = 0;
    if (head->path.len == 0 || head->path.base[0] != '/')
        return NULL;
    for (const struct route *r = api_routes; r->path != NULL; r++) {
        struct span found[API_PARAMS] = {{0}};
        if (!matches(r, head->path, found))
            continue;
        if (r->method == method) {
            memcpy(params, found, sizeof found);
            return r;
        }
        *allowed |= 1u << r->method;
    }
    return NULL;
}

/* ---- answers ------------------------------------------------------------ */

static void count_answer(struct server *s, int status)
{
    unsigned hundreds = (unsigned)status / 100;
    metric_inc(&s->answers[hundreds < ARRAY_LEN(s->answers) ? hundreds : 0]);
}

static void send_answer(struct server *s, struct http_exchange *x, struct http_response *r,
                        const char *type)
{
    struct http_header headers[HEADERS_MAX] = {
        {SPAN("content-type"), span_str(type)},
        {SPAN("cache-control"), SPAN("no-store")},
        {SPAN("x-content-type-options"), SPAN("nosniff")},
        {SPAN("referrer-policy"), SPAN("no-referrer")},
        {SPAN("content-security-policy"), SPAN("default-src 'none'; frame-ancestors 'none'")},
    };
    size_t n = 5;
    for (size_t i = 0; i < r->header_count && n < HEADERS_MAX; i++)
        headers[n++] = r->headers[i];
    count_answer(s, r->status);
    r->headers = headers;
    r->header_count = n;
    http_reply(x, r);
}

/* Refuse before there is a call. */
static void refuse(struct server *s, struct http_exchange *x, int status, const char *detail,
                   const struct http_header *header)
{
    char text[DETAIL_BYTES];
    struct http_header later = {SPAN("retry-after"), SPAN("1")};
    int n = snprintf(text, sizeof text, "{\"detail\":\"%s\"}", detail);
    if (header == NULL && (status == 429 || status == 503))
        header = &later;
    send_answer(s, x,
                &(struct http_response){.status = status,
                                        .headers = header,
                                        .header_count = header != NULL,
                                        .body = span_of(text, (size_t)n)},
                JSON_TYPE);
}

static void free_call(struct call *c)
{
    struct server *s = c->server;
    if (c->is_charged)
        budget_give(&s->budget, API_ANSWER_BYTES);
    json_doc_free(c->doc);
    buf_done(&c->body);
    buf_done(&c->receipt.body);
    if (c->change.text.len > 0)
        secret_wipe(c->change.text.base, c->change.text.len); /* it may be a key */
    buf_done(&c->change.text);
    buf_done(&c->out);
    free(c->analysis);
    free(c->query);
    free(c->match);
    budget_give(&s->budget, sizeof *c);
    free(c);
}

/* What was read of the database has a tag of its bytes: who asks again and has them gets 304. */
static void tag_answer(struct call *c)
{
    if (c->x == NULL || c->status != 200 || c->route->method != METHOD_GET ||
        c->route->on_store == NULL)
        return;
    if (c->etag[0] == '\0')
        snprintf(c->etag, sizeof c->etag, "\"%016" PRIx64 "\"", hash64(buf_span(&c->out)));
    if (!http_has_tag(c->x->head.if_none_match, span_str(c->etag)))
        return;
    c->status = 304;
    buf_clear(&c->out);
}

void api_answer(struct call *c)
{
    struct http_header headers[4];
    char seconds[16];
    size_t n = 0;
    if (c->out.err != 0)
        c->status = api_detail(c, 503, "no memory for this answer now; ask for fewer rows");
    tag_answer(c);
    if (c->etag[0] != '\0')
        headers[n++] = (struct http_header){SPAN("etag"), span_str(c->etag)};
    if (c->is_wait_known)
        headers[n++] = (struct http_header){SPAN("preference-applied"), SPAN("wait")};
    if (c->retry_s > 0) {
        snprintf(seconds, sizeof seconds, "%u", c->retry_s);
        headers[n++] = (struct http_header){SPAN("retry-after"), span_str(seconds)};
    }
    const char *type = c->content_type != NULL          ? c->content_type
                       : c->route->content_type != NULL ? c->route->content_type
                                                        : JSON_TYPE;
    if (c->x != NULL) {
        c->x->user = NULL;
        send_answer(c->server, c->x,
                    &(struct http_response){.status = c->status,
                                            .headers = headers,
                                            .header_count = n,
                                            .body = buf_span(&c->out)},
                    type);
    }
    free_call(c);
}

/* ---- work on the store's thread ------------------------------------------ */

static int run_on_store(struct work *w, struct store *store)
{
    struct call *c = container_of(w, struct call, work);
    c->status = c->route->on_store(c, store);
    return 0;
}

static void on_store_done(struct work *w)
{
    struct call *c = container_of(w, struct call, work);
    if (c->key != NULL)
        c->key->in_line--;
    if (c->status == 0) {
        c->next(c);
        return;
    }
    if (c->after != NULL && c->status < 300 && c->out.err == 0)
        c->after(c);
    api_answer(c);
}

void api_resume(struct call *c)
{
    c->work = (struct work){.run = run_on_store, .done = on_store_done};
    c->key->in_line++;
    if (worker_add(c->server->worker, &c->work, true) == 0)
        return;
    c->key->in_line--;
    c->status = api_detail(c, 503, "the server ends");
    api_answer(c);
}

static void hand_over(struct call *c)
{
    struct server *s = c->server;
    c->work = (struct work){.run = run_on_store, .done = on_store_done};
    if (c->key->in_line >= API_LINE_PER_KEY) {
        metric_inc(&s->limited);
        c->status = api_detail(c, 429, "this key has %d requests waiting", API_LINE_PER_KEY);
    } else if (budget_take(&s->budget, API_ANSWER_BYTES) < 0) {
        c->status = api_detail(c, 503, "no memory for an answer now");
    } else {
        c->is_charged = true;
        c->key->in_line++;
        if (worker_add(s->worker, &c->work, false) == 0)
            return;
        c->key->in_line--;
        c->status = api_detail(c, 503, "too many requests wait for the database");
    }
    api_answer(c);
}

/* ---- requests ----------------------------------------------------------- */

/* "application/json", with parameters or without. */
static bool is_type(struct span type, const char *want)
{
    size_t n = 0;
    while (n < type.len && type.base[n] != ';')
        n++;
    return span_ieq(span_trim(span_of(type.base, n)), span_str(want));
}

static bool is_protobuf(struct span type)
{
    return is_type(type, PROTOBUF_TYPE) || is_type(type, "application/protobuf");
}

static struct key *authenticate(struct server *s, const struct http_head *head)
{
    struct span shown = head->api_key.len > 0 ? head->api_key : http_bearer(head);
    return registry_find_key(&s->registry, shown, server_unix_ms(s));
}

static bool may_ask(struct server *s, struct http_exchange *x, const struct route *r)
{
    const struct http_header ask = {SPAN("www-authenticate"), SPAN("Bearer realm=\"lipservice\"")};
    if (r->roles == 0)
        return true;
    struct key *key = authenticate(s, &x->head);
    if (key == NULL) {
        metric_inc(&s->refused_keys);
        refuse(s, x, 401, "a key is expected: Authorization: Bearer lsk_..., or x-api-key", &ask);
    } else if ((r->roles & key->role) == 0) {
        refuse(s, x, 403, "this key has another role", NULL);
    } else if (!token_bucket_take(&key->rate, clock_now_ms(s->clock))) {
        metric_inc(&s->limited);
        refuse(s, x, 429, "too many requests with this key", NULL);
    } else {
        return true;
    }
    return false;
}

static void answer_405(struct server *s, struct http_exchange *x, unsigned allowed)
{
    static const struct {
        enum http_method method;
        const char *name;
    } names[] = {{METHOD_GET, "GET, HEAD"},
                 {METHOD_POST, "POST"},
                 {METHOD_PUT, "PUT"},
                 {METHOD_DELETE, "DELETE"}};
    char text[64] = "";
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (allowed & 1u << names[i].method) {
            size_t n = strlen(text);
            snprintf(text + n, sizeof text - n, "%s%s", n > 0 ? ", " : "", names[i].name);
        }
    refuse(s, x, 405, "Method Not Allowed", &(struct http_header){SPAN("allow"), span_str(text)});
}

static void on_head(void *ctx, struct http_exchange *x)
{
    struct server *s = ctx;
    struct span params[API_PARAMS] = {{0}};
    unsigned allowed;
    int file = api_page_serve(s, x);
    if (file != 0) {
        count_answer(s, file);
        return;
    }
    const struct route *r = find_route(&x->head, params, &allowed);
    if (r == NULL && allowed == 0) {
        refuse(s, x, 404, "Not Found", NULL);
        return;
    }
    if (r == NULL) {
        answer_405(s, x, allowed);
        return;
    }
    if (!may_ask(s, x, r))
        return;
    struct span coding = x->head.content_encoding;
    if (r->has_body && coding.len > 0 && !span_ieq(coding, SPAN("identity")))
        refuse(s, x, 415, "bodies are taken as they are, without a content coding", NULL);
    else if (r->is_sync && is_protobuf(x->head.content_type))
        return;
    else if (r->has_body && !is_type(x->head.content_type, JSON_TYPE))
        refuse(s, x, 415,
               r->is_sync ? "a body of content-type application/json or application/x-protobuf is "
                            "expected"
                          : "a body of content-type application/json is expected",
               NULL);
}

static struct call *new_call(struct server *s, struct http_exchange *x)
{
    if (budget_take(&s->budget, sizeof(struct call)) < 0)
        return NULL;
    struct call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        budget_give(&s->budget, sizeof *c);
        return NULL;
    }
    c->server = s;
    c->x = x;
    c->now_ms = server_unix_ms(s);
    c->out.max_bytes = API_ANSWER_BYTES;
    list_init(&c->waiter.link);
    list_init(&c->waiter.all);
    struct span query = x->head.query;
    c->query = query.len > 0 ? strndup((const char *)query.base, query.len) : strdup("");
    if (c->query == NULL) {
        free_call(c);
        return NULL;
    }
    return c;
}

/* A message of policy sync: as JSON from here on. 0, or the status of the refusal. */
static int read_sync(struct call *c)
{
    struct buf json = {.max_bytes = SYNC_JSON_BYTES, .budget = &c->server->budget};
    struct span match = c->x->head.if_none_match;
    c->match = match.len > 0 ? strndup((const char *)match.base, match.len) : NULL;
    c->is_protobuf = is_protobuf(c->x->head.content_type);
    if (!c->is_protobuf)
        return 0;
    int rc = policy_sync_to_json(&json, POLICY_SYNC_REQUEST, buf_span(&c->body), json.budget);
    buf_done(&c->body);
    buf_move(&c->body, &json);
    buf_done(&json);
    return rc == ERR_MALFORMED ? api_detail(c, 400, "the body is no SyncRequest in protobuf")
           : rc == ERR_TOO_BIG
               ? api_detail(c, 413, "the body is larger than is taken of a SyncRequest")
           : rc < 0 ? api_detail(c, 503, "no memory for this request now")
                    : 0;
}

/* Body, parameters and team; else the status of the refusal. */
static int read_request(struct call *c, struct span params[API_PARAMS])
{
    int64_t team;
    int status = 0;
    for (unsigned i = 0; i < API_PARAMS; i++)
        if (params[i].base != NULL && !decode(c->param[i], params[i]))
            return api_detail(c, 422,
                              "path: a name is of 1 to 255 bytes of UTF-8 without control "
                              "characters");
    if (!api_query_number(c, "team_id", 0, INT64_MAX, 0, &team, &status))
        return status;
    if (team != 0 && c->key != NULL && team != c->key->team->id)
        return api_detail(c, 403, "this key is of another team");
    if (!c->route->has_body)
        return 0;
    buf_move(&c->body, &c->x->body);
    if (c->route->is_sync && (status = read_sync(c)) != 0)
        return status;
    int rc = json_doc_new(&c->doc, buf_span(&c->body), &c->server->budget, &c->root);
    if (rc == ERR_MALFORMED || (rc == 0 && json_kind(c->root) != JSON_OBJECT))
        return api_detail(c, 400, "the body is no JSON object");
    return rc < 0 ? api_detail(c, 503, "no memory for this request now") : 0;
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct server *s = ctx;
    struct span params[API_PARAMS] = {{0}};
    unsigned allowed;
    const struct route *r = find_route(&x->head, params, &allowed);
    struct call *c = new_call(s, x);
    if (c == NULL) {
        refuse(s, x, 503, "no memory for this request now", NULL);
        return;
    }
    x->user = c;
    c->route = r; /* the head was let through: there is one */
    c->key = r->roles != 0 ? authenticate(s, &x->head) : NULL;
    c->status = r->roles != 0 && c->key == NULL ? api_detail(c, 401, "the time of this key is over")
                                                : read_request(c, params);
    if (c->status == 0 && r->on_loop == NULL) {
        hand_over(c);
        return;
    }
    if (c->status == 0)
        c->status = r->on_loop(c);
    if (c->status != 0)
        api_answer(c);
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct call *c = x->user;
    (void)ctx;
    if (c == NULL)
        return;
    c->x = NULL; /* what is under way ends by itself */
    if (c->waiter.is_waiting) {
        poll_leave(c);
        free_call(c);
    }
}

static void on_refuse(void *ctx, struct http_exchange *x, int err)
{
    static const struct {
        int err, status;
        const char *detail;
    } rows[] = {
        {ERR_TOO_BIG, 413, "the body is larger than server.max_request_size"},
        {ERR_FULL, 503, "no memory for this request now"},
        {ERR_NOMEM, 503, "no memory for this request now"},
        {UV_ETIMEDOUT, 408, "the body did not arrive in time"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].err == err) {
            refuse(ctx, x, rows[i].status, rows[i].detail, NULL);
            return;
        }
    }
    refuse(ctx, x, 400, "the request breaks HTTP", NULL);
}

static void on_nothing(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    (void)x;
}

int api_start(struct server *s, struct error *err)
{
    const struct config *cfg = s->cfg;
    struct http_service *service = &s->service;
    http_service_init(service);
    service->ctx = s;
    service->head = on_head;
    service->prefix = on_nothing;
    service->request = on_request;
    service->gone = on_gone;
    service->refuse = on_refuse;
    service->passes_on = api_page_wants_fields;
    service->budget = &s->budget;
    service->overhead = &s->overhead;
    service->clock = s->clock;
    service->max_body_bytes = cfg->server.max_request_bytes;
    service->tls = s->tls == NULL ? NULL : tls_keeper_port(s->tls);
    struct listener_opts opts = {service, cfg->server.endpoint, s->connections};
    struct error inner = {{0}};
    int rc = listener_open(&s->listener, &s->loop, &opts, &inner);
    return rc == 0 ? 0
                   : err_set(err, rc, "server.endpoint: %.400s",
                             inner.text[0] != '\0' ? inner.text : err_text(rc));
}

void api_stop(struct server *s)
{
    listener_close(&s->listener, NULL);
}
