/* client: a queue, a token bucket, and libcurl's client below. */
#include "posthog/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/client.h"
#include "net/url.h"
#include "posthog/fault.h"
#include "util/buf.h"
#include "util/list.h"
#include "util/secret.h"
#include "util/token_bucket.h"

#define CONNECT_TIMEOUT_MS 10000
#define TOKEN_MS 125         /* until there is one more */
#define RETRY_AFTER_MS 30000 /* of a 429 that does not say */
#define URL_BYTES 16384      /* filters stand in some of them */
#define BODY_BYTES (1u << 20)
#define TRIES_MAX 4 /* of a request that is answered 429 */

struct app {
    uv_loop_t *loop;
    struct client *client;
    uv_timer_t timer; /* for the next turn of those that wait */
    char host[APP_BASE_BYTES];
    char *auth; /* a whole header */
    uint32_t project_id, patience_ms;
    struct route route;
    const struct clock *clock;
    struct budget *budget;
    struct list waiting, flying;
    uint32_t waiting_count, flying_count;
    struct token_bucket tokens;
    uint64_t paused_until_ms;
    uint64_t counts[APP_FAULT_COUNT];
};

struct app_call {
    struct list link;
    struct app *app;
    struct client_call *call; /* NULL: it waits */
    const char *method;
    struct buf url, body; /* url ends with a NUL */
    size_t max_answer_bytes;
    uint64_t charged;
    uint32_t timeout_ms, tries;
    uint64_t waited_ms;
    bool is_flying;
    void *ctx;
    void (*done)(void *ctx, const struct app_answer *answer);
};

static void pump(struct app *app);

static void on_turn(uv_timer_t *timer)
{
    pump(container_of(timer, struct app, timer));
}

static void wake_in(struct app *app, uint64_t ms)
{
    uv_timer_start(&app->timer, on_turn, ms, 0);
}

static void call_free(struct app_call *c)
{
    struct app *app = c->app;
    if (!list_is_empty(&c->link)) {
        list_remove(&c->link);
        *(c->is_flying ? &app->flying_count : &app->waiting_count) -= 1;
    }
    budget_give(app->budget, c->charged);
    buf_done(&c->url);
    buf_done(&c->body);
    free(c);
}

/* ---- answers ----------------------------------------------------------- */

static struct app_asked asked_of(const struct app_call *c)
{
    return (struct app_asked){
        .host = c->app->host,
        .method = c->method,
        .path = (const char *)c->url.base + strlen(c->app->host),
        .timeout_ms = c->timeout_ms,
        .max_answer_bytes = c->max_answer_bytes,
    };
}

/* Ends the call. It is in no list while the callee has its say. */
static void answer(struct app_call *c, const struct app_verdict *v, int status,
                   struct json_node root, struct json_doc **doc, uint64_t retry_after_ms)
{
    const struct app_answer a = {
        .fault = v->fault,
        .status = status,
        .root = root,
        .doc = doc,
        .retry_after_ms = retry_after_ms,
        .scope = v->scope,
        .text = v->text,
        .remedy = v->remedy,
    };
    struct app *app = c->app;
    list_remove(&c->link);
    *(c->is_flying ? &app->flying_count : &app->waiting_count) -= 1;
    app->counts[v->fault]++;
    c->done(c->ctx, &a);
    call_free(c);
}

static void answer_here(struct app_call *c, enum app_fault fault, const char *text,
                        uint64_t retry_after_ms)
{
    struct app_verdict v = {.fault = fault};
    struct json_doc *none = NULL;
    snprintf(v.text, sizeof v.text, "%s", text);
    if (fault == APP_THROTTLED)
        snprintf(v.remedy, sizeof v.remedy, "try again in %llu s",
                 (unsigned long long)(retry_after_ms + 999) / 1000);
    answer(c, &v, 0, (struct json_node){0}, &none, retry_after_ms);
}

