/*
 * signature_json: the members of a text that is one JSON object, two levels deep, in one pass
 * that checks all of it (RFC 8259; nesting at most 64) and copies nothing but keys with escapes.
 *
 * Not simdjson, for the signature is the same for ever and on every machine: numbers of any
 * size are numbers, half a surrogate pair is U+FFFD, bytes that are not UTF-8 stay.
 */
#include "pattern/signature_json.h"

#include <string.h>

#include "pattern/signature_map.h"

#include "util/unicode.h"

#define MAX_NESTING 64

static inline bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

uint8_t json_peek_behind(struct json *j)
{
    while (j->at < j->end && is_blank(*j->at))
        j->at++;
    return j->at < j->end ? *j->at : 0;
}

static bool is_digit(struct json *j)
{
    return j->at < j->end && *j->at >= '0' && *j->at <= '9';
}

static int hex_value(uint8_t c)
{
    uint8_t low = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* The four digits of \uXXXX; -1: they are none. */
static int32_t unit_at(const uint8_t *at, const uint8_t *end)
{
    int32_t unit = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Bytes of the escape at a backslash; 0: it is none. */
static size_t escape_bytes(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 2)
        return 0;
    if (at[1] == 'u')
        return unit_at(at + 2, end) >= 0 ? 6 : 0;
    return at[1] != 0 && strchr("\"\\/bfnrt", at[1]) != NULL ? 2 : 0;
}

/* Eight or sixteen bytes at a time, up to a quote, a backslash or a control character. */
static inline const uint8_t *plain_end(const uint8_t *at, const uint8_t *end)
{
#if defined(__SSE2__)
    typedef uint8_t vector __attribute__((vector_size(16)));
    typedef char signed_vector __attribute__((vector_size(16)));
    for (; end - at >= 16; at += 16) {
        vector v;
        memcpy(&v, at, sizeof v);
        signed_vector stops =
            (signed_vector)(v == '"') | (signed_vector)(v == '\\') | (signed_vector)(v < 0x20);
        int found = __builtin_ia32_pmovmskb128(stops);
        if (found != 0)
            return at + __builtin_ctz((unsigned)found);
    }
#endif
    const uint64_t ones = 0x0101010101010101u, high = 0x80 * ones;
    for (; end - at >= 8; at += 8) {
        uint64_t v;
        memcpy(&v, at, 8);
        uint64_t quote = v ^ '"' * ones, slash = v ^ '\\' * ones;
        uint64_t found =
            (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((v - 0x20 * ones) & ~v)) &
            high;
        if (found != 0)
            return at + __builtin_ctzll(found) / 8;
    }
    while (at < end && *at != '"' && *at != '\\' && *at >= 0x20)
        at++;
    return at;
}

/* A string, from its opening quote; what is between its quotes. */
bool json_read_string(struct json *j, struct span *out, bool *escaped)
{
    if (json_peek(j) != '"')
        return false;
    const uint8_t *start = ++j->at;
    *escaped = false;
    for (;;) {
        j->at = plain_end(j->at, j->end);
        if (j->at == j->end || *j->at < 0x20)
            return false;
        if (*j->at == '"')
            break;
        size_t bytes = escape_bytes(j->at, j->end);
        if (bytes == 0)
            return false;
        *escaped = true;
        j->at += bytes;
    }
    *out = span_of(start, (size_t)(j->at++ - start));
    return true;
}

struct span json_unescape(struct scratch *scratch, struct span raw)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint8_t *out = scratch_take(scratch, raw.len);
    if (out == NULL)
        return raw; /* cannot be: see SCRATCH_BYTES */
    size_t len = 0;
    const uint8_t *at = raw.base, *end = raw.base + raw.len;
    while (at < end) {
        if (*at != '\\') {
            out[len++] = *at++;
            continue;
        }
        if (at[1] != 'u') {
            out[len++] = (uint8_t)to[strchr(from, at[1]) - from];
            at += 2;
            continue;
        }
        uint32_t cp = (uint32_t)unit_at(at + 2, end);
        at += 6;
        if (cp >= 0xd800 && cp <= 0xdbff && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
            uint32_t low = (uint32_t)unit_at(at + 2, end);
            if (low >= 0xdc00 && low <= 0xdfff) {
                cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
                at += 6;
            }
        }
        len += utf8_write(out + len, cp >= 0xd800 && cp <= 0xdfff ? 0xfffd : cp);
    }
    return span_of(out, len);
}

static bool read_digits(struct json *j)
{
    if (!is_digit(j))
        return false;
    while (is_digit(j))
        j->at++;
    return true;
}

