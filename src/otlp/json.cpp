/*
 * json: the one home of simdjson.
 *
 * The tables below are the OTLP schema; message() walks a JSON object along a
 * table and writes protobuf as it goes. The length of a nested message is not
 * known before its end: room for the likely width of the length is left, and
 * the content moved when the guess was wrong, so that lengths are minimal.
 *
 * simdjson's on-demand parser looks only at what it is asked for, so unknown
 * values are walked as well: broken JSON is refused wherever it stands.
 */
#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <new>

extern "C" {
#include "otlp/json.h"
#include "otlp/logs.h"
#include "util/utf8.h"
}

using namespace simdjson;

static_assert(JSON_PADDING_BYTES >= SIMDJSON_PADDING, "what the parser may read past the end");

namespace
{

constexpr size_t keep_bytes = 1 << 20; /* a parser for longer texts is not kept */
constexpr size_t slack_bytes = 32;     /* heads are written before they are paid for */
static_assert(slack_bytes <= JSON_PADDING_BYTES, "the slack is in what json.h promises");

enum kind {
    STRING,
    STRINGS,
    BOOL,
    INT32,  /* varint; enums too */
    UINT32, /* varint */
    INT64,  /* varint */
    FIXED32,
    FIXED64,
    DOUBLE,
    HEX,
    BASE64,
    MESSAGE,
    MESSAGES,
};

struct field;

struct message_type {
    const field *fields;
    unsigned count;
    unsigned length_width; /* the guess; 0: as wide as the rest of the text needs */
};

/* A key is compared eight bytes at a time with the quote that ends it; the
 * text is padded, so reading past its end is fine. */
constexpr unsigned key_words = 3;

struct field {
    uint64_t word[key_words], mask[key_words];
    const char *name;
    uint32_t number;
    enum kind kind;
    const message_type *type;

