/*
 * listener: one address of the configuration, as one or two listening sockets.
 *
 * Addresses: "127.0.0.1:4317", "[::1]:4317", "0.0.0.0:4317", ":4317" (every
 * address of both families), "localhost:4317" (both loopbacks; one suffices where
 * a family is missing). Port 0 lets the system choose. No DNS.
 *
 * The way down, in this order, each step when its owner sees fit:
 *     service->draining = true; listener_drain_sessions()   answers say "close"
 *     listener_stop_accepting()                             new connections are refused
 *     listener_close()                                      ends what is left
 *
 * Ownership: the caller's memory (zeroed before listener_open), which must live
 * until on_closed. The service outlives the listener and may have several.
 * Blocking: never. listener_close() may not be called from the service's callbacks.
 */
#pragma once

#include <uv.h>

#include "net/http.h"
#include "net/stream.h"
#include "util/err.h"

struct listener_opts {
    struct http_service *service;
    const char *addr;         /* "host:port" */
    uint32_t max_connections; /* beyond it: accept, close, count. 0: LISTENER_MAX_CONNECTIONS */
};

#define LISTENER_MAX_CONNECTIONS 1024 /* a file descriptor and about 2 KiB each */
#define LISTENER_ADDR_BYTES 64

struct listener {
    struct stream_set *set; /* NULL: not open */
    uv_tcp_t sockets[2];
    uint32_t socket_count;
    bool has_waiting[2]; /* a connection that could not be accepted yet */
    uv_timer_t timer;
    uint32_t max_connections;
    uint32_t open_handles;
    bool is_closing;
    void (*on_closed)(struct listener *l);
};

/* Bind and listen. ERR_CONFIG: not an address. ERR_UNAVAILABLE: the port is taken, or the
 * address is not of this machine. On failure nothing is open, but handles may still be
 * closing: run the loop before the memory is freed. */
MUST_CHECK int listener_open(struct listener *l, uv_loop_t *loop, const struct listener_opts *opts,
                             struct error *err);

/* Is it an address? ERR_CONFIG: it is not. Nothing is opened. */
MUST_CHECK int listener_check(const char *addr, struct error *err);

/* Tell the sessions at once that service->draining was set. */
void listener_drain_sessions(struct listener *l);

/* Close the listening sockets, keep the connections. */
void listener_stop_accepting(struct listener *l);

/* End everything; on_closed (may be NULL) when the memory is free to go. Accepts one that
 * never opened, and calls on_closed for it at once. */
void listener_close(struct listener *l, void (*on_closed)(struct listener *l));

uint32_t listener_connections(const struct listener *l);

/* No exchange is open and no answer is unsent. */
bool listener_is_quiet(const struct listener *l);

/* "127.0.0.1:4317" of the first socket, with the port that the system chose. Returns out;
 * "" when not listening. */
const char *listener_address(const struct listener *l, char out[LISTENER_ADDR_BYTES]);
