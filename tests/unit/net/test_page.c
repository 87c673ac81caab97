#include "unit/test.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/page.h"
#include "util/clock.h"

static int write_hello(void *ctx, struct span query, struct buf *out)
{
    assert_string_equal(ctx, "ctx");
    buf_append_str(out, "hello ");
    buf_append(out, page_query(query, "name"));
    return 200;
}

static int write_not_ready(void *ctx, struct span query, struct buf *out)
{
    (void)ctx;
    (void)query;
    buf_append_str(out, "draining\n");
    return 503;
}

static int made; /* pages that were too much */

static int write_too_much(void *ctx, struct span query, struct buf *out)
{
    (void)ctx;
    made++;
    (void)query;
    ignore_code(buf_reserve(out, 64 << 20));
    return 200;
}

static int take_question(void *ctx, struct span query, struct span body, struct buf *out)
{
    (void)ctx;
    buf_append(out, page_query(query, "name"));
    buf_append_str(out, " asks ");
    buf_append(out, body);
    return 200;
}

static int open_stream(void *ctx, struct span query, struct http_exchange *x, struct buf *out)
{
    const struct http_response head = {.status = 200, .body = SPAN("one piece"), .close = true};
    (void)ctx;
    if (query.len > 0 || http_stream(x, &head) < 0) {
        buf_append_str(out, "no stream\n");
        return 501;
    }
    http_stream_end(x);
    return 0;
}

static const struct page pages[] = {
    {"/ask", "text/plain", .ask = take_question},
    {"/change", "text/plain", .ask = take_question, .is_change = true},
    {"/stream", "text/plain", .stream = open_stream},
    {"/hello", "text/x", write_hello},
    {"/readyz", "text/plain", write_not_ready},
    {"/huge", "text/plain", write_too_much},
    {"/open", "text/x", write_hello, .is_public = true},
};

static const struct asset assets[] = {
    {"/", "text/html", "\"tag0\"", {(const uint8_t *)"<p>document", 11}},
    {"/app.js", "text/javascript", "\"tag1\"", {(const uint8_t *)"run()", 5}},
};

struct rig {
    uv_loop_t loop;
    struct page_server server;
    struct budget budget;
    uint16_t port;
    char text[8192];
};

static void rig_open_with(struct rig *r, const struct page_opts *how)
{
    struct error err = {{0}};
    char address[LISTENER_ADDR_BYTES];
    struct page_opts opts = *how;
    *r = (struct rig){.port = 0};
    uv_loop_init(&r->loop);
    budget_init(&r->budget, 1 << 20);
    opts.pages = pages;
    opts.page_count = ARRAY_LEN(pages);
    opts.ctx = "ctx";
    opts.budget = &r->budget;
    opts.clock = how->clock != NULL ? how->clock : clock_real();
    assert_int_equal(page_server_open(&r->server, &r->loop, &opts, &err), 0);
    r->port = (uint16_t)atoi(strrchr(listener_address(&r->server.listener, address), ':') + 1);
}

static void rig_open(struct rig *r, const char *addr)
{
    rig_open_with(r, &(struct page_opts){.addr = addr});
}

static void rig_close(struct rig *r)
{
    page_server_close(&r->server);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    assert_int_equal(r->budget.used, 0);
}

/* One request over a connection of its own; the answer is in r->text. */
static int ask(struct rig *r, const char *method, const char *target, const char *host)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(r->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[512];
    size_t len = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    int n =
        snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                 method, target, host);
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    for (int i = 0; i < 1000; i++) {
        uv_run(&r->loop, UV_RUN_NOWAIT);
        ssize_t got = recv(fd, r->text + len, sizeof r->text - 1 - len, MSG_DONTWAIT);
        if (got == 0)
            break;
        len += got > 0 ? (size_t)got : 0;
        usleep(500);
    }
    r->text[len] = '\0';
    close(fd);
    return len > 12 ? atoi(r->text + 9) : 0;
}

