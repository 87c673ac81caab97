/* wire: the inner loop of everything that reads OTLP. */
#include "otlp/wire.h"

#include <string.h>

static bool fail(struct wire *w, int err)
{
    w->err = err;
    w->at = w->end;
    return false;
}

bool wire_read_varint_any(struct wire *w, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < WIRE_VARINT_BYTES; i++) {
        if (w->at == w->end)
            return fail(w, ERR_MORE);
        uint8_t byte = *w->at++;
        if (i == WIRE_VARINT_BYTES - 1 && byte > 1)
            return fail(w, ERR_MALFORMED); /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return fail(w, ERR_MALFORMED);
}

bool wire_read_tag(struct wire *w, uint32_t *number, uint32_t *type)
{
    uint64_t tag;
    if (!wire_read_varint(w, &tag))
        return false;
    if (tag > UINT32_MAX || tag >> 3 == 0)
        return fail(w, ERR_MALFORMED);
    *number = (uint32_t)(tag >> 3);
    *type = (uint32_t)(tag & 7);
    return true;
}

bool wire_skip(struct wire *w, size_t bytes)
{
    if (bytes > (size_t)(w->end - w->at))
        return fail(w, ERR_MORE);
    w->at += bytes;
    return true;
}

/* The value behind a tag, groups excepted. */
static bool read_value(struct wire *w, uint32_t type, struct wire_field *f)
{
    size_t left = (size_t)(w->end - w->at);
    switch (type) {
    case WIRE_VARINT:
        return wire_read_varint(w, &f->value);
    case WIRE_I64:
        if (left < 8)
            return fail(w, ERR_MORE);
        memcpy(&f->value, w->at, 8); /* little-endian hosts only; asserted in wire.c */
        w->at += 8;
        return true;
    case WIRE_LEN: {
        uint64_t len;
        if (!wire_read_varint(w, &len))
            return false;
        if (len > (uint64_t)(w->end - w->at))
            return fail(w, ERR_MORE);
        f->bytes = (struct span){w->at, (size_t)len};
        w->at += len;
        return true;
    }
    case WIRE_I32: {
        uint32_t value;
        if (left < 4)
            return fail(w, ERR_MORE);
        memcpy(&value, w->at, 4);
        f->value = value;
        w->at += 4;
        return true;
    }
    default:
        return fail(w, ERR_MALFORMED);
    }
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "fixed-width fields are read as they lie");

/* A group is skipped whole: deprecated since 2008, and legal. */
static bool skip_group(struct wire *w, uint32_t number, struct wire_field *f)
{
    uint32_t open[WIRE_MAX_DEPTH] = {number};
    unsigned depth = 1;
    f->groups = 1;
    const uint8_t *start = w->at;
    while (depth > 0) {
        struct wire_field inner = {0};
        uint32_t n, type;
        if (w->at == w->end)
            return fail(w, ERR_MORE);
        if (!wire_read_tag(w, &n, &type))
            return false;
        if (type == WIRE_GROUP) {
            if (depth == WIRE_MAX_DEPTH)
                return fail(w, ERR_TOO_DEEP);
            open[depth++] = n;
            if (depth > f->groups)
                f->groups = depth;
        } else if (type == WIRE_END_GROUP) {
            if (open[--depth] != n)
                return fail(w, ERR_MALFORMED);
        } else if (!read_value(w, type, &inner)) {
            return false;
        }
    }
    f->bytes = (struct span){start, (size_t)(w->at - start)};
    return true;
}

bool wire_next_any(struct wire *w, struct wire_field *f)
{
    if (w->at == w->end)
        return false;
    const uint8_t *start = w->at;
    f->value = 0;
    f->groups = 0;
    f->bytes = (struct span){0};
    if (!wire_read_tag(w, &f->number, &f->type))
        return false;
    if (f->type == WIRE_GROUP ? !skip_group(w, f->number, f) : !read_value(w, f->type, f))
        return false;
    f->whole = (struct span){start, (size_t)(w->at - start)};
    return true;
}

void wire_append_tag(struct buf *b, uint32_t number, uint32_t type)
{
    if (buf_reserve(b, WIRE_VARINT_BYTES) == 0)
        b->len =
            (size_t)(wire_put_varint(b->base + b->len, (uint64_t)number << 3 | type) - b->base);
}

static void append_raw_varint(struct buf *b, uint64_t value)
{
    if (buf_reserve(b, WIRE_VARINT_BYTES) == 0)
        b->len = (size_t)(wire_put_varint(b->base + b->len, value) - b->base);
}

void wire_append_varint(struct buf *b, uint32_t number, uint64_t value)
{
    wire_append_tag(b, number, WIRE_VARINT);
    append_raw_varint(b, value);
}

void wire_append_i64(struct buf *b, uint32_t number, uint64_t value)
{
    wire_append_tag(b, number, WIRE_I64);
    buf_append(b, (struct span){(const uint8_t *)&value, sizeof value});
}

void wire_append_double(struct buf *b, uint32_t number, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    wire_append_i64(b, number, bits);
}

void wire_append_len_head(struct buf *b, uint32_t number, size_t len)
{
    wire_append_tag(b, number, WIRE_LEN);
    append_raw_varint(b, len);
}

void wire_append_len(struct buf *b, uint32_t number, struct span content)
{
    wire_append_len_head(b, number, content.len);
    buf_append(b, content);
}

void wire_begin(struct buf *b, uint32_t number, size_t likely, struct wire_nested *n)
{
    wire_append_tag(b, number, WIRE_LEN);
    n->width = (unsigned)wire_varint_size(likely);
    if (buf_reserve(b, n->width) == 0)
        b->len += n->width;
    n->content = b->len;
}

void wire_end(struct buf *b, const struct wire_nested *n)
{
    if (buf_reserve(b, WIRE_VARINT_BYTES) < 0)
        return;
    size_t len = b->len - n->content;
    unsigned needed = (unsigned)wire_varint_size(len);
    uint8_t *head = b->base + n->content - n->width;
    if (needed != n->width)
        memmove(head + needed, head + n->width, len);
    wire_put_varint(head, len);
    b->len = n->content - n->width + needed + len;
}
