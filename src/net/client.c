/* client: the one home of libcurl, driven by libuv's polls and one timer. */
#include "net/client.h"

#include "net/address.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/buf.h"
#include "util/list.h"

#define KEEPALIVE_IDLE_S 60 /* below what load balancers allow a silent connection */
/* libcurl hands one buffer of this size to the socket in a turn of the loop, and its usual
 * 64 KiB are less than a busy turn takes in. As large as the body and no larger: the memory
 * is libcurl's, in no account, and as much as all calls together at most send. */
#define UPLOAD_BYTES_MIN (64L << 10)
#define UPLOAD_BYTES_MAX (1L << 20)
#define CA_CACHE_S \
    60 /* a CA file that was mended counts after so long, not after libcurl's day \
        */

#define FLOW_TICK_MS 250 /* between two looks at the deadlines of flows */

struct client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer, turn; /* libcurl's; and what flows wait for */
    uint32_t open_handles;
    uint32_t flow_count;
    uint32_t depth;      /* inside libcurl, or a done(): what is cancelled now is freed later */
    struct list calls;   /* in flight */
    struct list resumed; /* of them, those that go on in the next turn */
    struct list cancelled;
    char user_agent[64];
    char *http_proxy; /* HTTP_PROXY, which libcurl knows in lower case only; NULL: none */
    struct client_opts opts;
    uint64_t forgotten_ms; /* connections from before this are not used again; 0: all are */
};

struct client_call {
    struct list link, resumed;
    struct client *client;
    CURL *easy;
    struct curl_slist *headers;
    struct buf answer, head;
    size_t max_answer_bytes;
    bool keeps_head;
    size_t head_bytes;
    uint32_t timeout_ms;
    uint32_t sent; /* how often the request began */
    bool has_head; /* the last head, that of a final answer, is whole */
    bool is_cancelled;
    bool flows, is_shown;                /* its head was */
    bool waits_for_body, waits_for_room; /* the owner's turn */
    bool has_heard_all;                  /* libcurl does not listen any more */
    bool is_abandoned;                   /* the peer has closed, so the rest need not be sent */
    uint64_t moved_ms;                   /* when the peer last had its turn */
    struct client_flow flow;
    char retry_after[64];
    char content_type[128];
    char location[256];
    char error[CURL_ERROR_SIZE];
    void *ctx;
    void (*done)(void *ctx, const struct client_result *r);
    void (*piece)(void *ctx, struct span bytes);
};

/* One socket of libcurl's; it lives until its close callback. */
struct watch {
    uv_poll_t poll;
    struct client *client;
    curl_socket_t socket;
};

const char *client_library(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

static void call_free(struct client_call *call)
{
    call->is_cancelled = true; /* libcurl says that its socket ends: no reason to go on */
    list_remove(&call->link);
    list_remove(&call->resumed);
    call->client->flow_count -= call->flows;
    curl_multi_remove_handle(call->client->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    buf_done(&call->answer);
    buf_done(&call->head);
    free(call);
}

/* libcurl's codes stop here. */
static int translate(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return UV_ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY:
        return ERR_NOMEM;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return ERR_UNAVAILABLE;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return ERR_UNTRUSTED;
    default:
        return ERR_IO;
    }
}

static void enter(struct client *c)
{
    c->depth++;
}

static void leave(struct client *c)
{
    if (--c->depth > 0)
        return;
    LIST_EACH (node, &c->cancelled)
        call_free(container_of(node, struct client_call, link));
}

static void finish(struct client_call *call, CURLcode code)
{
    if (call->is_cancelled)
        return; /* leave() sees to it */
    struct client_result r = {
        .err = translate(code),
        .body = buf_span(&call->answer),
        .retry_after = span_str(call->retry_after),
        .content_type = span_str(call->content_type),
        .location = span_str(call->location),
        .head = buf_span(&call->head),
        .is_whole = code == CURLE_OK && call->answer.err == 0,
        .text = call->error[0] != '\0' ? call->error : curl_easy_strerror(code),
        .was_repeated = call->sent > 1,
    };
    long status = 0;
    curl_off_t begun_us = 0; /* when the request itself began; 0: there was no connection */
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call->easy, CURLINFO_PRETRANSFER_TIME_T, &begun_us);
    if (r.err == UV_ETIMEDOUT && begun_us == 0)
        r.err = ERR_UNAVAILABLE;
    if (call->has_head && status >= 200)
        r.err = 0; /* whatever became of the body, which may be endless or break off */
    else if (r.err == 0)
        r.err = ERR_IO;
    r.status = r.err == 0 ? (int)status : 0;
    void (*done)(void *, const struct client_result *) = call->done;
    void *ctx = call->ctx;
    /* Nothing of curl's is half-changed here; the answer lives until done() is back. */
    list_remove(&call->link);
    done(ctx, &r);
    call_free(call);
}

