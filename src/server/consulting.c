/* consulting: a job for each question: asked, perhaps asked again, and over. */
#include "server/consulting.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/client.h"
#include "net/url.h"
#include "server/llm.h"
#include "util/diag.h"
#include "util/secret.h"

#define HOUR_MS 3600000
#define CONNECT_TIMEOUT_MS 5000
#define PROMPT_BYTES (64u << 10)

struct job {
    struct list link;
    struct consulting *owner;
    struct analysis *analysis;
    void (*over)(void *ctx);
    void *ctx;
    struct client_call *call; /* under way */
    uv_timer_t timer;         /* before another try */
    struct buf body;
    unsigned tries;
    bool is_plain; /* the endpoint refused the fields of newer ones */
};

struct consulting {
    struct server *server;
    struct client *client;
    char *url, *key; /* key: a whole header, or NULL */
    struct list jobs;
    unsigned count; /* of them */
    unsigned this_hour;
    uint64_t hour_began_ms;
};

/* ---- the end of a job ------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct job *job = container_of((uv_timer_t *)handle, struct job, timer);
    buf_done(&job->body);
    free(job);
}

static void finish(struct job *job, const char *why_not)
{
    void (*over)(void *ctx) = job->over;
    void *ctx = job->ctx;
    job->analysis->is_over = true;
    job->analysis->why_not = why_not;
    if (why_not != NULL)
        diag(DIAG_WARN, "model", "the model was not used", "reason=\"%s\" tries=%u", why_not,
             job->tries);
    list_remove(&job->link);
    job->owner->count--;
    uv_close((uv_handle_t *)&job->timer, on_timer_closed);
    over(ctx);
}

/* ---- tries ------------------------------------------------------------------ */

static void try_again(uv_timer_t *timer);

static void again(struct job *job, uint64_t after_ms, const char *why_not)
{
    if (job->tries >= CONSULTING_TRIES)
        finish(job, why_not);
    else
        uv_timer_start(&job->timer, try_again, after_ms, 0);
}

/* Seconds of a Retry-After; a date, or none: the usual. */
static uint64_t wait_of(struct span after)
{
    char text[16] = "", *end;
    memcpy(text, after.base == NULL ? (const uint8_t *)"" : after.base,
           after.len < sizeof text ? after.len : 0);
    unsigned long seconds = strtoul(text, &end, 10);
    return end == text || *end != '\0' ? CONSULTING_WAIT_MS : seconds * 1000;
}

static void take_status(struct job *job, const struct client_result *r)
{
    uint64_t wait = wait_of(r->retry_after);
    if (r->status == 400 && !job->is_plain) {
        job->is_plain = true;
        again(job, 0, "it refused the request");
    } else if (r->status == 429 || r->status == 529 || r->status == 503) {
        if (wait > CONSULTING_PATIENCE_S * 1000)
            finish(job, "it has no time now");
        else
            again(job, wait, "it has no time now");
    } else if (r->status >= 500) {
        again(job, CONSULTING_WAIT_MS, "it failed");
    } else {
        finish(job, "it refused the request");
    }
}

static void take_answer(struct job *job, const struct client_result *r)
{
    struct buf text = {.max_bytes = CONSULTING_ANSWER_BYTES};
    const char *why = "there was no memory for its answer";
    int rc = ERR_MALFORMED;
    if (!r->is_whole)
        why = "its answer was too long, or broke off";
    else
        rc = llm_read(&text, job->owner->server->cfg->server.model.as_anthropic, r->body, &why);
    if (rc == 0)
        rc = analysis_take(job->analysis, buf_span(&text), &why);
    buf_done(&text);
    if (rc == 0)
        finish(job, NULL);
    else
        again(job, 0, why);
}

static void on_answer(void *ctx, const struct client_result *r)
{
    struct job *job = ctx;
    job->call = NULL;
    if (r->err != 0)
        again(job, CONSULTING_WAIT_MS,
              r->err == UV_ETIMEDOUT ? "it did not answer in time" : "it could not be reached");
    else if (r->status == 200)
        take_answer(job, r);
    else
        take_status(job, r);
}

static int write_body(struct job *job)
{
    const struct server *s = job->owner->server;
    struct buf question = {.max_bytes = PROMPT_BYTES};
    analysis_write(job->analysis, &question);
    const struct llm_request request = {
        .as_anthropic = s->cfg->server.model.as_anthropic,
        .is_plain = job->is_plain,
        .model = s->cfg->server.model.name,
        .schema = span_str(analyst_schema),
        .system = span_str(analyst_task),
        .user = buf_span(&question),
    };
    buf_clear(&job->body);
    llm_write(&job->body, &request);
    int rc = question.err != 0 ? question.err : job->body.err;
    buf_done(&question);
    return rc;
}

