/* policy_sync: one walk over descriptors for each direction. */
#include "otlp/policy_sync.h"

#include <stdio.h>

#include "otlp/wire.h"
#include "policy_sync.pb-c.h"
#include "util/arena.h"
#include "util/json.h"
#include "util/utf8.h"

typedef ProtobufCMessageDescriptor descriptor;
typedef ProtobufCFieldDescriptor field;

static const descriptor *const messages[] = {
    [POLICY_SYNC_REQUEST] = &lipservice__policy__sync_request__descriptor,
    [POLICY_SYNC_RESPONSE] = &lipservice__policy__sync_response__descriptor,
};

bool policy_sync_name_is(struct span key, const char *name)
{
    size_t at = 0;
    for (; *name != '\0'; name++, at++) {
        if (at >= key.len)
            return false;
        if (*name == '_' && key.base[at] != '_') {
            name++;
            if (key.base[at] != (uint8_t)(*name - 'a' + 'A'))
                return false;
        } else if (key.base[at] != (uint8_t)*name) {
            return false;
        }
    }
    return at == key.len;
}

struct json_node policy_sync_get(struct json_node object, const char *name)
{
    struct json_each each = json_each(object);
    while (json_kind(object) == JSON_OBJECT && json_next(&each))
        if (policy_sync_name_is(each.key, name))
            return each.value;
    return (struct json_node){0};
}

bool policy_sync_integer(struct json_node n, int64_t *out)
{
    struct span text = json_string(n);
    uint64_t whole = 0;
    double real;
    bool minus = text.len > 0 && text.base[0] == '-';
    if (text.base == NULL) {
        if (json_whole(n, &whole) && whole <= INT64_MAX) {
            *out = (int64_t)whole;
            return true;
        }
        bool is_whole = json_number(n, &real) && real >= -9007199254740992.0 &&
                        real <= 9007199254740992.0 && real == (double)(int64_t)real;
        if (is_whole)
            *out = (int64_t)real;
        return is_whole;
    }
    text = span_skip(text, minus);
    if (text.len == 0 || text.len > 19)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.base[i] < '0' || text.base[i] > '9')
            return false;
        whole = whole * 10 + (uint64_t)(text.base[i] - '0');
    }
    if (whole > INT64_MAX)
        return false;
    *out = minus ? -(int64_t)whole : (int64_t)whole;
    return true;
}

/* ---- protobuf to JSON ------------------------------------------------------- */

struct reading {
    struct json j;
    bool is_bad;    /* a text that is not UTF-8 */
    bool of_policy; /* what is unknown is said */
};

static void write_message(struct reading *r, const char *key, const ProtobufCMessage *m);

static void write_value(struct reading *r, const char *key, const field *f, const void *at)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        write_message(r, key, *(ProtobufCMessage *const *)at);
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *b = at;
        struct span text = b->len > 0 ? span_of(b->data, b->len) : SPAN("");
        r->is_bad |= !utf8_is_valid(text);
        json_text(&r->j, key, text);
        break;
    }
    case PROTOBUF_C_TYPE_BOOL:
        json_bool(&r->j, key, *(const protobuf_c_boolean *)at != 0);
        break;
    case PROTOBUF_C_TYPE_INT64:
        json_i64(&r->j, key, *(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_FIXED64:
        json_u64(&r->j, key, *(const uint64_t *)at);
        break;
    default: /* uint32, enums */
        json_u64(&r->j, key, *(const uint32_t *)at);
    }
}

static size_t size_of(const field *f)
{
    return f->type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(ProtobufCMessage *)
           : f->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData)
           : f->type == PROTOBUF_C_TYPE_BOOL  ? sizeof(protobuf_c_boolean)
           : f->type == PROTOBUF_C_TYPE_INT64 || f->type == PROTOBUF_C_TYPE_FIXED64
               ? sizeof(int64_t)
               : sizeof(uint32_t);
}

static void write_field(struct reading *r, const field *f, const ProtobufCMessage *m)
{
    const uint8_t *base = (const uint8_t *)m, *at = base + f->offset;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)(const void *)(base + f->quantifier_offset);
        const uint8_t *list = *(uint8_t *const *)(const void *)at;
        if (count == 0)
            return;
        json_begin_list(&r->j, f->name);
        for (size_t i = 0; i < count; i++)
            write_value(r, NULL, f, list + i * size_of(f));
        json_end_list(&r->j);
        return;
    }
    bool is_there = f->type == PROTOBUF_C_TYPE_MESSAGE
                        ? *(ProtobufCMessage *const *)(const void *)at != NULL
                        : *(const protobuf_c_boolean *)(base + f->quantifier_offset) != 0;
    if (is_there || f->default_value != NULL)
        write_value(r, f->name, f, at);
}

