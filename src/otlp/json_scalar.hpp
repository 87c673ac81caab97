/*
 * json_scalar: single values from JSON to protobuf, for json.cpp, which includes simdjson
 * before: strings, integers, numbers, hex and base64; the output; and errors with the path and the
 * byte at which they stand.
 */
#pragma once

/* What only a fault needs stays out of the way of the others. */
#define RARE __attribute__((noinline, cold))

namespace
{

using namespace simdjson;

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

struct scalars {
    const char *text, *text_end;
    uint8_t *at, *limit;     /* of the output; slack_bytes follow the limit */
    bool escapes;            /* there is a backslash somewhere in the text */
    struct logs_count count; /* written so far */
    struct error *err;
    struct logs_mended *mended; /* what is repaired or left out; NULL: nothing may be */
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
    /* As memory has it: simdjson runs on little-endian machines only. */
    void put_fixed(uint32_t number, const void *value, size_t bytes)
    {
        put_tag(number, bytes == 8 ? WIRE_I64 : WIRE_I32);
        memcpy(at, value, bytes);
        at += bytes;
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

    /* A number as JSON has it, between quotes or not: its text, for what is out of range of the
     * field. Empty: anything else. */
    static std::string_view number_text(std::string_view token)
    {
        while (!token.empty() && static_cast<unsigned char>(token.back()) <= ' ')
            token.remove_suffix(1);
        if (token.size() >= 2 && token.front() == '"' && token.back() == '"')
            token = token.substr(1, token.size() - 2);
        size_t i = 0;
        auto digits = [&] {
            size_t first = i;
            while (i < token.size() && token[i] >= '0' && token[i] <= '9')
                i++;
            return i - first;
        };
        i += i < token.size() && token[i] == '-';
        size_t whole = digits();
        if (whole == 0 || (whole > 1 && token[i - whole] == '0'))
            return {};
        if (i < token.size() && token[i] == '.' && (i++, digits() == 0))
            return {};
        if (i < token.size() && (token[i] | 0x20) == 'e') {
            i++;
            i += i < token.size() && (token[i] == '+' || token[i] == '-');
            if (digits() == 0)
                return {};
        }
        return i == token.size() ? token : std::string_view();
    }

    /* The double nearest to such a text; infinite beyond its range. */
    RARE static double double_of(std::string_view number)
    {
        double value = 0;
        auto [end, ec] = std::from_chars(number.data(), number.data() + number.size(), value);
        (void)end;
        if (ec != std::errc::result_out_of_range)
            return value;
        size_t e = number.find_first_of("eE"); /* too small, or too large? */
        return e != std::string_view::npos && number[e + 1] == '-' ? 0 : HUGE_VAL;
    }

    int repaired(enum repair what)
    {
        mended->repairs[what]++;
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
};

} // namespace