    constexpr field(const char *text, uint32_t n, enum kind k, const message_type *t = nullptr)
        : word{}, mask{}, name(text), number(n), kind(k), type(t)
    {
        unsigned i = 0;
        for (; text[i] != '\0'; i++)
            put(i, text[i]);
        put(i, '"');
    }
    constexpr void put(unsigned i, char c)
    {
        word[i / 8] |= static_cast<uint64_t>(static_cast<unsigned char>(c)) << (i % 8 * 8);
        mask[i / 8] |= static_cast<uint64_t>(0xff) << (i % 8 * 8);
    }
    bool is(const char *key) const
    {
        uint64_t text[key_words];
        memcpy(text, key, sizeof text);
        return ((text[0] ^ word[0]) & mask[0]) == 0 &&
               (((text[1] ^ word[1]) & mask[1]) | ((text[2] ^ word[2]) & mask[2])) == 0;
    }
};

#define TYPE(name, width) \
    const message_type name = {name##_fields, sizeof(name##_fields) / sizeof(field), width}

/* clang-format off */
extern const message_type any_value;
extern const message_type key_value;

const field array_value_fields[] = {{"values", 1, MESSAGES, &any_value}};
TYPE(array_value, 1);
const field key_value_list_fields[] = {{"values", 1, MESSAGES, &key_value}};
TYPE(key_value_list, 1);
const field any_value_fields[] = {
    {"stringValue", 1, STRING},
    {"boolValue",   2, BOOL},
    {"intValue",    3, INT64},
    {"doubleValue", 4, DOUBLE},
    {"arrayValue",  5, MESSAGE, &array_value},
    {"kvlistValue", 6, MESSAGE, &key_value_list},
    {"bytesValue",  7, BASE64},
};
TYPE(any_value, 1);
const field key_value_fields[] = {
    {"key",   1, STRING},
    {"value", 2, MESSAGE, &any_value},
};
TYPE(key_value, 1);
const field record_fields[] = {
    {"timeUnixNano",           1,  FIXED64},
    {"observedTimeUnixNano",   11, FIXED64},
    {"severityNumber",         2,  INT32},
    {"severityText",           3,  STRING},
    {"body",                   5,  MESSAGE,  &any_value},
    {"attributes",             6,  MESSAGES, &key_value},
    {"droppedAttributesCount", 7,  UINT32},
    {"flags",                  8,  FIXED32},
    {"traceId",                9,  HEX},
    {"spanId",                 10, HEX},
    {"eventName",              12, STRING},
};
TYPE(record, 2);
const field scope_fields[] = {
    {"name",                   1, STRING},
    {"version",                2, STRING},
    {"attributes",             3, MESSAGES, &key_value},
    {"droppedAttributesCount", 4, UINT32},
};
TYPE(scope, 1);
const field scope_logs_fields[] = {
    {"scope",      1, MESSAGE,  &scope},
    {"logRecords", 2, MESSAGES, &record},
    {"schemaUrl",  3, STRING},
};
TYPE(scope_logs, 0);
const field entity_ref_fields[] = {
    {"schemaUrl",       1, STRING},
    {"type",            2, STRING},
    {"idKeys",          3, STRINGS},
    {"descriptionKeys", 4, STRINGS},
};
TYPE(entity_ref, 1);
const field resource_fields[] = {
    {"attributes",             1, MESSAGES, &key_value},
    {"droppedAttributesCount", 2, UINT32},
    {"entityRefs",             3, MESSAGES, &entity_ref},
};
TYPE(resource, 2);
const field resource_logs_fields[] = {
    {"resource",  1, MESSAGE,  &resource},
    {"scopeLogs", 2, MESSAGES, &scope_logs},
    {"schemaUrl", 3, STRING},
};
TYPE(resource_logs, 0);
const field request_fields[] = {{"resourceLogs", 1, MESSAGES, &resource_logs}};
TYPE(request, 0);
/* clang-format on */

/* The value of a hex digit; 0xff: none. A table, because the digits of ids are random:
 * every third comparison of a branch would be guessed wrongly. */
struct hex_table {
    uint8_t value[256];

    constexpr hex_table() : value()
    {
        for (unsigned c = 0; c < 256; c++) {
            unsigned lower = c | 0x20;
            value[c] = c >= '0' && c <= '9'           ? static_cast<uint8_t>(c - '0')
                       : lower >= 'a' && lower <= 'f' ? static_cast<uint8_t>(lower - 'a' + 10)
                                                      : 0xff;
        }
    }
};
constexpr hex_table hex_digits;

unsigned hex_digit(unsigned char c)
{
    return hex_digits.value[c];
}

/* The value of a base64 digit of either alphabet; 0xff: none. */
unsigned base64_digit(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : 0xff;
}

int code_of(error_code e)
{
    switch (e) {
    case UTF8_ERROR:
        return ERR_UTF8;
    case MEMALLOC:
        return ERR_NOMEM;
    case CAPACITY:
        return ERR_TOO_BIG;
    case DEPTH_ERROR:
        return ERR_TOO_DEEP;
    default:
        return ERR_MALFORMED;
    }
}

/* One request on its way from text to bytes. Functions return 0 or an error;
 * whoever finds one reports it. */
struct transcoder {
    const char *text, *text_end;
    uint8_t *at, *limit;     /* of the output; slack_bytes follow the limit */
    bool escapes;            /* there is a backslash somewhere in the text */
    struct logs_count count; /* written so far */
    struct error *err;
    const char *path[LOGS_MAX_DEPTH + 1];

    int fail(int code, const char *where, unsigned depth, const char *what)
    {
        char names[256];
        size_t len = 0;
        names[0] = '\0';
        for (unsigned i = 0; i < depth && i <= LOGS_MAX_DEPTH && len < sizeof names; i++) {
            int n = snprintf(names + len, sizeof names - len, "%s%s", i > 0 ? "." : "", path[i]);
            len += static_cast<size_t>(n);
        }
        size_t offset = where >= text && where <= text_end ? static_cast<size_t>(where - text)
                                                           : static_cast<size_t>(text_end - text);
        return err_set(err, code, "JSON at byte %zu%s%s: %s", offset, depth > 0 ? ", " : "", names,
                       what);
    }
    int fail(error_code e, const char *where, unsigned depth)
    {
        if (e == INCORRECT_TYPE)
            return fail(ERR_MALFORMED, where, depth, "a value of another type is expected here");
        return fail(code_of(e), where, depth, error_message(e));
    }

    /* ---- output ---- */

    bool room(size_t bytes) const
    {
        return bytes <= static_cast<size_t>(limit - at);
    }
    void put_tag(uint32_t number, uint32_t type)
    {
        *at++ = static_cast<uint8_t>(number << 3 | type); /* all numbers are below 16 */
    }
    int put_len(uint32_t number, std::string_view content, const char *where, unsigned depth)
    {
        if (!room(content.size()))
            return fail(ERR_TOO_BIG, where, depth, "no room for the result");
        put_tag(number, WIRE_LEN);
        at = wire_put_varint(at, content.size());
        if (!room(content.size()))
            return fail(ERR_TOO_BIG, where, depth, "no room for the result");
        memcpy(at, content.data(), content.size());
        at += content.size();
        return 0;
    }
    /* The head of a nested message; its length comes with close(). */
    uint8_t *open(uint32_t number, unsigned width)
    {
        put_tag(number, WIRE_LEN);
        return at += width;
    }
    int close(uint8_t *content, unsigned width, const char *where, unsigned depth)
    {
        size_t len = static_cast<size_t>(at - content);
        unsigned needed = static_cast<unsigned>(wire_varint_size(len));
        if (at > limit || (needed > width && !room(needed - width)))
            return fail(ERR_TOO_BIG, where, depth, "no room for the result");
        if (needed != width) {
            memmove(content - width + needed, content, len);
            at = at - width + needed;
        }
        wire_put_varint(content - width, len);
        return 0;
    }

    /* ---- scalars ---- */

    /* The text of a string value, without quotes and escapes. */
    int string(ondemand::value &v, std::string_view token, unsigned depth, std::string_view &out)
    {
        size_t len = token.size();
        while (len > 0 && static_cast<unsigned char>(token[len - 1]) <= ' ')
            len--;
        if (len < 2 || *token.data() != '"' || token[len - 1] != '"')
            return fail(ERR_MALFORMED, token.data(), depth, "a string is expected here");
        if (!escapes || memchr(token.data(), '\\', len) == nullptr) {
            ondemand::raw_json_string consumed;
            error_code e = v.get_raw_json_string().get(consumed);
            out = token.substr(1, len - 2);
            return e == SUCCESS ? 0 : fail(e, token.data(), depth);
        }
        error_code e = v.get_string().get(out);
        if (e != SUCCESS)
            return fail(e, token.data(), depth);
        /* simdjson before 3.2 lets lone low surrogates pass */
        if (!utf8_is_valid(span_of(out.data(), out.size())))
            return fail(ERR_UTF8, token.data(), depth, "a lone surrogate");
        return 0;
    }

    /* An integer as number or string, exact. */
    template <typename T>
    int integer(ondemand::value &v, std::string_view token, unsigned depth, T &out)
    {
        if (*token.data() != '"') {
            error_code e;
            if constexpr (std::is_signed_v<T>)
                e = v.get_int64().get(out);
            else
                e = v.get_uint64().get(out);
            if (e == SUCCESS)
                return 0;
            return fail(ERR_MALFORMED, token.data(), depth, "an integer in range is expected here");
        }
        std::string_view digits;
        int rc = string(v, token, depth, digits);
        if (rc < 0)
            return rc;
        auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
        if (ec != std::errc() || end != digits.data() + digits.size())
            return fail(ERR_MALFORMED, token.data(), depth, "an integer in range is expected here");
        return 0;
    }

    int real(ondemand::value &v, std::string_view token, unsigned depth, double &out)
    {
        error_code e;
        if (*token.data() != '"') {
            e = v.get_double().get(out);
        } else if (std::string_view word = token.substr(1, token.find('"', 1) - 1);
                   word == "NaN" || word == "Infinity" || word == "-Infinity") {
            ondemand::raw_json_string consumed;
            out = word == "NaN" ? NAN : word[0] == '-' ? -INFINITY : INFINITY;
            e = v.get_raw_json_string().get(consumed);
        } else {
            e = v.get_double_in_string().get(out);
        }
        if (e == SUCCESS)
            return 0;
        return fail(ERR_MALFORMED, token.data(), depth, "a finite number is expected here");
    }

    int hex(uint32_t number, std::string_view digits, const char *where, unsigned depth)
    {
        size_t bytes = digits.size() / 2;
        if (digits.size() % 2 != 0)
            return fail(ERR_MALFORMED, where, depth, "an even number of hex digits is expected");
        if (!room(bytes))
            return fail(ERR_TOO_BIG, where, depth, "no room for the result");
        put_tag(number, WIRE_LEN);
        at = wire_put_varint(at, bytes);
        for (size_t i = 0; i < bytes; i++) {
            unsigned high = hex_digit(static_cast<unsigned char>(digits[2 * i]));
            unsigned low = hex_digit(static_cast<unsigned char>(digits[2 * i + 1]));
            if ((high | low) > 15)
                return fail(ERR_MALFORMED, where, depth, "hex digits are expected here");
            at[i] = static_cast<uint8_t>(high << 4 | low);
        }
        at += bytes;
        return 0;
    }

    int base64(uint32_t number, std::string_view digits, const char *where, unsigned depth)
    {
        size_t padding = 0;
        while (padding < 2 && !digits.empty() && digits.back() == '=') {
            digits.remove_suffix(1);
            padding++;
        }
        size_t tail = digits.size() % 4;
        size_t bytes = digits.size() / 4 * 3 + (tail > 0 ? tail - 1 : 0);
        if (tail == 1 || (padding > 0 && (digits.size() + padding) % 4 != 0))
            return fail(ERR_MALFORMED, where, depth, "base64 is expected here");
        if (!room(bytes))
            return fail(ERR_TOO_BIG, where, depth, "no room for the result");
        put_tag(number, WIRE_LEN);
        at = wire_put_varint(at, bytes);
        uint32_t bits = 0;
        unsigned held = 0;
        for (char c : digits) {
            unsigned digit = base64_digit(static_cast<unsigned char>(c));
            if (digit > 63)
                return fail(ERR_MALFORMED, where, depth, "base64 is expected here");
            bits = bits << 6 | digit;
            held += 6;
            if (held >= 8) {
                held -= 8;
                *at++ = static_cast<uint8_t>(bits >> held);
            }
        }
        return 0;
    }

    /* ---- values ---- */

    /* Walk a value that nobody wants, for its faults. */
    int skip(ondemand::value &v, std::string_view token, unsigned depth)
    {
        const char *where = token.data();
        error_code e;
        if (depth > LOGS_MAX_DEPTH && (*where == '{' || *where == '['))
            return fail(ERR_TOO_DEEP, where, 0, "nested too deep");
        switch (*where) {
        case '{': {
            ondemand::object object;
            if ((e = v.get_object().get(object)) != SUCCESS)
                return fail(e, where, 0);
            for (auto entry : object) {
                ondemand::field f;
                std::string_view key;
                if ((e = std::move(entry).get(f)) != SUCCESS)
                    return fail(e, where, 0);
                if (escapes && (e = f.unescaped_key().get(key)) != SUCCESS)
                    return fail(e, where, 0);
                int rc = skip(f.value(), f.value().raw_json_token(), depth + 1);
                if (rc < 0)
                    return rc;
            }
            return 0;
        }
        case '[': {
            ondemand::array array;
            if ((e = v.get_array().get(array)) != SUCCESS)
                return fail(e, where, 0);
            for (auto entry : array) {
                ondemand::value item;
                if ((e = std::move(entry).get(item)) != SUCCESS)
                    return fail(e, where, 0);
                int rc = skip(item, item.raw_json_token(), depth + 1);
                if (rc < 0)
                    return rc;
            }
            return 0;
        }
        case '"': {
            std::string_view ignored;
            return string(v, token, 0, ignored);
        }
        case 't':
        case 'f': {
            bool ignored;
            e = v.get_bool().get(ignored);
            break;
        }
        case 'n':
            return null(v, token, 0);
        default: {
            double ignored;
            e = v.get_double().get(ignored);
        }
        }
        return e == SUCCESS ? 0 : fail(e == INCORRECT_TYPE ? TAPE_ERROR : e, where, 0);
    }

    int null(ondemand::value &v, std::string_view token, unsigned depth)
    {
        bool is_null = false;
        error_code e = simdjson_result<bool>(v.is_null()).get(is_null);
        if (e == SUCCESS && is_null)
            return 0;
        return fail(ERR_MALFORMED, token.data(), depth, "a JSON value is expected here");
    }

    /* ---- the form that nearly all values have ---- */

    /* The content of a string without escapes that starts at *from and is followed
     * by `tail`; *from moves behind it. False: something else, nothing is changed. */
    template <size_t n>
    bool plain_string(const char **from, const char (&tail)[n], std::string_view &out) const
    {
        const char *end =
            static_cast<const char *>(memchr(*from, '"', static_cast<size_t>(text_end - *from)));
        if (end == nullptr || memcmp(end, tail, n - 1) != 0)
            return false;
        out = std::string_view(*from, static_cast<size_t>(end - *from));
        *from = end + n - 1;
        return true;
    }
    void put_text(uint32_t number, std::string_view content)
    {
        put_tag(number, WIRE_LEN);
        at = wire_put_varint(at, content.size());
        memcpy(at, content.data(), content.size());
        at += content.size();
    }

    /* {"stringValue":"..."} and {"key":"...","value":{"stringValue":"..."}} as every
     * exporter writes them, without a space or an escape: matched byte by byte, and the
     * parser, which has checked the string's bytes before, steps over them (150 ns less
     * a record of ten attributes). False: take the long way. */
    bool plain_value(const char *where, const field &f)
    {
        static const char value[] = "{\"stringValue\":\"", key[] = "{\"key\":\"";
        std::string_view name, content;
        if (escapes || (f.type != &any_value && f.type != &key_value))
            return false;
        bool is_pair = f.type == &key_value;
        if (is_pair) {
            if (memcmp(where, key, sizeof key - 1) != 0)
                return false;
            where += sizeof key - 1;
            if (!plain_string(&where, "\",\"value\":{\"stringValue\":\"", name) ||
                !plain_string(&where, "\"}}", content))
                return false;
        } else {
            if (memcmp(where, value, sizeof value - 1) != 0)
                return false;
            where += sizeof value - 1;
            if (!plain_string(&where, "\"}", content))
                return false;
        }
        size_t any = wire_len_size(1, content.size());
        if (!room(name.size() + content.size()))
            return false; /* the long way says so */
        if (is_pair) {
            put_tag(f.number, WIRE_LEN);
            at = wire_put_varint(at, wire_len_size(1, name.size()) + wire_len_size(2, any));
            put_text(1, name);
            put_tag(2, WIRE_LEN);
        } else {
            put_tag(f.number, WIRE_LEN);
        }
        at = wire_put_varint(at, any);
        put_text(1, content);
        return true;
    }

    int nested(ondemand::value &v, const field &f, unsigned depth)
    {
        const char *where = v.raw_json_token().data();
        if (depth < LOGS_MAX_DEPTH && plain_value(where, f))
            return 0;
        ondemand::object object;
        if (depth > LOGS_MAX_DEPTH)
            return fail(ERR_TOO_DEEP, where, depth - 1, "nested too deep");
        error_code e = v.get_object().get(object);
        if (e != SUCCESS)
            return fail(e, where, depth);
        count.resources += f.type == &resource_logs;
        count.scopes += f.type == &scope_logs;
        count.records += f.type == &record;
        unsigned width = f.type->length_width;
        if (width == 0) /* about two bytes of text make one */
            width =
                static_cast<unsigned>(wire_varint_size(static_cast<size_t>(text_end - where) / 2));
        uint8_t *content = open(f.number, width);
        int rc = message(object, *f.type, depth);
        if (f.type == &record) {
            size_t bytes = static_cast<size_t>(at - content);
            count.record_bytes += bytes;
            count.largest = bytes > count.largest ? bytes : count.largest;
        }
        return rc < 0 ? rc : close(content, width, where, depth);
    }

    int list(ondemand::value &v, std::string_view token, const field &f, unsigned depth)
    {
        ondemand::array array;
        error_code e = v.get_array().get(array);
        if (e != SUCCESS)
            return fail(e, token.data(), depth);
        for (auto entry : array) {
            e = entry.error();
            if (e != SUCCESS)
                return fail(e, token.data(), depth);
            ondemand::value &&item = std::move(entry).value_unsafe();
            int rc;
            if (f.kind == MESSAGES) {
                rc = nested(item, f, depth);
            } else {
                std::string_view each = item.raw_json_token(), string_text;
                rc = string(item, each, depth, string_text);
                if (rc == 0)
                    rc = put_len(f.number, string_text, each.data(), depth);
            }
            if (rc < 0)
                return rc;
        }
        return 0;
    }

    int known(ondemand::value &v, const field &f, unsigned depth)
    {
        std::string_view token = v.raw_json_token(), content;
        const char *where = token.data();
        int rc;
        if (*token.data() == 'n')
            return null(v, token, depth);
        if (!room(0))
            return fail(ERR_TOO_BIG, where, depth, "no room for the result");
        switch (f.kind) {
        case STRING:
        case HEX:
        case BASE64:
            rc = string(v, token, depth, content);
            if (rc < 0)
                return rc;
            if (f.kind == STRING)
                return put_len(f.number, content, where, depth);
            return f.kind == HEX ? hex(f.number, content, where, depth)
                                 : base64(f.number, content, where, depth);
        case MESSAGE:
            return nested(v, f, depth);
        case MESSAGES:
        case STRINGS:
            return list(v, token, f, depth);
        case BOOL: {
            bool value = false;
            error_code e = v.get_bool().get(value);
            if (e != SUCCESS)
                return fail(ERR_MALFORMED, where, depth, "true or false is expected here");
            put_tag(f.number, WIRE_VARINT);
            *at++ = value;
            return 0;
        }
        case INT32:
        case INT64: {
            int64_t value = 0;
            rc = integer(v, token, depth, value);
            if (rc < 0)
                return rc;
            if (f.kind == INT32 && (value < INT32_MIN || value > INT32_MAX))
                return fail(ERR_MALFORMED, where, depth, "an integer in range is expected here");
            put_tag(f.number, WIRE_VARINT);
            at = wire_put_varint(at, static_cast<uint64_t>(value));
            return 0;
        }
        case UINT32:
        case FIXED32:
        case FIXED64: {
            uint64_t value = 0;
            rc = integer(v, token, depth, value);
            if (rc < 0)
                return rc;
            if (f.kind != FIXED64 && value > UINT32_MAX)
                return fail(ERR_MALFORMED, where, depth, "an integer in range is expected here");
            if (f.kind == UINT32) {
                put_tag(f.number, WIRE_VARINT);
                at = wire_put_varint(at, value);
                return 0;
            }
            size_t bytes = f.kind == FIXED64 ? 8 : 4;
            put_tag(f.number, f.kind == FIXED64 ? WIRE_I64 : WIRE_I32);
            memcpy(at, &value, bytes);
            at += bytes;
            return 0;
        }
        default: {
            double value = 0;
            rc = real(v, token, depth, value);
            if (rc < 0)
                return rc;
            put_tag(f.number, WIRE_I64);
            memcpy(at, &value, sizeof value);
            at += sizeof value;
            return 0;
        }
        }
    }

    /* The field that a key stands for, or NULL. Senders write keys in the same
     * order again and again: the search begins behind the last one found. */
    const field *find(const message_type &type, const char *key, unsigned &next)
    {
        for (unsigned i = 0; i < type.count; i++) {
            unsigned row = next + i < type.count ? next + i : next + i - type.count;
            if (type.fields[row].is(key)) {
                next = row + 1 < type.count ? row + 1 : 0;
                return &type.fields[row];
            }
        }
        return nullptr;
    }

    int message(ondemand::object &object, const message_type &type, unsigned depth)
    {
        unsigned next = 0;
        for (auto entry : object) {
            error_code e = entry.error();
            if (e != SUCCESS)
                return fail(e, text_end, depth);
            /* by reference: get() makes a copy that cost a quarter of all the time */
            ondemand::field &&item = std::move(entry).value_unsafe();
            const char *raw = item.key().raw();
            const field *f = find(type, raw, next);
            if (f == nullptr && escapes) { /* "b\u006fdy" is body */
                char padded[key_words * 8 + 1] = {0};
                std::string_view key;
                if ((e = item.unescaped_key().get(key)) != SUCCESS)
                    return fail(e, raw, depth);
                if (key.size() < key_words * 8 && key.find('"') == std::string_view::npos) {
                    memcpy(padded, key.data(), key.size());
                    padded[key.size()] = '"';
                    f = find(type, padded, next);
                }
            }
            ondemand::value &v = item.value();
            int rc;
            if (f != nullptr) {
                path[depth] = f->name;
                rc = known(v, *f, depth + 1);
            } else {
                rc = skip(v, v.raw_json_token(), depth + 1);
            }
            if (rc < 0)
                return rc;
        }
        return 0;
    }
};

} // namespace

struct json_decoder {
    ondemand::parser *parser;
    struct budget *budget;
};

struct json_decoder *json_decoder_new(struct budget *budget)
{
    auto *d = new (std::nothrow) json_decoder{nullptr, budget};
    return d;
}

void json_decoder_free(struct json_decoder *d)
{
    if (d == nullptr)
        return;
    delete d->parser;
    delete d;
}

/* The parse itself, with room in out for all that can come of it. */
static int decode(ondemand::parser &parser, const char *text, size_t len, size_t capacity,
                  struct buf *out, struct logs_count *count, struct error *err)
{
    transcoder t = {};
    t.text = text;
    t.text_end = text + len;
    t.at = out->base + out->len;
    t.limit = t.at + len;
    t.escapes = len > 0 && memchr(text, '\\', len) != nullptr;
    t.err = err;

