/* listener: addresses, sockets, and the timer of their connections. */
#include "net/listener.h"

#include <stdio.h>
#include <stdlib.h>

#define BACKLOG 511    /* as nginx; the kernel cuts it to its own limit */
#define CLOSING_MAX 64 /* connections that were ended for others in the same turn */
#define TICK_MS 1000   /* deadlines are in seconds */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* ---- addresses ---- */

/* clang-format off */
static const struct {
    const char *host;
    const char *hosts[2]; /* the second may be missing on a machine without IPv6 */
} names[] = {
    {"localhost", {"127.0.0.1", "::1"}},
    {"",          {"0.0.0.0", "::"}},
};
/* clang-format on */

static int split(const char *addr, char host[64], int *port)
{
    const char *colon = strrchr(addr, ':');
    if (colon == NULL || colon[1] == 0 || strlen(colon + 1) > 5)
        return ERR_CONFIG;
    *port = 0;
    for (const char *c = colon + 1; *c != 0; c++) {
        if (*c < '0' || *c > '9')
            return ERR_CONFIG;
        *port = *port * 10 + (*c - '0');
    }
    size_t len = (size_t)(colon - addr);
    if (len >= 2 && addr[0] == '[' && addr[len - 1] == ']') {
        addr++;
        len -= 2;
    } else if (memchr(addr, ':', len) != NULL) {
        return ERR_CONFIG; /* an IPv6 address wants brackets */
    }
    if (*port > 65535 || len >= 64)
        return ERR_CONFIG;
    memcpy(host, addr, len);
    host[len] = 0;
    return 0;
}

static int parse_host(const char *host, int port, union address *out)
{
    if (uv_ip4_addr(host, port, &out->v4) == 0)
        return 0;
    return uv_ip6_addr(host, port, &out->v6) == 0 ? 0 : ERR_CONFIG;
}

const char *listener_address(const struct listener *l, char out[LISTENER_ADDR_BYTES])
{
    union address a;
    int len = sizeof a;
    char host[INET6_ADDRSTRLEN] = "";
    out[0] = 0;
    if (l->socket_count == 0 || uv_tcp_getsockname(&l->sockets[0], &a.any, &len) < 0)
        return out;
    bool v6 = a.any.sa_family == AF_INET6;
    uv_ip_name(&a.any, host, sizeof host);
    snprintf(out, LISTENER_ADDR_BYTES, v6 ? "[%s]:%d" : "%s:%d", host,
             ntohs(v6 ? a.v6.sin6_port : a.v4.sin_port));
    return out;
}

static int own_port(const struct listener *l)
{
    char text[LISTENER_ADDR_BYTES];
    const char *colon = strrchr(listener_address(l, text), ':');
    return colon == NULL ? 0 : atoi(colon + 1);
}

/* ---- accepting ---- */

/* At the limit the connection that has been idle for longest makes room for a new one; where all
 * are at work the new one is refused. A burst waits in the backlog until those that were ended for
 * it are closed, so that the last of it is not refused for their sake. */
static void accept_on(struct listener *l, uint32_t i)
{
    struct stream_set *set = l->set;
    l->has_waiting[i] = set->count >= l->max_connections + CLOSING_MAX;
    if (l->has_waiting[i])
        return;
    bool refuse = set->count - set->closing >= l->max_connections && !stream_set_end_idle(set);
    /* Without memory the connection stays pending as well. libuv reports no other one until it is
     * accepted: on_freed() and on_tick() try again. */
    int rc = stream_accept(set, (uv_stream_t *)&l->sockets[i], refuse);
    l->has_waiting[i] = rc == ERR_NOMEM;
}

static void accept_waiting(struct listener *l)
{
    for (uint32_t i = 0; i < l->socket_count; i++)
        if (l->has_waiting[i])
            accept_on(l, i);
}

/* ---- closing ---- */

static void on_all_closed(struct listener *l)
{
    free(l->set);
    l->set = NULL;
    l->is_closing = false;
    void (*closed)(struct listener *) = l->on_closed;
    l->on_closed = NULL;
    if (closed != NULL)
        closed(l);
}

static void one_closed(struct listener *l)
{
    if (--l->open_handles == 0 && l->is_closing)
        on_all_closed(l);
}

static void on_socket_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    one_closed(container_of((uv_timer_t *)handle, struct listener, timer));
}

static void on_set_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

static void on_freed(struct stream_set *set)
{
    struct listener *l = set->turn.data;
    if (!l->is_closing)
        accept_waiting(l);
    else if (set->count == 0)
        stream_set_done(set, on_set_closed);
}

void listener_stop_accepting(struct listener *l)
{
    for (uint32_t i = 0; i < l->socket_count; i++)
        uv_close((uv_handle_t *)&l->sockets[i], on_socket_closed);
    l->socket_count = 0;
}