static void ask(struct job *job)
{
    struct consulting *k = job->owner;
    const char *headers[] = {"Content-Type: application/json", "Accept: application/json", NULL,
                             NULL, NULL};
    size_t n = 2;
    if (k->key != NULL)
        headers[n++] = k->key;
    if (k->server->cfg->server.model.as_anthropic)
        headers[n++] = "anthropic-version: 2023-06-01";
    job->tries++;
    int rc = write_body(job);
    const struct client_request request = {
        .method = "POST",
        .url = k->url,
        .headers = headers,
        .body = buf_span(&job->body),
        .timeout_ms = k->server->cfg->server.model.timeout_ms,
        .max_answer_bytes = CONSULTING_ANSWER_BYTES,
        .budget = &k->server->budget,
        .ctx = job,
        .done = on_answer,
    };
    if (rc == 0)
        rc = client_send(k->client, &request, &job->call);
    if (rc < 0)
        finish(job, "there was no memory for the request");
}

static void try_again(uv_timer_t *timer)
{
    ask(container_of(timer, struct job, timer));
}

/* ---- questions ------------------------------------------------------------------ */

static const char *refuse(struct consulting *k)
{
    uint64_t now = clock_now_ms(k->server->clock);
    if (k->server->phase >= SERVER_DRAINING)
        return "the server ends";
    if (k->count >= CONSULTING_AT_ONCE)
        return "too many ask at once";
    if (now - k->hour_began_ms >= HOUR_MS) {
        k->hour_began_ms = now;
        k->this_hour = 0;
    }
    if (k->this_hour >= CONSULTING_HOURLY)
        return "it was asked often enough in this hour";
    k->this_hour++;
    return NULL;
}

void consulting_ask(struct server *s, struct analysis *a, void (*over)(void *ctx), void *ctx)
{
    struct consulting *k = s->consulting;
    const char *why_not = refuse(k);
    struct job *job = why_not != NULL ? NULL : calloc(1, sizeof *job);
    if (job == NULL) {
        a->is_over = true;
        a->why_not = why_not != NULL ? why_not : "there was no memory for the request";
        over(ctx);
        return;
    }
    *job = (struct job){.owner = k, .analysis = a, .over = over, .ctx = ctx};
    job->body = (struct buf){.max_bytes = 2 * PROMPT_BYTES, .budget = &s->budget};
    uv_timer_init(&s->loop, &job->timer);
    list_append(&k->jobs, &job->link);
    k->count++;
    ask(job);
}

void consulting_end(struct server *s)
{
    struct consulting *k = s->consulting;
    while (k != NULL && !list_is_empty(&k->jobs)) {
        struct job *job = container_of(k->jobs.next, struct job, link);
        if (job->call != NULL)
            client_cancel(job->call);
        job->call = NULL;
        finish(job, "the server ends");
    }
}

/* ---- life ------------------------------------------------------------------- */

static char *key_header(const struct config *cfg)
{
    const char *key = cfg->server.model.api_key;
    static const char name[] = "x-api-key: ";
    if (!cfg->server.model.as_anthropic)
        return url_bearer(key);
    char *header = malloc(sizeof name + strlen(key));
    if (header != NULL)
        snprintf(header, sizeof name + strlen(key), "%s%s", name, key);
    return header;
}

int consulting_start(struct server *s, struct error *err)
{
    const struct config *cfg = s->cfg;
    const struct client_opts client = {.user_agent = "lipservice/" LIPSERVICE_VERSION,
                                       .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                       .max_idle_connections = 1};
    (void)err;
    if (!consulting_is_on(s))
        return 0;
    struct consulting *k = calloc(1, sizeof *k);
    if (k == NULL)
        return ERR_NOMEM;
    k->server = s;
    k->hour_began_ms = clock_now_ms(s->clock);
    list_init(&k->jobs);
    s->consulting = k;
    struct span base = url_base(cfg->server.model.endpoint);
    if (asprintf(&k->url, "%.*s%s", (int)base.len, (const char *)base.base,
                 llm_path(cfg->server.model.as_anthropic)) < 0) {
        k->url = NULL;
        return ERR_NOMEM;
    }
    if (cfg->server.model.api_key[0] != '\0' && (k->key = key_header(cfg)) == NULL)
        return ERR_NOMEM;
    return client_open(&k->client, &s->loop, &client);
}

void consulting_stop(struct server *s)
{
    if (s->consulting == NULL)
        return;
    consulting_end(s);
    client_close(s->consulting->client);
}

void consulting_release(struct server *s)
{
    if (s->consulting == NULL)
        return;
    free(s->consulting->url);
    secret_free(s->consulting->key);
    free(s->consulting);
    s->consulting = NULL;
}