    ondemand::document doc;
    ondemand::object root;
    error_code e = parser.iterate(text, len, capacity).get(doc);
    if (e == SUCCESS)
        e = doc.get_object().get(root);
    if (e != SUCCESS)
        return t.fail(e, text, 0);
    int rc = t.message(root, request, 0);
    if (rc < 0)
        return rc;
    const char *rest = t.text_end;
    if (doc.current_location().get(rest) != OUT_OF_BOUNDS)
        return t.fail(ERR_MALFORMED, rest, 0, "something follows the JSON document");
    out->len = static_cast<size_t>(t.at - out->base);
    *count = t.count;
    return 0;
}

/* Bytes that the parser's index may touch: four per token. A text of brackets
 * costs four times its size; a large one is counted before it is let in. */
static size_t index_bytes(const struct buf *json)
{
    size_t tokens = 0;
    if (json->len <= keep_bytes)
        return json->len;
    for (size_t i = 0; i < json->len; i++) {
        uint8_t c = json->base[i], folded = c | 0x20; /* [ { and ] } differ by one bit */
        tokens += (folded == '{') | (folded == '}') | (c == ',') | (c == ':') | (c == '"');
    }
    return 4 * tokens;
}

int json_logs_decode(struct json_decoder *d, struct buf *json, struct buf *out,
                     struct logs_count *count, struct error *err)
{
    size_t charge = index_bytes(json);
    int rc = buf_reserve_exact(json, JSON_PADDING_BYTES);
    json->err = 0;
    if (rc == 0) {
        /* the parser reads the end of a text that breaks off as one token more */
        memset(json->base + json->len, 0, JSON_PADDING_BYTES);
        rc = buf_reserve_exact(out, json->len + JSON_PADDING_BYTES);
        out->err = 0;
    }
    if (rc == 0 && d->budget != nullptr)
        rc = charge > d->budget->limit ? ERR_TOO_BIG : budget_take(d->budget, charge);
    if (rc < 0)
        return err_set(err, rc, "JSON of %zu bytes: %s", json->len, err_text(rc));

    static const char bom[] = "\xef\xbb\xbf";
    size_t start = json->len >= 3 && memcmp(json->base, bom, 3) == 0 ? 3 : 0;
    if (d->parser == nullptr)
        d->parser = new (std::nothrow) ondemand::parser;
    if (d->parser == nullptr)
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    else
        rc = decode(*d->parser, reinterpret_cast<const char *>(json->base) + start,
                    json->len - start, json->cap - start, out, count, err);

    if (d->parser != nullptr && d->parser->capacity() > keep_bytes) {
        delete d->parser;
        d->parser = nullptr;
    }
    if (d->budget != nullptr)
        budget_give(d->budget, charge);
    return rc;
}
