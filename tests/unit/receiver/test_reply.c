#include "unit/test.h"

#include "otlp/grpc.h"
#include "receiver/reply.h"

/* What an exchange was answered with. */
struct rig {
    struct http_exchange exchange;
    unsigned replies;
    int status;
    char headers[1024], trailers[256]; /* "name: value\n" */
    uint8_t body[512];
    size_t body_len;
};

static void list(char *to, size_t size, const struct http_header *h, size_t n)
{
    size_t at = 0;
    to[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(to + at, size - at, "%.*s: %.*s\n", (int)h[i].name.len,
                               (const char *)h[i].name.base, (int)h[i].value.len,
                               (const char *)h[i].value.base);
}

static void on_reply(struct http_exchange *x, const struct http_response *r)
{
    struct rig *rig = x->user;
    rig->replies++;
    rig->status = r->status;
    list(rig->headers, sizeof rig->headers, r->headers, r->header_count);
    list(rig->trailers, sizeof rig->trailers, r->trailers, r->trailer_count);
    rig->body_len = r->body.len;
    if (r->body.len > 0)
        memcpy(rig->body, r->body.base, r->body.len);
}

static struct http_exchange *rig_open(struct rig *r)
{
    static const struct http_exchange_ops ops = {.reply = on_reply};
    *r = (struct rig){.exchange = {.ops = &ops, .user = r}};
    return &r->exchange;
}

static void the_form_follows_the_content_type(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        enum reply_form form;
    } rows[] = {
        {"application/x-protobuf", REPLY_PROTOBUF},
        {"Application/X-Protobuf ; charset=x", REPLY_PROTOBUF},
        {"application/protobuf", REPLY_PROTOBUF},
        {"application/json", REPLY_JSON},
        {"application/json; charset=utf-8", REPLY_JSON},
        {"application/grpc", REPLY_GRPC},
        {"application/grpc+proto", REPLY_GRPC},
        {"application/x-protobufs", REPLY_JSON},
        {"text/plain", REPLY_JSON},
        {"", REPLY_JSON},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(reply_form_of(span_str(rows[i].type)) == rows[i].form, "'%s'", rows[i].type);
}

static void success(void **state)
{
    (void)state;
    static const struct {
        enum reply_form form;
        const char *headers, *trailers;
        struct span body;
    } rows[] = {
        {REPLY_PROTOBUF, "content-type: application/x-protobuf\n", "", {NULL, 0}},
        {REPLY_JSON, "content-type: application/json\n", "", {(const uint8_t *)"{}", 2}},
        {REPLY_GRPC,
         "content-type: application/grpc\n",
         "grpc-status: 0\n",
         {(const uint8_t *)"\0\0\0\0", 5}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        reply_success(rig_open(&r), rows[i].form, 0, NULL);
        assert_int_equal(r.replies, 1);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.headers, rows[i].headers);
        assert_string_equal(r.trailers, rows[i].trailers);
        assert_true(span_eq(span_of(r.body, r.body_len), rows[i].body));
    }
}

/* In the form of the request, and with nothing else changed. */
static void what_was_rejected_is_said_in_each_form(void **state)
{
    static const struct {
        enum reply_form form;
        uint64_t rejected;
        const char *type, *trailers;
        struct span body;
    } rows[] = {
        {REPLY_JSON, 0, "content-type: application/json\n", "",
         SPAN("{\"partialSuccess\":{\"errorMessage\":\"why\"}}")},
        {REPLY_JSON, 7, "content-type: application/json\n", "",
         SPAN("{\"partialSuccess\":{\"rejectedLogRecords\":\"7\",\"errorMessage\":\"why\"}}")},
        {REPLY_PROTOBUF, 7, "content-type: application/x-protobuf\n", "",
         SPAN("\x0a\x07\x08\x07\x12\x03why")},
        {REPLY_GRPC, 7, "content-type: application/grpc\n", "grpc-status: 0\n",
         SPAN("\0\0\0\0\x09\x0a\x07\x08\x07\x12\x03why")},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        reply_success(rig_open(&r), rows[i].form, rows[i].rejected, "why");
        assert_int_equal(r.status, 200);
        assert_string_equal(r.headers, rows[i].type);
        assert_string_equal(r.trailers, rows[i].trailers);
        assert_row(span_eq(span_of(r.body, r.body_len), rows[i].body), "row %zu: %.*s", i,
                   (int)r.body_len, (const char *)r.body);
    }
}

static void failures(void **state)
{
    (void)state;
    static const struct failure full = {
        .http_status = 503, .code = GRPC_UNAVAILABLE, .message = "full\n100%", .retry_after_s = 5};
    static const struct failure bad = {
        .http_status = 400, .code = GRPC_INVALID_ARGUMENT, .message = "bad"};
    static const struct failure method = {.http_status = 405,
                                          .code = GRPC_UNIMPLEMENTED,
                                          .message = "POST only",
                                          .allow = "POST, OPTIONS"};
    static const struct failure coding = {
        .http_status = 415, .code = GRPC_UNIMPLEMENTED, .message = "br", .offers_codings = true};
    static const struct {
        const char *name;
        enum reply_form form;
        const struct failure *failure;
        int status;
        const char *header, *body; /* a part of each */
    } rows[] = {
        {"full, JSON", REPLY_JSON, &full, 503, "content-type: application/json\nretry-after: 5\n",
         "\"retryDelay\""},
        {"full, protobuf", REPLY_PROTOBUF, &full, 503, "retry-after: 5\n", "RetryInfo"},
        {"full, gRPC", REPLY_GRPC, &full, 200,
         "grpc-status: 14\ngrpc-message: full%0A100%25\ngrpc-status-details-bin: ", NULL},
        {"bad, JSON", REPLY_JSON, &bad, 400, "content-type: application/json\n", "\"bad\""},
        {"bad, gRPC", REPLY_GRPC, &bad, 200, "grpc-status: 3\n", NULL},
        {"method", REPLY_PROTOBUF, &method, 405, "allow: POST, OPTIONS\n", "POST only"},
        {"method, gRPC", REPLY_GRPC, &method, 405,
         "content-type: application/x-protobuf\nallow: POST, OPTIONS\n", "POST only"},
        {"coding", REPLY_JSON, &coding, 415, "accept-encoding: ", "br"},
        {"coding, gRPC type", REPLY_GRPC, &coding, 415, "accept-encoding: ", "br"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        reply_failure(rig_open(&r), rows[i].form, rows[i].failure);
        assert_row(r.replies == 1 && r.status == rows[i].status, "%s: %d", rows[i].name, r.status);
        assert_row(strstr(r.headers, rows[i].header) != NULL, "%s: %s", rows[i].name, r.headers);
        assert_row((r.body_len == 0) == (rows[i].body == NULL), "%s", rows[i].name);
        if (rows[i].body != NULL)
            assert_row(memmem(r.body, r.body_len, rows[i].body, strlen(rows[i].body)) != NULL,
                       "%s: %.*s", rows[i].name, (int)r.body_len, (const char *)r.body);
        assert_row((strstr(r.headers, "retry-after") != NULL) ==
                       (rows[i].failure->retry_after_s > 0 && rows[i].form != REPLY_GRPC),
                   "%s", rows[i].name);
        assert_string_equal(r.trailers, ""); /* gRPC: trailers only, as headers */
    }
    struct rig r;
    reply_options(rig_open(&r), "POST, OPTIONS");
    assert_int_equal(r.status, 204);
    assert_string_equal(r.headers, "allow: POST, OPTIONS\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_rejected_is_said_in_each_form),
        cmocka_unit_test(the_form_follows_the_content_type),
        cmocka_unit_test(success),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
