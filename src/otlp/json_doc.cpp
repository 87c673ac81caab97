/* json_doc: simdjson's DOM; a node is one of its elements, whose two words pass through C. */
#include "otlp/json_doc.h"

#include <cmath>
#include <cstring>
#include <new>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

#define MEMORY_PER_BYTE 16 /* tape 8, index 4, strings 5/3, and the copy that is read */
#define MEMORY_ANYWAY 16384

struct json_doc {
    simdjson::dom::parser parser;
    struct budget *budget;
    uint64_t charged;
};

static_assert(sizeof(element) == sizeof(json_node), "an element is two words");
static_assert(sizeof(array::iterator) == sizeof(json_node), "so is a place in an array");
static_assert(sizeof(object::iterator) == sizeof(json_node), "and in an object");

template <typename From> static json_node node_of(const From &from)
{
    json_node n;
    memcpy(&n, &from, sizeof n);
    return n;
}

template <typename To> static To back(const json_node &n)
{
    To to;
    memcpy((void *)&to, &n, sizeof n);
    return to;
}

int json_doc_new(struct json_doc **out, struct span text, struct budget *budget,
                 struct json_node *root)
{
    uint64_t bytes = MEMORY_ANYWAY + (uint64_t)text.len * MEMORY_PER_BYTE;
    element parsed;
    if (text.len == 0)
        return ERR_MALFORMED;
    if (budget_take(budget, bytes) < 0)
        return ERR_FULL;
    json_doc *d = new (std::nothrow) json_doc();
    if (d == nullptr) {
        budget_give(budget, bytes);
        return ERR_NOMEM;
    }
    d->budget = budget;
    d->charged = bytes;
    simdjson::error_code code =
        d->parser.parse((const uint8_t *)text.base, text.len, true).get(parsed);
    if (code != simdjson::SUCCESS) {
        json_doc_free(d);
        return code == simdjson::MEMALLOC ? ERR_NOMEM : ERR_MALFORMED;
    }
    *out = d;
    *root = node_of(parsed);
    return 0;
}

void json_doc_free(struct json_doc *d)
{
    if (d == nullptr)
        return;
    budget_give(d->budget, d->charged);
    delete d;
}

enum json_kind json_kind(struct json_node n)
{
    if (n.tape == nullptr)
        return JSON_NULL;
    switch (back<element>(n).type()) {
    case element_type::ARRAY:
        return JSON_ARRAY;
    case element_type::OBJECT:
        return JSON_OBJECT;
    case element_type::INT64:
        return JSON_INT;
    case element_type::UINT64:
        return JSON_UINT;
    case element_type::DOUBLE:
        return JSON_DOUBLE;
    case element_type::STRING:
        return JSON_STRING;
    case element_type::BOOL:
        return JSON_BOOL;
    default:
        return JSON_NULL;
    }
}

struct json_node json_get(struct json_node n, const char *key)
{
    object o;
    element value;
    if (json_kind(n) != JSON_OBJECT || back<element>(n).get(o) != simdjson::SUCCESS ||
        o.at_key(key).get(value) != simdjson::SUCCESS)
        return json_node{};
    return node_of(value);
}

struct span json_string(struct json_node n)
{
    std::string_view text;
    if (json_kind(n) != JSON_STRING || back<element>(n).get(text) != simdjson::SUCCESS)
        return span{};
    return span_of(text.data(), text.size());
}

bool json_number(struct json_node n, double *out)
{
    enum json_kind kind = json_kind(n);
    return (kind == JSON_INT || kind == JSON_UINT || kind == JSON_DOUBLE) &&
           back<element>(n).get(*out) == simdjson::SUCCESS;
}

bool json_whole(struct json_node n, uint64_t *out)
{
    double real;
    if (json_kind(n) != JSON_DOUBLE)
        return json_number(n, &real) && back<element>(n).get(*out) == simdjson::SUCCESS;
    if (!json_number(n, &real) || real < 0 || real >= 18446744073709551616.0 ||
        std::floor(real) != real)
        return false;
    *out = (uint64_t)real;
    return true;
}

bool json_is_true(struct json_node n)
{
    bool flag = false;
    return json_kind(n) == JSON_BOOL && back<element>(n).get(flag) == simdjson::SUCCESS && flag;
}

struct json_each json_each(struct json_node n)
{
    struct json_each each = {};
    array a;
    object o;
    if (json_kind(n) == JSON_ARRAY && back<element>(n).get(a) == simdjson::SUCCESS) {
        each.here = node_of(a.begin());
        each.past = node_of(a.end());
    } else if (json_kind(n) == JSON_OBJECT && back<element>(n).get(o) == simdjson::SUCCESS) {
        each.has_keys = true;
        each.here = node_of(o.begin());
        each.past = node_of(o.end());
    }
    return each;
}

bool json_next(struct json_each *each)
{
    if (each->here.at == each->past.at)
        return false;
    if (each->has_keys) {
        object::iterator i = back<object::iterator>(each->here);
        std::string_view key = i.key();
        each->key = span_of(key.data(), key.size());
        each->value = node_of(i.value());
        each->here = node_of(++i);
    } else {
        array::iterator i = back<array::iterator>(each->here);
        each->value = node_of(*i);
        each->here = node_of(++i);
    }
    return true;
}
