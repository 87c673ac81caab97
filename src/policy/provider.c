/* provider: one timer, one request at a time, one set in force. */
#include "policy/provider.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/url.h"
#include "otlp/policy_sync.h"
#include "util/buf.h"
#include "util/diag.h"
#include "util/json.h"
#include "util/rng.h"
#include "util/secret.h"

#define PATH "/v1/policy/sync"
#define FIRST_DELAY_MS 100 /* jitter of the first request */
#define RETRY_MS 30000     /* after a failure, or the interval where that is shorter */
#define JITTER_PERCENT 10
#define KEPT_AS SPAN("") /* no service has no name */
#define REQUEST_BYTES POLICY_SYNC_BYTES

static const char *const types[] = {"application/json", "application/x-protobuf"};

struct provider {
    struct provider_opts opts;
    struct client *client;
    struct client_call *call; /* under way */
    struct buf request;       /* its body */
    uv_timer_t timer;
    struct rng rng;
    char *url, *auth; /* auth: a whole header, or NULL */
    struct tero *set; /* NULL: none yet */
    bool is_own;      /* of this provider; else of one before */
    char hash[PROVIDER_HASH_BYTES];
    int64_t synced_ns; /* when, as the provider says */
    uint64_t interval_ms;
    struct provider_stats stats;
};

static void on_due(uv_timer_t *timer);

static void schedule(struct provider *p, uint64_t after_ms)
{
    uint64_t spread = after_ms * JITTER_PERCENT / 100;
    uv_timer_start(&p->timer, on_due, after_ms - spread + rng_upto(&p->rng, 2 * spread), 0);
}

/* ---- the set ---------------------------------------------------------------- */

static void log_invalid(const struct tero *set)
{
    struct tero_count c;
    char id[DIAG_QUOTE_BYTES], why[DIAG_QUOTE_BYTES];
    for (size_t i = 0; tero_count(set, i, &c); i++)
        if (c.errors > 0)
            diag(DIAG_WARN, "policy_invalid", "a provider's policy is without effect",
                 "id=%s reason=%s", diag_quote(id, c.id), diag_quote(why, tero_error(set, i, 0)));
}

static void note_hash(struct provider *p, struct json_node response)
{
    struct span hash = json_string(policy_sync_get(response, "hash"));
    size_t n = hash.len < sizeof p->hash ? hash.len : 0;
    if (n > 0)
        memcpy(p->hash, hash.base, n);
    p->hash[n] = '\0';
    for (size_t i = 0; i < n; i++) /* it goes into a header */
        if (p->hash[i] < '!' || p->hash[i] > '~' || p->hash[i] == '"')
            p->hash[0] = '\0';
}

static void note_set(struct provider *p, struct tero *set)
{
    tero_free(p->set);
    p->set = set;
    p->stats.policies = tero_policies(set);
    p->stats.invalid_policies = tero_invalid(set);
}

/* Put the policies of a response in force, or say why not. */
static int install(struct provider *p, struct json_node response, const char *from)
{
    struct tero *set;
    struct error err = {{0}};
    char why[DIAG_QUOTE_BYTES];
    int rc = tero_new_of(&set, response, rng_next(&p->rng) ^ p->opts.seed, p->opts.budget, &err);
    if (rc < 0) {
        const char *text = err.text[0] != '\0' ? err.text : err_text(rc);
        diag(DIAG_WARN, "policy_refused",
             "what came is no set of policies; the last good one stays", "from=%s reason=%s", from,
             diag_quote(why, span_str(text)));
        return rc;
    }
    note_set(p, set);
    p->is_own = true;
    note_hash(p, response);
    diag(DIAG_INFO, "policy", "a provider's policies are in force",
         "policies=%" PRIu64 " invalid=%" PRIu64 " from=%s", p->stats.policies,
         p->stats.invalid_policies, from);
    log_invalid(set);
    return 0;
}