static void collect(struct client *c)
{
    CURLMsg *msg;
    int left;
    enter(c);
    while ((msg = curl_multi_info_read(c->multi, &left)) != NULL) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        struct client_call *call;
        CURLcode code = msg->data.result;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        finish(call, code);
    }
    leave(c);
}

static void act(struct client *c, curl_socket_t socket, int flags)
{
    int running;
    enter(c);
    curl_multi_socket_action(c->multi, socket, flags, &running);
    collect(c);
    leave(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = container_of(poll, struct watch, poll);
    struct client *c = w->client;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(c, w->socket, flags);
}

static void on_timeout(uv_timer_t *timer)
{
    act(container_of(timer, struct client, timer), CURL_SOCKET_TIMEOUT, 0);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(container_of((uv_poll_t *)handle, struct watch, poll));
}

static void look_for_end(struct client_call *call, int what);

/* libcurl says which sockets to watch; it may do so from inside any call. */
static int on_socket(CURL *easy, curl_socket_t socket, int what, void *user, void *assigned)
{
    struct client *c = user;
    struct watch *w = assigned;
    struct client_call *call = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call);
    if (call != NULL)
        look_for_end(call, what);
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) {
            curl_multi_assign(c->multi, socket, NULL);
            uv_poll_stop(&w->poll);
            uv_close((uv_handle_t *)&w->poll, on_watch_closed);
        }
        return 0;
    }
    if (w == NULL) {
        w = calloc(1, sizeof *w);
        if (w == NULL)
            return -1;
        w->client = c;
        w->socket = socket;
        if (uv_poll_init_socket(c->loop, &w->poll, socket) < 0) {
            free(w);
            return -1;
        }
        curl_multi_assign(c->multi, socket, w);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&w->poll, events, on_poll) < 0 ? -1 : 0;
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *user)
{
    struct client *c = user;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_timeout, (uint64_t)timeout_ms, 0);
    return 0;
}

/* ---- flows ---- */

static size_t on_upload(char *to, size_t one, size_t n, void *user)
{
    struct client_call *call = user;
    n *= one;
    call->moved_ms = uv_now(call->client->loop);
    bool is_over = call->is_cancelled || call->is_abandoned;
    int rc = is_over ? ERR_IO : call->flow.upload(call->ctx, (uint8_t *)to, &n);
    call->waits_for_body = rc == ERR_MORE;
    return rc == 0 ? n : rc == ERR_MORE ? CURL_READFUNC_PAUSE : CURL_READFUNC_ABORT;
}

static size_t pass_piece(struct client_call *call, struct span bytes)
{
    call->moved_ms = uv_now(call->client->loop);
    int rc = call->flow.piece(call->ctx, bytes);
    call->waits_for_room = rc == ERR_FULL;
    return rc == 0 ? bytes.len : rc == ERR_FULL ? CURL_WRITEFUNC_PAUSE : 0;
}

static int show_head(struct client_call *call)
{
    struct client_result r = {.head = buf_span(&call->head)};
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return 0;
    r.status = (int)status;
    call->is_shown = true;
    call->moved_ms = uv_now(call->client->loop);
    return call->flow.head(call->ctx, &r);
}

static bool is_late(const struct client_call *call, uint64_t now_ms)
{
    uint32_t limit_ms = call->is_shown ? call->flow.silent_timeout_ms : call->timeout_ms;
    return call->flows && limit_ms > 0 && !call->waits_for_body && !call->waits_for_room &&
           now_ms - call->moved_ms >= limit_ms;
}

/* From the start each time: done() may cancel others. */
static void end_late(struct client *c)
{
    struct client_call *late;
    do {
        late = NULL;
        LIST_EACH (node, &c->calls) {
            struct client_call *call = container_of(node, struct client_call, link);
            if (late == NULL && is_late(call, uv_now(c->loop)))
                late = call;
        }
        if (late != NULL)
            finish(late, CURLE_OPERATION_TIMEDOUT);
    } while (late != NULL);
}