static bool is_opaque(const descriptor *d)
{
    return d == &lipservice__policy__opaque__descriptor ||
           d == &lipservice__policy__label__descriptor ||
           d == &lipservice__policy__any_text__descriptor;
}

static void write_message(struct reading *r, const char *key, const ProtobufCMessage *m)
{
    const descriptor *d = m->descriptor;
    bool outer = r->of_policy;
    r->of_policy |= d == &lipservice__policy__policy__descriptor;
    json_begin(&r->j, key);
    for (unsigned i = 0; i < d->n_fields; i++)
        write_field(r, &d->fields[i], m);
    for (unsigned i = 0; i < m->n_unknown_fields && r->of_policy && !is_opaque(d); i++) {
        char name[24];
        int n = snprintf(name, sizeof name, "field %u", m->unknown_fields[i].tag);
        json_key(&r->j, span_of(name, (size_t)n));
        json_bool(&r->j, NULL, true);
    }
    json_end(&r->j);
    r->of_policy = outer;
}

/* protobuf-c does not say why it failed. */
struct memory {
    struct arena arena;
    bool has_failed;
};

static void *take(void *ctx, size_t bytes)
{
    struct memory *m = ctx;
    void *at = arena_alloc(&m->arena, bytes);
    m->has_failed |= at == NULL;
    return at;
}

static void give(void *ctx, void *at)
{
    (void)ctx;
    (void)at; /* with the arena */
}

/* Over the cap, over the budget, or the heap said no. */
static int why_no_memory(struct memory *m)
{
    int rc = arena_reserve(&m->arena, POLICY_SYNC_ARENA_BYTES - m->arena.used_bytes);
    return rc < 0 ? rc : ERR_TOO_BIG;
}

int policy_sync_to_json(struct buf *out, enum policy_sync_message kind, struct span message,
                        struct budget *budget)
{
    struct memory memory = {.has_failed = false};
    struct reading r = {.j = json_on(out)};
    if (message.len > POLICY_SYNC_BYTES)
        return ERR_TOO_BIG;
    arena_init(&memory.arena, POLICY_SYNC_ARENA_BYTES, budget);
    ProtobufCAllocator allocator = {take, give, &memory};
    ProtobufCMessage *m =
        protobuf_c_message_unpack(messages[kind], &allocator, message.len,
                                  message.len > 0 ? message.base : (const uint8_t *)"");
    int rc = m != NULL ? 0 : memory.has_failed ? why_no_memory(&memory) : ERR_MALFORMED;
    if (m != NULL)
        write_message(&r, NULL, m);
    arena_done(&memory.arena);
    return rc < 0 ? rc : r.is_bad ? ERR_MALFORMED : out->err;
}

/* ---- JSON to protobuf ------------------------------------------------------- */

#define SHOWN 64              /* bytes of a name in an error */
#define SHORT_OF "LOG_FIELD_" /* may be left out */

static int append_message(struct buf *out, const descriptor *d, struct json_node n,
                          struct error *err);

static int wrong(struct error *err, const field *f, const char *what)
{
    return err_set(err, ERR_CONFIG, "%s: must be %s", f->name, what);
}

static int append_enum(struct buf *out, const field *f, struct json_node n, struct error *err)
{
    const ProtobufCEnumDescriptor *e = f->descriptor;
    struct span text = json_string(n);
    uint64_t number = 0;
    if (json_whole(n, &number) && number <= INT32_MAX) {
        wire_append_varint(out, f->id, number);
        return 0;
    }
    for (unsigned i = 0; i < e->n_values; i++) {
        struct span name = span_str(e->values[i].name);
        bool is_same =
            span_eq(text, name) || (span_starts(name, SPAN(SHORT_OF)) &&
                                    span_ieq(text, span_skip(name, sizeof SHORT_OF - 1)));
        if (is_same) {
            wire_append_varint(out, f->id, (uint64_t)e->values[i].value);
            return 0;
        }
    }
    return wrong(err, f, "one of its names or numbers");
}

