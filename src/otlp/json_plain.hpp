/*
 * json_plain: the form that nearly all values have, for json.cpp: without a space or an escape, as
 * every exporter writes them. It is matched byte by byte; the parser, which has checked the bytes
 * of all strings before, steps over what was matched.
 */
#pragma once

namespace
{

enum { ANY_VALUE_STRING = 1, ANY_VALUE_INT = 3, ANY_VALUE_DOUBLE = 4 };

struct plain_values : skipper {
    /* The content of a string without escapes that starts at *from and is followed
     * by `tail`; *from moves behind it. False: something else, nothing is changed. */
    template <size_t n>
    bool plain_string(const char **from, const char (&tail)[n], std::string_view &out) const
    {
        const char *end =
            static_cast<const char *>(memchr(*from, '"', static_cast<size_t>(text_end - *from)));
        if (end == nullptr || memcmp(end, tail, n - 1) != 0 ||
            (escapes && memchr(*from, '\\', static_cast<size_t>(end - *from)) != nullptr))
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

    /* What follows is `expected`; *from moves behind it. */
    template <size_t n> static bool follows(const char **from, const char (&expected)[n])
    {
        if (memcmp(*from, expected, n - 1) != 0) /* the padding is longer than all of them */
            return false;
        *from += n - 1;
        return true;
    }

    /* An integer of at most 18 digits, as number or string, without leading zeros. */
    static bool plain_integer(const char **from, int64_t &out)
    {
        const char *p = *from;
        bool is_quoted = *p == '"';
        p += is_quoted;
        bool is_negative = *p == '-';
        p += is_negative;
        const char *first = p;
        int64_t value = 0;
        for (; *p >= '0' && *p <= '9' && p - first < 18; p++)
            value = value * 10 + (*p - '0');
        ptrdiff_t digits = p - first;
        if (digits == 0 || (digits > 1 && *first == '0') || (is_quoted && *p != '"'))
            return false;
        *from = p + is_quoted;
        out = is_negative ? -value : value;
        return true;
    }

    static bool plain_double(const char **from, double &out)
    {
        constexpr ptrdiff_t most = 32; /* no double that is written to be read back is longer */
        const char *end = *from;
        while (*end != '}' && end - *from < most)
            end++;
        std::string_view number =
            number_text(std::string_view(*from, static_cast<size_t>(end - *from)));
        if (number.empty() || number.data() != *from)
            return false; /* a string, or nothing sound */
        auto [rest, ec] = std::from_chars(*from, end, out);
        *from = end;
        return ec == std::errc() && rest == end;
    }

    /* A KeyValue up to and with the tag of its value, whose AnyValue has so many bytes. */
    void put_pair_head(uint32_t number, std::string_view name, size_t any)
    {
        put_tag(number, WIRE_LEN);
        at = wire_put_varint(at, wire_len_size(1, name.size()) + wire_len_size(2, any));
        put_text(1, name);
        put_tag(2, WIRE_LEN);
        at = wire_put_varint(at, any);
    }

    /* {"key":"...","value":{...}} with a string or a number as the value. */
    bool plain_pair(const char *where, uint32_t number)
    {
        std::string_view name, content;
        int64_t integer_value;
        double real_value;
        if (!follows(&where, "{\"key\":\"") || !plain_string(&where, "\",\"value\":{\"", name))
            return false;
        if (follows(&where, "stringValue\":\"")) {
            if (!plain_string(&where, "\"}}", content) || !room(name.size() + content.size()))
                return false; /* the long way says so */
            put_pair_head(number, name, wire_len_size(ANY_VALUE_STRING, content.size()));
            put_text(ANY_VALUE_STRING, content);
            return true;
        }
        if (!room(name.size()))
            return false;
        if (follows(&where, "intValue\":")) {
            if (!plain_integer(&where, integer_value) || !follows(&where, "}}"))
                return false;
            uint64_t value = static_cast<uint64_t>(integer_value);
            put_pair_head(number, name, 1 + wire_varint_size(value));
            put_tag(ANY_VALUE_INT, WIRE_VARINT);
            at = wire_put_varint(at, value);
            return true;
        }
        if (follows(&where, "doubleValue\":")) {
            if (!plain_double(&where, real_value) || !follows(&where, "}}"))
                return false;
            put_pair_head(number, name, 1 + sizeof real_value);
            put_fixed(ANY_VALUE_DOUBLE, &real_value, sizeof real_value);
            return true;
        }
        return false;
    }

    /* {"stringValue":"..."} and attributes as every exporter writes them, without a space or an
     * escape: matched byte by byte, and the parser, which has checked the strings' bytes before,
     * steps over them (200 ns less a record of ten attributes). False: take the long way. */
    bool plain_value(const char *where, const field &f)
    {
        std::string_view content;
        if (f.type == &key_value)
            return plain_pair(where, f.number);
        if (f.type != &any_value || !follows(&where, "{\"stringValue\":\"") ||
            !plain_string(&where, "\"}", content) || !room(content.size()))
            return false;
        put_tag(f.number, WIRE_LEN);
        at = wire_put_varint(at, wire_len_size(ANY_VALUE_STRING, content.size()));
        put_text(ANY_VALUE_STRING, content);
        return true;
    }
};

} // namespace