static bool has_peer_closed(const struct client_call *call)
{
    curl_socket_t socket = CURL_SOCKET_BAD;
    char byte;
    curl_easy_getinfo(call->easy, CURLINFO_ACTIVESOCKET, &socket);
    if (socket == CURL_SOCKET_BAD)
        return true;
    ssize_t n = recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* The peer says no more, while libcurl waits for more of the body: it would wait for ever. An early
 * answer is complete now; without one, or when the peer takes no more, the body is of no use. */
static void look_for_end(struct client_call *call, int what)
{
    bool is_deaf = (what & CURL_POLL_IN) == 0 || what == CURL_POLL_REMOVE;
    if (!is_deaf || !call->flows || !call->waits_for_body || call->waits_for_room ||
        call->has_heard_all)
        return;
    call->has_heard_all = true;
    client_resume(call);
}

static void go_on(struct client_call *call)
{
    list_remove(&call->resumed);
    call->is_abandoned |= call->has_heard_all && has_peer_closed(call);
    if (!call->waits_for_body && !call->waits_for_room)
        return; /* it goes on by itself */
    call->waits_for_body = call->waits_for_room = false;
    call->moved_ms = uv_now(call->client->loop);
    /* libcurl says here, and nowhere else, what went wrong in what it had kept. */
    CURLcode code = curl_easy_pause(call->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK)
        finish(call, code);
}

static void on_turn(uv_timer_t *timer)
{
    struct client *c = container_of(timer, struct client, turn);
    struct list now;
    list_init(&now);
    while (!list_is_empty(&c->resumed)) {
        struct list *node = c->resumed.next;
        list_remove(node);
        list_append(&now, node);
    }
    enter(c);
    while (!list_is_empty(&now))
        go_on(container_of(now.next, struct client_call, resumed));
    end_late(c);
    collect(c);
    leave(c);
    if (c->flow_count > 0)
        uv_timer_start(&c->turn, on_turn, list_is_empty(&c->resumed) ? FLOW_TICK_MS : 0, 0);
}

void client_resume(struct client_call *call)
{
    struct client *c = call->client;
    if (!list_is_empty(&call->resumed) || call->is_cancelled)
        return;
    list_append(&c->resumed, &call->resumed);
    uv_timer_start(&c->turn, on_turn, 0, 0);
}

/* ---- answers ---- */

static size_t on_answer(char *data, size_t one, size_t n, void *user)
{
    struct client_call *call = user;
    size_t room = call->max_answer_bytes - call->answer.len;
    long status = 0;
    n *= one;
    if (call->is_cancelled)
        return 0; /* ends the transfer */
    if (call->flows)
        return pass_piece(call, span_of(data, n));
    if (call->piece != NULL)
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) {
        call->piece(call->ctx, span_of(data, n));
        return n;
    }
    buf_append(&call->answer, span_of(data, n < room ? n : room));
    if (n > room)
        call->answer.err = ERR_TOO_BIG;
    return call->answer.err == 0 ? n : 0; /* 0 ends the transfer */
}

/* Copy the value of one header of the answer, cut to fit. */
static void take_header(char *out, size_t size, struct span line, const char *name)
{
    struct span prefix = span_str(name);
    if (line.len <= prefix.len || !span_ieq(span_of(line.base, prefix.len), prefix))
        return;
    line = span_skip(line, prefix.len);
    while (line.len > 0 && (line.base[line.len - 1] == '\r' || line.base[line.len - 1] == '\n'))
        line.len--;
    line = span_trim(line);
    if (line.len >= size)
        line.len = size - 1;
    memcpy(out, line.base, line.len);
    out[line.len] = '\0';
}

static size_t on_header(char *data, size_t one, size_t n, void *user)
{
    struct client_call *call = user;
    struct span line = span_of(data, n * one);
    if (call->is_cancelled)
        return 0; /* ends the transfer */
    call->head_bytes += line.len;
    if (call->head_bytes > CLIENT_HEAD_BYTES)
        return 0;                           /* ends the transfer */
    if (span_starts(line, SPAN("HTTP/"))) { /* what came before was interim, or a proxy's */
        call->retry_after[0] = call->content_type[0] = call->location[0] = '\0';
        call->has_head = false;
        buf_clear(&call->head);
    } else if (call->keeps_head && !call->has_head) { /* behind it trailers come */
        buf_append(&call->head, line);
        if (call->head.err != 0)
            return 0; /* ends the transfer */
    }
    call->has_head |= span_eq(line, SPAN("\r\n")) || span_eq(line, SPAN("\n"));
    take_header(call->retry_after, sizeof call->retry_after, line, "retry-after:");
    take_header(call->content_type, sizeof call->content_type, line, "content-type:");
    take_header(call->location, sizeof call->location, line, "location:");
    if (call->flows && call->has_head && !call->is_shown && show_head(call) != 0)
        return 0;
    return n * one;
}