/* Ask again when the pause is over; false: that is too long. */
static bool wait_again(struct app_call *c, uint64_t ms)
{
    struct app *app = c->app;
    if (++c->tries >= TRIES_MAX || c->waited_ms + ms > app->patience_ms)
        return false;
    c->waited_ms += ms;
    c->call = NULL;
    list_remove(&c->link);
    app->flying_count--;
    app->waiting_count++;
    c->is_flying = false;
    list_prepend(&app->waiting, &c->link);
    return true;
}

static void on_result(void *ctx, const struct client_result *r)
{
    struct app_call *c = ctx;
    struct app *app = c->app;
    struct json_doc *doc = NULL;
    struct json_node root = {0};
    struct app_verdict v;
    uint64_t retry_ms = 0;
    c->call = NULL;
    secret_mask(r->body, secret_of_header(app->auth));
    secret_mask(r->location, secret_of_header(app->auth));
    if (r->err == 0 && r->status == 429) {
        retry_ms = app_retry_after(r->retry_after, RETRY_AFTER_MS);
        app->paused_until_ms = clock_now_ms(app->clock) + retry_ms;
    }
    if (retry_ms > 0 && wait_again(c, retry_ms)) {
        pump(app);
        return;
    }
    int rc = r->body.len > 0 ? json_doc_new(&doc, r->body, app->budget, &root) : 0;
    const struct app_asked asked = asked_of(c);
    app_judge(&v, &asked, r, doc != NULL, root, retry_ms);
    if (rc == ERR_FULL || rc == ERR_NOMEM) {
        v.fault = APP_NO_ROOM;
        snprintf(v.text, sizeof v.text, "there is no memory here for the answer to %s", asked.path);
        snprintf(v.remedy, sizeof v.remedy, "raise memory.limit");
    }
    answer(c, &v, r->status, root, &doc, retry_ms);
    json_doc_free(doc);
    pump(app);
}

/* ---- requests ---------------------------------------------------------- */

static int fly(struct app_call *c)
{
    struct app *app = c->app;
    const char *headers[] = {"Accept: application/json", app->auth,
                             c->body.len > 0 ? "Content-Type: application/json" : NULL, NULL};
    struct client_request request = {
        .method = c->method,
        .url = (const char *)c->url.base,
        .headers = headers,
        .body = buf_span(&c->body),
        .timeout_ms = c->timeout_ms,
        .max_answer_bytes = c->max_answer_bytes,
        .route = &app->route,
        .ctx = c,
        .done = on_result,
    };
    if (c->charged == 0) {
        int rc = budget_take(app->budget, c->max_answer_bytes);
        if (rc < 0)
            return rc;
        c->charged = c->max_answer_bytes;
    }
    return client_send(app->client, &request, &c->call);
}

/* Those that would wait longer than they may are answered at once. */
static void refuse_the_impatient(struct app *app, uint64_t left_ms)
{
    LIST_EACH (node, &app->waiting) {
        struct app_call *c = container_of(node, struct app_call, link);
        if (c->tries == 0 && left_ms > app->patience_ms)
            answer_here(c, APP_THROTTLED, "PostHog's limit of requests is reached", left_ms);
    }
}

static void pump(struct app *app)
{
    uint64_t now = clock_now_ms(app->clock);
    if (now < app->paused_until_ms) {
        refuse_the_impatient(app, app->paused_until_ms - now);
        if (!list_is_empty(&app->waiting))
            wake_in(app, app->paused_until_ms - now);
        return;
    }
    while (!list_is_empty(&app->waiting) && app->flying_count < APP_AT_ONCE) {
        struct app_call *c = container_of(app->waiting.next, struct app_call, link);
        if (!token_bucket_take(&app->tokens, now)) {
            wake_in(app, TOKEN_MS);
            return;
        }
        if (fly(c) < 0) {
            answer_here(c, APP_NO_ROOM, "there is no memory here for a request to PostHog", 0);
            continue;
        }
        list_remove(&c->link);
        list_append(&app->flying, &c->link);
        c->is_flying = true;
        app->waiting_count--;
        app->flying_count++;
    }
}