static void methods_paths_and_statuses(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target;
        int status;
        const char *says;
    } rows[] = {
        {"GET", "/hello", 200, "\r\n\r\nhello "},
        {"GET", "/hello?a=b&name=you", 200, "\r\n\r\nhello you"},
        {"GET", "/readyz", 503, "draining"},
        {"GET", "/huge", 503, "no memory"},
        {"GET", "/", 404, "no such page"},
        {"GET", "/hello/", 404, "no such page"},
        {"POST", "/hello", 405, "allow: GET, HEAD"},
        {"POST", "/ask?name=you", 200, "\r\n\r\nyou asks "},
        {"GET", "/ask", 405, "allow: POST\r\n"},
        {"GET", "/stream", 200, "9\r\none piece\r\n0\r\n\r\n"},
        {"GET", "/stream?no", 501, "no stream"},
        {"HEAD", "/stream", 405, "allow: GET\r\n"},
        {"POST", "/nowhere", 404, "no such page"},
        {"DELETE", "/hello", 405, "use GET, HEAD"},
    };
    struct rig r;
    rig_open(&r, "127.0.0.1:0");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int status = ask(&r, rows[i].method, rows[i].target, "localhost");
        assert_row(status == rows[i].status, "%s %s: %s", rows[i].method, rows[i].target, r.text);
        assert_row(strcasestr(r.text, rows[i].says) != NULL, "%s: %s", rows[i].target, r.text);
    }
    assert_int_equal(ask(&r, "HEAD", "/hello", "localhost"), 200);
    assert_null(strstr(r.text, "\r\n\r\nhello"));
    assert_int_equal(ask(&r, "GET", "/hello", "localhost"), 200);
    assert_non_null(strcasestr(r.text, "content-type: text/x\r\n"));
    assert_non_null(strcasestr(r.text, "cache-control: no-store\r\n"));
    rig_close(&r);
}

static void on_loopback_only_our_names(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool ours;
    } rows[] = {
        {"localhost", true},
        {"localhost:8888", true},
        {"LocalHost:8888", true},
        {"127.0.0.1", true},
        {"127.0.0.1:8888", true},
        {"10.1.2.3:1", true},
        {"[::1]", true},
        {"[::1]:8888", true},
        {"evil.com", false},
        {"evil.com:8888", false},
        {"localhost5", false},
        {"localhost.evil.com", false},
        {"127.0.0.1.evil.com", false},
        {"1.2.3.4x", false},
        {"evil7:8888", false},
    };
    struct rig r;
    rig_open(&r, "127.0.0.1:0");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(ask(&r, "GET", "/hello", rows[i].host) == (rows[i].ours ? 200 : 403), "%s",
                   rows[i].host);
    rig_close(&r);
    /* Elsewhere a scraper comes by the name of a container or a service, but by no other. */
    rig_open(&r, "0.0.0.0:0");
    assert_int_equal(ask(&r, "GET", "/hello", "lipservice:8888"), 200);
    assert_int_equal(ask(&r, "GET", "/hello", "evil.com:8888"), 403);
    assert_int_equal(ask(&r, "GET", "/open", "evil.com:8888"), 403);
    assert_non_null(strstr(r.text, "telemetry.allowed_hosts"));
    rig_close(&r);
    rig_open_with(&r, &(struct page_opts){.addr = "0.0.0.0:0", .hosts = "a.example,b.example"});
    assert_int_equal(ask(&r, "GET", "/hello", "b.example:8888"), 200);
    assert_int_equal(ask(&r, "GET", "/hello", "c.example:8888"), 403);
    rig_close(&r);
}

static void foreign_scripts_may_not_post(void **state)
{
    (void)state;
    static const struct {
        const char *head; /* the host, and what comes behind it */
        int status;
    } rows[] = {
        {"localhost:8888\r\nOrigin: http://localhost:8888", 200},
        {"localhost\r\nOrigin: http://LOCALHOST", 200},
        {"localhost:8888\r\nOrigin: http://localhost:3000", 403},
        {"localhost\r\nOrigin: https://evil.com", 403},
        {"localhost\r\nOrigin: null", 403},
        {"localhost\r\nSec-Fetch-Site: same-origin", 200},
        {"localhost\r\nSec-Fetch-Site: none", 200},
        {"localhost\r\nSec-Fetch-Site: cross-site", 403},
        {"localhost\r\nSec-Fetch-Site: same-site", 403},
        {"localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: cross-site", 403},
        {"localhost", 200},
    };
    struct rig r;
    const char *const addrs[] = {"127.0.0.1:0", "0.0.0.0:0"};
    for (size_t a = 0; a < ARRAY_LEN(addrs); a++) {
        rig_open(&r, addrs[a]);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            assert_row(ask(&r, "POST", "/ask", rows[i].head) == rows[i].status, "%s", rows[i].head);
            assert_row(ask(&r, "GET", "/hello", rows[i].head) == rows[i].status, "%s",
                       rows[i].head);
            assert_row(ask(&r, "GET", "/stream", rows[i].head) == rows[i].status, "%s",
                       rows[i].head);
        }
        /* A public page may be linked to; what computes may not be made to by an image. */
        assert_int_equal(ask(&r, "GET", "/open", "localhost\r\nOrigin: https://evil.com"), 200);
        assert_int_equal(ask(&r, "GET", "/open", "localhost\r\nSec-Fetch-Site: cross-site"), 200);
        assert_int_equal(ask(&r, "GET", "/hello", "localhost\r\nOrigin: https://evil.com"), 403);
        rig_close(&r);
    }
}