static bool read_number(struct json *j, struct span *out)
{
    const uint8_t *start = j->at;
    j->at += *j->at == '-';
    if (j->at < j->end && *j->at == '0')
        j->at++;
    else if (!read_digits(j))
        return false;
    if (j->at < j->end && *j->at == '.') {
        j->at++;
        if (!read_digits(j))
            return false;
    }
    if (j->at < j->end && (*j->at | 0x20) == 'e') {
        j->at++;
        if (j->at < j->end && (*j->at == '+' || *j->at == '-'))
            j->at++;
        if (!read_digits(j))
            return false;
    }
    *out = span_of(start, (size_t)(j->at - start));
    return true;
}

static bool read_literal(struct json *j, struct span word)
{
    if (!span_starts(span_of(j->at, (size_t)(j->end - j->at)), word))
        return false;
    j->at += word.len;
    return true;
}

/* A value that is no object and no array. */
bool json_read_scalar(struct json *j, struct map_value *v)
{
    bool escaped;
    *v = (struct map_value){.kind = MAP_OTHER};
    switch (json_peek(j)) {
    case '"':
        if (!json_read_string(j, &v->text, &escaped))
            return false;
        v->kind = escaped ? MAP_ESCAPED : MAP_STRING;
        return true;
    case 't':
        return read_literal(j, SPAN("true"));
    case 'f':
        return read_literal(j, SPAN("false"));
    case 'n':
        return read_literal(j, SPAN("null"));
    case 0:
        return false;
    default:
        v->kind = MAP_NUMBER;
        return read_number(j, &v->text);
    }
}

static bool skip_key(struct json *j)
{
    struct span key;
    bool escaped;
    return json_read_string(j, &key, &escaped) && json_accept(j, ':');
}

/* What is open, by its depth: which of them are objects. */
struct open {
    uint64_t objects;
    unsigned depth;
};

static inline void enter(struct open *o, bool object)
{
    uint64_t bit = UINT64_C(1) << o->depth++;
    o->objects = object ? o->objects | bit : o->objects & ~bit;
}

static inline bool is_object(const struct open *o)
{
    return (o->objects >> (o->depth - 1) & 1) != 0;
}

/* The rest of an object or array that is open, and lies in `depth` others. */
static bool skip_container(struct json *j, bool object, unsigned depth)
{
    struct open o = {.depth = depth};
    struct map_value value;
    enter(&o, object);
    for (bool empty = true;;) { /* so far */
        if (!empty || json_peek(j) != (is_object(&o) ? '}' : ']')) {
            if (is_object(&o) && !skip_key(j))
                return false;
            uint8_t c = json_peek(j);
            if (c == '{' || c == '[') {
                if (o.depth == MAX_NESTING)
                    return false;
                j->at++;
                enter(&o, c == '{');
                empty = true;
                continue;
            }
            if (!json_read_scalar(j, &value))
                return false;
        }
        while (!json_accept(j, ',')) {
            if (!json_accept(j, is_object(&o) ? '}' : ']'))
                return false;
            if (--o.depth == depth)
                return true;
        }
        empty = false;
    }
}

struct reader {
    struct json json;
    struct map *map;
};

static bool read_members(struct reader *r, uint32_t outer, bool keep, unsigned depth);

/* A value, whatever it is. */
static bool read_member(struct reader *r, uint32_t outer, bool keep, struct span key,
                        unsigned depth)
{
    struct json *j = &r->json;
    struct map_value value = {.kind = MAP_OTHER};
    uint8_t c = json_peek(j);
    bool nested = c == '{' || c == '[';
    if (nested)
        value.kind = c == '{' ? MAP_OBJECT : MAP_OTHER;
    else if (!json_read_scalar(j, &value))
        return false;
    uint32_t number = keep ? map_add(r->map, outer, key, &value) : 0;
    if (!nested)
        return true;
    j->at++;
    return c == '{' && outer == 0 ? read_members(r, number, number > 0, depth + 1)
                                  : skip_container(j, c == '{', depth);
}

static bool read_members(struct reader *r, uint32_t outer, bool keep, unsigned depth)
{
    struct json *j = &r->json;
    if (json_accept(j, '}'))
        return true;
    do {
        struct span key;
        bool escaped;
        if (!json_read_string(j, &key, &escaped) || !json_accept(j, ':'))
            return false;
        if (escaped)
            key = json_unescape(r->map->scratch, key);
        if (!read_member(r, outer, keep, key, depth))
            return false;
    } while (json_accept(j, ','));
    return json_accept(j, '}');
}

bool map_read_json(struct map *m, struct span text)
{
    while (text.len > 0 && is_blank(text.base[0]))
        text = span_skip(text, 1);
    while (text.len > 0 && is_blank(text.base[text.len - 1]))
        text.len--;
    if (text.len < 2 || text.base[0] != '{' || text.base[text.len - 1] != '}')
        return false;
    struct reader r = {{text.base + 1, text.base + text.len}, m};
    map_begin(m);
    if (!read_members(&r, 0, true, 1) || r.json.at != r.json.end)
        return false;
    map_end(m);
    return true;
}
