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
#include "otlp/mend.h"
#include "util/utf8.h"
}

static_assert(JSON_PADDING_BYTES >= simdjson::SIMDJSON_PADDING,
              "what the parser may read past the end");

#include "otlp/json_scalar.hpp"
#include "otlp/json_schema.hpp"
#include "otlp/json_skip.hpp"
#include "otlp/json_plain.hpp"

namespace
{

constexpr size_t keep_bytes = 1 << 20; /* a parser for longer texts is not kept */
constexpr size_t slack_bytes = 32;     /* heads are written before they are paid for */
static_assert(slack_bytes <= JSON_PADDING_BYTES, "the slack is in what json.h promises");

/* One request on its way from text to bytes. Functions return 0 or an error;
 * the one that finds a fault reports it. */
template <bool mends> struct transcoder : plain_values {
    ondemand::parser *checker; /* of records that are left out; made with the first */

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
        return content_of(object, where, f, depth);
    }

    int content_of(ondemand::object &object, const char *where, const field &f, unsigned depth)
    {
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

    /* A record that could not be read: is it JSON at all? If so it is left out. `rc` is what was
     * wrong with it, as err says. */
    RARE int leave_out(std::string_view record, int rc)
    {
        struct error why = *err;
        skipper t = {};
        ondemand::document doc;
        ondemand::value value;
        if (checker == nullptr)
            checker = new (std::nothrow) ondemand::parser;
        if (checker == nullptr)
            return fail(ERR_NOMEM, record.data(), 0, err_text(ERR_NOMEM));
        t.text = record.data();
        t.text_end = record.data() + record.size();
        t.escapes = t.only_syntax = true;
        t.err = err;
        t.mended = mended;
        error_code e =
            checker
                ->iterate(record.data(), record.size(),
                          static_cast<size_t>(text_end - record.data()) + JSON_PADDING_BYTES)
                .get(doc);
        if (e == SUCCESS)
            e = doc.get_value().get(value);
        if (e != SUCCESS)
            return fail(e, record.data(), 0);
        int sound = t.skip(value, value.raw_json_token(), RECORD_DEPTH);
        const char *rest;
        if (sound == 0 && doc.current_location().get(rest) != OUT_OF_BOUNDS)
            sound = fail(ERR_MALFORMED, rest, 0, "a record does not end where it should");
        if (sound < 0)
            return sound;
        return logs_mended_reject(mended, count.resources - 1, record.size(), rc, why.text);
    }

    /* The same for what is no object. */
    RARE int leave_out_other(ondemand::value &v, std::string_view token, int rc)
    {
        struct error why = *err;
        only_syntax = true;
        int sound = skip(v, token, RECORD_DEPTH);
        only_syntax = false;
        if (sound < 0)
            return sound;
        return logs_mended_reject(mended, count.resources - 1, token.size(), rc, why.text);
    }

    /* A record, or nothing of it. */
    RARE int record_or_none(ondemand::value &v, const field &f, unsigned depth)
    {
        uint8_t *before = at;
        std::string_view token = v.raw_json_token(), raw;
        struct logs_count so_far = count;
        uint64_t repairs[REPAIR_COUNT];
        memcpy(repairs, mended->repairs, sizeof repairs);

        ondemand::object object;
        error_code e = v.get_object().get(object);
        if (e != SUCCESS)
            return leave_out_other(v, token, fail(e, token.data(), depth));
        int rc = content_of(object, token.data(), f, depth);
        if (rc == 0 || rc == ERR_TOO_BIG || rc == ERR_NOMEM)
            return rc;
        if ((e = object.raw_json().get(raw)) != SUCCESS)
            return fail(e, token.data(), depth);
        at = before;
        count = so_far;
        memcpy(mended->repairs, repairs, sizeof repairs);
        return leave_out(raw, rc);
    }

    int list(ondemand::value &v, std::string_view token, const field &f, unsigned depth)
    {
        ondemand::array array;
        error_code e = v.get_array().get(array);
        if (e != SUCCESS)
            return fail(e, token.data(), depth);
        const bool is_apart = mends && f.type == &record;
        for (auto entry : array) {
            e = entry.error();
            if (e != SUCCESS)
                return fail(e, token.data(), depth);
            ondemand::value &&item = std::move(entry).value_unsafe();
            int rc;
            if (is_apart) {
                rc = record_or_none(item, f, depth);
            } else if (f.kind == MESSAGES) {
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

    int text_value(ondemand::value &v, std::string_view token, const field &f, unsigned depth)
    {
        std::string_view content;
        int rc = string(v, token, depth, content);
        if (rc < 0)
            return rc;
        if (f.kind == STRING)
            return put_len(f.number, content, token.data(), depth);
        return f.kind == HEX ? hex(f.number, content, token.data(), depth)
                             : base64(f.number, content, token.data(), depth);
    }

    int boolean(ondemand::value &v, std::string_view token, const field &f, unsigned depth)
    {
        bool value = false;
        if (v.get_bool().get(value) != SUCCESS)
            return fail(ERR_MALFORMED, token.data(), depth, "true or false is expected here");
        put_tag(f.number, WIRE_VARINT);
        *at++ = value;
        return 0;
    }

    /* SEVERITY_NUMBER_INFO, ..._INFO2; -1: none. */
    static int severity_of_name(std::string_view name)
    {
        static const char prefix[] = "SEVERITY_NUMBER_";
        static const std::string_view levels[] = {"TRACE", "DEBUG", "INFO",
                                                  "WARN",  "ERROR", "FATAL"};
        constexpr size_t prefix_len = sizeof prefix - 1;
        if (name.substr(0, prefix_len) != prefix)
            return -1;
        name.remove_prefix(prefix_len);
        if (name == "UNSPECIFIED")
            return 0;
        int step =
            !name.empty() && name.back() >= '2' && name.back() <= '4' ? name.back() - '1' : 0;
        if (step > 0)
            name.remove_suffix(1);
        for (int i = 0; i < 6; i++)
            if (name == levels[i])
                return 1 + 4 * i + step;
        return -1;
    }

    /* 9.0, 1e1 */
    RARE int whole_number(std::string_view token, int64_t &value, int rc)
    {
        std::string_view number = number_text(token);
        double real = number.empty() ? NAN : double_of(number);
        if (!(real >= INT32_MIN && real <= INT32_MAX && real == std::floor(real)))
            return rc;
        value = static_cast<int64_t>(real);
        return repaired(REPAIR_NUMBER);
    }

    int severity(ondemand::value &v, std::string_view token, const field &f, unsigned depth)
    {
        int64_t value = 0;
        int rc;
        if (token.size() > 1 && token[0] == '"' && token[1] == 'S') {
            std::string_view name;
            rc = string(v, token, depth, name);
            value = rc == 0 ? severity_of_name(name) : 0;
            if (rc == 0 && value < 0)
                return fail(ERR_MALFORMED, token.data(), depth, "no name of a SeverityNumber");
        } else {
            rc = integer(v, token, depth, value);
            if (rc < 0 && mends)
                rc = whole_number(token, value, rc);
        }
        if (rc < 0)
            return rc;
        if (value < INT32_MIN || value > INT32_MAX)
            return fail(ERR_MALFORMED, token.data(), depth, "an integer in range is expected here");
        put_tag(f.number, WIRE_VARINT);
        at = wire_put_varint(at, static_cast<uint64_t>(value));
        return 0;
    }

    int signed_integer(ondemand::value &v, std::string_view token, const field &f, unsigned depth)
    {
        int64_t value = 0;
        int rc = integer(v, token, depth, value);
        if (rc < 0)
            return mends ? other_number(token, depth, rc) : rc;
        put_tag(f.number, WIRE_VARINT);
        at = wire_put_varint(at, static_cast<uint64_t>(value));
        return 0;
    }

    /* An intValue or a doubleValue that holds a number of another range, as another member of
     * AnyValue: with a fraction as a double, else by its digits, none of which is lost. */
    RARE int other_number(std::string_view token, unsigned depth, int rc)
    {
        std::string_view number = number_text(token);
        if (number.empty())
            return rc;
        double real = double_of(number);
        ignore_code(repaired(REPAIR_NUMBER));
        bool is_written_whole = number.find_first_of(".eE") == std::string_view::npos;
        if (is_written_whole || std::isinf(real))
            return put_len(ANY_VALUE_STRING, number, token.data(), depth);
        constexpr double beyond = 9223372036854775808.0;                    /* 2^63 */
        if (real == std::floor(real) && real >= -beyond && real < beyond) { /* 1.0, 1e3 */
            put_tag(ANY_VALUE_INT, WIRE_VARINT);
            at = wire_put_varint(at, static_cast<uint64_t>(static_cast<int64_t>(real)));
        } else {
            put_fixed(ANY_VALUE_DOUBLE, &real, sizeof real);
        }
        return 0;
    }

    /* A time that is none is left out, whatever stands in its place; and so is a number where
     * flags or counts are expected that cannot be theirs. */
    RARE int other_unsigned(ondemand::value &v, std::string_view token, const field &f, int rc)
    {
        std::string_view number = number_text(token);
        if (f.kind != FIXED64)
            return number.empty() ? rc : repaired(REPAIR_NUMBER);
        double real = number.empty() ? 0 : double_of(number);
        constexpr double beyond = 9223372036854775808.0; /* 2^63: later than any time */
        if (real >= 1 && real < beyond) {                /* 1.796e18 */
            uint64_t ns = static_cast<uint64_t>(real);
            put_fixed(f.number, &ns, sizeof ns);
        }
        ignore_code(repaired(REPAIR_TIME));
        if (*token.data() != '"')
            return skip(v, token, RECORD_DEPTH);
        return token.find('\\') == std::string_view::npos ? 0 : rc; /* it was read already */
    }

    int unsigned_integer(ondemand::value &v, std::string_view token, const field &f, unsigned depth)
    {
        uint64_t value = 0;
        int rc = integer(v, token, depth, value);
        if (rc < 0)
            return mends ? other_unsigned(v, token, f, rc) : rc;
        if (f.kind != FIXED64 && value > UINT32_MAX && mends)
            return repaired(REPAIR_NUMBER);
        if (f.kind != FIXED64 && value > UINT32_MAX)
            return fail(ERR_MALFORMED, token.data(), depth, "an integer in range is expected here");
        if (f.kind == UINT32) {
            put_tag(f.number, WIRE_VARINT);
            at = wire_put_varint(at, value);
            return 0;
        }
        put_fixed(f.number, &value, f.kind == FIXED64 ? 8 : 4);
        return 0;
    }

    int floating(ondemand::value &v, std::string_view token, const field &f, unsigned depth)
    {
        double value = 0;
        int rc = real(v, token, depth, value);
        if (rc < 0)
            return mends ? other_number(token, depth, rc) : rc;
        put_fixed(f.number, &value, sizeof value);
        return 0;
    }

    int known(ondemand::value &v, const field &f, unsigned depth)
    {
        std::string_view token = v.raw_json_token();
        if (*token.data() == 'n')
            return null(v, token, depth);
        if (!room(0))
            return fail(ERR_TOO_BIG, token.data(), depth, "no room for the result");
        switch (f.kind) {
        case STRING:
        case HEX:
        case BASE64:
            return text_value(v, token, f, depth);
        case MESSAGE:
            return nested(v, f, depth);
        case MESSAGES:
        case STRINGS:
            return list(v, token, f, depth);
        case BOOL:
            return boolean(v, token, f, depth);
        case SEVERITY:
            return severity(v, token, f, depth);
        case INT64:
            return signed_integer(v, token, f, depth);
        case UINT32:
        case FIXED32:
        case FIXED64:
            return unsigned_integer(v, token, f, depth);
        default:
            return floating(v, token, f, depth);
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

    /* The same for a key without escapes: "b\u006fdy" is body, and log_records, as the .proto
     * files have it, logRecords. */
    const field *find_respelt(const message_type &type, std::string_view key, unsigned &next)
    {
        char name[key_words * 8 + 1] = {0};
        size_t len = 0;
        for (size_t i = 0; i < key.size(); i++) {
            bool is_joint =
                key[i] == '_' && i + 1 < key.size() && key[i + 1] >= 'a' && key[i + 1] <= 'z';
            i += is_joint;
            if (len == key_words * 8 - 1 || key[i] == '"')
                return nullptr;
            name[len++] = is_joint ? static_cast<char>(key[i] - 'a' + 'A') : key[i];
        }
        name[len] = '"';
        return find(type, name, next);
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
            if (f == nullptr) {
                std::string_view key(raw, strcspn(raw, "\""));
                if (escapes && (e = item.unescaped_key().get(key)) != SUCCESS)
                    return fail(e, raw, depth);
                f = find_respelt(type, key, next);
            }
            ondemand::value &v = item.value();
            int rc;
            if (f != nullptr) {
                path[depth] = f->name;
                rc = known(v, *f, depth + 1);
            } else {
                count.foreign +=
                    &type == &request || &type == &resource_logs || &type == &scope_logs;
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

/* The parse itself, with room in out for all that can come of it. Compiled twice, so that a text
 * that is sound, or has to be, is not asked whether it may be mended (25 ns a record). */
template <bool mends>
static int decode(ondemand::parser &parser, struct buf *json, struct buf *out,
                  struct logs_count *count, struct logs_mended *mended, struct error *err)
{
    static const char bom[] = "\xef\xbb\xbf";
    size_t start = json->len >= 3 && memcmp(json->base, bom, 3) == 0 ? 3 : 0;
    const char *text = reinterpret_cast<const char *>(json->base) + start;
    size_t len = json->len - start;
    transcoder<mends> t = {};
    t.text = text;
    t.text_end = text + len;
    t.at = out->base + out->len;
    t.limit = t.at + len;
    t.escapes = len > 0 && memchr(text, '\\', len) != nullptr;
    t.err = err;
    t.mended = mended;

    ondemand::document doc;
    ondemand::object root;
    error_code e = parser.iterate(text, len, json->cap - start).get(doc);
    if (e == SUCCESS)
        e = doc.get_object().get(root);
    if (e == INCORRECT_TYPE)
        return t.fail(ERR_MALFORMED, text, 0,
                      "OTLP is expected: an object with resourceLogs, and nothing around it");
    if (e != SUCCESS)
        return t.fail(e, text, 0);
    int rc = t.message(root, request, 0);
    delete t.checker;
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

/* One reading of the text. Records that are left out are parsed again, each by itself: an
 * index of as much once more, if all are. */
static int read_text(struct json_decoder *d, struct buf *json, struct buf *out,
                     struct logs_count *count, struct logs_mended *mended, struct error *err)
{
    size_t charge = index_bytes(json) * (mended != nullptr ? 2 : 1);
    bool never_fits = d->budget != nullptr && charge > d->budget->limit;
    int rc = never_fits ? ERR_TOO_BIG : buf_reserve_exact(json, JSON_PADDING_BYTES);
    json->err = 0;
    if (rc == 0) {
        /* the parser reads the end of a text that breaks off as one token more */
        memset(json->base + json->len, 0, JSON_PADDING_BYTES);
        rc = buf_reserve_exact(out, json->len + JSON_PADDING_BYTES);
        out->err = 0;
    }
    if (rc == 0 && d->budget != nullptr)
        rc = budget_take(d->budget, charge);
    if (rc < 0)
        return err_set(err, rc, "JSON of %zu bytes: %s", json->len, err_text(rc));

    if (d->parser == nullptr)
        d->parser = new (std::nothrow) ondemand::parser;
    if (d->parser == nullptr)
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    else
        rc = mended != nullptr ? decode<true>(*d->parser, json, out, count, mended, err)
                               : decode<false>(*d->parser, json, out, count, nullptr, err);

    if (d->parser != nullptr && d->parser->capacity() > keep_bytes) {
        delete d->parser;
        d->parser = nullptr;
    }
    if (d->budget != nullptr)
        budget_give(d->budget, charge);
    return rc;
}

/* The same text once more, with what can be mended of it. */
static int read_mended(struct json_decoder *d, struct buf *json, struct buf *out,
                       struct logs_count *count, struct logs_mended *mended, struct error *err)
{
    struct buf text = {};
    struct error why = {};
    text.budget = mended->budget = d->budget;
    int rc = json_text_mend(buf_span(json), &text, &mended->repairs[REPAIR_UTF8]);
    if (rc < 0)
        err_set(&why, rc, "JSON of %zu bytes: %s", json->len, err_text(rc));
    else
        rc = read_text(d, rc > 0 ? &text : json, out, count, mended, &why);
    buf_done(&text);
    if (err != nullptr) /* faults that were mended have left their words in why */
        *err = rc < 0 ? why : error{};
    return rc;
}

int json_logs_decode(struct json_decoder *d, struct buf *json, struct buf *out,
                     struct logs_count *count, struct logs_mended *mended, struct error *err)
{
    int rc = read_text(d, json, out, count, nullptr, err);
    bool is_fault = rc == ERR_MALFORMED || rc == ERR_UTF8 || rc == ERR_TOO_DEEP;
    return is_fault && mended != nullptr ? read_mended(d, json, out, count, mended, err) : rc;
}
