/* delivery: a timer that looks and takes, and a few requests. */
#include "server/delivery.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/client.h"
#include "server/alerting.h"
#include "server/round.h"
#include "util/diag.h"
#include "util/digest.h"

#define TICK_MS 1000
#define CLAIM_MS (6 * DELIVERY_TIMEOUT_MS) /* another server takes it then */
#define SIGNATURE_BYTES 160
#define CONNECT_TIMEOUT_MS 5000

enum outcome { DELIVERED, LATER, GIVEN_UP, GONE };

struct request {
    struct work work; /* to write what came of it */
    struct delivery *delivery;
    struct client_call *call;
    bool is_busy;
    int64_t id, webhook, attempts, created_ms;
    struct buf url, secret, body;
    char id_header[64], signature_header[SIGNATURE_BYTES];
    enum outcome outcome;
    int64_t next_ms;
};

struct delivery {
    struct work work;
    struct server *server;
    struct client *client;
    uv_timer_t timer;
    bool is_working;
    struct alerting_opts look; /* interval_ms 0: not in this turn */
    struct alerting_look found;
    uint64_t look_due_ms;
    unsigned taken; /* of this turn: the first so many of `idle` */
    int64_t now_ms;
    struct request requests[DELIVERY_AT_ONCE];
    struct request *idle[DELIVERY_AT_ONCE]; /* the thread's, in a turn */
    unsigned idle_count;
};

/* ---- on the thread ------------------------------------------------------ */

static int take_request(void *ctx, const struct store_value *row)
{
    struct delivery *d = ctx;
    struct request *r = d->idle[d->taken++]; /* the limit was idle_count */
    r->id = row[0].number;
    r->webhook = row[1].number;
    r->attempts = row[2].number;
    r->created_ms = row[3].number;
    buf_append(&r->body, row[4].text);
    buf_append(&r->url, row[5].text);
    buf_append_byte(&r->url, '\0');
    buf_append(&r->secret, row[6].text);
    return 0;
}

/* Those that are due are this server's for a while. */
static int claim(struct delivery *d, struct store *s)
{
    const struct store_value v[] = {store_int(d->now_ms), store_int(d->now_ms + CLAIM_MS),
                                    store_int(d->idle_count)};
    return store_run(s,
                     "UPDATE deliveries SET next_ms = $2, attempts = attempts + 1 WHERE id IN "
                     "(SELECT d.id FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id "
                     "WHERE d.state = 'pending' AND d.next_ms <= $1 AND w.is_active = 1 "
                     "ORDER BY d.next_ms LIMIT $3) "
                     "RETURNING id, webhook_id, attempts, created_ms, body, "
                     "(SELECT url FROM webhooks w WHERE w.id = webhook_id), "
                     "(SELECT secret FROM webhooks w WHERE w.id = webhook_id)",
                     v, ARRAY_LEN(v), take_request, d);
}

static int run_turn(struct work *w, struct store *s)
{
    struct delivery *d = container_of(w, struct delivery, work);
    int rc = d->look.interval_ms > 0 ? alerting_look(&d->look, s, &d->found) : 0;
    return rc < 0 || d->idle_count == 0 ? rc : claim(d, s);
}

static int run_settle(struct work *w, struct store *s)
{
    struct request *r = container_of(w, struct request, work);
    static const char *const states[] = {"delivered", "pending", "failed", "failed"};
    const struct store_value v[] = {store_int(r->id), store_str(states[r->outcome]),
                                    store_int(r->next_ms)};
    const struct store_value webhook = store_int(r->webhook);
    int rc = store_run(s, "UPDATE deliveries SET state = $2, next_ms = $3 WHERE id = $1", v,
                       ARRAY_LEN(v), NULL, NULL);
    if (rc == 0 && r->outcome == GONE)
        rc = store_run(s, "UPDATE webhooks SET is_active = 0 WHERE id = $1", &webhook, 1, NULL,
                       NULL);
    return rc;
}

/* ---- on the loop -------------------------------------------------------- */

static void on_settled(struct work *w)
{
    struct request *r = container_of(w, struct request, work);
    buf_done(&r->url);
    buf_done(&r->secret);
    buf_done(&r->body);
    r->is_busy = false;
}

static enum outcome outcome_of(const struct client_result *result)
{
    int status = result->err != 0 ? 0 : result->status;
    if (status >= 200 && status < 300)
        return DELIVERED;
    if (status == 410)
        return GONE;
    return status == 0 || status >= 500 || status == 408 || status == 425 || status == 429
               ? LATER
               : GIVEN_UP;
}

static void settle(struct request *r, enum outcome outcome)
{
    struct server *s = r->delivery->server;
    int64_t now = server_unix_ms(s), wait = DELIVERY_FIRST_MS;
    for (int64_t i = 1; i < r->attempts && wait < DELIVERY_MOST_MS; i++)
        wait *= 2;
    wait = wait < DELIVERY_MOST_MS ? wait : DELIVERY_MOST_MS;
    if (outcome == LATER && now - r->created_ms > DELIVERY_DAY_MS)
        outcome = GIVEN_UP;
    r->outcome = outcome;
    r->next_ms = now + wait - (int64_t)rng_upto(&s->rng, (uint64_t)wait / 5);
    metric_inc(outcome == DELIVERED ? &s->webhooks.delivered
               : outcome == LATER   ? &s->webhooks.retried
                                    : &s->webhooks.failed);
    r->work = (struct work){.run = run_settle, .done = on_settled};
    ignore_code(worker_add(s->worker, &r->work, true)); /* ours are taken */
}

