/* plain_record: JSON values to AnyValues. */
#include "pattern/plain_record.h"

#include <stdlib.h>

#include "otlp/fields.h"
#include "otlp/wire.h"
#include "pattern/signature_json.h"
#include "util/err.h"

#define MAX_DEPTH 64

struct plain {
    struct json json;
    struct scratch *scratch;
};

static int put_value(struct plain *p, struct buf *any, unsigned depth);

static int read_text(struct plain *p, struct span *out)
{
    bool escaped;
    if (!json_read_string(&p->json, out, &escaped))
        return ERR_MALFORMED;
    if (escaped)
        *out = json_unescape(p->scratch, *out);
    return 0;
}

static int put_scalar(struct plain *p, struct buf *any)
{
    uint8_t first = json_peek(&p->json);
    struct map_value v;
    if (!json_read_scalar(&p->json, &v))
        return ERR_MALFORMED;
    switch (v.kind) {
    case MAP_ESCAPED:
        v.text = json_unescape(p->scratch, v.text);
        /* fall through */
    case MAP_STRING:
        wire_append_len(any, ANY_VALUE_STRING, v.text);
        return 0;
    case MAP_NUMBER:
        if (memchr(v.text.base, '.', v.text.len) != NULL ||
            memchr(v.text.base, 'e', v.text.len) != NULL ||
            memchr(v.text.base, 'E', v.text.len) != NULL)
            wire_append_double(any, ANY_VALUE_DOUBLE, strtod((const char *)v.text.base, NULL));
        else
            wire_append_varint(any, ANY_VALUE_INT,
                               (uint64_t)strtoll((const char *)v.text.base, NULL, 10));
        return 0;
    default:
        if (first != 'n')
            wire_append_varint(any, ANY_VALUE_BOOL, first == 't');
        return 0;
    }
}

/* The members of an object, each as a KeyValue in the field `number`. */
static int put_members(struct plain *p, struct buf *out, uint32_t number, unsigned depth)
{
    if (!json_accept(&p->json, '{'))
        return ERR_MALFORMED;
    if (json_accept(&p->json, '}'))
        return 0;
    do {
        struct buf any = {0}, pair = {0};
        struct span key;
        int rc = read_text(p, &key);
        if (rc == 0)
            rc = json_accept(&p->json, ':') ? put_value(p, &any, depth + 1) : ERR_MALFORMED;
        if (rc == 0) {
            wire_append_len(&pair, KEY_VALUE_KEY, key);
            wire_append_len(&pair, KEY_VALUE_VALUE, buf_span(&any));
            wire_append_len(out, number, buf_span(&pair));
            rc = any.err < 0 ? any.err : pair.err;
        }
        buf_done(&any);
        buf_done(&pair);
        if (rc < 0)
            return rc;
    } while (json_accept(&p->json, ','));
    return json_accept(&p->json, '}') ? out->err : ERR_MALFORMED;
}

static int put_elements(struct plain *p, struct buf *out, unsigned depth)
{
    if (!json_accept(&p->json, '['))
        return ERR_MALFORMED;
    if (json_accept(&p->json, ']'))
        return 0;
    do {
        struct buf any = {0};
        int rc = put_value(p, &any, depth + 1);
        if (rc == 0) {
            wire_append_len(out, LIST_VALUES, buf_span(&any));
            rc = any.err;
        }
        buf_done(&any);
        if (rc < 0)
            return rc;
    } while (json_accept(&p->json, ','));
    return json_accept(&p->json, ']') ? out->err : ERR_MALFORMED;
}

/* Append the fields of the AnyValue: none for null. */
static int put_value(struct plain *p, struct buf *any, unsigned depth)
{
    uint8_t c = json_peek(&p->json);
    struct buf in = {0};
    if (depth > MAX_DEPTH)
        return ERR_TOO_DEEP;
    if (c != '{' && c != '[') {
        int rc = put_scalar(p, any);
        return rc < 0 ? rc : any->err;
    }
    int rc = c == '{' ? put_members(p, &in, LIST_VALUES, depth) : put_elements(p, &in, depth);
    if (rc == 0)
        wire_append_len(any, c == '{' ? ANY_VALUE_KVLIST : ANY_VALUE_ARRAY, buf_span(&in));
    rc = rc < 0 ? rc : in.err < 0 ? in.err : any->err;
    buf_done(&in);
    return rc;
}

/* One member of the record itself. */
static int put_field(struct plain *p, struct span key, struct buf *record, struct buf *scope_logs)
{
    struct buf in = {0};
    struct span text;
    int rc;
    if (span_eq(key, SPAN("attributes")))
        return json_peek(&p->json) == '{' ? put_members(p, record, LOG_RECORD_ATTRIBUTES, 1)
                                          : ERR_MALFORMED;
    if (span_eq(key, SPAN("body"))) {
        rc = put_value(p, &in, 1);
        if (rc == 0)
            wire_append_len(record, LOG_RECORD_BODY, buf_span(&in));
    } else if (span_eq(key, SPAN("event_name"))) {
        if ((rc = read_text(p, &text)) == 0)
            wire_append_len(record, LOG_RECORD_EVENT_NAME, text);
    } else if (span_eq(key, SPAN("scope"))) {
        if ((rc = read_text(p, &text)) == 0) {
            wire_append_len(&in, SCOPE_NAME, text);
            wire_append_len(scope_logs, SCOPE_LOGS_SCOPE, buf_span(&in));
        }
    } else {
        rc = ERR_MALFORMED;
    }
    rc = rc < 0 ? rc : in.err;
    buf_done(&in);
    return rc;
}

static int read_fields(struct plain *p, struct buf *record, struct buf *scope_logs)
{
    if (!json_accept(&p->json, '{'))
        return ERR_MALFORMED;
    if (!json_accept(&p->json, '}')) {
        do {
            struct span key;
            int rc = read_text(p, &key);
            if (rc == 0)
                rc = json_accept(&p->json, ':') ? put_field(p, key, record, scope_logs)
                                                : ERR_MALFORMED;
            if (rc < 0)
                return rc;
        } while (json_accept(&p->json, ','));
        if (!json_accept(&p->json, '}'))
            return ERR_MALFORMED;
    }
    if (json_peek(&p->json) != 0 || p->json.at != p->json.end)
        return ERR_MALFORMED;
    return record->err < 0 ? record->err : scope_logs->err;
}

int plain_record_read(struct span text, struct buf *record, struct buf *scope_logs)
{
    struct plain p = {.json = {text.base, text.base + text.len}};
    if (text.len > SIGN_MAX_BODY_BYTES)
        return ERR_TOO_BIG; /* what is unescaped has this room */
    p.scratch = malloc(sizeof *p.scratch);
    if (p.scratch == NULL)
        return ERR_NOMEM;
    p.scratch->used = 0;
    int rc = read_fields(&p, record, scope_logs);
    free(p.scratch);
    return rc;
}