int client_open(struct client **out, uv_loop_t *loop, const struct client_opts *opts)
{
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->loop = loop;
    c->opts = *opts;
    strncpy(c->user_agent, opts->user_agent, sizeof c->user_agent - 1);
    list_init(&c->calls);
    list_init(&c->resumed);
    list_init(&c->cancelled);
    const char *proxy = getenv("http_proxy") == NULL ? getenv("HTTP_PROXY") : NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || (c->multi = curl_multi_init()) == NULL) {
        free(c);
        return ERR_NOMEM;
    }
    if (proxy != NULL && proxy[0] != '\0' && (c->http_proxy = strdup(proxy)) == NULL) {
        curl_multi_cleanup(c->multi);
        curl_global_cleanup();
        free(c);
        return ERR_NOMEM;
    }
    uv_timer_init(loop, &c->timer);
    uv_timer_init(loop, &c->turn);
    c->open_handles = 2;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)opts->max_idle_connections);
    *out = c;
    return 0;
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    if (--c->open_handles > 0)
        return;
    free(c->http_proxy);
    free(c);
}

void client_close(struct client *c)
{
    if (c == NULL)
        return;
    LIST_EACH (node, &c->calls)
        call_free(container_of(node, struct client_call, link));
    curl_multi_cleanup(c->multi); /* closes idle connections: on_socket() removes their polls */
    c->timer.data = c->turn.data = c;
    uv_close((uv_handle_t *)&c->timer, on_client_closed);
    uv_close((uv_handle_t *)&c->turn, on_client_closed);
    curl_global_cleanup();
}

static struct curl_slist *copy_headers(const char *const *headers)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; headers != NULL && headers[i] != NULL; i++) {
        struct curl_slist *longer = curl_slist_append(list, headers[i]);
        if (longer == NULL) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    /* libcurl would wait for a "100 Continue" before larger bodies. */
    struct curl_slist *longer = curl_slist_append(list, "Expect:");
    if (longer == NULL)
        curl_slist_free_all(list);
    return longer;
}

static void set_body(CURL *e, struct span body, size_t upload_bytes)
{
    size_t most = upload_bytes > 0 ? upload_bytes : (size_t)UPLOAD_BYTES_MAX;
    long upload = (long)(body.len < most ? body.len : most);
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, body.len > 0 ? (const char *)body.base : "");
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE,
                     upload > UPLOAD_BYTES_MIN ? upload : UPLOAD_BYTES_MIN);
}

/* What is sent first is not sent again: there is no way back in such a body. */
static void set_flow(struct client_call *call)
{
    CURL *e = call->easy;
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, 0L);
    if (call->flow.length == 0)
        return;
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, NULL);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->flow.length);
    curl_easy_setopt(e, CURLOPT_READFUNCTION, on_upload);
    curl_easy_setopt(e, CURLOPT_READDATA, call);
}

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Whom to trust, who we are, and by which way. */
static void set_route(const struct client *c, CURL *e, const struct client_request *r)
{
    const struct route none = {0}, *route = r->route != NULL ? r->route : &none;
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, route->insecure_skip_verify ? 0L : 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, route->insecure_skip_verify ? 0L : 2L);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* What was read before the reload must not outlive it: until that is too old anyway, none is
     * used. */
    bool is_stale = c->forgotten_ms > 0 && uv_now(c->loop) - c->forgotten_ms < CA_CACHE_S * 1000u;
    curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, is_stale ? 0L : (long)CA_CACHE_S);
#endif
    if (is_set(route->ca_file)) {
        curl_easy_setopt(e, CURLOPT_CAINFO, route->ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL); /* or the system's would be trusted besides */
        curl_easy_setopt(e, CURLOPT_PROXY_CAINFO, route->ca_file);
    }
    if (is_set(route->cert_file)) {
        curl_easy_setopt(e, CURLOPT_SSLCERT, route->cert_file);
        curl_easy_setopt(e, CURLOPT_SSLKEY, route->key_file);
    }
    /* The server's headers, its key among them, are not for the proxy. */
    curl_easy_setopt(e, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (is_set(route->proxy_url)) {
        curl_easy_setopt(e, CURLOPT_PROXY, route->proxy_url);
        curl_easy_setopt(e, CURLOPT_NOPROXY, ""); /* that of the environment is for its proxies */
    } else if (c->http_proxy != NULL && strncasecmp(r->url, "http://", 7) == 0) {
        curl_easy_setopt(e, CURLOPT_PROXY, c->http_proxy);
    }
}