static void on_answer(void *ctx, const struct client_result *result)
{
    struct request *r = ctx;
    char quoted[DIAG_QUOTE_BYTES];
    r->call = NULL;
    enum outcome outcome = outcome_of(result);
    if (outcome != DELIVERED)
        diag(DIAG_WARN, "webhook_failed", "a webhook did not take a request",
             "webhook=%" PRId64 " delivery=%" PRId64 " attempt=%" PRId64 " status=%d error=%s",
             r->webhook, r->id, r->attempts, result->status,
             diag_quote(quoted, span_str(result->err != 0 ? result->text : "")));
    settle(r, outcome);
}

/* "t=...,v1=..." of the body as it is sent. */
static int sign(struct request *r, int64_t now_s)
{
    uint8_t mac[DIGEST_SHA256_BYTES];
    struct buf text = {0};
    buf_printf(&text, "%" PRId64 ".", now_s);
    buf_append(&text, buf_span(&r->body));
    int rc =
        text.err != 0 ? text.err : digest_hmac_sha256(buf_span(&r->secret), buf_span(&text), mac);
    buf_done(&text);
    int n = snprintf(r->signature_header, SIGNATURE_BYTES,
                     "Lipservice-Signature: t=%" PRId64 ",v1=", now_s);
    for (size_t i = 0; i < sizeof mac && rc == 0; i++)
        n += snprintf(r->signature_header + n, SIGNATURE_BYTES - (size_t)n, "%02x", mac[i]);
    return rc;
}

static void send_request(struct request *r)
{
    struct delivery *d = r->delivery;
    const char *headers[] = {"Content-Type: application/json", r->id_header, r->signature_header,
                             NULL};
    struct client_request request = {
        .method = "POST",
        .url = (const char *)r->url.base,
        .headers = headers,
        .body = buf_span(&r->body),
        .timeout_ms = DELIVERY_TIMEOUT_MS,
        .max_answer_bytes = 1024,
        .is_public = !d->server->cfg->server.webhooks_private,
        .ctx = r,
        .done = on_answer,
    };
    snprintf(r->id_header, sizeof r->id_header, "Webhook-Id: lipservice-%" PRId64, r->id);
    if (r->url.err != 0 || r->body.err != 0 || r->secret.err != 0 ||
        sign(r, server_unix_ms(d->server) / 1000) < 0 ||
        client_send(d->client, &request, &r->call) < 0)
        settle(r, LATER);
}

static void on_turn_done(struct work *w)
{
    struct delivery *d = container_of(w, struct delivery, work);
    d->is_working = false;
    if (d->look.interval_ms > 0 && w->rc == 0 && d->found.is_cut)
        d->look_due_ms = clock_now_ms(d->server->clock) + ROUND_PAUSE_MS;
    if (w->rc < 0)
        diag(DIAG_WARN, "alerts", "the database could not be asked for alerts", "error=\"%s\"",
             err_text(w->rc));
    for (unsigned i = 0; i < d->taken; i++) {
        d->idle[i]->is_busy = true;
        if (d->client != NULL) /* else the next start takes it again */
            send_request(d->idle[i]);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct delivery *d = container_of(timer, struct delivery, timer);
    struct server *s = d->server;
    uint64_t now = clock_now_ms(s->clock);
    if (d->is_working || s->phase != SERVER_RUNNING)
        return;
    d->idle_count = 0;
    for (size_t i = 0; i < DELIVERY_AT_ONCE; i++)
        if (!d->requests[i].is_busy)
            d->idle[d->idle_count++] = &d->requests[i];
    bool is_due = now >= d->look_due_ms;
    if (is_due)
        d->look_due_ms = now + s->cfg->server.alerts_interval_ms;
    d->now_ms = server_unix_ms(s);
    d->taken = 0;
    d->look = (struct alerting_opts){.now_ms = d->now_ms,
                                     .clock = d->server->clock,
                                     .interval_ms = is_due ? s->cfg->server.alerts_interval_ms : 0,
                                     .cooldown_ms = s->cfg->server.alerts_cooldown_ms};
    d->work = (struct work){.run = run_turn, .done = on_turn_done};
    d->is_working = worker_add(s->worker, &d->work, true) == 0;
}

int delivery_start(struct server *s, struct error *err)
{
    const struct client_opts client = {.user_agent = "lipservice/" LIPSERVICE_VERSION,
                                       .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                       .max_idle_connections = 0};
    struct delivery *d = calloc(1, sizeof *d);
    (void)err;
    if (d == NULL)
        return ERR_NOMEM;
    d->server = s;
    d->look_due_ms = clock_now_ms(s->clock);
    for (size_t i = 0; i < DELIVERY_AT_ONCE; i++)
        d->requests[i].delivery = d;
    s->delivery = d;
    uv_timer_init(&s->loop, &d->timer);
    int rc = client_open(&d->client, &s->loop, &client);
    return rc < 0 ? rc : uv_timer_start(&d->timer, on_tick, TICK_MS, TICK_MS);
}

/* What is under way is taken again by the next start. */
void delivery_stop(struct server *s)
{
    struct delivery *d = s->delivery;
    if (d == NULL)
        return;
    client_close(d->client);
    d->client = NULL;
    uv_close((uv_handle_t *)&d->timer, NULL);
}

void delivery_release(struct server *s)
{
    struct delivery *d = s->delivery;
    if (d == NULL)
        return;
    for (size_t i = 0; i < DELIVERY_AT_ONCE; i++) {
        buf_done(&d->requests[i].url);
        buf_done(&d->requests[i].secret);
        buf_done(&d->requests[i].body);
    }
    free(d);
    s->delivery = NULL;
}
