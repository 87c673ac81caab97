/* tero_write: a message anew, with one field or attribute changed and all else as it came. */
#include "policy/tero_state.h"

#include "otlp/fields.h"
#include "otlp/wire.h"

static int write_names(struct buf *out, struct span message, uint32_t number,
                       const struct tero_change *c, unsigned at);

static struct span key_of(struct span entry)
{
    struct wire w;
    struct wire_field f;
    struct span key = {0};
    wire_init(&w, entry);
    while (wire_next(&w, &f))
        if (f.number == KEY_VALUE_KEY && f.type == WIRE_LEN)
            key = f.bytes; /* the last one counts */
    return key;
}

/* The maps in an AnyValue, each with the rest of the path changed. */
static int write_any(struct buf *out, struct span any, const struct tero_change *c, unsigned at)
{
    struct wire w;
    struct wire_field f;
    struct wire_nested map;
    int changed = 0;
    wire_init(&w, any);
    while (wire_next(&w, &f)) {
        if (f.number != ANY_VALUE_KVLIST || f.type != WIRE_LEN) {
            buf_append(out, f.whole);
            continue;
        }
        wire_begin(out, ANY_VALUE_KVLIST, f.bytes.len, &map);
        int rc = write_names(out, f.bytes, LIST_VALUES, c, at);
        wire_end(out, &map);
        if (rc < 0)
            return rc;
        changed |= rc;
    }
    return w.err < 0 ? w.err : changed;
}

/* The KeyValue of the name that is looked for: gone, with a new value, or changed within. */
static int write_entry(struct buf *out, const struct wire_field *entry, const struct tero_change *c,
                       unsigned at)
{
    struct wire w;
    struct wire_field f;
    struct wire_nested n, value;
    bool is_last = at + 1 == c->names;
    int changed = is_last;
    if (is_last && c->any.base == NULL)
        return 1;
    wire_begin(out, entry->number, entry->bytes.len + c->any.len, &n);
    wire_init(&w, entry->bytes);
    while (wire_next(&w, &f)) {
        if (f.number != KEY_VALUE_VALUE || f.type != WIRE_LEN) {
            buf_append(out, f.whole);
        } else if (!is_last) {
            wire_begin(out, KEY_VALUE_VALUE, f.bytes.len, &value);
            int rc = write_any(out, f.bytes, c, at + 1);
            wire_end(out, &value);
            if (rc < 0)
                return rc;
            changed |= rc;
        }
    }
    if (is_last)
        wire_append_len(out, KEY_VALUE_VALUE, c->any);
    wire_end(out, &n);
    return w.err < 0 ? w.err : changed;
}

/* A new attribute, with maps for the rest of its path. */
static void create(struct buf *out, uint32_t number, const struct tero_change *c, unsigned at)
{
    struct wire_nested entry, value, map;
    wire_begin(out, number, c->any.len, &entry);
    wire_append_len(out, KEY_VALUE_KEY, c->path[at]);
    if (at + 1 == c->names) {
        wire_append_len(out, KEY_VALUE_VALUE, c->any);
    } else {
        wire_begin(out, KEY_VALUE_VALUE, c->any.len, &value);
        wire_begin(out, ANY_VALUE_KVLIST, c->any.len, &map);
        create(out, LIST_VALUES, c, at + 1);
        wire_end(out, &map);
        wire_end(out, &value);
    }
    wire_end(out, &entry);
}

/* Of a name that comes twice each is changed: what is to be hidden must not stay. */
static int write_names(struct buf *out, struct span message, uint32_t number,
                       const struct tero_change *c, unsigned at)
{
    struct wire w;
    struct wire_field f;
    int changed = 0;
    bool is_there = false;
    wire_init(&w, message);
    while (wire_next(&w, &f)) {
        if (f.number != number || f.type != WIRE_LEN || !span_eq(key_of(f.bytes), c->path[at])) {
            buf_append(out, f.whole);
            continue;
        }
        is_there = true;
        int rc = write_entry(out, &f, c, at);
        if (rc < 0)
            return rc;
        changed |= rc;
    }
    if (!is_there && c->may_create) {
        create(out, number, c, at);
        changed = 1;
    }
    return w.err < 0 ? w.err : changed;
}

int tero_write_attrs(struct buf *out, struct span message, uint32_t number,
                     const struct tero_change *change)
{
    int rc = write_names(out, message, number, change, 0);
    return out->err < 0 ? out->err : rc;
}

int tero_write_inner(struct buf *out, struct span around, uint32_t number,
                     const struct tero_change *change, struct buf *inner)
{
    struct wire w;
    struct wire_field f;
    struct wire_nested n;
    buf_clear(inner);
    wire_init(&w, around);
    while (wire_next(&w, &f)) {
        bool is_inner = f.number == RESOURCE_LOGS_RESOURCE && f.type == WIRE_LEN;
        buf_append(is_inner ? inner : out, is_inner ? f.bytes : f.whole);
    }
    wire_begin(out, RESOURCE_LOGS_RESOURCE, inner->len, &n);
    int rc = write_names(out, buf_span(inner), number, change, 0);
    wire_end(out, &n);
    if (w.err < 0 || inner->err < 0 || out->err < 0)
        return w.err < 0 ? w.err : inner->err < 0 ? inner->err : out->err;
    return rc;
}

int tero_write_field(struct buf *out, struct span message, uint32_t number, struct span content)
{
    struct wire w;
    struct wire_field f;
    wire_init(&w, message);
    while (wire_next(&w, &f))
        if (f.number != number)
            buf_append(out, f.whole);
    if (content.base != NULL)
        wire_append_len(out, number, content);
    return w.err < 0 ? w.err : out->err;
}