/* A connection from before a reload is not used. libcurl cuts ages to whole seconds, so one less,
 * of which 0 would be none. */
static void set_age(const struct client *c, CURL *e)
{
    if (c->forgotten_ms == 0)
        return;
    uint64_t age_s = (uv_now(c->loop) - c->forgotten_ms) / 1000;
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, age_s < 2 ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_MAXLIFETIME_CONN, (long)(age_s < 2 ? 1 : age_s - 1));
}

#if LIBCURL_VERSION_NUM >= 0x075000
/* The connection stands, and the request is about to leave. */
static int on_request(void *user, char *ip, char *own_ip, int port, int own_port)
{
    struct client_call *call = user;
    if (call->is_cancelled)
        return CURL_PREREQFUNC_ABORT;
    (void)ip;
    (void)own_ip;
    (void)port;
    (void)own_port;
    call->sent++;
    return CURL_PREREQFUNC_OK;
}
#endif

/* The address that a name has now is not one that a user may have us ask. */
static curl_socket_t open_public(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)user;
    (void)purpose;
    return address_is_public(&address->addr)
               ? socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol)
               : CURL_SOCKET_BAD;
}

static void set_request(struct client_call *call, const struct client_request *r)
{
    struct client *c = call->client;
    CURL *e = call->easy;
    curl_easy_setopt(e, CURLOPT_URL, r->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, call->headers);
    set_route(c, e, r);
    if (r->is_public) {
        curl_easy_setopt(e, CURLOPT_PROXY, "");
        curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_public);
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L); /* none that another call made */
        curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    }
    curl_easy_setopt(e, CURLOPT_USERAGENT, c->user_agent);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* a silent name server holds a thread, not us */
#endif
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)c->opts.connect_timeout_ms);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    set_age(c, e);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(e, CURLOPT_PRIVATE, call);
#if LIBCURL_VERSION_NUM >= 0x075000
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, call);
#endif
    bool is_post = strcmp(r->method, "POST") == 0;
    if (is_post || r->body.len > 0)
        set_body(e, r->body, r->upload_bytes);
    if (call->flows)
        set_flow(call);
    if (!is_post)
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
    if (strcmp(r->method, "HEAD") == 0)
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L); /* no body comes, whatever its length says */
}

int client_send(struct client *c, const struct client_request *r, struct client_call **out)
{
    struct client_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return ERR_NOMEM;
    call->client = c;
    call->ctx = r->ctx;
    call->done = r->done;
    call->piece = r->piece;
    call->keeps_head = r->keeps_head;
    call->timeout_ms = r->timeout_ms;
    call->flows = r->flow != NULL;
    if (call->flows)
        call->flow = *r->flow;
    call->moved_ms = uv_now(c->loop);
    call->answer.budget = call->head.budget = r->budget;
    call->max_answer_bytes = r->max_answer_bytes > 0 ? r->max_answer_bytes : CLIENT_ANSWER_BYTES;
    list_init(&call->link);
    list_init(&call->resumed);
    call->easy = curl_easy_init();
    call->headers = copy_headers(r->headers);
    if (call->easy == NULL || call->headers == NULL)
        goto fail;

    set_request(call, r);
    if (curl_multi_add_handle(c->multi, call->easy) != CURLM_OK)
        goto fail;
    list_append(&c->calls, &call->link);
    c->flow_count += call->flows;
    if (call->flows && !uv_is_active((uv_handle_t *)&c->turn))
        uv_timer_start(&c->turn, on_turn, FLOW_TICK_MS, 0);
    if (out != NULL)
        *out = call;
    return 0;

fail:
    if (call->easy != NULL)
        curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    free(call);
    return ERR_NOMEM;
}

void client_forget_connections(struct client *c)
{
    c->forgotten_ms = uv_now(c->loop);
}

void client_cancel(struct client_call *call)
{
    struct client *c = call->client;
    if (c->depth == 0) {
        call_free(call);
        return;
    }
    call->is_cancelled = true;
    list_remove(&call->link);
    list_append(&c->cancelled, &call->link);
}
