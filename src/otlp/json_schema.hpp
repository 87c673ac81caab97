/*
 * json_schema: the OTLP schema as tables, for json.cpp: the fields of each message by their
 * JSON names, with their numbers and kinds.
 */
#pragma once

#include <cstdint>
#include <cstring>

namespace
{

enum kind {
    STRING,
    STRINGS,
    BOOL,
    SEVERITY, /* varint, or the name of a SeverityNumber */
    UINT32,   /* varint */
    INT64,    /* varint */
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
    {"severityNumber",         2,  SEVERITY},
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

} // namespace
