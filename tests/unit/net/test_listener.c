/* Real sockets on loopback; the client is uv's, driven by the same loop. */
#include "unit/test.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/listener.h"
#include "unit/net/probe.h"

struct rig {
    struct probe probe;
    uv_loop_t loop;
    struct listener listener;
    bool is_closed;
};

static void on_closed(struct listener *l)
{
    container_of(l, struct rig, listener)->is_closed = true;
}

static void rig_open(struct rig *r, uint32_t max_connections)
{
    struct error err = {0};
    *r = (struct rig){0};
    probe_init(&r->probe);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    const struct listener_opts opts = {
        .service = &r->probe.service,
        .addr = "127.0.0.1:0",
        .max_connections = max_connections,
    };
    assert_int_equal(listener_open(&r->listener, &r->loop, &opts, &err), 0);
}

static void rig_close(struct rig *r)
{
    listener_close(&r->listener, on_closed);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_true(r->is_closed);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    assert_int_equal(r->probe.budget.used, 0);
}

#define DEADLINE_NS UINT64_C(20000000000) /* for what must happen, however busy the machine is */

/* The server's loop, for `ms` or until nothing more happens in that time. */
static void on_stop(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void spin(struct rig *r, uint64_t ms)
{
    uv_timer_t timer;
    uv_timer_init(&r->loop, &timer);
    uv_timer_start(&timer, on_stop, ms, 0);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&r->loop, UV_RUN_NOWAIT);
}