/* {"server": "...", "response": {...}} */
static void keep(struct provider *p, struct span response)
{
    struct buf text = {.max_bytes = POLICY_SYNC_BYTES + 4096, .budget = p->opts.budget};
    struct json j = json_on(&text);
    if (p->opts.kept == NULL)
        return;
    json_begin(&j, NULL);
    json_str(&j, "server", p->url);
    buf_append(json_value(&j, "response"), response);
    json_end(&j);
    if (text.err == 0)
        kept_write(p->opts.kept, KEPT_AS, buf_span(&text));
    buf_done(&text);
}

static void install_kept(struct provider *p)
{
    struct json_doc *doc = NULL;
    struct json_node root;
    struct span text = p->opts.kept == NULL ? (struct span){0} : kept_find(p->opts.kept, KEPT_AS);
    if (text.len == 0 || json_doc_new(&doc, text, p->opts.budget, &root) < 0)
        return;
    if (span_eq(json_string(json_get(root, "server")), span_str(p->url)) &&
        install(p, json_get(root, "response"), "disk") == 0)
        metric_inc(&p->stats.from_disk);
    json_doc_free(doc);
    kept_forget(p->opts.kept, KEPT_AS);
}

/* ---- answers ---------------------------------------------------------------- */

static void take_times(struct provider *p, struct json_node response)
{
    int64_t n;
    if (policy_sync_integer(policy_sync_get(response, "recommended_sync_interval_seconds"), &n) &&
        n > 0) {
        uint64_t ms = n < PROVIDER_MOST_MS / 1000 ? (uint64_t)n * 1000 : PROVIDER_MOST_MS;
        p->interval_ms = ms > PROVIDER_LEAST_MS ? ms : PROVIDER_LEAST_MS;
    }
    if (policy_sync_integer(policy_sync_get(response, "sync_timestamp_unix_nano"), &n))
        p->synced_ns = n;
}

/* A set, though it may be an empty one; else nothing is said of policies. */
static bool has_set(struct json_node response)
{
    struct json_node type = policy_sync_get(response, "sync_type");
    struct json_each each = json_each(json_get(response, "policies"));
    uint64_t n = 0;
    return (json_whole(type, &n) && n == 1) || span_eq(json_string(type), SPAN("SYNC_TYPE_FULL")) ||
           json_next(&each);
}

static void take_response(struct provider *p, struct json_node root, struct span text)
{
    char why[DIAG_QUOTE_BYTES];
    struct span said = json_string(policy_sync_get(root, "error_message"));
    struct span hash = json_string(policy_sync_get(root, "hash"));
    if (said.len > 0) {
        metric_inc(&p->stats.failed);
        diag(DIAG_WARN, "policy_sync_failed", "the last good policies stay", "error=%s",
             diag_quote(why, said));
        return;
    }
    bool is_same = p->is_own && hash.len > 0 && span_eq(hash, span_str(p->hash));
    if (is_same || !has_set(root)) {
        metric_inc(&p->stats.unchanged);
    } else if (install(p, root, "provider") < 0) {
        metric_inc(&p->stats.invalid);
        return;
    } else {
        metric_inc(&p->stats.installed);
        keep(p, text);
    }
    take_times(p, root);
    p->stats.last_success_ms = clock_now_ms(p->opts.clock);
}

static bool is_type(struct span have, const char *want)
{
    size_t n = 0;
    while (n < have.len && have.base[n] != ';')
        n++;
    return span_ieq(span_trim(span_of(have.base, n)), span_str(want));
}

/* The answer as JSON, whatever it came as. */
static int read_answer(struct provider *p, const struct client_result *result)
{
    struct buf text = {.max_bytes = 8 * POLICY_SYNC_BYTES, .budget = p->opts.budget};
    struct json_doc *doc = NULL;
    struct json_node root;
    struct span body = result->body;
    int rc = result->is_whole ? 0 : ERR_TOO_BIG;
    if (rc == 0 && is_type(result->content_type, types[true])) {
        rc = policy_sync_to_json(&text, POLICY_SYNC_RESPONSE, body, p->opts.budget);
        body = buf_span(&text);
    }
    if (rc == 0)
        rc = json_doc_new(&doc, body, p->opts.budget, &root);
    if (rc == 0 && json_kind(root) != JSON_OBJECT)
        rc = ERR_MALFORMED;
    if (rc == 0)
        take_response(p, root, body);
    json_doc_free(doc);
    buf_done(&text);
    return rc;
}

