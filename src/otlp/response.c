/* response: the two forms of ExportLogsServiceResponse. */
#include "otlp/response.h"

#include <stdbool.h>

#include "otlp/json_object.h"
#include "otlp/wire.h"

#define PARTIAL_SUCCESS 1 /* of ExportLogsServiceResponse */
#define REJECTED 1        /* of ExportLogsPartialSuccess */
#define MESSAGE 2

static void set_rejected(struct response *r, int64_t n)
{
    r->rejected = n > 0 ? (uint64_t)n : 0;
}

static void set_message(struct response *r, struct span text)
{
    r->message_len = text.len < sizeof r->message ? text.len : sizeof r->message;
    if (r->message_len > 0)
        memcpy(r->message, text.base, r->message_len);
}

/* ---- protobuf ---------------------------------------------------------- */

static int read_partial(struct response *r, struct span message)
{
    struct wire w;
    struct wire_field f;
    wire_init(&w, message);
    while (wire_next(&w, &f)) {
        if (f.number == REJECTED && f.type == WIRE_VARINT)
            set_rejected(r, (int64_t)f.value);
        else if (f.number == MESSAGE && f.type == WIRE_LEN)
            set_message(r, f.bytes);
        else if (f.number == REJECTED || f.number == MESSAGE)
            return ERR_MALFORMED;
    }
    return w.err;
}

static int read_protobuf(struct response *r, struct span body)
{
    struct wire w;
    struct wire_field f;
    int rc = 0;
    wire_init(&w, body);
    while (rc == 0 && wire_next(&w, &f))
        if (f.number == PARTIAL_SUCCESS)
            rc = f.type == WIRE_LEN ? read_partial(r, f.bytes) : ERR_MALFORMED;
    return rc < 0 ? rc : w.err;
}

/* ---- JSON -------------------------------------------------------------- */

struct reading {
    struct response *response;
    bool is_bad;
};

static bool key_is(struct span key, const char *camel, const char *snake)
{
    return span_eq(key, span_str(camel)) || span_eq(key, span_str(snake));
}

/* A 64-bit integer as proto3 JSON has it: a string, or a number. */
static bool read_integer(const struct json_member *m, int64_t *out)
{
    uint64_t n = 0;
    bool minus = m->text.len > 0 && m->text.base[0] == '-';
    if (m->kind == JSON_INT || m->kind == JSON_NULL) {
        *out = m->kind == JSON_INT ? (int64_t)m->number : 0;
        return true;
    }
    if (m->kind != JSON_STRING || m->text.len == minus || m->text.len > 19u + minus)
        return false;
    for (size_t i = minus; i < m->text.len; i++) {
        if (m->text.base[i] < '0' || m->text.base[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(m->text.base[i] - '0');
    }
    if (n > INT64_MAX)
        return false;
    *out = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

static bool on_member(void *arg, const struct json_member *m)
{
    struct reading *r = arg;
    int64_t n;
    if (m->outer.len == 0) {
        r->is_bad |= key_is(m->key, "partialSuccess", "partial_success") &&
                     m->kind != JSON_OBJECT && m->kind != JSON_NULL;
        return !r->is_bad;
    }
    if (!key_is(m->outer, "partialSuccess", "partial_success"))
        return true;
    if (key_is(m->key, "rejectedLogRecords", "rejected_log_records")) {
        r->is_bad |= !read_integer(m, &n);
        if (!r->is_bad)
            set_rejected(r->response, n);
    } else if (key_is(m->key, "errorMessage", "error_message")) {
        r->is_bad |= m->kind != JSON_STRING && m->kind != JSON_NULL;
        set_message(r->response, m->kind == JSON_STRING ? m->text : (struct span){0});
    }
    return !r->is_bad;
}

static int read_json(struct response *r, struct span body)
{
    struct reading reading = {.response = r};
    struct json_object *j;
    if (body.len <= 2) /* {}, which is what nearly every answer is */
        return 0;
    int rc = json_object_new(&j, body.len);
    if (rc < 0)
        return rc;
    rc = json_object_visit_nested(j, body, on_member, &reading);
    json_object_free(j);
    return rc < 0 ? rc : reading.is_bad ? ERR_MALFORMED : 0;
}

/* ---- either ------------------------------------------------------------ */

static bool is_type(struct span content_type, struct span type)
{
    if (content_type.len < type.len || !span_ieq(span_of(content_type.base, type.len), type))
        return false;
    return content_type.len == type.len || content_type.base[type.len] == ';' ||
           content_type.base[type.len] == ' ';
}

int response_decode(struct response *out, struct span content_type, struct span body)
{
    int rc = ERR_UNSUPPORTED;
    *out = (struct response){0};
    if (is_type(content_type, SPAN("application/x-protobuf")))
        rc = read_protobuf(out, body);
    else if (is_type(content_type, SPAN("application/json")))
        rc = read_json(out, body);
    if (rc < 0)
        *out = (struct response){0};
    return rc;
}
