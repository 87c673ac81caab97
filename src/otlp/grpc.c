/* grpc: prefixes, status codes, trailer encodings. */
#include "otlp/grpc.h"

const char *grpc_status_name(enum grpc_status status)
{
    static const char *const names[] = {
#define X(name, code) [GRPC_##name] = #name,
        GRPC_STATUSES(X)
#undef X
    };
    return (unsigned)status < ARRAY_LEN(names) ? names[status] : "UNKNOWN";
}

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

void grpc_append_prefix(struct buf *b, uint32_t len)
{
    const uint8_t prefix[GRPC_PREFIX_BYTES] = {
        0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
    };
    buf_append(b, span_of(prefix, sizeof prefix));
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

int grpc_timeout_ms(struct span value, uint64_t *out_ms)
{
    /* clang-format off */
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {
        {'H', 3600000000000u}, {'M', 60000000000u}, {'S', 1000000000u},
        {'m', 1000000u},       {'u', 1000u},        {'n', 1u},
    };
    /* clang-format on */
    if (value.len < 2 || value.len > 9)
        return ERR_MALFORMED;
    uint64_t n = 0;
    for (size_t i = 0; i + 1 < value.len; i++) {
        if (value.base[i] < '0' || value.base[i] > '9')
            return ERR_MALFORMED;
        n = n * 10 + (value.base[i] - '0');
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (value.base[value.len - 1] != units[i].unit)
            continue;
        /* 99,999,999 hours are 3.6e20 ns: in milliseconds they fit 64 bits. */
        uint64_t ns = units[i].ns;
        *out_ms = ns >= 1000000 ? n * (ns / 1000000) : (n * ns + 999999) / 1000000;
        return 0;
    }
    return ERR_MALFORMED;
}