static int append_nested(struct buf *out, const field *f, struct json_node n, struct error *err)
{
    struct wire_nested at;
    const descriptor *d = f->descriptor;
    struct json_each each = json_each(n);
    bool is_path = d == &lipservice__policy__attribute_path__descriptor;
    if (json_kind(n) == JSON_OBJECT && d == &lipservice__policy__opaque__descriptor &&
        json_next(&each))
        return err_set(err, ERR_CONFIG, "%s: is carried by JSON alone", f->name);
    if (json_kind(n) != JSON_OBJECT && !is_path)
        return wrong(err, f, "an object");
    int rc = 0;
    wire_begin(out, f->id, 100, &at);
    if (json_kind(n) == JSON_OBJECT)
        rc = append_message(out, d, n, err);
    else if (json_kind(n) == JSON_STRING)
        wire_append_len(out, d->fields[0].id, json_string(n));
    for (each = json_each(n); rc == 0 && json_kind(n) == JSON_ARRAY && json_next(&each);) {
        if (json_kind(each.value) != JSON_STRING)
            rc = wrong(err, f, "a path of strings");
        wire_append_len(out, d->fields[0].id, json_string(each.value));
    }
    wire_end(out, &at);
    return rc;
}

static int append_value(struct buf *out, const field *f, struct json_node n, struct error *err)
{
    int64_t number;
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return append_nested(out, f, n, err);
    case PROTOBUF_C_TYPE_ENUM:
        return append_enum(out, f, n, err);
    case PROTOBUF_C_TYPE_BYTES:
        if (json_kind(n) != JSON_STRING)
            return wrong(err, f, "a string");
        wire_append_len(out, f->id, json_string(n));
        return 0;
    case PROTOBUF_C_TYPE_BOOL:
        if (json_kind(n) != JSON_BOOL)
            return wrong(err, f, "true or false");
        wire_append_varint(out, f->id, json_is_true(n));
        return 0;
    default:
        if (!policy_sync_integer(n, &number) || (f->type != PROTOBUF_C_TYPE_INT64 && number < 0) ||
            (f->type == PROTOBUF_C_TYPE_UINT32 && number > UINT32_MAX))
            return wrong(err, f, "a whole number");
        if (f->type == PROTOBUF_C_TYPE_FIXED64)
            wire_append_i64(out, f->id, (uint64_t)number);
        else
            wire_append_varint(out, f->id, (uint64_t)number);
        return 0;
    }
}

static int append_member(struct buf *out, const field *f, struct json_node n, struct error *err)
{
    struct json_each each = json_each(n);
    int rc = 0;
    if (f->label != PROTOBUF_C_LABEL_REPEATED)
        return append_value(out, f, n, err);
    if (json_kind(n) != JSON_ARRAY)
        return wrong(err, f, "a list");
    while (rc == 0 && json_next(&each))
        rc = append_value(out, f, each.value, err);
    return rc;
}

static const field *find_field(const descriptor *d, struct span key)
{
    for (unsigned i = 0; i < d->n_fields; i++)
        if (policy_sync_name_is(key, d->fields[i].name))
            return &d->fields[i];
    return NULL;
}

static int append_message(struct buf *out, const descriptor *d, struct json_node n,
                          struct error *err)
{
    struct json_each each = json_each(n);
    struct error inner = {{0}};
    bool is_policy = d == &lipservice__policy__policy__descriptor;
    bool has_enabled = false;
    int rc = 0;
    while (rc == 0 && json_next(&each)) {
        const field *f = find_field(d, each.key);
        if (json_kind(each.value) == JSON_NULL)
            continue;
        has_enabled |= is_policy && policy_sync_name_is(each.key, "enabled");
        rc = f != NULL      ? append_member(out, f, each.value, &inner)
             : is_opaque(d) ? 0
                            : err_set(&inner, ERR_CONFIG, "%.*s: is carried by JSON alone",
                                      (int)(each.key.len < SHOWN ? each.key.len : SHOWN),
                                      (const char *)each.key.base);
    }
    if (is_policy &&
        !has_enabled) /* which in JSON means that it is, and in proto3 that it is not */
        wire_append_varint(out, 4, 1);
    struct span id = is_policy ? json_string(json_get(n, "id")) : (struct span){0};
    if (rc < 0 && is_policy)
        err_set(err, rc, "policy \"%.*s\": %.160s", (int)(id.len < SHOWN ? id.len : SHOWN),
                id.len > 0 ? (const char *)id.base : "", inner.text);
    else if (rc < 0)
        err_set(err, rc, "%.250s", inner.text);
    return rc < 0 ? rc : out->err;
}

int policy_sync_to_protobuf(struct buf *out, enum policy_sync_message kind, struct json_node root,
                            struct error *err)
{
    return json_kind(root) == JSON_OBJECT ? append_message(out, messages[kind], root, err)
                                          : err_set(err, ERR_CONFIG, "no JSON object");
}