static int dial(struct rig *r)
{
    char text[LISTENER_ADDR_BYTES];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *address = listener_address(&r->listener, text);
    a.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct timeval patience = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void say(int fd, struct span s)
{
    assert_int_equal(send(fd, s.base, s.len, MSG_NOSIGNAL), (ssize_t)s.len);
}

/* What has come by now; -1 when the connection was reset. */
static ssize_t hear(int fd, char text[4096])
{
    ssize_t n = recv(fd, text, 4095, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = 0;
    return n;
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void both_protocols_by_their_first_bytes(void **state)
{
    (void)state;
    struct rig r;
    char text[4096];
    rig_open(&r, 0);
    int fd = dial(&r);
    say(fd, SPAN(GET));
    spin(&r, 20);
    assert_true(hear(fd, text) > 0);
    assert_non_null(strstr(text, "HTTP/1.1 200 OK"));
    assert_int_equal(listener_connections(&r.listener), 1);
    close(fd);

    fd = dial(&r);
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    for (size_t i = 0; i < sizeof preface - 1; i++) { /* split across reads */
        say(fd, span_of(preface + i, 1));
        spin(&r, 2);
    }
    spin(&r, 20);
    assert_true(hear(fd, text) > 9);
    assert_int_equal(text[3], 4); /* SETTINGS */
    close(fd);

    fd = dial(&r);
    for (size_t i = 0; i < 8; i++) { /* begins like the preface, but is not */
        say(fd, span_of("PUT / HT" + i, 1));
        spin(&r, 2);
    }
    say(fd, SPAN("TP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
    spin(&r, 20);
    assert_true(hear(fd, text) > 0);
    assert_non_null(strstr(text, "HTTP/1.1 200 OK"));
    close(fd);
    spin(&r, 20);
    assert_int_equal(listener_connections(&r.listener), 0);
    rig_close(&r);
}

static void tls_is_told_apart(void **state)
{
    (void)state;
    struct rig r;
    char text[4096];
    rig_open(&r, 0);
    int fd = dial(&r);
    say(fd, SPAN("\x16"));
    spin(&r, 10);
    assert_int_equal(listener_connections(&r.listener), 1);
    say(fd, SPAN("\x03\x01\x02\x00\x01"));
    spin(&r, 20);
    assert_int_equal(hear(fd, text) > 0, 0);
    assert_int_equal(r.probe.service.faults[HTTP_FAULT_TLS].value, 1);
    assert_int_equal(listener_connections(&r.listener), 0);
    close(fd);
    rig_close(&r);
}

static void an_answer_reaches_a_half_closed_peer(void **state)
{
    (void)state;
    struct rig r;
    char text[4096];
    rig_open(&r, 0);
    int fd = dial(&r);
    say(fd, SPAN("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    shutdown(fd, SHUT_WR);
    spin(&r, 20);
    assert_non_null(r.probe.held);
    assert_false(listener_is_quiet(&r.listener));
    probe_release(&r.probe);
    spin(&r, 20);
    assert_true(hear(fd, text) > 0);
    assert_non_null(strstr(text, "HTTP/1.1 200 OK"));
    assert_int_equal(hear(fd, text), 0); /* and our end of it */
    assert_int_equal(listener_connections(&r.listener), 0);
    close(fd);
    rig_close(&r);
}

/* A refusal in the middle of a long body arrives, instead of a reset. */
static void a_refusal_arrives(void **state)
{
    (void)state;
    static uint8_t body[200000];
    struct rig r;
    char text[4096];
    rig_open(&r, 0);
    int fd = dial(&r);
    say(fd, SPAN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"));
    say(fd, span_of(body, sizeof body));
    spin(&r, 50);
    say(fd, span_of(body, sizeof body));
    spin(&r, 50);
    assert_true(hear(fd, text) > 0);
    assert_non_null(strstr(text, "HTTP/1.1 413"));
    assert_non_null(strstr(text, "connection: close"));
    assert_int_equal(hear(fd, text), 0);
    close(fd);
    spin(&r, 50);
    assert_int_equal(listener_connections(&r.listener), 0);
    rig_close(&r);
}

static void pipelined_and_late(void **state)
{
    (void)state;
    struct rig r;
    char text[4096];
    rig_open(&r, 0);
    int fd = dial(&r);
    say(fd, SPAN("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" GET
                 "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n"));
    spin(&r, 20);
    assert_int_equal(hear(fd, text), -1);
    probe_release(&r.probe);
    spin(&r, 20);
    ssize_t n = hear(fd, text);
    assert_true(n > 0);
    assert_non_null(strstr(text, "404"));
    assert_int_equal(r.probe.requests, 2);
    close(fd);
    rig_close(&r);
}

/* A body far larger than any socket buffer, to a peer that reads late, both ways. */
static void a_large_echo(void **state)
{
    (void)state;
    static uint8_t body[8 << 20], back[16384];
    struct rig r;
    rig_open(&r, 0);
    int fd = dial(&r);
    char head[128];
    int n = snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                     sizeof body);
    say(fd, span_of(head, (size_t)n));
    for (size_t at = 0; at < sizeof body;) {
        ssize_t k = send(fd, body + at, sizeof body - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k > 0)
            at += (size_t)k;
        uv_run(&r.loop, UV_RUN_NOWAIT);
    }
    uint64_t deadline = uv_hrtime() + DEADLINE_NS;
    while (r.probe.largest_body < sizeof body && uv_hrtime() < deadline)
        uv_run(&r.loop, UV_RUN_NOWAIT);
    assert_int_equal(r.probe.largest_body, sizeof body);
    size_t got = 0;
    while (got <= sizeof body && uv_hrtime() < deadline) { /* a head, and the body */
        ssize_t k = recv(fd, back, sizeof back, MSG_DONTWAIT);
        if (k > 0)
            got += (size_t)k;
        uv_run(&r.loop, UV_RUN_NOWAIT);
    }
    assert_true(got > sizeof body);
    assert_true(r.probe.budget.peak < sizeof body + 65536);
    close(fd);
    rig_close(&r);
}

#define CROWD 200

/* A request of `body` bytes; as much of it as the kernel takes now. Returns what is left. */
static size_t say_post(int fd, size_t *said, size_t body)
{
    static uint8_t zeros[1 << 20];
    char head[128];
    size_t n =
        (size_t)snprintf(head, sizeof head,
                         "POST /discard HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", body);
    while (*said < n + body) {
        bool in_head = *said < n;
        const uint8_t *from = in_head ? (const uint8_t *)head + *said : zeros;
        ssize_t k =
            send(fd, from, in_head ? n - *said : n + body - *said, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k <= 0)
            break;
        *said += (size_t)k;
    }
    return n + body - *said;
}

/* All that a crowd has sent is there at once; a turn of the loop takes no more than its part, so
 * that whoever sends has one as well. */
static void a_crowd_is_served_in_turns(void **state)
{
    (void)state;
    enum { BODY = 40000 };
    struct rig r;
    int fds[CROWD];
    rig_open(&r, 0);
    for (int i = 0; i < CROWD; i++) {
        size_t said = 0;
        fds[i] = dial(&r);
        assert_int_equal(say_post(fds[i], &said, BODY), 0);
    }
    uint64_t deadline = uv_hrtime() + DEADLINE_NS;
    int turns = 0, most = 0;
    while (r.probe.requests < CROWD && uv_hrtime() < deadline) {
        int before = r.probe.requests;
        uv_run(&r.loop, UV_RUN_NOWAIT);
        int now = r.probe.requests - before;
        most = now > most ? now : most;
        turns += now > 0;
    }
    assert_int_equal(r.probe.requests, CROWD);
    assert_row((unsigned)(most - 1) * BODY <= 4u << 20, "%d requests in a turn", most);
    assert_true(turns >= 2);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    rig_close(&r);
}

/* Again and again, larger than a socket holds: everyone is served as often as the others, and
 * few bodies are in memory at once. */
static void a_crowd_that_goes_on_shares_the_turns(void **state)
{
    (void)state;
    enum { BODY = 300000, ROUNDS = 4 };
    struct rig r;
    int fds[CROWD], answered[CROWD] = {0}, done = 0;
    size_t said[CROWD] = {0};
    char text[4096];
    rig_open(&r, 0);
    for (int i = 0; i < CROWD; i++)
        fds[i] = dial(&r);
    uint64_t deadline = uv_hrtime() + 3 * DEADLINE_NS;
    int least = 0, ahead = 0;
    while (done < CROWD * ROUNDS && uv_hrtime() < deadline) {
        uv_run(&r.loop, UV_RUN_NOWAIT);
        least = ROUNDS;
        for (int i = 0; i < CROWD; i++) {
            if (said[i] > 0 && hear(fds[i], text) > 0) {
                assert_non_null(strstr(text, "200 OK"));
                answered[i]++;
                done++;
                said[i] = 0;
            }
            if (answered[i] < ROUNDS)
                say_post(fds[i], &said[i], BODY);
            least = answered[i] < least ? answered[i] : least;
        }
        for (int i = 0; i < CROWD; i++)
            ahead = answered[i] - least > ahead ? answered[i] - least : ahead;
    }
    assert_int_equal(done, CROWD * ROUNDS);
    assert_int_equal(r.probe.requests, CROWD * ROUNDS);
    assert_int_equal(r.probe.refusals, 0);
    assert_row(ahead <= 2, "%d rounds ahead of the last", ahead);
    assert_row(r.probe.budget.peak < CROWD / 2 * BODY, "%llu bytes at once",
               (unsigned long long)r.probe.budget.peak);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    rig_close(&r);
}

/* Who reads no answers but has room for many in the kernel's buffers gets them in turns that leave
 * time for others, however many of them there are. */
static void many_answers_are_made_in_turns(void **state)
{
    (void)state;
    /* 16 KiB are 137 of these answers, and some 24 streams have a turn. */
    enum { MANY = 2000, EACH_MOST = CROWD / 4 * 137 };
    struct rig r;
    int fds[CROWD];
    char text[4096] = "";
    rig_open(&r, 0);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = dial(&r);
        for (int k = 0; k < MANY; k++)
            if (send(fds[i], GET, sizeof GET - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                break;
    }
    uint64_t deadline = uv_hrtime() + DEADLINE_NS;
    /* Until everyone has had a first turn, and has more to come. */
    while (r.probe.requests < CROWD * 150 && uv_hrtime() < deadline)
        uv_run(&r.loop, UV_RUN_NOWAIT);
    int good = dial(&r), most = 0;
    say(good, SPAN(GET));
    while (hear(good, text) <= 0 && uv_hrtime() < deadline) {
        int before = r.probe.requests;
        uv_run(&r.loop, UV_RUN_NOWAIT);
        most = r.probe.requests - before > most ? r.probe.requests - before : most;
    }
    assert_non_null(strstr(text, "200 OK"));
    assert_row(most <= EACH_MOST, "%d answers in a turn", most);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    close(good);
    rig_close(&r);
}

static bool on_no_room(void *ctx, uint64_t missing)
{
    struct rig *r = ctx;
    struct stream_victim v = {0};
    (void)missing;
    stream_set_held(r->listener.set, &v);
    if (v.stream != NULL)
        stream_evict(&v);
    return v.stream != NULL;
}

/* Answers behind a window of 0 are with us, not with the socket: when there is no room they go. */
static void answers_behind_a_shut_window_give_way(void **state)
{
    (void)state;
    /* Requests whose body does not come, and such as are answered. */
    for (int is_whole = 0; is_whole < 2; is_whole++) {
        struct rig r;
        char text[4096] = "";
        rig_open(&r, 0);
        r.probe.service.overhead = &r.probe.budget;
        r.probe.budget.reclaim = on_no_room;
        r.probe.budget.ctx = &r;
        int shut = dial(&r);
        say(shut, SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                       "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0"));
        for (uint8_t id = 1; id < 40; id += 2) {
            const uint8_t head[] = {0, 0, 6, 1, 4, 0, 0, 0, id, 0x83, 0x86, 0x84, 1, 1, 'a'};
            say(shut, span_of(head, sizeof head));
            if (is_whole)
                say(shut, span_of((const uint8_t[]){0, 0, 1, 0, 1, 0, 0, 0, id, 'x'}, 10));
        }
        spin(&r, 20);
        r.probe.budget.limit = r.probe.budget.used + 256; /* less than a connection needs */
        int early = dial(&r);
        say(early, SPAN(GET));
        spin(&r, 20);
        assert_true(hear(early, text) <= 0); /* they are too young to go */
        clock_fake_advance(&r.probe.clock, 2000);
        int good = dial(&r);
        say(good, SPAN(GET));
        uint64_t deadline = uv_hrtime() + DEADLINE_NS;
        while (hear(good, text) <= 0 && uv_hrtime() < deadline)
            spin(&r, 20);
        assert_non_null(strstr(text, "200 OK"));
        while (hear(shut, text) > 0)
            ;
        assert_int_equal(hear(shut, text), 0);
        close(early);
        close(good);
        close(shut);
        rig_close(&r);
    }
}

/* More output than the session makes at once must not wait for the next tick. */
static void a_large_echo_by_http2(void **state)
{
    (void)state;
    static uint8_t frame[9 + 16384], back[65536];
    struct rig r;
    rig_open(&r, 0);
    int fd = dial(&r);
    say(fd, SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                 "\0\0\6\4\0\0\0\0\0\0\4\177\377\377\377" /* all windows wide open */
                 "\0\0\4\10\0\0\0\0\0\177\0\0\0"
                 "\0\0\6\1\4\0\0\0\1\x83\x86\x84\x01\x01"
                 "a"));
    for (int i = 0; i < 48; i++) { /* 768 KiB: within our stream window */
        memcpy(frame, i == 47 ? "\0\100\0\0\1\0\0\0\1" : "\0\100\0\0\0\0\0\0\1", 9);
        for (size_t at = 0; at < sizeof frame;) {
            ssize_t k = send(fd, frame + at, sizeof frame - at, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (k > 0)
                at += (size_t)k;
            uv_run(&r.loop, UV_RUN_NOWAIT);
        }
    }
    uv_timer_stop(&r.listener.timer);
    uint64_t deadline = uv_hrtime() + DEADLINE_NS;
    size_t got = 0;
    while (got <= 48 * 16384 && uv_hrtime() < deadline) {
        ssize_t k = recv(fd, back, sizeof back, MSG_DONTWAIT);
        if (k > 0)
            got += (size_t)k;
        uv_run(&r.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(r.probe.requests, 1);
    assert_true(got > 48 * 16384);
    close(fd);
    rig_close(&r);
}

static void a_peer_that_does_not_read_is_cut(void **state)
{
    (void)state;
    static uint8_t body[8 << 20];
    struct rig r;
    rig_open(&r, 0);
    int fd = dial(&r);
    char head[128];
    int n = snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                     sizeof body);
    say(fd, span_of(head, (size_t)n));
    for (size_t at = 0; at < sizeof body;) {
        ssize_t k = send(fd, body + at, sizeof body - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k > 0)
            at += (size_t)k;
        uv_run(&r.loop, UV_RUN_NOWAIT);
    }
    spin(&r, 20);
    assert_false(listener_is_quiet(&r.listener));
    listener_drain_sessions(&r.listener); /* a tick */
    clock_fake_advance(&r.probe.clock, 30001);
    listener_drain_sessions(&r.listener);
    spin(&r, 20);
    assert_int_equal(listener_connections(&r.listener), 0);
    assert_int_equal(r.probe.service.faults[HTTP_FAULT_TIMEOUT].value, 1);
    close(fd);
    rig_close(&r);
}

static void connections_are_bounded(void **state)
{
    (void)state;
    struct rig r;
    char text[4096];
    rig_open(&r, 2);
    int fds[4];
    for (int i = 0; i < 4; i++)
        fds[i] = dial(&r);
    spin(&r, 20);
    assert_int_equal(listener_connections(&r.listener), 2);
    assert_int_equal(r.probe.service.faults[HTTP_FAULT_CONNECTIONS].value, 2);
    for (int i = 0; i < 2; i++) /* those that were idle for longest made room */
        assert_int_equal(hear(fds[i], text), 0);
    for (int i = 2; i < 4; i++) { /* a request under way is no idleness */
        say(fds[i], SPAN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na"));
        spin(&r, 20);
    }
    int late = dial(&r);
    spin(&r, 20);
    assert_int_equal(hear(late, text), 0);
    for (int i = 2; i < 4; i++) {
        say(fds[i], SPAN("bcde"));
        spin(&r, 20);
        assert_true(hear(fds[i], text) > 0);
    }
    close(late);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    rig_close(&r);
}

/* All of a burst is in the backlog at once, and more of it than may close in one turn. Each
 * connection is idle when the next comes, so the last of them has room. */
static void a_burst_beyond_the_limit(void **state)
{
    (void)state;
    struct rig r;
    char text[4096];
    int fds[CROWD];
    rig_open(&r, 2);
    for (int i = 0; i < CROWD; i++)
        fds[i] = dial(&r);
    say(fds[CROWD - 1], SPAN(GET));
    uint64_t deadline = uv_hrtime() + DEADLINE_NS;
    while (r.probe.requests == 0 && uv_hrtime() < deadline)
        uv_run(&r.loop, UV_RUN_NOWAIT);
    spin(&r, 20);
    assert_true(hear(fds[CROWD - 1], text) > 0);
    assert_non_null(strstr(text, "HTTP/1.1 200 OK"));
    assert_int_equal(listener_connections(&r.listener), 2);
    assert_int_equal(r.probe.service.faults[HTTP_FAULT_CONNECTIONS].value, CROWD - 2);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    rig_close(&r);
}

static void silence_is_ended(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 0);
    int silent = dial(&r), half = dial(&r);
    say(half, SPAN("PRI * "));
    spin(&r, 20);
    clock_fake_advance(&r.probe.clock, 10001);
    listener_drain_sessions(&r.listener); /* a tick */
    spin(&r, 10);
    assert_int_equal(listener_connections(&r.listener), 1);
    assert_int_equal(r.probe.service.faults[HTTP_FAULT_TIMEOUT].value, 1);
    clock_fake_advance(&r.probe.clock, 110000);
    listener_drain_sessions(&r.listener);
    spin(&r, 10);
    assert_int_equal(listener_connections(&r.listener), 0);
    close(silent);
    close(half);
    rig_close(&r);
}

static void going_down(void **state)
{
    (void)state;
    struct rig r;
    char text[4096];
    rig_open(&r, 0);
    int fd = dial(&r), late = dial(&r);
    say(fd, SPAN("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    spin(&r, 20);
    r.probe.service.draining = true;
    listener_drain_sessions(&r.listener);
    listener_stop_accepting(&r.listener);
    spin(&r, 20);
    assert_string_equal(listener_address(&r.listener, text), "");
    say(late, SPAN(GET)); /* an open connection is still served once */
    probe_release(&r.probe);
    spin(&r, 20);
    for (int i = 0; i < 2; i++) {
        int one = i == 0 ? fd : late;
        assert_true(hear(one, text) > 0);
        assert_non_null(strstr(text, "connection: close"));
        assert_int_equal(hear(one, text), 0);
    }
    assert_true(listener_is_quiet(&r.listener));
    close(fd);
    close(late);
    rig_close(&r);
}

static void closing_with_work_open(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 0);
    int fd = dial(&r);
    say(fd, SPAN("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    spin(&r, 20);
    assert_non_null(r.probe.held);
    rig_close(&r);
    assert_int_equal(r.probe.gones, 1);
    close(fd);
}

static void addresses(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct {
        const char *addr;
        int rc;
        const char *begins; /* of the actual address, or of the error */
    } rows[] = {
        {"127.0.0.1:0",   0, "127.0.0.1:"},
        {"localhost:0",   0, "127.0.0.1:"},
        {"0.0.0.0:0",     0, "0.0.0.0:"},
        {":0",            0, "0.0.0.0:"},
        {"127.0.0.1",     ERR_CONFIG, "'127.0.0.1' is not host:port"},
        {"127.0.0.1:",    ERR_CONFIG, "'127.0.0.1:' is not"},
        {"127.0.0.1:x",   ERR_CONFIG, "'127.0.0.1:x' is not"},
        {"127.0.0.1:65536", ERR_CONFIG, "'127.0.0.1:65536' is not"},
        {"::1:4317",      ERR_CONFIG, "'::1:4317' is not"},
        {"example:4317",  ERR_CONFIG, "'example' is not an IP address"},
        {"192.0.2.1:0",   ERR_UNAVAILABLE, "cannot listen on 192.0.2.1"},
    };
    /* clang-format on */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r = {0};
        struct error err = {0};
        char text[LISTENER_ADDR_BYTES];
        probe_init(&r.probe);
        uv_loop_init(&r.loop);
        const struct listener_opts opts = {.service = &r.probe.service, .addr = rows[i].addr};
        int rc = listener_open(&r.listener, &r.loop, &opts, &err);
        assert_row(rc == rows[i].rc, "%s: %d %s", rows[i].addr, rc, err.text);
        const char *got = rc == 0 ? listener_address(&r.listener, text) : err.text;
        assert_row(strncmp(got, rows[i].begins, strlen(rows[i].begins)) == 0, "%s: %s",
                   rows[i].addr, got);
        rig_close(&r);
    }
}

static void a_taken_port_is_named(void **state)
{
    (void)state;
    struct rig r;
    struct error err = {0};
    char text[LISTENER_ADDR_BYTES];
    rig_open(&r, 0);
    struct listener second = {0};
    const struct listener_opts opts = {
        .service = &r.probe.service,
        .addr = listener_address(&r.listener, text),
    };
    assert_int_equal(listener_open(&second, &r.loop, &opts, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "is taken by another process"));
    uv_run(&r.loop, UV_RUN_NOWAIT);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_protocols_by_their_first_bytes),
        cmocka_unit_test(tls_is_told_apart),
        cmocka_unit_test(an_answer_reaches_a_half_closed_peer),
        cmocka_unit_test(a_refusal_arrives),
        cmocka_unit_test(pipelined_and_late),
        cmocka_unit_test(a_large_echo),
        cmocka_unit_test(a_large_echo_by_http2),
        cmocka_unit_test(a_crowd_is_served_in_turns),
        cmocka_unit_test(a_crowd_that_goes_on_shares_the_turns),
        cmocka_unit_test(many_answers_are_made_in_turns),
        cmocka_unit_test(answers_behind_a_shut_window_give_way),
        cmocka_unit_test(a_peer_that_does_not_read_is_cut),
        cmocka_unit_test(connections_are_bounded),
        cmocka_unit_test(a_burst_beyond_the_limit),
        cmocka_unit_test(silence_is_ended),
        cmocka_unit_test(going_down),
        cmocka_unit_test(closing_with_work_open),
        cmocka_unit_test(addresses),
        cmocka_unit_test(a_taken_port_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