int app_send(struct app *app, const struct app_request *r, struct app_call **out)
{
    if (app->waiting_count >= APP_WAITING_MAX)
        return ERR_FULL;
    struct app_call *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    *c = (struct app_call){
        .app = app,
        .method = r->method,
        .url = {.max_bytes = URL_BYTES, .budget = app->budget},
        .body = {.max_bytes = BODY_BYTES, .budget = app->budget},
        .max_answer_bytes = r->max_answer_bytes > 0 ? r->max_answer_bytes : APP_ANSWER_BYTES,
        .timeout_ms = r->timeout_ms > 0 ? r->timeout_ms : APP_TIMEOUT_MS,
        .ctx = r->ctx,
        .done = r->done,
    };
    list_init(&c->link);
    buf_append_str(&c->url, app->host);
    if (r->path[0] != '/')
        buf_printf(&c->url, "/api/projects/%u/", app->project_id);
    buf_append_str(&c->url, r->path);
    buf_append_byte(&c->url, '\0');
    buf_append(&c->body, r->body);
    int rc = c->url.err != 0 ? c->url.err : c->body.err;
    if (rc < 0) {
        call_free(c);
        return rc;
    }
    list_append(&app->waiting, &c->link);
    app->waiting_count++;
    wake_in(app, 0);
    if (out != NULL)
        *out = c;
    return 0;
}

void app_cancel(struct app_call *c)
{
    struct app *app = c->app;
    if (c->call != NULL)
        client_cancel(c->call);
    call_free(c);
    if (!list_is_empty(&app->waiting))
        wake_in(app, 0);
}

/* ---- life -------------------------------------------------------------- */

int app_open(struct app **out, uv_loop_t *loop, const struct app_opts *opts)
{
    static const struct client_opts client = {"lipservice/" LIPSERVICE_VERSION, CONNECT_TIMEOUT_MS,
                                              APP_AT_ONCE};
    struct app *app = calloc(1, sizeof *app);
    if (app == NULL)
        return ERR_NOMEM;
    *app = (struct app){
        .loop = loop,
        .project_id = opts->project_id,
        .patience_ms = opts->patience_ms,
        .clock = opts->clock,
        .budget = opts->budget,
    };
    list_init(&app->waiting);
    list_init(&app->flying);
    token_bucket_init(&app->tokens, APP_PER_MINUTE / 60.0);
    struct span host = url_base(opts->host);
    snprintf(app->host, sizeof app->host, "%.*s", (int)host.len, (const char *)host.base);
    app->auth = url_bearer(opts->key);
    int rc = app->auth == NULL ? ERR_NOMEM : route_copy(&app->route, &opts->route);
    if (rc == 0)
        rc = client_open(&app->client, loop, &client);
    if (rc < 0) {
        route_done(&app->route);
        secret_free(app->auth);
        free(app);
        return rc;
    }
    uv_timer_init(loop, &app->timer);
    *out = app;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct app *app = container_of((uv_timer_t *)handle, struct app, timer);
    route_done(&app->route);
    secret_free(app->auth);
    free(app);
}

void app_close(struct app *app)
{
    if (app == NULL)
        return;
    LIST_EACH (node, &app->flying) {
        struct app_call *c = container_of(node, struct app_call, link);
        client_cancel(c->call);
        call_free(c);
    }
    LIST_EACH (node, &app->waiting)
        call_free(container_of(node, struct app_call, link));
    client_close(app->client);
    uv_timer_stop(&app->timer);
    uv_close((uv_handle_t *)&app->timer, on_closed);
}

void app_set_project(struct app *app, uint32_t id)
{
    app->project_id = id;
}

uint32_t app_project(const struct app *app)
{
    return app->project_id;
}

const char *app_host(const struct app *app)
{
    return app->host;
}

const uint64_t *app_counts(const struct app *app)
{
    return app->counts;
}
