/*
 * grpc_load: sends the bodies of a folder in turn over gRPC, for bench/run.sh.
 *
 *     bench_grpc_load HOST:PORT FOLDER [CONNECTIONS [SECONDS]]
 *
 * FOLDER has NN.grpc of bodies.py. Each connection (default 4) sends the next request as soon as
 * it is answered, for SECONDS (default 5), as wrk does over HTTP/1.1. h2load, which sends one
 * body only, has to be run once for each body: so many of them leave the server idle for most of
 * its time, and what waking it costs is counted with the records.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "util/buf.h"

#define BODIES_MAX 4096
#define CONNECTIONS_MAX 64
#define OUT_BYTES (256u << 10) /* written at once */
#define HEADER(name, value) \
    { \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, 0 \
    }

struct load {
    struct buf bodies[BODIES_MAX];
    size_t count, turn;
    uint64_t requests, failed;
    bool over; /* no further request is sent */
};

struct connection {
    struct load *load;
    int fd;
    nghttp2_session *session;
    struct span left; /* of the body that is being sent */
    bool is_busy;
    uint8_t out[OUT_BYTES + (32u << 10)];
    size_t out_len, out_at;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static void read_bodies(struct load *l, const char *folder)
{
    char path[4096], block[65536];
    size_t n;
    for (; l->count < BODIES_MAX; l->count++) {
        snprintf(path, sizeof path, "%s/%02zu.grpc", folder, l->count);
        FILE *f = fopen(path, "rb");
        if (f == NULL)
            break;
        while ((n = fread(block, 1, sizeof block, f)) > 0)
            buf_append(&l->bodies[l->count], span_of(block, n));
        fclose(f);
    }
    if (l->count == 0)
        give_up(folder);
}

/* ---- a connection -------------------------------------------------------- */

static ssize_t on_body(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
    struct connection *c = ctx;
    size_t n = c->left.len < room ? c->left.len : room;
    (void)session;
    (void)stream;
    (void)source;
    memcpy(to, c->left.base, n);
    c->left = span_skip(c->left, n);
    *flags |= c->left.len == 0 ? NGHTTP2_DATA_FLAG_EOF : 0;
    return (ssize_t)n;
}

static void send_request(struct connection *c)
{
    static const nghttp2_nv headers[] = {
        HEADER(":method", "POST"),
        HEADER(":scheme", "http"),
        HEADER(":path", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
        HEADER(":authority", "localhost"),
        HEADER("content-type", "application/grpc"),
        HEADER("te", "trailers"),
    };
    const nghttp2_data_provider body = {.read_callback = on_body};
    struct load *l = c->load;
    c->is_busy = !l->over;
    if (l->over)
        return;
    c->left = buf_span(&l->bodies[l->turn++ % l->count]);
    if (nghttp2_submit_request(c->session, NULL, headers, ARRAY_LEN(headers), &body, NULL) < 0)
        give_up("request");
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *ctx)
{
    struct connection *c = ctx;
    (void)session;
    (void)frame;
    (void)flags;
    if (span_eq(span_of(name, name_len), SPAN("grpc-status")))
        c->load->failed += !span_eq(span_of(value, value_len), SPAN("0"));
    return 0;
}

static int on_closed(nghttp2_session *session, int32_t stream, uint32_t error, void *ctx)
{
    struct connection *c = ctx;
    (void)session;
    (void)stream;
    c->load->requests++;
    c->load->failed += error != NGHTTP2_NO_ERROR;
    send_request(c);
    return 0;
}

static struct connection *connection_new(struct load *l, const struct sockaddr_in *to)
{
    struct connection *c = calloc(1, sizeof *c);
    nghttp2_session_callbacks *callbacks;
    int one = 1;
    if (c == NULL || nghttp2_session_callbacks_new(&callbacks) < 0)
        give_up("memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_closed);
    c->load = l;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (const struct sockaddr *)to, sizeof *to) < 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
        give_up("connect");
    if (nghttp2_session_client_new(&c->session, callbacks, c) < 0 ||
        nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0) < 0)
        give_up("session");
    nghttp2_session_callbacks_del(callbacks);
    send_request(c);
    return c;
}

static void connection_free(struct connection *c)
{
    nghttp2_session_del(c->session);
    close(c->fd);
    free(c);
}

/* Frames are gathered, so that a write is of many. */
static void fill(struct connection *c)
{
    const uint8_t *frame;
    ssize_t n;
    if (c->out_at == c->out_len)
        c->out_at = c->out_len = 0;
    while (c->out_len < OUT_BYTES && (n = nghttp2_session_mem_send(c->session, &frame)) > 0) {
        memcpy(c->out + c->out_len, frame, (size_t)n);
        c->out_len += (size_t)n;
    }
}

static void send_all(struct connection *c)
{
    for (;;) {
        fill(c);
        if (c->out_len == 0)
            return;
        ssize_t n = write(c->fd, c->out + c->out_at, c->out_len - c->out_at);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            give_up("write");
        c->out_at += (size_t)n;
    }
}

static void receive(struct connection *c)
{
    uint8_t in[65536];
    ssize_t n = read(c->fd, in, sizeof in);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || nghttp2_session_mem_recv(c->session, in, (size_t)n) < 0)
        give_up("read");
}

/* One turn of all. Returns how many wait for an answer. */
static size_t turn(struct connection *const all[], size_t count)
{
    struct pollfd polls[CONNECTIONS_MAX];
    size_t busy = 0;
    for (size_t i = 0; i < count; i++) {
        send_all(all[i]);
        busy += all[i]->is_busy;
        short more = all[i]->out_at < all[i]->out_len ? POLLOUT : 0;
        polls[i] = (struct pollfd){all[i]->fd, (short)(POLLIN | more), 0};
    }
    if (busy > 0 && poll(polls, count, 1000) < 0)
        give_up("poll");
    for (size_t i = 0; i < count && busy > 0; i++)
        if ((polls[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            receive(all[i]);
    return busy;
}

int main(int argc, char **argv)
{
    static struct load load;
    struct connection *all[CONNECTIONS_MAX];
    struct sockaddr_in to = {.sin_family = AF_INET};
    char host[64] = "";
    unsigned port = 0;
    size_t count = argc > 3 ? strtoul(argv[3], NULL, 10) : 4;
    double seconds = argc > 4 ? atof(argv[4]) : 5;
    if (argc < 3 || sscanf(argv[1], "%63[^:]:%u", host, &port) != 2 ||
        inet_pton(AF_INET, host, &to.sin_addr) != 1 || count == 0 || count > CONNECTIONS_MAX) {
        fprintf(stderr, "usage: bench_grpc_load HOST:PORT FOLDER [CONNECTIONS [SECONDS]]\n");
        return 64;
    }
    to.sin_port = htons((uint16_t)port);
    read_bodies(&load, argv[2]);
    for (size_t i = 0; i < count; i++)
        all[i] = connection_new(&load, &to);
    double end = now() + seconds;
    while (turn(all, count) > 0)
        load.over = load.over || now() >= end;
    printf("%llu requests, %llu failed\n", (unsigned long long)load.requests,
           (unsigned long long)load.failed);
    for (size_t i = 0; i < count; i++)
        connection_free(all[i]);
    for (size_t i = 0; i < load.count; i++)
        buf_done(&load.bodies[i]);
    return 0;
}