static void files_have_tags_and_a_policy(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target, *head;
        int status;
        const char *says, *says_not;
    } rows[] = {
        {"GET", "/", "localhost", 200, "\r\n\r\n<p>document", "www-authenticate"},
        {"HEAD", "/", "localhost", 200, "content-length: 11\r\n", "<p>"},
        {"GET", "/app.js", "localhost", 200, "etag: \"tag1\"\r\n", "no-store"},
        {"GET", "/", "localhost", 200, "script-src 'self'; ", "unsafe"},
        {"GET", "/", "localhost", 200, "require-trusted-types-for 'script'", "unsafe"},
        {"GET", "/", "localhost", 200, "frame-ancestors 'none'", "unsafe"},
        {"GET", "/", "localhost\r\nIf-None-Match: \"tag0\"", 304, "etag: \"tag0\"", "<p>"},
        {"GET", "/", "localhost\r\nIf-None-Match: \"x\", W/\"tag0\"", 304, "policy", "<p>"},
        {"GET", "/", "localhost\r\nIf-None-Match: *", 304, "policy", "<p>"},
        {"GET", "/", "localhost\r\nIf-None-Match: \"tag1\"", 200, "<p>document", "304"},
        {"GET", "/", "localhost\r\nIf-None-Match: tag0", 200, "<p>document", "304"},
        {"GET", "/", "localhost\r\nIf-None-Match:", 200, "<p>document", "304"},
        {"GET", "/", "localhost\r\nSec-Fetch-Site: cross-site", 200, "<p>document", "304"},
        {"POST", "/", "localhost", 405, "allow: GET, HEAD", "<p>"},
        {"GET", "/app.js", "evil.com", 403, "local use", "run()"},
        {"GET", "/style.css", "localhost", 404, "no such page", "<p>"},
    };
    struct rig r;
    rig_open_with(&r,
                  &(struct page_opts){.addr = "127.0.0.1:0", .assets = assets, .asset_count = 2});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int status = ask(&r, rows[i].method, rows[i].target, rows[i].head);
        assert_row(status == rows[i].status, "%zu: %d %s", i, status, r.text);
        assert_row(strcasestr(r.text, rows[i].says) != NULL, "%zu: %s", i, r.text);
        assert_row(strcasestr(r.text, rows[i].says_not) == NULL, "%zu: %s", i, r.text);
    }
    rig_close(&r);
}

static void files_off_loopback_need_a_key(void **state)
{
    (void)state;
    struct rig r;
    struct page_opts opts = {.addr = "0.0.0.0:0", .assets = assets, .asset_count = 2};
    rig_open_with(&r, &opts);
    assert_int_equal(ask(&r, "GET", "/", "127.0.0.1"), 403);
    assert_non_null(strstr(r.text, "telemetry.admin.api_key"));
    assert_null(strstr(r.text, "<p>"));
    assert_int_equal(ask(&r, "GET", "/app.js", "127.0.0.1"), 403);
    rig_close(&r);
    /* The document asks for the key; what it is made of has no secrets. */
    opts.api_key = "0123456789abcdef";
    rig_open_with(&r, &opts);
    assert_int_equal(ask(&r, "GET", "/", "127.0.0.1"), 401);
    assert_non_null(strstr(r.text, "<p>document"));
    assert_non_null(strstr(r.text, "no-store"));
    assert_non_null(strstr(r.text, "www-authenticate: Bearer"));
    assert_int_equal(ask(&r, "GET", "/", "127.0.0.1\r\nIf-None-Match: \"tag0\""), 401);
    assert_int_equal(ask(&r, "GET", "/", "127.0.0.1\r\nx-api-key: 0123456789abcdef"), 200);
    assert_int_equal(ask(&r, "GET", "/app.js", "127.0.0.1"), 200);
    rig_close(&r);
}

static void a_browser_changes_by_json_alone(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        int status;
    } rows[] = {
        {"localhost", 200}, /* no browser */
        {"localhost\r\nContent-Type: text/plain", 200},
        {"localhost\r\nOrigin: http://localhost", 415},
        {"localhost\r\nOrigin: http://localhost\r\nContent-Type: text/plain", 415},
        {"localhost\r\nOrigin: http://localhost\r\nContent-Type: application/json", 200},
        {"localhost\r\nOrigin: http://localhost\r\nContent-Type: application/json; charset=utf-8",
         200},
        {"localhost\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/json", 415},
        {"localhost\r\nOrigin: http://evil\r\nContent-Type: application/json", 403},
    };
    struct rig r;
    rig_open(&r, "127.0.0.1:0");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(ask(&r, "POST", "/change", rows[i].head) == rows[i].status, "%s: %s",
                   rows[i].head, r.text);
    rig_close(&r);
}

