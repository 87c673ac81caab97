/* admin: one libcurl call on a loop of its own. */
#include "cli/admin.h"

#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "config/tls.h"
#include "net/url.h"
#include "util/secret.h"

#define ANSWER_BYTES ((size_t)4 << 20)
#define ERROR_BEGIN "{\"error\":\"" /* how the admin page says no */

static void reach(char out[CONFIG_TEXT_BYTES], const char *scheme, const char *endpoint,
                  const char *path)
{
    const char *colon = strrchr(endpoint, ':');
    size_t host = colon == NULL ? 0 : (size_t)(colon - endpoint);
    bool any = host == 0 || strncmp(endpoint, "0.0.0.0", host) == 0 ||
               strncmp(endpoint, "[::]", host) == 0;
    if (any && colon != NULL)
        snprintf(out, CONFIG_TEXT_BYTES, "%s://127.0.0.1%.20s%.100s", scheme, colon, path);
    else
        snprintf(out, CONFIG_TEXT_BYTES, "%s://%.800s%.100s", scheme, endpoint, path);
    unsetenv("http_proxy"); /* ourselves, not through anybody */
    unsetenv("HTTP_PROXY"); /* libcurl does not know it, net/client.c does */
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
}

void admin_reach(char out[CONFIG_TEXT_BYTES], const char *endpoint, const char *path)
{
    reach(out, "http", endpoint, path);
}

int admin_open(struct admin *a, const struct config *cfg, const char *url)
{
    static const struct client_opts opts = {"lipservice-cli", ADMIN_TIMEOUT_MS, 1};
    const char *endpoint = cfg->telemetry.admin_endpoint;
    *a = (struct admin){.client = NULL};
    if (url == NULL && endpoint[0] == '\0')
        return command_usage_error("telemetry.admin.endpoint is empty: give --admin URL", "");
    const char *scheme_end = url != NULL ? strstr(url, "://") : NULL;
    bool is_https = scheme_end != NULL ? span_starts(span_str(url), SPAN("https://"))
                                       : config_tls_is_required(&cfg->telemetry.tls);
    if (scheme_end != NULL && !is_https && !span_starts(span_str(url), SPAN("http://")))
        return command_usage_error("--admin: the admin page speaks http:// and https://, not ",
                                   url);
    if (scheme_end != NULL)
        url = scheme_end + 3;
    reach(a->base, is_https ? "https" : "http", url != NULL ? url : endpoint, "");
    a->route.ca_file = cfg->telemetry.tls.cert_file;
    if (cfg->telemetry.tls.client_ca_file[0] != '\0') {
        a->route.cert_file = cfg->telemetry.tls.cert_file;
        a->route.key_file = cfg->telemetry.tls.key_file;
    }
    if (cfg->telemetry.admin_api_key[0] != '\0') {
        snprintf(a->key, sizeof a->key, "x-api-key: %s", cfg->telemetry.admin_api_key);
        a->headers[0] = a->key;
    }
    size_t n = strlen(a->base);
    if (a->base[n - 1] == '/')
        a->base[n - 1] = '\0';
    int rc = uv_loop_init(&a->loop);
    if (rc == 0)
        rc = client_open(&a->client, &a->loop, &opts);
    return rc < 0 ? command_die(rc, &(struct error){{0}}) : 0;
}

void admin_close(struct admin *a)
{
    secret_wipe(a->key, sizeof a->key);
    if (a->client == NULL)
        return;
    client_close(a->client);
    a->client = NULL;
    uv_run(&a->loop, UV_RUN_DEFAULT);
    uv_loop_close(&a->loop);
}

int admin_send(struct admin *a, const struct buf *target, size_t max_bytes,
               const struct client_request *how, struct client_call **out)
{
    struct client_request r = *how;
    struct buf url = {0};
    buf_append_str(&url, a->base);
    buf_append(&url, buf_span(target));
    buf_append_byte(&url, '\0');
    r.url = (const char *)url.base; /* libcurl copies it */
    r.headers = a->headers;
    r.route = &a->route;
    if (r.method == NULL)
        r.method = "GET";
    r.timeout_ms = max_bytes > 0 ? ADMIN_TIMEOUT_MS : 0;
    r.max_answer_bytes = max_bytes;
    int rc = url.err != 0 ? url.err : client_send(a->client, &r, out);
    buf_done(&url);
    return rc;
}

int admin_explain_failure(const struct admin *a, const struct client_result *r)
{
    if (r->err != 0) {
        fprintf(stderr, "lipservice: no sidecar answers at %s: %s\n", a->base, r->text);
        return EXIT_UNAVAILABLE;
    }
    struct span said = r->body;
    if (said.len > 0 && said.base[said.len - 1] == '\n')
        said.len--;
    if (span_starts(said, SPAN(ERROR_BEGIN)) && said.len >= sizeof ERROR_BEGIN + 1 &&
        memcmp(said.base + said.len - 2, "\"}", 2) == 0)
        said = span_of(said.base + sizeof ERROR_BEGIN - 1, said.len - sizeof ERROR_BEGIN - 1);
    fprintf(stderr, "lipservice: %s answers %d: %.*s\n", a->base, r->status, (int)said.len,
            (const char *)said.base);
    if (r->status == 422) /* what was asked is right, and the configuration is not */
        return EXIT_CONFIG;
    return r->status < 500 && r->status != 404 ? EXIT_USAGE : EXIT_UNAVAILABLE;
}

struct question {
    struct admin admin;
    FILE *out;
    int code;
};

static void on_answer(void *ctx, const struct client_result *r)
{
    struct question *q = ctx;
    q->code = EXIT_OK;
    if (r->err == 0 && r->status == 200)
        fwrite(r->body.base, 1, r->body.len, q->out);
    else
        q->code = admin_explain_failure(&q->admin, r);
}

int admin_ask(const struct config *cfg, const char *url, const struct buf *target, struct span body,
              FILE *out)
{
    struct question q = {.out = out, .code = -1};
    struct client_request how = {
        .method = body.base != NULL ? "POST" : "GET", .body = body, .ctx = &q, .done = on_answer};
    int code = admin_open(&q.admin, cfg, url);
    if (code == 0) {
        int rc = admin_send(&q.admin, target, ANSWER_BYTES, &how, NULL);
        if (rc < 0)
            q.code = command_die(rc, &(struct error){{0}});
        while (q.code < 0 && uv_run(&q.admin.loop, UV_RUN_ONCE) != 0)
            continue;
        code = q.code < 0 ? EXIT_BUG : q.code;
    }
    admin_close(&q.admin);
    return code;
}

void admin_add_query(struct buf *target, const char *name, const char *value)
{
    bool is_first = target->len > 0 && memchr(target->base, '?', target->len) == NULL;
    if (value == NULL || value[0] == '\0')
        return;
    buf_printf(target, "%c%s=", is_first ? '?' : '&', name);
    url_append_encoded(target, span_str(value));
}
