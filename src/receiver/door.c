/* door: one question after the other. */
#include "receiver/door.h"

#include "net/host.h"
#include "util/diag.h"
#include "util/hash.h"

void door_init(struct door *d, const struct door_opts *opts)
{
    *d = (struct door){.opts = *opts};
}

void door_done(struct door *d)
{
    auth_free(d->keys);
    d->keys = NULL;
    secret_wipe(d->key, sizeof d->key);
}

void door_set_keys(struct door *d, struct auth_keys *keys)
{
    auth_free(d->keys);
    d->keys = keys;
}

/* ---- web pages --------------------------------------------------------- */

void door_check_origin(const struct door *d, struct http_head *head)
{
    if (head->origin.len > 0 && !cors_allows(&d->opts.cors, head->origin))
        head->origin = (struct span){0};
}

static void tell_of_origin(struct door *d, const struct http_head *head)
{
    char origin[DIAG_QUOTE_BYTES], headers[DIAG_QUOTE_BYTES], path[DIAG_QUOTE_BYTES];
    uint64_t hash = hash64(head->origin);
    for (unsigned i = 0; i < d->told; i++)
        if (d->told_of[i] == hash)
            return;
    if (d->told == DOOR_ORIGINS_TOLD)
        return;
    d->told_of[d->told++] = hash;
    diag(DIAG_WARN, "preflight_refused",
         d->opts.cors.origins[0] == '\0'
             ? "a web page asks to send logs from the browser, and no origin is allowed: "
               "receivers.otlp.protocols.http.cors.allowed_origins"
         : !cors_allows(&d->opts.cors, head->origin)
             ? "a web page asks to send logs from the browser, and its origin is not in "
               "receivers.otlp.protocols.http.cors.allowed_origins"
             : "a web page asks to send logs with a method or headers that are not allowed: "
               "receivers.otlp.protocols.http.cors.allowed_headers",
         "origin=%s headers=%s path=%s", diag_quote(origin, head->origin),
         diag_quote(headers, head->wanted_headers), diag_quote(path, head->path));
}

bool door_check_preflight(struct door *d, const struct http_head *head)
{
    bool is_allowed =
        cors_allows(&d->opts.cors, head->origin) && cors_allows_request(&d->opts.cors, head);
    metric_inc(is_allowed ? &d->preflights : &d->refused_preflights);
    if (!is_allowed)
        tell_of_origin(d, head);
    return is_allowed;
}

bool door_knows_host(const struct door *d, const struct http_head *head, bool on_loopback)
{
    /* A name without a dot is as good as an address here: the hosts file has it, or a search list.
     */
    return !on_loopback || host_is_ours(head->host, HOST_UNDOTTED, d->opts.hosts);
}

/* ---- keys -------------------------------------------------------------- */

/* Once: what a client means for its own project goes to ours. */
static void warn_key(struct door *d, const struct http_exchange *x, struct span key)
{
    char agent[DIAG_QUOTE_BYTES], path[DIAG_QUOTE_BYTES];
    if (d->has_told_of_key || d->key[0] == '\0' || key.len == 0 || span_eq(key, span_str(d->key)))
        return;
    d->has_told_of_key = true;
    diag(DIAG_WARN, "another_key",
         "a client brings a project key of its own, which does not go on: all records go to the "
         "project that is configured (auth.upstream_key)",
         "path=%s agent=%s", diag_quote(path, x->head.path), diag_quote(agent, x->head.user_agent));
}

/* The project key that is shown upstream, from where PostHog's clients have it. */
static enum door_verdict take_project(struct door *d, struct http_exchange *x, bool bearer_is_ours,
                                      struct span *out)
{
    struct span key = bearer_is_ours ? client_key_token(&x->head) : client_key(&x->head);
    if (d->opts.upstream_key == UPSTREAM_KEY_CONFIGURED) {
        warn_key(d, x, key);
        return DOOR_OPEN;
    }
    if (key.len == 0)
        return d->opts.upstream_key == UPSTREAM_KEY_CLIENT_OR_CONFIGURED ? DOOR_OPEN
                                                                         : DOOR_NO_PROJECT;
    if (!client_key_is_sound(key))
        return DOOR_NO_PROJECT;
    if (!span_eq(key, span_str(d->key))) /* with ours it is one of ours */
        *out = key;
    return DOOR_OPEN;
}

/* What is kept beyond head(): keys may be reloaded while the body arrives. */
static bool keep(struct arena *arena, struct span *s)
{
    if (s->len == 0)
        return true;
    *s = arena_copy(arena, *s);
    return s->base != NULL;
}

enum door_verdict door_enter(struct door *d, struct http_exchange *x, struct door_pass *out)
{
    const struct auth_key *who = NULL;
    struct door_pass pass = {0};
    if (d->keys != NULL) {
        enum auth_verdict v = auth_check(d->keys, &x->head, &who);
        if (v != AUTH_YES)
            return v == AUTH_NO_KEY ? DOOR_NO_KEY : DOOR_WRONG_KEY;
        pass.service = span_str(who->service);
    }
    bool bearer_is_ours = who != NULL && x->head.api_key.len == 0;
    if (who != NULL && who->upstream_key[0] != '\0') {
        if (strcmp(who->upstream_key, d->key) != 0)
            pass.upstream_key = span_str(who->upstream_key);
    } else {
        enum door_verdict v = take_project(d, x, bearer_is_ours, &pass.upstream_key);
        if (v != DOOR_OPEN)
            return v;
    }
    if (!keep(&x->arena, &pass.upstream_key) || !keep(&x->arena, &pass.service))
        return DOOR_NO_MEMORY;
    *out = pass;
    return DOOR_OPEN;
}
