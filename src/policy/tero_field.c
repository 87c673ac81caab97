/* tero_field: where the value of a field is. */
#include "policy/tero_state.h"

#include "otlp/fields.h"
#include "otlp/wire.h"

/* The key and the value of an encoded KeyValue. Of fields that come twice the last counts. */
static void read_entry(struct span entry, struct span *key, struct span *any)
{
    struct wire w;
    struct wire_field f;
    *key = *any = (struct span){0};
    wire_init(&w, entry);
    while (wire_next(&w, &f)) {
        if (f.number == KEY_VALUE_KEY && f.type == WIRE_LEN)
            *key = f.bytes;
        else if (f.number == KEY_VALUE_VALUE && f.type == WIRE_LEN)
            *any = f.bytes;
    }
}

/* The first attribute of that name among the KeyValues in field `number`. */
static bool find_name(struct span message, uint32_t number, struct span name, struct span *any)
{
    struct wire w;
    struct wire_field f;
    struct span key;
    wire_init(&w, message);
    while (wire_next(&w, &f)) {
        if (f.number != number || f.type != WIRE_LEN)
            continue;
        read_entry(f.bytes, &key, any);
        if (span_eq(key, name))
            return true;
    }
    return false;
}

static bool find_path(struct span message, uint32_t number, const struct tero_field *f,
                      struct span *any)
{
    for (unsigned i = 0; i < f->names; i++) {
        struct log_value map = {0};
        if (i > 0) {
            if (log_value_read(&map, *any) < 0 || map.kind != LOG_KVLIST)
                return false;
            message = map.text;
            number = LIST_VALUES;
        }
        if (!find_name(message, number, f->path[i], any))
            return false;
    }
    return true;
}

/* A Resource or a scope may come in pieces, which protobuf merges. */
static bool find_inner(struct span around, uint32_t number, const struct tero_field *f,
                       struct span *any)
{
    struct wire w;
    struct wire_field inner;
    wire_init(&w, around);
    while (wire_next(&w, &inner))
        if (inner.number == RESOURCE_LOGS_RESOURCE && inner.type == WIRE_LEN &&
            find_path(inner.bytes, number, f, any))
            return true;
    return false;
}

bool tero_attr_find(const struct tero_field *f, const struct tero_record *r, struct span *any)
{
    if (f->place == TERO_LOG)
        return find_path(r->record, LOG_RECORD_ATTRIBUTES, f, any);
    if (f->place == TERO_RESOURCE)
        return find_inner(r->resource, RESOURCE_ATTRIBUTES, f, any);
    return find_inner(r->scope, SCOPE_ATTRIBUTES, f, any);
}

static struct span schema_url(struct span around)
{
    struct wire w;
    struct wire_field f;
    struct span url = {0};
    wire_init(&w, around);
    while (wire_next(&w, &f))
        if (f.number == RESOURCE_LOGS_SCHEMA_URL && f.type == WIRE_LEN)
            url = f.bytes;
    return url;
}

static bool read_own(enum tero_log_field field, const struct tero_view *view, struct log_value *out)
{
    const struct log_record *log = &view->log;
    struct log_value v = {.kind = LOG_STRING};
    switch (field) {
    case TERO_BODY:
        *out = log->body;
        return log->body.kind != LOG_NONE;
    case TERO_SEVERITY_TEXT:
        v.text = log->severity_text;
        break;
    case TERO_EVENT_NAME:
        v.text = log->event_name;
        break;
    case TERO_TRACE_ID:
    case TERO_SPAN_ID:
        v.kind = LOG_BYTES;
        v.text = field == TERO_TRACE_ID ? log->trace_id : log->span_id;
        break;
    case TERO_RESOURCE_SCHEMA_URL:
        v.text = schema_url(view->at->resource);
        break;
    case TERO_SCOPE_SCHEMA_URL:
        v.text = schema_url(view->at->scope);
        break;
    default:
        return false;
    }
    *out = v;
    return v.text.len > 0;
}

bool tero_field_read(const struct tero_field *f, const struct tero_view *view,
                     struct log_value *out)
{
    struct span any;
    if (f->place == TERO_FIELD)
        return read_own(f->field, view, out);
    if (!tero_attr_find(f, view->at, &any))
        return false;
    *out = (struct log_value){0};
    return log_value_read(out, any) == 0;
}

struct span tero_text(const struct tero_field *f, const struct log_value *v,
                      char room[TERO_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    if (v->kind != LOG_STRING && v->kind != LOG_BYTES)
        return (struct span){0};
    if (!tero_field_is_id(f))
        return v->text.base != NULL ? v->text : SPAN("");
    size_t n = v->text.len < TERO_ID_TEXT / 2 ? v->text.len : TERO_ID_TEXT / 2;
    for (size_t i = 0; i < n; i++) {
        room[2 * i] = digits[v->text.base[i] >> 4];
        room[2 * i + 1] = digits[v->text.base[i] & 15];
    }
    return span_of(room, 2 * n);
}