void listener_close(struct listener *l, void (*on_closed)(struct listener *l))
{
    l->on_closed = on_closed;
    if (l->is_closing) /* a failed listener_open() began it */
        return;
    if (l->set == NULL) {
        on_all_closed(l);
        return;
    }
    l->is_closing = true;
    listener_stop_accepting(l);
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
    if (l->set->count == 0)
        stream_set_done(l->set, on_set_closed);
    else
        stream_set_close(l->set);
}

/* ---- opening ---- */

static void on_connection(uv_stream_t *server, int status)
{
    struct listener *l = server->data;
    if (status == 0)
        accept_on(l, (uint32_t)((uv_tcp_t *)server - l->sockets));
}

static void on_tick(uv_timer_t *timer)
{
    struct listener *l = container_of(timer, struct listener, timer);
    stream_set_tick(l->set);
    accept_waiting(l);
}

/* `is_spare`: the second address of a name, whose family may be missing here. */
static int listen_on(struct listener *l, const char *host, int port, bool is_spare,
                     struct error *err)
{
    union address a = {0};
    int rc = parse_host(host, port, &a);
    if (rc < 0)
        return err_set(err, rc, "'%s' is not an IP address, and not localhost", host);

    uv_tcp_t *tcp = &l->sockets[l->socket_count];
    rc = uv_tcp_init(l->set->loop, tcp);
    if (rc < 0)
        return err_set(err, ERR_UNAVAILABLE, "cannot make a socket: %s", uv_strerror(rc));
    tcp->data = l;
    l->socket_count++;
    l->open_handles++;

    unsigned flags = a.any.sa_family == AF_INET6 ? UV_TCP_IPV6ONLY : 0;
    rc = uv_tcp_bind(tcp, &a.any, flags); /* sets SO_REUSEADDR */
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)tcp, BACKLOG, on_connection);
    if (rc == 0)
        return 0;

    if (is_spare && (rc == UV_EADDRNOTAVAIL || rc == UV_EAFNOSUPPORT)) {
        l->socket_count--;
        uv_close((uv_handle_t *)tcp, on_socket_closed);
        return 0;
    }
    if (rc == UV_EADDRINUSE)
        return err_set(err, ERR_UNAVAILABLE, "port %d on %s is taken by another process", port,
                       host);
    return err_set(err, ERR_UNAVAILABLE, "cannot listen on %s port %d: %s", host, port,
                   uv_strerror(rc));
}

static int listen_all(struct listener *l, const char *addr, struct error *err)
{
    char host[64];
    int port = 0;
    int rc = split(addr, host, &port);
    if (rc < 0)
        return err_set(err, rc, "'%s' is not host:port", addr);

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(host, names[i].host) != 0)
            continue;
        rc = listen_on(l, names[i].hosts[0], port, false, err);
        if (rc == 0)
            rc = listen_on(l, names[i].hosts[1], port != 0 ? port : own_port(l), true, err);
        return rc;
    }
    return listen_on(l, host, port, false, err);
}

int listener_check(const char *addr, struct error *err)
{
    char host[64];
    int port;
    union address a;
    if (split(addr, host, &port) < 0)
        return err_set(err, ERR_CONFIG, "'%s' is not host:port", addr);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(host, names[i].host) == 0)
            return 0;
    if (parse_host(host, port, &a) < 0)
        return err_set(err, ERR_CONFIG, "'%s' is not an IP address, and not localhost", host);
    return 0;
}

int listener_open(struct listener *l, uv_loop_t *loop, const struct listener_opts *opts,
                  struct error *err)
{
    *l = (struct listener){
        .max_connections =
            opts->max_connections > 0 ? opts->max_connections : LISTENER_MAX_CONNECTIONS,
    };
    l->set = calloc(1, sizeof *l->set);
    if (l->set == NULL)
        return ERR_NOMEM;
    int rc = stream_set_init(l->set, loop, opts->service);
    if (rc == 0)
        rc = uv_timer_init(loop, &l->timer);
    if (rc < 0) { /* neither fails in any libuv so far */
        free(l->set);
        l->set = NULL;
        return rc;
    }
    l->set->turn.data = l;
    l->set->on_freed = on_freed;
    l->open_handles = 2; /* the timer and the set's */

    rc = listen_all(l, opts->addr, err);
    if (rc == 0)
        rc = uv_timer_start(&l->timer, on_tick, TICK_MS, TICK_MS);
    if (rc < 0)
        listener_close(l, NULL);
    return rc;
}

void listener_drain_sessions(struct listener *l)
{
    if (l->set != NULL)
        stream_set_tick(l->set);
}

uint32_t listener_connections(const struct listener *l)
{
    return l->set != NULL ? l->set->count : 0;
}

bool listener_is_quiet(const struct listener *l)
{
    return l->set == NULL || stream_set_is_quiet(l->set);
}
