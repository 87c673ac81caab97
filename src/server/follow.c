/*
 * follow: what other servers change in a database that is shared.
 *
 * Every change of a policy, a key or a team has a row in the audit log, so that is what is looked
 * at: when the database says that it has grown, and every FOLLOW_SLOW_MS besides; while it says
 * nothing (no connection, or a look finds what was not said), every FOLLOW_MS. Numbers of rows are
 * given before they are committed, so the last FOLLOW_WINDOW of them are counted again each time;
 * what they are about is read anew, which changes nothing where nothing has changed. A service that
 * is learned here may have a policy there: it is asked for as well.
 */
#include <stdlib.h>

#include "server/key_text.h"
#include "server/poll.h"
#include "util/diag.h"

#define FOLLOW_MS 500
#define FOLLOW_SLOW_MS 10000
#define FOLLOW_WINDOW 64
#define FOLLOW_SERVICES 256 /* policies read in one look */

/* One thing that may have changed. Each is read on the worker's thread and applied on the loop. */
struct news {
    struct list link;
    int64_t team, version; /* version 0: the service has no policy */
    struct buf name, document;
};

struct follow {
    struct work work;
    struct server *server;
    uv_timer_t timer;
    struct store_news *news, *next_news; /* next: of the work that is running */
    struct heard {
        uv_poll_t poll;
        struct follow *follow;
    } * heard;           /* of news; NULL: there is none */
    bool is_wanted;      /* a look, soon */
    bool was_told;       /* that something has changed, since the last look began */
    bool look_was_told;  /* before it */
    bool is_deaf;        /* a look has found what was not said */
    bool wants_news;     /* of the work that is running: to connect */
    uint64_t looked_ms;  /* monotonic */
    uint64_t connect_ms; /* monotonic: not before */
    int64_t last, count, next_last, next_count; /* of the window */
    struct list policies;                       /* of struct news */
    struct list teams, keys;
    unsigned policy_count;
    bool has_keys; /* keys or teams have changed */
    bool is_running;
};

static void free_news(struct list *all)
{
    LIST_EACH (at, all) {
        struct news *n = container_of(at, struct news, link);
        list_remove(at);
        buf_done(&n->name);
        buf_done(&n->document);
        free(n);
    }
}

static struct news *add_news(struct list *all, int64_t team, struct span name)
{
    struct news *n = calloc(1, sizeof *n);
    if (n == NULL)
        return NULL;
    n->team = team;
    buf_append(&n->name, name);
    list_append(all, &n->link);
    return n;
}

/* ---- on the thread ------------------------------------------------------ */

static int take_window(void *ctx, const struct store_value *row)
{
    struct follow *f = ctx;
    f->next_last = row[0].number;
    f->next_count = row[1].number;
    return 1;
}

static bool is_known(const struct follow *f, int64_t team, struct span name)
{
    for (const struct list *at = f->policies.next; at != &f->policies; at = at->next) {
        const struct news *n = container_of(at, const struct news, link);
        if (n->team == team && span_eq(buf_span(&n->name), name))
            return true;
    }
    return false;
}

static int take_audit(void *ctx, const struct store_value *row)
{
    struct follow *f = ctx;
    if (!span_starts(row[1].text, SPAN("policy."))) {
        f->has_keys = true;
        return 0;
    }
    if (is_known(f, row[0].number, row[2].text))
        return 0;
    if (f->policy_count++ >= FOLLOW_SERVICES)
        return ERR_FULL;
    return add_news(&f->policies, row[0].number, row[2].text) == NULL ? ERR_NOMEM : 0;
}

static int take_policy(void *ctx, const struct store_value *row)
{
    struct news *n = ctx;
    n->version = row[0].number;
    buf_append(&n->document, row[1].text);
    return n->document.err;
}

static int read_policies(struct follow *f, struct store *s)
{
    int rc = 0;
    for (struct list *at = f->policies.next; at != &f->policies && rc >= 0; at = at->next) {
        struct news *n = container_of(at, struct news, link);
        const struct store_value v[] = {store_int(n->team), store_text(buf_span(&n->name))};
        rc = store_run(s,
                       "SELECT p.version, p.document FROM policies p "
                       "JOIN services s ON s.id = p.service_id "
                       "WHERE s.team_id = $1 AND s.name = $2 AND p.is_active = 1",
                       v, 2, take_policy, n);
    }
    return rc;
}

static int take_team(void *ctx, const struct store_value *row)
{
    struct follow *f = ctx;
    struct news *n = add_news(&f->teams, row[0].number, row[1].text);
    if (n != NULL)
        n->version = row[2].number;
    return n == NULL ? ERR_NOMEM : 0;
}

