/* grpc: prefixes, status codes, trailer encodings. */
#include "otlp/grpc.h"

#include "otlp/wire.h"

enum grpc_status grpc_prefix(struct span body, size_t max_bytes, size_t *total)
{
    if (body.len < GRPC_PREFIX_BYTES || body.base[0] > 1)
        return GRPC_INTERNAL;
    size_t len = (size_t)body.base[1] << 24 | (size_t)body.base[2] << 16 |
                 (size_t)body.base[3] << 8 | body.base[4];
    if (len > max_bytes)
        return GRPC_RESOURCE_EXHAUSTED;
    *total = GRPC_PREFIX_BYTES + len;
    return GRPC_OK;
}

enum grpc_status grpc_message(struct span body, size_t max_bytes, struct grpc_message *out)
{
    size_t total = 0;
    enum grpc_status status = grpc_prefix(body, max_bytes, &total);
    if (status != GRPC_OK)
        return status;
    if (body.len < total)
        return GRPC_INTERNAL;
    if (body.len > total)
        return GRPC_UNIMPLEMENTED;
    *out = (struct grpc_message){
        .is_compressed = body.base[0] == 1,
        .bytes = span_skip(body, GRPC_PREFIX_BYTES),
    };
    return GRPC_OK;
}

void grpc_append_percent(struct buf *b, struct span text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.base[i];
        if (c >= ' ' && c <= '~' && c != '%') {
            buf_append_byte(b, c);
            continue;
        }
        buf_append_byte(b, '%');
        buf_append_byte(b, (uint8_t)hex[c >> 4]);
        buf_append_byte(b, (uint8_t)hex[c & 15]);
    }
}

void grpc_append_base64(struct buf *b, struct span bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t word = (uint32_t)bytes.base[i] << 16;
        if (left > 1)
            word |= (uint32_t)bytes.base[i + 1] << 8;
        if (left > 2)
            word |= bytes.base[i + 2];
        size_t count = left > 2 ? 4 : left + 1;
        for (size_t d = 0; d < count; d++)
            buf_append_byte(b, (uint8_t)digits[word >> (18 - 6 * d) & 63]);
    }
}

bool grpc_is_content_type(struct span content_type)
{
    const struct span name = SPAN("application/grpc");
    if (content_type.len < name.len || !span_ieq(span_of(content_type.base, name.len), name))
        return false;
    if (content_type.len == name.len)
        return true;
    uint8_t next = content_type.base[name.len];
    return next == '+' || next == ';' || next == ' ';
}

bool grpc_is_protobuf(struct span content_type)
{
    for (size_t i = 0; i < content_type.len; i++)
        if (content_type.base[i] == ';')
            content_type.len = i;
    content_type = span_trim(content_type);
    return span_ieq(content_type, SPAN("application/grpc")) ||
           span_ieq(content_type, SPAN("application/grpc+proto"));
}

int grpc_timeout(struct span text, uint64_t *ms)
{
    static const struct {
        char unit;
        uint64_t times, over; /* milliseconds are value * times / over */
    } units[] = {{'H', 3600000, 1}, {'M', 60000, 1}, {'S', 1000, 1},
                 {'m', 1, 1},       {'u', 1, 1000},  {'n', 1, 1000000}};
    uint64_t value = 0;
    if (text.len < 2 || text.len > GRPC_TIMEOUT_DIGITS + 1)
        return ERR_MALFORMED;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.base[i] < '0' || text.base[i] > '9')
            return ERR_MALFORMED;
        value = value * 10 + (text.base[i] - '0');
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (units[i].unit != text.base[text.len - 1])
            continue;
        *ms = value * units[i].times / units[i].over;
        return 0;
    }
    return ERR_MALFORMED;
}

int grpc_health_service(struct span message, struct span *name)
{
    struct wire w;
    struct wire_field f;
    struct span found = {0};
    wire_init(&w, message);
    while (wire_next(&w, &f))
        if (f.number == 1 && f.type == WIRE_LEN)
            found = f.bytes;
    if (w.err == 0)
        *name = found;
    return w.err;
}

void grpc_health_message(enum grpc_health health, uint8_t out[GRPC_HEALTH_BYTES])
{
    /* Not compressed, two bytes: field 1, a varint. */
    const uint8_t message[GRPC_HEALTH_BYTES] = {
        0, 0, 0, 0, 2, 1 << 3 | WIRE_VARINT, (uint8_t)health};
    memcpy(out, message, sizeof message);
}