static void on_answer(void *ctx, const struct client_result *result)
{
    struct provider *p = ctx;
    char why[DIAG_QUOTE_BYTES];
    uint64_t before = p->stats.failed.value, after = p->interval_ms;
    int rc = 0;
    p->call = NULL;
    buf_done(&p->request);
    if (p->auth != NULL)
        secret_mask(result->body, secret_of_header(p->auth)); /* it may be quoted in a message */
    if (result->err == 0 && result->status == 304 && p->is_own) {
        metric_inc(&p->stats.unchanged);
        p->stats.last_success_ms = clock_now_ms(p->opts.clock);
    } else if (result->err == 0 && result->status == 200) {
        rc = read_answer(p, result);
        if (rc < 0) {
            metric_inc(&p->stats.invalid);
            diag(DIAG_WARN, "policy_refused",
                 "the provider's answer is none; the last good "
                 "policies stay",
                 "reason=\"%s\"", err_text(rc));
        } else {
            after = p->interval_ms;
        }
    } else {
        metric_inc(&p->stats.failed);
        diag(DIAG_WARN, "policy_sync_failed", "the last good policies stay", "status=%d error=%s",
             result->status, diag_quote(why, span_str(result->err != 0 ? result->text : "")));
    }
    bool is_bad = rc < 0 || p->stats.failed.value != before;
    schedule(p, is_bad && after > RETRY_MS ? RETRY_MS : after);
}

/* ---- requests --------------------------------------------------------------- */

static void write_attribute(struct json *j, const char *key, const char *value)
{
    json_begin(j, NULL);
    json_str(j, "key", key);
    json_begin(j, "value");
    json_str(j, "string_value", value);
    json_end(j);
    json_end(j);
}

static void write_request(struct provider *p, struct buf *out)
{
    struct json j = json_on(out);
    char time[24];
    json_begin(&j, NULL);
    json_begin(&j, "client_metadata");
    json_begin_list(&j, "supported_policy_stages");
    json_u64(&j, NULL, 1); /* LOG_FILTER */
    json_u64(&j, NULL, 2); /* LOG_TRANSFORM */
    json_end_list(&j);
    json_begin_list(&j, "resource_attributes");
    write_attribute(&j, "service.instance.id", p->opts.instance);
    write_attribute(&j, "service.name", "lipservice");
    write_attribute(&j, "service.namespace", "");
    write_attribute(&j, "service.version", LIPSERVICE_VERSION);
    json_end_list(&j);
    json_end(&j);
    json_bool(&j, "full_sync", !p->is_own);
    snprintf(time, sizeof time, "%" PRId64, p->synced_ns);
    json_str(&j, "last_sync_timestamp_unix_nano", time);
    json_str(&j, "last_successful_hash", p->hash);
    json_begin_list(&j, "policy_statuses");
    if (p->is_own)
        tero_take_statuses(p->set, &j);
    json_end_list(&j);
    json_end(&j);
}

/* The body, as it goes. */
static int make_request(struct provider *p)
{
    struct buf text = {.max_bytes = REQUEST_BYTES, .budget = p->opts.budget};
    struct json_doc *doc = NULL;
    struct json_node root;
    struct error err = {{0}};
    p->request = (struct buf){.max_bytes = REQUEST_BYTES, .budget = p->opts.budget};
    write_request(p, &text);
    int rc = text.err;
    if (!p->opts.as_protobuf) {
        buf_move(&p->request, &text);
        return rc;
    }
    if (rc == 0)
        rc = json_doc_new(&doc, buf_span(&text), p->opts.budget, &root);
    if (rc == 0)
        rc = policy_sync_to_protobuf(&p->request, POLICY_SYNC_REQUEST, root, &err);
    json_doc_free(doc);
    buf_done(&text);
    return rc;
}