/* Its digest as the name, its role as the document. */
static int take_key(void *ctx, const struct store_value *row)
{
    struct follow *f = ctx;
    struct news *n = add_news(&f->keys, row[1].number, row[3].text);
    if (n == NULL)
        return ERR_NOMEM;
    struct key key = {.id = row[0].number,
                      .ends_ms = row[4].kind == STORE_NULL ? INT64_MAX : row[4].number};
    if (!role_parse(row[2].text, &key.role) || key_text_from_hex(row[3].text, key.sha256) < 0)
        key.id = 0; /* of a later version */
    buf_append(&n->document, span_of(&key, sizeof key));
    return n->document.err;
}

static int read_keys(struct follow *f, struct store *s)
{
    int rc =
        store_run(s, "SELECT id, name, is_operator FROM teams ORDER BY id", NULL, 0, take_team, f);
    return rc < 0 ? rc
                  : store_run(s, "SELECT id, team_id, role, sha256, ends_ms FROM keys", NULL, 0,
                              take_key, f);
}

static int run_follow(struct work *w, struct store *s)
{
    struct follow *f = container_of(w, struct follow, work);
    if (f->wants_news)
        ignore_code(store_news_open(&f->next_news, s)); /* else a later look tries again */
    const struct store_value from = store_int(f->last - FOLLOW_WINDOW);
    int rc = store_run(s, "SELECT COALESCE(MAX(id), 0), COUNT(*) FROM audit WHERE id > $1", &from,
                       1, take_window, f);
    if (rc >= 0 && (f->next_last != f->last || f->next_count != f->count))
        rc = store_run(s, "SELECT team_id, action, subject FROM audit WHERE id > $1 ORDER BY id",
                       &from, 1, take_audit, f);
    if (rc >= 0)
        rc = read_policies(f, s);
    if (rc >= 0 && f->has_keys)
        rc = read_keys(f, s);
    return rc < 0 ? rc : 0;
}

/* ---- on the loop -------------------------------------------------------- */

static void apply_teams(struct follow *f)
{
    struct registry *r = &f->server->registry;
    LIST_EACH (at, &f->teams) {
        const struct news *n = container_of(at, struct news, link);
        if (registry_team(r, n->team) == NULL &&
            registry_add_team(r, n->team, buf_span(&n->name), n->version != 0) < 0)
            diag(DIAG_ERROR, "follow", "a team of another server has no room here", "%s", "");
    }
}

static void apply_keys(struct follow *f)
{
    struct registry *r = &f->server->registry;
    LIST_EACH (at, &f->keys) {
        const struct news *n = container_of(at, struct news, link);
        struct key key;
        memcpy(&key, n->document.base, sizeof key);
        key.team = registry_team(r, n->team);
        if (key.id == 0 || key.team == NULL)
            continue;
        if (registry_key(r, key.id) != NULL)
            registry_end_key(r, key.id, key.ends_ms);
        else if (key.ends_ms > server_unix_ms(f->server) && registry_add_key(r, &key) < 0)
            diag(DIAG_ERROR, "follow", "a key of another server has no room here", "%s", "");
    }
}

static void apply_policies(struct follow *f)
{
    struct registry *r = &f->server->registry;
    LIST_EACH (at, &f->policies) {
        const struct news *n = container_of(at, struct news, link);
        struct team *team = registry_team(r, n->team);
        struct service *service =
            team == NULL ? NULL : registry_find_service(r, team, buf_span(&n->name));
        if (service == NULL || n->version == 0 || n->version == service->policy.version)
            continue; /* who asks for a service that is not known here makes it known */
        if (registry_set_policy(r, service, n->version, buf_span(&n->document)) == 0)
            poll_wake(f->server, service);
        else
            diag(DIAG_ERROR, "policy_not_handed_out", "no memory for a policy of another server",
                 "version=%lld", (long long)n->version);
    }
}

/* ---- what the database says ---------------------------------------------- */

static void on_heard_closed(uv_handle_t *handle)
{
    free(container_of((uv_poll_t *)handle, struct heard, poll));
}

static void stop_hearing(struct follow *f)
{
    if (f->heard != NULL) {
        f->heard->follow = NULL;
        uv_close((uv_handle_t *)&f->heard->poll, on_heard_closed);
    }
    f->heard = NULL;
    store_news_close(f->news);
    f->news = NULL;
}

