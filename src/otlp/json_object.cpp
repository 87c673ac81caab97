/* json_object: simdjson's DOM parser (it validates the whole text, and keeps
 * its nesting on a heap stack) behind a C callback. */
#include "otlp/json_object.h"

#include <new>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include "util/err.h"

struct json_object {
    simdjson::dom::parser parser;
    uint8_t *padded; /* max_bytes and the padding the parser may read over */
    size_t max_bytes;
    size_t len; /* of the text in padded */
};

int json_object_new(struct json_object **out, size_t max_bytes)
{
    json_object *j = new (std::nothrow) json_object();
    if (j == nullptr)
        return ERR_NOMEM;
    j->max_bytes = max_bytes;
    j->padded = new (std::nothrow) uint8_t[max_bytes + simdjson::SIMDJSON_PADDING]();
    if (j->padded == nullptr || j->parser.allocate(max_bytes) != simdjson::SUCCESS) {
        json_object_free(j);
        return ERR_NOMEM;
    }
    *out = j;
    return 0;
}

void json_object_free(struct json_object *j)
{
    if (j == nullptr)
        return;
    delete[] j->padded;
    delete j;
}

static json_member member_of(const simdjson::dom::key_value_pair &field)
{
    json_member m = {};
    m.key = span_of(field.key.data(), field.key.size());

    std::string_view text;
    bool flag;
    int64_t number;
    switch (field.value.type()) {
    case simdjson::dom::element_type::STRING:
        m.kind = JSON_STRING;
        if (field.value.get(text) == simdjson::SUCCESS)
            m.text = span_of(text.data(), text.size());
        break;
    case simdjson::dom::element_type::BOOL:
        m.kind = JSON_BOOL;
        if (field.value.get(flag) == simdjson::SUCCESS)
            m.number = flag;
        break;
    case simdjson::dom::element_type::INT64:
        m.kind = JSON_INT;
        if (field.value.get(number) == simdjson::SUCCESS)
            m.number = (uint64_t)number;
        break;
    case simdjson::dom::element_type::UINT64:
        if (field.value.get(m.number) == simdjson::SUCCESS)
            m.kind = JSON_UINT;
        break;
    case simdjson::dom::element_type::DOUBLE:
        if (field.value.get(m.real) == simdjson::SUCCESS)
            m.kind = JSON_DOUBLE;
        break;
    case simdjson::dom::element_type::ARRAY:
        m.kind = JSON_ARRAY;
        break;
    case simdjson::dom::element_type::OBJECT:
        m.kind = JSON_OBJECT;
        break;
    default:
        m.kind = JSON_NULL;
    }
    return m;
}

/* Parse a copy of the text, for it may be lent from the last one's. */
static int parse(struct json_object *j, struct span text, simdjson::dom::object &object)
{
    if (text.len > j->max_bytes)
        return ERR_TOO_BIG;
    if (text.len == 0)
        return ERR_MALFORMED;
    memcpy(j->padded, text.base, text.len);
    j->len = text.len;
    memset(j->padded + text.len, ' ', simdjson::SIMDJSON_PADDING);
    return j->parser.parse(j->padded, text.len, false).get(object) == simdjson::SUCCESS
               ? 0
               : ERR_MALFORMED;
}

int json_object_visit(struct json_object *j, struct span text,
                      bool (*fn)(void *arg, const struct json_member *member), void *arg)
{
    simdjson::dom::object object;
    int rc = parse(j, text, object);
    if (rc < 0)
        return rc;
    for (simdjson::dom::key_value_pair field : object) {
        json_member m = member_of(field);
        if (!fn(arg, &m))
            break;
    }
    return 0;
}

int json_object_visit_nested(struct json_object *j, struct span text,
                             bool (*fn)(void *arg, const struct json_member *member), void *arg)
{
    simdjson::dom::object object, inside;
    int rc = parse(j, text, object);
    if (rc < 0)
        return rc;
    for (simdjson::dom::key_value_pair field : object) {
        json_member m = member_of(field);
        if (!fn(arg, &m))
            break;
        if (m.kind != JSON_OBJECT || field.value.get(inside) != simdjson::SUCCESS)
            continue;
        for (simdjson::dom::key_value_pair inner : inside) {
            json_member n = member_of(inner);
            n.outer = m.key;
            if (!fn(arg, &n))
                return 0;
        }
    }
    return 0;
}