static void ask(struct provider *p)
{
    char match[PROVIDER_HASH_BYTES + 32], type[64], accept[64];
    const char *headers[] = {type, accept, NULL, NULL, NULL};
    size_t n = 2;
    snprintf(type, sizeof type, "Content-Type: %s", types[p->opts.as_protobuf]);
    snprintf(accept, sizeof accept, "Accept: %s", types[p->opts.as_protobuf]);
    if (p->auth != NULL)
        headers[n++] = p->auth;
    if (p->is_own && p->hash[0] != '\0') {
        snprintf(match, sizeof match, "If-None-Match: \"%s\"", p->hash);
        headers[n++] = match;
    }
    int rc = make_request(p);
    struct client_request request = {
        .method = "POST",
        .url = p->url,
        .headers = headers,
        .body = buf_span(&p->request),
        .timeout_ms = p->opts.timeout_ms,
        .max_answer_bytes = POLICY_SYNC_BYTES,
        .budget = p->opts.budget,
        .route = &p->opts.route,
        .ctx = p,
        .done = on_answer,
    };
    if (rc == 0)
        rc = client_send(p->client, &request, &p->call);
    if (rc == 0)
        return;
    buf_done(&p->request);
    metric_inc(&p->stats.failed);
    diag(DIAG_WARN, "policy_sync_failed", "no request could be made", "error=\"%s\"", err_text(rc));
    schedule(p, RETRY_MS);
}

static void on_due(uv_timer_t *timer)
{
    ask(container_of(timer, struct provider, timer));
}

/* ---- life ------------------------------------------------------------------- */

static char *url_of(const char *server)
{
    struct span base = url_base(server);
    char *url = malloc(base.len + sizeof PATH);
    if (url == NULL)
        return NULL;
    memcpy(url, base.base, base.len);
    memcpy(url + base.len, PATH, sizeof PATH);
    return url;
}

int provider_open(struct provider **out, uv_loop_t *loop, struct client *client,
                  const struct provider_opts *opts)
{
    struct provider *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->opts = *opts;
    p->opts.route = (struct route){0};
    p->client = client;
    p->interval_ms = opts->interval_ms;
    rng_init(&p->rng);
    uv_timer_init(loop, &p->timer);
    *out = p; /* from here on provider_close() cleans up, also after a failure */
    p->url = url_of(opts->server);
    if (opts->api_key[0] != '\0')
        p->auth = url_bearer(opts->api_key);
    if (route_copy(&p->opts.route, &opts->route) < 0 || p->url == NULL ||
        (opts->api_key[0] != '\0' && p->auth == NULL))
        return ERR_NOMEM;
    if (opts->before == NULL)
        install_kept(p);
    else
        note_set(p, opts->before);
    return uv_timer_start(&p->timer, on_due, rng_upto(&p->rng, FIRST_DELAY_MS), 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct provider *p = container_of((uv_timer_t *)handle, struct provider, timer);
    tero_free(p->set);
    buf_done(&p->request);
    free(p->url);
    secret_free(p->auth);
    route_done(&p->opts.route);
    free(p);
}

void provider_close(struct provider *p)
{
    if (p == NULL)
        return;
    if (p->call != NULL)
        client_cancel(p->call);
    uv_close((uv_handle_t *)&p->timer, on_closed);
}

struct tero *provider_take_set(struct provider *p)
{
    struct tero *set = p == NULL ? NULL : p->set;
    if (p != NULL)
        p->set = NULL;
    return set;
}

int provider_apply(struct provider *p, struct tero_record *r)
{
    return p->set == NULL ? TERO_SAME : tero_apply(p->set, r, clock_now_ms(p->opts.clock));
}

const struct provider_stats *provider_stats(const struct provider *p)
{
    return &p->stats;
}