static void look_soon(struct follow *f);

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct follow *f = container_of(poll, struct heard, poll)->follow;
    (void)events;
    if (f == NULL)
        return;
    int rc = status < 0 ? ERR_UNAVAILABLE : store_news_read(f->news);
    if (rc < 0) {
        stop_hearing(f); /* the next look connects again */
    } else if (rc > 0) {
        metric_inc(&f->server->notified);
        f->was_told = true;
        f->is_deaf = false;
        look_soon(f);
    }
}

static void start_hearing(struct follow *f)
{
    if (f->next_news == NULL)
        return;
    f->news = f->next_news;
    f->next_news = NULL;
    f->heard = calloc(1, sizeof *f->heard);
    if (f->heard == NULL) {
        stop_hearing(f);
        return;
    }
    f->heard->follow = f;
    int rc = uv_poll_init(&f->server->loop, &f->heard->poll, store_news_fd(f->news));
    if (rc < 0) {
        free(f->heard);
        f->heard = NULL;
        stop_hearing(f);
        return;
    }
    f->is_wanted = true; /* what came before the first word */
    if (uv_poll_start(&f->heard->poll, UV_READABLE, on_readable) < 0)
        stop_hearing(f);
}

static void on_followed(struct work *w)
{
    struct follow *f = container_of(w, struct follow, work);
    bool is_ending = f->server->phase >= SERVER_DRAINING;
    f->is_running = false;
    if (!is_ending)
        start_hearing(f);
    if (w->rc == 0) {
        bool has_grown = f->next_last != f->last || f->next_count != f->count;
        if (has_grown && f->last != 0 && !f->was_told && !f->look_was_told)
            f->is_deaf = true;
        apply_teams(f);
        apply_keys(f);
        apply_policies(f);
        f->last = f->next_last;
        f->count = f->next_count;
    }
    free_news(&f->teams);
    free_news(&f->keys);
    free_news(&f->policies);
    if (f->is_wanted && !is_ending)
        look_soon(f);
}

/* Those that were learned here since the last look. */
static void add_fresh(struct follow *f)
{
    struct service *s;
    for (uint32_t at = 0; (s = registry_next_service(&f->server->registry, &at)) != NULL;) {
        if (!s->is_fresh || f->policy_count >= FOLLOW_SERVICES)
            continue;
        s->is_fresh = false;
        f->policy_count++;
        if (add_news(&f->policies, s->team->id, span_of(s->name, s->name_len)) == NULL)
            return;
    }
}

static void look(struct follow *f)
{
    struct server *s = f->server;
    f->policy_count = 0;
    f->look_was_told = f->was_told;
    f->is_wanted = f->was_told = s->has_fresh = false;
    f->looked_ms = clock_now_ms(s->clock);
    f->wants_news = f->news == NULL && f->looked_ms >= f->connect_ms;
    if (f->wants_news)
        f->connect_ms = f->looked_ms + FOLLOW_SLOW_MS;
    f->has_keys = false;
    add_fresh(f);
    f->work = (struct work){.run = run_follow, .done = on_followed};
    f->is_running = worker_add(s->worker, &f->work, true) == 0;
}

static void look_soon(struct follow *f)
{
    f->is_wanted = true;
    if (!f->is_running && f->server->phase < SERVER_DRAINING)
        look(f);
}

static void on_due(uv_timer_t *timer)
{
    struct follow *f = container_of(timer, struct follow, timer);
    struct server *s = f->server;
    bool is_heard = f->heard != NULL && !f->is_deaf;
    if (f->is_running || s->phase >= SERVER_DRAINING)
        return;
    if (!is_heard || s->has_fresh || clock_now_ms(s->clock) - f->looked_ms >= FOLLOW_SLOW_MS)
        look(f);
}

int follow_start(struct server *s, struct error *err)
{
    (void)err;
    if (!s->store->ops->is_shared)
        return 0;
    struct follow *f = calloc(1, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    f->server = s;
    list_init(&f->policies);
    list_init(&f->teams);
    list_init(&f->keys);
    s->follow = f;
    uv_timer_init(&s->loop, &f->timer);
    return uv_timer_start(&f->timer, on_due, FOLLOW_MS, FOLLOW_MS);
}

void follow_stop(struct server *s)
{
    if (s->follow == NULL)
        return;
    if (s->follow->heard != NULL)
        stop_hearing(s->follow);
    uv_close((uv_handle_t *)&s->follow->timer, NULL);
}

void follow_release(struct server *s)
{
    if (s->follow == NULL)
        return;
    free_news(&s->follow->policies);
    store_news_close(s->follow->next_news);
    free(s->follow);
    s->follow = NULL;
}