static void queries(void **state)
{
    (void)state;
    static const struct {
        const char *query, *value;
    } rows[] = {
        {"", ""},  {"a=1", "1"}, {"b=2&a=1", "1"},  {"a=1&a=2", "1"}, {"aa=1", ""},
        {"a", ""}, {"a=", ""},   {"xa=1&a=3", "3"}, {"a=1=2", "1=2"}, {"&&a=4&", "4"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(span_eq(page_query(span_str(rows[i].query), "a"), span_str(rows[i].value)), "%s",
                   rows[i].query);
}

static void query_texts(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        int rc;
        const char *text;
    } rows[] = {
        {"a=warn+", 0, "warn+"},
        {"b=1", 0, ""},
        {"a=%41%2a%c3%a9", 0, "A*\xc3\xa9"},
        {"a=1234567", 0, "1234567"},
        {"a=12345678", ERR_TOO_BIG, NULL},
        {"a=%", ERR_MALFORMED, NULL},
        {"a=%4", ERR_MALFORMED, NULL},
        {"a=%4x", ERR_MALFORMED, NULL},
        {"a=%00", ERR_MALFORMED, NULL},
        {"a=%ff", ERR_MALFORMED, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[8];
        int rc = page_query_text(span_str(rows[i].query), "a", text, sizeof text);
        assert_row(rc == rows[i].rc && (rc < 0 || strcmp(text, rows[i].text) == 0), "%s: %d",
                   rows[i].query, rc);
    }
}

static void where_a_key_is_set_it_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *target, *head;
        int status;
    } rows[] = {
        {"/hello", "localhost", 401},
        {"/hello", "localhost\r\nx-api-key: 0123456789abcdef", 200},
        {"/hello", "localhost\r\nAuthorization: Bearer 0123456789abcdef", 200},
        {"/hello", "localhost\r\nAuthorization: bearer  0123456789abcdef ", 200},
        {"/hello", "localhost\r\nAuthorization: Basic 0123456789abcdef", 401},
        {"/hello", "localhost\r\nx-api-key: 0123456789abcdeF", 401},
        {"/hello", "localhost\r\nx-api-key: 0123456789abcde", 401},
        {"/hello", "localhost\r\nx-api-key: 0123456789abcdef0", 401},
        {"/hello", "localhost\r\nx-api-key: x\r\nAuthorization: Bearer 0123456789abcdef", 401},
        {"/hello", "localhost\r\nx-api-key:", 401},
        {"/open", "localhost", 200},
        {"/nowhere", "localhost", 401}, /* which pages there are is nobody's business */
    };
    struct rig r;
    unsigned refused = 0;
    rig_open_with(&r, &(struct page_opts){.addr = "127.0.0.1:0", .api_key = "0123456789abcdef"});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int status = ask(&r, "GET", rows[i].target, rows[i].head);
        assert_row(status == rows[i].status, "%s %s: %d", rows[i].target, rows[i].head, status);
        refused += status == 401;
        if (status == 401)
            assert_non_null(strstr(r.text, "www-authenticate: Bearer"));
    }
    assert_int_equal(ask(&r, "POST", "/ask", "localhost"), 401);
    assert_int_equal(r.server.refused_keys.value, refused + 1);
    rig_close(&r);
}

/* Making it costs as much when there is no room for it. */
static void a_page_without_room_is_not_made_at_once_again(void **state)
{
    (void)state;
    struct clock_fake clock;
    struct rig r;
    clock_fake_init(&clock, 1000, 0);
    rig_open_with(&r, &(struct page_opts){.addr = "127.0.0.1:0", .clock = &clock.clock});
    made = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask(&r, "GET", "/huge", "localhost"), 503);
        clock_fake_advance(&clock, 50);
    }
    assert_int_equal(made, 1);
    assert_int_equal(ask(&r, "GET", "/hello", "localhost"), 200);
    assert_int_equal(ask(&r, "GET", "/huge", "localhost"), 503);
    assert_int_equal(made, 2);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_paths_and_statuses),
        cmocka_unit_test(on_loopback_only_our_names),
        cmocka_unit_test(foreign_scripts_may_not_post),
        cmocka_unit_test(where_a_key_is_set_it_is_asked_for),
        cmocka_unit_test(files_have_tags_and_a_policy),
        cmocka_unit_test(files_off_loopback_need_a_key),
        cmocka_unit_test(a_browser_changes_by_json_alone),
        cmocka_unit_test(a_page_without_room_is_not_made_at_once_again),
        cmocka_unit_test(queries),
        cmocka_unit_test(query_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
